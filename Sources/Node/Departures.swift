import DequeModule
import IKE
import Pair
import Session

/// Sessions that left for other gateways: what is kept of them so that nothing of theirs goes out in clear meanwhile, and so that no older
/// state of them comes back. In memory of both nodes, as each applies the delta; a node that starts anew knows nothing of it.
struct Departures {
    struct Entry {
        /// Our SPIs of its IKE SAs, and the epochs that were spent on handing their keys on.
        var spent: [UInt64: UInt16]
        /// Packets for it are dropped under these policies.
        var traps: [TrapPolicy]
        var trapsEnd: Instant
    }

    /// The oldest is forgotten: an operator moves sessions one by one, and a whole gateway with `transfer` in minutes.
    static let countMax = 4096
    /// Policies of sessions that left, at most: each is looked at when they change.
    static let trapsMax = 1024

    private var entries: Deque<Entry> = []
    /// How many were forgotten: the number of the first that is there.
    private var forgotten = 0
    /// The numbers of the entries that have this SPI, ascending.
    private var numbers: [UInt64: [Int]] = [:]
    /// The numbers of those with traps, ascending; as they came, so will their traps end.
    private var trapping: Deque<Int> = []

    var nextDeadline: Instant? { trapping.first.map { self[$0].trapsEnd } }

    /// Those of the latest.
    var traps: [TrapPolicy] { Array(trapping.suffix(Departures.trapsMax).flatMap { self[$0].traps }.suffix(Departures.trapsMax)) }

    /// As they are kept on disk, the oldest first.
    var stored: [StoredDeparture] { entries.map { StoredDeparture(spent: $0.spent) } }

    private subscript(number: Int) -> Entry {
        get { entries[number - forgotten] }
        _modify { yield &entries[number - forgotten] }
    }

    /// - Returns: whether there are other traps now.
    mutating func insert(_ entry: Entry) -> Bool {
        let hasLost = entries.count >= Departures.countMax && forgetOldest()
        let number = forgotten + entries.count
        for spi in entry.spent.keys { numbers[spi, default: []].append(number) }
        if !entry.traps.isEmpty { trapping.append(number) }
        entries.append(entry)
        return hasLost || !entry.traps.isEmpty
    }

    private mutating func forgetOldest() -> Bool {
        let (number, hadTraps) = (forgotten, !self[forgotten].traps.isEmpty)
        for spi in self[number].spent.keys {
            numbers[spi]?.removeFirst()
            if numbers[spi]?.isEmpty == true { numbers[spi] = nil }
        }
        if trapping.first == number { trapping.removeFirst() }
        entries.removeFirst()
        forgotten += 1
        return hadTraps
    }

    /// The most that was known to be spent on the keys of this IKE SA when it was here last.
    func spent(localSPI: UInt64) -> UInt16? { numbers[localSPI]?.compactMap { self[$0].spent[localSPI] }.max() }

    /// The session is back.
    ///
    /// - Returns: whether there were any.
    mutating func dropTraps(of spis: [UInt64]) -> Bool {
        var found = false
        for number in Set(spis.flatMap { numbers[$0] ?? [] }) where !self[number].traps.isEmpty {
            self[number].traps = []
            trapping.removeAll { $0 == number }
            found = true
        }
        return found
    }

    mutating func dropTraps(dueAt now: Instant) {
        while let number = trapping.first, self[number].trapsEnd <= now {
            self[number].traps = []
            trapping.removeFirst()
        }
    }
}

extension Node {
    /// On both nodes: a session left, or came.
    mutating func noteDeparture(_ applied: AppliedDelta, now: Now) {
        if let session = applied.before, applied.after == nil {
            // A copy that was never used is as if it had not been here.
            guard !session.isArriving else { return }
            let wasGiven = session.ikeSAs.contains { $0.epochShift.spent > 0 }
            guard applied.delta.isDetachment || wasGiven else { return }
            let spent = Dictionary(session.ikeSAs.map { ($0.localSPI, $0.epochShift.spent) }) { max($0, $1) }
            let traps = applied.delta.isDetachment ? session.traps : []
            let entry = Departures.Entry(spent: spent, traps: traps, trapsEnd: now.instant + Reservation.transferTime)
            if departures.insert(entry) { setTraps() }
        } else if applied.before == nil, let session = applied.after {
            if departures.dropTraps(of: session.localSPIs) { setTraps() }
        }
    }

    mutating func forgetDepartures(now: Now) {
        guard let due = departures.nextDeadline, now.instant >= due else { return }
        departures.dropTraps(dueAt: now.instant)
        setTraps()
    }

    private mutating func setTraps() { effects.append(.dataPlane([.traps(trapPolicies + departures.traps)])) }
}

extension Session {
    /// What its CHILD SAs protected.
    fileprivate var traps: [TrapPolicy] {
        children.filter { !$0.isRekeyed }.map { child in
            TrapPolicy(
                name: ChildName(connection: authorization.connection, child: child.name), mode: child.mode, local: local.address,
                remote: remote.address, localSelectors: child.localSelectors, remoteSelectors: child.remoteSelectors)
        }
    }
}
