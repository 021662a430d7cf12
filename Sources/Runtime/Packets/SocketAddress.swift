import Glibc
import Session

/// `sockaddr_in` and `sockaddr_in6` as octets in a place that the caller owns.
enum SocketAddress {
    /// Room for either family.
    static let capacity = 32

    /// - Returns: how many octets of `target` (at least `capacity`) are the address.
    @inline(__always)
    static func write(_ address: IPAddress, port: UInt16, to target: UnsafeMutableRawPointer) -> socklen_t {
        target.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
        if address.isIPv4 {
            target.storeBytes(of: UInt16(AF_INET), as: UInt16.self)
            target.storeBytes(of: UInt32(truncatingIfNeeded: address.low).bigEndian, toByteOffset: 4, as: UInt32.self)
            target.storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
            return 16
        }
        target.storeBytes(of: UInt16(AF_INET6), as: UInt16.self)
        target.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
        storeIPv6(address, to: target + 8)
        target.storeBytes(of: 0, toByteOffset: 24, as: UInt32.self)
        return 28
    }

    /// `nil` for anything but a whole IPv4 or IPv6 address.
    @inline(__always)
    static func read(_ source: UnsafeRawPointer, length: socklen_t) -> Endpoint? {
        guard length >= 16 else { return nil }
        let port = UInt16(bigEndian: source.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        switch Int32(source.loadUnaligned(as: UInt16.self)) {
        case AF_INET:
            return Endpoint(IPAddress(v4: UInt32(bigEndian: source.loadUnaligned(fromByteOffset: 4, as: UInt32.self))), port)
        case AF_INET6 where length >= 28:
            return Endpoint(loadIPv6(source + 8), port)
        default:
            return nil
        }
    }

    @inline(__always)
    static func storeIPv6(_ address: IPAddress, to target: UnsafeMutableRawPointer) {
        target.storeBytes(of: address.high.bigEndian, as: UInt64.self)
        target.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    @inline(__always)
    static func loadIPv6(_ source: UnsafeRawPointer) -> IPAddress {
        IPAddress(
            family: .ipv6, high: UInt64(bigEndian: source.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: source.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
}

/// IP_PKTINFO and IPV6_PKTINFO: with a socket for all addresses, which of them a datagram came to or leaves from.
enum PacketInfo {
    /// Room for the control message of either family: `CMSG_SPACE` of 20 octets.
    static let capacity = 40
    private static let headerLength = 16

    /// - Returns: how many octets of `target` (at least `capacity`) are the control message.
    static func write(source: IPAddress, to target: UnsafeMutableRawPointer) -> Int {
        target.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
        let data = target + headerLength
        let dataLength = source.isIPv4 ? 12 : 20
        target.storeBytes(of: headerLength + dataLength, as: Int.self)
        target.storeBytes(of: Int32(source.isIPv4 ? IPPROTO_IP : IPPROTO_IPV6), toByteOffset: 8, as: Int32.self)
        target.storeBytes(of: source.isIPv4 ? IP_PKTINFO : IPV6_PKTINFO, toByteOffset: 12, as: Int32.self)
        if source.isIPv4 {
            data.storeBytes(of: UInt32(truncatingIfNeeded: source.low).bigEndian, toByteOffset: 4, as: UInt32.self)
            return 32
        }
        SocketAddress.storeIPv6(source, to: data)
        return 40
    }

    /// The address that a datagram was sent to; `nil` when the first control message does not say.
    static func read(_ control: UnsafeRawPointer, length: Int) -> IPAddress? {
        guard length >= headerLength + 12 else { return nil }
        let level = control.loadUnaligned(fromByteOffset: 8, as: Int32.self)
        let type = control.loadUnaligned(fromByteOffset: 12, as: Int32.self)
        let data = control + headerLength
        if level == Int32(IPPROTO_IP), type == IP_PKTINFO {
            return IPAddress(v4: UInt32(bigEndian: data.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
        }
        if level == Int32(IPPROTO_IPV6), type == IPV6_PKTINFO, length >= headerLength + 20 { return SocketAddress.loadIPv6(data) }
        return nil
    }
}
