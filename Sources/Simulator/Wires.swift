import Cryptography
import Node
import Pair

/// What joins the two nodes, and what is wrong with it.
struct Wires {
    /// One direction of one wire.
    enum Direction: Hashable {
        case link(from: Int)
        case path(Int, from: Int)
    }

    let paths: Int
    /// Directions that carry nothing.
    var lost: Set<Direction> = []
    /// One way, on every wire.
    var latency: UInt64 = 200_000
    /// Heartbeats take up to this much longer, so that they overtake each other and the link.
    var jitterMax: UInt64 = 0

    /// Whether each node's end of the link is open.
    var ends = [false, false]
    /// Names the TCP connection: what belongs to an earlier one never arrives.
    var generation = 0
    /// A frame was lost: TCP delivers nothing behind it until there is a new connection.
    var isBroken = false
    /// When the last frame in each direction arrives: order is kept.
    var lastArrival: [UInt64] = [0, 0]

    init(paths: Int) { self.paths = paths }

    var linkIsCut: Bool { lost.contains(.link(from: 0)) || lost.contains(.link(from: 1)) }
    var areWhole: Bool { lost.isEmpty }
    /// Both ends are of the same connection, and no node has died since.
    var areLinked: Bool { ends[0] && ends[1] }

    func jitter(_ random: RandomSource) -> UInt64 { jitterMax == 0 ? 0 : random.uint64() % jitterMax }
}

extension World {
    func carry(_ frame: PairFrame, from index: Int) {
        guard wires.ends[index] else { return }
        let generation = wires.generation
        breakAcknowledgement(of: frame, from: index)
        guard let frame = onLink(broken(frame, from: index), index) else { return }
        if wires.lost.contains(.link(from: index)) { wires.isBroken = true }
        let arrival = max(now + wires.latency, wires.lastArrival[index])
        wires.lastArrival[index] = arrival
        after(arrival - now) { world in
            guard world.wires.generation == generation, world.wires.ends[1 - index], !world.wires.isBroken else { return }
            world.feed(1 - index, .frame(frame))
        }
    }

    /// Not with a process that does not run: a connection begins with a TLS handshake.
    func openLinkIfPossible() {
        guard !wires.ends[0], !wires.ends[1], !wires.linkIsCut, nodes.indices.allSatisfy({ isAlive($0) && frozen[$0] == nil }) else {
            return
        }
        wires.generation += 1
        wires.ends = [true, true]
        wires.isBroken = false
        wires.lastArrival = [0, 0]
        let generation = wires.generation
        for index in 0...1 {
            after(1_000_000) { world in
                guard world.wires.generation == generation, world.wires.ends[index] else { return }
                world.feed(index, .certificate(.shown(digest: sha256(world.folders[1 - index].own))))
                world.feed(index, .linkOpened(path: 0))
            }
        }
    }

    /// Both ends hear of it, each in its time. A new connection comes when both have.
    func closeLink(reason: String, slower: (end: Int, by: UInt64)? = nil) {
        let generation = wires.generation
        for index in 0...1 where wires.ends[index] {
            let delay = wires.latency + (slower?.end == index ? slower?.by ?? 0 : 0)
            after(delay) { world in
                guard world.wires.generation == generation, world.wires.ends[index] else { return }
                world.wires.ends[index] = false
                world.feed(index, .linkClosed(reason: reason))
            }
        }
    }

    /// TCP does not notice at once; the nodes' own heartbeats do.
    func cut() {
        noteDisturbance()
        for from in 0...1 {
            wires.lost.insert(.link(from: from))
            for path in 0..<wires.paths { wires.lost.insert(.path(path, from: from)) }
        }
    }

    func cutLink() { wires.lost.formUnion([.link(from: 0), .link(from: 1)]) }

    func heal() {
        noteDisturbance()
        let hadLink = wires.linkIsCut
        wires.lost = []
        if hadLink || wires.isBroken { closeLink(reason: "timed out") }
    }
}
