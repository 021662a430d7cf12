import Cryptography
import Glibc

/// Files with secrets in them.
enum SecretFile {
    /// The first line, without its end.
    static func passphrase(in path: String) throws -> SecretBytes {
        let line = try read(path, limit: 4096).prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard !line.isEmpty else { throw complaint("\(path): the passphrase is empty") }
        return SecretBytes(line)
    }

    /// Reads a file whole. Whoever else may read it is told of; it may belong to root or to whoever runs this, nobody else.
    static func read(_ path: String, limit: Int) throws -> [UInt8] {
        let isStandardInput = path == "-"
        let descriptor = isStandardInput ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw complaint("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var status = stat()
        if !isStandardInput, fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG {
            guard status.st_uid == 0 || status.st_uid == geteuid() else {
                throw complaint("\(path) belongs to another user: who made it may have put anything in it")
            }
            if status.st_mode & 0o077 != 0 { warn("\(path) can be read by others; the keys in it are theirs too") }
        }
        var out: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw complaint("\(path): \(String(cString: strerror(errno)))") }
            if count == 0 { return out }
            out += chunk.prefix(count)
            guard out.count <= limit else { throw complaint("\(path) is longer than \(limit) bytes") }
        }
    }

    private static func warn(_ text: String) {
        let line = Array("tandem: warning: \(printable(text))\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }
}

/// A file that comes into its place whole or not at all, readable by its owner only.
final class FreshFile {
    private let path: String
    private let temporary: String
    private let descriptor: Int32
    private var isInPlace = false

    /// Sees that it can be made, and takes the place beside it.
    ///
    /// - Throws: when there is something at the path that is not an own regular file.
    init(_ path: String) throws {
        self.path = path
        temporary = "\(path).\(getpid()).new"
        var status = stat()
        if lstat(path, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid() else {
                throw complaint("\(path) exists and is not a file of your own; it is not replaced")
            }
        }
        do { descriptor = try NewFile.make(temporary, mode: 0o600) } catch { throw complaint(error.message) }
    }

    deinit {
        if !isInPlace { unlink(temporary) }
        close(descriptor)
    }

    /// - Throws: `NewFile.Failure`; then there is no new file, and an old one is as it was.
    func fill(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try NewFile.fill(descriptor, with: $0, at: temporary) }
        guard rename(temporary, path) == 0 else { throw NewFile.Failure.system(path: path, code: errno) }
        isInPlace = true
    }
}
