public import Session

/// What of an inner IP packet decides which SA it belongs to: addresses, protocol, ports (RFC 4301 §4.4.1.1).
public struct PacketFlow: Hashable, Sendable {
    public var source: IPAddress
    public var destination: IPAddress
    /// The protocol after IPv6 extension headers; in a later fragment what the fragment header says.
    public var ipProtocol: UInt8
    /// For ICMP and ICMPv6 type · 256 + code in both, for Mobility Header its type · 256 (RFC 7296 §3.13.1).
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    /// False for protocols without ports and for fragments that do not hold them (OPAQUE): only selectors of all ports match.
    public var hasPorts: Bool
    /// The length of the packet as its header gives it, at most that of the buffer.
    public var length: Int

    public init(
        source: IPAddress, destination: IPAddress, ipProtocol: UInt8, sourcePort: UInt16 = 0, destinationPort: UInt16 = 0,
        hasPorts: Bool = false, length: Int = 0
    ) {
        self.source = source
        self.destination = destination
        self.ipProtocol = ipProtocol
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.hasPorts = hasPorts
        self.length = length
    }

    /// Reads the headers of an IPv4 or IPv6 packet; octets after the packet's own length are allowed (TFC padding,
    /// RFC 4303 §2.7). `nil` when a length does not fit.
    public init?(_ packet: UnsafeRawBufferPointer) {
        guard packet.count >= 20 else { return nil }
        switch packet[0] >> 4 {
        case 4: self.init(ipv4: packet)
        case 6: self.init(ipv6: packet)
        default: return nil
        }
    }

    private init?(ipv4 packet: UnsafeRawBufferPointer) {
        let headerLength = Int(packet[0] & 15) * 4
        let total = Int(packet.bigEndian16(at: 2))
        guard headerLength >= 20, total >= headerLength, total <= packet.count else { return nil }
        self.init(
            source: IPAddress(v4: packet.bigEndian32(at: 12)), destination: IPAddress(v4: packet.bigEndian32(at: 16)),
            ipProtocol: packet[9], length: total)
        let fragmentOffset = packet.bigEndian16(at: 6) & 0x1FFF
        if fragmentOffset == 0 { readPorts(packet, at: headerLength) }
    }

    private init?(ipv6 packet: UnsafeRawBufferPointer) {
        guard packet.count >= 40 else { return nil }
        // A jumbogram (payload length 0, RFC 2675) has no room in a tunnel.
        let total = 40 + Int(packet.bigEndian16(at: 4))
        guard total <= packet.count else { return nil }
        self.init(
            source: IPAddress(family: .ipv6, high: packet.bigEndian64(at: 8), low: packet.bigEndian64(at: 16)),
            destination: IPAddress(family: .ipv6, high: packet.bigEndian64(at: 24), low: packet.bigEndian64(at: 32)),
            ipProtocol: packet[6], length: total)
        guard skipExtensionHeaders(packet) else { return nil }
    }

    /// A chain longer than any real sender's is refused, so that a packet cannot buy more work than its neighbours.
    private static let extensionHeaderCountMax = 8

    /// Walks the extension headers to the upper protocol; false when one is cut off.
    private mutating func skipExtensionHeaders(_ packet: UnsafeRawBufferPointer) -> Bool {
        var offset = 40
        for _ in 0..<PacketFlow.extensionHeaderCountMax {
            let unit: Int
            switch ipProtocol {
            case 0, 43, 60: unit = 8  // hop-by-hop, routing, destination options: RFC 8200 §4
            case 51: unit = 4  // AH counts words, RFC 4302 §2.2
            case 44:
                guard offset + 8 <= length else { return false }
                ipProtocol = packet[offset]
                if packet.bigEndian16(at: offset + 2) & 0xFFF8 != 0 { return true }
                offset += 8
                continue
            default:
                readPorts(packet, at: offset)
                return true
            }
            guard offset + 8 <= length else { return false }
            let next = packet[offset]
            offset += unit == 8 ? (Int(packet[offset + 1]) + 1) * 8 : (Int(packet[offset + 1]) + 2) * 4
            guard offset <= length else { return false }
            ipProtocol = next
        }
        return false
    }

    private mutating func readPorts(_ packet: UnsafeRawBufferPointer, at offset: Int) {
        switch ipProtocol {
        case 6, 17, 33, 132, 136:  // TCP, UDP, DCCP, SCTP, UDP-Lite
            guard offset + 4 <= length else { return }
            sourcePort = packet.bigEndian16(at: offset)
            destinationPort = packet.bigEndian16(at: offset + 2)
        case 1, 58:
            guard offset + 2 <= length else { return }
            sourcePort = packet.bigEndian16(at: offset)
            destinationPort = sourcePort
        case 135:
            guard offset + 3 <= length else { return }
            sourcePort = UInt16(packet[offset + 2]) << 8
            destinationPort = sourcePort
        default: return
        }
        hasPorts = true
    }
}

extension UnsafeRawBufferPointer {
    /// The callers have checked the length; the trap stays for those who have not.
    @inline(__always)
    func bigEndian16(at offset: Int) -> UInt16 {
        precondition(offset >= 0 && offset + 2 <= count)
        return UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    @inline(__always)
    func bigEndian32(at offset: Int) -> UInt32 {
        precondition(offset >= 0 && offset + 4 <= count)
        return UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inline(__always)
    func bigEndian64(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset + 8 <= count)
        return UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
