package import Control
import Session

/// Which sessions an operator means. Found by the table's indexes where the filter names something that has one: a summary of each session
/// there is, only to compare a name with it, would keep the node from everything else.
extension Node {
    /// In the order in which they are shown.
    package func find(_ filter: SessionFilter) -> [UInt64] {
        guard isOwner || filter.includesHeld else { return [] }
        let ids = candidates(for: filter) ?? Array(table.sessions.keys)
        guard filter != SessionFilter(includesHeld: filter.includesHeld) else { return ids.sorted().map(\.rawValue) }
        return ids.filter { id in table[id].map(filter.matches) ?? false }.sorted().map(\.rawValue)
    }

    /// Every session that can match, each once; `nil` when that may be any.
    private func candidates(for filter: SessionFilter) -> [SessionID]? {
        if let name = filter.name { return candidates(named: name) }
        if let uniqueID = filter.uniqueID { return table.ids(uniqueID: uniqueID) }
        if let connection = filter.connection { return table.ids(connection: connection) }
        return nil
    }

    private func candidates(named name: String) -> [SessionID] {
        var found = Set(table.ids(connection: name))
        found.formUnion(table.ids(remoteIdentityText: name))
        if let number = UInt32(name) { found.formUnion(table.ids(uniqueID: number)) }
        if let address = IPAddress(name) {
            found.formUnion(table.ids(remoteAddress: address))
            found.formUnion(table.ids(virtualAddress: address))
        }
        if let id = UInt64(name, radix: 16) { found.insert(SessionID(rawValue: id)) }
        return Array(found)
    }
}

extension SessionFilter {
    /// As `matches` of the session's summary says.
    func matches(_ session: Session) -> Bool {
        if let connection, connection != session.authorization.connection { return false }
        if let uniqueID, uniqueID != session.uniqueID { return false }
        if let child, !session.children.contains(where: { $0.name == child }) { return false }
        if let childUniqueID, !session.children.contains(where: { $0.uniqueID == childUniqueID }) { return false }
        return name.map { session.isCalled($0) } ?? true
    }
}

extension Session {
    fileprivate func isCalled(_ name: String) -> Bool {
        authorization.connection == name || "\(authorization.remoteIdentity)" == name || "\(remote.address)" == name
            || String(uniqueID) == name || virtualAddresses.contains { "\($0.address)" == name } || id.isCalled(name)
    }
}

extension SessionID {
    /// All sixteen digits, as they are shown.
    fileprivate func isCalled(_ name: String) -> Bool {
        name.utf8.count == 16 && UInt64(name, radix: 16) == rawValue && name.first != "+"
    }
}
