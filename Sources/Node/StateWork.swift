import Control
import DequeModule
public import Pair
public import Session

/// What a node wants done with the state on its disk.
public enum StateOrder: Hashable, Sendable {
    /// Append it, and answer when it would outlive a power cut.
    case write(StateBatch)
    /// Remove all of it: what is there is too old to be gone on with.
    case discard
}

/// What a node hears of the state on its disk.
public enum StateEvent: Sendable {
    /// Before `started`: what was there.
    case opened(StateOpening)
    /// The last order is carried out, and would outlive a power cut.
    case done
    /// The last order could not be carried out; what was written before it is still there.
    case failed(String)
}

/// What a node finds on its disk when it starts. `StoredState.beginLife` was applied to it, and is on the disk.
public struct StateOpening: Sendable {
    public var state: StoredState
    /// Epochs up to here may have been used by former lives.
    public var spent: Epoch
    /// When the last record of the former life was written, in milliseconds since 1970.
    public var writtenAtWallMilliseconds: Int64?
    /// Why there is less than there should be, for people: `nil`: there is not.
    public var problem: String?
    /// Nothing could be written: there is no record of this life yet.
    public var isReadOnly: Bool
    /// The slices of CHILD SAs that former lives may have come to, also of those sessions that are not gone on with.
    public var spentSlices: [UInt32: UInt64]

    public init(
        state: StoredState, spent: Epoch, writtenAtWallMilliseconds: Int64?, problem: String? = nil, isReadOnly: Bool = false,
        spentSlices: [UInt32: UInt64]? = nil
    ) {
        self.state = state
        self.spent = spent
        self.writtenAtWallMilliseconds = writtenAtWallMilliseconds
        self.problem = problem
        self.isReadOnly = isReadOnly
        self.spentSlices = spentSlices ?? state.slices
    }
}

/// What is to be written to disk, and what is being written. A slow disk makes no queue: each session is in it once, and is written as it
/// is when its turn comes.
struct StateWork {
    /// Between two batches: each ends with a wait for the disk, and what happens in this time is written with the next.
    static let pause: Duration = .milliseconds(5)
    /// Counters that move all the time are written so much later.
    static let lazyDelay: Duration = .seconds(1)
    /// After a failure.
    static let retryPause: Duration = .seconds(1)
    /// Sessions of the disk that are put into the table in one go, and the pause until the next.
    static let restorePage = 256
    static let restorePause: Duration = .milliseconds(1)
    /// A clock that is further behind than this when a node starts cannot say which sessions are over.
    static let clockToleranceMilliseconds: Int64 = 600_000
    /// A disk that has not answered for so long hangs, for people: longer than one takes that is busy or remaps a sector.
    static let hangTime: Duration = .seconds(5)

    enum Outstanding {
        case batch(StateBatch)
        case discard
    }

    /// Answers that wait until the disk has forgotten a session.
    struct Waiter {
        var session: SessionID
        var messages: [TransferOutput]
        var responses: [HeldResponse]
    }

    private(set) var isOpen = false
    /// The ownership of which the sessions are, and the epochs that may be used when the next batch is on the disk.
    var epoch: Epoch = 0
    private(set) var limit: Epoch = 0
    /// As it is on the disk; `nil`: there is no file.
    private(set) var writtenLimit: Epoch?
    private var isHeadDirty = false

    private var urgent: Deque<SessionID> = []
    private var isUrgent: Set<SessionID> = []
    private var lazy: Deque<(session: SessionID, due: Instant)> = []
    private var isLazy: Set<SessionID> = []
    private var departures: Deque<StoredDeparture> = []
    private var reservations: Set<IPAddress> = []
    /// Sessions of which the file may have something.
    private var onDisk: Set<SessionID> = []
    /// The slice of each CHILD SA as it is on the disk.
    private var writtenSlices: [UInt32: UInt64] = [:]

    private(set) var outstanding: Outstanding?
    private var outstandingSince: Instant?
    /// The last order has not been answered for `hangTime`.
    private(set) var isHanging = false
    private(set) var nextTurn: Instant?
    private(set) var error: String?
    private(set) var errorSince: Instant?
    private(set) var wantsDiscard = false
    var waiters: [Waiter] = []
    /// An acknowledgement, and those after it, that wait until the disk has forgotten these sessions.
    var heldAcknowledgement: (sessions: Set<SessionID>, index: UInt64)?

    /// Sessions of the disk that are not in the table yet.
    var stored: Deque<Session> = []
    var nextRestore: Instant?
    /// Sessions of which the active has told meanwhile: what the disk says of them does not count any more.
    var told: Set<SessionID> = []
    var restoredCount = 0
    /// The table has nothing but what was on the disk.
    var isRestoredOnly = false
    var spentSlices: [UInt32: UInt64] = [:]
    /// What former lives used is known to this one alone: what the disk said of it is removed, and nothing could be written in its place.
    private(set) var remembersAlone = false
    /// How far the peer's former lives may have gone, by inbound SPI: to be on the disk before the owner goes past it.
    private(set) var claims: [UInt32: UInt64] = [:]

    var isRestoring: Bool { !stored.isEmpty }
    /// The disk is about to remove all that it has.
    var isDiscarding: Bool { if case .discard = outstanding { true } else { false } }
    /// What is forgotten does not come back.
    var canForget: Bool { !isOpen || error == nil }
    var queuedCount: Int { urgent.count + lazy.count }
    /// Nothing is to be written any more.
    var isEmpty: Bool { queuedCount == 0 && departures.isEmpty && reservations.isEmpty }
    var onDiskCount: Int { onDisk.count }
    /// Sessions that are not written as they are, but for counters.
    var unwrittenCount: Int {
        var count = isUrgent.count
        if case .batch(let batch) = outstanding { count += batch.sessions.count + batch.ended.count }
        return count
    }
    private var hasUrgentWork: Bool { !urgent.isEmpty || isHeadDirty || !departures.isEmpty || !reservations.isEmpty || wantsDiscard }

    var nextDeadline: Instant? {
        guard isOpen else { return nil }
        let next: Instant? =
            outstanding != nil ? hangsAt : hasUrgentWork ? nextTurn : lazy.first.map { max($0.due, nextTurn ?? $0.due) }
        return [next, nextRestore].compactMap { $0 }.min()
    }

    private var hangsAt: Instant? { isHanging ? nil : outstandingSince.map { $0 + StateWork.hangTime } }

    mutating func open(_ opening: StateOpening, at now: Instant) {
        isOpen = true
        nextTurn = now
        onDisk = Set(opening.state.sessions.keys)
        limit = opening.state.head?.epochLimit ?? opening.spent + StoredState.epochReserve
        writtenLimit = opening.isReadOnly ? nil : limit
        // This life goes on without what is there, and may take SAs of it from the peer.
        wantsDiscard = opening.isReadOnly
        isHeadDirty = opening.isReadOnly
        spentSlices = opening.spentSlices
        remembersAlone = opening.isReadOnly && !spentSlices.isEmpty
        writtenSlices = opening.state.slices
        if opening.isReadOnly, let problem = opening.problem { noteFailure(problem, at: now) }
    }

    // MARK: - What changes

    mutating func mark(_ session: SessionID) {
        guard isUrgent.insert(session).inserted else { return }
        urgent.append(session)
    }

    mutating func markLazily(_ session: SessionID, at now: Instant) {
        guard !isUrgent.contains(session), isLazy.insert(session).inserted else { return }
        lazy.append((session, now + StateWork.lazyDelay))
    }

    mutating func mark(_ departure: StoredDeparture) {
        if departures.count >= StoredState.departuresMax { departures.removeFirst() }
        departures.append(departure)
    }

    mutating func mark(_ address: IPAddress) { reservations.insert(address) }

    /// Whether a node that goes on to this slice of a CHILD SA is further than a life that begins with what is on the disk would leave behind:
    /// such a life uses those above the slice with which it begins (`DataPlanePlan.numbers`).
    func isTooFar(_ lease: Lease, of spi: UInt32, node: NodeID) -> Bool {
        guard writtenLimit != nil, let written = writtenSlices[spi] else { return false }
        return lease.slice > StoredState.advanced(Lease(slice: written), for: node).slice
    }

    /// Whether a life that begins with what is on the disk, if one does, goes on as far above this slice as above any.
    func reckons(with slice: UInt64, of spi: UInt32) -> Bool {
        guard writtenLimit != nil, let written = writtenSlices[spi] else { return true }
        return written >= slice
    }

    mutating func claim(_ slice: UInt64, of spi: UInt32, in session: SessionID) {
        claims[spi] = max(claims[spi] ?? 0, slice)
        mark(session)
    }

    mutating func settleClaim(of spi: UInt32) { claims[spi] = nil }
    mutating func dropClaims() { claims = [:] }

    /// An SA is gone.
    ///
    /// - Parameter mayComeBack: a standby is being filled, and may only have been emptied for that: what was used under the SA's keys is used.
    mutating func forgetChild(_ spi: UInt32, mayComeBack: Bool) {
        guard !mayComeBack else { return }
        writtenSlices[spi] = nil
        spentSlices[spi] = nil
    }

    /// All SAs that there are are in the table.
    mutating func forgetChildren(except table: SessionTable) {
        guard !spentSlices.isEmpty else { return }
        writtenSlices = writtenSlices.filter { table.session(inboundSPI: $0.key) != nil }
        spentSlices = spentSlices.filter { table.session(inboundSPI: $0.key) != nil }
    }

    /// This epoch is in use, or may be soon.
    mutating func reserve(above epoch: Epoch) {
        guard epoch + StoredState.epochReserve / 2 > limit else { return }
        limit = epoch + StoredState.epochReserve
        isHeadDirty = true
    }

    mutating func own(_ epoch: Epoch) {
        guard epoch != self.epoch else { return }
        self.epoch = epoch
        isHeadDirty = true
    }

    /// What is on the disk must not be gone on with. All that there is is written anew after it.
    mutating func discard() { wantsDiscard = writtenLimit != nil }

    // MARK: - Orders

    /// What to do now, if anything.
    mutating func takeOrder(table: SessionTable, node: NodeID, now: Now) -> StateOrder? {
        guard isOpen, outstanding == nil, let turn = nextTurn else { return nil }
        // At once, also after a failure: until it is done a new life would begin too low.
        if wantsDiscard {
            begin(.discard, at: now.instant)
            return .discard
        }
        guard now.instant >= turn, hasUrgentWork || lazy.first.map({ $0.due <= now.instant }) == true else { return nil }
        let head = StateHead(node: node, epoch: epoch, epochLimit: limit, atWallMilliseconds: now.wallMilliseconds)
        let batch = takeBatch(head, table: table, at: now.instant)
        begin(.batch(batch), at: now.instant)
        return .write(batch)
    }

    private mutating func begin(_ order: Outstanding, at now: Instant) { (outstanding, outstandingSince) = (order, now) }

    private mutating func end() { (outstanding, outstandingSince, isHanging) = (nil, nil, false) }

    /// - Returns: whether the disk turns out to hang.
    mutating func noteHanging(at now: Instant) -> Bool {
        guard let hangsAt, outstanding != nil, now >= hangsAt else { return false }
        isHanging = true
        noteFailure("the disk does not answer", at: now)
        return true
    }

    mutating func takeBatch(_ head: StateHead, table: SessionTable, at now: Instant) -> StateBatch {
        var batch = StateBatch(head: head)
        while batch.sessions.count < StateBatch.sessionsMax, batch.ended.count < StateBatch.endedMax, let id = takeSession(at: now) {
            if let session = table[id] {
                batch.sessions.append(reckoningWithFormerLives(session))
                onDisk.insert(id)
            } else if onDisk.contains(id) {
                batch.ended.append(id)
            }
        }
        batch.departures = Array(departures.prefix(StateBatch.departuresMax))
        departures.removeFirst(batch.departures.count)
        let addresses = reservations.sorted().prefix(StateBatch.reservationsMax)
        reservations.subtract(addresses)
        batch.reservations = addresses.compactMap { table.reservations[$0] }.filter { $0.offlineSince != nil }
        isHeadDirty = false
        return batch
    }

    /// What former lives of either node may have used counts also when the peer that filled it does not know of it: this life goes on above
    /// it, and so does the next.
    private func reckoningWithFormerLives(_ session: Session) -> Session {
        guard !spentSlices.isEmpty || !claims.isEmpty else { return session }
        var session = session
        for index in session.children.indices {
            let spi = session.children[index].inboundSPI
            session.children[index].lease.slice = max(session.children[index].lease.slice, spentSlices[spi] ?? 0, claims[spi] ?? 0)
        }
        return session
    }

    private mutating func takeSession(at now: Instant) -> SessionID? {
        if let id = urgent.popFirst() {
            isUrgent.remove(id)
            return id
        }
        guard let first = lazy.first, first.due <= now else { return nil }
        lazy.removeFirst()
        isLazy.remove(first.session)
        return first.session
    }

    /// The last order is carried out.
    mutating func done(table: SessionTable, at now: Instant) {
        nextTurn = now + StateWork.pause
        (error, errorSince) = (nil, nil)
        switch outstanding {
        case .batch(let batch): written(batch)
        case .discard: discarded(table)
        case nil: break
        }
        end()
    }

    private mutating func written(_ batch: StateBatch) {
        writtenLimit = batch.head.epochLimit
        onDisk.subtract(batch.ended)
        for session in batch.sessions {
            for child in session.children { writtenSlices[child.inboundSPI] = child.lease.slice }
        }
    }

    private mutating func discarded(_ table: SessionTable) {
        wantsDiscard = false
        writtenLimit = nil
        onDisk = []
        writtenSlices = [:]
        // Those that the node still knows of are marked by it.
        departures = []
        isHeadDirty = true
        for id in table.sessions.keys.sorted() { mark(id) }
        for reservation in table.reservations.all where reservation.offlineSince != nil { mark(reservation.address) }
    }

    /// The last order could not be carried out: what it had is written later, as it is then.
    mutating func failed(_ reason: String, table: SessionTable, at now: Instant) {
        nextTurn = now + StateWork.retryPause
        switch outstanding {
        case .batch: takeBack()
        // A service that stops for its disk is no better than one that has none: the operator is told. The next that is written takes
        // the place of all that is there.
        case .discard: discarded(table)
        case nil: break
        }
        end()
        noteFailure(reason, at: now)
    }

    /// What is being written is to be written again.
    mutating func takeBack() {
        guard case .batch(let batch) = outstanding else { return }
        for session in batch.sessions { mark(session.id) }
        for id in batch.ended { mark(id) }
        for departure in batch.departures.reversed() { departures.prepend(departure) }
        reservations.formUnion(batch.reservations.map(\.address))
        isHeadDirty = true
    }

    private mutating func noteFailure(_ reason: String, at now: Instant) {
        error = reason
        if errorSince == nil { errorSince = now }
    }

    /// Nothing of it is on the disk, and nothing is on its way there.
    func hasForgotten(_ session: SessionID) -> Bool {
        guard !isUrgent.contains(session) else { return false }
        if case .batch(let batch) = outstanding { return !batch.ended.contains(session) }
        return !wantsDiscard
    }
}
