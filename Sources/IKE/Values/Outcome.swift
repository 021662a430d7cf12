public import Cryptography
public import Session

/// The world as the IKE machine sees it: arguments of every call, never looked up (law 5).
public struct IKEContext: Sendable {
    public var now: Now
    /// The epoch in which this node owns its sessions; part of every IV that must not come twice, so that two owners never use one (law 3).
    public var epoch: Epoch
    public var random: RandomSource
    /// Nobody stands by: the other node of the pair, of which nothing is known, may be serving peers too.
    public var isAlone: Bool
    /// A standby takes `IKEOutcome.handshakes`.
    public var hasStandby: Bool

    public init(now: Now, epoch: Epoch, random: RandomSource, isAlone: Bool = false, hasStandby: Bool = false) {
        self.now = now
        self.epoch = epoch
        self.random = random
        self.isAlone = isAlone
        self.hasStandby = hasStandby
    }

    /// The end of a session, now.
    func removal(_ reason: String) -> SessionChange { .removed(reason: reason, at: now.wallMilliseconds) }
}

/// What came of one input.
///
/// The caller applies `deltas` in order, at once, before it calls the engine again; `datagrams` may leave only when the deltas
/// are committed (law 2). A repeated response has no delta, but explains state of the session's last delta: it has to wait as
/// long as that one does.
public struct IKEOutcome: Hashable, Sendable {
    /// At most one delta for each session.
    public var deltas: [SessionDelta]
    /// In the order in which they are to be sent.
    public var datagrams: [Datagram]
    public var events: [IKEEvent]
    /// The session whose last committed state `datagrams` reveal, or that a replicated half-open IKE SA may become; `nil` if they show
    /// nothing that a standby knows.
    public var session: SessionID?
    /// What the standby is told before the deltas; the engine itself has it already.
    public var handshakes: [HandshakeChange]

    public init(
        deltas: [SessionDelta] = [], datagrams: [Datagram] = [], events: [IKEEvent] = [], session: SessionID? = nil,
        handshakes: [HandshakeChange] = []
    ) {
        self.deltas = deltas
        self.datagrams = datagrams
        self.events = events
        self.session = session
        self.handshakes = handshakes
    }

    public static let nothing = IKEOutcome()
    public var isEmpty: Bool { deltas.isEmpty && datagrams.isEmpty && events.isEmpty && handshakes.isEmpty }
}
