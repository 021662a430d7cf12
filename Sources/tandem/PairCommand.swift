import ArgumentParser
import Control
import Cryptography
import Glibc

struct PairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pair", abstract: "What makes two gateways a pair.", subcommands: [PairInitCommand.self, PairRotateCommand.self])
}

struct PairInitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Make this node's key and certificate for the link between the two nodes.",
        discussion: "Run it once on each node, then give each the other's certificate. The key never leaves its node.")

    @Option(help: "This node's name.")
    var name: String

    @Option(help: "The other node's name.")
    var peerName: String

    @Option(help: "Where the two files are written.")
    var directory = "."

    @Option(help: "Days for which the certificate is valid.")
    var days = 3650

    @Flag(help: "Replace files that exist. The other node needs the new certificate before it trusts this one again.")
    var force = false

    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard (1...PairIdentity.validDaysMax).contains(days) else {
            throw ValidationError("--days is between 1 and \(PairIdentity.validDaysMax)")
        }
        guard name != peerName else { throw ValidationError("--name and --peer-name are the same: each node has its own") }
    }

    func run() throws {
        let (key, certificate) = ("\(directory)/\(name).key", "\(directory)/\(name).crt")
        let fingerprint: [UInt8]
        do {
            let identity = try PairIdentity.generate(name: name, validDays: days)
            fingerprint = try certificateFingerprint(pem: identity.certificatePEM)
            if !force { for path in [key, certificate] where access(path, F_OK) == 0 { throw NewFile.Failure.exists(path) } }
            try identity.keyPEM.withUnsafeBytes { try NewFile.write($0, to: key, mode: 0o600, replacing: force) }
            try Array(identity.certificatePEM.utf8).withUnsafeBytes {
                try NewFile.write($0, to: certificate, mode: 0o644, replacing: force)
            }
        } catch let failure as NewFile.Failure {
            throw complaint(failure.message)
        } catch CryptographyError.badEncoding {
            throw complaint("the name '\(name)' cannot stand in a certificate: letters, digits, '.', '-' and '_' only")
        }
        print(format.json ? json(key: key, certificate: certificate, fingerprint).text : instructions(key: key, certificate: certificate))
    }

    private func json(key: String, certificate: String, _ fingerprint: [UInt8]) -> JSON {
        let hex = fingerprint.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        return .object([
            JSON.Member("name", .string(name)), JSON.Member("key", .string(key)), JSON.Member("certificate", .string(certificate)),
            JSON.Member("certificate_sha256", .string(hex)), JSON.Member("valid_days", .integer(Int64(days))),
        ])
    }

    private func instructions(key: String, certificate: String) -> String {
        """
        \(key): stays on \(name). Never copy it.
        \(certificate): copy it to \(peerName). It is valid for \(days) days.

        On \(peerName), if not done yet:
          tandem pair init --name \(peerName) --peer-name \(name)
        and bring its \(peerName).crt here, beside \(name).crt.

        Then the configuration of \(name) says:
          [pair]
          peer = "\(peerName)"
          certificate = "\(name).crt"
          key = "\(name).key"
          peer_certificate = "\(peerName).crt"
        Paths are relative to the configuration file.
        """
    }
}

/// Makes files that did not exist before.
enum NewFile {
    enum Failure: Error {
        case exists(String)
        case system(path: String, code: Int32)

        var message: String {
            switch self {
            case .exists(let path): return "\(path) exists: --force replaces it"
            case .system(let path, let code): return "\(path): \(String(cString: strerror(code)))"
            }
        }
    }

    /// Writes a new file whole, with this mode from its first byte on, and sees it onto the disk.
    static func write(_ bytes: UnsafeRawBufferPointer, to path: String, mode: mode_t, replacing: Bool) throws(Failure) {
        if replacing, unlink(path) != 0, errno != ENOENT { throw .system(path: path, code: errno) }
        let descriptor = try make(path, mode: mode)
        defer { close(descriptor) }
        try fill(descriptor, with: bytes, at: path)
    }

    /// Takes the place: an empty file, open for writing.
    static func make(_ path: String, mode: mode_t) throws(Failure) -> Int32 {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw errno == EEXIST ? .exists(path) : .system(path: path, code: errno) }
        return descriptor
    }

    /// Writes what the file is to hold, and sees it onto the disk.
    static func fill(_ descriptor: Int32, with bytes: UnsafeRawBufferPointer, at path: String) throws(Failure) {
        var written = 0
        while written < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress! + written, bytes.count - written)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw abandon(path) }
            written += count
        }
        guard fsync(descriptor) == 0 else { throw abandon(path) }
    }

    /// Half a file is worse than none.
    private static func abandon(_ path: String) -> Failure {
        let code = errno
        unlink(path)
        return .system(path: path, code: code)
    }
}
