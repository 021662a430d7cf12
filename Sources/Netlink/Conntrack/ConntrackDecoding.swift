import CNetfilterConntrack
import Glibc
import Session

/// Messages of ctnetlink as values. What is not a connection that can be taken elsewhere is `nil`.
enum ConntrackDecoding {
    /// The subsystem in the upper octet of the message's type (NFNL_SUBSYS_CTNETLINK).
    static let subsystem: UInt16 = 1
    static let new: UInt16 = 0  // IPCTNL_MSG_CT_NEW
    static let delete: UInt16 = 2  // IPCTNL_MSG_CT_DELETE
    /// In seconds; what is beyond some 34 years is not a time.
    static let timeoutMax: UInt32 = 1 << 30

    static func change(_ reply: NetlinkReply) -> FlowChange? {
        guard reply.type >> 8 == subsystem, let header = reply.header(tandem_nfgenmsg.self),
            [UInt8(AF_INET), UInt8(AF_INET6)].contains(header.family)
        else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<tandem_nfgenmsg>.size)
        switch reply.type & 0xFF {
        case new: return entry(attributes).map(FlowChange.put)
        case delete: return key(attributes).map(FlowChange.remove)
        default: return nil
        }
    }

    private static func key(_ attributes: NetlinkAttributes) -> FlowKey? {
        guard let original = tuple(attributes, CTA_TUPLE_ORIG) else { return nil }
        return FlowKey(original: original, zone: attributes.uint16(CTA_ZONE) ?? 0)
    }

    private static func entry(_ attributes: NetlinkAttributes) -> FlowEntry? {
        guard let key = key(attributes), let reply = tuple(attributes, CTA_TUPLE_REPLY), let status = attributes.uint32(CTA_STATUS),
            reply.source.family == key.original.source.family, reply.ipProtocol == key.original.ipProtocol
        else { return nil }
        return FlowEntry(
            original: key.original, reply: reply, zone: key.zone, status: FlowStatus(rawValue: status).intersection(.known),
            timeout: min(attributes.uint32(CTA_TIMEOUT) ?? 0, timeoutMax), mark: attributes.uint32(CTA_MARK) ?? 0,
            tcp: reply.ipProtocol == FlowProtocol.tcp ? tcp(attributes) : nil)
    }

    private static func tuple(_ attributes: NetlinkAttributes, _ kind: ctattr_type) -> FlowTuple? {
        // A zone of one direction only is not kept.
        guard let tuple = attributes.nested(kind.rawValue), tuple[CTA_TUPLE_ZONE.rawValue] == nil,
            let addresses = tuple.nested(CTA_TUPLE_IP.rawValue), let ports = tuple.nested(CTA_TUPLE_PROTO.rawValue),
            let source = address(addresses, CTA_IP_V4_SRC, CTA_IP_V6_SRC),
            let destination = address(addresses, CTA_IP_V4_DST, CTA_IP_V6_DST),
            source.family == destination.family, let number = ports.uint8(CTA_PROTO_NUM), FlowProtocol.all.contains(number)
        else { return nil }
        guard let (first, second) = self.ports(ports, number) else { return nil }
        return FlowTuple(source: source, destination: destination, ipProtocol: number, sourcePort: first, destinationPort: second)
    }

    private static func address(_ attributes: NetlinkAttributes, _ ipv4: ctattr_ip, _ ipv6: ctattr_ip) -> IPAddress? {
        if let octets = attributes[ipv4.rawValue] { return octets.count == 4 ? IPAddress(bytes: octets) : nil }
        return attributes[ipv6.rawValue].flatMap { $0.count == 16 ? IPAddress(bytes: $0) : nil }
    }

    private static func ports(_ attributes: NetlinkAttributes, _ number: UInt8) -> (UInt16, UInt16)? {
        guard number == FlowProtocol.icmp || number == FlowProtocol.icmpv6 else {
            guard let source = attributes.uint16(CTA_PROTO_SRC_PORT), let destination = attributes.uint16(CTA_PROTO_DST_PORT) else {
                return nil
            }
            return (source, destination)
        }
        let (identifier, type, code) =
            number == FlowProtocol.icmp
            ? (CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE)
            : (CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE, CTA_PROTO_ICMPV6_CODE)
        guard let type = attributes.uint8(type), let code = attributes.uint8(code) else { return nil }
        return (attributes.uint16(identifier) ?? 0, UInt16(type) << 8 | UInt16(code))
    }

    private static func tcp(_ attributes: NetlinkAttributes) -> FlowTCP? {
        guard let tcp = attributes.nested(CTA_PROTOINFO.rawValue)?.nested(CTA_PROTOINFO_TCP.rawValue),
            let state = tcp.uint8(CTA_PROTOINFO_TCP_STATE), state < FlowTCP.stateEnd
        else { return nil }
        return FlowTCP(
            // Flags and a mask of those that count, which is for what is sent.
            state: state, originalFlags: tcp[CTA_PROTOINFO_TCP_FLAGS_ORIGINAL.rawValue]?.first ?? 0,
            replyFlags: tcp[CTA_PROTOINFO_TCP_FLAGS_REPLY.rawValue]?.first ?? 0,
            originalScale: min(tcp.uint8(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL) ?? 0, FlowTCP.scaleMax),
            replyScale: min(tcp.uint8(CTA_PROTOINFO_TCP_WSCALE_REPLY) ?? 0, FlowTCP.scaleMax))
    }
}

extension NetlinkAttributes {
    fileprivate func nested(_ attribute: UInt32) -> NetlinkAttributes? { self[attribute].map { NetlinkAttributes($0) } }

    fileprivate func uint8(_ attribute: some RawRepresentable<UInt32>) -> UInt8? {
        self[attribute.rawValue].flatMap { $0.count == 1 ? $0.first : nil }
    }

    /// In network order, as everything of ctnetlink.
    fileprivate func uint16(_ attribute: some RawRepresentable<UInt32>) -> UInt16? {
        self[attribute.rawValue].flatMap { $0.count == 2 ? $0.reduce(0) { $0 << 8 | UInt16($1) } : nil }
    }

    fileprivate func uint32(_ attribute: some RawRepresentable<UInt32>) -> UInt32? {
        self[attribute.rawValue].flatMap { $0.count == 4 ? $0.reduce(0) { $0 << 8 | UInt32($1) } : nil }
    }
}
