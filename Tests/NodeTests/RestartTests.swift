import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Sessions that outlive both daemons, or the only one, because they are on disk.
@Suite struct RestartTests {
    private static func world(_ change: (inout World.Options) -> Void = { _ in }) -> World {
        var options = World.Options()
        options.keepsState = true
        change(&options)
        return World(options)
    }

    /// A pair with one connected client, in step.
    fileprivate static func connected(_ change: (inout World.Options) -> Void = { _ in }) -> (World, World.EndUser) {
        let world = world(change)
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 100)
        return (world, user)
    }

    fileprivate func lose(_ world: World, after milliseconds: UInt64 = 50) {
        world.run(for: milliseconds)
        world.kill(0)
        world.kill(1)
        world.run(for: 500)
    }

    /// The client goes on in the IKE SA and the CHILD SA that it has.
    private func expectServed(_ world: World, _ user: World.EndUser, by index: Int, _ spis: IKESPIs?, _ spi: UInt32) {
        #expect(world.role(index) == .active)
        #expect(world.sendESP(inboundSPI: spi, from: index))
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded && user.initiator.ikeSA?.spis == spis)
        #expect(user.inboundSPIAtGateway == spi)
    }

    @Test func loss_ofBothAtOnce_bringsTheSessionsBack() {
        let (world, user) = Self.connected()
        let (spis, spi) = (user.initiator.ikeSA?.spis, user.inboundSPIAtGateway)
        for _ in 0..<5 { world.sendESP(inboundSPI: spi, from: 0) }
        lose(world)
        world.start(0)
        world.start(1)
        world.run(for: 3_000)
        #expect(world.role(0) == .active, "the owner of the last epoch knows more")
        #expect(world.pairState(0) == "paired")
        #expect(world.status(0).counters["state_sessions_restored"] == 1)
        expectServed(world, user, by: 0, spis, spi)
        #expect(world.nodes[0]!.roles.epoch > 2 + StoredState.epochReserve - 2)
        // And again, by the other one.
        world.kill(0)
        world.run(for: 500)
        expectServed(world, user, by: 1, spis, spi)
        lose(world)
        world.start(0)
        world.run(for: 200)
        world.start(1)
        world.run(for: 4_000)
        #expect(world.role(1) == .active, "node 1 owned it last")
        expectServed(world, user, by: 1, spis, spi)
    }

    @Test func standby_thatAloneComesBack_goesOnWithWhatItHeld() {
        let (world, user) = Self.connected()
        let (spis, spi) = (user.initiator.ikeSA?.spis, user.inboundSPIAtGateway)
        world.sendESP(inboundSPI: spi, from: 0)
        lose(world)
        world.start(1)
        world.run(for: 3_000)
        expectServed(world, user, by: 1, spis, spi)
        #expect(world.status(1).lastTakeover?.cause == "alone")
        // The other one comes later, and takes over what is so now.
        world.start(0)
        world.run(for: 3_000)
        #expect(world.role(0) == .standby && world.pairState(1) == "paired")
    }

    /// The peer fills it with a lease that does not reckon with what the disk said; the disk must not forget that.
    @Test func standby_thatIsFilled_keepsWhatItsFormerLivesMayHaveUsed() {
        let (world, _) = Self.connected()
        func sliceOnDisk() -> UInt64? { world.disks[0]?.durable.sessions.values.first?.children.first?.lease.slice }
        world.run(for: 100)
        world.kill(0)
        world.run(for: 500)
        world.start(0)
        let spent = sliceOnDisk()
        #expect(spent ?? 0 >= 34)
        world.run(for: 3_000)
        #expect(world.role(0) == .standby && world.status(0).stateUnwritten == 0)
        #expect(world.nodes[0]!.table.sessions.values.first!.children[0].lease.slice < spent ?? 0)
        #expect(sliceOnDisk() == spent)
    }

    @Test func node_thatStandsAlone_goesOnAfterARestart() {
        let world = Self.world()
        let user = World.EndUser(in: world)
        world.start(0, alone: true)
        world.run(for: 100)
        world.connect(user)
        let (spis, spi) = (user.initiator.ikeSA?.spis, user.inboundSPIAtGateway)
        for round in 0..<5 {
            world.run(for: 100)
            world.sendESP(inboundSPI: spi, from: 0)
            world.kill(0)
            world.run(for: 300)
            world.start(0, alone: true)
            world.run(for: 100)
            expectServed(world, user, by: 0, spis, spi)
            #expect(world.status(0).counters["state_sessions_restored"] == 1, "round \(round)")
        }
        let token = world.request(0, .events(after: 0))
        guard case .events(let events)? = world.responses[token]?.last else { return #expect(Bool(false)) }
        #expect(events.contains { $0.kind == "state" && $0.text.contains("goes on with 1 sessions from disk") })
    }

    /// Each restart takes 34 of the 512 slices of an SA without ESN: before the last ones are used the owner replaces it.
    @Test func child_whoseSlicesComeToAnEnd_isReplacedBefore() throws {
        let (world, site) = InitiateTests.pair(keepsState: true)
        let token = world.initiate("link")
        world.run(for: 100)
        #expect(world.answer(token) == .success)
        func session(_ index: Int) -> Session? { world.nodes[index]?.table.sessions.values.first }
        let first = try #require(session(0))
        #expect(!first.children[0].algorithms.extendedSequenceNumbers)
        for life in 1...20 {
            lose(world)
            world.start(0)
            world.start(1)
            world.run(for: 4_000)
            let owner = world.role(0) == .active ? 0 : 1
            let now = try #require(session(owner))
            #expect(now.ikeSA.spis == first.ikeSA.spis && now.children.count == 1)
            #expect(world.sendESP(inboundSPI: now.children[0].inboundSPI, from: owner), "life \(life)")
            #expect(site.table.sessions.values.first?.children.map(\.outboundSPI) == now.children.map(\.inboundSPI))
        }
        #expect(session(world.role(0) == .active ? 0 : 1)?.children[0].inboundSPI != first.children[0].inboundSPI)
    }

    /// At any moment of a rekey, whatever was on the disk by then: nothing is used twice (the world's checkers), and the client is served in the
    /// end, by what there is or anew.
    @Test func loss_atAnyMomentOfARekey_usesNothingTwice() {
        for moment in stride(from: UInt64(0), to: 12_000_000, by: 700_000) {
            let (world, user) = Self.connected()
            let child = user.initiator.children[0].inboundSPI
            world.act(user) { $0.rekeyChild(inboundSPI: child, context: $1) }
            world.run(until: world.now + moment)
            world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0)
            world.allowLoss("both were lost")
            lose(world, after: 0)
            world.start(0)
            world.start(1)
            world.run(for: 3_000)
            let owner = world.role(0) == .active ? 0 : 1
            for child in user.initiator.children { world.sendESP(inboundSPI: child.outboundSPI, from: owner) }
            world.run(for: 3_000)
            #expect(world.nodes[owner]!.table.count == 1, "lost \(moment) ns after the rekey began")
            #expect(!world.checks.hasFailed)
        }
    }

    @Test func lives_thatEndBeforeTheirFirstRecord_useNothingTwice() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        world.disks[0]?.latency = 50_000_000
        for _ in 0..<12 {
            lose(world, after: 0)
            world.start(0)
            while world.role(0) != .active { world.run(for: 1) }
            // What it goes to now is not on the disk yet.
            for _ in 0..<3 { #expect(world.sendESP(inboundSPI: spi, from: 0)) }
            world.askForLife(at: 0)
        }
        #expect(!world.checks.hasFailed)
    }

    @Test func session_thatEnded_doesNotComeBack() {
        let (world, user) = Self.connected()
        world.act(user) { $0.delete(context: $1) }
        world.settle(user)
        world.run(for: 100)
        lose(world)
        world.start(0)
        world.start(1)
        world.run(for: 3_000)
        #expect(world.nodes[0]!.table.count == 0 && world.disks[0]!.durable.sessions.isEmpty)
        #expect(world.disks[1]!.durable.sessions.isEmpty)
    }

    @Test func session_whoseTimeIsOver_doesNotComeBack() {
        let (world, _) = Self.connected()
        let id = world.disks[0]!.durable.sessions.keys.first!
        lose(world)
        for index in [0, 1] { world.disks[index]?.durable.sessions[id]?.ikeSA.lifetime.endsAt = world.time.wallMilliseconds - 1 }
        world.start(0)
        world.run(for: 2_000)
        #expect(world.nodes[0]!.table.count == 0 && world.status(0).counters["state_sessions_refused"] == 1)
        // Nor with a clock that cannot tell.
        world.kill(0)
        world.clocks[1].wallOffset = -3_600_000
        world.start(1)
        world.run(for: 3_000)
        #expect(world.nodes[1]!.table.count == 0 && world.status(1).counters["state_sessions_refused"] == 1)
        #expect(world.disks[1]!.durable.sessions.isEmpty)
    }

    @Test func session_whosePeerIsNotAdmittedAnyMore_doesNotComeBack() {
        let (world, _) = Self.connected()
        let id = world.disks[0]!.durable.sessions.keys.first!
        lose(world)
        world.disks[0]?.durable.sessions[id]?.authorization.connection = "gone"
        world.start(0)
        world.run(for: 2_000)
        #expect(world.nodes[0]!.table.count == 0)
        #expect(world.logs[0].contains { $0.text.contains("there is no connection 'gone'") })
    }

    @Test func detach_answersWhenBothDisksHaveForgotten() {
        let (world, _) = Self.connected()
        for index in [0, 1] { world.disks[index]?.latency = 15_000_000 }
        let token = world.request(0, .get(GetRequest(name: "road", detach: true)))
        var waited: UInt64 = 0
        while world.responses[token] == nil, waited < 1000 {
            #expect(world.nodes[0]!.table.count == 0)
            world.run(for: 1)
            waited += 1
        }
        #expect(waited >= 10 && waited < 200)
        guard case .context(let summary)? = world.responses[token]?.last else { return #expect(Bool(false)) }
        #expect(summary.success)
        #expect(world.disks.allSatisfy { $0!.durable.sessions.isEmpty && $0!.durable.departures.count == 1 })
        // After a restart an older state of it is still refused.
        lose(world)
        world.start(0)
        world.run(for: 2_000)
        let spent = world.disks[0]!.durable.departures[0].spent
        #expect(spent.keys.allSatisfy { world.nodes[0]!.departures.spent(localSPI: $0) != nil })
    }

    @Test func disk_thatIsFull_isToldAndTriedAgain() {
        let (world, user) = Self.connected()
        world.disks[0]?.isFull = true
        let second = World.EndUser(1, in: world)
        world.connect(second)
        world.run(for: 3_000)
        #expect(second.isEstablished && world.role(0) == .active)
        #expect(world.status(0).stateError == "no space left on device")
        #expect(world.status(0).counters["state_write_failures"] ?? 0 >= 2)
        #expect(world.disks[0]!.durable.sessions.count == 1)
        // A session cannot leave meanwhile: it would come back.
        let token = world.request(0, .get(GetRequest(name: "road", detach: true)))
        guard case .context(let refusal)? = world.responses[token]?.last else { return #expect(Bool(false)) }
        #expect(!refusal.success)
        world.disks[0]?.isFull = false
        world.run(for: 3_000)
        #expect(world.status(0).stateError == "" && world.disks[0]!.durable.sessions.count == 2)
        #expect(user.isEstablished)
    }

    /// It removes what is there, and goes on above what a former life may have used. When it ends too nobody knows but the owner.
    @Test func disk_thatIsFullAtTheStart_leavesWhatWasUsedToTheOwner() throws {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        world.disks[0]?.isFull = true
        world.kill(0)
        world.run(for: 300)
        world.start(0)
        world.run(for: 2_000)
        #expect(world.role(1) == .active && world.pairState(1) == "paired" && world.disks[0]!.durable.sessions.isEmpty)
        #expect(world.status(1).counters["merges"] == 0, "nobody was owner beside it")
        let used = StoredState.advanced(.initial, for: .zero)
        let lease = try #require(world.nodes[1]?.table.session(inboundSPI: spi)?.child(inboundSPI: spi)?.lease)
        #expect(lease.slice > used.slice && world.nodes[0]?.table.session(inboundSPI: spi)?.child(inboundSPI: spi)?.lease == lease)
        #expect(world.disks[1]!.durable.slices[spi] == lease.slice)
        #expect(world.status(1).counters["state_discards"] == 0, "no further than its own disk reckons with")
        world.settle(user)
        #expect(world.sendESP(inboundSPI: spi, from: 1))
    }

    /// Its own disk cannot be written either: nobody waits for that.
    @Test func disk_thatIsFullAtTheStart_whenTheOwnersFailsToo_isFilledAllTheSame() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        world.disks[0]?.isFull = true
        world.kill(0)
        world.run(for: 300)
        world.disks[1]?.isFull = true
        world.start(0)
        world.run(for: 4_000)
        #expect(world.role(1) == .active && world.pairState(1) == "paired")
        #expect(world.disks.allSatisfy { $0!.durable.sessions.isEmpty }, "what is there would be gone on with at numbers that are used")
        #expect(world.sendESP(inboundSPI: spi, from: 1))
    }

    @Test func disk_thatFallsBehindTheLeases_isDiscarded() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        world.disks[0]?.isFull = true
        for _ in 0..<40 {
            world.report(spi, next: world.planes[0].sas[spi]!.limit - 10, index: 0)
            world.run(for: 20)
        }
        world.run(for: 3_000)
        #expect(world.status(0).counters["state_discards"] == 1)
        #expect(world.disks[0]!.durable.sessions.isEmpty, "what is there would be gone on with at numbers that are used")
        world.disks[0]?.isFull = false
        world.run(for: 3_000)
        #expect(world.disks[0]!.durable.sessions.count == 1)
        lose(world)
        world.start(0)
        world.run(for: 2_000)
        #expect(world.sendESP(inboundSPI: spi, from: 0))
    }

    @Test func node_thatComesBackToAnActivePeer_isFilledByIt() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        world.kill(0)
        world.run(for: 500)
        let second = World.EndUser(1, in: world)
        world.connect(second)
        world.start(0)
        world.run(for: 3_000)
        #expect(world.role(0) == .standby && world.role(1) == .active && world.pairState(1) == "paired")
        #expect(world.nodes[0]!.table.sessions == world.nodes[1]!.table.sessions && world.nodes[0]!.table.count == 2)
        world.run(for: 500)
        // But for the leases: each disk remembers what its own node may have used.
        func sessions(_ index: Int) -> [SessionID: Session] {
            world.disks[index]!.durable.sessions.mapValues { session in
                var session = session
                for child in session.children.indices { session.children[child].lease = .initial }
                return session
            }
        }
        #expect(sessions(0) == sessions(1))
        // The epoch goes past what the restarted node may have used, and everything can be handed over.
        #expect(world.nodes[1]!.roles.epoch > StoredState.epochReserve)
        let token = world.request(1, .switchover(force: false))
        world.run(for: 1_000)
        guard case .switchover(let summary)? = world.responses[token]?.last else { return #expect(Bool(false)) }
        #expect(summary.outcome == .done && world.role(0) == .active)
        #expect(world.sendESP(inboundSPI: spi, from: 0))
    }

    @Test func manySessions_comeBackInPages() {
        let (world, user) = Self.connected()
        for number in 1..<400 {
            let other = World.EndUser(number, in: world)
            world.connect(other)
            world.users = [user]
        }
        world.run(for: 500)
        #expect(world.disks[0]!.durable.sessions.count == 400)
        lose(world)
        world.start(0)
        #expect(world.nodes[0]!.table.count == StateWork.restorePage, "a page at a time")
        world.run(for: 2_000)
        #expect(world.nodes[0]!.table.count == 400 && world.role(0) == .active)
        #expect(world.planes[0].sas.count == 400)
    }
}

/// Disks that fail at the wrong moment, and starts that are slow.
extension RestartTests {
    private static func sessions(_ count: Int) -> World {
        let (world, user) = connected()
        for number in 1..<count {
            let other = World.EndUser(number, in: world)
            world.connect(other)
            world.users = [user]
        }
        world.run(for: 500)
        return world
    }

    @Test func start_thatReadsManySessions_decidesWhenAllAreThere() {
        let world = Self.sessions(300)
        lose(world)
        world.start(0)
        // The next page comes after the time that a node listens when it starts.
        world.nodes[0]?.state.nextRestore = world.time.instant + .milliseconds(1_500)
        world.start(1)
        world.run(for: 1_400)
        #expect(world.role(0) == .starting && world.role(1) == .starting)
        #expect(world.nodes[0]!.table.count == StateWork.restorePage, "the rest does not come in one go")
        world.run(for: 2_000)
        #expect(world.role(0) == .active && world.nodes[0]!.table.count == 300 && world.pairState(0) == "paired")
    }

    @Test func standby_thatIsNotFilledYet_keepsWhatIsOnItsDisk() {
        let world = Self.sessions(300)
        lose(world)
        world.allowLoss("both were lost")
        world.start(0)
        world.run(for: 3_000)
        #expect(world.role(0) == .active)
        world.cutLink()
        world.start(1)
        world.nodes[1]?.state.nextRestore = world.time.instant + .milliseconds(500)
        world.run(for: 400)
        #expect(world.role(1) == .standby && world.disks[1]!.durable.sessions.count == 300)
        world.kill(0)
        world.run(for: 1_000)
        #expect(world.role(1) == .active && world.nodes[1]!.table.count == 300)
        #expect(world.disks[1]!.durable.sessions.count == 300)
    }

    @Test func owner_usesNoSliceWithWhichItsLifeBegan() throws {
        let (world, _) = Self.connected()
        let node = try #require(world.nodes[0])
        let session = try #require(node.table.sessions.values.first)
        var child = session.children[0]
        var plan = node.plan
        plan.spentSlices = [child.inboundSPI: 34]
        let isExtended = child.algorithms.extendedSequenceNumbers
        child.lease = Lease(slice: 34)
        #expect(plan.numbers(of: child, in: session).next > child.lease.numbers(extended: isExtended).limit)
        #expect(plan.numbers(of: child, in: session) == plan.lease(.next, after: child).numbers(extended: isExtended))
        child.lease = Lease(slice: 36)
        #expect(plan.numbers(of: child, in: session) == child.lease.numbers(extended: isExtended))
    }

    @Test func slices_ofAFormerLife_outliveThatAStandbyIsEmptiedToBeFilled() {
        var work = StateWork()
        work.spentSlices = [7: 34]
        work.forgetChild(7, mayComeBack: true)
        #expect(work.spentSlices == [7: 34])
        work.forgetChildren(except: SessionTable())
        #expect(work.spentSlices.isEmpty)
    }

    @Test func removal_thatFails_isFollowedByAllThatThereIs() {
        let (world, _) = Self.connected()
        world.connect(World.EndUser(1, in: world))
        world.run(for: 100)
        world.disks[0]?.isBroken = true
        world.nodes[0]?.state.discard()
        world.run(for: 1_500)
        #expect(world.status(0).counters["state_write_failures"] ?? 0 >= 1)
        world.disks[0]?.isBroken = false
        world.run(for: 2_000)
        #expect(world.disks[0]!.durable.sessions.count == 2 && world.status(0).stateError == "")
    }

    @Test func removal_keepsWhatLeft_outOfTheNextFile() {
        let (world, _) = Self.connected()
        let token = world.request(0, .get(GetRequest(name: "road", detach: true)))
        world.run(for: 200)
        guard case .context? = world.responses[token]?.last else { return #expect(Bool(false)) }
        let departures = world.disks[0]!.durable.departures
        #expect(departures.count == 1)
        world.nodes[0]?.state.discard()
        world.run(for: 500)
        #expect(world.disks[0]!.durable.departures == departures)
    }

    @Test func end_whileWritingAndWhileRemoving_leavesNothingOpen() {
        let (world, _) = Self.connected()
        world.disks[0]?.latency = 2_000_000_000
        _ = world.request(0, .get(GetRequest(name: "road", detach: true)))
        world.run(for: 50)
        var node = world.nodes[0]!
        var left = world.disks[0]!.durable
        for case .write(let batch) in node.lastStateOrders(now: world.time) { left.apply(batch) }
        #expect(left.sessions.isEmpty && left.departures.count == 1, "what was on its way is written again")
        var other = world.nodes[0]!
        other.state.discard()
        #expect(other.lastStateOrders(now: world.time) == [.discard])
    }

    @Test func disk_thatHangs_isTold_andKeepsNobodyWaiting() {
        let (world, _) = Self.connected()
        world.connect(World.EndUser(1, in: world))
        world.run(for: 100)
        // The standby's: the active's answer waits for it, until a commit takes too long.
        world.disks[1]?.latency = 20_000_000_000
        let names = world.nodes[0]!.table.sessions.values.map { "\($0.uniqueID)" }
        let tokens = names.map { world.request(0, .get(GetRequest(name: $0, detach: true))) }
        world.run(for: 6_000)
        #expect(tokens.allSatisfy { world.responses[$0] != nil })
        #expect(world.status(1).stateError == "the disk does not answer")
        world.disks[1]?.latency = 4_000_000
        world.run(for: 20_000)
        #expect(world.status(1).stateError == "" && world.disks[1]!.durable.sessions.isEmpty)
    }

    @Test func owner_whoseDiskHangs_letsNoSessionLeave() {
        let (world, _) = Self.connected()
        world.disks[0]?.latency = 20_000_000_000
        world.connect(World.EndUser(1, in: world))
        world.run(for: 6_000)
        #expect(world.status(0).stateError == "the disk does not answer")
        let name = "\(world.nodes[0]!.table.sessions.values.first!.uniqueID)"
        let token = world.request(0, .get(GetRequest(name: name, detach: true)))
        guard case .context(let refusal)? = world.responses[token]?.last else { return #expect(Bool(false)) }
        #expect(!refusal.success)
    }

    /// The first is not forgotten because a second came.
    @Test func detach_ofTwo_answersWhenBothAreForgotten() {
        let (world, _) = Self.connected()
        world.connect(World.EndUser(1, in: world))
        world.run(for: 100)
        world.disks[1]?.latency = 6_000_000
        let names = world.nodes[0]!.table.sessions.values.map { "\($0.uniqueID)" }
        let first = world.request(0, .get(GetRequest(name: names[0], detach: true)))
        world.run(for: 3)
        let second = world.request(0, .get(GetRequest(name: names[1], detach: true)))
        var waited = 0
        while world.responses[first] == nil || world.responses[second] == nil, waited < 1_000 {
            world.run(for: 1)
            waited += 1
        }
        #expect(waited < 1_000 && world.disks.allSatisfy { $0!.durable.sessions.isEmpty })
    }
}
