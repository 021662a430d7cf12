import Pair
import Session

/// The pair link, as far as the node knows.
struct LinkState {
    var isUp = false
    /// The peer's hello: nothing is replicated before it.
    var peer: PairHello?
}

/// When the next heartbeat is due.
struct HeartbeatClock {
    var next: Instant?
    var sequence: UInt64 = 0
}

/// A switchover that an operator asked for: waiting for the standby to be in step, then for its answer.
struct Handover {
    var token: RequestToken?
    var began: Instant
    var deadline: Instant
    /// The hand-over frame has gone out.
    var isOffered = false
}

/// How a takeover went: the moments of its steps.
struct TakeoverRecord {
    var cause: TakeoverCause?
    var epoch: Epoch = 0
    /// The epoch that ended with it.
    var previousEpoch: Epoch = 0
    /// The epoch of a peer that was active beside us.
    var splitWith: Epoch?
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

/// Work on leases that is done in pages, after what is urgent.
struct LeaseWork {
    /// Sessions whose lease the new owner has to record.
    var toRecord: [SessionID] = []
    /// Sessions whose SAs a new standby has to arm anew.
    var toArm: [SessionID] = []
    /// The list of sessions to record is made at the next deadline, not in the takeover itself.
    var isRecordingDue = false
    /// The dead owner may have used more than we know.
    var afterGap = false
    var nextDeadline: Instant?

    var isRecording: Bool { isRecordingDue || !toRecord.isEmpty }
    var isEmpty: Bool { !isRecordingDue && toRecord.isEmpty && toArm.isEmpty }
}

/// What the node counts; names are those of `tandem status` and of the metrics.
struct NodeCounters {
    var dataPlaneFailures: UInt64 = 0
    var datagramsNotOwner: UInt64 = 0
    var datagramsParked: UInt64 = 0
    var datagramsParkedDropped: UInt64 = 0
    var heartbeatsSent: UInt64 = 0
    var heartbeatsReceived: UInt64 = 0
    var heartbeatsRejected: [HeartbeatRejection: UInt64] = [:]
    var entriesSent: UInt64 = 0
    var entriesApplied: UInt64 = 0
    var replicationErrors: UInt64 = 0
    var applyErrors: UInt64 = 0
    var commitTimeouts: UInt64 = 0
    var takeovers: UInt64 = 0
    var stepDowns: UInt64 = 0

    var named: [(String, UInt64)] {
        [
            ("data_plane_failures", dataPlaneFailures), ("datagrams_not_owner", datagramsNotOwner),
            ("datagrams_parked", datagramsParked), ("datagrams_parked_dropped", datagramsParkedDropped),
            ("heartbeats_sent", heartbeatsSent), ("heartbeats_received", heartbeatsReceived), ("entries_sent", entriesSent),
            ("entries_applied", entriesApplied), ("replication_errors", replicationErrors), ("apply_errors", applyErrors),
            ("commit_timeouts", commitTimeouts), ("takeovers", takeovers), ("step_downs", stepDowns),
        ] + HeartbeatRejection.allCases.map { ($0.rawValue, heartbeatsRejected[$0] ?? 0) }
    }
}
