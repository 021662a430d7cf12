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

    private var entries: [Entry] = []
    private(set) var nextDeadline: Instant?

    var traps: [TrapPolicy] { Array(entries.flatMap(\.traps).suffix(Departures.trapsMax)) }

    /// As they are kept on disk, the oldest first.
    var stored: [StoredDeparture] { entries.map { StoredDeparture(spent: $0.spent) } }

    mutating func insert(_ entry: Entry) {
        if entries.count >= Departures.countMax { entries.removeFirst() }
        entries.append(entry)
        schedule()
    }

    /// The most that was known to be spent on the keys of this IKE SA when it was here last.
    func spent(localSPI: UInt64) -> UInt16? { entries.compactMap { $0.spent[localSPI] }.max() }

    /// The session is back.
    mutating func dropTraps(of spis: Set<UInt64>) {
        for index in entries.indices where !spis.isDisjoint(with: entries[index].spent.keys) { entries[index].traps = [] }
        schedule()
    }

    mutating func dropTraps(dueAt now: Instant) {
        for index in entries.indices where entries[index].trapsEnd <= now { entries[index].traps = [] }
        schedule()
    }

    private mutating func schedule() { nextDeadline = entries.filter { !$0.traps.isEmpty }.map(\.trapsEnd).min() }
}

extension Node {
    /// On both nodes: a session left, or came.
    mutating func noteDeparture(_ applied: AppliedDelta, now: Now) {
        let before = departures.traps
        if let session = applied.before, applied.after == nil {
            // A copy that was never used is as if it had not been here.
            guard !session.isArriving else { return }
            let wasGiven = session.ikeSAs.contains { $0.epochShift.spent > 0 }
            guard applied.delta.isDetachment || wasGiven else { return }
            let spent = Dictionary(session.ikeSAs.map { ($0.localSPI, $0.epochShift.spent) }) { max($0, $1) }
            departures.insert(
                Departures.Entry(
                    spent: spent, traps: applied.delta.isDetachment ? session.traps : [], trapsEnd: now.instant + Reservation.transferTime))
        } else if applied.before == nil, let session = applied.after {
            guard departures.nextDeadline != nil else { return }
            departures.dropTraps(of: Set(session.localSPIs))
        }
        if departures.traps != before { setTraps() }
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
