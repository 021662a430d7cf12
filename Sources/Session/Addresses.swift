/// An IPv4 or IPv6 address, as a value: 128 bits and the family.
///
/// An IPv4 address lives in the low 32 bits of `low`.
public struct IPAddress: Hashable, Sendable {
    public enum Family: UInt8, Sendable { case ipv4 = 4, ipv6 = 6 }

    public let family: Family
    /// The upper 64 bits of an IPv6 address in host order; 0 for IPv4.
    public let high: UInt64
    /// The lower 64 bits of an IPv6 address in host order, or the 32 bits of an IPv4 address.
    public let low: UInt64

    public init(family: Family, high: UInt64, low: UInt64) {
        self.family = family
        self.high = family == .ipv4 ? 0 : high
        self.low = family == .ipv4 ? low & 0xFFFF_FFFF : low
    }

    public init(v4 value: UInt32) { self.init(family: .ipv4, high: 0, low: UInt64(value)) }

    /// From 4 or 16 octets in network order; `nil` for any other count.
    public init?(bytes: some Collection<UInt8>) {
        if let found = bytes.withContiguousStorageIfAvailable({ IPAddress(octets: UnsafeRawBufferPointer($0)) }) {
            guard let found else { return nil }
            self = found
        } else {
            self.init(bytes: Array(bytes))
        }
    }

    private init?(octets: UnsafeRawBufferPointer) {
        switch octets.count {
        case 4:
            self.init(v4: UInt32(bigEndian: octets.loadUnaligned(as: UInt32.self)))
        case 16:
            self.init(
                family: .ipv6, high: UInt64(bigEndian: octets.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: octets.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        default:
            return nil
        }
    }

    /// 4 or 16 octets in network order.
    public var bytes: [UInt8] {
        switch family {
        case .ipv4: withUnsafeBytes(of: UInt32(truncatingIfNeeded: low).bigEndian) { Array($0) }
        case .ipv6: withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) }
        }
    }

    /// 32 or 128.
    public var bitWidth: Int { family == .ipv4 ? 32 : 128 }

    public var isIPv4: Bool { family == .ipv4 }

    /// 0.0.0.0 or ::.
    public var isUnspecified: Bool { high == 0 && low == 0 }

    public static func unspecified(_ family: Family) -> IPAddress { IPAddress(family: family, high: 0, low: 0) }

    /// The address `offset` further on; `nil` past the end of the family's space.
    public func advanced(by offset: UInt64) -> IPAddress? {
        let (sum, overflow) = low.addingReportingOverflow(offset)
        if family == .ipv4 { return overflow || sum > 0xFFFF_FFFF ? nil : IPAddress(family: .ipv4, high: 0, low: sum) }
        guard overflow else { return IPAddress(family: .ipv6, high: high, low: sum) }
        return high == .max ? nil : IPAddress(family: .ipv6, high: high + 1, low: sum)
    }

    /// The address with everything past the first `length` bits set to `bit`.
    public func masked(to length: Int, filling bit: Bool = false) -> IPAddress {
        let hostBits = bitWidth - min(max(length, 0), bitWidth)
        let lowMask: UInt64 = hostBits >= 64 ? .max : (1 << UInt64(hostBits)) - 1
        let highMask: UInt64 = hostBits <= 64 ? 0 : (hostBits == 128 ? .max : (1 << UInt64(hostBits - 64)) - 1)
        return IPAddress(
            family: family, high: bit ? high | highMask : high & ~highMask, low: bit ? low | lowMask : low & ~lowMask)
    }
}

extension IPAddress: Comparable {
    public static func < (lhs: IPAddress, rhs: IPAddress) -> Bool {
        (lhs.family.rawValue, lhs.high, lhs.low) < (rhs.family.rawValue, rhs.high, rhs.low)
    }
}

extension IPAddress: LosslessStringConvertible {
    /// Reads dotted IPv4 or RFC 4291 §2.2 IPv6 text, nothing else (no zone, no port).
    public init?(_ text: String) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let words = IPAddress.parseIPv6(text) else { return nil }
            let high = words[0..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
            let low = words[4..<8].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
            self.init(family: .ipv6, high: high, low: low)
        } else {
            guard let value = IPAddress.parseIPv4(text) else { return nil }
            self.init(v4: value)
        }
    }

    private static func parseIPv4(_ text: some StringProtocol) -> UInt32? {
        var (value, octet, dots) = (UInt32(0), UInt32(0), 0)
        var hasDigit = false
        for byte in text.utf8 {
            if byte == UInt8(ascii: ".") {
                guard hasDigit, dots < 3 else { return nil }
                (value, octet, dots, hasDigit) = (value << 8 | octet, 0, dots + 1, false)
                continue
            }
            // No leading zeros: some readers take them for octal.
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte), !hasDigit || octet > 0 else { return nil }
            (octet, hasDigit) = (octet * 10 + UInt32(byte - UInt8(ascii: "0")), true)
            guard octet <= 255 else { return nil }
        }
        return dots == 3 && hasDigit ? value << 8 | octet : nil
    }

    private static func parseIPv6(_ text: String) -> [UInt16]? {
        let halves = text.components(separatedByDoubleColon: ())
        guard halves.count <= 2 else { return nil }
        func words(_ half: Substring, endsAddress: Bool) -> [UInt16]? {
            if half.isEmpty { return [] }
            var out: [UInt16] = []
            let parts = half.split(separator: ":", omittingEmptySubsequences: false)
            for (index, part) in parts.enumerated() {
                if endsAddress, index == parts.count - 1, part.contains(".") {
                    guard let v4 = parseIPv4(part) else { return nil }
                    out += [UInt16(v4 >> 16), UInt16(v4 & 0xFFFF)]
                } else {
                    guard (1...4).contains(part.count), part.allSatisfy(\.isHexDigit), let word = UInt16(part, radix: 16) else {
                        return nil
                    }
                    out.append(word)
                }
            }
            return out
        }
        guard let head = words(halves[0], endsAddress: halves.count == 1) else { return nil }
        if halves.count == 1 { return head.count == 8 ? head : nil }
        guard let tail = words(halves[1], endsAddress: true), head.count + tail.count < 8 else { return nil }
        return head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    }

    public var description: String {
        if family == .ipv4 { return "\(low >> 24).\(low >> 16 & 0xFF).\(low >> 8 & 0xFF).\(low & 0xFF)" }
        // RFC 5952 §5: an IPv4-mapped address shows the IPv4 address.
        if high == 0, low >> 32 == 0xFFFF { return "::ffff:\(IPAddress(v4: UInt32(truncatingIfNeeded: low)))" }
        let words = (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> UInt64(48 - 16 * ($0 % 4))) }
        // RFC 5952 §4.2: the longest run of at least two zero words, the first of equals.
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, words[end] == 0 { end += 1 }
            if end - start > max(best.count, 1) { best = start..<end }
            start = max(end, start + 1)
        }
        func text(_ range: Range<Int>) -> String { words[range].map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }
}

extension FixedWidthInteger {
    /// Decimal digits and nothing else: no sign, no other script's digits.
    fileprivate init?(digits text: some StringProtocol) {
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        self.init(text, radix: 10)
    }
}

extension String {
    fileprivate func components(separatedByDoubleColon: Void) -> [Substring] {
        var out: [Substring] = []
        var rest = self[...]
        while let range = rest.firstRange(of: "::") {
            out.append(rest[..<range.lowerBound])
            rest = rest[range.upperBound...]
        }
        return out + [rest]
    }
}

/// An address and a UDP port.
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    public var address: IPAddress
    public var port: UInt16

    public init(_ address: IPAddress, _ port: UInt16) {
        self.address = address
        self.port = port
    }

    public var description: String { address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)" }
}

extension Endpoint: LosslessStringConvertible {
    /// Reads `192.0.2.1:500` or `[2001:db8::1]:500`.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(digits: text[text.index(after: colon)...]) else { return nil }
        var host = text[..<colon]
        let bracketed = host.first == "[" && host.last == "]"
        if bracketed { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(String(host)), address.isIPv4 != bracketed else { return nil }
        self.init(address, port)
    }
}

/// An address with a prefix length; host bits are kept (an interface's address), `network` drops them.
public struct IPPrefix: Hashable, Sendable {
    public let address: IPAddress
    public let length: Int

    /// `nil` when the length does not fit the family.
    public init?(_ address: IPAddress, _ length: Int) {
        guard (0...address.bitWidth).contains(length) else { return nil }
        self.address = address
        self.length = length
    }

    /// The host route of an address: /32 or /128.
    public init(host address: IPAddress) {
        self.address = address
        self.length = address.bitWidth
    }

    public var network: IPPrefix { IPPrefix(address.masked(to: length), length)! }
    public var first: IPAddress { address.masked(to: length) }
    public var last: IPAddress { address.masked(to: length, filling: true) }

    public func contains(_ other: IPAddress) -> Bool {
        other.family == address.family && other >= first && other <= last
    }
}

extension IPPrefix: LosslessStringConvertible {
    /// Reads `10.1.0.0/16`; without a length the host route.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(String(parts[0])) else { return nil }
        if parts.count == 1 {
            self.init(host: address)
        } else {
            guard let length = Int(digits: parts[1]) else { return nil }
            self.init(address, length)
        }
    }

    public var description: String { "\(address)/\(length)" }
}
