public import Session

/// How far the standby is: an explicit state with the time and reason of its beginning (law 8).
public enum PairState: Hashable, Sendable {
    /// Nobody acknowledges: replies do not wait, and a failure now would lose what is new.
    case solo(reason: SoloReason)
    /// A snapshot is under way.
    case syncing
    /// Every reply waits for the standby's acknowledgement.
    case paired

    public var name: String {
        switch self {
        case .solo: "solo"
        case .syncing: "syncing"
        case .paired: "paired"
        }
    }

    public var reason: String? { if case .solo(let reason) = self { reason.rawValue } else { nil } }
}

public enum SoloReason: String, Hashable, Sendable {
    case noPair = "no_pair_configured"
    case noLink = "no_link"
    case linkClosed = "link_closed"
    case commitTimeout = "commit_timeout"
    case standbyTooSlow = "standby_too_slow"
    /// The standby took over by itself, or gave up what it held.
    case standbyLeft = "standby_left"
    case tookOver = "took_over"
    case starting = "starting"
}

/// The active's half of replication: numbers the entries, sends the snapshot in pages between them, and knows what the standby has.
///
/// During a snapshot an entry is sent only if its session is already on the standby; any other travels whole, as it then is,
/// with its page.
public struct ReplicationSender: Sendable {
    private enum State: Hashable, Sendable {
        case solo(SoloReason)
        /// `pages`: sent and not yet taken in; `endIndex`: all were sent, and the last entry before the end had this index.
        case syncing(pages: Int, endIndex: UInt64?)
        /// `isLate`: the commit timeout passed; the standby is behind but gets everything.
        case paired(isLate: Bool)
    }

    /// Entries that were sent and not acknowledged, at most: some 20 MiB. A standby further behind is cut off and begins anew.
    public static let unacknowledgedMax: UInt64 = 65_536
    /// Pages on the way at once: the standby works on one while the next travels.
    static let pagesMax = 4

    private let unacknowledgedMax: UInt64
    private var state: State = .solo(.starting)
    public private(set) var since: Instant
    /// The index that the next entry will have. Goes on from one snapshot to the next, so that a late acknowledgement is never
    /// taken for one of an entry that was sent since.
    public private(set) var nextIndex: UInt64 = 1
    public private(set) var acknowledged: UInt64 = 0
    /// The sessions of the snapshot, in their order; from `position` on no page has carried them yet.
    private var order: [SessionID] = []
    private var position = 0
    /// Addresses of the reservations that no page has carried yet; `nil` while there are sessions left.
    private var reserved: [IPAddress]?

    /// - Parameter unacknowledgedMax: entries that the standby may be behind.
    public init(now: Instant, unacknowledgedMax: UInt64 = ReplicationSender.unacknowledgedMax) {
        since = now
        self.unacknowledgedMax = unacknowledgedMax
    }

    public var pairState: PairState {
        switch state {
        case .solo(let reason): .solo(reason: reason)
        case .syncing: .syncing
        case .paired(isLate: true): .solo(reason: .commitTimeout)
        case .paired(isLate: false): .paired
        }
    }

    /// Entries that the standby has not acknowledged.
    public var lag: UInt64 { nextIndex - 1 - acknowledged }
    /// Replies have to wait for the standby.
    public var holdsReplies: Bool { pairState == .paired }
    /// The standby holds everything, this very moment.
    public var isInStep: Bool { pairState == .paired && lag == 0 }
    /// Whether a lease may be taken of which the standby will not hear: not in the moments after it was lost, in which it goes by
    /// the leases that it knows.
    public func mayRunAhead(at now: Instant) -> Bool {
        guard case .solo = pairState else { return true }
        return now - since > ReplicationReceiver.graceTime * 2
    }
    /// Entries are sent, however late the standby is.
    public var isRunning: Bool { if case .solo = state { false } else { true } }
    /// The standby is so far behind that it has to begin anew.
    public var isOverrun: Bool { lag > unacknowledgedMax }

    /// Nothing is sent until the next `begin`.
    public mutating func goSolo(_ reason: SoloReason, at now: Instant) {
        if case .solo = state {} else { since = now }
        state = .solo(reason)
        (order, position) = ([], 0)
        reserved = nil
        acknowledged = nextIndex - 1
    }

    /// A standby stands ready on a fresh link.
    ///
    /// - Parameter overrules: what it may have done as owner is not waited for.
    public mutating func begin(table: SessionTable, epoch: Epoch, overrules: Bool = false, at now: Instant) -> [PairFrame] {
        acknowledged = nextIndex - 1
        since = now
        order = table.sessions.keys.sorted()
        position = 0
        reserved = nil
        state = .syncing(pages: 0, endIndex: nil)
        let begin = SnapshotBegin(epoch: epoch, sessionCount: UInt64(order.count), nextIndex: nextIndex, overrules: overrules)
        return [.snapshotBegin(begin)] + nextPages(table: table)
    }

    /// The standby is the node that has just handed over to us: it holds what we hold.
    public mutating func beginInStep(at now: Instant) {
        nextIndex = 1
        acknowledged = 0
        since = now
        (order, position) = ([], 0)
        state = .paired(isLate: false)
    }

    /// Numbers an entry that the caller has applied.
    ///
    /// - Returns: the frame to send, if the standby has to be told, and the index on whose acknowledgement a reply has to wait.
    public mutating func append(_ entry: LogEntry) -> (frame: PairFrame?, index: UInt64) {
        switch state {
        case .solo:
            return (nil, 0)
        case .syncing:
            guard !isInComingPage(entry) else { return (nil, 0) }
        case .paired:
            break
        }
        let index = nextIndex
        nextIndex += 1
        return (.entry(index: index, entry), index)
    }

    private func isInComingPage(_ entry: LogEntry) -> Bool {
        switch entry {
        case .delta(let delta): isUnsent(delta.session)
        // Replay reports are renewed all the time; until the last page has gone, the pages carry them.
        case .replay: position < order.count
        // No page carries them.
        case .handshake: false
        }
    }

    /// Whether a session is one of the snapshot's that no page has carried yet. (A set of them would take as long to make as the list, and
    /// both are made in one turn.)
    private func isUnsent(_ id: SessionID) -> Bool {
        var range = position..<order.count
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            if order[middle] == id { return true }
            range = order[middle] < id ? middle + 1..<range.upperBound : range.lowerBound..<middle
        }
        return false
    }

    /// - Returns: whether the acknowledgement was one for something that was sent, now or before the last snapshot.
    public mutating func acknowledge(_ index: UInt64, at now: Instant) -> Bool {
        guard index < nextIndex else { return false }
        guard index > acknowledged else { return true }
        acknowledged = index
        switch state {
        case .syncing(pages: 0, let endIndex?) where index >= endIndex:
            enter(.paired(isLate: false), at: now)
        case .paired(isLate: true) where lag == 0:
            enter(.paired(isLate: false), at: now)
        default:
            break
        }
        return true
    }

    /// The standby took in a page, or (with the last) the whole snapshot.
    public mutating func pageTaken(table: SessionTable, at now: Instant) -> [PairFrame] {
        guard case .syncing(let pages, let endIndex) = state, pages > 0 else { return [] }
        state = .syncing(pages: pages - 1, endIndex: endIndex)
        guard let endIndex else { return nextPages(table: table) }
        if pages == 1, acknowledged >= endIndex { enter(.paired(isLate: false), at: now) }
        return []
    }

    /// A reply waited too long: the pair is visibly solo until the standby has caught up.
    public mutating func commitTimedOut(at now: Instant) {
        if case .paired(isLate: false) = state { enter(.paired(isLate: true), at: now) }
    }

    private mutating func enter(_ new: State, at now: Instant) {
        state = new
        since = now
    }

    private mutating func nextPages(table: SessionTable) -> [PairFrame] {
        guard case .syncing(var pages, nil) = state else { return [] }
        var frames: [PairFrame] = []
        while pages < ReplicationSender.pagesMax, position < order.count {
            let end = min(position + PairProtocol.snapshotPageSessionsMax, order.count)
            // A session that ended meanwhile is left out; the standby drops what no page named.
            frames.append(.snapshotPage(order[position..<end].compactMap { table[$0] }))
            position = end
            pages += 1
        }
        while pages < ReplicationSender.pagesMax, let page = nextReservations(table: table) {
            frames.append(.snapshotPage([], reservations: page))
            pages += 1
        }
        guard position == order.count, reserved?.isEmpty == true, pages < ReplicationSender.pagesMax else {
            state = .syncing(pages: pages, endIndex: nil)
            return frames
        }
        frames.append(.snapshotEnd)
        reserved = nil
        // The end counts as a page: when it is taken, everything before it was.
        state = .syncing(pages: pages + 1, endIndex: nextIndex - 1)
        (order, position) = ([], 0)
        return frames
    }

    /// Once every session has gone, all deltas are sent, and what they do to reservations is done on the standby too: only those who
    /// are away need a page, as they are when it leaves.
    private mutating func nextReservations(table: SessionTable) -> [Reservation]? {
        guard position == order.count else { return nil }
        var rest = reserved ?? table.reservations.all.filter { $0.offlineSince != nil }.map(\.address).sorted()
        // Held once, so that a page costs a page and not a copy of all.
        reserved = nil
        let page = rest.suffix(PairProtocol.snapshotPageReservationsMax)
        rest.removeLast(page.count)
        reserved = rest
        return page.isEmpty ? nil : page.compactMap { table.reservations[$0] }.filter { $0.offlineSince != nil }
    }
}
