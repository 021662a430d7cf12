import Control
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Single faults that random runs found, each in the shortest run that shows it. The world checks numbers, tables, gates and
/// output commit by itself.
@Suite struct RecoveryTests {
    private func outcome(_ token: RequestToken, _ world: World) -> SwitchoverSummary.Outcome? {
        guard case .switchover(let summary)? = world.responses[token]?.last else { return nil }
        return summary.outcome
    }

    private func expectPaired(_ world: World, active: Int) {
        #expect(world.role(active) == .active)
        #expect(world.role(1 - active) == .standby)
        #expect(world.nodes[active]?.sender.isInStep == true)
        #expect(world.nodes[1 - active]?.receiver.isInStep == true)
        #expect(world.nodes[0]?.table.sessions == world.nodes[1]?.table.sessions)
    }

    // MARK: - What is said (law 8)

    /// Nobody has anything to say, so that no reply waits for the standby; the pair is not called paired all the same.
    @Test(arguments: [true, false]) func link_whenCutAndQuiet_isNotCalledPaired(heartbeatsPass: Bool) {
        let (world, _) = TakeoverTests.connected()
        world.run(for: 2_000)
        #expect(world.pairState(0) == "paired")
        if heartbeatsPass { world.cutLink() } else { world.cut() }
        world.run(for: heartbeatsPass ? 1_100 : 250)
        #expect(world.pairState(0) == "solo")
        world.heal()
        world.run(for: 4_000)
        expectPaired(world, active: world.role(0) == .active ? 0 : 1)
    }

    /// Heartbeats alone stay away, and in one direction: the link answers, and the pair stays paired.
    @Test func link_whenAnsweredWithoutHeartbeats_staysPaired() {
        let (world, _) = TakeoverTests.connected()
        for path in 0..<world.wires.paths { world.wires.lost.insert(.path(path, from: 1)) }
        world.run(for: 3_000)
        expectPaired(world, active: 0)
        #expect(world.pairState(0) == "paired")
    }

    // MARK: - Numbers (law 3)

    /// A standby that was cut off owned everything alone, sent, and died: nobody is left who knows what it used.
    @Test func restart_afterOwningAloneUnnoticed_neverReusesANumber() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        world.cut()
        world.run(for: 200)
        for _ in 0..<3 { #expect(world.sendESP(inboundSPI: spi, from: 1)) }
        world.kill(1)
        world.heal()
        world.run(for: 50)
        world.start(1)
        world.run(for: 1000)
        let token = world.request(0, .switchover(force: false))
        world.run(for: 50)
        #expect(outcome(token, world) == .done)
        #expect(world.sendESP(inboundSPI: spi, from: 1))
    }

    /// The new owner dies before its leases were told: its numbers lie above those that the creator would take next.
    @Test func death_rightAfterAHandOver_leavesNumbersThatTheCreatorGoesPast() {
        let world = World()
        world.startPair()
        _ = world.request(0, .switchover(force: false))
        world.run(for: 100)
        let user = World.EndUser(in: world)
        world.connect(user)
        let spi = user.inboundSPIAtGateway
        #expect(spi >> 31 == 1)
        #expect(world.sendESP(inboundSPI: spi, from: 1))
        _ = world.request(1, .switchover(force: false))
        world.run(until: world.now + 300_000)
        #expect(world.sendESP(inboundSPI: spi, from: 0))
        // What is under way is lost with it.
        world.wires.isBroken = true
        world.kill(0)
        world.run(for: 200)
        #expect(world.sendESP(inboundSPI: spi, from: 1))
    }

    /// The standby takes the next slice that it knows of; the active must not have gone past it unheard.
    @Test func death_rightAfterTheLinkClosed_leavesNumbersThatTheStandbyGoesPast() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        world.cutLink()
        world.closeLink(reason: "test")
        world.run(for: 1)
        world.report(spi, next: Lease.size - Node.leaseReserve + 1)
        #expect(world.sendESP(inboundSPI: spi, from: 0))
        world.kill(0)
        world.run(for: 200)
        #expect(world.sendESP(inboundSPI: spi, from: 1))
    }

    @Test func lease_usedUpBetweenTwoReports_goesOn() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        world.report(spi, next: Lease.size + 1)
        world.run(for: 10)
        #expect(world.sendESP(inboundSPI: spi, from: 0))
    }

    @Test func lease_atTheEndOfTheNumberSpace_staysUsedUp() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        for _ in 0..<600 {
            guard let sa = world.planes[0].sas[spi] else { break }
            world.report(spi, next: sa.limit + 1)
            world.run(for: 5)
        }
        #expect(!world.sendESP(inboundSPI: spi, from: 0))
        let slice = world.nodes[0]?.table.session(inboundSPI: spi)?.child(inboundSPI: spi)?.lease.slice
        #expect(slice == 512)
    }

    // MARK: - Switchover

    /// What the IKE machine has to do waits for the hand-over; its deadline must not keep the node busy meanwhile.
    @Test func handover_withWorkDueInTheIKEMachine_doesNotSpin() {
        let world = World(World.Options(livenessDelay: .milliseconds(300)))
        world.startPair()
        world.connect(World.EndUser(in: world))
        world.run(for: 290)
        world.cutLink()
        let token = world.request(0, .switchover(force: true))
        world.run(for: 1000)
        #expect(outcome(token, world) == .refused)
        #expect(world.role(0) == .active)
    }

    /// `--force` waits for a standby that is still to be filled, and that filling has to begin.
    @Test func forcedSwitchover_beforeTheSnapshotBegan_waitsForIt() {
        let (world, user) = TakeoverTests.connected()
        world.kill(0)
        world.run(for: 200)
        world.start(0)
        while world.nodes[1]?.link.peer == nil { world.run(until: world.now + 50_000) }
        let token = world.request(1, .switchover(force: true))
        world.run(for: 200)
        #expect(outcome(token, world) == .done)
        world.run(for: 500)
        expectPaired(world, active: 0)
        #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0))
    }

    /// The link breaks under a hand-over: the new owner cannot go on where the old one was.
    @Test func handover_overALinkThatBreaks_isFollowedByASnapshot() {
        let (world, _) = TakeoverTests.connected()
        world.wires.latency = 1_000_000
        _ = world.request(0, .switchover(force: false))
        world.closeLink(reason: "reset", slower: (1, 1_000_000))
        world.run(until: world.now + 2_500_000)
        #expect(world.role(1) == .active)
        #expect(world.role(0) == .standby)
        #expect(world.nodes[0]?.receiver.isInStep == false)
        world.run(for: 1000)
        expectPaired(world, active: 1)
    }

    // MARK: - Replication

    /// Heartbeats are lost and the link is not: a standby that was filled owns too. Who gives way must be filled again, although
    /// the link never closed.
    @Test func heartbeatsLostAndFoundAgain_onALinkThatStays_pairAgain() {
        let (world, user) = TakeoverTests.connected()
        world.kill(1)
        world.noteDisturbance()
        world.wires.lost = [.path(0, from: 0), .path(0, from: 1)]
        world.start(1)
        world.run(for: 3000)
        #expect(world.role(0) == .active && world.role(1) == .active)
        world.heal()
        world.run(for: 1000)
        let active = world.role(0) == .active ? 0 : 1
        expectPaired(world, active: active)
        #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: active))
    }

    /// The active dies in the moment in which the restarted standby was filled and no heartbeat had proved it yet.
    @Test func death_afterAStartingNodeWasFilled_losesNothing() {
        let (world, user) = TakeoverTests.connected()
        world.kill(1)
        world.run(for: 20)
        world.start(1)
        while world.nodes[1]?.receiver.isInStep != true { world.run(until: world.now + 50_000) }
        world.kill(0)
        world.run(for: 5)
        world.start(0)
        world.run(for: 2000)
        expectPaired(world, active: 1)
        #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 1))
    }

    @Test func standby_thatAcknowledgesNothing_isCutOffAndBeginsAnew() {
        let world = World()
        world.start(0)
        world.nodes[0]?.sender = ReplicationSender(now: world.time.instant, unacknowledgedMax: 20)
        world.start(1)
        world.run(for: 1500)
        let user = World.EndUser(in: world)
        world.connect(user)
        world.run(for: 10)
        world.wires.lost = [.link(from: 1)]
        for top in 1...UInt64(30) { world.report(user.inboundSPIAtGateway, next: 1, top: top) }
        #expect(world.status(0).pairReason == "standby_too_slow")
        world.run(for: 10)
        #expect(world.status(0).pairReason == "standby_too_slow")
        world.heal()
        world.run(for: 1000)
        expectPaired(world, active: 0)
    }

    /// A change that does not fit stops the rest of its outcome, not what was done before it.
    @Test func outcome_whoseSecondChangeDoesNotFit_takesTheFirstToTheDataPlane() {
        let (world, user) = TakeoverTests.connected()
        let session = world.nodes[0]!.table.session(inboundSPI: user.inboundSPIAtGateway)!.id
        let bad = SessionDelta(session: SessionID(rawValue: 1), changes: [.removed(reason: "test", at: 5)])
        let good = SessionDelta(session: session, changes: [.removed(reason: "test", at: 5)])
        world.nodes[0]!.commit(.init(deltas: [good, bad], session: session), now: world.time)
        world.feed(0, .deadline)
        world.run(for: 10)
        #expect(world.planes[0].sas.isEmpty)
        #expect(world.planes[1].sas.isEmpty)
    }

    @Test func counters_ofSAsThatEndOnTheStandby_areForgotten() {
        let (world, user) = TakeoverTests.connected()
        world.report(user.inboundSPIAtGateway, next: 5, top: 5)
        _ = world.request(0, .switchover(force: false))
        world.run(for: 50)
        world.act(user) { $0.delete(context: $1) }
        world.settle(user)
        world.run(for: 10)
        #expect(world.nodes[0]?.traffic.isEmpty == true)
    }

    // MARK: - Addresses

    /// A cut-off node announced itself and died: packets must find back to the one that lives.
    @Test func address_announcedByANodeThatDied_comesBack() {
        let (world, _) = TakeoverTests.connected()
        // Past the owner's own announcements.
        world.run(for: 4000)
        world.cut()
        world.run(for: 300)
        #expect(world.addressee == 1)
        world.kill(1)
        world.heal()
        world.run(for: 6000)
        #expect(world.addressee == 0)
    }

    /// Both announced; the loser did it last.
    @Test func address_announcedLastByTheNodeThatGivesWay_comesBack() {
        let (world, _) = TakeoverTests.connected()
        world.cut()
        world.run(for: 300)
        world.kill(0)
        world.start(0)
        world.run(for: 1100)
        #expect(world.addressee == 0)
        world.heal()
        world.run(for: 1000)
        #expect(world.role(1) == .active)
        #expect(world.addressee == 1)
    }

    /// Cables may have come back a moment ago: an owner that hears nobody asks before it draws the address to itself once more.
    @Test func address_announcedAgainByWhoHearsNobody_isAskedForFirst() throws {
        let (world, _) = TakeoverTests.connected()
        _ = world.request(0, .switchover(force: false))
        world.run(for: 300)
        world.cut()
        world.run(for: 300)
        #expect(world.role(0) == .active && world.role(1) == .active)
        var node = try #require(world.nodes[1])
        let planned = try #require(node.announcements.first)
        func effects(at instant: Instant) -> [Effect] {
            node.handle(.deadline, now: Now(instant: instant, wallMilliseconds: world.time.wallMilliseconds))
        }
        func isAnnouncement(_ effect: Effect) -> Bool { if case .announceAddresses = effect { true } else { false } }
        func isHeartbeat(_ effect: Effect) -> Bool { if case .heartbeat = effect { true } else { false } }
        // Contact was lost a moment ago: what was planned is put off.
        let soon = effects(at: planned)
        #expect(!soon.contains(where: isAnnouncement))
        let due = try #require(node.announcements.first)
        #expect(due > planned + .seconds(3) && node.announcements.count == 1)
        _ = effects(at: Instant(nanoseconds: due.nanoseconds - 1000))
        let asked = effects(at: due)
        #expect(asked.contains(where: isHeartbeat) && !asked.contains(where: isAnnouncement))
        let unanswered = effects(at: due + Node.announcementQuestionTime)
        // Once more with it, and before it: what it may draw away goes back within a round trip.
        let announced = try #require(unanswered.firstIndex(where: isAnnouncement))
        #expect(unanswered[..<announced].contains(where: isHeartbeat))
    }

    // MARK: - Heartbeats

    /// Paths differ in speed: what is overtaken must not be taken for the peer's present role.
    @Test func heartbeats_thatOvertakeEachOther_makeNoSecondOwner() {
        for seed in 0..<30 {
            let world = World(World.Options(seed: UInt64(seed), paths: 2))
            world.wires.jitterMax = 3_000_000
            world.start(0)
            world.start(1)
            world.run(for: 1500)
            #expect(world.role(0) == .active)
            #expect(world.nodes[0]?.counters.takeovers == 1)
            #expect(world.nodes[1]?.counters.takeovers == 0)
        }
    }
}
