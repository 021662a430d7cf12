import Control
import Cryptography
import IKE
import Node
import Pair
import Session
import Testing

@testable import Simulator

@Suite struct TakeoverTests {
    /// A pair with one connected client, in step.
    static func connected(_ options: World.Options = World.Options()) -> (World, World.EndUser) {
        let world = World(options)
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 50)
        return (world, user)
    }

    @Test func establishment_whenPaired_leavesTheStandbyArmedAndSilent() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        #expect(world.status(1).sessionsHeld == 1)
        #expect(world.planes[1].gate == .closed)
        #expect(world.planes[1].sas[spi]?.next == Lease.size + 1)
        #expect(world.planes[0].sas[spi]?.next == 1)
        #expect(world.sendESP(inboundSPI: spi, from: 0))
        #expect(!world.sendESP(inboundSPI: spi, from: 1))
    }

    @Test func kill_ofTheActive_carriesOnInsideTheSameSAs() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        let spis = user.initiator.ikeSA?.spis
        for _ in 0..<10 { world.sendESP(inboundSPI: spi, from: 0) }
        world.kill(0)
        world.run(for: 60)
        #expect(world.role(1) == .active)
        #expect(world.status(1).lastTakeover?.cause == "link_closed")
        #expect(world.sendESP(inboundSPI: spi, from: 1))
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded)
        #expect(user.initiator.ikeSA?.spis == spis)
    }

    @Test func cut_ofEveryWire_takesOverWithinTheDeadTime() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        world.sendESP(inboundSPI: spi, from: 0)
        let cutAt = world.now
        world.cut()
        while world.role(1) != .active, world.now < cutAt + 1_000_000_000 { world.run(for: 1) }
        #expect(world.now - cutAt <= 152_000_000)
        #expect(world.sendESP(inboundSPI: spi, from: 1))
        world.heal()
        world.run(for: 500)
        #expect(world.role(0) == .standby)
        #expect(world.role(1) == .active)
        #expect(world.planes[0].gate == .closed)
        #expect(world.pairState(1) == "paired")
        #expect(world.sendESP(inboundSPI: spi, from: 1))
    }

    @Test func return_ofTheDead_pairsAgainAndCanTakeOverAgain() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        for round in 0..<20 {
            let (dead, alive) = round % 2 == 0 ? (0, 1) : (1, 0)
            world.sendESP(inboundSPI: spi, from: dead)
            world.kill(dead)
            world.run(for: 200)
            #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: alive))
            world.start(dead)
            world.run(for: 1000)
            #expect(world.role(dead) == .standby)
            #expect(world.pairState(alive) == "paired")
        }
        #expect(user.inboundSPIAtGateway == spi)
    }

    @Test func switchover_whenPaired_movesEverythingAtOnce() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        world.sendESP(inboundSPI: spi, from: 0)
        let token = world.request(0, .switchover(force: false))
        world.run(for: 5)
        guard case .switchover(let summary)? = world.responses[token]?.last else {
            Issue.record("no answer")
            return
        }
        #expect(summary.outcome == .done)
        #expect(summary.totalMicroseconds < 1000)
        #expect(world.role(0) == .standby)
        #expect(world.role(1) == .active)
        #expect(world.pairState(1) == "paired")
        #expect(world.holdsAddress == [false, true])
        #expect(world.sendESP(inboundSPI: spi, from: 1))
        #expect(!world.sendESP(inboundSPI: spi, from: 0))
    }

    @Test func switchover_thereAndBackThenKill_neverReusesANumber() {
        let (world, user) = Self.connected()
        let spi = user.inboundSPIAtGateway
        for round in 0..<20 {
            let active = round % 2
            for _ in 0..<5 { world.sendESP(inboundSPI: spi, from: active) }
            _ = world.request(active, .switchover(force: false))
            world.run(for: round % 3 == 0 ? 2 : 50)
            if round % 5 == 4 {
                // The new active dies before its leases may all have been told.
                world.sendESP(inboundSPI: spi, from: 1 - active)
                world.kill(1 - active)
                world.run(for: 200)
                #expect(world.sendESP(inboundSPI: spi, from: active))
                world.start(1 - active)
                world.run(for: 1000)
                _ = world.request(active, .switchover(force: false))
                world.run(for: 50)
            }
            #expect(world.sendESP(inboundSPI: spi, from: 1 - active))
        }
    }

    @Test func switchover_withoutAStandby_isRefusedAndNothingChanges() {
        let (world, user) = Self.connected()
        world.kill(1)
        world.run(for: 300)
        let token = world.request(0, .switchover(force: true))
        guard case .switchover(let summary)? = world.responses[token]?.last else {
            Issue.record("no answer")
            return
        }
        #expect(summary.outcome == .refused)
        #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0))
    }

    @Test func handover_toAStandbyThatDies_carriesOnAsActive() {
        let (world, user) = Self.connected()
        let token = world.request(0, .switchover(force: false))
        world.kill(1)
        world.run(for: 700)
        guard case .switchover(let summary)? = world.responses[token]?.last else {
            Issue.record("no answer")
            return
        }
        #expect(summary.outcome == .refused)
        #expect(world.role(0) == .active)
        #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0))
    }

    /// The standby answers a request again exactly as the dead active did: the client's window goes on.
    @Test func rekeys_afterEachTakeover_work() {
        let (world, user) = Self.connected()
        for round in 0..<6 {
            let (dead, alive) = round % 2 == 0 ? (0, 1) : (1, 0)
            world.kill(dead)
            world.run(for: 200)
            world.act(user) { $0.rekeyIKE(context: $1) }
            world.settle(user)
            #expect(user.initiator.lastResult == .succeeded)
            let spi = user.initiator.children.first { !$0.isRekeyed }!.inboundSPI
            world.act(user) { $0.rekeyChild(inboundSPI: spi, group: round % 2 == 0 ? nil : .curve25519, context: $1) }
            world.settle(user)
            #expect(user.initiator.lastResult == .succeeded)
            #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: alive))
            world.start(dead)
            world.run(for: 1000)
            #expect(world.status(dead).childrenHeld == 1)
        }
    }

    /// Law 2: at whatever moment the active dies, the client ends with a working tunnel and no new authentication.
    @Test func kill_atEveryMomentOfARekey_losesNothing() {
        for step in 0..<40 {
            let (world, user) = Self.connected()
            let spi = user.initiator.children[0].inboundSPI
            world.act(user) { $0.rekeyChild(inboundSPI: spi, context: $1) }
            let end = world.now + UInt64(step) * 100_000
            world.run(until: end)
            world.kill(0)
            world.run(for: 100)
            world.settle(user)
            #expect(user.initiator.phase == .established)
            #expect(user.initiator.lastResult == .succeeded)
            #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 1), "killed after \(step * 100) µs")
        }
    }
}

@Suite struct ForeignKeyTests {
    /// Its heartbeats cannot be verified: it must not take the address from the one that serves the clients.
    @Test func restart_withAnotherPairsKey_neverBecomesASecondOwner() {
        let (world, user) = TakeoverTests.connected()
        world.kill(1)
        world.run(for: 200)
        world.cutLink()
        world.start(1, secret: 9)
        world.run(for: 5000)
        #expect(world.role(1) == .starting)
        #expect(world.holdsAddress == [true, false])
        #expect(world.logs[1].contains { $0.level == .error && $0.message.contains("cannot be verified") })
        #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0))
    }
}

@Suite struct OutputCommitTests {
    @Test func reply_whenTheStandbyIsSilent_waitsForTheCommitTimeoutAndThePairIsSolo() {
        let (world, user) = TakeoverTests.connected()
        let before = world.sentByNodes
        world.cut()
        world.act(user) { $0.liveness(context: $1) }
        world.run(for: 15)
        #expect(world.sentByNodes == before)
        #expect(world.pairState(0) == "paired")
        world.run(for: 10)
        #expect(world.sentByNodes == before + 1)
        #expect(world.status(0).pairReason == "commit_timeout")
    }

    @Test func reply_neverLeaves_beforeTheStandbyHasTheDelta() {
        let (world, user) = TakeoverTests.connected()
        world.wires.latency = 3_000_000
        let before = world.sentByNodes
        world.act(user) { $0.liveness(context: $1) }
        // The request takes 3 ms, the entry and its acknowledgement 3 ms each.
        world.run(for: 8)
        #expect(world.sentByNodes == before)
        world.run(for: 2)
        #expect(world.sentByNodes == before + 1)
    }

    @Test func linkLoss_releasesWhatWaits() {
        let (world, user) = TakeoverTests.connected()
        let before = world.sentByNodes
        world.cutLink()
        world.closeLink(reason: "test")
        world.act(user) { $0.liveness(context: $1) }
        world.run(for: 5)
        #expect(world.sentByNodes == before + 1)
        #expect(world.status(0).pairReason == "link_closed")
        #expect(world.role(1) == .standby)
    }
}

@Suite struct LeaseTests {
    @Test func counters_nearTheEndOfALease_moveToTheNextSliceOfTheNode() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        world.planes[0].sas[spi]?.next = Lease.size - 100
        world.report(spi, next: Lease.size - 100)
        world.run(for: 10)
        #expect(world.planes[0].sas[spi]?.next == 2 * Lease.size + 1)
        #expect(world.planes[1].sas[spi]?.next == 3 * Lease.size + 1)
        world.sendESP(inboundSPI: spi, from: 0)
        world.kill(0)
        world.run(for: 100)
        #expect(world.sendESP(inboundSPI: spi, from: 1))
    }

    @Test func counters_ofInboundPackets_reachTheStandbysWindow() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        world.report(spi, next: 5, top: 4711)
        world.run(for: 5)
        #expect(world.planes[1].sas[spi]?.top == 4711)
    }

    /// Cut off from each other, both send: never with the same number.
    @Test func splitBrain_bothSending_neverShareANumber() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        world.cut()
        world.run(for: 200)
        var numbers: Set<UInt64> = []
        for round in 0..<6 {
            for index in 0...1 {
                for _ in 0..<3 {
                    guard let number = world.planes[index].take(spi) else { continue }
                    #expect(numbers.insert(number).inserted)
                }
                let limit = world.planes[index].sas[spi]!.limit
                world.planes[index].sas[spi]?.next = limit - UInt64(round)
                world.report(spi, next: limit - UInt64(round), index: index)
                // A commit that nobody acknowledges takes 20 ms.
                world.run(for: 30)
            }
        }
        #expect(numbers.count >= 30)
    }

    /// The loser of a split brain had gone on to further slices that nobody heard of; then it forgets even that.
    @Test func splitBrain_healedAndTheLoserRestarted_neverReusesItsNumbers() {
        let (world, user) = TakeoverTests.connected()
        let spi = user.inboundSPIAtGateway
        world.cut()
        world.run(for: 200)
        var numbers: Set<UInt64> = []
        for _ in 0..<3 {
            for index in 0...1 {
                for _ in 0..<3 { if let number = world.planes[index].take(spi) { numbers.insert(number) } }
            }
            let limit = world.planes[0].sas[spi]!.limit
            world.planes[0].sas[spi]?.next = limit
            world.report(spi, next: limit)
            world.run(for: 30)
        }
        world.heal()
        world.run(for: 500)
        #expect(world.role(0) == .standby)
        world.kill(0)
        world.run(for: 100)
        world.start(0)
        world.run(for: 1000)
        #expect(world.pairState(1) == "paired")
        world.kill(1)
        world.run(for: 200)
        let number = world.planes[0].take(spi)
        #expect(number != nil)
        #expect(number.map { numbers.contains($0) } == false)
        #expect((number ?? 0) > numbers.max() ?? 0)
    }
}

@Suite struct ControlTests {
    @Test func listings_onTheActive_showTheSessionWithoutAnySecret() {
        let (world, _) = TakeoverTests.connected()
        let token = world.request(0, .findSessions(SessionFilter()))
        guard case .sessionIDs(let ids)? = world.responses[token]?.last else {
            Issue.record("no list")
            return
        }
        #expect(ids.count == 1)
        let described = world.request(0, .describe(ids))
        guard case .sas(let sas)? = world.responses[described]?.last, let sa = sas.first else {
            Issue.record("no description")
            return
        }
        #expect(sa.name == "road")
        #expect(sa.state == "ESTABLISHED")
        #expect(sa.remoteID == "client0.example.net")
        #expect(sa.children.count == 1)
        #expect(sa.remoteVirtualAddresses.count == 1)
        #expect(sa.children[0].remoteSelectors == ["\(sa.remoteVirtualAddresses[0])/32"])
    }

    @Test func terminate_ofASession_deletesItOnBothNodes() {
        let (world, user) = TakeoverTests.connected()
        let token = world.request(0, .terminate(TerminateRequest(connection: "road")))
        world.run(for: 2)
        world.settle(user)
        world.run(for: 5)
        #expect(user.initiator.phase == .closed)
        guard case .done(let done)? = world.responses[token]?.last else {
            Issue.record("no answer")
            return
        }
        #expect(done.success)
        #expect(done.terminated == 1)
        #expect(world.status(0).sessionsOwned == 0)
        #expect(world.status(1).sessionsHeld == 0)
        #expect(world.planes[1].sas.isEmpty)
    }

    @Test func terminate_onTheStandby_isRefused() {
        let (world, _) = TakeoverTests.connected()
        let token = world.request(1, .terminate(TerminateRequest(connection: "road")))
        guard case .done(let done)? = world.responses[token]?.last else {
            Issue.record("no answer")
            return
        }
        #expect(!done.success)
        #expect(done.error.contains("standby"))
    }

    @Test func garbage_onEveryInput_changesNothing() {
        let (world, user) = TakeoverTests.connected()
        for count in stride(from: 0, to: 400, by: 3) {
            let bytes = world.random.bytes(count)
            for index in 0...1 {
                world.feed(index, .heartbeat(path: count % 4, bytes: bytes))
                world.feed(index, .datagram(Datagram(local: Endpoint(World.vip, 500), remote: World.client, bytes: bytes)))
            }
        }
        world.feed(0, .frame(.acknowledge(index: 12345)))
        world.run(for: 1000)
        #expect(world.pairState(0) == "paired")
        #expect((world.status(0).counters["heartbeat_bad_length"] ?? 0) > 100)
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded)
    }
}
