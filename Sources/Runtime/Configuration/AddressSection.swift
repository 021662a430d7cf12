import IKE
import Node
import Session

/// `[[address]]`: the addresses that move together, and those of one node that never move.
extension Sections {
    func addresses(node: String?, peer: String?) -> (shared: [SharedAddress], own: NodeAddresses) {
        var shared: [SharedAddress] = []
        var (own, others): ([IPAddress], [IPAddress]) = ([], [])
        for table in root.tables("address") {
            table.allow(["address", "interface", "node"])
            if !table.has("address") { table.missing("address", "address = \"192.0.2.10/24\"") }
            if !table.has("interface"), !table.has("node") { table.missing("interface", "interface = \"eth0\"") }
            guard let prefix = table.value("address", "an address with a prefix length", { IPPrefix($0) }) else { continue }
            if (shared.map(\.prefix.address) + own + others).contains(prefix.address) {
                table.problem("address", "\(prefix.address) is named twice", "remove one of the two")
            } else if let name = table.nonEmptyString("node") {
                guard let isOwn = isOwn(name, table, node: node, peer: peer) else { continue }
                if isOwn { own.append(prefix.address) } else { others.append(prefix.address) }
            } else if !table.has("node"), let interface = interfaceName(table, "interface") {
                shared.append(SharedAddress(prefix: prefix, interface: interface))
            }
        }
        // Without a [pair] that can be read nobody knows whose the others are; that has been reported.
        if let node, let peer { checkCounterparts(own, others, names: [node, peer]) }
        return (shared, NodeAddresses(own: own, peer: others))
    }

    /// `nil` when it is nobody's; that has been reported.
    private func isOwn(_ name: String, _ table: TableReader, node: String?, peer: String?) -> Bool? {
        if table.has("interface") {
            table.problem("interface", "goes with an address that moves", "remove it: an address of one node is there already")
            return nil
        }
        guard let node else { return nil }
        guard root.has("pair") else {
            table.problem("node", "names a node of a pair, and there is no [pair]", "remove it")
            return nil
        }
        if name == node { return true }
        guard let peer else { return nil }
        guard name == peer else {
            table.problem("node", "\"\(name)\" is neither this node nor its peer", "write \"\(node)\" or \"\(peer)\"")
            return nil
        }
        return false
    }

    /// Without its counterpart an address cannot be left.
    private func checkCounterparts(_ own: [IPAddress], _ others: [IPAddress], names: [String]) {
        for (family, text) in [(IPAddress.Family.ipv4, "IPv4"), (.ipv6, "IPv6")] {
            let counts = [own, others].map { $0.count { $0.family == family } }
            guard counts[0] != counts[1] else { continue }
            root.problem(
                "address", "\(names[0]) has \(counts[0]) \(text) addresses of its own and \(names[1]) has \(counts[1])",
                "give each node as many: the first of one stands for the first of the other")
        }
    }

    /// A connection that is served at an address of one node is served at its counterpart too.
    func checkServed(_ connection: ConnectionConfiguration, _ table: TableReader, at addresses: NodeAddresses) {
        func serves(_ address: IPAddress) -> Bool {
            connection.localAddresses.isEmpty || connection.localAddresses.contains { $0.contains(address) }
        }
        let pairs = addresses.peer.compactMap { theirs in addresses.counterpart(of: theirs).map { (theirs, $0) } }
        for (theirs, ours) in pairs where serves(theirs) != serves(ours) {
            let (named, missing) = serves(theirs) ? (theirs, ours) : (ours, theirs)
            table.problem("local_addrs", "names \(named) and not \(missing), where the other node serves", "name both")
        }
        guard pairs.contains(where: { serves($0.0) }) else { return }
        if !connection.mobike {
            table.warning("mobike", "is off: no peer can be moved to the other node's address", "leave it on")
        } else if connection.children.contains(where: { $0.mode == .transport }) {
            table.warning("children", "has one in transport mode: its peers cannot be moved to the other node's address", "use tunnel mode")
        }
    }
}
