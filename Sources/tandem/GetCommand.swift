import ArgumentParser
import Context
import Control
import Cryptography
import Glibc

struct GetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Take a session's context out, for another gateway.",
        discussion: "The context holds the session's keys: whoever has it has the session. See context.md.")

    @Argument(help: "A session's number, or a connection, a peer's identity or address, or a leased address that only one session has.")
    var name: String

    @Option(name: [.customShort("o"), .long], help: ArgumentHelp("Where to write it; - is standard output.", valueName: "file"))
    var output: String?

    @Flag(help: "The session leaves this gateway; its peer is not told.")
    var detach = false

    @Option(help: ArgumentHelp("Seal the context with the passphrase in this file's first line.", valueName: "file"))
    var passphraseFile: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard !name.isEmpty else { throw ValidationError("NAME is empty") }
        if format.json, output == nil || output == "-" { throw ValidationError("--json needs -o FILE: the context is no part of it") }
        if output == nil, isatty(STDOUT_FILENO) != 0 {
            throw ValidationError("keys are not shown on a terminal: name a file with -o, or say -o -")
        }
    }

    func run() throws {
        try reportingErrors {
            let passphrase = try passphraseFile.map(SecretFile.passphrase)
            // Found out before the session is taken away, not after.
            let target = try output.flatMap { $0 == "-" ? nil : try FreshFile($0) }
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: 30)
            let message = try client.perform(.get(GetRequest(name: name, detach: detach)))
            let summary = try ContextSummary(vici: message)
            guard summary.success, !summary.document.isEmpty else {
                target?.discard()
                throw complaint("get failed: \(summary.error ?? "no reason given")")
            }
            let text = try document(summary.text, passphrase)
            guard let target else { return write(text) }
            do {
                try target.fill(Array(text.utf8))
            } catch let failure as NewFile.Failure {
                // A detached session is nowhere else any more.
                if detach {
                    write(text)
                    throw complaint("\(failure.message); the context went to standard output")
                }
                throw complaint(failure.message)
            }
            if format.json { print(summary.json.text) } else { print(printable(told(summary))) }
        }
    }

    private func told(_ summary: ContextSummary) -> String {
        let what = "#\(summary.uniqueID ?? 0) of '\(summary.remoteID ?? "")'"
        return detach ? "\(what) has left this gateway: \(output ?? "")" : "snapshot of \(what): \(output ?? "")"
    }

    private func document(_ line: String, _ passphrase: SecretBytes?) throws -> String {
        let bytes = Array(line.utf8)
        guard let passphrase else { return (try? SessionContext.indented(bytes)) ?? line }
        do { return try SealedContext.seal(bytes, passphrase: passphrase, random: .system) } catch {
            // Better in clear in a file of root's than lost.
            guard detach else { throw complaint("the context cannot be sealed: \(error)") }
            _ = complaint("the context cannot be sealed and is written as it is: \(error)")
            return line
        }
    }

    private func write(_ text: String) { print(text, terminator: "") }
}

struct PutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Install a context that another gateway gave, and go on with its session.",
        discussion: "One context goes to one gateway, once. Refusals leave everything as it was, with exit status 2.")

    @Argument(help: ArgumentHelp("The file that tandem get wrote; - is standard input.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("The passphrase is in this file's first line.", valueName: "file"))
    var passphraseFile: String?

    @Option(help: ArgumentHelp("Go on at this address of the gateway.", valueName: "address"))
    var local: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reportingErrors {
            var bytes = try SecretFile.read(file, limit: 2 << 20)
            do throws(ContextError) {
                if SealedContext.isSealed(bytes) {
                    guard let passphraseFile else { throw ContextError.passphraseNeeded }
                    bytes = try SealedContext.open(bytes, passphrase: try passphrase(in: passphraseFile))
                }
                bytes = try SessionContext.compact(bytes)
            } catch {
                throw complaint("put refused: \(error)", ExitStatus.refused)
            }
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: 30)
            let request = PutRequest(document: String(decoding: bytes, as: UTF8.self), local: local)
            let summary = try ContextSummary(vici: try client.perform(.put(request)))
            if format.json { print(summary.json.text) }
            guard summary.success else {
                throw complaint("put refused: \(summary.error ?? "no reason given")", ExitStatus.refused)
            }
            guard !format.json else { return }
            let what = "'\(summary.remoteID ?? "")' goes on here as #\(summary.uniqueID ?? 0)"
            print(printable("\(what): \(summary.local ?? "") - \(summary.remote ?? ""), \(summary.children ?? 0) CHILD SAs"))
        }
    }

    private func passphrase(in path: String) throws(ContextError) -> SecretBytes {
        guard let passphrase = try? SecretFile.passphrase(in: path) else { throw .passphraseNeeded }
        return passphrase
    }
}

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
struct FreshFile {
    private let path: String
    private let temporary: String

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
        do { try write([], replacing: false) } catch let failure as NewFile.Failure { throw complaint(failure.message) }
    }

    /// - Throws: `NewFile.Failure`; then there is no new file, and an old one is as it was.
    func fill(_ bytes: [UInt8]) throws {
        try write(bytes, replacing: true)
        guard rename(temporary, path) == 0 else {
            let code = errno
            unlink(temporary)
            throw NewFile.Failure.system(path: path, code: code)
        }
    }

    private func write(_ bytes: [UInt8], replacing: Bool) throws {
        try bytes.withUnsafeBytes { try NewFile.write($0, to: temporary, mode: 0o600, replacing: replacing) }
    }

    func discard() { unlink(temporary) }
}
