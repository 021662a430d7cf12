public import Session

/// What is known of the peer's life from its heartbeats: when it was last heard on each path, and which life it leads.
public struct PeerWatch: Sendable {
    /// One heartbeat path.
    public struct Path: Hashable, Sendable {
        public internal(set) var lastHeard: Instant?
        var sequence: UInt64 = 0
    }

    public private(set) var paths: [Path]
    /// The peer's present life; 0 before it was heard.
    public private(set) var boot: UInt64 = 0
    /// The last heartbeat that counted.
    public private(set) var last: Heartbeat?
    /// It was said that somebody cannot be verified.
    public var hasWarned = false
    private let me: NodeID
    private let myBoot: UInt64
    private let freshFor: Duration

    /// - Parameter freshFor: how long a proven life of the peer stands before an unproven one may be named in its place.
    public init(node: NodeID, boot: UInt64, pathCount: Int, freshFor: Duration) {
        me = node
        myBoot = boot
        self.freshFor = freshFor
        paths = Array(repeating: Path(), count: pathCount)
    }

    public var lastHeard: Instant? { paths.compactMap(\.lastHeard).max() }

    /// What to name in our own heartbeats as the peer's life: an unproven one too, or it could never prove itself.
    public private(set) var echo: UInt64 = 0

    /// Takes in a heartbeat. One that does not name our present life proves nothing (it may be a recording); from it we only
    /// learn what to echo, and the peer's next one counts.
    ///
    /// - Returns: the heartbeat if it counts, and whether it is the first of a new life of the peer.
    public mutating func receive(
        _ heartbeat: Heartbeat, path: Int, at now: Instant
    ) throws(HeartbeatRejection) -> (isCounted: Bool, isNewLife: Bool) {
        guard heartbeat.node == me.peer, paths.indices.contains(path) else { throw .badNode }
        guard heartbeat.echo == myBoot else {
            // While the known life is fresh, a recording of another one must not make us forget to name it.
            let isFresh = lastHeard.map { now - $0 < freshFor } ?? false
            if !isFresh { echo = heartbeat.boot }
            return (false, false)
        }
        let isNewLife = heartbeat.boot != boot
        if isNewLife {
            boot = heartbeat.boot
            for index in paths.indices { paths[index].sequence = 0 }
        }
        guard heartbeat.sequence > paths[path].sequence else { throw .stale }
        paths[path].sequence = heartbeat.sequence
        paths[path].lastHeard = now
        echo = heartbeat.boot
        if isNewLife || heartbeat.sequence > (last?.sequence ?? 0) { last = heartbeat }
        return (true, isNewLife)
    }
}
