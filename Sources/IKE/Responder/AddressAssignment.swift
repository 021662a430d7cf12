import IKEWire
import Session

/// The answer to a CFG_REQUEST (RFC 7296 §2.19, §3.15).
struct AddressAssignment {
    var addresses: [VirtualAddress] = []
    /// The CFG_REPLY, or nothing.
    var payloads: [Payload] = []
    /// Why no CHILD SA can be made.
    var refusal: ChildRefusal?
    /// Pools in which nothing was left for the peer.
    var exhausted: [String] = []
}

extension IKEEngine {
    /// Leases an address of each family that the peer asks for and that a pool of the connection has.
    ///
    /// - Parameter leaving: addresses of sessions of this peer that end with it.
    mutating func assignAddresses(
        _ request: ConfigurationPayload?, admission: Admission, table: SessionTable, leaving: Set<IPAddress>, context: IKEContext
    ) -> AddressAssignment {
        let pools = admission.connection.pools.compactMap { name in configuration.pools.first { $0.name == name } }
        let wanted = AddressFamilyRequest.all(in: request)
        guard !wanted.isEmpty else {
            return AddressAssignment(refusal: pools.isEmpty ? nil : .configurationRequired)
        }
        var assignment = AddressAssignment()
        var attributes: [ConfigurationAttribute] = []
        for family in wanted {
            let request = LeaseRequest(
                holder: LeaseHolder(connection: admission.connection.name, identity: admission.peer), requested: family.address,
                leaving: leaving, node: node, isAlone: context.isAlone,
                wallMilliseconds: context.now.wallMilliseconds)
            let candidates = pools.filter { $0.first.family == family.family }
            guard let (pool, lease) = lease(from: candidates, for: request, table: table) else {
                assignment.exhausted += candidates.map(\.name)
                continue
            }
            if context.isAlone { aloneness.noteLease(lease.address) }
            assignment.addresses.append(lease)
            attributes += pool.attributes(leasing: lease.address).filter { !attributes.contains($0) }
        }
        if assignment.addresses.isEmpty {
            assignment.refusal = .addressesExhausted
        } else {
            assignment.payloads = [.configuration(ConfigurationPayload(type: ConfigurationType.reply, attributes: attributes))]
        }
        return assignment
    }

    /// From the first pool that has an address left; but whoever has a reservation in another gets that.
    private mutating func lease(
        from candidates: [PoolConfiguration], for request: LeaseRequest, table: SessionTable
    ) -> (PoolConfiguration, VirtualAddress)? {
        func hasReservation(_ pool: PoolConfiguration) -> Bool {
            pool.isPersistent && table.reservations.of(request.holder, in: pool.name) != nil
        }
        for pool in candidates.filter(hasReservation) + candidates.filter({ !hasReservation($0) }) {
            if let lease = pools.lease(from: pool, for: request, table: table, aloneness: aloneness) { return (pool, lease) }
        }
        return nil
    }
}

/// "An address of this family, please; if you can, this one."
private struct AddressFamilyRequest {
    var family: IPAddress.Family
    var address: IPAddress?

    /// At most one of each family: a second one would be leased to nobody.
    static func all(in request: ConfigurationPayload?) -> [AddressFamilyRequest] {
        guard let request, request.type == ConfigurationType.request else { return [] }
        var out: [AddressFamilyRequest] = []
        for attribute in request.attributes {
            let family: IPAddress.Family
            switch attribute.type {
            case ConfigurationAttributeType.internalIP4Address: family = .ipv4
            case ConfigurationAttributeType.internalIP6Address: family = .ipv6
            default: continue
            }
            guard !out.contains(where: { $0.family == family }) else { continue }
            let asked = IPAddress(bytes: attribute.value.prefix(family == .ipv4 ? 4 : 16))
            out.append(AddressFamilyRequest(family: family, address: asked.flatMap { $0.isUnspecified || $0.family != family ? nil : $0 }))
        }
        return out
    }
}

extension PoolConfiguration {
    fileprivate func attributes(leasing address: IPAddress) -> [ConfigurationAttribute] {
        typealias Kind = ConfigurationAttributeType
        var out: [ConfigurationAttribute] = []
        switch address.family {
        case .ipv4:
            out.append(ConfigurationAttribute(type: Kind.internalIP4Address, value: address.bytes))
            if announcesNetmask {
                let mask = IPAddress(v4: .max).masked(to: network.length)
                out.append(ConfigurationAttribute(type: Kind.internalIP4Netmask, value: mask.bytes))
            }
        case .ipv6:
            out.append(ConfigurationAttribute(type: Kind.internalIP6Address, value: address.bytes + [UInt8(network.length)]))
        }
        return out
            + dns.map { server in
                ConfigurationAttribute(type: server.isIPv4 ? Kind.internalIP4DNS : Kind.internalIP6DNS, value: server.bytes)
            }
    }
}
