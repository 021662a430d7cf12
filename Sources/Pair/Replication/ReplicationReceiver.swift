public import Session

/// Why the standby could not take in a frame: the link is closed, and a new snapshot mends everything.
public enum ReplicationError: Error, Hashable, Sendable {
    case gap(expected: UInt64, received: UInt64)
    case unexpectedFrame(String)
    case cannotApply(ApplyError)
    case olderEpoch(received: Epoch, known: Epoch)

    public var text: String {
        switch self {
        case .gap(let expected, let received): "entry \(received) came where \(expected) was due"
        case .unexpectedFrame(let kind): "a \(kind) frame that was not due"
        case .cannotApply(let error): "an entry does not fit: \(error)"
        case .olderEpoch(let received, let known): "the active's epoch \(received) is below \(known)"
        }
    }
}

/// The standby's half of replication: takes entries in order and in no other, and knows whether it holds everything.
public struct ReplicationReceiver: Sendable {
    private enum State: Hashable, Sendable {
        case idle
        case snapshot
        case inStep
    }

    private var state: State = .idle
    /// The sessions that the snapshot under way has named, or that were created beside it; `nil`: there were none when it began, nor did others
    /// come in beside it, and so there is nothing to be removed at its end.
    private var seen: Set<SessionID>?
    /// The addresses whose reservations it has named, or that a session got or gave back beside it; `nil`: as above.
    private var seenAddresses: Set<IPAddress>?
    private var nextIndex: UInt64 = 1
    public private(set) var applied: UInt64 = 0
    /// A delta did not fit: the next snapshot starts from nothing.
    private var isSuspect = false
    /// When the link closed on a standby that held everything.
    private var leftAt: Instant?

    public init() {}

    /// Everything that the active has sent is here, and nothing is missing.
    public var isInStep: Bool { state == .inStep }
    /// Nothing is under way: only a snapshot's beginning is waited for.
    public var isIdle: Bool { state == .idle }

    /// Whether everything the active did until about now is here: in step, or in step until the link closed a moment ago. In
    /// `graceTime` no active goes on to a lease that it had not told of.
    public func holdsEverything(at now: Instant) -> Bool {
        if isInStep { return true }
        guard let leftAt else { return false }
        return now - leftAt < ReplicationReceiver.graceTime
    }

    /// Whether nothing was exchanged with peers that is not here: as above, and nothing was heard of the active after the link closed.
    /// Leases are taken ahead of time and need not be so sure; message IDs are not.
    public func missedNothing(lastHeard: Instant?, at now: Instant) -> Bool {
        guard holdsEverything(at: now) else { return false }
        guard !isInStep, let leftAt, let lastHeard else { return true }
        return lastHeard <= leftAt
    }

    public static let graceTime: Duration = .seconds(1)

    public mutating func linkClosed(at now: Instant) {
        if isInStep { leftAt = now }
        state = .idle
    }

    /// This node owns everything now, or knows nothing of what the peer does.
    public mutating func reset() {
        state = .idle
        leftAt = nil
    }

    /// We handed over: the new active holds what we hold, and its entries begin at 1.
    public mutating func continueInStep() {
        state = .inStep
        nextIndex = 1
        applied = 0
        leftAt = nil
    }

    /// - Parameter othersMayCome: the table gets sessions from elsewhere too, while the snapshot comes: from disk.
    public mutating func begin(
        _ begin: SnapshotBegin, table: inout SessionTable, epoch: Epoch, othersMayCome: Bool = false
    ) throws(ReplicationError) -> [AppliedDelta] {
        guard begin.epoch >= epoch else { throw .olderEpoch(received: begin.epoch, known: epoch) }
        nextIndex = begin.nextIndex
        applied = begin.nextIndex - 1
        leftAt = nil
        state = .snapshot
        var removed: [AppliedDelta] = []
        if isSuspect {
            isSuspect = false
            removed = try removeAll(except: [], from: &table)
        }
        seen = table.count > 0 || othersMayCome ? [] : nil
        seenAddresses = table.reservations.count > 0 || othersMayCome ? [] : nil
        table.makeRoomIfEmpty(for: Int(clamping: begin.sessionCount))
        return removed
    }

    public mutating func page(
        _ sessions: [Session], reservations: [Reservation] = [], table: inout SessionTable
    ) throws(ReplicationError) -> [AppliedDelta] {
        guard state == .snapshot else { throw .unexpectedFrame("snapshot page") }
        var out: [AppliedDelta] = []
        for session in sessions {
            seen?.insert(session.id)
            if let change = try applying({ () throws(ApplyError) in try table.replace(with: session) }) { out.append(change) }
        }
        for reservation in reservations {
            seenAddresses?.insert(reservation.address)
            try applying { () throws(ApplyError) in try table.replace(with: reservation) }
        }
        return out
    }

    public mutating func end(table: inout SessionTable) throws(ReplicationError) -> [AppliedDelta] {
        guard state == .snapshot else { throw .unexpectedFrame("snapshot end") }
        var removed: [AppliedDelta] = []
        if let seen { removed = try removeAll(except: seen, from: &table) }
        if let seenAddresses { table.forgetReservations(except: seenAddresses) }
        state = .inStep
        seen = nil
        seenAddresses = nil
        return removed
    }

    public mutating func entry(
        index: UInt64, _ entry: LogEntry, table: inout SessionTable
    ) throws(ReplicationError) -> [AppliedDelta] {
        guard state != .idle else { throw .unexpectedFrame("entry") }
        guard index == nextIndex else { throw .gap(expected: nextIndex, received: index) }
        var out: [AppliedDelta] = []
        switch entry {
        case .delta(let delta):
            let change = try applying { () throws(ApplyError) in try table.apply(delta) }
            out.append(change)
            if state == .snapshot { note(change) }
        case .replay, .handshake:
            // The caller takes them in: so many of the former, and the latter is nothing that the table holds.
            break
        }
        nextIndex += 1
        applied = index
        return out
    }

    private mutating func note(_ change: AppliedDelta) {
        seen?.insert(change.delta.session)
        for session in [change.before, change.after] { seenAddresses?.formUnion(session?.virtualAddresses.map(\.address) ?? []) }
    }

    private mutating func removeAll(except seen: Set<SessionID>, from table: inout SessionTable) throws(ReplicationError) -> [AppliedDelta]
    {
        var out: [AppliedDelta] = []
        for id in table.sessions.keys.filter({ !seen.contains($0) }).sorted() {
            let delta = SessionDelta(session: id, changes: [.removed(reason: "not in the active's snapshot", at: 0)])
            out.append(try applying { () throws(ApplyError) in try table.apply(delta) })
        }
        return out
    }

    private mutating func applying<Result>(_ body: () throws(ApplyError) -> Result) throws(ReplicationError) -> Result {
        do {
            return try body()
        } catch {
            isSuspect = true
            state = .idle
            throw .cannotApply(error)
        }
    }
}
