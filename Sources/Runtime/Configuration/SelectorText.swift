import IKE
import Session

/// A prefix or a range of addresses of one family.
struct AddressRange {
    var first: IPAddress
    var last: IPAddress
    /// `nil` for a range.
    var prefix: IPPrefix?

    /// Reads `10.0.0.0/8`, `10.0.0.1`, `10.0.0.1-10.0.0.9` or `10.0.0.1..10.0.0.9`.
    init?(_ text: String) {
        if let prefix = IPPrefix(text) {
            self.prefix = prefix
            first = prefix.first
            last = prefix.last
            return
        }
        guard let separator = text.firstRange(of: "..") ?? text.firstRange(of: "-"),
            let first = IPAddress(trimmed(text[..<separator.lowerBound])), let last = IPAddress(trimmed(text[separator.upperBound...])),
            first.family == last.family, first <= last
        else { return nil }
        self.first = first
        self.last = last
    }

    /// What may be handed out: of a prefix not the network's own address and, in IPv4, not its broadcast address.
    var hosts: (first: IPAddress, last: IPAddress) {
        guard let prefix, prefix.length < prefix.address.bitWidth - 1 else { return (first, last) }
        let afterFirst = first.advanced(by: 1) ?? first
        guard last.isIPv4 else { return (afterFirst, last) }
        return (afterFirst, IPAddress(v4: UInt32(last.low) - 1))
    }

    /// The smallest prefix around it.
    var network: IPPrefix {
        if let prefix { return prefix.network }
        var length = first.bitWidth
        while length > 0, first.masked(to: length) != last.masked(to: length) { length -= 1 }
        return IPPrefix(first.masked(to: length), length)!
    }
}

/// Traffic selectors as swanctl.conf writes them: `dynamic`, or a prefix or range with an optional `[protocol/port]`.
enum SelectorText {
    static func parse(_ text: String) -> SelectorConfiguration? {
        if text == "dynamic" { return .dynamic }
        var range = text[...]
        var service: Substring?
        if let open = text.firstIndex(of: "["), text.last == "]" {
            range = text[..<open]
            service = text[text.index(after: open)...].dropLast()
        }
        guard let addresses = AddressRange(String(range)) else { return nil }
        var selector = TrafficSelector(start: addresses.first, end: addresses.last)
        if let service {
            guard let (ipProtocol, ports) = parseService(service) else { return nil }
            selector.ipProtocol = ipProtocol
            selector.startPort = ports.lowerBound
            selector.endPort = ports.upperBound
        }
        return .selector(selector)
    }

    /// `tcp`, `tcp/443`, `17/1000-2000`, `any/53`.
    private static func parseService(_ text: Substring) -> (UInt8, ClosedRange<UInt16>)? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { trimmed($0) }
        let names: [String: UInt8] = [
            "any": 0, "icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "ipv6-icmp": 58, "icmpv6": 58, "ospf": 89, "sctp": 132,
        ]
        guard parts.count <= 2, let ipProtocol = names[parts[0]] ?? UInt8(parts[0]) else { return nil }
        guard parts.count == 2, parts[1] != "any" else { return (ipProtocol, 0...65535) }
        let ports = parts[1].split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
        guard let first = ports[0] else { return nil }
        if ports.count == 1 { return (ipProtocol, first...first) }
        guard ports.count == 2, let last = ports[1], first <= last else { return nil }
        return (ipProtocol, first...last)
    }
}
