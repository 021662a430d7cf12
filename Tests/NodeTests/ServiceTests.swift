import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Two nodes of which one cannot serve well, or is not meant to.
@Suite struct ServiceTests {
    private static func connected(_ change: (inout World.Options) -> Void = { _ in }) -> (World, World.EndUser) {
        var options = World.Options()
        change(&options)
        let world = World(options)
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 1000)
        return (world, user)
    }

    private static func set(_ world: World, _ index: Int, _ state: InterfaceHealth.State) {
        world.feed(index, .health(.interfaces([.init(name: "eth0", state: state), .init(name: "eth1", state: .up)])))
    }

    private static func served(_ world: World, _ user: World.EndUser, by index: Int) {
        #expect(world.role(index) == .active && world.role(1 - index) == .standby && world.pairState(index) == "paired")
        #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: index))
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded)
    }

    private static func events(_ world: World, _ index: Int) -> [String] {
        let token = world.request(index, .events(after: 0))
        guard case .events(let events)? = world.responses[token]?.last else { return [] }
        return events.map(\.text)
    }

    private static func maintain(_ world: World, _ index: Int, _ request: MaintenanceRequest, for milliseconds: UInt64 = 100)
        -> MaintenanceSummary?
    {
        answer(world, world.request(index, .maintain(request)), for: milliseconds)
    }

    private static func answer(_ world: World, _ token: RequestToken, for milliseconds: UInt64) -> MaintenanceSummary? {
        world.run(for: milliseconds)
        guard case .maintenance(let summary)? = world.responses[token]?.last else { return nil }
        return summary
    }

    private static func switchover(_ world: World, _ index: Int, force: Bool = false) -> SwitchoverSummary? {
        let token = world.request(index, .switchover(force: force))
        world.run(for: 100)
        guard case .switchover(let summary)? = world.responses[token]?.last else { return nil }
        return summary
    }

    // MARK: - Fitness

    @Test func interfaceDown_atTheActive_handsOverByItself() throws {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        Self.set(world, 0, .up)
        Self.set(world, 0, .noCarrier)
        world.run(for: 200)
        Self.served(world, user, by: 1)
        #expect(user.inboundSPIAtGateway == spi && world.holdsAddress == [false, true])
        #expect(world.status(1).lastTakeover?.cause == "unfit: interface eth0 (no carrier)")
        let condition = try #require(world.status(0).condition)
        #expect(condition.fitness == "unfit" && condition.faults.map(\.name) == ["interface eth0"] && condition.peerFitness == "fit")
        #expect(world.status(1).condition?.peerFaults == ["interface eth0 (no carrier)"])
        #expect(Self.events(world, 0).contains { $0.hasPrefix("hands over to sg2: unfit: interface eth0") })
        #expect(Self.events(world, 1).contains { $0.hasPrefix("took over: unfit: interface eth0") })
        // Nobody takes back by default.
        Self.set(world, 0, .up)
        world.run(for: 600_000)
        Self.served(world, user, by: 1)
        #expect(world.status(1).condition?.automaticHandovers == 1)
    }

    @Test func bothUnfit_nothingMoves_untilOneIsFit() {
        let (world, user) = Self.connected()
        Self.set(world, 1, .down)
        world.run(for: 5000)
        Self.set(world, 0, .missing)
        world.run(for: 60_000)
        Self.served(world, user, by: 0)
        #expect(world.status(0).condition?.peerFitness == "unfit" && world.status(0).condition?.nextHandoverMilliseconds == nil)
        Self.set(world, 1, .up)
        world.run(for: 900)
        #expect(world.role(0) == .active, "it may be down again at once")
        world.run(for: 300)
        Self.served(world, user, by: 1)
    }

    /// A switch that both hang on goes; the active hears of its own link first.
    @Test func bothUnfit_oneALittleLater_nothingMoves() {
        let (world, user) = Self.connected()
        Self.set(world, 0, .noCarrier)
        world.run(for: 60)
        Self.set(world, 1, .noCarrier)
        world.run(for: 30_000)
        #expect(world.role(0) == .active)
        Self.served(world, user, by: 0)
    }

    @Test func unfitStandby_takesNoPlannedHandover_unlessForced() {
        let (world, user) = Self.connected()
        Self.set(world, 1, .down)
        world.run(for: 50)
        let refused = Self.switchover(world, 0)
        #expect(refused?.outcome == .refused && refused?.reason.hasPrefix("sg2 is not fit: interface eth0 (down)") == true)
        Self.served(world, user, by: 0)
        #expect(Self.switchover(world, 0, force: true)?.outcome == .done)
        world.run(for: 60_000)
        Self.served(world, user, by: 1)
        // What the operator knew has changed.
        Self.set(world, 1, .noCarrier)
        Self.set(world, 1, .up)
        Self.set(world, 1, .down)
        world.run(for: 3000)
        Self.served(world, user, by: 0)
    }

    /// The offer and the news of the fault cross.
    @Test func fault_thatCrossesTheOffer_isTheStandbysRefusal() {
        let (world, user) = Self.connected()
        world.wires.latency = 4_000_000
        world.run(for: 50)
        let token = world.request(0, .switchover(force: false))
        Self.set(world, 1, .down)
        world.run(for: 200)
        guard case .switchover(let summary)? = world.responses[token]?.last else { return #expect(Bool(false), "no answer") }
        #expect(summary.outcome == .refused && summary.reason.hasPrefix("sg2 is not fit"))
        Self.served(world, user, by: 0)
    }

    @Test func unfitStandby_takesOverFromTheDead_andSaysSo() {
        let (world, user) = Self.connected()
        Self.set(world, 1, .down)
        world.run(for: 50)
        world.kill(0)
        world.run(for: 200)
        #expect(world.role(1) == .active && world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 1))
        #expect(Self.events(world, 1).contains { $0.hasPrefix("serves although it is not fit: nobody else does: interface eth0") })
        // And hands over to whoever comes back and is fit.
        world.start(0)
        world.run(for: 4000)
        Self.served(world, user, by: 0)
    }

    @Test func dataPlane_thatRefusesTooMuch_isAFault_andRecoversInQuiet() {
        let (world, user) = Self.connected()
        for _ in 0..<9 { world.feed(0, .dataPlaneFailed("install: no such algorithm")) }
        world.run(for: 5000)
        #expect(world.role(0) == .active)
        world.feed(0, .dataPlaneFailed("install: no such algorithm"))
        world.run(for: 300)
        Self.served(world, user, by: 1)
        #expect(world.status(1).lastTakeover?.cause == "unfit: data_plane (refuses commands)")
        world.run(for: 61_000)
        #expect(world.status(0).condition?.fitness == "fit" && world.status(1).condition?.peerFitness == "fit")
    }

    @Test func clock_thatJumpsAwayFromThePeers_isAFault() {
        let (world, user) = Self.connected()
        world.clocks[0].wallOffset = 3_600_000
        world.feed(0, .health(.clockJumped(milliseconds: 3_600_000)))
        world.run(for: 300)
        Self.served(world, user, by: 1)
        #expect(world.status(1).lastTakeover?.cause.hasPrefix("unfit: clock (jumped by +3600 s") == true)
        #expect(world.nodes[0]?.counters.clockJumps == 1)
        // Set right again; the other one, whose clock follows, is right too.
        world.clocks[0].wallOffset = 0
        world.feed(0, .health(.clockJumped(milliseconds: -3_600_000)))
        world.run(for: 1000)
        #expect(world.status(0).condition?.fitness == "fit" && world.status(1).condition?.peerFitness == "fit")
    }

    @Test func clocks_thatAreSetTogether_moveNothing() {
        let (world, user) = Self.connected()
        for index in [1, 0] {
            world.clocks[index].wallOffset = -7_200_000
            world.feed(index, .health(.clockJumped(milliseconds: -7_200_000)))
            world.run(for: 20)
        }
        world.run(for: 30_000)
        Self.served(world, user, by: 0)
        #expect(world.status(1).condition?.fitness == "fit")
    }

    // MARK: - Damping

    @Test func flappingScripts_onBothNodes_areDamped() throws {
        let (world, user) = Self.connected {
            $0.track.scripts = [TrackedScript(name: "s", command: ["/bin/true"])]
            $0.track.scripts[0].rise = 1
            $0.track.scripts[0].fall = 1
        }
        // Whoever is active fails, the other one is good: it would move every 2 s.
        for _ in 0..<60 {
            let active = world.role(0) == .active ? 0 : 1
            world.feed(1 - active, .health(.script(name: "s", failure: nil)))
            world.feed(active, .health(.script(name: "s", failure: "exit status 1")))
            world.run(for: 2000)
        }
        let count = try #require(world.status(0).condition?.automaticHandovers)
        // Three, then after 30 s, then after 60 s more.
        #expect(count == 5 && world.status(1).condition?.automaticHandovers == count)
        let active = world.role(0) == .active ? 0 : 1
        #expect(try #require(world.status(active).condition?.heldUntilMilliseconds) > world.time(of: active).wallMilliseconds)
        #expect(Self.events(world, active).contains { $0.hasPrefix("too many hand-overs that nobody asked for") })
        // An operator is not damped.
        #expect(Self.switchover(world, active, force: true)?.outcome == .done)
        Self.served(world, user, by: 1 - active)
        #expect(world.status(1 - active).condition?.heldUntilMilliseconds == nil)
    }

    @Test func handover_thatIsRefused_isTriedAgainAfterAPause() {
        let (world, _) = Self.connected()
        Self.set(world, 0, .down)
        // The standby would refuse, and its word is lost on the way.
        world.nodes[1]?.service.set(.drain, at: world.time(of: 1).instant)
        world.nodes[1]?.link.told = (NodeCondition(maintenance: .drain, wallMilliseconds: 0), world.time(of: 1).instant)
        world.run(for: 9500)
        #expect(world.role(0) == .active)
        #expect((2...3).contains(Self.events(world, 0).count { $0.hasPrefix("the hand-over came to nothing: sg2 is out of service") }))
    }

    // MARK: - Maintenance

    @Test func drain_ofTheActive_handsOver_andStaysOut() throws {
        let (world, user) = Self.connected()
        let done = try #require(Self.maintain(world, 0, MaintenanceRequest(.drain)))
        #expect(done.outcome == .done && done.owner == "sg2" && done.maintenance == "drained" && done.totalMicroseconds < 5000)
        Self.served(world, user, by: 1)
        #expect(world.status(1).lastTakeover?.cause == "drain" && world.status(1).condition?.peerMaintenance == "drain")
        let refused = Self.switchover(world, 1)
        #expect(refused?.outcome == .refused && refused?.reason.contains("sg1 is out of service (drain)") == true)
        // It lasts over a break of the link, and an unfit active has nobody to go to.
        world.closeLink(reason: "test")
        world.run(for: 2000)
        Self.set(world, 1, .down)
        world.run(for: 10_000)
        #expect(world.role(1) == .active && world.status(0).condition?.maintenance == "drained")
        Self.set(world, 1, .up)
        #expect(Self.maintain(world, 0, MaintenanceRequest(.resume))?.maintenance == "none")
        #expect(world.role(1) == .active, "it takes nothing back by itself")
        #expect(Self.switchover(world, 1)?.outcome == .done)
        Self.served(world, user, by: 0)
    }

    @Test func drainedNode_takesOverFromTheDead_aloud_andHandsBack() {
        let (world, user) = Self.connected()
        _ = Self.maintain(world, 0, MaintenanceRequest(.drain))
        world.kill(1)
        world.run(for: 200)
        #expect(world.role(0) == .active && world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0))
        #expect(world.status(0).condition?.maintenance == "draining")
        #expect(Self.events(world, 0).contains { $0.hasPrefix("serves although it is out of service (drain)") })
        world.start(1)
        world.run(for: 4000)
        Self.served(world, user, by: 1)
        #expect(world.status(1).condition?.automaticHandovers == 1)
    }

    @Test func drain_withNobodyToTakeOver_waits_andIsDoneLater() throws {
        let (world, user) = Self.connected()
        world.kill(1)
        world.run(for: 100)
        let token = world.request(0, .maintain(MaintenanceRequest(.drain, timeoutMilliseconds: 5000)))
        #expect(Self.answer(world, token, for: 4900) == nil)
        let waiting = try #require(Self.answer(world, token, for: 200))
        #expect(waiting.outcome == .waiting && waiting.maintenance == "draining" && waiting.reason.hasPrefix("the pair is solo"))
        #expect(world.role(0) == .active && world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0))
        // Somebody else waits for it, and it comes.
        let second = world.request(0, .maintain(MaintenanceRequest(.drain)))
        world.start(1)
        let done = try #require(Self.answer(world, second, for: 4000))
        #expect(done.outcome == .done && done.owner == "sg2")
        Self.served(world, user, by: 1)
        #expect(world.status(0).condition?.automaticHandovers == 0, "an operator asked for it")
    }

    @Test func drain_toAnUnfitNode_waits_unlessForced() throws {
        let (world, user) = Self.connected()
        Self.set(world, 1, .down)
        world.run(for: 100)
        let waiting = try #require(Self.maintain(world, 0, MaintenanceRequest(.drain, timeoutMilliseconds: 0)))
        #expect(waiting.outcome == .waiting && waiting.reason.hasPrefix("sg2 is not fit"))
        Self.served(world, user, by: 0)
        #expect(Self.maintain(world, 0, MaintenanceRequest(.drain, isForced: true))?.outcome == .done)
        Self.served(world, user, by: 1)
    }

    @Test func drain_ofBothNodes_isRefused() {
        let (world, user) = Self.connected()
        #expect(Self.maintain(world, 1, MaintenanceRequest(.drain))?.outcome == .done, "a standby is drained at once")
        let refused = Self.maintain(world, 0, MaintenanceRequest(.drain))
        #expect(refused?.outcome == .refused && refused?.reason.hasPrefix("sg2 is out of service itself") == true)
        #expect(Self.maintain(world, 0, MaintenanceRequest(.standby))?.outcome == .refused)
        Self.served(world, user, by: 0)
    }

    @Test func standby_isDoneNowOrNotAtAll() throws {
        let (world, user) = Self.connected()
        world.kill(1)
        world.run(for: 100)
        let refused = try #require(Self.maintain(world, 0, MaintenanceRequest(.standby)))
        #expect(refused.outcome == .refused && refused.maintenance == "none")
        world.start(1)
        world.run(for: 3000)
        #expect(world.role(0) == .active, "it was refused, and is not remembered")
        let done = try #require(Self.maintain(world, 0, MaintenanceRequest(.standby)))
        #expect(done.outcome == .done && done.maintenance == "standby" && done.owner == "sg2")
        Self.served(world, user, by: 1)
        #expect(Self.switchover(world, 1)?.outcome == .refused)
        #expect(Self.maintain(world, 0, MaintenanceRequest(.resume))?.outcome == .done)
        #expect(Self.switchover(world, 1)?.outcome == .done)
    }

    @Test func resume_whileADrainWaits_endsIt() {
        let (world, user) = Self.connected()
        world.kill(1)
        world.run(for: 100)
        let token = world.request(0, .maintain(MaintenanceRequest(.drain)))
        world.run(for: 100)
        _ = Self.maintain(world, 0, MaintenanceRequest(.resume))
        #expect(Self.answer(world, token, for: 10)?.outcome == .refused)
        world.start(1)
        world.run(for: 5000)
        Self.served(world, user, by: 0)
    }

    @Test func node_withoutAPair_cannotBeDrained() {
        let world = World()
        world.start(0, alone: true)
        world.run(for: 100)
        for kind in [MaintenanceRequest.Kind.drain, .standby] {
            #expect(Self.maintain(world, 0, MaintenanceRequest(kind))?.reason.hasPrefix("this node has no pair") == true)
        }
    }

    // MARK: - Preference

    @Test func preferredNode_takesBack_whenItHasBeenReadyForTheDelay() {
        let (world, user) = Self.connected { $0.preferred = (0, .seconds(20)) }
        world.kill(0)
        world.run(for: 200)
        world.start(0)
        world.run(for: 15_000)
        Self.served(world, user, by: 1)
        // A break makes it begin anew.
        world.closeLink(reason: "test")
        world.run(for: 15_000)
        Self.served(world, user, by: 1)
        #expect(world.status(1).condition?.nextHandoverMilliseconds != nil && world.status(1).condition?.preferred == "sg1")
        world.run(for: 8000)
        Self.served(world, user, by: 0)
        #expect(world.status(0).lastTakeover?.cause == "preferred: sg1")
        world.run(for: 120_000)
        Self.served(world, user, by: 0)
    }

    @Test func preferredNode_thatIsNotFit_doesNotTakeBack() {
        let (world, user) = Self.connected { $0.preferred = (0, .seconds(20)) }
        Self.set(world, 0, .down)
        world.run(for: 60_000)
        Self.served(world, user, by: 1)
        Self.set(world, 0, .up)
        world.run(for: 19_000)
        Self.served(world, user, by: 1)
        world.run(for: 2000)
        #expect(world.role(0) == .active)
        Self.served(world, user, by: 0)
    }

    // MARK: - Older nodes

    /// A node that does not listen to it is told nothing: it would take it for garbage.
    @Test func condition_isToldOnlyToWhoTakesIt() {
        for takes in [false, true] {
            let world = World()
            var node = Node(
                configuration: world.configuration(.zero), boot: 7, random: world.random, now: world.time)
            _ = node.handle(.started(dataPlane: "fake", reason: "test"), now: world.time)
            _ = node.handle(.linkOpened(path: 0), now: world.time)
            let hello = PairHello(
                version: PairProtocol.version, node: .one, name: "sg2", boot: 9, role: .starting, epoch: 0, takesCondition: takes)
            let effects = node.handle(.frame(.hello(hello)), now: world.time)
            let told = effects.contains { if case .frame(.condition) = $0 { true } else { false } }
            #expect(told == takes)
        }
    }
}
