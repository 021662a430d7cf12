import DequeModule
public import Session

/// The active's half of what follows connections: of each the last state waits to be told, and a few batches are on their way.
///
/// What waits is sent in rounds, so that a connection is told at most once in each; and only as fast as the standby takes it in, so
/// that deltas of sessions, which share the link, never stand behind more than two batches.
public struct FlowSender: Sendable {
    /// Between two rounds: the most that a takeover can miss of a new connection, and how seldom a changing one is told.
    public static let roundInterval: Duration = .milliseconds(100)
    /// On the way at once: the standby works on one while the next travels. Some 50 KiB.
    static let batchesMax = 2

    private enum Item: Hashable, Sendable {
        case flow(FlowKey)
        case tableBegins
        case tableEnds
    }

    /// Connections that are told of, at most.
    public let limit: Int
    /// Names a beginning: what a watch says of an earlier one is not listened to. 0: none yet.
    public private(set) var generation: UInt64 = 0
    public private(set) var isFollowing = false
    /// The connections that the standby was told of, or will be.
    private var tracked: Set<FlowKey> = []
    private var waiting: [FlowKey: FlowChange] = [:]
    /// The names in `waiting`, each once, and the marks of a table between them.
    private var queue: Deque<Item> = []
    /// How much of the queue this round may still send.
    private var released = 0
    private var nextRound: Instant?
    private var lastRound: Instant?
    private var batchesOnTheWay = 0

    /// Told to the standby.
    public private(set) var sent: UInt64 = 0
    /// Not told, because there are more than `limit`.
    public private(set) var dropped: UInt64 = 0
    /// Seen, and not of a CHILD SA.
    public private(set) var foreign: UInt64 = 0

    public init(limit: Int) { self.limit = limit }

    public var trackedCount: Int { tracked.count }
    public var waitingCount: Int { waiting.count }
    public var nextDeadline: Instant? { released == 0 ? nextRound : nil }

    /// A standby listens. Whoever watches the kernel has to begin, and to use the new generation.
    public mutating func start() {
        stop()
        generation += 1
        isFollowing = true
    }

    public mutating func stop() {
        isFollowing = false
        forget()
        batchesOnTheWay = 0
        nextRound = nil
        lastRound = nil
    }

    private mutating func forget() {
        tracked = []
        waiting = [:]
        queue = []
        released = 0
    }

    public mutating func note(_ report: FlowReport, generation: UInt64, matcher: FlowMatcher, at now: Instant) {
        guard isFollowing, generation == self.generation else { return }
        switch report {
        case .changes(let changes):
            for change in changes { note(change, matcher) }
        case .tableBegins:
            forget()
            queue.append(.tableBegins)
        case .table(let entries):
            for entry in entries { note(.put(entry), matcher) }
        case .tableEnds:
            queue.append(.tableEnds)
        }
        schedule(at: now)
    }

    private mutating func note(_ change: FlowChange, _ matcher: FlowMatcher) {
        switch change {
        case .put(let entry):
            let key = entry.key
            if !tracked.contains(key) {
                guard matcher.matches(entry) else {
                    foreign += 1
                    return
                }
                guard tracked.count < limit else {
                    dropped += 1
                    return
                }
                tracked.insert(key)
            }
            if case .put(let earlier)? = waiting[key] { put(.put(earlier.followed(by: entry)), key) } else { put(change, key) }
        case .remove(let key):
            guard tracked.remove(key) != nil else { return }
            // Also when nothing was told yet: the place in the queue stays its own, and an unknown name is no harm there.
            put(change, key)
        }
    }

    /// The limit on what is tracked bounds what waits too: a removal that waits makes room for one more, and no further.
    private mutating func put(_ change: FlowChange, _ key: FlowKey) {
        guard waiting.updateValue(change, forKey: key) == nil else { return }
        guard waiting.count <= 2 * limit else {
            waiting[key] = nil
            dropped += 1
            return
        }
        queue.append(.flow(key))
    }

    private mutating func schedule(at now: Instant) {
        guard !queue.isEmpty, released == 0, nextRound == nil else { return }
        nextRound = max(now, lastRound.map { $0 + FlowSender.roundInterval } ?? now)
    }

    /// What may be sent now.
    ///
    /// - Parameter isUrgent: without waiting for the next round, and for the standby: before a hand-over.
    public mutating func batches(isUrgent: Bool = false, at now: Instant) -> [FlowBatch] {
        guard isFollowing else { return [] }
        if let due = nextRound, released == 0, isUrgent || now >= due {
            nextRound = nil
            lastRound = now
            released = queue.count
        }
        var out: [FlowBatch] = []
        while released > 0, batchesOnTheWay < FlowSender.batchesMax, let batch = nextBatch() {
            out.append(batch)
            batchesOnTheWay += 1
        }
        schedule(at: now)
        return out
    }

    private mutating func nextBatch() -> FlowBatch? {
        var batch = FlowBatch()
        while released > 0, batch.count < PairProtocol.flowBatchMax, let item = queue.first {
            // A table's begin comes first in its batch, its end last.
            if item == .tableBegins, batch.count > 0 || batch.beginsTable { break }
            queue.removeFirst()
            released -= 1
            switch item {
            case .tableBegins: batch.beginsTable = true
            case .tableEnds: batch.endsTable = true
            case .flow(let key):
                switch waiting.removeValue(forKey: key) {
                case .put(let entry)?: batch.puts.append(entry)
                case .remove(let key)?: batch.removals.append(key)
                case nil: break
                }
            }
            if batch.endsTable { break }
        }
        sent += UInt64(batch.count)
        return batch.count > 0 || batch.beginsTable || batch.endsTable ? batch : nil
    }

    /// The standby has taken in a batch, and may be sent another.
    public mutating func batchTaken() { batchesOnTheWay = max(0, batchesOnTheWay - 1) }
}
