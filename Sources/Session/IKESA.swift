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

/// A response that we gave, repeated to the bit when its request comes again (RFC 7296 §2.1).
public struct CachedResponse: Hashable, Sendable {
    public var messageID: UInt32
    /// A digest of the request's first datagram, so that a different message with the same ID is not answered with it.
    public var requestDigest: [UInt8]
    /// The datagrams' exact bytes, without the non-ESP marker: one, or the fragments in order (RFC 7383).
    public var datagrams: [[UInt8]]

    public init(messageID: UInt32, requestDigest: [UInt8], datagrams: [[UInt8]]) {
        self.messageID = messageID
        self.requestDigest = requestDigest
        self.datagrams = datagrams
    }
}

/// When an SA is to be replaced and when it ends, in milliseconds since 1970. Chosen once, with the jitter, and replicated, so that a
/// new owner keeps the appointments of the old one.
public struct Lifetime: Hashable, Sendable {
    public var rekeyAt: Int64?
    /// Never before `rekeyAt`.
    public var endsAt: Int64?

    public init(rekeyAt: Int64? = nil, endsAt: Int64? = nil) {
        self.rekeyAt = rekeyAt
        self.endsAt = endsAt
    }

    public static let unlimited = Lifetime()
}

/// How far the epoch in the IVs of an IKE SA is ahead of the pair's own, because its keys came from another gateway.
///
/// Of an IV the epoch has 15 bits, and counts on with each owner of a pair. Another pair counts from elsewhere: the shift puts its
/// epochs behind all those that the giver may have used under the same keys (law 3).
public struct EpochShift: Hashable, Sendable {
    /// What is added to the pair's epoch; of the sum the low 15 bits count.
    public private(set) var offset: UInt16
    /// Epochs that were left out between givers and takers so far. Never goes down while the keys live.
    public private(set) var spent: UInt16

    /// - Returns: `nil` for numbers that no gateway makes.
    public init?(offset: UInt16, spent: UInt16) {
        guard offset <= EpochShift.mask, spent <= EpochShift.spentMax else { return nil }
        self.offset = offset
        self.spent = spent
    }

    private init(unchecked offset: UInt16, _ spent: UInt16) { (self.offset, self.spent) = (offset, spent) }

    public static let none = EpochShift(unchecked: 0, 0)

    static let mask: UInt16 = 0x7FFF
    /// Half of what 15 bits can count: the other half is for takeovers under the same keys.
    public static let spentMax: UInt16 = 1 << 14
    /// Behind a giver that gave the session away: as many epochs may its pair have come to without knowing of that, each a takeover.
    public static let afterDetached: UInt16 = 64
    /// Behind a giver that lives on.
    public static let afterSnapshot: UInt16 = 1024

    /// The 15 bits that stand in an IV in this epoch of the pair.
    public func epochBits(_ epoch: Epoch) -> UInt16 { UInt16(truncatingIfNeeded: epoch) &+ offset & EpochShift.mask }

    /// The shift of whoever takes the keys over.
    ///
    /// - Parameters:
    ///   - epoch: of the giver's pair, when it gave.
    ///   - ownEpoch: of the taker's pair.
    ///   - gap: `afterDetached` or `afterSnapshot`.
    /// - Returns: `nil` when the keys have been given too often: the IKE SA has to be rekeyed first.
    public func next(givenAt epoch: Epoch, takenAt ownEpoch: Epoch, gap: UInt16) -> EpochShift? {
        guard spent <= EpochShift.spentMax - gap else { return nil }
        return EpochShift(
            unchecked: (epochBits(epoch) &+ gap &- UInt16(truncatingIfNeeded: ownEpoch)) & EpochShift.mask, spent + gap)
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
    /// The lowest message ID of the peer's that has not been answered; with a window above 1, higher ones may have been.
    public var nextReceiveID: UInt32
    /// Requests of ours that the peer takes at once (its SET_WINDOW_SIZE, RFC 7296 §2.3).
    public var sendWindow: UInt32
    /// Requests of the peer's that we take at once, and so many responses are kept.
    public var receiveWindow: UInt32
    /// By message ID, ascending.
    public var responses: [CachedResponse]
    /// Requests of ours that are not answered, by message ID, ascending; at most `sendWindow`.
    public var pendingRequests: [PendingRequest]
    public var lifetime: Lifetime
    public var epochShift: EpochShift
    public var establishedWallMilliseconds: Int64
    /// RFC 6311.
    public var counterSync = CounterSync()
    /// What a node of a later version says of it in addition, as protobuf fields that this version does not know: kept, and handed back. It
    /// may be a key.
    public var unknownFields = SecretBytes.empty

    public init(
        spis: IKESPIs, role: IKERole, algorithms: IKEAlgorithms, keys: IKEKeys, nextSendID: UInt32, nextReceiveID: UInt32,
        sendWindow: UInt32 = 1, receiveWindow: UInt32 = 1, responses: [CachedResponse] = [], pendingRequests: [PendingRequest] = [],
        lifetime: Lifetime = .unlimited, epochShift: EpochShift = .none, establishedWallMilliseconds: Int64
    ) {
        self.spis = spis
        self.role = role
        self.algorithms = algorithms
        self.keys = keys
        self.nextSendID = nextSendID
        self.nextReceiveID = nextReceiveID
        self.sendWindow = sendWindow
        self.receiveWindow = receiveWindow
        self.responses = responses
        self.pendingRequests = pendingRequests
        self.lifetime = lifetime
        self.epochShift = epochShift
        self.establishedWallMilliseconds = establishedWallMilliseconds
    }

    /// Requests under way in one direction, at most: whoever asks for more gains nothing but our memory.
    public static let windowMax: UInt32 = 16

    public var localSPI: UInt64 { role == .initiator ? spis.initiator : spis.responder }
    public var remoteSPI: UInt64 { role == .initiator ? spis.responder : spis.initiator }
    public var sendingKeys: DirectionKeys { role == .initiator ? keys.initiator : keys.responder }
    public var receivingKeys: DirectionKeys { role == .initiator ? keys.responder : keys.initiator }

    public func response(messageID: UInt32) -> CachedResponse? { responses.first { $0.messageID == messageID } }
    public func pendingRequest(messageID: UInt32) -> PendingRequest? { pendingRequests.first { $0.messageID == messageID } }
    /// Requests that may still be sent before one is answered.
    public var freeWindow: Int { max(0, Int(sendWindow) - pendingRequests.count) }
}

extension IKESA {
    /// Keeps the response, and moves the window on (RFC 7296 §2.3): what lies a whole window behind is forgotten.
    mutating func note(_ response: CachedResponse) {
        counterSync.answered?.response = nil
        responses.removeAll { $0.messageID == response.messageID }
        let index = responses.firstIndex { $0.messageID > response.messageID } ?? responses.endIndex
        responses.insert(response, at: index)
        while nextReceiveID < .max, responses.contains(where: { $0.messageID == nextReceiveID }) { nextReceiveID += 1 }
        let oldest = nextReceiveID > receiveWindow ? nextReceiveID - receiveWindow : 0
        responses.removeAll { $0.messageID < oldest }
    }

    mutating func note(_ request: PendingRequest) {
        nextSendID = max(nextSendID, request.messageID &+ 1)
        let index = pendingRequests.firstIndex { $0.messageID > request.messageID } ?? pendingRequests.endIndex
        pendingRequests.insert(request, at: index)
    }
}
