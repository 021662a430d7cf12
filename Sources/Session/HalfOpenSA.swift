public import Cryptography

/// An IKE SA between IKE_SA_INIT and IKE_AUTH: we are its responder.
///
/// Replicated like a session, so that a new owner goes on inside the same IKE SA; but of no use to anybody for longer than a
/// handshake takes, and not authenticated: it is no session, counts as none, and goes by itself.
public struct HalfOpenSA: Hashable, Sendable {
    public var spis: IKESPIs
    public var algorithms: IKEAlgorithms
    public var derived: DerivedIKEKeys
    public var nonces: NoncePair
    /// Both IKE_SA_INIT messages as they were on the wire: AUTH covers them (RFC 7296 §2.15).
    public var request: [UInt8]
    public var response: [UInt8]
    /// SHA-256 of `request`: a retransmission is known by it.
    public var requestDigest: [UInt8]
    public var local: Endpoint
    public var remote: Endpoint
    public var nat: NATDetection
    public var forcesEncapsulation: Bool
    public var capabilities: PeerCapabilities
    /// The hashes that the peer takes in signatures; `nil` if it does not know RFC 7427.
    public var peerHashes: Set<SignatureHash>?
    /// The gateway that sent the peer here (RFC 5685 §9.3).
    public var redirectedFrom: IPAddress?

    public init(
        spis: IKESPIs, algorithms: IKEAlgorithms, derived: DerivedIKEKeys, nonces: NoncePair, request: [UInt8], response: [UInt8],
        local: Endpoint, remote: Endpoint, nat: NATDetection, forcesEncapsulation: Bool, capabilities: PeerCapabilities,
        peerHashes: Set<SignatureHash>?, redirectedFrom: IPAddress?
    ) {
        self.spis = spis
        self.algorithms = algorithms
        self.derived = derived
        self.nonces = nonces
        self.request = request
        self.response = response
        requestDigest = sha256(request)
        self.local = local
        self.remote = remote
        self.nat = nat
        self.forcesEncapsulation = forcesEncapsulation
        self.capabilities = capabilities
        self.peerHashes = peerHashes
        self.redirectedFrom = redirectedFrom
    }
}

/// What an IKE_SA_INIT or a rekey yields: the keys that stay, and those that sign in IKE_AUTH and are then forgotten.
public struct DerivedIKEKeys: Hashable, Sendable {
    public var keys: IKEKeys
    /// SK_pi.
    public var initiatorAuthentication: SecretBytes
    /// SK_pr.
    public var responderAuthentication: SecretBytes

    public init(keys: IKEKeys, initiatorAuthentication: SecretBytes, responderAuthentication: SecretBytes) {
        self.keys = keys
        self.initiatorAuthentication = initiatorAuthentication
        self.responderAuthentication = responderAuthentication
    }
}

/// The nonces of one exchange.
public struct NoncePair: Hashable, Sendable {
    /// Of the initiator of the exchange, who need not be the initiator of the IKE SA.
    public var initiator: [UInt8]
    public var responder: [UInt8]

    public init(initiator: [UInt8], responder: [UInt8]) {
        self.initiator = initiator
        self.responder = responder
    }
}

/// What IKE_SA_INIT says of NATs between the peers (RFC 7296 §2.23).
public struct NATDetection: Hashable, Sendable {
    public var isSupported: Bool
    public var localBehindNAT: Bool
    public var remoteBehindNAT: Bool

    public init(isSupported: Bool = false, localBehindNAT: Bool = false, remoteBehindNAT: Bool = false) {
        self.isSupported = isSupported
        self.localBehindNAT = localBehindNAT
        self.remoteBehindNAT = remoteBehindNAT
    }
}
