import Cryptography
import Glibc
import Netlink
import Session

/// Opens things in namespaces, and talks through them.
enum World {
    static func enter(_ space: String) throws { try NetworkNamespace.enter(path: "/run/netns/\(space)") }

    static func inside<R>(_ space: String, _ body: () throws -> R) throws -> R {
        try enter(space)
        return try body()
    }

    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) / 1e6
    }
}

/// A UDP socket, in the namespace in which it was made.
final class UDP {
    let descriptor: Int32

    init(_ endpoint: Endpoint) {
        descriptor = socket(endpoint.address.isIPv4 ? AF_INET : AF_INET6, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
        let code = withAddress(endpoint) { bind(descriptor, $0, $1) }
        precondition(code == 0, "bind \(endpoint): \(String(cString: strerror(errno)))")
    }

    deinit { close(descriptor) }

    @discardableResult
    func send(_ text: String, to endpoint: Endpoint) -> Bool {
        let bytes = Array(text.utf8)
        return withAddress(endpoint) { sendto(descriptor, bytes, bytes.count, 0, $0, $1) } == bytes.count
    }

    /// What comes within the time, and from where.
    func receive(withinMs: Int32) -> (text: String, from: Endpoint)? {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, withinMs) == 1 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 2048)
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let count = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length) }
        }
        guard count >= 0 else { return nil }
        let from = withUnsafeBytes(of: storage) { raw in
            let port = UInt16(raw[2]) << 8 | UInt16(raw[3])
            return Endpoint(IPAddress(bytes: storage.ss_family == sa_family_t(AF_INET) ? raw[4..<8] : raw[8..<24])!, port)
        }
        return (String(decoding: buffer[..<count], as: UTF8.self), from)
    }
}

func withAddress<R>(_ endpoint: Endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    var storage = sockaddr_storage()
    storage.ss_family = sa_family_t(endpoint.address.isIPv4 ? AF_INET : AF_INET6)
    withUnsafeMutableBytes(of: &storage) { raw in
        raw[2] = UInt8(endpoint.port >> 8)
        raw[3] = UInt8(endpoint.port & 0xFF)
        UnsafeMutableRawBufferPointer(rebasing: raw[(endpoint.address.isIPv4 ? 4 : 8)...]).copyBytes(from: endpoint.address.bytes)
    }
    let length = socklen_t(endpoint.address.isIPv4 ? 16 : 28)
    return withUnsafePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
}

/// The IP packets that leave through an interface, of the namespace in which it was made. (What the kernel has decrypted comes in once
/// more by the same interface, in clear; that is not on the wire.)
final class Capture {
    private let descriptor: Int32
    private let index: Int32

    init(_ interface: String) throws {
        index = try Links.index(of: interface)
        descriptor = socket(AF_PACKET, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), Int32(UInt16(3).bigEndian))  // ETH_P_ALL
        precondition(descriptor >= 0)
    }

    deinit { close(descriptor) }

    /// Those since the last call.
    func packets() -> [[UInt8]] {
        var out: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let count = withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length) }
            }
            guard count > 0 else { return out }
            // struct sockaddr_ll: the interface at 4, the packet's direction at 10, 4 for outgoing.
            let isWanted = withUnsafeBytes(of: storage) { $0.load(fromByteOffset: 4, as: Int32.self) == index && $0[10] == 4 }
            if isWanted, [4, 6].contains(buffer[0] >> 4) { out.append(Array(buffer[..<count])) }
        }
    }

    /// How many of them have an inner address in clear.
    func clearCount() -> Int {
        packets().filter { packet in
            let inner: [[UInt8]] = [[10, 20], [0xFD, 0, 0, 0x20]]
            let sides = packet[0] >> 4 == 4 ? [packet[12...], packet[16...]] : [packet[8...], packet[24...]]
            return sides.contains { side in inner.contains { side.starts(with: $0) } }
        }.count
    }
}
