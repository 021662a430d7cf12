import DequeModule
import Pair
import Session

/// The pair link, as far as the node knows.
struct LinkState {
    var isUp = false
    /// The heartbeat path that it runs on, if that is known.
    var path: Int?
    /// We have asked for its end; what still comes from it is not looked at.
    var isClosing = false
    /// The peer's last hello: nothing is replicated before the first.
    var peer: PairHello?
    /// The epoch that was offered to the peer on this connection: whoever accepts it holds what we hold.
    var offered: Epoch?
    /// When the standby last acknowledged something; no matter how long ago while there is nothing to be acknowledged.
    var acknowledgedAt: Instant?
    /// What the peer did as owner beside us is here.
    var isMerged = false
    /// How the peer is; `nil` until it has said.
    var condition: PeerCondition?
    /// What we have said of ourselves, and when.
    var told: (condition: NodeCondition, at: Instant)?

    /// A link that nobody has used for so long is asked whether it still is one.
    static let quietTimeMax: Duration = .seconds(1)
}

/// When the peer and we last held the same, as far as is known for certain: since then either may have been owner unheard.
struct Contact {
    /// The peer's life.
    var life: UInt64
    /// Whoever has owned since has gone above it.
    var epoch: Epoch
    var at: Instant
    /// This life has been owner unheard since then. What it used is gone past when there is another one: it remembers by itself.
    var owes = false
}

/// Whether the node has run all the time. What it finds waiting after a pause (SIGSTOP, a virtual machine that was stopped) may be old.
struct Attention {
    private var lastRun: Instant?
    private var trustsFrom: Instant?

    /// - Parameter tolerance: for that long nobody becomes owner in our place.
    mutating func run(at now: Instant, tolerance: Duration) {
        if let lastRun, now - lastRun > tolerance { trustsFrom = now + tolerance }
        lastRun = now
    }

    /// Whether what comes now was said just now.
    func isFresh(at now: Instant) -> Bool { trustsFrom.map { now >= $0 } ?? true }
}

/// When the next heartbeat is due.
struct HeartbeatClock {
    var next: Instant?
    var sequence: UInt64 = 0
}

/// A switchover, asked for or not: waiting for the standby to be in step, then for its answer.
struct Handover {
    var token: RequestToken?
    var began: Instant
    var deadline: Instant
    /// The hand-over frame has gone out.
    var isOffered = false
    var terms = HandoverTerms()
    /// What this node is when it is done.
    var then = Maintenance.none
}

/// How a takeover went: the moments of its steps.
struct TakeoverRecord {
    var cause: TakeoverCause?
    /// Why the former owner handed over, if no operator asked it to.
    var reason = ""
    var epoch: Epoch = 0
    /// The epoch that ended with it.
    var previousEpoch: Epoch = 0
    /// The life of the peer that was taken for dead: an owner that is still heard was cut off, and active beside us.
    var deadLife: UInt64?
    /// The life of a peer that was active beside us.
    var splitWith: UInt64?
    var wallMilliseconds: Int64 = 0
    /// The sessions taken over.
    var sessions = 0
    var steps: [(step: TakeoverStep, at: Instant)] = []
}

/// Requests to terminate that an operator waits for.
struct Termination {
    var token: RequestToken
    var sessions: Set<SessionID>
    /// Inbound SPIs of CHILD SAs.
    var children: Set<UInt32>
    var matches: Int
    var deadline: Instant
}

/// How far an owner goes on from the lease that the table has.
enum LeaseStep: Equatable {
    /// Whoever had it told us of it.
    case next
    /// The former owner may have used more than we know: it was without us for this long, if that is known.
    case pastGap(aloneFor: Duration?)
    /// The peer may have been owner without our knowing: we lost contact so long ago.
    case pastPeer(aloneFor: Duration)
    /// The former owner was put together with us in part: it may have gone past a gap above what it had of us.
    case pastMerge

    /// What is left of a slice when the next one is taken lasts so much longer: 6 s at a million packets a second.
    private static let sliceTime: Duration = .seconds(6)
    /// Slices of an owner beyond its first that are reckoned with: 67 million packets that nobody heard of.
    private static let slicesMax = 7.0

    func lease(after child: ChildSA, for node: NodeID) -> Lease {
        let lease = child.lease
        switch self {
        case .next:
            // What the table has is ours: the peer may have become owner since, and have gone on to its own next slice.
            return (child.leaseHolder == node ? lease.next(for: node.peer) : lease).next(for: node)
        case .pastGap(let duration):
            return lease.beyond(1 + LeaseStep.slices(in: duration, max: LeaseStep.slicesMax)).next(for: node)
        case .pastMerge:
            return lease.nextAfterGap(for: node).nextAfterGap(for: node)
        case .pastPeer(let duration):
            let first = lease.next(for: node.peer)
            // So soon it had everything, and has gone to the first.
            guard duration >= ReplicationReceiver.graceTime else { return first.next(for: node) }
            // Later it may have gone past a gap of its own, for the time until then, and from there on for the rest.
            return first.beyond(1 + LeaseStep.slices(in: duration, max: 2 * LeaseStep.slicesMax)).next(for: node)
        }
    }

    private static func slices(in duration: Duration?, max: Double) -> UInt64 {
        UInt64(Swift.min(Swift.max(0, duration.map { $0 / sliceTime } ?? max), max))
    }
}

extension Lease {
    /// After so many more slices of one parity.
    fileprivate func beyond(_ count: UInt64) -> Lease { Lease(slice: min(slice, Lease.sliceMax) + 2 * count) }
}

extension ChildSA {
    /// Whose numbers the lease in the table is made of: the first slice is the creator's, whose bit the SPI has.
    fileprivate var leaseHolder: NodeID {
        let bit = lease == .initial ? UInt64(inboundSPI >> 31) : lease.slice % 2
        return bit == 0 ? .zero : .one
    }
}

/// What operators want rekeyed, in pages: each costs a key exchange, and one command may name every session.
struct RekeyWork {
    typealias Item = (session: SessionID, child: UInt32?)

    static let page = 4
    static let pause: Duration = .milliseconds(1)

    private var items: Deque<Item> = []
    private(set) var nextDeadline: Instant?

    mutating func add(_ wanted: [Item], at now: Instant) {
        // As many as there are sessions with all of their CHILD SAs: a command given again and again is not remembered again and again.
        guard items.count + wanted.count <= SessionTable.sessionCountMax else { return }
        items += wanted
        if !items.isEmpty, nextDeadline == nil { nextDeadline = now }
    }

    mutating func takePage(at now: Instant) -> [Item] {
        let page = Array(items.prefix(RekeyWork.page))
        items.removeFirst(page.count)
        nextDeadline = items.isEmpty ? nil : now + RekeyWork.pause
        return page
    }
}

/// Work on leases that is done in pages, after what is urgent.
struct LeaseWork {
    enum Task: Equatable {
        /// The owner writes down the slices that it goes to.
        case record(LeaseStep)
        /// A new standby sets its SAs to where it would go on as owner.
        case arm
    }

    var task: Task?
    /// The sessions that are left; `nil` until the list is made, at the first deadline and not in the takeover itself.
    var sessions: [SessionID]?
    var nextDeadline: Instant?
    /// The gate lets nothing out until every SA is set ahead: there were too many to do it in the takeover itself.
    private(set) var opensGate = false

    mutating func begin(_ task: Task, at now: Instant, opensGate: Bool = false) {
        self.task = task
        sessions = nil
        nextDeadline = now + LeaseWork.pause
        // A gate that waits goes on waiting when there is more to be recorded; who becomes standby has shut it.
        if case .record = task { self.opensGate = self.opensGate || opensGate } else { self.opensGate = false }
    }

    var isRecording: Bool { if case .record = task { true } else { false } }
    var isEmpty: Bool { task == nil }
}

/// What the node counts; names are those of `tandem status` and of the metrics.
struct NodeCounters {
    var dataPlaneFailures: UInt64 = 0
    /// Packets that called for a CHILD SA.
    var packetsAcquired: UInt64 = 0
    var datagramsNotOwner: UInt64 = 0
    var datagramsParked: UInt64 = 0
    var datagramsParkedDropped: UInt64 = 0
    /// To the new owner, by the node that handed over.
    var datagramsPassedOn: UInt64 = 0
    var heartbeatsSent: UInt64 = 0
    var heartbeatsReceived: UInt64 = 0
    var heartbeatsRejected: [HeartbeatRejection: UInt64] = [:]
    var entriesSent: UInt64 = 0
    var entriesApplied: UInt64 = 0
    /// Of the entries sent, those of handshakes.
    var handshakeEntriesSent: UInt64 = 0
    var replicationErrors: UInt64 = 0
    var applyErrors: UInt64 = 0
    var commitTimeouts: UInt64 = 0
    /// Answers to IKE_SA_INIT that left before the standby had them.
    var handshakesNotWaitedFor: UInt64 = 0
    var takeovers: UInt64 = 0
    var stepDowns: UInt64 = 0
    /// After both nodes were owners.
    var merges: UInt64 = 0
    var merged = MergeCounts()
    var sessionsMergeSent: UInt64 = 0
    var arbiterQuestions: UInt64 = 0
    /// Reasons for which this node did not take over.
    var takeoversWithheld: UInt64 = 0
    /// Sessions that went from the other node's own address to ours.
    var sessionsRelocated: UInt64 = 0
    /// Sessions that were on disk and go on, and that were and do not.
    var stateSessionsRestored: UInt64 = 0
    var stateSessionsRefused: UInt64 = 0
    var stateBatchesWritten: UInt64 = 0
    var stateWriteFailures: UInt64 = 0
    var stateDiscards: UInt64 = 0
    var revocationListUpdates: UInt64 = 0
    var revocationListFailures: UInt64 = 0
    var overloads: UInt64 = 0
    var overloadMoves: UInt64 = 0
    var overloadMovesRefused: UInt64 = 0
    /// Things that were not right on this host, and jumps of its time of day.
    var faults: UInt64 = 0
    var clockJumps: UInt64 = 0
    /// Hand-overs that nobody asked for, in both directions.
    var automaticHandovers: UInt64 = 0
    var hooksRun: UInt64 = 0
    var hooksFailed: UInt64 = 0
    /// CHILD SAs that were taken over with `strict` replay protection and a peer that cannot raise its numbers.
    var replayUnprotected: UInt64 = 0
    /// Sessions between this gateway and others (RFC 4067).
    var transfersBegun: UInt64 = 0
    var transfersGiven: UInt64 = 0
    var transfersTaken: UInt64 = 0
    var transfersFailed: UInt64 = 0
    var transfersRefused: UInt64 = 0
    var transferMessagesReceived: UInt64 = 0
    var transferMessagesUnexpected: UInt64 = 0
    var transferMessagesMalformed: UInt64 = 0
    /// A certificate of the pair ends soon, or has ended: said every day.
    var certificateWarnings: UInt64 = 0

    var named: [(String, UInt64)] {
        [
            ("data_plane_failures", dataPlaneFailures), ("packets_acquired", packetsAcquired), ("datagrams_not_owner", datagramsNotOwner),
            ("datagrams_parked", datagramsParked), ("datagrams_parked_dropped", datagramsParkedDropped),
            ("datagrams_passed_on", datagramsPassedOn),
            ("heartbeats_sent", heartbeatsSent), ("heartbeats_received", heartbeatsReceived), ("entries_sent", entriesSent),
            ("entries_applied", entriesApplied), ("handshake_entries_sent", handshakeEntriesSent),
            ("replication_errors", replicationErrors), ("apply_errors", applyErrors),
            ("commit_timeouts", commitTimeouts), ("handshakes_not_waited_for", handshakesNotWaitedFor), ("takeovers", takeovers),
            ("step_downs", stepDowns),
            ("sessions_relocated", sessionsRelocated), ("merges", merges), ("sessions_merged_new", merged.new),
            ("sessions_merged_theirs", merged.theirs), ("sessions_merged_ours", merged.ours), ("sessions_merged_ended", merged.ended),
            ("sessions_merge_refused", merged.refused), ("sessions_merge_sent", sessionsMergeSent),
            ("arbiter_questions", arbiterQuestions), ("takeovers_withheld", takeoversWithheld),
            ("revocation_list_updates", revocationListUpdates), ("revocation_list_failures", revocationListFailures),
            ("state_sessions_restored", stateSessionsRestored), ("state_sessions_refused", stateSessionsRefused),
            ("state_batches_written", stateBatchesWritten), ("state_write_failures", stateWriteFailures),
            ("state_discards", stateDiscards),
            ("overloads", overloads), ("overload_moves", overloadMoves), ("overload_moves_refused", overloadMovesRefused),
            ("faults", faults), ("clock_jumps", clockJumps), ("automatic_handovers", automaticHandovers),
            ("hooks_run", hooksRun), ("hooks_failed", hooksFailed), ("replay_unprotected", replayUnprotected),
            ("transfers_begun", transfersBegun), ("transfers_given", transfersGiven), ("transfers_taken", transfersTaken),
            ("transfers_failed", transfersFailed), ("transfers_refused", transfersRefused),
            ("transfer_messages_received", transferMessagesReceived), ("transfer_messages_unexpected", transferMessagesUnexpected),
            ("transfer_messages_malformed", transferMessagesMalformed), ("certificate_warnings", certificateWarnings),
        ] + HeartbeatRejection.allCases.map { ($0.rawValue, heartbeatsRejected[$0] ?? 0) }
    }
}

extension NodeCounters {
    mutating func add(_ counts: MergeCounts) {
        merged.ours += counts.ours
        merged.theirs += counts.theirs
        merged.new += counts.new
        merged.ended += counts.ended
        merged.refused += counts.refused
    }
}
