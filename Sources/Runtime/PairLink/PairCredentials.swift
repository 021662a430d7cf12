import Cryptography
import NIOCore
import NIOPosix
import Node

/// By what this node is known to the other, and which certificates it takes for the other's: carries out what the node wants changed of it.
/// Files are written on a thread of their own, because a disk may take longer than a dead peer. Belongs to the node's event loop.
final class PairCredentials {
    private let name: String
    private let files: PairFiles
    private let link: PairLink
    private let eventLoop: any EventLoop
    private let log: (LogLine) -> Void
    private let submit: (CertificateEvent) -> Void
    /// Made when the first file is to be written.
    private var pool: NIOThreadPool?
    private var certificatePEM: String
    private var keyPEM: SecretBytes
    /// The one in use first.
    private var peerPEMs: [String]
    private var staged: PairFiles.Staged?
    /// Counts what was ordered to be made or given up: what is ready too late is not taken for what was ordered after it.
    private var preparation = 0

    init(
        _ settings: PairLinkSettings, files: PairFiles, name: String, link: PairLink, eventLoop: any EventLoop,
        log: @escaping (LogLine) -> Void, submit: @escaping (CertificateEvent) -> Void
    ) {
        self.name = name
        self.files = files
        self.link = link
        self.eventLoop = eventLoop
        self.log = log
        self.submit = submit
        certificatePEM = settings.certificatePEM
        keyPEM = settings.keyPEM
        peerPEMs = settings.peerCertificatePEMs
    }

    func carryOut(_ step: CertificateStep) {
        switch step {
        case .prepare(let days): prepare(days: days)
        case .adopt: adopt()
        case .abandon: abandon()
        case .trust(let certificate): trust(certificate)
        case .confirm(let digest): confirm(digest)
        }
    }

    func stop() {
        // What it has begun it ends; nobody waits for it.
        pool?.shutdownGracefully { _ in }
        pool = nil
    }

    private func prepare(days: Int) {
        let (files, name, peer) = (files, name, peerPEMs[0])
        preparation += 1
        let number = preparation
        work({ try files.stage(name: name, days: days, peerPEM: peer) }) { this, result in
            guard number == this.preparation else { return }
            switch result {
            case .success(let staged):
                this.staged = staged
                this.submit(.prepared(staged.certificate, certificate: Array(staged.certificatePEM.utf8)))
            case .failure(let failure): this.submit(.failed(reason: failure.reason))
            }
        }
    }

    private func adopt() {
        guard let staged else { return submit(.failed(reason: "there is no new certificate")) }
        // Whether TLS takes it, before there is no way back.
        let identity: PinnedTLS
        do {
            identity = try PinnedTLS(certificatePEM: staged.certificatePEM, keyPEM: staged.keyPEM)
        } catch {
            return submit(.failed(reason: "\(error)"))
        }
        let (files, present) = (files, certificatePEM)
        work({ try files.adopt(staged, insteadOf: present) }) { this, result in
            if case .failure(let failure) = result { return this.submit(.failed(reason: failure.reason)) }
            (this.certificatePEM, this.keyPEM) = (staged.certificatePEM, staged.keyPEM)
            this.staged = nil
            this.link.identify(as: identity)
            this.submit(.adopted)
        }
    }

    private func abandon() {
        staged = nil
        preparation += 1
        let files = files
        work({ files.tidy() }) { _, _ in }
    }

    private func trust(_ offered: [UInt8]) {
        let pem = String(decoding: offered, as: UTF8.self)
        let (files, key, present) = (files, keyPEM, peerPEMs[0])
        work({ try PairCredentials.accept(pem, key: key, present: present, files: files) }) { this, result in
            switch result {
            case .success(let certificate):
                this.peerPEMs = [present, pem]
                this.pin()
                this.submit(.trusted(certificate, certificate: offered))
            case .failure(let failure): this.submit(.distrusted(certificate: offered, reason: failure.reason))
            }
        }
    }

    /// Written down before it is taken, so that a node that starts anew takes it too.
    private static func accept(_ pem: String, key: SecretBytes, present: String, files: PairFiles) throws -> PairCertificate {
        guard PEMText.certificates(pem) == [pem] else { throw PairFiles.Failure("it is not one certificate in PEM") }
        let certificate: PairCertificate
        do throws(CryptographyError) {
            certificate = try PairFiles.certificate(pem, secret: try pairSecret(ownKeyPEM: key, peerCertificatePEM: pem))
        } catch {
            throw PairFiles.Failure("it is of no use: \(error)")
        }
        guard try certificateFingerprint(pem: present) != certificate.digest else { throw PairFiles.Failure("it is the present one") }
        try files.writePeer([present, pem])
        return certificate
    }

    private func confirm(_ digest: [UInt8]) {
        peerPEMs.removeAll { (try? certificateFingerprint(pem: $0)) != digest }
        pin()
        let (files, kept) = (files, peerPEMs)
        work({ try files.writePeer(kept) }) { this, result in
            guard case .failure(let failure) = result else { return }
            // Both stay in the file: the next start takes both, and finds out again.
            this.log(LogLine(.error, "cannot write the other node's certificate", [.init("reason", failure.reason)]))
        }
    }

    private func pin() {
        do {
            try link.pin(peerPEMs)
        } catch {
            log(LogLine(.error, "cannot take the other node's certificate", [.init("reason", "\(error)")]))
        }
    }

    /// On the thread; what comes of it on the event loop, in the order in which it was asked for.
    private func work<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value, then: @escaping (PairCredentials, Result<Value, PairFiles.Failure>) -> Void
    ) {
        let pool = pool ?? NIOThreadPool(numberOfThreads: 1)
        if self.pool == nil { pool.start() }
        self.pool = pool
        pool.runIfActive(eventLoop: eventLoop, body).assumeIsolated().whenComplete { result in
            then(self, result.mapError { $0 as? PairFiles.Failure ?? PairFiles.Failure("\($0)") })
        }
    }
}
