public import Cryptography

/// The algorithms of an IKE SA, as negotiated.
public struct IKEAlgorithms: Hashable, Sendable {
    public var cipher: Cipher
    /// `nil` with an AEAD cipher.
    public var integrity: IntegrityAlgorithm?
    public var prf: PRF
    public var keyExchangeGroup: KeyExchangeGroup

    public init(cipher: Cipher, integrity: IntegrityAlgorithm?, prf: PRF, keyExchangeGroup: KeyExchangeGroup) {
        self.cipher = cipher
        self.integrity = integrity
        self.prf = prf
        self.keyExchangeGroup = keyExchangeGroup
    }
}

/// The keys of an IKE SA (RFC 7296 §2.14). SK_pi and SK_pr are not kept: they are used once, in IKE_AUTH.
public struct IKEKeys: Hashable, Sendable {
    /// SK_d: from it come the keys of CHILD SAs and of the successor IKE SA.
    public var derivation: SecretBytes
    /// SK_ei and SK_ai: what the initiator of this IKE SA sends with.
    public var initiator: DirectionKeys
    /// SK_er and SK_ar.
    public var responder: DirectionKeys

    public init(derivation: SecretBytes, initiator: DirectionKeys, responder: DirectionKeys) {
        self.derivation = derivation
        self.initiator = initiator
        self.responder = responder
    }
}

public enum IKERole: UInt8, Sendable, Hashable { case initiator = 0, responder = 1 }

/// The two SPIs of an IKE SA (RFC 7296 §3.1).
public struct IKESPIs: Hashable, Sendable {
    public var initiator: UInt64
    public var responder: UInt64

    public init(initiator: UInt64, responder: UInt64) {
        self.initiator = initiator
        self.responder = responder
    }
}

/// Our outstanding request (window 1, RFC 7296 §2.3): repeated to the bit until it is answered.
public struct PendingRequest: Hashable, Sendable {
    /// What it was sent for: what the answer, or its absence, changes.
    public enum Purpose: Hashable, Sendable {
        /// Dead peer detection (RFC 7296 §2.4).
        case liveness
        /// DELETE of this IKE SA.
        case deleteIKESA
        /// DELETE of the CHILD SA with this inbound SPI.
        case deleteChildSA(UInt32)
    }

    public var messageID: UInt32
    public var purpose: Purpose
    /// The datagram's exact bytes, without the non-ESP marker.
    public var bytes: [UInt8]

    public init(messageID: UInt32, purpose: Purpose, bytes: [UInt8]) {
        self.messageID = messageID
        self.purpose = purpose
        self.bytes = bytes
    }
}

/// The last response that we gave, repeated to the bit when its request comes again (RFC 7296 §2.1).
public struct CachedResponse: Hashable, Sendable {
    public var messageID: UInt32
    /// A digest of the request, so that a different message with the same ID is not answered with it.
    public var requestDigest: [UInt8]
    public var bytes: [UInt8]

    public init(messageID: UInt32, requestDigest: [UInt8], bytes: [UInt8]) {
        self.messageID = messageID
        self.requestDigest = requestDigest
        self.bytes = bytes
    }
}

/// An IKE SA: keys, windows, and what has to be repeated.
public struct IKESA: Hashable, Sendable {
    public var spis: IKESPIs
    /// Our part in this IKE SA; a rekey by the peer makes us responder, whatever we were before.
    public var role: IKERole
    public var algorithms: IKEAlgorithms
    public var keys: IKEKeys
    /// The message ID that our next request will have.
    public var nextSendID: UInt32
    /// The message ID that the peer's next request must have.
    public var nextReceiveID: UInt32
    public var lastResponse: CachedResponse?
    public var pendingRequest: PendingRequest?
    public var establishedWallMilliseconds: Int64

    public init(
        spis: IKESPIs, role: IKERole, algorithms: IKEAlgorithms, keys: IKEKeys, nextSendID: UInt32, nextReceiveID: UInt32,
        lastResponse: CachedResponse? = nil, pendingRequest: PendingRequest? = nil, establishedWallMilliseconds: Int64
    ) {
        self.spis = spis
        self.role = role
        self.algorithms = algorithms
        self.keys = keys
        self.nextSendID = nextSendID
        self.nextReceiveID = nextReceiveID
        self.lastResponse = lastResponse
        self.pendingRequest = pendingRequest
        self.establishedWallMilliseconds = establishedWallMilliseconds
    }

    public var localSPI: UInt64 { role == .initiator ? spis.initiator : spis.responder }
    public var remoteSPI: UInt64 { role == .initiator ? spis.responder : spis.initiator }
    public var sendingKeys: DirectionKeys { role == .initiator ? keys.initiator : keys.responder }
    public var receivingKeys: DirectionKeys { role == .initiator ? keys.responder : keys.initiator }
}
