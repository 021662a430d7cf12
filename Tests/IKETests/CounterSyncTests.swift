import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

extension Sites {
    /// Two gateways with one session: the caller is the peer, the site the cluster, as RFC 6311 draws it.
    static func synchronizing(
        window: UInt32 = 1, change: (inout IKEConfiguration, inout IKEConfiguration) -> Void = { _, _ in }
    ) throws -> Sites {
        var (caller, site) = (IKEConfiguration.caller(), IKEConfiguration.site())
        caller.limits.requestWindow = window
        site.limits.requestWindow = window
        change(&caller, &site)
        var sites = Sites(caller: caller, site: site)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        return sites
    }

    /// The site's other node goes on with this table, and may have missed something.
    mutating func failOverSite(_ table: SessionTable? = nil, needs: SyncNeeds = SyncNeeds(messageIDs: true)) {
        var next = Gateway(site.engine.configuration, node: site.engine.node.peer, epoch: site.epoch + 1)
        next.table = table ?? site.table
        site = next
        for outcome in site.engine.becameOwner(table: site.table, context: context(site), needs: needs) {
            send(site.take(outcome), fromCaller: false)
        }
    }

    mutating func failOverCaller(_ table: SessionTable? = nil, needs: SyncNeeds = SyncNeeds(messageIDs: true)) {
        var next = Gateway(caller.engine.configuration, node: caller.engine.node.peer, epoch: caller.epoch + 1)
        next.table = table ?? caller.table
        caller = next
        for outcome in caller.engine.becameOwner(table: caller.table, context: context(caller), needs: needs) {
            send(caller.take(outcome), fromCaller: true)
        }
    }

    mutating func siteAsks() {
        let id = siteSession!.id
        atSite { $0.checkLiveness(session: id, table: $1, context: $2) }
    }

    mutating func callerAsks() {
        let id = callerSession!.id
        atCaller { $0.checkLiveness(session: id, table: $1, context: $2) }
    }

    /// A synchronization request of the site's that its engine knows nothing of, given to the caller.
    mutating func forgeSync(
        _ send: UInt32, _ receive: UInt32, nonce: UInt32 = 0xABCD_EF01, messageID: UInt32 = 0, beside: [Payload] = []
    ) throws {
        let notify = SyncNotify(nonce: nonce, ids: MessageIDs(send: send, receive: receive))
        let session = try #require(siteSession)
        let datagram = try forged(
            [notify.payload] + beside, fromCaller: false, messageID: messageID, from: session.local, to: session.remote)
        deliver(datagram, toSite: false)
    }

    /// What the caller answered last to a synchronization.
    func lastSyncAnswer() throws -> SyncNotify {
        let message = try #require(
            sent.last { $0.fromCaller && !$0.datagram.isRequest && $0.datagram.isInformational }?.datagram)
        let session = try #require(callerSession)
        return try #require(
            SyncNotify(
                try MessageProtection(session.ikeSA.algorithms, keys: session.ikeSA.sendingKeys).open(message.bytes), isResponse: true))
    }

    /// Both go on: requests in both directions, rekeys of everything.
    mutating func expectLife(sourceLocation: SourceLocation = #_sourceLocation) {
        siteAsks()
        settle(limit: .seconds(20))
        callerAsks()
        settle(limit: .seconds(20))
        let (ours, theirs) = (callerSession, siteSession)
        guard let ours, let theirs else {
            Issue.record("a session is gone", sourceLocation: sourceLocation)
            return
        }
        #expect(ours.ikeSA.nextSendID == theirs.ikeSA.nextReceiveID, sourceLocation: sourceLocation)
        #expect(ours.ikeSA.nextReceiveID == theirs.ikeSA.nextSendID, sourceLocation: sourceLocation)
        atSite { $0.rekey(child: theirs.children[0].inboundSPI, in: theirs.id, table: $1, context: $2) }
        settle(limit: .seconds(20))
        atCaller { $0.rekey(session: ours.id, table: $1, context: $2) }
        settle(limit: .seconds(20))
        expectAgreement(children: 1, sourceLocation: sourceLocation)
        #expect(!ours.hasPendingRequest && !theirs.hasPendingRequest, sourceLocation: sourceLocation)
        #expect(callerSession?.ikeSA.spis != ours.ikeSA.spis, sourceLocation: sourceLocation)
    }
}

@Suite struct CounterSyncTests {
    // MARK: Negotiation (RFC 6311 §5)

    @Test func support_whenBothAssertIt_isKnownToBoth() throws {
        let sites = try Sites.synchronizing()
        for session in [sites.callerSession, sites.siteSession] {
            #expect(session?.capabilities.isSuperset(of: [.messageIDSync, .replayCounterSync]) == true)
        }
    }

    @Test func support_whenTheInitiatorOffersOnlyOne_isAnsweredForThatOne() throws {
        for offered: PeerCapabilities in [[], .messageIDSync, .replayCounterSync, [.messageIDSync, .replayCounterSync]] {
            var configuration = InitiatorConfiguration.standard()
            configuration.announces = offered
            var world = World(client: configuration)
            world.establish()
            #expect(world.session?.capabilities == offered && world.client.agreed == offered)
            let session = try #require(world.session)
            let response = try #require(world.fromGateway.last { $0.bytes[18] == ExchangeType.ikeAuth.rawValue })
            let payloads = PayloadSet(
                try MessageProtection(session.ikeSA.algorithms, keys: session.ikeSA.sendingKeys).open(response.bytes))
            #expect(payloads.has(.ikev2MessageIDSyncSupported) == offered.contains(.messageIDSync))
            #expect(payloads.has(.ipsecReplayCounterSyncSupported) == offered.contains(.replayCounterSync))
        }
    }

    // MARK: Values (RFC 6311 §5.1, appendix A)

    @Test func answer_toTheRequestsOfAppendixA_hasItsNumbers() {
        func answer(_ own: (UInt32, UInt32), _ request: (UInt32, UInt32)) -> [UInt32] {
            let ids = MessageIDs(send: own.0, receive: own.1).answer(to: MessageIDs(send: request.0, receive: request.1))
            return [ids.send, ids.receive]
        }
        #expect(answer((5, 0), (0, 5)) == [5, 0], "A.1")
        #expect(answer((4, 5), (2, 3)) == [4, 5], "A.2")
        #expect(answer((2, 4), (2, 5)) == [5, 4], "A.3")
        #expect(answer((4, 4), (5, 5)) == [5, 5] && answer((5, 5), (4, 4)) == [5, 5], "A.4")
    }

    /// The peer has sent request 4 last, and never received one: appendix A.1 on the wire.
    @Test func request_asInAppendixA1_isAnsweredWithTheNonceAndTheSameValues() throws {
        var sites = try Sites.synchronizing()
        for _ in 2..<5 {
            sites.callerAsks()
            sites.settle()
        }
        #expect(sites.callerSession?.ikeSA.nextSendID == 5 && sites.callerSession?.ikeSA.nextReceiveID == 0)
        try sites.forgeSync(0, 5)
        let answer = try sites.lastSyncAnswer()
        #expect(answer == SyncNotify(nonce: 0xABCD_EF01, ids: MessageIDs(send: 5, receive: 0)))
        let header = try IKEHeader(parsing: try sites.last(fromCaller: true).bytes)
        #expect(header.messageID == 0 && header.isResponse && header.exchangeType == .informational)
    }

    /// A.2 and A.3 answer what §5.1 wants dropped: M1 is not above what the peer has seen. The rule holds, not the examples.
    @Test func request_whoseFirstIDWasSeenBefore_isDroppedAndChangesNothing() throws {
        var sites = try Sites.synchronizing()
        for _ in 0..<5 {
            sites.siteAsks()
            sites.settle()
        }
        #expect(sites.callerSession?.ikeSA.nextReceiveID == 5)
        let before = sites.callerSession
        let count = sites.sent.count
        for first: UInt32 in 0..<5 { try sites.forgeSync(first, 3, nonce: first) }
        #expect(sites.callerSession == before && sites.sent.count == count)
        #expect(sites.caller.engine.counters.dropped(.syncReplayed) == 5)
        try sites.forgeSync(5, 2)
        #expect(try sites.lastSyncAnswer().ids == MessageIDs(send: 2, receive: 5))
        // Higher than all that was seen, but not than the synchronization before it.
        try sites.forgeSync(5, 9, nonce: 7)
        #expect(sites.caller.engine.counters.dropped(.syncReplayed) == 6 && sites.callerSession?.ikeSA.nextSendID == 2)
    }

    @Test func values_whenTheyWouldEndTheIKESA_areDropped() throws {
        var sites = try Sites.synchronizing()
        let before = sites.callerSession
        try sites.forgeSync(.max, 5)
        try sites.forgeSync(5, .max)
        #expect(sites.caller.engine.counters.dropped(.syncValues) == 2 && sites.callerSession == before)
    }

    // MARK: A failover

    @Test func failover_withMissedExchanges_synchronizesAndGoesOn() throws {
        for isTold in [false, true] {
            var sites = try Sites.synchronizing()
            let old = sites.site.table
            // What the dead owner did alone: requests of its own, and answers.
            for _ in 0..<3 { sites.siteAsks(); sites.settle(); sites.callerAsks(); sites.settle() }
            sites.failOverSite(old, needs: SyncNeeds(messageIDs: isTold))
            if isTold {
                sites.expectLife()
                #expect(sites.site.engine.counters.syncsRequested == 1 && sites.site.engine.counters.syncsCompleted == 1)
                #expect(sites.caller.engine.counters.syncsAnswered == 1)
            } else {
                sites.siteAsks()
                sites.settle()
                #expect(sites.siteSession == nil, "without it the session is lost, or the test shows nothing")
            }
        }
    }

    @Test func failover_whenThePeerSpeaksFirst_synchronizesToo() throws {
        var sites = try Sites.synchronizing()
        let old = sites.site.table
        for _ in 0..<2 { sites.callerAsks(); sites.settle() }
        sites.failOverSite(old)
        // Outside the window that the new owner knows: dropped, and a reason to ask.
        sites.callerAsks()
        sites.settle(limit: .seconds(60))
        #expect(sites.site.engine.counters.dropped(.futureRequest) > 0)
        sites.expectLife()
    }

    @Test func failover_ofAnIdlePeer_asksNothing() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        let count = sites.sent.count
        sites.pass(.seconds(600))
        #expect(sites.sent.count == count)
    }

    @Test func member_inOneOwnership_asksOnce() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        for _ in 0..<5 {
            sites.siteAsks()
            sites.settle()
            sites.callerAsks()
            sites.settle()
        }
        #expect(sites.site.engine.counters.syncsRequested == 1)
        // What is made in this ownership needs none.
        let id = try #require(sites.siteSession?.id)
        sites.atSite { $0.rekey(session: id, table: $1, context: $2) }
        sites.settle()
        sites.siteAsks()
        sites.settle()
        #expect(sites.site.engine.counters.syncsRequested == 1)
    }

    @Test func response_whenLost_isRepeatedToTheBit() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        var lost = 0
        sites.wire = { datagram in
            guard datagram.isInformational, !datagram.isRequest, lost < 2 else { return datagram }
            lost += 1
            return nil
        }
        sites.expectLife()
        let answers = sites.sent.filter { $0.fromCaller && !$0.datagram.isRequest && $0.datagram.bytes[20..<24].allSatisfy { $0 == 0 } }
        #expect(answers.count == 3 && Set(answers.map(\.datagram.bytes)).count == 1)
        #expect(sites.caller.engine.counters.syncsAnswered == 1 && sites.caller.engine.counters.responsesRepeated >= 2)
    }

    @Test func request_replayedLater_isDroppedAndSetsNothingBack() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        sites.siteAsks()
        sites.settle()
        let request = try #require(
            sites.sent.last { !$0.fromCaller && $0.datagram.isRequest && $0.datagram.bytes[20..<24] == [0, 0, 0, 0] })
        let answer = try #require(sites.sent.last { $0.fromCaller && !$0.datagram.isRequest })
        sites.siteAsks()
        sites.settle()
        let (before, after, count) = (sites.callerSession, sites.siteSession, sites.sent.count)
        for _ in 0..<100 {
            sites.deliver(
                Datagram(local: request.datagram.remote, remote: request.datagram.local, bytes: request.datagram.bytes), toSite: false)
            sites.deliver(
                Datagram(local: answer.datagram.remote, remote: answer.datagram.local, bytes: answer.datagram.bytes), toSite: true)
        }
        #expect(sites.callerSession == before && sites.siteSession == after && sites.sent.count == count)
        #expect(sites.caller.engine.counters.dropped(.syncReplayed) == 100)
        #expect(sites.site.engine.counters.dropped(.unexpectedResponse) == 100)
        sites.expectLife()
    }

    @Test func response_thatDoesNotFit_isDroppedAndTheRightOneTaken() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        sites.siteAsks()
        let pending = try #require(sites.siteSession?.ikeSA.counterSync.pending)
        let session = try #require(sites.callerSession)
        func give(_ payloads: [Payload]) throws {
            let datagram = try sites.forged(
                payloads, fromCaller: true, isResponse: true, messageID: 0, from: session.local, to: session.remote)
            sites.deliver(datagram, toSite: true)
        }
        let (send, receive) = (pending.ids.receive, pending.ids.send)
        try give([SyncNotify(nonce: pending.nonce &+ 1, ids: MessageIDs(send: send, receive: receive)).payload])
        #expect(sites.site.engine.counters.dropped(.syncWrongNonce) == 1)
        let right = SyncNotify(nonce: pending.nonce, ids: MessageIDs(send: send, receive: receive)).payload
        try give([right, .notify(.initialContact)])
        try give([right, SyncNotify.incrementPayload(5, extended: false)])
        try give([right, right])
        try give([])
        try give([.notify(.ikev2MessageIDSync, [1, 2, 3])])
        #expect(sites.site.engine.counters.dropped(.syncMalformed) == 5)
        try give([SyncNotify(nonce: pending.nonce, ids: MessageIDs(send: send, receive: receive - 1)).payload])
        try give([SyncNotify(nonce: pending.nonce, ids: MessageIDs(send: send - 1, receive: receive)).payload])
        #expect(sites.site.engine.counters.dropped(.syncValues) == 2)
        #expect(sites.siteSession?.ikeSA.counterSync.pending == pending)
        sites.settle()
        sites.expectLife()
    }

    @Test func request_withWhatDoesNotBelongThere_isDropped() throws {
        var sites = try Sites.synchronizing()
        let (before, count) = (sites.callerSession, sites.sent.count)
        for payloads: [Payload] in [
            [.notify(.initialContact)], [.delete(DeletePayload(protocolID: .ike))], [.notify(.ikev2MessageIDSync, [])],
            [.notify(.ipsecReplayCounterSync, [1, 2, 3])], [.notify(.ipsecReplayCounterSync, [0, 0, 0, 0, 0, 0, 0, 1])],
        ] { try sites.forgeSync(7, 7, beside: payloads) }
        #expect(sites.caller.engine.counters.dropped(.syncMalformed) == 5)
        #expect(sites.callerSession == before && sites.sent.count == count)
        sites.expectLife()
    }

    @Test func request_fromAPeerThatNeverOfferedIt_isDropped() throws {
        var sites = try Sites.synchronizing()
        let delta = try #require(sites.callerSession)
        var bare = delta
        bare.capabilities.subtract([.messageIDSync, .replayCounterSync])
        try sites.caller.table.replace(with: bare)
        try sites.forgeSync(7, 7)
        #expect(sites.caller.engine.counters.dropped(.syncNotNegotiated) == 1)
        sites.siteAsks()
        sites.settle()
        // The window is past 0 now: nobody looks into it.
        let before = sites.callerSession
        for nonce: UInt32 in 0..<200 { try sites.forgeSync(7 + nonce, 7, nonce: nonce) }
        #expect(sites.caller.engine.counters.dropped(.oldRequest) + sites.caller.engine.counters.dropped(.changedRequest) == 200)
        #expect(sites.callerSession == before)
    }

    @Test func notify_inAMessageWithAnIDOfItsOwn_meansNothing() throws {
        var sites = try Sites.synchronizing()
        sites.siteAsks()
        sites.settle()
        try sites.forgeSync(700, 700, messageID: 1)
        #expect(sites.callerSession?.ikeSA.nextReceiveID == 2 && sites.callerSession?.ikeSA.counterSync.answered == nil)
    }

    // MARK: More than one failover

    @Test func secondFailover_inTheMiddle_asksAnewWithHigherValues() throws {
        for isTold in [true, false] {
            var sites = try Sites.synchronizing()
            sites.failOverSite()
            let untold = sites.site.table
            sites.siteAsks()
            let first = try #require(sites.siteSession?.ikeSA.counterSync.pending)
            // The request has arrived, its answer goes to the third owner.
            sites.deliverNext(1)
            sites.failOverSite(isTold ? nil : untold)
            sites.expectLife()
            let second = try #require(
                sites.site.deltas.flatMap(\.changes).compactMap { change in
                    if case .syncRequested(_, let request) = change { request } else { nil }
                }.last)
            #expect(second.epoch == first.epoch + 1 && second.datagram != first.datagram)
            if isTold { #expect(second.ids.send > first.ids.send) }
        }
    }

    @Test func failover_onBothSidesAtOnce_endsInAgreement() throws {
        for crossed in [false, true] {
            var sites = try Sites.synchronizing()
            let (caller, site) = (sites.caller.table, sites.site.table)
            for _ in 0..<4 { sites.siteAsks(); sites.settle(); sites.callerAsks(); sites.settle() }
            sites.failOverSite(site)
            sites.failOverCaller(caller)
            if crossed {
                sites.siteAsks()
                sites.callerAsks()
            } else {
                sites.callerAsks()
            }
            sites.settle()
            sites.expectLife()
        }
    }

    // MARK: Pending messages (RFC 6311 §8.1, §9)

    @Test func requests_thatWerePassedOver_areWantedAnew() throws {
        var sites = try Sites.synchronizing()
        let (ours, theirs) = (try #require(sites.callerSession), try #require(sites.siteSession))
        // Both have begun a rekey of which the other hears nothing, and the site dies.
        sites.wire = { _ in nil }
        sites.atCaller { $0.rekey(child: ours.children[0].inboundSPI, in: ours.id, table: $1, context: $2) }
        sites.atSite { $0.rekey(child: theirs.children[0].inboundSPI, in: theirs.id, table: $1, context: $2) }
        sites.wire = { $0 }
        sites.failOverSite()
        sites.pass(.seconds(20))
        #expect(sites.caller.engine.counters.requestsGivenUp == 1)
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.children[0].inboundSPI != ours.children[0].inboundSPI, "the rekey was done after all")
        sites.expectLife()
    }

    @Test func window_afterTheRequest_isTheDeclaredOne() throws {
        var sites = try Sites.synchronizing(window: 4)
        sites.callerAsks()
        sites.settle()
        let old = try #require(sites.sent.last { $0.fromCaller && $0.datagram.isRequest })
        sites.failOverSite()
        sites.siteAsks()
        #expect(sites.siteSession?.ikeSA.responses.isEmpty == true)
        sites.deliver(Datagram(local: old.datagram.remote, remote: old.datagram.local, bytes: old.datagram.bytes), toSite: true)
        #expect(sites.site.engine.counters.dropped(.oldRequest) == 1)
        sites.settle()
        sites.expectLife()
    }

    @Test func epoch_thatRisesMeanwhile_isAskedInAnew() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        sites.wire = { _ in nil }
        sites.siteAsks()
        sites.site.epoch += 2
        sites.pass(.seconds(5))
        sites.wire = { $0 }
        sites.pass(.seconds(20))
        #expect(sites.siteSession?.hasPendingRequest == false && sites.site.engine.counters.syncsRequested == 2)
        sites.expectLife()
    }

    @Test func peer_thatNeverAnswers_isGivenUpAndCounted() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        sites.wire = { _ in nil }
        sites.siteAsks()
        sites.settle()
        #expect(sites.siteSession == nil && sites.site.engine.counters.syncsFailed == 1)
    }

    // MARK: Replay counters (RFC 6311 §5.2)

    @Test func replayCounters_alone_goInAnExchangeOfTheirOwnID() throws {
        var sites = try Sites.synchronizing()
        let before = try #require(sites.callerSession?.children[0].lease)
        sites.failOverSite(needs: SyncNeeds(replayIncrement: 3 * Lease.size))
        sites.pass(.seconds(2))
        #expect(sites.site.engine.counters.syncsRequested == 0 && sites.caller.engine.counters.replayCountersRaised == 1)
        let raised = try #require(sites.callerSession?.children[0].lease)
        #expect(raised.numbers(extended: false).next >= before.numbers(extended: false).limit + 3 * Lease.size)
        #expect(raised.slice % 2 == 0, "the caller is node 0")
        sites.expectLife()
        #expect(sites.caller.engine.counters.replayCountersRaised == 1)
    }

    @Test func replayCounters_besideMessageIDs_areRaisedOnceAndNotByAReplay() throws {
        var sites = try Sites.synchronizing()
        let old = sites.site.table
        sites.siteAsks()
        sites.settle()
        sites.failOverSite(old, needs: SyncNeeds(messageIDs: true, replayIncrement: Lease.size))
        var isFirst = true
        sites.wire = { datagram in
            guard !datagram.isRequest, isFirst else { return datagram }
            isFirst = false
            return nil
        }
        sites.pass(.seconds(20))
        let raised = sites.callerSession?.children[0].lease
        #expect(raised == Lease(slice: 2) && sites.caller.engine.counters.replayCountersRaised == 1)
        try sites.forgeSync(3, 1, beside: [SyncNotify.incrementPayload(1 << 20, extended: false)])
        #expect(sites.caller.engine.counters.dropped(.syncReplayed) == 1 && sites.callerSession?.children[0].lease == raised)
        sites.expectLife()
    }

    @Test func replayCounters_ofAnUnansweredOwner_areAskedForByTheNextInSum() throws {
        var sites = try Sites.synchronizing()
        let needs = SyncNeeds(messageIDs: true, replayIncrement: 1000)
        sites.failOverSite(needs: needs)
        sites.wire = { _ in nil }
        sites.pass(.seconds(1))
        #expect(sites.siteSession?.ikeSA.counterSync.pending?.increment == 1000)
        sites.wire = { $0 }
        sites.failOverSite(needs: needs)
        sites.pass(.seconds(1))
        #expect(sites.caller.engine.counters.replayCountersRaised == 1)
        let asked = sites.site.deltas.flatMap(\.changes).compactMap { change in
            if case .syncRequested(_, let request) = change { request.increment } else { nil }
        }
        #expect(asked == [2000])
        sites.expectLife()
    }

    // MARK: Floods

    @Test func noise_ofEveryLength_neitherTrapsNorChanges() throws {
        var sites = try Sites.synchronizing()
        sites.failOverSite()
        sites.siteAsks()
        let request = try sites.last(fromCaller: false)
        let (before, count) = (sites.callerSession, sites.sent.count)
        for length in 0..<request.bytes.count {
            sites.deliver(
                Datagram(local: request.remote, remote: request.local, bytes: Array(request.bytes.prefix(length))), toSite: false)
            var changed = request.bytes
            changed[length] ^= 0x40
            sites.deliver(Datagram(local: request.remote, remote: request.local, bytes: changed), toSite: false)
        }
        #expect(sites.callerSession == before)
        #expect(sites.sent.count <= count + 40, "only a wrong version is answered")
        sites.settle()
        sites.expectLife()
    }
}
