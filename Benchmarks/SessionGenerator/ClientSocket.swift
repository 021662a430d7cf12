import ArgumentParser
import Glibc
import Session

/// The UDP socket from which all sessions speak.
struct ClientSocket {
    private let descriptor: Int32

    /// For the answers of a gateway that is far quicker than we are.
    private static let receiveBufferOctets: Int32 = 8 << 20
    private static let datagramOctetsMax = 65_536

    /// - Throws: `ValidationError` when the address is not ours or the port is taken.
    init(_ local: Endpoint) throws {
        guard local.address.isIPv4 else { throw ValidationError("--local takes an IPv4 address") }
        descriptor = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var size = ClientSocket.receiveBufferOctets
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        let result = ClientSocket.withAddress(local) { bind(descriptor, $0, $1) }
        guard descriptor >= 0, result == 0 else { throw ValidationError("cannot bind \(local): \(String(cString: strerror(errno)))") }
    }

    /// A datagram that the system does not take is lost like any other, and repeated by the initiator.
    func send(_ datagrams: [Datagram]) {
        for datagram in datagrams {
            _ = ClientSocket.withAddress(datagram.remote) { sendto(descriptor, datagram.bytes, datagram.bytes.count, 0, $0, $1) }
        }
    }

    /// Waits for a datagram; returns all that are there.
    func receive(waitingMilliseconds: Int32) -> [[UInt8]] {
        var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, waitingMilliseconds) > 0 else { return [] }
        var datagrams: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: ClientSocket.datagramOctetsMax)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { return datagrams }
            datagrams.append(Array(buffer.prefix(count)))
        }
    }

    private static func withAddress<R>(_ endpoint: Endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = endpoint.port.bigEndian
        address.sin_addr.s_addr = UInt32(truncatingIfNeeded: endpoint.address.low).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }
}
