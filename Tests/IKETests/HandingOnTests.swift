import IKEWire
import Session
import Testing

@testable import IKE

/// Redirects with a transmitted context: what both ends make of it. The other gateway itself is in NodeTests.
@Suite struct HandingOnTests {
    private static let other = RedirectingTests.other
    private static let target = GatewayIdentity.address(other)

    private static func established(mobike: Bool = false, peerKnows: Bool = true, ownKnows: Bool = true) throws -> Sites {
        var caller = IKEConfiguration.caller()
        caller.connections[0].mobike = mobike
        var sites = Sites(caller: caller)
        try sites.call()
        sites.settle()
        if !peerKnows { try sites.site.table.replace(with: without(sites.siteSession)) }
        if !ownKnows { try sites.caller.table.replace(with: without(sites.callerSession)) }
        return sites
    }

    private static func without(_ session: Session?) throws -> Session {
        var session = try #require(session)
        session.capabilities.remove(.contextTransfer)
        return session
    }

    @discardableResult
    private static func attempt(
        _ sites: inout Sites, _ body: (inout IKEEngine, SessionID, SessionTable, IKEContext) throws(RedirectObjection) -> IKEOutcome
    ) -> RedirectObjection? {
        guard let id = sites.siteSession?.id else { return .unknownSession }
        var objection: RedirectObjection?
        sites.atSite { engine, table, context in
            do throws(RedirectObjection) {
                return try body(&engine, id, table, context)
            } catch {
                objection = error
                return .nothing
            }
        }
        return objection
    }

    private static func prepare(_ sites: inout Sites) -> RedirectObjection? {
        attempt(&sites) { (engine, id, table, context) throws(RedirectObjection) in
            try engine.prepareHandingOn(session: id, to: target, table: table, context: context)
        }
    }

    private static func redirect(_ sites: inout Sites) -> RedirectObjection? {
        attempt(&sites) { (engine, id, table, context) throws(RedirectObjection) in
            try engine.redirect(session: id, to: target, contextTransmitted: true, table: table, context: context)
        }
    }

    private static func inits(_ sites: Sites) -> Int { sites.sent.count { $0.datagram.bytes[18] == 34 } }

    // MARK: It goes well

    enum Moment: CaseIterable { case never, afterPreparing, afterSending }

    @Test(arguments: Moment.allCases, [false, true]) func session_handedOn_goesOnWithoutAuthentication(takeover: Moment, mobike: Bool)
        throws
    {
        var sites = try Self.established(mobike: mobike)
        let before = try #require(sites.callerSession)
        let inits = Self.inits(sites)
        #expect(Self.prepare(&sites) == nil)
        if takeover == .afterPreparing { sites.takeOverSite() }
        let held = try #require(sites.siteSession)
        let wire = sites.wire
        if takeover == .afterSending { sites.wire = { _ in nil } }
        #expect(Self.redirect(&sites) == nil)
        sites.wire = wire
        if takeover == .afterSending { sites.takeOverSite() }
        sites.deliverNext(2)
        let after = try #require(sites.callerSession)
        let left = try #require(sites.siteSession)
        #expect(after.remote.address == Self.other && after.remote.port == before.remote.port && after.local == before.local)
        #expect(after.ikeSA.keys == before.ikeSA.keys && after.children[0].outboundKeys == before.children[0].outboundKeys)
        #expect(after.ikeSA.nextReceiveID == held.ikeSA.nextSendID + 1, "the redirect's ID is used up, the next one is the other gateway's")
        #expect(after.children[0].lease.slice > before.children[0].lease.slice)
        #expect((after.movingTo != nil) == mobike)
        #expect(sites.site.events.last == .redirectAnswered(session: held.id, accepted: true))
        // Whatever the client sent before is a replay from now on.
        #expect(left.children[0].inboundTop == after.children[0].lease.numbers(extended: false).next - 1)
        #expect(left.ikeSA.nextReceiveID == held.ikeSA.nextReceiveID)
        let sent = sites.sent.count
        sites.atSite { $0.forgetMoved(session: held.id, table: $1, context: $2) }
        #expect(sites.site.table.count == 0 && sites.sent.count == sent, "no DELETE")
        #expect(Self.inits(sites) == inits)
        // The next of the client goes to the other gateway, and has an ID of its own.
        sites.pass(.milliseconds(100))
        let greeting = try #require(sites.sent.last { $0.fromCaller })
        #expect(greeting.datagram.remote.address == Self.other && greeting.datagram.bytes[19] & 0x20 == 0)
        #expect(Array(greeting.datagram.bytes[20..<24]) == held.ikeSA.nextReceiveID.networkBytes)
    }

    @Test func answer_thatIsLost_isRepeatedToTheOldGateway() throws {
        var sites = try Self.established()
        #expect(Self.prepare(&sites) == nil && Self.redirect(&sites) == nil)
        sites.wire = { $0.bytes[19] & 0x20 != 0 ? nil : $0 }
        sites.deliverNext(1)
        sites.wire = { $0 }
        #expect(sites.siteSession?.redirects.order?.stage == .sent)
        sites.pass(.seconds(5))
        #expect(sites.site.events.contains { if case .redirectAnswered(_, accepted: true) = $0 { true } else { false } })
        #expect(
            sites.sent.filter { $0.fromCaller && $0.datagram.bytes[19] & 0x20 != 0 }.allSatisfy {
                $0.datagram.remote.address == Sites.siteAddress
            })
    }

    // MARK: Held still

    @Test(arguments: [false, true]) func sessionHeldStill_answersNothing_andAllOfItLater(takesOver: Bool) throws {
        var sites = try Self.established()
        #expect(Self.prepare(&sites) == nil)
        let held = try #require(sites.siteSession)
        #expect(Self.prepare(&sites) == nil, "said twice is said once")
        let calling = try #require(sites.callerSession?.id)
        sites.atCaller { $0.rekey(session: calling, table: $1, context: $2) }
        sites.atSite { $0.rekey(session: held.id, table: $1, context: $2) }
        sites.deliverNext(1)
        #expect(sites.site.engine.counters.dropped(.beingHandedOn) == 1)
        #expect(sites.siteSession?.ikeSA == held.ikeSA, "the other gateway's copy is still true")
        if takesOver { sites.takeOverSite() }
        // Nobody redirected it: it goes on by itself.
        sites.pass(.seconds(30))
        sites.settle()
        #expect(sites.siteSession?.isHeldStill == false && sites.siteSession?.ikeSA.keys != held.ikeSA.keys)
        sites.expectAgreement(children: 1)
        #expect(Self.redirect(&sites) == .notHeldStill, "the context is not true any more")
    }

    @Test func handingOn_thatIsCancelled_leavesEverything() throws {
        var sites = try Self.established()
        let before = try #require(sites.siteSession)
        #expect(Self.prepare(&sites) == nil)
        sites.atSite { $0.cancelHandingOn(session: before.id, table: $1, context: $2) }
        #expect(sites.siteSession == before)
        // With something under way there is no moment for it.
        sites.wire = { _ in nil }
        sites.atSite { $0.checkLiveness(session: before.id, table: $1, context: $2) }
        #expect(Self.prepare(&sites) == .isBusy)
    }

    // MARK: It does not fit

    enum Fault: CaseIterable {
        case idBackwards, idSkipped, expectedBackwards, expectedAhead, numberBackwards, childMissing, childUnknown, truncated, longer
        case noSyn, twoSyns, twoRedirects, name, ownAddress, sameGateway, otherFamily, numberTooLarge, successorWanted
    }

    private static func payloads(_ fault: Fault, _ sites: Sites) throws -> [Payload] {
        let session = try #require(sites.siteSession)
        let sa = session.ikeSA
        let child = session.children[0]
        var syn = IPsecSyn(
            nonce: 7, nextSendID: sa.nextSendID + 1, nextReceiveID: sa.nextReceiveID,
            starts: [.init(spi: child.outboundSPI, number: 17 * Lease.size + 1)])
        var gateway = target
        switch fault {
        case .idBackwards: syn.nextSendID = sa.nextSendID
        case .idSkipped: syn.nextSendID += 1
        case .expectedBackwards: syn.nextReceiveID -= 1
        case .expectedAhead: syn.nextReceiveID += 1
        case .numberBackwards: syn.starts[0].number = 5000
        case .childMissing: syn.starts = []
        case .childUnknown: syn.starts.append(.init(spi: 0xDEAD_BEEF, number: 1 << 30))
        case .numberTooLarge: syn.starts[0].number = 1 << 32
        case .name: gateway = .name("gw2.example.net")
        case .ownAddress: gateway = .address(Sites.callerAddress)
        case .sameGateway: gateway = .address(Sites.siteAddress)
        case .otherFamily: gateway = .address(IPAddress("2001:db8::8")!)
        case .truncated, .longer, .noSyn, .twoSyns, .twoRedirects, .successorWanted: break
        }
        var data = syn.encode()
        if fault == .truncated { data.removeLast() }
        if fault == .longer { data.append(0) }
        var payloads: [Payload] = [.notify(.redirect, gateway.notifyData()), .notify(.noReauthIPsecContextTransmitted)]
        if fault != .noSyn { payloads.append(.notify(.ipsecSyn, data)) }
        if fault == .twoSyns { payloads.append(.notify(.ipsecSyn, data)) }
        if fault == .twoRedirects { payloads.insert(.notify(.redirect, gateway.notifyData()), at: 0) }
        return payloads
    }

    /// The request of a gateway that makes a mistake; it awaits the answer as its own.
    private static func tell(_ sites: inout Sites, _ payloads: [Payload]) {
        sites.atSite { engine, table, context in
            var session = table.sessions.values.first!
            session.redirects.order = RedirectOrder(target: target, contextTransmitted: true, stage: .sent)
            let changes = [SessionChange.redirectsSet(session.redirects)]
            var outcome = engine.request(
                RequestDraft(purpose: .redirect(nonce: 7), payloads: payloads), in: session, sa: session.ikeSA, context: context)
            outcome.deltas[0].changes += changes
            return outcome
        }
    }

    @Test(arguments: Fault.allCases) func contextThatDoesNotFit_leavesTheSessionWhereItIs(fault: Fault) throws {
        var sites = try Self.established(mobike: true)
        let id = try #require(sites.callerSession?.id)
        sites.atCaller { engine, table, _ in
            let spi = table[id]!.children[0].inboundSPI
            var changes = [SessionChange.inboundAdvanced(inboundSPI: spi, top: 5000)]
            if fault == .successorWanted { changes.append(.redirected(to: Self.other.advanced(by: 1)!)) }
            return IKEOutcome(deltas: [SessionDelta(session: id, changes: changes)], session: id)
        }
        let before = try #require(sites.callerSession)
        Self.tell(&sites, try Self.payloads(fault, sites))
        sites.settle()
        let after = try #require(sites.callerSession)
        #expect(after.path == before.path && after.movingTo == nil && after.children == before.children)
        #expect(after.redirectedTo == before.redirectedTo, "neither does it authenticate elsewhere")
        #expect(sites.caller.engine.counters.redirectsFollowed == 0 && sites.caller.engine.counters.redirectsIgnored == 1)
        // The gateway knows that it stays, and all works.
        #expect(sites.siteSession?.redirects.order == nil)
        sites.atCaller { $0.rekey(session: id, table: $1, context: $2) }
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.ikeSA.keys != before.ikeSA.keys)
    }

    @Test func rightContext_afterWhatDidNotFit_isTaken() throws {
        var sites = try Self.established()
        for fault in [Fault.truncated, .idSkipped] {
            Self.tell(&sites, try Self.payloads(fault, sites))
            sites.settle()
        }
        #expect(Self.prepare(&sites) == nil && Self.redirect(&sites) == nil)
        sites.deliverNext(2)
        #expect(sites.callerSession?.remote.address == Self.other)
    }

    @Test func contextTransmitted_fromWhoDidNotAgreeOnIt_isAPlainRedirect() throws {
        var sites = try Self.established(ownKnows: false)
        #expect(Self.prepare(&sites) == nil && Self.redirect(&sites) == nil)
        sites.deliverNext(2)
        // As a client that knows RFC 5685 only.
        #expect(sites.callerSession?.redirectedTo == Self.other && sites.callerSession?.remote.address == Sites.siteAddress)
        let left = try #require(sites.siteSession)
        #expect(!left.isHeldStill && left.redirects.order?.stage == .answered && left.redirects.order?.endsAt != nil)
        #expect(sites.site.events.last == .redirectAnswered(session: left.id, accepted: false))
        var deaf = try Self.established(peerKnows: false)
        #expect(Self.prepare(&deaf) == .noContextTransfer && Self.redirect(&deaf) == .noContextTransfer)
    }

    @Test func contextTransmitted_moreThanFiveTimes_isNotFollowed() throws {
        var sites = try Self.established()
        for step in 0..<5 {
            _ = sites.caller.engine.redirects.count("site", at: sites.now + .seconds(step))
        }
        sites.now = sites.now + .seconds(5)
        #expect(Self.prepare(&sites) == nil && Self.redirect(&sites) == nil)
        sites.settle()
        #expect(sites.callerSession?.remote.address == Sites.siteAddress && sites.siteSession?.redirects.order == nil)
        sites.expectAgreement(children: 1)
    }
}
