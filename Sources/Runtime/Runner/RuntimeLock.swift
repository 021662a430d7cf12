import Glibc

/// The runtime directory, held so that no second daemon of the same directory runs. Given up when the process ends, however.
final class RuntimeLock {
    enum Failure: Error, CustomStringConvertible {
        case held(String, by: String)
        case unusable(String, String)

        var description: String {
            switch self {
            case .held(let path, let holder): "another tandemd runs already (\(holder) holds \(path)); stop it, or set runtime.directory"
            case .unusable(let path, let reason): "cannot use \(path): \(reason)"
            }
        }
    }

    private let descriptor: Int32

    /// Makes the directory if need be, and takes the lock.
    init(directory: String) throws(Failure) {
        guard mkdir(directory, 0o755) == 0 || errno == EEXIST else { throw .unusable(directory, errorText()) }
        let path = "\(directory)/tandemd.lock"
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .unusable(path, errorText()) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            let holder = RuntimeLock.holder(descriptor)
            // A throw from here runs deinit, which closes it; twice would close a file of somebody else.
            throw reason == EWOULDBLOCK ? .held(path, by: holder) : .unusable(path, errorText(reason))
        }
        let text = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        _ = pwrite(descriptor, text, text.count, 0)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static func holder(_ descriptor: Int32) -> String {
        var text = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &text, text.count, 0)
        let digits = text.prefix(max(0, count)).prefix { (0x30...0x39).contains($0) }
        return digits.isEmpty ? "it" : "process \(String(decoding: digits, as: UTF8.self))"
    }
}
