public import Cryptography

/// How we show a peer who we are: `local = { auth = ... }`.
public enum LocalAuthentication: Hashable, Sendable {
    /// With the secret of the configuration that fits the identities.
    case preSharedKey
    case publicKey(PublicKeyCredential)
}

/// How a peer has to show who it is: `remote = { auth = ... }`.
public enum RemoteAuthentication: Hashable, Sendable {
    case preSharedKey
    case publicKey(PublicKeyTrust)
}

/// Our certificate and its key.
public struct PublicKeyCredential: Hashable, Sendable {
    /// How RSA keys sign with method 14. RFC 8247 §3.2 demands PSS; some peers know only the older padding.
    public enum RSAPadding: Hashable, Sendable { case pss, pkcs1 }

    /// Ours.
    public var certificate: X509Certificate
    /// Those between it and an authority that peers know.
    public var intermediates: [X509Certificate]
    public var key: SigningKey
    public var rsaPadding = RSAPadding.pss
    /// Sign with SHA-1 for peers that cannot do better than method 1.
    public var allowsSHA1 = false

    public init(certificate: X509Certificate, intermediates: [X509Certificate] = [], key: SigningKey) {
        self.certificate = certificate
        self.intermediates = intermediates
        self.key = key
    }
}

/// Which certificates are believed.
///
/// With pinned certificates the peer's has to be one of them; with authorities it needs a chain to one of them; with both, both.
public struct PublicKeyTrust: Hashable, Sendable {
    public var store: TrustStore
    public var pinned: [X509Certificate]
    public var revocation: RevocationPolicy
    /// Kinds of keys that are taken; empty: all.
    public var algorithms: Set<PublicKeyAlgorithm>
    /// Take signatures with SHA-1 from peers that cannot do better than method 1.
    public var allowsSHA1 = false

    public init(
        store: TrustStore, pinned: [X509Certificate] = [], revocation: RevocationPolicy = .relaxed,
        algorithms: Set<PublicKeyAlgorithm> = []
    ) {
        self.store = store
        self.pinned = pinned
        self.revocation = revocation
        self.algorithms = algorithms
    }
}

/// When we send our certificate, as swanctl.conf's `send_cert`.
public enum CertificateSending: String, CaseIterable, Hashable, Sendable {
    case always
    /// When the peer sent a CERTREQ.
    case ifAsked = "ifasked"
    case never
}
