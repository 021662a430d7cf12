import Control
import Pair
import Session

/// What works of the heartbeat paths, each direction by itself.
struct PathStates {
    struct Direction: Equatable {
        /// `nil`: not known.
        var works: Bool?
        var since: Instant
    }

    struct Path: Equatable {
        /// From the peer.
        var inbound: Direction
        /// To the peer, as it says.
        var outbound: Direction
    }

    /// The paths' indices in an order that both nodes know without a word: by node 0's endpoints.
    let order: [Int]
    private let deadTime: Duration
    private(set) var paths: [Path]
    /// Paths are silent before they are first heard, which is no news.
    private var wasHeard: [Bool]

    init(_ paths: [HeartbeatPath], node: NodeID, deadTime: Duration, now: Instant) {
        let ends = paths.map { node == .zero ? $0.local : $0.remote }
        order = ends.indices.sorted { (ends[$0].address.bytes, ends[$0].port) < (ends[$1].address.bytes, ends[$1].port) }
        self.deadTime = deadTime
        self.paths = paths.map { _ in
            Path(inbound: Direction(works: nil, since: now), outbound: Direction(works: nil, since: now))
        }
        wasHeard = paths.map { _ in false }
    }

    var working: [Bool] { paths.map { $0.inbound.works == true && $0.outbound.works != false } }

    /// What an operator should hear of.
    struct News: Equatable {
        var path: Int
        /// `from the peer`, `to the peer`.
        var direction: String
        var works: Bool
    }

    mutating func look(at watch: PeerWatch, now: Instant) -> [News] {
        var news: [News] = []
        for index in paths.indices {
            let heard = watch.paths[index].lastHeard
            let inbound = heard.map { now - $0 < deadTime }
            // What the peer last said counts as long as it is heard at all.
            let isHeardAtAll = watch.lastHeard.map { now - $0 < deadTime } ?? false
            var outbound = isHeardAtAll ? watch.paths[index].isHeard : nil
            // A peer's first words cannot tell what it will only hear in a moment.
            if outbound == false, paths[index].outbound.works == nil, now - paths[index].inbound.since < deadTime { outbound = nil }
            if let works = PathStates.change(&paths[index].inbound, to: inbound, at: now), works || wasHeard[index] {
                news.append(News(path: index, direction: "from the peer", works: works))
            }
            wasHeard[index] = wasHeard[index] || inbound == true
            if let works = PathStates.change(&paths[index].outbound, to: outbound, at: now), works || wasHeard[index] {
                news.append(News(path: index, direction: "to the peer", works: works))
            }
        }
        return news
    }

    /// - Returns: what it came to be, if it did and is known.
    private static func change(_ direction: inout Direction, to works: Bool?, at now: Instant) -> Bool? {
        guard direction.works != works else { return nil }
        direction = Direction(works: works, since: now)
        return works
    }
}

private func < (lhs: ([UInt8], UInt16), rhs: ([UInt8], UInt16)) -> Bool {
    lhs.0 == rhs.0 ? lhs.1 < rhs.1 : lhs.0.lexicographicallyPrecedes(rhs.0)
}

extension Node {
    /// With every heartbeat.
    mutating func lookAtPaths(now: Now) {
        guard let pair = configuration.pair else { return }
        let before = paths.working
        for item in paths.look(at: watch, now: now.instant) {
            let path = pair.paths[item.path]
            let text = "heartbeat path \(path.local) \(path.remote): \(item.direction) \(item.works ? "works" : "lost")"
            log(item.works ? .info : .warning, text)
            note(.path, text, now: now)
        }
        if paths.working != before { effects.append(.pathsChanged(working: paths.working)) }
    }

    func pathSummaries(_ pair: PairConfiguration, _ now: Now) -> [HeartbeatPathSummary] {
        zip(pair.paths, zip(watch.paths, paths.paths)).enumerated().map { index, item in
            let (path, states) = item
            let silence = states.0.lastHeard.map { now.instant - $0 }
            var summary = HeartbeatPathSummary(
                local: "\(path.local)", remote: "\(path.remote)", lastHeardMilliseconds: silence.map { Int64($0.inMilliseconds) },
                isUp: silence.map { $0 < pair.heartbeatInterval * pair.deadAfter } ?? false)
            summary.preference = path.preference
            summary.carriesLink = link.isUp && link.path == index
            (summary.fromPeer, summary.fromPeerSinceMilliseconds) = shown(states.1.inbound, now)
            (summary.toPeer, summary.toPeerSinceMilliseconds) = shown(states.1.outbound, now)
            return summary
        }
    }

    private func shown(_ direction: PathStates.Direction, _ now: Now) -> (String, Int64) {
        (direction.works.map { $0 ? "up" : "down" } ?? "unknown", wall(of: direction.since, now))
    }
}
