import Glibc

/// Datagrams to a Unix socket, for the service manager and the journal.
enum UnixDatagram {
    /// A socket connected to `path`; a path that begins with `@` is in the abstract namespace.
    static func connect(_ path: String) -> Int32? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var octets = Array(path.utf8)
        guard !octets.isEmpty, octets.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        let isAbstract = octets[0] == UInt8(ascii: "@")
        if isAbstract { octets[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: octets) }
        // An abstract name ends where its length says, not at a NUL.
        let length = MemoryLayout<sa_family_t>.size + octets.count + (isAbstract ? 0 : 1)
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(descriptor, $0, socklen_t(length)) }
        }
        guard result == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }
}
