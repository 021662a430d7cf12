import Cryptography
import IKEWire
import Session

/// AUTH with a signature: which one we make, and what of a peer's is believed.
enum SignatureAuthentication {
    /// What SIGNATURE_HASH_ALGORITHMS says of us (RFC 7427 §4): no SHA-1 (RFC 8247 §3.2).
    static let hashes: [SignatureHash] = [.sha256, .sha384, .sha512, .identity]

    static var hashNotify: Payload { .notify(.signatureHashAlgorithms, hashes.flatMap(\.rawValue.networkBytes)) }

    /// The hashes that a peer announced, as far as we know them; `nil` if it does not know RFC 7427.
    static func announcedHashes(_ payloads: PayloadSet) -> Set<SignatureHash>? {
        guard let notify = payloads.notify(.signatureHashAlgorithms) else { return nil }
        let numbers = stride(from: 0, to: notify.data.count - notify.data.count % 2, by: 2)
            .map { UInt16(notify.data[$0]) << 8 | UInt16(notify.data[$0 + 1]) }
        return Set(numbers.compactMap { SignatureHash(rawValue: $0) })
    }

    // MARK: Ours

    /// - Parameter peerHashes: what the peer announced.
    static func payload(
        _ signed: SignedOctets, credential: PublicKeyCredential, peerHashes: Set<SignatureHash>?
    ) throws(IKEAuthenticationFailure) -> Payload {
        guard let (method, scheme) = choose(credential, peerHashes: peerHashes),
            let signature = try? credential.key.sign(signed.octets, scheme: scheme)
        else { throw .cannotSign }
        guard method == .digitalSignature, let identifier = scheme.algorithmIdentifier else {
            return .authentication(method: method.rawValue, data: signature)
        }
        // RFC 7427 §3: the length of the AlgorithmIdentifier, itself, the signature.
        return .authentication(method: method.rawValue, data: [UInt8(identifier.count)] + identifier + signature)
    }

    /// RFC 7427 §3: method 14 whenever both sides announced hashes.
    private static func choose(
        _ credential: PublicKeyCredential, peerHashes: Set<SignatureHash>?
    ) -> (PeerAuthorization.Method, SignatureScheme)? {
        guard let peerHashes else { return chooseWithoutAnnouncement(credential) }
        let schemes: [SignatureScheme]
        switch (credential.key.kind, credential.rsaPadding) {
        // Whatever is configured, a key that is bound to PSS makes nothing else.
        case (.rsa, .pss), (.rsaPSS, _): schemes = [.rsaPSSSHA256, .rsaPSSSHA384, .rsaPSSSHA512]
        case (.rsa, .pkcs1): schemes = [.rsaPKCS1SHA256, .rsaPKCS1SHA384, .rsaPKCS1SHA512]
        // First the hash that is as strong as the curve.
        case (.ecdsa(.p256), _): schemes = [.ecdsaSHA256, .ecdsaSHA384, .ecdsaSHA512]
        case (.ecdsa(.p384), _): schemes = [.ecdsaSHA384, .ecdsaSHA512, .ecdsaSHA256]
        case (.ecdsa(.p521), _): schemes = [.ecdsaSHA512, .ecdsaSHA384, .ecdsaSHA256]
        case (.ed25519, _): schemes = [.ed25519]
        case (.unsupported, _): schemes = []
        }
        return schemes.first { peerHashes.contains($0.hash) && $0.fits(credential.key.kind) }.map { (.digitalSignature, $0) }
    }

    private static func chooseWithoutAnnouncement(_ credential: PublicKeyCredential) -> (PeerAuthorization.Method, SignatureScheme)? {
        switch credential.key.kind {
        case .rsa: credential.allowsSHA1 ? (.rsaSignature, .rsaPKCS1SHA1) : nil
        case .ecdsa(.p256): (.ecdsaP256, .ecdsaP256Concatenated)
        case .ecdsa(.p384): (.ecdsaP384, .ecdsaP384Concatenated)
        case .ecdsa(.p521): (.ecdsaP521, .ecdsaP521Concatenated)
        case .rsaPSS, .ed25519, .unsupported: nil
        }
    }

    // MARK: The peer's

    /// Whether the signature in an AUTH payload is one of the certificate's key. Says nothing of whom the certificate belongs to.
    ///
    /// - Parameter allowsSHA1: take SHA-1 with method 1.
    static func verify(
        _ data: [UInt8], method: PeerAuthorization.Method, of signed: SignedOctets, certificate: X509Certificate, allowsSHA1: Bool
    ) throws(IKEAuthenticationFailure) {
        guard certificate.publicKey.isAcceptable else { throw .certificate(.weakKey) }
        let (schemes, signature) = try parse(data, method: method, allowsSHA1: allowsSHA1)
        let octets = signed.octets
        guard schemes.contains(where: { $0.fits(certificate.publicKey) }) else { throw .signatureNotAccepted }
        guard schemes.contains(where: { certificate.verifies(signature, of: octets, scheme: $0) }) else { throw .wrongSignature }
    }

    /// The schemes that a method stands for, and the signature alone.
    private static func parse(
        _ data: [UInt8], method: PeerAuthorization.Method, allowsSHA1: Bool
    ) throws(IKEAuthenticationFailure) -> ([SignatureScheme], [UInt8]) {
        switch method {
        case .preSharedKey: throw .methodNotSupported
        // RFC 7296 §3.8: any hash, of which the signature itself says which it is; SHA-1 is the usual one.
        case .rsaSignature:
            return ([.rsaPKCS1SHA256, .rsaPKCS1SHA384, .rsaPKCS1SHA512] + (allowsSHA1 ? [.rsaPKCS1SHA1] : []), data)
        case .ecdsaP256: return ([.ecdsaP256Concatenated], data)
        case .ecdsaP384: return ([.ecdsaP384Concatenated], data)
        case .ecdsaP521: return ([.ecdsaP521Concatenated], data)
        case .digitalSignature:
            guard let length = data.first.map(Int.init), data.count > 1 + length else { throw .wrongSignature }
            guard let scheme = SignatureScheme(algorithmIdentifier: Array(data[1..<1 + length])) else { throw .signatureNotAccepted }
            return ([scheme], Array(data[(1 + length)...]))
        }
    }
}
