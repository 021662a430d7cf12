public import Session

/// What is known of the peer's life from its heartbeats: when it was last heard on each path, and which life it leads.
public struct PeerWatch: Sendable {
    /// One heartbeat path.
    public struct Path: Hashable, Sendable {
        public internal(set) var lastHeard: Instant?
        var sequence: UInt64 = 0
        /// The peer says that it hears us there; `nil` while it does not say.
        public internal(set) var isHeard: Bool?
    }

    public private(set) var paths: [Path]
    /// The peer's present life; 0 before it was heard.
    public private(set) var boot: UInt64 = 0
    /// Lives that the peer has left behind: what still comes from them is late, or a recording.
    private var formerBoots: [UInt64] = []
    /// The last heartbeat that counted.
    public private(set) var last: Heartbeat?
    /// The peer understands heartbeats that say what was heard. A recording can make us forget it for a moment, and no more.
    public private(set) var takesHearing = false
    /// It was said that somebody cannot be verified.
    public var hasWarned = false
    private let me: NodeID
    private let myBoot: UInt64
    private let freshFor: Duration

    /// What a heartbeat is worth.
    public enum Worth: Hashable, Sendable {
        /// It does not name our present life.
        case unproven
        /// A sign of life that was overtaken by a later one: what it says of the peer is not so any more.
        case late
        /// The latest word of the peer.
        case latest(isNewLife: Bool)
    }

    /// Former lives that are remembered: a peer that restarted more often than that has other troubles.
    static let formerBootsMax = 16

    /// - Parameter freshFor: how long a proven life of the peer stands before an unproven one may be named in its place.
    public init(node: NodeID, boot: UInt64, pathCount: Int, freshFor: Duration) {
        me = node
        myBoot = boot
        self.freshFor = freshFor
        paths = Array(repeating: Path(), count: pathCount)
    }

    public var lastHeard: Instant? { paths.compactMap(\.lastHeard).max() }

    /// What to say of what was heard of the peer; `nil` for a peer that would not understand it.
    ///
    /// - Parameter order: the paths' indices in the order that both nodes know.
    public func hearing(order: [Int], at now: Instant) -> Heartbeat.Hearing? {
        guard takesHearing else { return nil }
        var bits: UInt64 = 0
        for (bit, index) in order.prefix(64).enumerated() where isHeard(paths[index], at: now) { bits |= 1 << UInt64(bit) }
        return Heartbeat.Hearing(upTo: paths.map(\.sequence).max() ?? 0, paths: bits)
    }

    private func isHeard(_ path: Path, at now: Instant) -> Bool { path.lastHeard.map { now - $0 < freshFor } ?? false }

    /// Takes in on which paths the peer hears us.
    public mutating func take(_ hearing: Heartbeat.Hearing?, order: [Int]) {
        for (bit, index) in order.prefix(64).enumerated() { paths[index].isHeard = hearing.map { $0.paths >> UInt64(bit) & 1 == 1 } }
    }

    /// What to name in our own heartbeats as the peer's life: an unproven one too, or it could never prove itself.
    public private(set) var echo: UInt64 = 0

    /// Takes in a heartbeat. One that does not name our present life proves nothing (it may be a recording); from it we only
    /// learn what to echo, and the peer's next one counts.
    ///
    public mutating func receive(_ heartbeat: Heartbeat, path: Int, at now: Instant) throws(HeartbeatRejection) -> Worth {
        guard heartbeat.node == me.peer, paths.indices.contains(path) else { throw .badNode }
        takesHearing = heartbeat.takesHearing
        guard heartbeat.echo == myBoot else {
            // While the known life is fresh, a recording of another one must not make us forget to name it.
            let isFresh = lastHeard.map { now - $0 < freshFor } ?? false
            if !isFresh { echo = heartbeat.boot }
            return .unproven
        }
        let isNewLife = heartbeat.boot != boot
        guard !isNewLife || !formerBoots.contains(heartbeat.boot) else { throw .stale }
        if isNewLife { begin(life: heartbeat.boot) }
        guard heartbeat.sequence > paths[path].sequence else { throw .stale }
        paths[path].sequence = heartbeat.sequence
        paths[path].lastHeard = now
        echo = heartbeat.boot
        // Paths differ in speed: numbers count over all of them.
        guard isNewLife || heartbeat.sequence > (last?.sequence ?? 0) else { return .late }
        last = heartbeat
        return .latest(isNewLife: isNewLife)
    }

    private mutating func begin(life: UInt64) {
        if boot != 0 { formerBoots.append(boot) }
        if formerBoots.count > PeerWatch.formerBootsMax { formerBoots.removeFirst() }
        boot = life
        for index in paths.indices { paths[index].sequence = 0 }
    }
}
