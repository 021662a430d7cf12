import Session

/// Whether a session can go to the other node's own address, and who has to begin.
enum Mobility: Int {
    /// We speak from there, and the peer follows (RFC 4555 §3.5).
    case movable
    /// What we send from another address rarely gets through the peer's NAT: it is told, and waited for.
    case behindNAT
    /// The peer does not speak MOBIKE, or has a CHILD SA between the two addresses themselves: it has to begin, or to call anew.
    case unable
}

extension Session {
    var mobility: Mobility {
        guard capabilities.contains(.mobike), !children.contains(where: { $0.mode == .transport }) else { return .unable }
        // As initiator we are who decides, and the NAT is ours to open.
        return originalRole == .responder && ikePath.remoteBehindNAT ? .behindNAT : .movable
    }
}

/// How many sessions run at addresses of one node or the other that never move, and how many of them could leave. Kept with every
/// change, so that `status` does not look at every session.
struct RoadCounts: Equatable {
    private var here = [0, 0, 0]
    private var there = [0, 0, 0]

    mutating func note(_ applied: AppliedDelta, _ addresses: NodeAddresses) {
        guard !addresses.isEmpty else { return }
        if let before = applied.before { add(before, addresses, -1) }
        if let after = applied.after { add(after, addresses, 1) }
    }

    mutating func add(_ session: Session, _ addresses: NodeAddresses, _ count: Int) {
        let local = session.ikePath.local.address
        if addresses.own.contains(local) {
            here[session.mobility.rawValue] += count
        } else if addresses.peer.contains(local) {
            there[session.mobility.rawValue] += count
        }
    }

    func total(_ mobility: Mobility) -> Int { here[mobility.rawValue] + there[mobility.rawValue] }
    /// At the other node's address.
    func there(_ mobility: Mobility) -> Int { there[mobility.rawValue] }
}

/// Sessions that had traffic a moment ago: they are moved first.
struct RecentTraffic {
    /// A session that was silent for twice this long is not among them.
    private static let span: Duration = .seconds(5)

    private var current: Set<SessionID> = []
    private var previous: Set<SessionID> = []
    private var since = Instant(nanoseconds: 0)

    mutating func note(_ session: SessionID, at now: Instant) {
        if since + RecentTraffic.span <= now {
            previous = since + RecentTraffic.span * 2 <= now ? [] : current
            current = []
            since = now
        }
        current.insert(session)
    }

    var sessions: [SessionID] { current.union(previous).sorted() }
}

extension Node {
    /// What the owner reports of a session's counters, as the standby hears it.
    mutating func noteTraffic(of applied: AppliedDelta, at now: Instant) {
        guard !configuration.nodeAddresses.isEmpty else { return }
        let isTraffic = applied.delta.changes.contains { if case .inboundAdvanced = $0 { true } else { false } }
        if isTraffic { recentTraffic.note(applied.delta.session, at: now) }
    }
}
