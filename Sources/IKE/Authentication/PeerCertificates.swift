import Cryptography
import IKEWire
import Session

/// The certificates that a peer sent: its own first, then those that lead to an authority (RFC 7296 §3.6).
struct PeerCertificates {
    var leaf: X509Certificate?
    var intermediates: [X509Certificate] = []

    init(_ payloads: PayloadSet) throws(IKEAuthenticationFailure) {
        let encoded = payloads.certificates
        guard encoded.count <= CertificateLimits.countMax, encoded.reduce(0, { $0 + $1.count }) <= CertificateLimits.octetsMax else {
            throw .certificate(.tooMany)
        }
        for der in encoded {
            do throws(CertificateError) {
                let certificate = try X509Certificate(der: der)
                if leaf == nil { leaf = certificate } else { intermediates.append(certificate) }
            } catch {
                throw .certificate(error)
            }
        }
    }
}

extension PublicKeyTrust {
    /// Whether a certificate whose key has signed is one that we believe, and names the identity that the peer claims.
    func check(
        _ certificate: X509Certificate, intermediates: [X509Certificate], identity: Identity, now: Now
    ) throws(IKEAuthenticationFailure) {
        guard algorithms.isEmpty || certificate.publicKey.algorithm.map(algorithms.contains) ?? false else { throw .keyKindNotAccepted }
        guard certificate.names(kind: identity.kind.rawValue, data: identity.data) else { throw .certificateOfAnother }
        guard pinned.isEmpty || pinned.contains(certificate) else { throw .certificateNotPinned }
        let seconds = now.wallMilliseconds / 1000
        do throws(CertificateError) {
            if store.authorities.isEmpty {
                guard !pinned.isEmpty else { throw .untrusted }
                try certificate.validateAlone(atSeconds: seconds)
            } else {
                try store.validate(certificate, intermediates: intermediates, atSeconds: seconds, revocation: revocation)
            }
        } catch {
            throw .certificate(error)
        }
    }

    /// The certificate to check a signature with: the one that was sent, or the pinned one of the identity.
    func certificate(sent: X509Certificate?, identity: Identity) -> X509Certificate? {
        sent ?? pinned.first { $0.names(kind: identity.kind.rawValue, data: identity.data) }
    }
}

/// CERTREQ (RFC 7296 §3.7): which authorities we trust, as hashes of their keys.
enum CertificateRequest {
    /// 960 octets of hashes: IKE_SA_INIT cannot be fragmented, and has to leave room for the rest.
    static let authoritiesMax = 48

    /// One for all of these, `nil` when none of them asks for certificates.
    static func payload(_ trusts: [PublicKeyTrust]) -> Payload? {
        var hashes: [[UInt8]] = []
        for authority in trusts.lazy.flatMap(\.store.authorities) where hashes.count < authoritiesMax {
            if !hashes.contains(authority.publicKeyHash) { hashes.append(authority.publicKeyHash) }
        }
        guard !hashes.isEmpty else { return nil }
        return .certificateRequest(encoding: CertificateEncoding.x509Signature, data: Array(hashes.joined()))
    }
}

extension ConnectionConfiguration {
    /// What the connection trusts, if it asks peers for certificates.
    var requestedTrust: PublicKeyTrust? {
        guard sendsCertificateRequest, case .publicKey(let trust) = remoteAuthentication else { return nil }
        return trust
    }

    var usesPublicKeys: Bool { localAuthentication.usesPublicKeys || remoteAuthentication.usesPublicKeys }
    /// One of the sides shows who it is with a pre-shared key.
    public var usesSecret: Bool { !localAuthentication.usesPublicKeys || !remoteAuthentication.usesPublicKeys }
}

extension LocalAuthentication {
    var usesPublicKeys: Bool { if case .publicKey = self { true } else { false } }

    /// CERT payloads with our certificate and those after it.
    func certificatePayloads(_ sending: CertificateSending, isAsked: Bool) -> [Payload] {
        guard case .publicKey(let credential) = self, sending == .always || sending == .ifAsked && isAsked else { return [] }
        let all = [credential.certificate] + credential.intermediates
        return all.map { .certificate(encoding: CertificateEncoding.x509Signature, data: $0.der) }
    }

    /// Our AUTH payload.
    ///
    /// - Parameter secret: for a pre-shared key.
    func payload(
        _ signed: SignedOctets, secret: SecretBytes, peerHashes: Set<SignatureHash>?
    ) throws(IKEAuthenticationFailure) -> Payload {
        switch self {
        case .preSharedKey: .authentication(method: AuthenticationMethod.sharedKey, data: signed.code(secret: secret))
        case .publicKey(let credential):
            try SignatureAuthentication.payload(signed, credential: credential, peerHashes: peerHashes)
        }
    }
}

extension RemoteAuthentication {
    var usesPublicKeys: Bool { if case .publicKey = self { true } else { false } }

    func accepts(_ method: PeerAuthorization.Method) -> Bool {
        switch method {
        case .preSharedKey: !usesPublicKeys
        case .rsaSignature, .ecdsaP256, .ecdsaP384, .ecdsaP521, .digitalSignature: usesPublicKeys
        }
    }
}
