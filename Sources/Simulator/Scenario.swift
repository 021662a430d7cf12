import Control
import IKE
import Node
import Pair
import Session

/// A named run as text: what happens when, in lines such as `2500 ms  node 1 is killed`, and the trace that it leaves. Its language:
///
///     seed 7
///     paths 2                              # heartbeat paths; 1
///     latency 1000 us
///     liveness 400 ms                      # the gateway asks a silent client; never
///     2500 ms  connect 0                   # end-user 0
///     2600 ms  stop 1                      # SIGSTOP of node 1; `wake 1`
///     2700 ms  kill 0                      # `kill 0 after 3 effects`: in the middle of the next step; `start 0`
///     2800 ms  cut all                     # `cut link`, `cut link from 0`, `cut paths`, `cut path 0 from 1`; `heal`, `reset link`
///     2900 ms  switchover 0                # `switchover 0 force`
///     3000 ms  rekey child of 0            # `rekey ike of 0`, `liveness of 0`, `add child of 0`, `delete child of 0`
///     2960 ms  clients reach 1             # node 1 alone, whoever announced the address; `clients reach anybody`
///     3100 ms  traffic                     # one ESP packet from whoever sends, on every CHILD SA
///     9000 ms  expect paired               # `expect served 0`: the pair serves end-user 0
///
/// Both nodes are up and paired at the beginning. What the checkers find ends the run, and stands in the trace.
public struct Scenario {
    public struct Problem: Error, CustomStringConvertible { public let description: String }

    private var seed: UInt64 = 42
    private var paths = 1
    private var latency: UInt64 = 200
    private var livenessDelay: Duration?
    private var steps: [(at: UInt64, words: [String])] = []

    /// - Parameter text: the part above the trace; `#` begins a comment.
    public init(_ text: String) throws(Problem) {
        for line in text.split(separator: "\n") {
            let words = line.prefix { $0 != "#" }.split(separator: " ").map(String.init)
            guard let first = words.first else { continue }
            guard words.count > 1, let number = UInt64(Double(first) == nil ? words[1] : String(first)) else {
                throw Problem(description: "cannot read: \(line)")
            }
            switch first {
            case "seed": seed = number
            case "paths": paths = Int(number)
            case "latency": latency = number
            case "liveness": livenessDelay = .milliseconds(Int64(number))
            default:
                guard words[1] == "ms", words.count > 2 else { throw Problem(description: "cannot read: \(line)") }
                steps.append((number, Array(words.dropFirst(2))))
            }
        }
    }

    /// - Returns: the trace, a line for each thing that happened; the last begins with `FOUND` if a checker found something.
    public func run() throws(Problem) -> String {
        var found: String?
        var options = World.Options(seed: seed, paths: paths)
        options.retransmitTimeout = .milliseconds(150)
        options.livenessDelay = livenessDelay
        let world = World(options) { found = $0 }
        world.wires.latency = latency * 1000
        world.startPair()
        for step in steps {
            world.run(until: max(world.now, step.at * 1_000_000))
            if found != nil { break }
            world.trace("> \(step.words.joined(separator: " "))")
            try perform(step.words, in: world)
        }
        let verdict = found.map { "FOUND \($0.prefix { $0 != "\n" })" }
        return (world.checks.lines + [verdict].compactMap { $0 }).map { $0 + "\n" }.joined()
    }

    private func perform(_ words: [String], in world: World) throws(Problem) {
        let node = words.count > 1 ? Int(words[1]).flatMap { [0, 1].contains($0) ? $0 : nil } : nil
        switch (words[0], node) {
        case ("kill", let node?):
            if words.count > 3, let count = Int(words[3]) { world.dyingAfter[node] = count } else { world.kill(node) }
        case ("start", let node?): world.start(node)
        case ("stop", let node?):
            world.noteDisturbance()
            world.freeze(node)
        case ("wake", let node?): world.wake(node)
        case ("switchover", let node?): _ = world.request(node, .switchover(force: words.last == "force"))
        case ("heal", _): world.heal()
        case ("clients", _): world.pinned = words.last.flatMap { Int($0) }
        case ("reset", _): world.closeLink(reason: "reset")
        case ("cut", _): try cut(words.dropFirst().joined(separator: " "), in: world)
        case ("traffic", _): traffic(in: world)
        case ("expect", _): try expect(Array(words.dropFirst()), in: world)
        case ("connect", _): world.connect(try user(words.last, in: world, isNew: true))
        default: try ask(words, in: world)
        }
    }

    private func cut(_ what: String, in world: World) throws(Problem) {
        world.noteDisturbance()
        let directions = (0..<paths).flatMap { path in [0, 1].map { Wires.Direction.path(path, from: $0) } }
        let links = [0, 1].map { Wires.Direction.link(from: $0) }
        var named: [String: [Wires.Direction]] = ["all": directions + links, "link": links, "paths": directions]
        for case .link(let from) in links { named["link from \(from)"] = [.link(from: from)] }
        for case .path(let path, let from) in directions { named["path \(path) from \(from)"] = [.path(path, from: from)] }
        guard let lost = named[what] else { throw Problem(description: "there is no wire: \(what)") }
        world.wires.lost.formUnion(lost)
    }

    private func traffic(in world: World) {
        for user in world.users {
            for child in user.initiator.children where !child.isRekeyed {
                for index in [0, 1] { world.sendESP(inboundSPI: child.outboundSPI, from: index) }
            }
        }
    }

    private func user(_ word: String?, in world: World, isNew: Bool = false) throws(Problem) -> World.EndUser {
        guard let number = word.flatMap({ Int($0) }) else { throw Problem(description: "which end-user?") }
        if isNew { return World.EndUser(number, in: world) }
        guard let user = world.users.first(where: { $0.number == number }) else {
            throw Problem(description: "there is no end-user \(number)")
        }
        return user
    }

    private func ask(_ words: [String], in world: World) throws(Problem) {
        let user = try user(words.last, in: world)
        guard let child = user.initiator.children.first(where: { !$0.isRekeyed }) else {
            throw Problem(description: "end-user \(user.number) has no CHILD SA")
        }
        switch words.dropLast().joined(separator: " ") {
        case "rekey child of": world.act(user) { $0.rekeyChild(inboundSPI: child.inboundSPI, context: $1) }
        case "rekey ike of": world.act(user) { $0.rekeyIKE(context: $1) }
        case "liveness of": world.act(user) { $0.liveness(context: $1) }
        case "add child of": world.act(user) { $0.addChild(context: $1) }
        case "delete child of": world.act(user) { $0.deleteChild(inboundSPI: child.inboundSPI, context: $1) }
        default: throw Problem(description: "cannot do: \(words.joined(separator: " "))")
        }
    }

    private func expect(_ words: [String], in world: World) throws(Problem) {
        switch words.first {
        case "paired":
            let owners = [0, 1].filter { world.nodes[$0]?.isOwner == true }
            world.expect(owners.count == 1 && world.pairState(owners[0]) == "paired", "the pair is not paired: \([0, 1].map(world.role))")
            if let owner = owners.first, let node = world.nodes[owner] { world.checkTables(node, owner) }
        case "served":
            let user = try user(words.last, in: world)
            world.act(user) { $0.liveness(context: $1) }
            for _ in 0..<20 where !user.initiator.isQuiet { world.run(for: 100) }
            world.expect(user.isEstablished && user.initiator.lastResult == .succeeded, "end-user \(user.number) is not served")
        default: throw Problem(description: "cannot expect: \(words.joined(separator: " "))")
        }
    }
}
