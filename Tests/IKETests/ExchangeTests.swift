import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// CREATE_CHILD_SA and INFORMATIONAL (RFC 7296 §1.3, §1.4).
@Suite struct ExchangeTests {
    /// An established world whose gateway has a second child for another network.
    private func established(_ configuration: IKEConfiguration = .standard(), seed: UInt64 = 1) -> World {
        var world = World(gateway: configuration, seed: seed)
        world.establish()
        return world
    }

    @Test(arguments: [nil, KeyExchangeGroup.ecp256])
    func child_whenRekeyed_hasNewKeysAndTheOldOneGoes(group: KeyExchangeGroup?) throws {
        var world = established()
        let old = try #require(world.session?.children.first)
        let client = world.client.children[0].inboundSPI
        world.client { $0.rekeyChild(inboundSPI: client, group: group, context: $1) }
        world.settle()
        world.expectAgreement(children: 1)
        let new = try #require(world.session?.children.first)
        #expect(new.inboundSPI != old.inboundSPI && new.inboundKeys != old.inboundKeys && !new.isRekeyed)
        #expect(new.algorithms.keyExchangeGroup == group && new.name == "net")
        #expect(new.uniqueID > old.uniqueID)
        // First replaced, later deleted: in between the old one receives.
        let rekeyed = world.gateway.deltas.firstIndex { $0.changes.contains(.childRekeyed(inboundSPI: old.inboundSPI)) }
        let removed = world.gateway.deltas.firstIndex { $0.changes.contains(.childRemoved(inboundSPI: old.inboundSPI)) }
        #expect(try #require(rekeyed) < (try #require(removed)))
    }

    @Test func pfsGroup_whenNotConfigured_isRefused() {
        var world = established(.standard(child: [.gcm]))
        let before = world.session?.children
        world.client { client, context in
            client.rekeyChild(inboundSPI: client.children[0].inboundSPI, group: .modp2048, context: context)
        }
        world.settle()
        #expect(world.client.lastResult == .refused(notify: 14))
        #expect(world.session?.children == before)
    }

    @Test func secondChild_whenAsked_standsBesideTheFirst() {
        var world = established()
        world.client { $0.addChild(group: .curve25519, context: $1) }
        world.settle()
        world.expectAgreement(children: 2)
        #expect(world.gateway.table.childCount == 2)
    }

    /// To the data plane a second SA with the same SPI and address would be the first.
    @Test func secondChild_withAnSPIInUse_isRefused() throws {
        var world = established()
        let child = world.client.childPayloads(spi: try #require(world.client.children.first).inboundSPI, groups: nil)
        let request = try world.sealed([child[0], .nonce([UInt8](repeating: 1, count: 32))] + child[1...], exchange: .createChildSA)
        #expect(try world.opened(try #require(world.deliver(request).first)) == [.notify(.noProposalChosen)])
        #expect(world.session?.children.count == 1)
    }

    @Test func children_whenTooMany_areRefusedButRekeysAreNot() {
        var limits = IKELimits()
        limits.childrenPerSessionMax = 2
        var world = established(.standard(limits: limits))
        for _ in 0..<2 {
            world.client { $0.addChild(context: $1) }
            world.settle()
        }
        #expect(world.client.lastResult == .refused(notify: 35))
        world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        world.settle()
        #expect(world.client.lastResult == .succeeded)
        world.expectAgreement(children: 2)
    }

    @Test func childToRekey_whenUnknown_isNotFound() throws {
        var world = established()
        let spi = try #require(world.client.children.first?.inboundSPI)
        // The gateway deletes it while the client's request is on its way.
        let inbound = try #require(world.session?.children.first?.inboundSPI)
        let session = try #require(world.session)
        #expect(throws: Never.self) {
            try world.gateway.table.apply(SessionDelta(session: session.id, changes: [.childRemoved(inboundSPI: inbound)]))
        }
        world.client { $0.rekeyChild(inboundSPI: spi, context: $1) }
        world.settle()
        #expect(world.client.lastResult == .refused(notify: 44))
    }

    @Test func ikeSA_whenRekeyed_takesTheChildrenAlong() throws {
        var world = established()
        let before = try #require(world.session)
        world.client { $0.rekeyIKE(group: .curve25519, context: $1) }
        world.settle()
        world.expectAgreement(children: 1)
        let after = try #require(world.session)
        #expect(after.id == before.id && after.otherIKESAs.isEmpty && after.children == before.children)
        #expect(after.ikeSA.spis != before.ikeSA.spis && after.ikeSA.keys != before.ikeSA.keys)
        #expect(world.gateway.table.session(localSPI: before.ikeSA.localSPI) == nil)
        // A second rekey, and a CHILD SA rekey under the new SK_d.
        world.client { $0.rekeyIKE(context: $1) }
        world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        world.settle()
        world.expectAgreement(children: 1)
        #expect(world.gateway.engine.counters.ikeSAsRekeyed == 2)
    }

    @Test func ikeRekey_whenGroupIsWrong_getsInvalidKEPayload() {
        let own = IKEProposal(ciphers: [.gcm128], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
        let both = IKEProposal(ciphers: [.gcm128], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519, .ecp256])
        var world = World(gateway: .standard(proposals: [own]), client: .standard(proposals: [both]))
        world.establish()
        world.client { $0.rekeyIKE(group: .ecp256, context: $1) }
        world.settle()
        #expect(world.client.lastResult == .refused(notify: 17))
        world.expectAgreement(children: 1)
    }

    @Test func child_whenDeletedByThePeer_isAnsweredWithOurSPI() throws {
        var world = established()
        let inbound = try #require(world.session?.children.first?.inboundSPI)
        world.client { client, context in client.deleteChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        world.settle()
        world.expectAgreement(children: 0)
        #expect(world.gateway.events.contains(.childDeleted(session: world.session!.id, inboundSPI: inbound)))
    }

    @Test func child_whenTerminatedByUs_goesOnBothSides() throws {
        var world = established()
        let session = try #require(world.session)
        world.gateway { $0.terminate(child: session.children[0].inboundSPI, in: session.id, table: $1, context: $2) }
        world.settle()
        world.expectAgreement(children: 0)
    }

    @Test func deletes_whenTheyCross_endWithNothingTwice() throws {
        var world = established()
        let session = try #require(world.session)
        world.gateway { $0.terminate(child: session.children[0].inboundSPI, in: session.id, table: $1, context: $2) }
        world.client { client, context in client.deleteChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        world.settle()
        world.expectAgreement(children: 0)
        #expect(world.gateway.table.withPendingRequest.isEmpty && world.client.isQuiet)
    }

    @Test func session_whenTerminatedWhileAPeerIsAsked_isDeletedAfterTheAnswer() throws {
        var world = established()
        let id = try #require(world.session?.id)
        world.gateway { $0.checkLiveness(session: id, table: $1, context: $2) }
        world.gateway { $0.terminate(session: id, table: $1, context: $2) }
        #expect(world.gateway.engine.counters.requestsSent == 1)
        world.settle()
        world.pass(.seconds(1))
        #expect(world.gateway.table.count == 0 && world.client.phase == .closed)
    }

    @Test func session_whenForcedToEnd_isGoneAtOnce() throws {
        var world = established()
        let id = try #require(world.session?.id)
        world.gateway { $0.terminate(session: id, force: true, table: $1, context: $2) }
        #expect(world.gateway.table.count == 0)
        world.pass(.seconds(1))
        #expect(world.client.phase == .closed)
    }

    @Test func request_whenRepeated_getsTheSameBytesAndChangesNothing() throws {
        var world = established()
        world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, group: .ecp256, context: context) }
        let request = world.toGateway(try #require(world.fromClient.last))
        let first = world.deliver(request)
        let table = world.gateway.table.sessions
        #expect(first.count == 1 && world.session?.children.count == 2)
        for _ in 0..<3 { #expect(world.deliver(request) == first) }
        #expect(world.gateway.table.sessions == table)
        #expect(world.gateway.engine.counters.responsesRepeated == 3)
        world.settle()
        // Older than the window now: no answer.
        #expect(world.deliver(request).isEmpty)
        #expect(world.gateway.engine.counters.dropped(.oldRequest) >= 1)
        world.expectAgreement(children: 1)
    }

    @Test func liveness_whenPeerIsSilent_asksAndGivesUp() throws {
        var world = established(.standard(livenessDelay: .seconds(10)))
        world.pass(.seconds(25))
        #expect(world.client.counters.requestsAnswered == 2, "asked after 10 s of silence, and again")
        world.link.lossPercent = 100
        world.pass(.seconds(99))
        #expect(world.gateway.table.count == 1)
        world.pass(.seconds(80))
        #expect(world.gateway.table.count == 0)
        #expect(world.gateway.engine.counters.peersDead == 1)
        #expect(world.gateway.engine.counters.requestsRetransmitted == 5)
    }

    @Test func liveness_whenThePeerIsHeardAndItsAnswersAreNot_isAskedAnew() throws {
        var world = established(.standard(livenessDelay: .seconds(10)))
        let id = try #require(world.session?.id)
        world.link.lossPercent = 100
        // Asked at 10 s, for the last time at 99 s.
        world.pass(.seconds(150))
        world.gateway.engine.noteInboundTraffic(session: id, at: world.now)
        world.pass(.seconds(30))
        #expect(world.gateway.table.count == 1 && world.gateway.engine.counters.requestsRetransmitted == 7)
        world.link.lossPercent = 0
        world.pass(.seconds(20))
        #expect(world.gateway.table.count == 1 && world.session?.hasPendingRequest == false)
        // Who is not heard any more is given up as ever.
        world.link.lossPercent = 100
        world.pass(.seconds(200))
        #expect(world.gateway.table.count == 0 && world.gateway.engine.counters.peersDead == 1)
    }

    /// The peer has done with the IKE SA in which we asked: the one that replaced it tells whether it lives.
    @Test func liveness_whenTheIKESAWasReplacedMeanwhile_doesNotEndTheSession() throws {
        var world = established()
        let session = try #require(world.session)
        world.link.lossPercent = 100
        world.gateway { $0.checkLiveness(session: session.id, table: $1, context: $2) }
        world.client { $0.rekeyIKE(context: $1) }
        world.deliver(world.toGateway(try #require(world.fromClient.last)))
        #expect(world.session?.otherIKESAs.first?.pendingRequests.count == 1)
        world.pass(.seconds(164))
        #expect(world.session?.otherIKESAs.first?.pendingRequests.count == 1)
        world.pass(.seconds(2))
        let after = try #require(world.session)
        #expect(after.otherIKESAs.isEmpty && world.gateway.engine.counters.peersDead == 0)
        // Each IKE SA has a window of its own: the new one is free all the while.
        world.gateway { $0.terminate(session: session.id, table: $1, context: $2) }
        #expect(world.session?.ikeSA.pendingRequests.first?.purpose == .deleteIKESA)
    }

    @Test func retransmission_neverWaitsLongerThanAnHour() {
        var limits = IKELimits()
        #expect(limits.wait(repeats: 0) == .seconds(4) && limits.wait(repeats: 1) > .seconds(7))
        limits.retransmitBase = 10
        limits.retransmitTimeout = .seconds(60)
        #expect(limits.wait(repeats: 20) == .seconds(3600))
    }

    @Test func liveness_whenTrafficFlows_isNotAsked() throws {
        var world = established(.standard(livenessDelay: .seconds(10)))
        let id = try #require(world.session?.id)
        for _ in 0..<10 {
            world.pass(.seconds(5))
            world.gateway.engine.noteInboundTraffic(session: id, at: world.now)
        }
        #expect(world.client.counters.requestsAnswered == 0)
    }

    @Test func exchanges_whenNetworkIsLossyAndDuplicating_allSucceed() {
        for seed in 1...10 {
            var world = established(seed: UInt64(seed))
            world.link = Link(lossPercent: 25, duplicatePercent: 25, delayMilliseconds: 1...300)
            world.client { $0.addChild(context: $1) }
            world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, context: context) }
            world.client { $0.rekeyIKE(context: $1) }
            world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, context: context) }
            world.client { $0.liveness(context: $1) }
            world.settle(limit: .seconds(3000))
            #expect(world.client.isQuiet && world.client.phase == .established, "seed \(seed)")
            world.expectAgreement(children: 2)
            world.client { $0.delete(context: $1) }
            world.settle(limit: .seconds(3000))
            #expect(world.gateway.table.count == 0 && world.client.phase == .closed, "seed \(seed)")
        }
    }
}
