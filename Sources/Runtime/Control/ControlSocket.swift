import Glibc

/// Why the control socket cannot be opened.
public enum ControlSocketError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Longer than a Unix socket's address can be.
    case pathTooLong(String)
    /// Another daemon answers there.
    case inUse(String)
    /// Something that is not a socket stands there; it is left alone.
    case notASocket(String)
    /// A system call failed; `errno`.
    case system(call: String, path: String, code: Int32)

    public var description: String {
        switch self {
        case .pathTooLong(let path): return "control socket \(path): the path is longer than \(ControlSocket.pathBytesMax) bytes"
        case .inUse(let path): return "control socket \(path): another daemon is listening there"
        case .notASocket(let path): return "control socket \(path): a file that is not a socket stands there"
        case .system(let call, let path, let code): return "control socket \(path): \(call): \(String(cString: strerror(code)))"
        }
    }
}

/// The listening Unix socket: made so that at no moment anyone but its owner may connect.
enum ControlSocket {
    /// `sun_path` with its terminating zero.
    static let pathBytesMax = 107

    /// A bound descriptor at `path`: mode 0600, because keys may go over it, or 0660 and of a group. A folder that is missing is made (mode 0750), only the last one of the path. A
    /// socket on which nobody listens is removed.
    static func bind(path: String, group: UInt32? = nil) throws(ControlSocketError) -> Int32 {
        guard path.utf8.count <= pathBytesMax else { throw .pathTooLong(path) }
        try makeFolder(of: path, group)
        try removeStale(path)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw .system(call: "socket", path: path, code: errno) }
        do throws(ControlSocketError) {
            // Before bind, so that the file never has more than this mode, whatever the umask.
            guard fchmod(descriptor, 0o600) == 0 else { throw .system(call: "fchmod", path: path, code: errno) }
            let result = withAddress(path) { Glibc.bind(descriptor, $0, $1) }
            guard result == 0 else { throw .system(call: "bind", path: path, code: errno) }
            try open(path, to: group, mode: 0o600, andGroup: 0o660)
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Names the socket file as long as it stands: `nil` when there is none.
    static func inode(of path: String) -> UInt64? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        return UInt64(status.st_ino)
    }

    /// The group before the mode, so that at no moment another group may connect.
    private static func open(_ path: String, to group: UInt32?, mode: mode_t, andGroup: mode_t) throws(ControlSocketError) {
        // -1 leaves the owner as it is.
        if let group, chown(path, uid_t.max, group) != 0 { throw .system(call: "chown", path: path, code: errno) }
        guard chmod(path, group == nil ? mode : andGroup) == 0 else { throw .system(call: "chmod", path: path, code: errno) }
    }

    private static func makeFolder(of path: String, _ group: UInt32?) throws(ControlSocketError) {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
        let folder = String(path[..<slash])
        guard mkdir(folder, 0o750) == 0 else {
            guard errno == EEXIST else { throw .system(call: "mkdir \(folder)", path: path, code: errno) }
            return
        }
        if group != nil { try open(folder, to: group, mode: 0o750, andGroup: 0o750) }
    }

    private static func removeStale(_ path: String) throws(ControlSocketError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw .system(call: "lstat", path: path, code: errno)
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path) }
        let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard probe >= 0 else { throw .system(call: "socket", path: path, code: errno) }
        defer { close(probe) }
        // EAGAIN: somebody listens and is busy.
        let connected = withAddress(path) { connect(probe, $0, $1) }
        guard connected != 0, errno == ECONNREFUSED else { throw .inUse(path) }
        guard unlink(path) == 0 || errno == ENOENT else { throw .system(call: "unlink", path: path, code: errno) }
    }

    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(pathBytesMax)) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}
