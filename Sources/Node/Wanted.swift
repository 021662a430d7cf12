import Cryptography
import HeapModule
import IKE
import Session

/// The CHILD SAs that this node makes by itself (`start_action`, `close_action`, `dpd_action`, traps), and when each is looked at next.
///
/// It knows no state of a call: whoever looks compares what is wanted with what there is, so that a look too many does no harm and a
/// new owner needs nothing of the old one.
struct Wanted {
    /// A configured child, as far as it concerns us.
    struct Entry {
        let child: ChildConfiguration
        /// It is made again and again until it is there.
        var isKept = false
        /// A packet wants it, once.
        var trigger: PacketSelector?
        var triggeredAt: Instant?
        /// After attempts in a session that stands.
        var pause = Backoff()
        /// After attempts for packets, which may come to a CHILD SA that does not take the packet.
        var packetPause = Backoff()
        /// When it is looked at next; the line may hold earlier ones, which count for nothing.
        var next: Instant?
    }

    private struct Appointment: Comparable {
        let at: Instant
        /// Of equals the first comes first, so that a run can be repeated.
        let number: UInt64
        let name: ChildName

        static func < (lhs: Appointment, rhs: Appointment) -> Bool { (lhs.at, lhs.number) < (rhs.at, rhs.number) }
    }

    private(set) var entries: [ChildName: Entry] = [:]
    /// The children above, in the order of the configuration.
    private let names: [String: [ChildName]]
    /// After calls, by connection.
    var calls: [String: Backoff] = [:]
    /// When a new owner begins to look.
    var beginsAt: Instant?
    /// Sessions whose successor the engine asks for.
    private(set) var successions: [IKEEvent] = []
    private var line = Heap<Appointment>()
    private var count: UInt64 = 0

    /// What the engine asks for comes again if there is no room for it.
    static let successionsMax = 256

    init(_ configuration: IKEConfiguration) {
        var names: [String: [ChildName]] = [:]
        for connection in configuration.connections where !connection.remoteAddresses.hosts.isEmpty {
            for child in connection.children where child.isMadeByUs {
                let name = ChildName(connection: connection.name, child: child.name)
                names[connection.name, default: []].append(name)
                entries[name] = Entry(child: child)
            }
        }
        self.names = names
    }

    var isEmpty: Bool { entries.isEmpty }
    /// When what one go left over is looked at.
    var resumesAt: Instant?
    var nextDeadline: Instant? { [beginsAt, resumesAt ?? line.min?.at].compactMap { $0 }.min() }

    subscript(name: ChildName) -> Entry? {
        get { entries[name] }
        set { entries[name] = newValue }
    }

    func children(of connection: String) -> [ChildName] { names[connection] ?? [] }

    /// Everything that is to be there from the start.
    mutating func keepAll(at now: Instant) {
        for (name, entry) in entries.sorted(by: { $0.key < $1.key }) {
            entries[name]?.isKept = entry.child.startAction.contains(.start)
            look(at: name, now)
        }
    }

    /// The other node speaks for the sessions.
    mutating func reset() {
        entries = entries.mapValues { Entry(child: $0.child) }
        calls = [:]
        beginsAt = nil
        successions = []
        line = Heap()
    }

    /// Looks at the child then, or sooner if that was said before.
    mutating func look(at name: ChildName, _ instant: Instant) {
        guard let entry = entries[name] else { return }
        if let known = entry.next, known <= instant { return }
        entries[name]?.next = instant
        count += 1
        line.insert(Appointment(at: instant, number: count, name: name))
    }

    mutating func look(atAllOf connection: String, _ instant: Instant) {
        for name in children(of: connection) { look(at: name, instant) }
    }

    mutating func popDue(at now: Instant) -> ChildName? {
        while let first = line.min, first.at <= now {
            line.removeMin()
            guard entries[first.name]?.next == first.at else { continue }
            entries[first.name]?.next = nil
            return first.name
        }
        return nil
    }

    mutating func ask(_ event: IKEEvent) { if successions.count < Wanted.successionsMax { successions.append(event) } }

    mutating func takeSuccession() -> IKEEvent? { successions.isEmpty ? nil : successions.removeFirst() }
}

/// A growing wait between attempts.
struct Backoff {
    static let waitMin: Duration = .seconds(1)
    static let waitMax: Duration = .seconds(60)

    private(set) var attempts = 0
    private(set) var until: Instant?
    private var upSince: Instant?

    func isOver(at now: Instant) -> Bool { until.map { $0 <= now } ?? true }

    /// It is there. Only what lasts makes the next wait short again: a peer that takes everything and deletes it at once is not called
    /// more often than one that refuses.
    mutating func noteUp(at now: Instant) { upSince = upSince ?? now }

    /// One more attempt begins: should it come to nothing, the next one waits.
    mutating func begin(at now: Instant, random: RandomSource) {
        let hasLasted = upSince.map { $0 + Backoff.waitMax <= now } ?? false
        let isForgotten = until.map { $0 + Backoff.waitMax <= now } ?? false
        if hasLasted || isForgotten { attempts = 0 }
        upSince = nil
        attempts += 1
        postpone(at: now, random: random)
    }

    /// The attempt came to nothing now. A quarter of the wait is chance, so that a thousand peers do not come back at once.
    ///
    /// - Parameter longest: whoever was asked wants to hear nothing of it for a while.
    mutating func postpone(at now: Instant, longest: Bool = false, random: RandomSource) {
        var wait = longest ? Backoff.waitMax : Backoff.waitMin
        for _ in 1..<max(attempts, 1) where wait < Backoff.waitMax { wait = wait * 2 }
        let span = min(wait, Backoff.waitMax).inNanoseconds
        until = now + .nanoseconds(span - Int64(random.uint64() % UInt64(span / 4)))
    }
}

extension ChildConfiguration {
    /// It may come to be without an operator or a peer.
    fileprivate var isMadeByUs: Bool { startAction != [] || closeAction != .clear || deadPeerAction != .clear }

    /// The first packet makes it, whenever it is not there.
    var isTrapped: Bool { startAction.contains(.trap) || closeAction == .trap || deadPeerAction == .trap }
}
