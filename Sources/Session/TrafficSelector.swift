/// A traffic selector (RFC 7296 §3.13.1): a range of addresses, a range of ports, a protocol.
public struct TrafficSelector: Hashable, Sendable {
    /// 0 means any.
    public var ipProtocol: UInt8
    public var startPort: UInt16
    public var endPort: UInt16
    public var start: IPAddress
    public var end: IPAddress

    public init(ipProtocol: UInt8 = 0, startPort: UInt16 = 0, endPort: UInt16 = 65535, start: IPAddress, end: IPAddress) {
        self.ipProtocol = ipProtocol
        self.startPort = startPort
        self.endPort = endPort
        self.start = start
        self.end = end
    }

    public init(_ prefix: IPPrefix) { self.init(start: prefix.first, end: prefix.last) }

    public init(host address: IPAddress) { self.init(start: address, end: address) }

    /// What both allow, or `nil` (RFC 7296 §2.9).
    public func intersection(_ other: TrafficSelector) -> TrafficSelector? {
        guard start.family == other.start.family else { return nil }
        guard ipProtocol == 0 || other.ipProtocol == 0 || ipProtocol == other.ipProtocol else { return nil }
        let first = max(start, other.start)
        let last = min(end, other.end)
        let firstPort = max(startPort, other.startPort)
        let lastPort = min(endPort, other.endPort)
        guard first <= last, firstPort <= lastPort else { return nil }
        return TrafficSelector(
            ipProtocol: max(ipProtocol, other.ipProtocol), startPort: firstPort, endPort: lastPort, start: first, end: last)
    }

    public func contains(_ other: TrafficSelector) -> Bool { intersection(other) == other }

    public func contains(_ address: IPAddress) -> Bool { address.family == start.family && start <= address && address <= end }

    /// The smallest list of prefixes that covers the range exactly; at most 2 · 128 entries, in ascending order.
    public var prefixes: [IPPrefix] {
        var out: [IPPrefix] = []
        var cursor: IPAddress? = start
        while let first = cursor, first <= end {
            var length = first.bitWidth
            while length > 0, first.masked(to: length - 1) == first, first.masked(to: length - 1, filling: true) <= end { length -= 1 }
            out.append(IPPrefix(first, length)!)
            let last = first.masked(to: length, filling: true)
            cursor = last.advanced(by: 1)
        }
        return out
    }
}

extension [TrafficSelector] {
    /// The prefixes of all, each once, in no order that counts; `nil` when there are more than `max` of them.
    public func prefixes(max: Int) -> [IPPrefix]? {
        var all: [IPPrefix] = []
        for selector in self {
            all += selector.prefixes
            if all.count > max { return nil }
        }
        return all.count > 1 ? Array<IPPrefix>(Set(all)) : all
    }
}

extension TrafficSelector: CustomStringConvertible {
    /// As swanctl prints it: `10.1.0.0/16`, `10.1.0.1..10.1.0.9[tcp/443]`.
    public var description: String {
        let covering = prefixes
        let range: String
        if covering.count == 1 { range = "\(covering[0])" } else { range = "\(start)..\(end)" }
        let anyPort = startPort == 0 && endPort == 65535
        if ipProtocol == 0 && anyPort { return range }
        let proto: String
        switch ipProtocol {
        case 0: proto = "0"
        case 6: proto = "tcp"
        case 17: proto = "udp"
        case 1: proto = "icmp"
        case 58: proto = "ipv6-icmp"
        default: proto = String(ipProtocol)
        }
        if anyPort { return "\(range)[\(proto)]" }
        return startPort == endPort ? "\(range)[\(proto)/\(startPort)]" : "\(range)[\(proto)/\(startPort)-\(endPort)]"
    }
}
