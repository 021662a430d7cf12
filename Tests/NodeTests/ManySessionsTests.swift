import Control
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// More sessions than fit a page: no turn takes as long as there are sessions (law 6).
@Suite struct ManySessionsTests {
    private static let count = 3 * LeaseWork.page + 7

    private func filled(_ options: World.Options = World.Options()) -> World {
        let world = World(options)
        world.startPair()
        for number in 0..<Self.count {
            world.connect(World.EndUser(number, in: world))
            world.users = []
        }
        world.run(for: 200)
        world.expect(world.pairState(0) == "paired" && world.status(1).sessionsHeld == Self.count, "the pair is not filled")
        return world
    }

    /// The active goes on alone, and the standby hears its heartbeats.
    private func cutLink(of world: World) {
        world.cutLink()
        world.closeLink(reason: "cut")
        world.run(for: 3_000)
        world.expect(world.role(0) == .active && world.pairState(0) == "solo", "the link is not cut")
    }

    private func runUntilActive(_ index: Int, _ world: World) {
        while world.role(index) != .active { world.run(until: world.now + 50_000) }
    }

    @Test func takeover_thatHeldEverything_sendsAtOnce() {
        let world = filled()
        world.kill(0)
        runUntilActive(1, world)
        #expect(world.planes[1].gate == .open)
    }

    /// Leases go as far as it wants at once, instead of through all sessions to the next slice and through all of them again.
    @Test func peer_thatBegunAnewIsBack_whileLeasesAreRecorded_isFilledAfterOneRound() throws {
        let world = filled()
        let before = world.nodes[1]!.table
        world.kill(0)
        runUntilActive(1, world)
        while world.nodes[1]!.leases.sessions.map({ $0.count == Self.count }) ?? true { world.run(until: world.now + 10_000) }
        #expect(world.nodes[1]!.leases.task == .record(.next))
        world.feed(1, .linkOpened(path: 0))
        world.feed(
            1, .frame(.hello(PairHello(version: PairProtocol.version, node: .zero, name: "sg1", boot: 77, role: .starting, epoch: 0))))
        guard case .record(.pastPeer) = world.nodes[1]!.leases.task else { throw Unexpected("\(world.nodes[1]!.leases.task as Any)") }
        #expect(!world.nodes[1]!.sender.isRunning)
        while !world.nodes[1]!.leases.isEmpty { world.run(until: world.now + 10_000) }
        #expect(world.nodes[1]!.sender.isRunning)
        for session in world.nodes[1]!.table.sessions.values {
            let known = try #require(before[session.id])
            for (child, old) in zip(session.children, known.children) {
                #expect(child.lease.slice >= LeaseStep.pastPeer(aloneFor: .zero).lease(after: old, for: .one).slice)
            }
        }
    }

    private struct Unexpected: Error {
        let task: String
        init(_ task: String) { self.task = task }
    }

    /// Its SAs cannot be set ahead in one turn: what peers send is taken in at once, and nothing leaves before all are.
    @Test func takeover_ofManyThatMissedSomething_sendsWhenEveryLeaseIsSetAhead() {
        let world = filled()
        cutLink(of: world)
        let sessions = world.nodes[1]!.table.sessions.values.flatMap(\.children)
        // What the owner uses unheard.
        for child in sessions { world.sendESP(inboundSPI: child.inboundSPI, from: 0) }
        world.kill(0)
        runUntilActive(1, world)
        #expect(world.planes[1].gate == .inboundOnly && world.nodes[1]!.gate == .inboundOnly)
        #expect(world.status(1).lastTakeover?.steps.last?.name == TakeoverStep.ikeLive.name, "the takeover itself does not wait")
        #expect(sessions.allSatisfy { !world.sendESP(inboundSPI: $0.inboundSPI, from: 1) })
        world.run(for: 100)
        #expect(world.planes[1].gate == .open && world.nodes[1]!.leases.isEmpty)
        for child in sessions {
            // Past the slice where it stood armed, and the one after it.
            #expect(world.planes[1].sas[child.inboundSPI]!.next > (child.lease.slice + 2) * Lease.size)
            #expect(world.sendESP(inboundSPI: child.inboundSPI, from: 1))
        }
    }

    @Test func takeover_ofManyThatMissedSomething_whenReplayProtectionIsStrict_letsNothingInBefore() {
        var options = World.Options()
        options.replayProtection = .strict
        let world = filled(options)
        cutLink(of: world)
        world.kill(0)
        runUntilActive(1, world)
        #expect(world.planes[1].gate == .closed)
        world.run(for: 100)
        #expect(world.planes[1].gate == .open)
    }

    /// Taken back at once, when not all SAs of the former owner stand armed again.
    @Test func owner_thatDiesRightAfterAHandover_isFollowedByOneWhoseSAsAreSetAheadFirst() {
        let world = filled()
        let sessions = world.nodes[1]!.table.sessions.values.flatMap(\.children)
        for child in sessions { world.sendESP(inboundSPI: child.inboundSPI, from: 0) }
        _ = world.request(0, .switchover(force: false))
        runUntilActive(1, world)
        while world.role(0) == .active { world.run(until: world.now + 20_000) }
        for child in sessions { world.sendESP(inboundSPI: child.inboundSPI, from: 1) }
        #expect(world.nodes[0]!.leases.task == .arm)
        world.kill(1)
        runUntilActive(0, world)
        world.run(for: 100)
        #expect(world.planes[0].gate == .open)
        // The checker of numbers speaks if one is used twice.
        for child in sessions { #expect(world.sendESP(inboundSPI: child.inboundSPI, from: 0)) }
    }

    /// What the new owner still has to write down takes longer than a standby has to come into step.
    @Test func switchover_whileLeasesAreRecorded_waitsForThem() {
        let world = filled()
        world.wires.latency = 8_000_000
        _ = world.request(0, .switchover(force: false))
        runUntilActive(1, world)
        // As with so many that it takes seconds.
        world.nodes[1]!.leases.nextDeadline = Instant(nanoseconds: world.now + 3_000_000_000)
        let token = world.request(1, .switchover(force: false))
        world.run(for: 2_500)
        #expect(world.role(1) == .active && world.responses[token] == nil, "it neither gives up nor hands over")
        #expect(!world.nodes[1]!.isDraining, "peers are served meanwhile")
        world.run(for: 3_000)
        #expect(world.role(0) == .active && world.role(1) == .standby)
    }

    /// The new owner writes down leases as fast as the standby takes them in, so that no reply waits behind all of them.
    @Test func switchover_ofMany_leavesTheStandbyInStep() {
        let world = filled()
        world.wires.latency = 8_000_000
        _ = world.request(0, .switchover(force: false))
        runUntilActive(1, world)
        var lagMax: UInt64 = 0
        for _ in 0..<2_000 where !world.nodes[1]!.leases.isEmpty {
            world.run(until: world.now + 100_000)
            lagMax = max(lagMax, world.nodes[1]!.sender.lag)
        }
        #expect(world.nodes[1]!.leases.isEmpty, "it waits for ever")
        #expect(lagMax > UInt64(LeaseWork.page) && lagMax <= LeaseWork.lagMax + UInt64(LeaseWork.page))
        #expect(world.pairState(1) == "paired")
    }
}
