import IKEWire
public import Session

/// What a new owner of sessions may not know, and has to agree on with their peers (RFC 6311).
public struct SyncNeeds: Hashable, Sendable {
    /// The former owner may have exchanged messages that we were not told of.
    public var messageIDs: Bool
    /// By how much peers have to raise the numbers of their packets; `nil`: not at all.
    public var replayIncrement: UInt64?

    public init(messageIDs: Bool = false, replayIncrement: UInt64? = nil) {
        self.messageIDs = messageIDs
        self.replayIncrement = replayIncrement
    }

    public static let none = SyncNeeds()
}

/// Whose counters are still to be synchronized. Local to one node: a new owner finds out what it needs itself.
struct SyncWork {
    /// Between two messages of ours: 10,000 sessions a second, so that neither we nor the standby have to do everything at once.
    static let interval: Duration = .microseconds(100)

    var needs = SyncNeeds.none
    /// Sessions whose turn is set, or was; never twice in one ownership (RFC 6311 §7).
    private var known: Set<SessionID> = []
    /// Sessions whose peers were asked to raise their numbers, or made since.
    private(set) var raised: Set<SessionID> = []
    /// Sessions that came as they were a while ago: what was exchanged since is known to their peers alone.
    private(set) var behind: Set<SessionID> = []
    private var next: Instant?

    /// When the session has its turn; `nil`: it has one already.
    mutating func turn(of session: SessionID, at now: Instant) -> Instant? {
        guard known.insert(session).inserted else { return nil }
        let turn = max(now, next ?? now)
        next = turn + SyncWork.interval
        return turn
    }

    mutating func noteBehind(_ session: SessionID) { behind.insert(session) }

    mutating func noteRaised(_ session: SessionID) { raised.insert(session) }

    /// Both sides know all of a session that was made in this ownership.
    mutating func noteMade(_ session: SessionID) {
        if needs.replayIncrement != nil { raised.insert(session) }
    }

    mutating func forget(_ session: SessionID) {
        known.remove(session)
        raised.remove(session)
        behind.remove(session)
    }
}

extension IKEEngine {
    /// What is left to be agreed on with the peer of a session.
    enum SyncStep: Hashable {
        /// IKEV2_MESSAGE_ID_SYNC, with an increment beside it (RFC 6311 §5, cases 1 and 3).
        case messageIDs(increment: UInt64?)
        /// IPSEC_REPLAY_COUNTER_SYNC alone (case 2).
        case replayCounters(UInt64)
    }

    func syncStep(of session: Session, epoch: Epoch) -> SyncStep? {
        let sync = session.ikeSA.counterSync
        let isUnfinished = sync.pending.map { $0.epoch != epoch } ?? false
        let needsMessageIDs = synchronization.needs.messageIDs || isUnfinished || synchronization.behind.contains(session.id)
        guard synchronization.needs != .none || needsMessageIDs else { return nil }
        var increment: UInt64?
        if let needed = synchronization.needs.replayIncrement, !synchronization.raised.contains(session.id), session.raisesReplayCounters {
            increment = needed
        }
        if needsMessageIDs, session.capabilities.contains(.messageIDSync), sync.knownSince != epoch {
            // What the former owner asked for may have been heard or not: our window is past both.
            let earlier = sync.pending?.increment
            guard let increment else { return .messageIDs(increment: earlier) }
            let (sum, isTooMuch) = increment.addingReportingOverflow(earlier ?? 0)
            return .messageIDs(increment: isTooMuch ? .max : sum)
        }
        return increment.map { .replayCounters($0) }
    }

    /// The peer of a session gave a sign, or something is to be sent to it: now its counters matter (RFC 6311 §7).
    mutating func noteSyncSign(_ id: SessionID, at now: Instant) {
        guard synchronization.needs.messageIDs, let turn = synchronization.turn(of: id, at: now) else { return }
        deadlines.insert(.synchronize(id), at: turn)
    }

    /// Its turn comes without a sign: as long as the peer was not asked, its packets are not taken.
    mutating func noteSyncDue(_ id: SessionID, at now: Instant) {
        guard let turn = synchronization.turn(of: id, at: now) else { return }
        deadlines.insert(.synchronize(id), at: turn)
    }

    mutating func synchronizeDue(_ id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let session = table[id] else { return .nothing }
        return synchronize(session, table: table, context: context)
    }
}

extension Session {
    /// The peer raises the numbers of its packets when it is asked to (RFC 6311 §5.2), and they do not come to their end by it.
    public var raisesReplayCounters: Bool {
        capabilities.contains(.replayCounterSync) && hasExtendedNumbers != nil
            && children.allSatisfy { $0.algorithms.extendedSequenceNumbers || $0.inboundTop < 1 << 31 }
    }
}
