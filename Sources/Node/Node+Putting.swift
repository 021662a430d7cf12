import Context
import IKE
import Session

extension Node {
    /// The session of another gateway's context as it is to stand here, silent: with our address, our numbers, and nothing that comes twice.
    func arriving(_ context: SessionContext, now: Now) throws(AdoptionRefusal) -> Session {
        let given = context.session
        guard let connection = configuration.ike.connections.first(where: { $0.name == given.authorization.connection }) else {
            throw .connectionUnknown(given.authorization.connection)
        }
        for child in given.children where !connection.children.contains(where: { $0.name == child.name }) {
            throw .childUnknown(connection: connection.name, child: child.name)
        }
        let own = configuration.addresses.map(\.prefix.address) + (host.all ?? [])
        guard let local = localAddress(of: connection, family: given.local.address.family, own: own) else {
            throw .noLocalAddress("no local_addrs of \(connection.name) in the client's address family")
        }
        var session = try context.adopted(by: configuration.id, epoch: roles.epoch, local: local, at: now.wallMilliseconds).session
        for lease in session.virtualAddresses where table.isLeased(lease.address) { throw .addressInUse("\(lease.address)") }
        for sa in session.ikeSAs where table.isInUse(localSPI: sa.localSPI) { throw .spiInUse(String(sa.localSPI, radix: 16)) }
        for child in session.children where table.isInUse(inboundSPI: child.inboundSPI) {
            throw .spiInUse(String(child.inboundSPI, radix: 16))
        }
        session.id = SessionID(rawValue: random.uint64() & ~(1 << 63) | UInt64(configuration.id.rawValue) << 63)
        session.isArriving = true
        return session
    }

    private func localAddress(of connection: ConnectionConfiguration, family: IPAddress.Family, own: [IPAddress]) -> IPAddress? {
        let named = connection.localAddresses.filter { $0.length == $0.address.bitWidth }.map(\.address)
        return (named + own).first { address in
            address.family == family && (connection.localAddresses.isEmpty || connection.localAddresses.contains { $0.contains(address) })
        }
    }
}
