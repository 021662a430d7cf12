import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Rekeys that we begin (RFC 7296 §1.3.2, §1.3.3), alone and against the peer's (§2.8.1, §2.8.2, §2.25).
struct RekeyingTests {
    private static func established(
        caller: IKEConfiguration = .caller(), site: IKEConfiguration = .site(), seed: UInt64 = 7
    ) throws -> Sites {
        var sites = Sites(caller: caller, site: site, seed: seed)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        return sites
    }

    @Test func rekeyOfAChild_replacesItOnBothSides() throws {
        var sites = try RekeyingTests.established()
        let old = try #require(sites.callerSession?.children.first)
        sites.rekeyChild(fromCaller: true)
        sites.settle()
        sites.expectAgreement(children: 1)
        let new = try #require(sites.callerSession?.children.first)
        #expect(new.inboundSPI != old.inboundSPI && new.inboundKeys != old.inboundKeys && new.name == old.name && !new.isRekeyed)
        #expect(new.localSelectors == old.localSelectors && new.remoteSelectors == old.remoteSelectors)
        sites.rekeyChild(fromCaller: false)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.children.first?.inboundSPI != new.inboundSPI)
    }

    @Test func rekeyOfTheIKESA_movesTheChildrenOver() throws {
        var sites = try RekeyingTests.established()
        let before = try #require(sites.callerSession)
        for fromCaller in [true, false, true] {
            sites.rekeyIKE(fromCaller: fromCaller)
            sites.settle()
            sites.expectAgreement(children: 1)
            #expect(sites.callerSession?.otherIKESAs.isEmpty == true && sites.siteSession?.otherIKESAs.isEmpty == true)
        }
        let after = try #require(sites.callerSession)
        #expect(after.id == before.id && after.children == before.children && after.ikeSA.keys != before.ikeSA.keys)
        #expect(after.originalRole == .initiator && sites.siteSession?.originalRole == .responder)
        // The first to speak in the new IKE SA is understood.
        sites.atSite { $0.checkLiveness(session: $1.sessions.keys.first!, table: $1, context: $2) }
        sites.settle()
        #expect(sites.siteSession?.hasPendingRequest == false)
    }

    /// RFC 7296 §2.8.1: of the two new CHILD SAs the one with the lowest nonce goes; which it is depends on the seed.
    @Test(arguments: UInt64(1)...12) func rekeysOfAChild_atOnce_leaveOneOnBothSides(seed: UInt64) throws {
        var sites = try RekeyingTests.established(seed: seed)
        let old = try #require(sites.callerSession?.children.first)
        sites.rekeyChild(fromCaller: true)
        sites.rekeyChild(fromCaller: false)
        sites.settle()
        sites.expectAgreement(children: 1)
        let new = try #require(sites.callerSession?.children.first)
        #expect(new.inboundSPI != old.inboundSPI && !new.isRekeyed && sites.siteSession?.children.first?.isRekeyed == false)
        #expect(sites.callerSession?.hasPendingRequest == false && sites.siteSession?.hasPendingRequest == false)
    }

    /// RFC 7296 §2.8.2: the same for the IKE SA, whose children go with the one that stays.
    @Test(arguments: UInt64(1)...12) func rekeysOfTheIKESA_atOnce_leaveOneOnBothSides(seed: UInt64) throws {
        var sites = try RekeyingTests.established(seed: seed)
        let before = try #require(sites.callerSession)
        sites.rekeyIKE(fromCaller: true)
        sites.rekeyIKE(fromCaller: false)
        sites.settle()
        sites.expectAgreement(children: 1)
        let after = try #require(sites.callerSession)
        #expect(after.ikeSA.keys != before.ikeSA.keys && after.children == before.children)
        #expect(after.otherIKESAs.isEmpty && sites.siteSession?.otherIKESAs.isEmpty == true)
    }

    /// One side's request is lost for a while, so that only the other notices (the second sequences of §2.8.1 and §2.8.2).
    @Test(arguments: [false, true], UInt64(1)...4) func rekeysAtOnce_ofWhichOneIsLate_leaveOneOnBothSides(isIKE: Bool, seed: UInt64) throws
    {
        var sites = try RekeyingTests.established(seed: seed)
        let before = try #require(sites.callerSession)
        sites.wire = { _ in nil }
        if isIKE { sites.rekeyIKE(fromCaller: true) } else { sites.rekeyChild(fromCaller: true) }
        sites.wire = { $0 }
        if isIKE { sites.rekeyIKE(fromCaller: false) } else { sites.rekeyChild(fromCaller: false) }
        sites.settle()
        sites.expectAgreement(children: 1)
        let after = try #require(sites.callerSession)
        #expect(isIKE ? after.ikeSA.keys != before.ikeSA.keys : after.children[0].inboundSPI != before.children[0].inboundSPI)
        #expect(after.otherIKESAs.isEmpty && !after.hasPendingRequest)
    }

    /// A takeover after every datagram of every kind of rekey: the new owner finishes what the old one began.
    @Test(arguments: Rekey.allCases, 0...8) func takeover_inTheMiddleOfARekey_finishesIt(rekey: Rekey, delivered: Int) throws {
        var sites = try RekeyingTests.established(seed: UInt64(delivered) + 3)
        let before = try #require(sites.callerSession)
        sites.begin(rekey)
        sites.deliverNext(delivered)
        sites.takeOver()
        sites.settle()
        sites.expectAgreement(children: 1)
        let after = try #require(sites.callerSession)
        #expect(!after.hasPendingRequest && after.otherIKESAs.isEmpty && after.children.allSatisfy { !$0.isRekeyed })
        switch rekey {
        case .childByCaller, .childBySite, .childByBoth: #expect(after.children[0].inboundSPI != before.children[0].inboundSPI)
        case .ikeByCaller, .ikeBySite, .ikeByBoth: #expect(after.ikeSA.keys != before.ikeSA.keys)
        }
    }

    enum Rekey: CaseIterable { case childByCaller, childBySite, childByBoth, ikeByCaller, ikeBySite, ikeByBoth }

    @Test(arguments: 0...6) func rekeyAndDelete_ofAChild_crossing_endInOneState(delivered: Int) throws {
        var sites = try RekeyingTests.established()
        let spi = try #require(sites.siteSession?.children.first?.inboundSPI)
        sites.rekeyChild(fromCaller: true)
        sites.deliverNext(delivered)
        sites.atSite { $0.terminate(child: spi, in: $1.sessions.keys.first!, table: $1, context: $2) }
        sites.settle()
        let ours = try #require(sites.callerSession)
        sites.expectAgreement(children: ours.children.count)
        #expect(!ours.hasPendingRequest && ours.children.allSatisfy { !$0.isRekeyed })
    }

    /// RFC 7296 §2.25.1: the IKE SA is not rekeyed while a CHILD SA of it is, and it is tried again later.
    @Test func rekeyOfTheIKESA_duringARekeyOfAChild_isPutOff() throws {
        var sites = try RekeyingTests.established()
        let before = try #require(sites.callerSession)
        sites.rekeyChild(fromCaller: true)
        sites.rekeyIKE(fromCaller: false)
        sites.settle(limit: .seconds(1))
        let refused = sites.site.events.contains { if case .requestRefused(_, _, 43) = $0 { true } else { false } }
        #expect(refused, "TEMPORARY_FAILURE")
        #expect(sites.callerSession?.ikeSA.keys == before.ikeSA.keys)
        #expect(sites.siteSession?.ikeSA.lifetime.rekeyAt != nil, "an appointment to try again")
        sites.pass(.seconds(120))
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.ikeSA.keys != before.ikeSA.keys)
    }

    /// RFC 7296 §2.25: what is gone there goes here, and a new one is made.
    @Test func rekeyOfAChild_thatThePeerLost_isMadeAnew() throws {
        var sites = try RekeyingTests.established()
        let session = try #require(sites.siteSession)
        try sites.site.table.apply(
            SessionDelta(session: session.id, changes: [.childRemoved(inboundSPI: session.children[0].inboundSPI)]))
        sites.rekeyChild(fromCaller: true)
        sites.settle()
        sites.expectAgreement(children: 1)
    }

    @Test func rekeyOfAChild_withAnotherGroupWanted_isAskedAgainWithThatOne() throws {
        var site = IKEConfiguration.site()
        site.connections[0].children[0].proposals = [
            ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128), Cipher(.aesGCM16, keyBits: 256)], integrity: [], groups: [.ecp384])
        ]
        var caller = IKEConfiguration.caller()
        caller.connections[0].children[0].proposals = [
            ESPProposal(
                ciphers: [Cipher(.aesGCM16, keyBits: 128), Cipher(.aesGCM16, keyBits: 256)], integrity: [], groups: [.ecp256, .ecp384])
        ]
        var sites = try RekeyingTests.established(caller: caller, site: site)
        sites.rekeyChild(fromCaller: true)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.children.first?.algorithms.keyExchangeGroup == .ecp384)
    }

    @Test func peer_thatWidensTheSelectors_isToldThatThereIsNoSuchChild() throws {
        var sites = try RekeyingTests.established()
        sites.wire = { _ in nil }
        sites.rekeyChild(fromCaller: true)
        let request = try #require(sites.sent.last?.datagram)
        sites.deliver(Datagram(local: request.remote, remote: request.local, bytes: request.bytes), toSite: true)
        let response = try #require(sites.sent.last?.datagram)
        sites.wire = { $0 }
        let sa = try #require(sites.callerSession?.ikeSA)
        let protection = MessageProtection(sa.algorithms, keys: sa.receivingKeys)
        let widened = try protection.open(response.bytes).map { payload in
            if case .trafficSelectorsResponder = payload { return Payload.trafficSelectorsResponder([TrafficSelector("0.0.0.0/0").wire]) }
            return payload
        }
        var context = sites.context(sites.site)
        context.epoch += 2
        let forged = try protection.seal(widened, header: try IKEHeader(parsing: response.bytes), context: context)
        sites.deliver(Datagram(local: response.remote, remote: response.local, bytes: forged[0]), toSite: false)
        sites.settle()
        #expect(sites.callerSession?.children.count == 1 && sites.callerSession?.children[0].isRekeyed == false)
        #expect(sites.siteSession?.children.allSatisfy { $0.isRekeyed } == true, "the one that we do not know is gone")
    }
}

extension Sites {
    mutating func rekeyChild(fromCaller: Bool) {
        let act: (inout IKEEngine, SessionTable, IKEContext) -> IKEOutcome = { engine, table, context in
            let session = table.sessions.values.first!
            return engine.rekey(child: session.children.last!.inboundSPI, in: session.id, table: table, context: context)
        }
        if fromCaller { atCaller(act) } else { atSite(act) }
    }

    mutating func rekeyIKE(fromCaller: Bool) {
        let act: (inout IKEEngine, SessionTable, IKEContext) -> IKEOutcome = {
            $0.rekey(session: $1.sessions.keys.first!, table: $1, context: $2)
        }
        if fromCaller { atCaller(act) } else { atSite(act) }
    }

    fileprivate mutating func begin(_ rekey: RekeyingTests.Rekey) {
        switch rekey {
        case .childByCaller: rekeyChild(fromCaller: true)
        case .childBySite: rekeyChild(fromCaller: false)
        case .childByBoth:
            rekeyChild(fromCaller: true)
            rekeyChild(fromCaller: false)
        case .ikeByCaller: rekeyIKE(fromCaller: true)
        case .ikeBySite: rekeyIKE(fromCaller: false)
        case .ikeByBoth:
            rekeyIKE(fromCaller: true)
            rekeyIKE(fromCaller: false)
        }
    }
}
