import Cryptography
import NIOCore
import NIOSSL

/// TLS 1.3 between two nodes that know each other's certificate and trust no other.
struct PinnedTLS {
    private let client: NIOSSLContext
    private let server: NIOSSLContext
    private let pinned: [UInt8]

    /// - Throws: when the key does not go with the certificate, or one of them is not PEM.
    init(_ settings: PairLinkSettings) throws {
        let own = try NIOSSLCertificate(bytes: Array(settings.certificatePEM.utf8), format: .pem)
        let key = try NIOSSLPrivateKey(bytes: settings.keyPEM.copyBytes(), format: .pem)
        pinned = try certificateFingerprint(pem: settings.peerCertificatePEM)
        func context(_ base: TLSConfiguration) throws -> NIOSSLContext {
            var configuration = base
            configuration.minimumTLSVersion = .tlsv13
            configuration.certificateChain = [.certificate(own)]
            configuration.privateKey = .privateKey(key)
            // Demands a certificate of either side; which one is for `verify` to say.
            configuration.certificateVerification = .noHostnameVerification
            configuration.shutdownTimeout = .milliseconds(100)
            return try NIOSSLContext(configuration: configuration)
        }
        client = try context(.makeClientConfiguration())
        server = try context(.makeServerConfiguration(certificateChain: [.certificate(own)], privateKey: .privateKey(key)))
    }

    /// - Parameter refused: called when the other side showed another certificate than the peer's.
    func clientHandler(refused: @escaping @Sendable () -> Void) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(context: client, serverHostname: nil, customVerificationCallback: verify(refused))
    }

    func serverHandler(refused: @escaping @Sendable () -> Void) -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: server, customVerificationCallback: verify(refused))
    }

    /// Exactly the pinned certificate, by the SHA-256 of its DER form. Its dates do not matter: what is pinned does not expire,
    /// and a pair must not come apart at midnight.
    private func verify(_ refused: @escaping @Sendable () -> Void) -> NIOSSLCustomVerificationCallback {
        { [pinned] certificates, promise in
            let shown = certificates.first.flatMap { try? $0.toDERBytes() }.map { sha256($0) }
            guard let shown, constantTimeEquals(shown, pinned) else {
                refused()
                return promise.succeed(.failed)
            }
            promise.succeed(.certificateVerified)
        }
    }
}
