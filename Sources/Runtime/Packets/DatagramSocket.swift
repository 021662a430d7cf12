import Glibc
import Session

/// Owner of a UDP or raw ESP socket that is bound to one address, or to all of one family.
final class DatagramSocket: Sendable {
    let descriptor: Int32
    /// Unspecified: all addresses of the family.
    let address: IPAddress
    /// 0 for raw ESP.
    let port: UInt16

    /// The source of what is sent has to be said with each packet, and where it came in to be asked.
    var isWildcard: Bool { address.isUnspecified }

    private init(descriptor: Int32, address: IPAddress, port: UInt16) {
        self.descriptor = descriptor
        self.address = address
        self.port = port
    }

    deinit { close(descriptor) }

    /// 4 MiB: 60 ms of 64 KiB/ms, longer than the loop is ever away.
    static let bufferLength: Int32 = 4 << 20

    enum Kind: Hashable {
        case ike
        /// UDP encapsulation; with `inKernel` the kernel takes the ESP packets out (RFC 3948).
        case encapsulation(inKernel: Bool)
        case rawESP
    }

    /// A non-blocking socket, bound; the address need not be on this host yet (the standby's is not).
    ///
    /// Never shared by SO_REUSEADDR: with it another IKE daemon would come up beside this one in silence, and any local user
    /// could take port 4500 away.
    ///
    /// - Parameter port: 0 lets the kernel choose.
    static func open(_ kind: Kind, address: IPAddress, port: UInt16) throws(PacketIOError) -> DatagramSocket {
        let family = address.isIPv4 ? AF_INET : AF_INET6
        let type = Int32((kind == .rawESP ? SOCK_RAW : SOCK_DGRAM).rawValue) | Linux.nonBlocking | Linux.closeOnExec
        let descriptor = socket(family, type, kind == .rawESP ? Int32(IPPROTO_ESP) : 0)
        guard descriptor >= 0 else { throw PacketIOError("socket for \(Endpoint(address, port))") }
        do throws(PacketIOError) {
            try configure(descriptor, kind: kind, address: address)
            try bind(descriptor, Endpoint(address, port))
            let bound = port == 0 && kind != .rawESP ? boundPort(descriptor) : port
            return DatagramSocket(descriptor: descriptor, address: address, port: bound)
        } catch {
            close(descriptor)
            throw error
        }
    }

    private static func configure(_ descriptor: Int32, kind: Kind, address: IPAddress) throws(PacketIOError) {
        let ipLevel = Int32(address.isIPv4 ? IPPROTO_IP : IPPROTO_IPV6)
        if address.isIPv4 {
            try set(descriptor, ipLevel, IP_FREEBIND, 1, "IP_FREEBIND")
        } else {
            if kind != .rawESP { try set(descriptor, ipLevel, IPV6_V6ONLY, 1, "IPV6_V6ONLY") }
            try set(descriptor, ipLevel, IPV6_FREEBIND, 1, "IPV6_FREEBIND")
        }
        // What is too long for the path is fragmented after ESP, never dropped (RFC 4303 §3.3.4).
        try set(descriptor, ipLevel, address.isIPv4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, IP_PMTUDISC_DONT, "MTU_DISCOVER")
        if address.isUnspecified {
            try set(descriptor, ipLevel, address.isIPv4 ? IP_PKTINFO : IPV6_RECVPKTINFO, 1, "PKTINFO")
        }
        for (forced, plain) in [(SO_RCVBUFFORCE, SO_RCVBUF), (SO_SNDBUFFORCE, SO_SNDBUF)] {
            // Without CAP_NET_ADMIN as much as the system allows.
            if setOption(descriptor, SOL_SOCKET, forced, bufferLength) != 0 {
                try set(descriptor, SOL_SOCKET, plain, bufferLength, "SO_RCVBUF")
            }
        }
        if case .encapsulation(let inKernel) = kind {
            // RFC 3948 §2.1: the IPv4 checksum should be zero. ESP has a better one.
            if address.isIPv4 { try set(descriptor, SOL_SOCKET, SO_NO_CHECK, 1, "SO_NO_CHECK") }
            if inKernel { try set(descriptor, Int32(IPPROTO_UDP), udpEncapsulation, espInUDP, "UDP_ENCAP") }
        }
    }

    /// `UDP_ENCAP` and `UDP_ENCAP_ESPINUDP` of linux/udp.h.
    private static let udpEncapsulation: Int32 = 100
    private static let espInUDP: Int32 = 2

    private static func set(
        _ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32, _ name: String
    ) throws(PacketIOError) {
        guard setOption(descriptor, level, option, value) == 0 else { throw PacketIOError("setsockopt \(name)") }
    }

    private static func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) -> Int32 {
        var value = value
        return setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func bind(_ descriptor: Int32, _ endpoint: Endpoint) throws(PacketIOError) {
        let result = withUnsafeTemporaryAllocation(byteCount: SocketAddress.capacity, alignment: 8) { name in
            let length = SocketAddress.write(endpoint.address, port: endpoint.port, to: name.baseAddress!)
            return Glibc.bind(descriptor, name.baseAddress!.assumingMemoryBound(to: sockaddr.self), length)
        }
        guard result == 0 else { throw PacketIOError("bind \(endpoint)") }
    }

    private static func boundPort(_ descriptor: Int32) -> UInt16 {
        withUnsafeTemporaryAllocation(byteCount: SocketAddress.capacity, alignment: 8) { name in
            var length = socklen_t(SocketAddress.capacity)
            guard getsockname(descriptor, name.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length) == 0 else { return 0 }
            return SocketAddress.read(name.baseAddress!, length: length)?.port ?? 0
        }
    }

    /// Sends one datagram, from any thread, without waiting.
    ///
    /// - Parameters:
    ///   - marker: four zero octets come first (RFC 3948 §2.2).
    ///   - source: the address that it leaves from, if the socket is for all.
    /// - Returns: false when the system did not take it.
    func send(_ bytes: [UInt8], marker: Bool, from source: IPAddress, to remote: Endpoint) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 2 * SocketAddress.capacity + PacketInfo.capacity, alignment: 8) { scratch in
            let name = scratch.baseAddress!
            let control = name + SocketAddress.capacity
            let zeros = control + PacketInfo.capacity
            zeros.storeBytes(of: 0, as: UInt32.self)
            return bytes.withUnsafeBytes { payload in
                withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
                    parts.initializeElement(at: 0, to: iovec(iov_base: zeros, iov_len: marker ? 4 : 0))
                    let start = UnsafeMutableRawPointer(mutating: payload.baseAddress)
                    parts.initializeElement(at: 1, to: iovec(iov_base: start, iov_len: payload.count))
                    var message = msghdr()
                    message.msg_name = name
                    message.msg_namelen = SocketAddress.write(remote.address, port: remote.port, to: name)
                    message.msg_iov = parts.baseAddress
                    message.msg_iovlen = 2
                    if isWildcard, !source.isUnspecified {
                        message.msg_control = control
                        message.msg_controllen = PacketInfo.write(source: source, to: control)
                    }
                    return sendmsg(descriptor, &message, Int32(MSG_DONTWAIT)) >= 0
                }
            }
        }
    }
}

/// Sockets of one purpose, found by the address that a packet leaves from.
struct SocketTable: Sendable {
    let sockets: [DatagramSocket]

    /// The socket bound to the address (and port, unless 0), else the one for all addresses of the family.
    func socket(for address: IPAddress, port: UInt16 = 0) -> DatagramSocket? {
        var wildcard: DatagramSocket?
        for socket in sockets where socket.address.family == address.family && (port == 0 || socket.port == port) {
            if socket.address == address { return socket }
            if socket.isWildcard { wildcard = socket }
        }
        return wildcard
    }
}
