import Cryptography
import Glibc
import Node

/// Where the pair's key and certificates stand, and how they are replaced: each file whole or not at all, whatever stops the host when.
struct PairFiles: Hashable, Sendable {
    var certificate: String
    var key: String
    /// One certificate; for as long as the other node changes its own, the next one behind it.
    var peerCertificate: String

    /// What a step could not do.
    struct Failure: Error, Hashable {
        var reason: String
        init(_ reason: String) { self.reason = reason }
    }

    /// A key and a certificate that are not in use yet.
    struct Staged: Sendable {
        var certificatePEM: String
        var keyPEM: SecretBytes
        var certificate: PairCertificate
    }

    private var nextCertificate: String { certificate + ".next" }
    private var nextKey: String { key + ".next" }

    /// Makes a key and a certificate, and puts them beside the present ones.
    func stage(name: String, days: Int, peerPEM: String) throws(Failure) -> Staged {
        let staged: Staged
        do throws(CryptographyError) {
            let made = try PairIdentity.generate(name: name, validDays: days)
            let certificate = try PairFiles.certificate(
                made.certificatePEM, secret: try pairSecret(ownKeyPEM: made.keyPEM, peerCertificatePEM: peerPEM))
            staged = Staged(certificatePEM: made.certificatePEM, keyPEM: made.keyPEM, certificate: certificate)
        } catch {
            throw Failure("cannot make a certificate for \(name): \(error)")
        }
        // A key that stands there because it could not be put in its place is the one of the certificate in use.
        tidy()
        guard access(nextKey, F_OK) != 0 else { throw Failure("\(nextKey) cannot be put in the place of \(key)") }
        try write(staged.keyPEM, to: nextKey, mode: 0o600)
        try write(SecretBytes(staged.certificatePEM.utf8), to: nextCertificate, mode: 0o644)
        return staged
    }

    /// The certificate first: a key that does not go with it is looked for beside the present one, whenever the files are read.
    ///
    /// - Parameters:
    ///   - staged: what `stage` has put there.
    ///   - present: the certificate that is replaced, to put back when the key cannot be replaced.
    /// - Throws: with the present ones in their places. If not even that can be, the new ones count, and the next start finds the key.
    func adopt(_ staged: Staged, insteadOf present: String) throws(Failure) {
        guard (try? FileContents.read(nextCertificate, isSecret: false)) == Array(staged.certificatePEM.utf8) else {
            throw Failure("\(nextCertificate) is not the one that was made")
        }
        try rename(nextCertificate, to: certificate)
        do throws(Failure) {
            try rename(nextKey, to: key)
        } catch {
            do throws(Failure) {
                try write(SecretBytes(present.utf8), to: nextCertificate, mode: 0o644)
                try rename(nextCertificate, to: certificate)
            } catch {
                return
            }
            throw error
        }
    }

    func writePeer(_ certificates: [String]) throws(Failure) {
        let path = AbsolutePath.of(peerCertificate)
        let temporary = path + ".next"
        try write(SecretBytes(certificates.map(PEMText.withNewline).joined().utf8), to: temporary, mode: 0o644)
        try rename(temporary, to: path)
    }

    /// What a change that was cut short, or that nobody wants any more, has left is finished, or thrown away.
    func tidy() {
        guard access(nextKey, F_OK) == 0 || access(nextCertificate, F_OK) == 0 else { return }
        let present = (try? FileContents.read(certificate, isSecret: false)).map { String(decoding: $0, as: UTF8.self) }
        let next = (try? FileContents.read(nextKey, isSecret: true)).map { SecretBytes($0) }
        if let present, let next, PairFiles.belongs(next, to: present) {
            // Without this key the certificate is worth nothing.
            try? rename(nextKey, to: key)
        } else {
            unlink(nextKey)
        }
        unlink(nextCertificate)
    }

    /// The key of this certificate: in its file, or beside it when the daemon was stopped in the middle of a change.
    func readKey(for certificatePEM: String) throws(FileContents.Failure) -> SecretBytes {
        let present = SecretBytes(try FileContents.read(key, isSecret: true))
        guard !PairFiles.belongs(present, to: certificatePEM), access(nextKey, F_OK) == 0 else { return present }
        let next = SecretBytes(try FileContents.read(nextKey, isSecret: true))
        return PairFiles.belongs(next, to: certificatePEM) ? next : present
    }

    static func belongs(_ key: SecretBytes, to certificatePEM: String) -> Bool {
        guard let certificates = try? X509Certificate.read(Array(certificatePEM.utf8)), let first = certificates.first else { return false }
        return (try? SigningKey(privatePEM: key))?.matches(first) == true
    }

    static func certificate(_ pem: String, secret: SecretBytes) throws(CryptographyError) -> PairCertificate {
        PairCertificate(
            digest: try certificateFingerprint(pem: pem), notAfterMilliseconds: try certificateNotAfter(pem: pem) * 1000, secret: secret)
    }

    // MARK: - Files

    private func write(_ bytes: SecretBytes, to path: String, mode: mode_t) throws(Failure) {
        unlink(path)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw Failure("\(path): \(errorText())") }
        defer { close(descriptor) }
        let isWhole =
            fchmod(descriptor, mode) == 0 && bytes.withUnsafeBytes { PairFiles.writeAll($0, to: descriptor) } && fsync(descriptor) == 0
        guard isWhole else {
            let reason = errorText()
            unlink(path)
            throw Failure("\(path): \(reason)")
        }
    }

    private static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
        var written = 0
        while written < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress! + written, bytes.count - written)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            written += count
        }
        return true
    }

    /// Seen onto the disk, so that no later rename overtakes it.
    private func rename(_ from: String, to path: String) throws(Failure) {
        guard Glibc.rename(from, path) == 0 else { throw Failure("\(path): \(errorText())") }
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}

/// Certificates in text.
enum PEMText {
    private static let end = "-----END CERTIFICATE-----"

    /// Each certificate by itself, as it stands there.
    static func certificates(_ text: String) -> [String] {
        var found: [String] = []
        var rest = text[...]
        while let last = rest.firstRange(of: end) {
            found.append(withNewline(String(rest[..<last.upperBound].drop { $0.isWhitespace })))
            rest = rest[last.upperBound...]
        }
        return found
    }

    static func withNewline(_ pem: String) -> String { pem.hasSuffix("\n") ? pem : pem + "\n" }
}
