import Context
import Control
import DequeModule
import Session

/// A message to another gateway.
struct TransferOutput {
    var gateway: String
    var message: CXTPMessage

    init(to gateway: String, _ message: CXTPMessage) {
        self.gateway = gateway
        self.message = message
    }
}

/// What has to wait until the standby acknowledges the entry that explains it (law 2): datagrams, and the data plane's part.
struct HeldOutput {
    var index: UInt64
    var deadline: Instant
    var commands: [DataPlaneCommand]
    var datagrams: [Datagram]
    var hooks: [HookCall] = []
    var messages: [TransferOutput] = []
    /// An operator is told only what the standby knows too.
    var responses: [HeldResponse] = []
    /// Its commands let an SA go on to its next slice. They wait for the standby also when nothing else does any more.
    var isLease = false
    /// It shows these half-open IKE SAs, by our SPIs, and nothing of a session.
    var halfOpen: [UInt64] = []
}

struct HeldResponse {
    var token: RequestToken
    var response: ControlResponse
}

/// Held outputs in the order of their entries. Bounded by the commit timeout: nothing stays longer than that.
struct HoldQueue {
    private var entries: Deque<HeldOutput> = []

    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.count }
    var nextDeadline: Instant? { entries.first?.deadline }

    var datagrams: [Datagram] { entries.flatMap(\.datagrams) }

    mutating func append(_ output: HeldOutput) { entries.append(output) }

    /// Everything whose entry the standby has.
    mutating func release(upTo index: UInt64) -> [HeldOutput] {
        var out: [HeldOutput] = []
        while let first = entries.first, first.index <= index { out.append(entries.removeFirst()) }
        return out
    }

    /// What waited long enough and shows no session.
    mutating func releaseLateHandshakes(at now: Instant) -> [HeldOutput] {
        var out: [HeldOutput] = []
        while let first = entries.first, first.deadline <= now, !first.halfOpen.isEmpty { out.append(entries.removeFirst()) }
        return out
    }

    mutating func releaseAll() -> [HeldOutput] {
        defer { entries.removeAll() }
        return Array(entries)
    }
}
