import Control
import IKE
import Node
import Pair
import Session
import Testing

@testable import Simulator

/// Two whole nodes and a witness in virtual time.
@Suite struct WitnessTests {
    static func connected(
        _ whenUnreachable: ArbitrationPlan.WhenUnreachable = .yield, check: Bool = false, fencing: ArbitrationPlan.Fencing? = nil,
        paths: Int = 1
    ) -> (World, World.EndUser) {
        var options = World.Options()
        options.paths = paths
        options.arbitration = ArbitrationPlan(
            check: check ? .init(timeout: .milliseconds(500)) : nil,
            witness: .init(timeout: .milliseconds(100), ttl: .seconds(3), whenUnreachable: whenUnreachable), fencing: fencing)
        let world = World(options)
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 50)
        return (world, user)
    }

    static func owners(_ world: World) -> [Int] { [0, 1].filter { world.nodes[$0]?.isOwner == true } }

    /// Looks every millisecond.
    ///
    /// - Returns: the milliseconds without an owner.
    @discardableResult
    static func watch(_ world: World, for milliseconds: Int) -> Int {
        var ownerless = 0
        for _ in 0..<milliseconds {
            world.run(for: 1)
            let owners = owners(world)
            #expect(owners.count <= 1, "two owners at \(world.now)")
            #expect(!(world.planes[0].gate == .open && world.planes[1].gate == .open), "two gates are open at \(world.now)")
            if owners.isEmpty { ownerless += 1 }
        }
        return ownerless
    }

    static func answers(_ world: World, _ user: World.EndUser) -> Bool {
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        return user.initiator.lastResult == .succeeded
    }

    @Test func pairThatSeesItself_asksNobody() {
        let (world, _) = Self.connected()
        world.witness.isReached = [false, false]
        let before = world.status(0).counters["arbiter_questions"]
        #expect(Self.watch(world, for: 5000) == 0)
        #expect(world.role(0) == .active && world.pairState(0) == "paired")
        #expect(world.status(0).counters["arbiter_questions"] == before)
    }

    @Test func kill_ofTheActive_isTakenOverAsFastAsTheWitnessAnswers() {
        let (world, user) = Self.connected()
        world.kill(0)
        world.run(for: 40)
        #expect(world.role(1) == .active)
        #expect(world.status(1).lastTakeover?.cause == "link_closed")
        #expect(world.witness.claim?.node == 1)
        #expect(Self.answers(world, user))
        // The claim is kept for as long as nobody else is there, and given back then.
        Self.watch(world, for: 10_000)
        #expect(world.witness.claim?.node == 1 && world.witness.history.count == 1)
        world.start(0)
        world.run(for: 3000)
        #expect(world.pairState(1) == "paired" && world.witness.claim == nil)
    }

    @Test func cut_ofEveryWire_neverHasTwoOwners() {
        // The active is asked at once, and so is the standby: whoever is first.
        for (index, latency) in [UInt64(1_000_000), 20_000_000, 60_000_000].enumerated() {
            let (world, user) = Self.connected()
            world.witness.latency = latency
            world.cut()
            Self.watch(world, for: 4000)
            #expect(Self.owners(world).count == 1, "\(index)")
            #expect(world.witness.claim?.node == Self.owners(world).first)
            world.heal()
            #expect(Self.watch(world, for: 3000) <= 400)
            #expect(world.pairState(Self.owners(world)[0]) == "paired")
            #expect(Self.answers(world, user))
            #expect(!world.checks.hasSplit)
        }
    }

    @Test func cut_ofTheActiveFromEverything_movesToTheOther() {
        let (world, user) = Self.connected()
        let epoch = world.status(0).epoch
        world.witness.isReached = [false, true]
        world.cut()
        // Dead after 150 ms, 100 ms for its claim, 50 ms of margin.
        #expect(Self.watch(world, for: 400) <= 120)
        #expect(Self.owners(world) == [1] && world.status(1).epoch > epoch)
        #expect(Self.answers(world, user))
        Self.watch(world, for: 5000)
        #expect(world.role(0) == .standby && world.planes[0].gate == .closed)
        #expect(world.status(0).arbitration?.trouble.contains("unanswered") == false)
        world.witness.isReached = [true, true]
        world.heal()
        #expect(Self.watch(world, for: 3000) == 0)
        #expect(world.pairState(1) == "paired" && !world.checks.hasSplit)
    }

    @Test func cut_ofEverything_whenToYield_leavesNobody_untilThePairSeesItself() {
        let (world, user) = Self.connected()
        world.witness.isReached = [false, false]
        world.cut()
        Self.watch(world, for: 3000)
        #expect(Self.owners(world).isEmpty)
        #expect(world.status(1).arbitration?.trouble.hasPrefix("not taking over") == true)
        // The witness is still not there: the pair needs it no more.
        world.heal()
        Self.watch(world, for: 2000)
        #expect(Self.owners(world) == [0])
        #expect(world.pairState(0) == "paired")
        #expect(Self.answers(world, user))
    }

    @Test func cut_ofEverything_whenToStay_leavesTheActive() {
        let (world, user) = Self.connected(.stay)
        world.witness.isReached = [false, false]
        world.cut()
        #expect(Self.watch(world, for: 5000) == 0)
        #expect(Self.owners(world) == [0])
        #expect(world.status(0).arbitration?.trouble.hasPrefix("owner without knowing") == true)
        #expect(Self.answers(world, user))
    }

    @Test func ownerThatDiesAlone_isFollowedWhenItsClaimHasRunOut() {
        let (world, _) = Self.connected()
        world.cut()
        Self.watch(world, for: 2000)
        let owner = Self.owners(world)[0]
        world.kill(owner)
        let ownerless = Self.watch(world, for: 5000)
        #expect(Self.owners(world) == [1 - owner])
        // The lease and what lies between two questions.
        #expect((1500...3600).contains(ownerless))
    }

    /// One direction at a time: whoever is not heard, or does not hear, asks; there is one owner all the while.
    @Test func oneDirection_ofEveryPath_hasOneOwner() {
        for from in 0...1 {
            let (world, user) = Self.connected(paths: 2)
            world.wires.lost = [.path(0, from: from), .path(1, from: from), .link(from: from)]
            Self.watch(world, for: 3000)
            #expect(Self.owners(world).count == 1, "from \(from)")
            #expect(Self.answers(world, user))
            world.heal()
            Self.watch(world, for: 3000)
            #expect(Self.owners(world).count == 1 && world.pairState(Self.owners(world)[0]) == "paired")
        }
    }

    @Test func pathsLostOneByOne_areSaid_eachDirectionByItself() {
        let (world, _) = Self.connected(paths: 2)
        world.wires.lost = [.path(1, from: 0)]
        world.run(for: 400)
        // Node 1 does not hear on it; node 0 hears, and is told that it is not heard.
        #expect(world.status(1).heartbeatPaths.map(\.fromPeer) == ["up", "down"])
        #expect(world.status(0).heartbeatPaths.map(\.fromPeer) == ["up", "up"])
        #expect(world.status(0).heartbeatPaths.map(\.toPeer) == ["up", "down"])
        #expect(world.status(1).heartbeatPaths.map(\.toPeer) == ["up", "up"])
        #expect(Self.events(world, 0).contains { $0.contains("10.2.0.1:4510") && $0.hasSuffix("to the peer lost") })
        #expect(Self.events(world, 1).contains { $0.contains("10.2.0.2:4510") && $0.hasSuffix("from the peer lost") })
        world.heal()
        world.run(for: 400)
        #expect(world.status(0).heartbeatPaths.map(\.toPeer) == ["up", "up"])
        #expect(Self.events(world, 0).last { $0.contains("heartbeat path") }?.hasSuffix("to the peer works") == true)
        #expect(world.role(0) == .active && world.status(0).counters["takeovers"] == 1)
    }

    private static func events(_ world: World, _ index: Int) -> [String] { world.logs[index].map(\.message) }

    @Test func reachability_ofOneNodeOnly_decides() {
        let (world, user) = Self.connected(check: true)
        world.witness.isReachable = [false, true]
        world.cut()
        Self.watch(world, for: 2000)
        #expect(Self.owners(world) == [1])
        #expect(Self.answers(world, user))
    }

    @Test func fencing_comesBeforeOwnership() {
        let (world, user) = Self.connected(fencing: .init(timeout: .seconds(5)))
        // The standby is first at the witness, since the active does not reach it.
        world.witness.isReached = [false, true]
        world.cut()
        Self.watch(world, for: 1000)
        #expect(world.witness.fenced == [0] && !world.isAlive(0))
        #expect(Self.owners(world) == [1] && Self.answers(world, user))
    }

    @Test func fencingThatFails_keepsTheStandbyBack() {
        let (world, _) = Self.connected(fencing: .init(timeout: .seconds(5)))
        world.witness.fencingWorks = false
        world.kill(0)
        Self.watch(world, for: 3000)
        #expect(Self.owners(world).isEmpty)
        #expect(world.status(1).arbitration?.trouble.contains("fencing failed") == true)
        world.witness.fencingWorks = true
        Self.watch(world, for: 1000)
        #expect(Self.owners(world) == [1])
    }

    @Test func switchover_needsNoWitness() {
        let (world, user) = Self.connected()
        world.witness.isReached = [false, false]
        let token = world.request(0, .switchover(force: false))
        world.run(for: 500)
        #expect(world.responses[token]?.last?.isFinal == true)
        #expect(Self.owners(world) == [1] && world.pairState(1) == "paired")
        #expect(Self.answers(world, user))
        Self.watch(world, for: 2000)
        #expect(Self.owners(world) == [1])
    }

    /// Cuts of single directions, healings and losses of the witness at random: never two owners, and one in the end.
    @Test func anyHistory_hasNeverTwoOwners() {
        for seed in UInt64(1)...6 {
            let (world, user) = Self.connected(paths: 2)
            var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
            func random(_ bound: UInt64) -> UInt64 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return (state >> 33) % bound
            }
            for _ in 0..<24 {
                switch random(6) {
                case 0: world.cut()
                case 1: world.heal()
                case 2:
                    let from = Int(random(2))
                    world.wires.lost.formUnion([.path(0, from: from), .path(1, from: from), .link(from: from)])
                case 3: world.witness.isReached[Int(random(2))].toggle()
                case 4: world.witness.latency = 1_000_000 + random(80_000_000)
                default: world.wires.lost.insert(.path(Int(random(2)), from: Int(random(2))))
                }
                Self.watch(world, for: Int(random(700)))
            }
            world.witness.isReached = [true, true]
            world.witness.latency = 2_000_000
            world.heal()
            world.run(for: 6000)
            #expect(Self.owners(world).count == 1, "seed \(seed)")
            #expect(world.pairState(Self.owners(world).first ?? 0) == "paired", "seed \(seed)")
            #expect(Self.answers(world, user), "seed \(seed)")
        }
    }
}
