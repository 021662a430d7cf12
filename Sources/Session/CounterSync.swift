/// What is known of RFC 6311 in one IKE SA: as the member of a cluster that asks, and as the peer that is asked.
public struct CounterSync: Hashable, Sendable {
    /// The request of ours that is not answered. Repeated by the owner of its epoch alone: whoever comes after it asks anew
    /// (RFC 6311 §5.1).
    public var pending: SyncRequest?
    /// The epoch in which we asked last, or made the IKE SA: we ask in a later one only (RFC 6311 §7).
    public var knownSince: Epoch?
    /// The last request that we answered.
    public var answered: SyncAnswer?

    public init(pending: SyncRequest? = nil, knownSince: Epoch? = nil, answered: SyncAnswer? = nil) {
        self.pending = pending
        self.knownSince = knownSince
        self.answered = answered
    }
}

/// The two counters of an IKE SA as one side has them, or wants them.
public struct MessageIDs: Hashable, Sendable {
    /// The ID of its next request.
    public var send: UInt32
    /// The ID that it expects of the other side's next request.
    public var receive: UInt32

    public init(send: UInt32, receive: UInt32) {
        self.send = send
        self.receive = receive
    }
}

/// IKEV2_MESSAGE_ID_SYNC as we sent it: M1 and P1 (RFC 6311 §5.1).
public struct SyncRequest: Hashable, Sendable {
    public var epoch: Epoch
    public var nonce: UInt32
    public var ids: MessageIDs
    /// By how much the peer is to raise the numbers of its packets, with IPSEC_REPLAY_COUNTER_SYNC beside it.
    public var increment: UInt64?
    /// The datagram's exact bytes.
    public var datagram: [UInt8]

    public init(epoch: Epoch, nonce: UInt32, ids: MessageIDs, increment: UInt64?, datagram: [UInt8]) {
        self.epoch = epoch
        self.nonce = nonce
        self.ids = ids
        self.increment = increment
        self.datagram = datagram
    }
}

/// The last synchronization request of the peer's that we answered.
public struct SyncAnswer: Hashable, Sendable {
    /// M1 of the request: a later one has to be higher (RFC 6311 §5.1).
    public var firstID: UInt32
    /// Repeated as long as nothing newer of the peer's was seen; then the request is a replay.
    public var response: CachedResponse?

    public init(firstID: UInt32, response: CachedResponse?) {
        self.firstID = firstID
        self.response = response
    }
}

extension IKESA {
    /// One more than the highest ID of the peer's requests that was seen; with a window above 1, lower ones may be missing.
    public var aboveReceived: UInt32 {
        // The last ID of all is never answered.
        max(nextReceiveID, responses.last.map { $0.messageID &+ 1 } ?? 0)
    }

    /// Both windows go on to there, and never back. What lies below is not waited for any more (RFC 6311 §8.1, §9).
    mutating func raise(to ids: MessageIDs) {
        nextSendID = max(nextSendID, ids.send)
        nextReceiveID = max(nextReceiveID, ids.receive)
        responses.removeAll { $0.messageID < ids.receive }
    }
}
