import CMNL
import CNetfilterConntrack
import Glibc
import Session

/// Messages of ctnetlink as values. What is not a connection that can be taken elsewhere is `nil`.
enum ConntrackDecoding {
    /// The subsystem in the upper octet of the message's type (NFNL_SUBSYS_CTNETLINK).
    static let subsystem: UInt16 = 1
    static let new: UInt16 = 0  // IPCTNL_MSG_CT_NEW
    static let delete: UInt16 = 2  // IPCTNL_MSG_CT_DELETE
    /// nfgenmsg: family, version, and a number that is 0.
    static let headerCount = 4

    static func change(_ reply: NetlinkReply) -> FlowChange? {
        guard reply.type >> 8 == subsystem, reply.payload.count >= headerCount else { return nil }
        switch reply.type & 0xFF {
        case new: return entry(reply.payload).map(FlowChange.put)
        case delete: return parse(reply.payload) { object in key(object) }.map(FlowChange.remove)
        default: return nil
        }
    }

    static func entry(_ payload: [UInt8]) -> FlowEntry? { parse(payload) { object in entry(object) } }

    /// An object with the message's attributes, every length checked by the library against what is given here.
    private static func parse<R>(_ payload: [UInt8], _ body: (borrowing ConntrackObject) -> R?) -> R? {
        guard payload.count >= headerCount, [UInt8(AF_INET), UInt8(AF_INET6)].contains(payload[0]) else { return nil }
        let object = ConntrackObject()
        // The library reads attributes as structures: they have to be aligned.
        let isParsed = withUnsafeTemporaryAllocation(byteCount: max(payload.count, 16), alignment: 8) { place in
            payload.withUnsafeBytes { place.copyMemory(from: $0) }
            return nfct_payload_parse(
                place.baseAddress! + headerCount, payload.count - headerCount, UInt16(payload[0]), object.handle) == 0
        }
        return isParsed ? body(object) : nil
    }

    private static func key(_ object: borrowing ConntrackObject) -> FlowKey? {
        guard let original = original(object) else { return nil }
        return FlowKey(original: original, zone: object.uint16(ATTR_ZONE) ?? 0)
    }

    private static func entry(_ object: borrowing ConntrackObject) -> FlowEntry? {
        guard let original = original(object), let reply = reply(object, original: original), let status = object.uint32(ATTR_STATUS) else {
            return nil
        }
        return FlowEntry(
            original: original, reply: reply, zone: object.uint16(ATTR_ZONE) ?? 0,
            status: FlowStatus(rawValue: status).intersection(.known), timeout: min(object.uint32(ATTR_TIMEOUT) ?? 0, timeoutMax),
            mark: object.uint32(ATTR_MARK) ?? 0, tcp: original.ipProtocol == FlowProtocol.tcp ? tcp(object) : nil)
    }

    /// In seconds; what is beyond some 34 years is not a time.
    static let timeoutMax: UInt32 = 1 << 30

    private static func original(_ object: borrowing ConntrackObject) -> FlowTuple? {
        guard let source = object.address(ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC),
            let destination = object.address(ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST), source.family == destination.family,
            let number = object.uint8(ATTR_ORIG_L4PROTO), FlowProtocol.all.contains(number)
        else { return nil }
        var tuple = FlowTuple(source: source, destination: destination, ipProtocol: number, sourcePort: 0, destinationPort: 0)
        if tuple.isICMP {
            guard let type = object.uint8(ATTR_ICMP_TYPE), let code = object.uint8(ATTR_ICMP_CODE) else { return nil }
            tuple.sourcePort = object.port(ATTR_ICMP_ID) ?? 0
            tuple.destinationPort = UInt16(type) << 8 | UInt16(code)
        } else {
            guard let from = object.port(ATTR_ORIG_PORT_SRC), let to = object.port(ATTR_ORIG_PORT_DST) else { return nil }
            (tuple.sourcePort, tuple.destinationPort) = (from, to)
        }
        return tuple
    }

    private static func reply(_ object: borrowing ConntrackObject, original: FlowTuple) -> FlowTuple? {
        guard let source = object.address(ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC),
            let destination = object.address(ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST), source.family == destination.family,
            source.family == original.source.family
        else { return nil }
        var tuple = original
        (tuple.source, tuple.destination) = (source, destination)
        // The library keeps one type and one identifier for both directions of ICMP.
        guard !original.isICMP else { return tuple }
        guard let from = object.port(ATTR_REPL_PORT_SRC), let to = object.port(ATTR_REPL_PORT_DST) else { return nil }
        (tuple.sourcePort, tuple.destinationPort) = (from, to)
        return tuple
    }

    private static func tcp(_ object: borrowing ConntrackObject) -> FlowTCP? {
        guard let state = object.uint8(ATTR_TCP_STATE), state < FlowTCP.stateEnd else { return nil }
        return FlowTCP(
            state: state, originalFlags: object.uint8(ATTR_TCP_FLAGS_ORIG) ?? 0, replyFlags: object.uint8(ATTR_TCP_FLAGS_REPL) ?? 0,
            originalScale: min(object.uint8(ATTR_TCP_WSCALE_ORIG) ?? 0, FlowTCP.scaleMax),
            replyScale: min(object.uint8(ATTR_TCP_WSCALE_REPL) ?? 0, FlowTCP.scaleMax))
    }
}
