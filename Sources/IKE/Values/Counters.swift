/// What the IKE machine counted since it was made. All values only grow.
public struct IKECounters: Hashable, Sendable {
    public internal(set) var datagramsReceived: UInt64 = 0
    public internal(set) var datagramsSent: UInt64 = 0
    /// Datagrams dropped, by reason.
    public internal(set) var dropped: [IKEDropReason: UInt64] = [:]
    public internal(set) var halfOpenCreated: UInt64 = 0
    public internal(set) var halfOpenExpired: UInt64 = 0
    public internal(set) var cookiesRequired: UInt64 = 0
    public internal(set) var invalidKeyExchanges: UInt64 = 0
    public internal(set) var noProposalChosen: UInt64 = 0
    public internal(set) var authenticated: UInt64 = 0
    public internal(set) var authenticationFailures: UInt64 = 0
    /// Requests that were answered from the cache (RFC 7296 §2.1).
    public internal(set) var responsesRepeated: UInt64 = 0
    /// Answers of a former owner that may not have left, sent once more after a takeover.
    public internal(set) var answersRepeated: UInt64 = 0
    public internal(set) var requestsAnswered: UInt64 = 0
    public internal(set) var requestsSent: UInt64 = 0
    public internal(set) var requestsRetransmitted: UInt64 = 0
    public internal(set) var childrenCreated: UInt64 = 0
    public internal(set) var childrenRekeyed: UInt64 = 0
    public internal(set) var childrenRefused: UInt64 = 0
    /// Peers for whom no address of a family was left.
    public internal(set) var poolsExhausted: UInt64 = 0
    /// Requests of ours that a peer answered with an error.
    public internal(set) var requestsRefused: UInt64 = 0
    public internal(set) var ikeSAsRekeyed: UInt64 = 0
    public internal(set) var deletedByPeer: UInt64 = 0
    public internal(set) var peersDead: UInt64 = 0
    public internal(set) var sessionsReplaced: UInt64 = 0
    public internal(set) var peersMoved: UInt64 = 0
    /// Peers that could not be reached where they said they were (RFC 4555 §3.7).
    public internal(set) var peersUnreachable: UInt64 = 0
    /// NAT keepalives (RFC 3948 §4).
    public internal(set) var keepAlivesSent: UInt64 = 0
    public internal(set) var keepAlivesReceived: UInt64 = 0
    public internal(set) var initiationsStarted: UInt64 = 0
    public internal(set) var initiationsFailed: UInt64 = 0
    /// REDIRECTs of gateways that we called (RFC 5685).
    public internal(set) var redirectsFollowed: UInt64 = 0
    public internal(set) var redirectsIgnored: UInt64 = 0
    /// Synchronizations of counters (RFC 6311) that we asked for, that were answered, and that never were.
    public internal(set) var syncsRequested: UInt64 = 0
    public internal(set) var syncsCompleted: UInt64 = 0
    public internal(set) var syncsFailed: UInt64 = 0
    /// Synchronizations that peers asked for.
    public internal(set) var syncsAnswered: UInt64 = 0
    /// How often a peer had us raise the numbers of our packets.
    public internal(set) var replayCountersRaised: UInt64 = 0
    /// Requests of ours that a synchronization passed over.
    public internal(set) var requestsGivenUp: UInt64 = 0
    /// REDIRECTs that we sent to peers without a session, and to those with one.
    public internal(set) var newPeersRedirected: UInt64 = 0
    public internal(set) var sessionsRedirected: UInt64 = 0
    /// Sessions that went on at another gateway without a new authentication.
    public internal(set) var sessionsHandedOn: UInt64 = 0

    public init() {}

    public var droppedTotal: UInt64 { dropped.values.reduce(0, +) }
    public func dropped(_ reason: IKEDropReason) -> UInt64 { dropped[reason] ?? 0 }
}
