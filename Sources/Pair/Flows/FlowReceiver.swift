public import Session

/// The standby's half: which connections its kernel was given, until when they stay there, and what is to be done to it.
///
/// No packet passes a standby, so nothing keeps its entries alive but this: each is given time enough, and again before it is up, until
/// the active says that the connection is gone.
public struct FlowReceiver: Sendable {
    /// What every entry is given at least, in seconds. The time that conntrack gives a UDP exchange, 30 s, is renewed by packets.
    static let timeoutMin: UInt32 = 600
    /// An entry with less left than this is given its time again. Left at a takeover, at least.
    static let renewalTime: Duration = .seconds(300)
    /// How often all are looked at.
    static let sweepInterval: Duration = .seconds(60)
    /// Between two pages of it everything else gets its turn.
    static let pagePause: Duration = .milliseconds(2)

    private struct Held: Sendable {
        var entry: FlowEntry
        var expiresAt: Instant
        /// The table that named it last.
        var table: UInt64
    }

    public let limit: Int
    private var held: [FlowKey: Held] = [:]
    /// Counts the tables that the active began to tell: what a whole one did not name is gone.
    private var table: UInt64 = 0
    private var isTableUnderWay = false
    private var sweep: [FlowKey] = []
    public private(set) var nextDeadline: Instant?
    /// Not taken in, because there are more than `limit`.
    public private(set) var dropped: UInt64 = 0

    public init(limit: Int) { self.limit = limit }

    public var count: Int { held.count }

    /// This node owns everything now: the kernel has what it needs, and packets keep it alive from here on.
    public mutating func clear() {
        held = [:]
        isTableUnderWay = false
        sweep = []
        nextDeadline = nil
    }

    public mutating func take(_ batch: FlowBatch, at now: Instant) -> [FlowCommand] {
        if batch.beginsTable {
            table += 1
            isTableUnderWay = true
        }
        var commands: [FlowCommand] = []
        for key in batch.removals where held.removeValue(forKey: key) != nil {
            commands.append(.remove(key))
        }
        for entry in batch.puts {
            if let command = put(entry, at: now) { commands.append(command) }
        }
        if batch.endsTable, isTableUnderWay {
            isTableUnderWay = false
            for key in held.filter({ $0.value.table != table }).keys {
                held[key] = nil
                commands.append(.remove(key))
            }
        }
        if !held.isEmpty, nextDeadline == nil { nextDeadline = now + FlowReceiver.sweepInterval }
        return commands
    }

    private mutating func put(_ entry: FlowEntry, at now: Instant) -> FlowCommand? {
        let key = entry.key
        let known = held[key]
        guard known != nil || held.count < limit else {
            dropped += 1
            return nil
        }
        let merged = known?.entry.followed(by: entry) ?? entry
        // Another connection under the same name, or one that a former owner's kernel may still have as it was.
        let isAnother = known.map { $0.entry.reply != entry.reply || !$0.entry.status.isSubset(of: entry.status) } ?? true
        return install(merged, key, isNew: isAnother, isNamed: true, at: now)
    }

    private mutating func install(_ entry: FlowEntry, _ key: FlowKey, isNew: Bool, isNamed: Bool, at now: Instant) -> FlowCommand {
        var given = entry
        given.timeout = max(entry.timeout, FlowReceiver.timeoutMin)
        held[key] = Held(entry: entry, expiresAt: now + .seconds(Int64(given.timeout)), table: isNamed ? table : held[key]?.table ?? table)
        return isNew ? .create(given) : .update(given)
    }

    /// Entries that need more time, a page at once.
    public mutating func renew(at now: Instant) -> [FlowCommand] {
        guard let due = nextDeadline, now >= due else { return [] }
        if sweep.isEmpty { sweep = Array(held.keys) }
        var commands: [FlowCommand] = []
        // Looking costs little, and a page of commands some milliseconds of the kernel's time.
        for _ in 0..<16 * PairProtocol.flowBatchMax {
            guard commands.count < PairProtocol.flowBatchMax, let key = sweep.popLast() else { break }
            guard let known = held[key], known.expiresAt - now < FlowReceiver.renewalTime else { continue }
            commands.append(install(known.entry, key, isNew: false, isNamed: false, at: now))
        }
        nextDeadline = held.isEmpty ? nil : now + (sweep.isEmpty ? FlowReceiver.sweepInterval : FlowReceiver.pagePause)
        return commands
    }
}
