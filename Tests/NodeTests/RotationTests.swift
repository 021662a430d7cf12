import Control
import Cryptography
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// A node's certificate changes while the pair goes on, and whatever dies in the middle of it.
@Suite struct RotationTests {
    /// Of a millisecond, from the command on: the steps take 15 of them, and the confirmation up to 200.
    private static let quarters = Array(0...15) + [24, 100]

    private func outcome(_ token: RequestToken, _ world: World) -> RotationSummary? {
        guard case .rotation(let summary)? = world.responses[token]?.last else { return nil }
        return summary
    }

    private func forged(_ world: World) -> UInt64 { (0...1).reduce(0) { $0 + (world.status($1).counters["heartbeat_forged"] ?? 0) } }

    /// Each node takes exactly what the other has.
    private func expectSettled(_ world: World) {
        for index in 0...1 {
            #expect(world.folders[index].peer == [world.folders[1 - index].own])
            #expect(world.nodes[index]?.heartbeats.names.count == 1)
            #expect(world.folders[index].staged == nil)
        }
    }

    private func isPaired(_ world: World) -> Bool { world.pairState(0) == "paired" && world.pairState(1) == "paired" }

    @Test(arguments: [0, 1]) func rotation_ofEitherNode_leavesThePairPairedAllTheTime(index: Int) {
        let (world, user) = TakeoverTests.connected()
        let before = world.folders[index].own
        let token = world.request(index, .rotate(days: 10))
        for _ in 0..<200 {
            world.run(for: 1)
            #expect(isPaired(world))
        }
        let summary = outcome(token, world)
        #expect(summary?.outcome == .done && summary?.reason == "")
        #expect(world.folders[index].own != before)
        expectSettled(world)
        #expect(forged(world) == 0)
        #expect(world.status(0).counters["takeovers"] == 1 && world.status(1).counters["takeovers"] == 0)
        // The former key counts no more, and the pair lives on the new one.
        world.run(for: 3_000)
        #expect(isPaired(world) && world.role(0) == .active)
        world.kill(0)
        world.run(for: 500)
        #expect(world.role(1) == .active && world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 1))
    }

    @Test func rotation_ofBothOneAfterTheOther_andAgain_works() {
        let (world, _) = TakeoverTests.connected()
        for index in [0, 1, 1, 0] {
            let token = world.request(index, .rotate(days: 10))
            world.run(for: 300)
            #expect(outcome(token, world)?.outcome == .done)
            expectSettled(world)
        }
        #expect(isPaired(world) && forged(world) == 0)
    }

    @Test func rotation_ofBothAtOnce_isRefusedByOneAtLeast_andLeavesThePairPaired() {
        let (world, _) = TakeoverTests.connected()
        let tokens = (0...1).map { world.request($0, .rotate(days: 10)) }
        for _ in 0..<200 {
            world.run(for: 1)
            #expect(isPaired(world))
        }
        #expect(tokens.count { outcome($0, world)?.outcome == .failed } >= 1)
        for index in 0...1 {
            let token = world.request(index, .rotate(days: 10))
            world.run(for: 300)
            #expect(outcome(token, world)?.outcome == .done)
        }
        expectSettled(world)
    }

    /// Every quarter of a millisecond from the command on, either node dies and comes back. The two find together each time, one of them
    /// active, everything is in order by then, and either of them can rotate next.
    @Test(arguments: [(0, 0), (0, 1), (1, 0), (1, 1)], [0, 1])
    func death_atEveryMomentOfARotation_leavesNodesThatFindTogether(nodes: (Int, Int), next: Int) {
        let (rotating, dying) = nodes
        for quarter in Self.quarters {
            let (world, user) = TakeoverTests.connected()
            _ = world.request(rotating, .rotate(days: 10))
            world.run(until: world.now + UInt64(quarter) * 250_000)
            world.kill(dying)
            world.run(for: 400)
            world.start(dying)
            world.run(for: 4_000)
            #expect(isPaired(world) && world.role(dying) == .standby, "after \(quarter) quarters of a millisecond")
            expectSettled(world)
            let again = world.request(next, .rotate(days: 10))
            world.run(for: 300)
            #expect(outcome(again, world)?.outcome == .done, "after \(quarter): \(outcome(again, world)?.reason ?? "no answer")")
            expectSettled(world)
            world.kill(1 - dying)
            world.run(for: 500)
            #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: dying))
        }
    }

    /// A power cut of both: what their files say must be enough.
    @Test(arguments: [0, 1]) func deathOfBoth_atEveryMomentOfARotation_leavesFilesThatFitTogether(rotating: Int) {
        for quarter in Self.quarters {
            let (world, _) = TakeoverTests.connected()
            _ = world.request(rotating, .rotate(days: 10))
            world.run(until: world.now + UInt64(quarter) * 250_000)
            world.kill(0)
            world.kill(1)
            world.users = []
            world.run(for: 50)
            world.start(0)
            world.start(1)
            world.run(for: 3_000)
            #expect(isPaired(world), "after \(quarter) quarters of a millisecond")
        }
    }

    /// The link breaks; heartbeats go on.
    @Test(arguments: [0, 1], [0, 1]) func linkThatBreaks_atEveryMomentOfARotation_disturbsNobody(rotating: Int, next: Int) {
        for quarter in Self.quarters {
            let (world, _) = TakeoverTests.connected()
            let token = world.request(rotating, .rotate(days: 10))
            world.run(until: world.now + UInt64(quarter) * 250_000)
            world.closeLink(reason: "test")
            world.run(for: 1_500)
            #expect(isPaired(world) && world.role(0) == .active, "after \(quarter) quarters of a millisecond")
            #expect(outcome(token, world) != nil)
            expectSettled(world)
            let again = world.request(next, .rotate(days: 10))
            world.run(for: 300)
            #expect(outcome(again, world)?.outcome == .done, "after \(quarter): \(outcome(again, world)?.reason ?? "no answer")")
            expectSettled(world)
        }
    }

    @Test func rotation_withoutALink_isRefused() {
        let (world, _) = TakeoverTests.connected()
        world.kill(1)
        world.run(for: 300)
        let token = world.request(0, .rotate(days: 10))
        #expect(outcome(token, world) == RotationSummary(outcome: .refused, reason: "there is no link to the other node"))
        #expect(world.folders[0].staged == nil)
    }

    @Test func rotation_underWay_isNotBegunTwice() {
        let (world, _) = TakeoverTests.connected()
        _ = world.request(0, .rotate(days: 10))
        let second = world.request(0, .rotate(days: 10))
        #expect(outcome(second, world)?.outcome == .refused)
    }

    /// Its own words, played back to it under the new key, say nothing of what the other node knows.
    @Test func heartbeat_ofItsOwnSentBack_confirmsNothing() throws {
        let (world, _) = TakeoverTests.connected()
        world.wires.lost = [.path(0, from: 1)]
        let token = world.request(0, .rotate(days: 10))
        world.run(for: 20)
        #expect(world.nodes[0]?.heartbeats.names.count == 2)
        let own = try #require(world.nodes[0]).heartbeats.seal(
            Heartbeat(
                node: .zero, role: .active, isReady: true, wantsAnswer: false, boot: 9, echo: try #require(world.nodes[0]).boot,
                sequence: 99,
                epoch: 2))
        world.feed(0, .heartbeat(path: 0, bytes: own))
        #expect(world.nodes[0]?.heartbeats.names.count == 2 && outcome(token, world) == nil)
        world.wires.lost = []
        world.run(for: 300)
        #expect(outcome(token, world)?.outcome == .done)
        expectSettled(world)
    }

    @Test func offers_oneAfterTheOther_areLookedAtOneAtATime() {
        let (world, _) = TakeoverTests.connected()
        // As fast as the link carries them: the second finds the first under way.
        for number in [UInt8(8), 9] { world.feed(1, .frame(.certificateOffer([0, number]))) }
        world.run(for: 100)
        #expect(world.folders[1].peer == [[0, 0], [0, 8]])
        #expect(isPaired(world))
    }

    @Test func offer_thatIsNoCertificate_isNotTaken() {
        let (world, _) = TakeoverTests.connected()
        world.feed(1, .frame(.certificateOffer([1, 2, 3])))
        world.run(for: 100)
        #expect(isPaired(world))
        expectSettled(world)
    }

    // MARK: - Ends

    private func events(_ world: World, _ index: Int) -> [String] {
        let token = world.request(index, .events(after: 0))
        guard case .events(let events)? = world.responses[token]?.last else { return [] }
        return events.filter { $0.kind == "certificate" }.map(\.text)
    }

    private func world(endingIn days: Int64) -> World {
        var options = World.Options()
        options.certificatesEnd = World(World.Options()).time.wallMilliseconds + days * 86_400_000 + 60_000
        let world = World(options)
        world.startPair()
        return world
    }

    @Test func certificate_thatEndsSoon_isWarnedOfEveryDay() {
        let world = world(endingIn: 20)
        #expect(events(world, 0).count == 2)
        #expect(events(world, 0)[0].hasPrefix("the certificate of sg1 expires in 20 days"))
        #expect(world.status(1).certificates.map(\.daysLeft) == [20, 20])
        #expect(world.status(1).counters["certificate_days_left"] == 20)
        #expect(world.status(0).counters["certificate_warnings"] == 2)
    }

    @Test func certificate_thatEndsLater_isNotWarnedOf() {
        let world = world(endingIn: 31)
        #expect(events(world, 0) == [] && events(world, 1) == [])
    }

    @Test func certificate_thatHasEnded_breaksNothing() {
        let world = world(endingIn: -3)
        #expect(world.pairState(0) == "paired" && world.pairState(1) == "paired")
        #expect(events(world, 1)[0].hasPrefix("the certificate of sg2 has expired; the pair goes on"))
        #expect(world.status(0).counters["certificate_days_left"] == 0)
        #expect(world.logs[0].contains { $0.level == .error && $0.message.contains("has expired") })
    }
}
