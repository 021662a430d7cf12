import Control
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// A link that is slow, breaks at a bad moment, or speaks another language: the active's service does not wait for it.
@Suite struct SlowLinkTests {
    /// Each liveness request is answered within the commit timeout, however late the standby is; what it is late with it gets in order.
    @Test func standby_thatReadsSlowly_delaysNoReplyBeyondTheCommitTimeout() {
        let (world, user) = TakeoverTests.connected()
        // Three commit timeouts each way, and less than a dead peer's silence. The end-user's own way is as long.
        world.wires.latency = 60_000_000
        for _ in 0..<20 {
            let before = world.sentByNodes
            world.act(user) { $0.liveness(context: $1) }
            world.run(for: 60 + 21)
            #expect(world.sentByNodes > before, "a reply waits for longer than the commit timeout")
            #expect(world.nodes[0]!.hold.isEmpty)
            world.run(for: 100)
        }
        #expect(world.status(0).counters["commit_timeouts"]! > 0)
        world.wires.latency = 200_000
        world.run(for: 5_000)
        #expect(world.nodes[0]?.table.sessions == world.nodes[1]?.table.sessions)
        #expect(world.nodes[0]?.sender.isInStep == true || world.nodes[1]?.sender.isInStep == true)
    }

    private func filled() -> World {
        let world = World()
        world.checks.comparesTables = false
        world.start(0)
        world.run(for: 1_500)
        for number in 0..<400 {
            let user = World.EndUser(number, in: world)
            world.connect(user)
            world.users = []
        }
        return world
    }

    /// Some pages have been taken in, others are on their way: the next life of the standby begins from nothing, and gets everything.
    @Test func standby_thatRestartsInTheMiddleOfASnapshot_isFilledFromTheBeginning() {
        let world = filled()
        // A page at a time is seen.
        world.wires.latency = 20_000_000
        var sawTheMiddle = 0
        for pause in [UInt64(60), 90, 110, 130, 150, 170] {
            world.start(1)
            world.run(for: pause)
            let held = world.nodes[1]!.table.count
            if held > 0, held < 400 { sawTheMiddle += 1 }
            #expect(world.role(0) == .active)
            world.kill(1)
            world.run(for: 200)
        }
        #expect(sawTheMiddle > 0, "no restart was in the middle of a snapshot")
        world.wires.latency = 200_000
        world.start(1)
        world.run(for: 3_000)
        #expect(world.pairState(0) == "paired")
        #expect(world.nodes[1]?.table.count == 400)
        #expect(world.nodes[0]?.table.sessions == world.nodes[1]?.table.sessions)
    }

    /// The link alone breaks, at every moment of a snapshot: nothing that was taken in by then is mistaken for all of it.
    @Test func link_thatBreaksInTheMiddleOfASnapshot_isFollowedByAWholeOne() {
        let world = filled()
        world.wires.latency = 5_000_000
        world.start(1)
        for _ in 0..<12 {
            world.run(for: 23)
            if world.nodes[1]!.table.count < 400 { #expect(world.nodes[1]?.receiver.isInStep == false) }
            world.closeLink(reason: "test")
        }
        world.run(for: 3_000)
        #expect(world.pairState(0) == "paired" && world.role(0) == .active)
        #expect(world.nodes[0]?.table.sessions == world.nodes[1]?.table.sessions)
    }

    // MARK: - Recordings

    /// Somebody on the pair's network plays what the active said when it lived: its death is noticed as soon as without.
    @Test func heartbeats_thatWereRecorded_keepNobodyFromTakingOver() {
        let (world, user) = TakeoverTests.connected()
        var recorded: [[UInt8]] = []
        for _ in 0..<5 {
            // What the node says next, word for word.
            var twin = world.nodes[0]!
            let due = Now(instant: world.time.instant + .milliseconds(60), wallMilliseconds: world.time.wallMilliseconds + 60)
            recorded += twin.handle(.deadline, now: due).compactMap { if case .heartbeat(_, let bytes) = $0 { bytes } else { nil } }
            world.run(for: 120)
        }
        #expect(recorded.count >= 5)
        let before = world.status(1).counters["heartbeat_stale"]!
        world.kill(0)
        for _ in 0..<20 {
            for bytes in recorded { world.feed(1, .heartbeat(path: 0, bytes: bytes)) }
            world.run(for: 10)
        }
        #expect(world.role(1) == .active && world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 1))
        #expect(world.status(1).counters["heartbeat_stale"]! >= before + 20)
    }

    // MARK: - Another version

    private static func hello(version: UInt32) -> PairFrame {
        .hello(PairHello(version: version, node: .one, name: "sg2", boot: 77, role: .starting, epoch: 0))
    }

    @Test func peer_ofAnotherVersion_isToldOfOnce_andBothServeOn() {
        let (world, user) = TakeoverTests.connected()
        world.kill(1)
        world.run(for: 300)
        for _ in 0..<50 {
            world.wires.ends = [true, true]
            world.feed(0, .linkOpened(path: 0))
            world.feed(0, .frame(Self.hello(version: 1)))
            world.run(for: 100)
            #expect(world.role(0) == .active)
            #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0))
        }
        #expect(world.pairState(0) == "solo")
        let token = world.request(0, .events(after: 0))
        guard case .events(let events)? = world.responses[token]?.last else { return #expect(Bool(false)) }
        let told = events.filter { $0.text.contains("version 1 of the pair protocol") }
        #expect(told.count == 1, "\(told.map(\.text))")
        // The right one comes, and is taken.
        world.start(1)
        world.run(for: 3_000)
        #expect(world.pairState(0) == "paired")
    }
}
