import Cryptography
import NIOCore
import NIOSSL

/// TLS 1.3 between gateways that know each other's certificates and trust no others.
struct PinnedTLS {
    private let client: NIOSSLContext
    private let server: NIOSSLContext

    /// - Throws: when the key does not go with the certificate, or one of them is not PEM.
    init(certificatePEM: String, keyPEM: SecretBytes) throws {
        let own = try NIOSSLCertificate(bytes: Array(certificatePEM.utf8), format: .pem)
        let key = try NIOSSLPrivateKey(bytes: keyPEM.copyBytes(), format: .pem)
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

    /// - Parameters:
    ///   - pinned: the SHA-256 of each certificate that may be shown, in DER form.
    ///   - shown: called with the index of the one that was shown, or with `nil` when it was another.
    func clientHandler(pinned: [[UInt8]], shown: @escaping @Sendable (Int?) -> Void) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(context: client, serverHostname: nil, customVerificationCallback: PinnedTLS.verify(pinned, shown))
    }

    func serverHandler(pinned: [[UInt8]], shown: @escaping @Sendable (Int?) -> Void) -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: server, customVerificationCallback: PinnedTLS.verify(pinned, shown))
    }

    /// Exactly a pinned certificate. Its dates do not matter: what is pinned does not expire, and a pair must not come apart at midnight.
    private static func verify(_ pinned: [[UInt8]], _ shown: @escaping @Sendable (Int?) -> Void) -> NIOSSLCustomVerificationCallback {
        { certificates, promise in
            let digest = certificates.first.flatMap { try? $0.toDERBytes() }.map { sha256($0) }
            let index = digest.flatMap { digest in pinned.firstIndex { constantTimeEquals(digest, $0) } }
            shown(index)
            promise.succeed(index == nil ? .failed : .certificateVerified)
        }
    }
}
