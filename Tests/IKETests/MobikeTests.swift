import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// RFC 4555 between two engines: the caller moves, the site follows.
@Suite struct MobikeTests {
    // MARK: Agreement (§3.2 to §3.4)

    @Test(arguments: [(true, true), (true, false), (false, true)])
    func mobike_isAgreedOn_whenBothWantIt(caller: Bool, site: Bool) throws {
        let sites = try Sites.mobile {
            $0.mobike = caller
            $1.mobike = site
        }
        let sessions = [try #require(sites.callerSession), try #require(sites.siteSession)]
        #expect(sessions.allSatisfy { $0.capabilities.contains(.mobike) == (caller && site) })
        #expect(sessions.allSatisfy { $0.capabilities.contains(.fragmentation) && !$0.encapsulation })
        // §3.3: to port 4500 even though there is no NAT.
        #expect(sessions[0].local.port == (caller ? 4500 : 500) && sessions[1].remote.port == sessions[0].local.port)
    }

    @Test func addresses_thatAreConfigured_areToldInBothDirections() throws {
        let sites = try Sites.mobile {
            $0.additionalAddresses = [Roads.caller, Roads.second, IPAddress("2001:db8::77")!]
            $1.additionalAddresses = [Roads.otherSite]
        }
        #expect(sites.siteSession?.peerAddresses == [Roads.second, IPAddress("2001:db8::77")!], "not the one in the IP header")
        #expect(sites.callerSession?.peerAddresses == [Roads.otherSite])
        #expect(try Sites.mobile().callerSession?.peerAddresses == [], "without configuration none is told")
    }

    // MARK: The initiator moves (§3.5)

    @Test func move_ofTheCaller_isFollowedAfterTheCheck() throws {
        var sites = try Sites.mobile()
        let before = sites.sent.count
        try sites.moveCaller(to: Roads.second)
        #expect(sites.callerSession?.local.address == Roads.second, "our own CHILD SAs are there at once")
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == Roads.at(Roads.second) && sites.siteSession?.encapsulation == false)
        #expect(sites.siteSession?.movingTo == nil && sites.callerSession?.movingTo == nil)
        let messages = sites.sent[before...]
        #expect(messages.map(\.fromCaller) == [true, false, false, true], "update, answer, cookie, answer")
        #expect(messages.allSatisfy { [$0.datagram.local, $0.datagram.remote].contains(Roads.at(Roads.second)) })
        let changes = sites.site.deltas.flatMap(\.changes)
        let asked = try #require(changes.firstIndex { if case .requested = $0 { true } else { false } })
        let moved = try #require(changes.firstIndex { if case .pathChanged = $0 { true } else { false } })
        #expect(asked < moved, "the data plane follows the check")
        #expect(sites.site.engine.counters.peersMoved == 1)
        // And everything goes on from there.
        let id = try #require(sites.siteSession?.id)
        sites.atSite { $0.rekey(session: id, table: $1, context: $2) }
        sites.settle()
        sites.expectAgreement(children: 1)
    }

    @Test(arguments: [AddressCheckPolicy.after, .never])
    func move_whenTheCheckIsNotFirst_isFollowedAtOnce(policy: AddressCheckPolicy) throws {
        var sites = try Sites.mobile { $1.addressCheck = policy }
        let before = sites.sent.count
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(6))
        #expect(sites.siteSession?.remote == Roads.at(Roads.second))
        sites.settle()
        #expect(sites.sent.count - before == (policy == .after ? 4 : 2))
        #expect(sites.siteSession?.movingTo == nil && sites.site.engine.counters.peersMoved == 1)
    }

    @Test func move_whenTheWindowIsFull_waitsAndRepeatsWhatIsThere() throws {
        var sites = try Sites.mobile()
        let id = try #require(sites.callerSession?.id)
        sites.wire = { _ in nil }
        sites.atCaller { $0.checkLiveness(session: id, table: $1, context: $2) }
        sites.wire = { $0 }
        let question = try sites.last(fromCaller: true)
        let start = sites.now
        try sites.moveCaller(to: Roads.second)
        let repeated = try sites.last(fromCaller: true)
        #expect(repeated.bytes == question.bytes && repeated.local == Roads.at(Roads.second))
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == Roads.at(Roads.second))
        #expect(sites.now - start < .seconds(1), "it did not wait for the retransmission")
    }

    @Test func moves_inARow_areOne() throws {
        var sites = try Sites.mobile()
        // The first update arrives, its answer is lost, and the second move comes before it is repeated.
        sites.wire = { $0.local.address == Roads.site ? nil : $0 }
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(20))
        sites.wire = { $0 }
        try sites.moveCaller(to: Roads.third)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == Roads.at(Roads.third) && sites.callerSession?.movingTo == nil)
        #expect(sites.caller.events.filter { if case .relocated = $0 { true } else { false } }.count == 1, "the first answer means nothing")
        // There and back before anything is answered.
        sites.wire = { _ in nil }
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(10))
        try sites.moveCaller(to: Roads.third)
        sites.wire = { $0 }
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == Roads.at(Roads.third) && sites.siteSession?.movingTo == nil)
    }

    @Test func move_whereTheSiteAllowsNone_isRefused() throws {
        var sites = try Sites.mobile { $1.remoteAddresses = [IPPrefix(host: Roads.caller)] }
        try sites.moveCaller(to: Roads.second)
        sites.settle()
        #expect(sites.siteSession?.remote == Roads.at(Roads.caller) && sites.siteSession?.movingTo == nil)
        #expect(
            sites.caller.events.contains {
                if case .requestRefused(_, _, NotifyType.unacceptableAddresses.rawValue) = $0 { true } else { false }
            })
        #expect(sites.callerSession?.movingTo == nil)
        try sites.moveCaller(to: Roads.caller)
        sites.settle()
        sites.expectAgreement(children: 1)
    }

    @Test func move_withoutMobike_doesNotHappen() throws {
        var sites = try Sites.mobile { $1.mobike = false }
        let before = sites.callerSession
        try sites.moveCaller(to: Roads.second)
        #expect(sites.callerSession == before)
        // And an update that comes all the same is only answered.
        let update = try sites.forged(
            [.notify(.updateSAAddresses)], fromCaller: true, messageID: 2, from: Roads.at(Roads.second), to: Roads.at(Roads.site))
        sites.deliver(update, toSite: true)
        #expect(sites.siteSession?.remote == Roads.at(Roads.caller) && sites.siteSession?.movingTo == nil)
    }

    @Test func move_toIPv6_takesBothEndsAlong() throws {
        let (ours, theirs) = (IPAddress("2001:db8:1::1")!, IPAddress("2001:db8:2::1")!)
        var sites = try Sites.mobile()
        try sites.moveCaller(to: ours, remote: theirs)
        #expect(sites.callerSession?.remote == Roads.at(Roads.site), "the CHILD SAs wait for an answer from there")
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.path.remote == Roads.at(ours) && sites.callerSession?.path.remote == Roads.at(theirs))
        #expect(sites.callerSession?.encapsulation == false)
        try sites.moveCaller(to: Roads.second)
        #expect(sites.callerSession?.path.local == Roads.at(ours), "families do not mix")
    }

    // MARK: The responder moves (§3.5, §3.6)

    @Test func site_thatSpeaksFromElsewhere_isFollowed() throws {
        var sites = try Sites.mobile()
        let id = try #require(sites.siteSession?.id)
        sites.atSite { $0.localAddressChanged(session: id, local: Roads.at(Roads.otherSite), table: $1, context: $2) }
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.remote == Roads.at(Roads.otherSite) && sites.callerSession?.movingTo == nil)
        #expect(sites.siteSession?.local == Roads.at(Roads.otherSite) && sites.siteSession?.movingTo == nil)
    }

    // MARK: Return routability (§3.7)

    /// The site has sent COOKIE2 to `second`, and the caller has not got it.
    private func checking(
        _ policy: AddressCheckPolicy = .before
    ) throws -> (sites: Sites, check: AddressCheck, messageID: UInt32) {
        var sites = try Sites.mobile { $1.addressCheck = policy }
        sites.wire = { $0.isRequest && $0.local.address == Roads.site ? nil : $0 }
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(50))
        let pending = try #require(sites.siteSession?.ikeSA.pendingRequests.first)
        guard case .verifyAddress(let check) = pending.purpose else { throw IKEAuthenticationFailure.malformed }
        #expect(sites.siteSession?.remote == Roads.at(policy == .before ? Roads.caller : Roads.second))
        #expect(check.path?.remote == Roads.at(Roads.second))
        return (sites, check, pending.messageID)
    }

    @Test func cookie_thatIsWrongOrMissing_endsTheSession() throws {
        for answer: [Payload] in [[], [.notify(.cookie2, [UInt8](repeating: 1, count: 16))]] {
            var (sites, _, messageID) = try checking()
            let forged = try sites.forged(
                answer, fromCaller: true, isResponse: true, messageID: messageID, from: Roads.at(Roads.second),
                to: Roads.at(Roads.site))
            sites.deliver(forged, toSite: true)
            #expect(sites.site.table.count == 0 && sites.site.engine.counters.peersUnreachable == 1)
            sites.wire = { $0 }
            sites.settle()
        }
    }

    @Test func check_thatIsNotAnswered_neverMovesTheTraffic() throws {
        var (sites, _, _) = try checking()
        sites.settle()
        #expect(sites.site.table.count == 0)
        let paths = sites.site.deltas.flatMap(\.changes).filter { if case .pathChanged = $0 { true } else { false } }
        #expect(paths.isEmpty && sites.site.engine.counters.peersDead == 1)
    }

    /// A cookie that was seen at one place proves nothing about another, in whatever order the peer names them.
    @Test(arguments: [AddressCheckPolicy.before, .after])
    func cookie_thatWasSeenElsewhere_provesNothing(policy: AddressCheckPolicy) throws {
        var (sites, check, messageID) = try checking(policy)
        var next = try #require(sites.siteSession).ikeSA.nextReceiveID
        for address in [Roads.third, Roads.second] {
            let update = try sites.forged(
                [.notify(.updateSAAddresses)], fromCaller: true, messageID: next, from: Roads.at(address), to: Roads.at(Roads.site))
            sites.deliver(update, toSite: true)
            #expect(try sites.last(fromCaller: false).remote == Roads.at(address), "the question follows")
            next += 1
        }
        #expect(sites.siteSession?.movingTo?.remote == Roads.at(Roads.second))
        let answer = try sites.forged(
            [.notify(.cookie2, check.cookie)], fromCaller: true, isResponse: true, messageID: messageID, from: Roads.at(Roads.third),
            to: Roads.at(Roads.site))
        sites.deliver(answer, toSite: true)
        #expect(sites.siteSession?.movingTo?.remote == Roads.at(Roads.second), "asked anew")
        if policy == .before { #expect(sites.siteSession?.remote == Roads.at(Roads.caller)) }
        sites.pass(.milliseconds(1))
        let again = try #require(sites.siteSession?.ikeSA.pendingRequests.first)
        guard case .verifyAddress(let second) = again.purpose else {
            Issue.record("no second check")
            return
        }
        #expect(second.cookie != check.cookie && second.path?.remote == Roads.at(Roads.second))
    }

    @Test func cookie_ofAnyRequest_comesBackAsItIs() throws {
        for (count, comesBack) in [(7, false), (8, true), (64, true), (65, false)] {
            var sites = try Sites.mobile { $1.mobike = false }
            let cookie = [UInt8](repeating: 0xC2, count: count)
            let request = try sites.forged(
                [.notify(.cookie2, cookie)], fromCaller: true, messageID: 2, from: Roads.at(Roads.caller), to: Roads.at(Roads.site))
            sites.deliver(request, toSite: true)
            let answer = try sites.opened(try sites.last(fromCaller: false), fromCaller: false)
            #expect((answer.notify(.cookie2)?.data == cookie) == comesBack, "\(count) octets")
        }
    }

    // MARK: NAT prohibition (§3.9)

    @Test func update_thatForbidsNATs_isCheckedAgainstTheHeader() throws {
        let ports = [UInt16(4500).networkBytes, UInt16(4500).networkBytes].flatMap { $0 }
        for (source, isRight) in [(Roads.second, true), (Roads.third, false)] {
            var sites = try Sites.mobile { $1.addressCheck = .never }
            let contents = source.bytes + Roads.site.bytes + ports
            let update = try sites.forged(
                [
                    .notify(.updateSAAddresses), .notify(.noNATsAllowed, contents), .notify(.additionalIP4Address, Roads.third.bytes),
                    .notify(.cookie2, [UInt8](repeating: 3, count: 8)),
                ], fromCaller: true, messageID: 2, from: Roads.at(Roads.second), to: Roads.at(Roads.site))
            sites.deliver(update, toSite: true)
            let sent = try sites.last(fromCaller: false)
            let answer = try sites.opened(sent, fromCaller: false)
            #expect(sent.remote == Roads.at(Roads.second) && answer.has(.cookie2))
            #expect(answer.has(.unexpectedNATDetected) == !isRight)
            #expect(sites.siteSession?.remote.address == (isRight ? Roads.second : Roads.caller))
            #expect(sites.siteSession?.peerAddresses == (isRight ? [Roads.third] : []))
        }
    }

    /// Whoever changes one packet does not keep us from a path, and whoever changes all does not keep us busy.
    @Test func update_thatIsAnsweredWithANAT_isTriedSeveralTimes() throws {
        var sites = try Sites.mobile()
        sites.wire = { $0.local.address == Roads.second ? nil : $0 }
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(1))
        var tries = 0
        while let pending = sites.callerSession?.ikeSA.pendingRequests.first, tries < 20 {
            tries += 1
            let answer = try sites.forged(
                [.notify(.unexpectedNATDetected)], fromCaller: false, isResponse: true, messageID: pending.messageID,
                from: Roads.at(Roads.site), to: Roads.at(Roads.second))
            sites.deliver(answer, toSite: false)
            sites.pass(.milliseconds(1))
        }
        #expect(tries == 6 && sites.callerSession?.movingTo == nil)
        #expect(sites.caller.engine.counters.requestsRefused == 1)
    }

    // MARK: Requests about addresses

    @Test func additionalAddresses_thatComeLater_replaceTheList() throws {
        var sites = try Sites.mobile { caller, _ in caller.additionalAddresses = [Roads.second] }
        let many = (0..<40).map { Payload.notify(.additionalIP4Address, IPAddress(v4: 0xCB00_7100 + $0).bytes) }
        let lists: [([Payload], [IPAddress])] = [
            ([.notify(.additionalIP4Address, Roads.third.bytes), .notify(.additionalIP4Address, Roads.third.bytes)], [Roads.third]),
            ([.notify(.additionalIP6Address, Roads.third.bytes), .notify(.additionalIP4Address, [1])], []),
            (many, (0..<UInt32(Session.peerAddressesMax)).map { IPAddress(v4: 0xCB00_7100 + $0) }),
            ([.notify(.cookie2, [UInt8](repeating: 1, count: 8))], (0..<UInt32(16)).map { IPAddress(v4: 0xCB00_7100 + $0) }),
            ([.notify(.noAdditionalAddresses)], []),
        ]
        for (index, (payloads, expected)) in lists.enumerated() {
            let request = try sites.forged(
                payloads, fromCaller: true, messageID: UInt32(2 + index), from: Roads.at(Roads.caller), to: Roads.at(Roads.site))
            sites.deliver(request, toSite: true)
            #expect(sites.siteSession?.peerAddresses == expected, "list \(index)")
            #expect(sites.siteSession?.movingTo == nil)
        }
    }

    @Test func request_fromElsewhere_isAnsweredThereAndMovesNothing() throws {
        var sites = try Sites.mobile()
        let before = sites.siteSession?.path
        let spis = try #require(sites.siteSession).ikeSA.spis
        let detection = NATDetection.payloads(spis: spis, local: Roads.at(Roads.second), remote: Roads.at(Roads.site), forced: false)
        let request = try sites.forged(detection, fromCaller: true, messageID: 2, from: Roads.at(Roads.outside), to: Roads.at(Roads.site))
        sites.deliver(request, toSite: true)
        let sent = try sites.last(fromCaller: false)
        #expect(sent.remote == Roads.at(Roads.outside) && sites.siteSession?.path == before && sites.siteSession?.movingTo == nil)
        // §3.8: the sender learns where it was seen.
        let nat = NATDetection(
            try sites.opened(sent, fromCaller: false), spis: spis, local: Roads.at(Roads.second), remote: Roads.at(Roads.site))
        #expect(nat.isSupported && nat.localBehindNAT && !nat.remoteBehindNAT)
    }

    @Test func update_ofTheResponder_isNone() throws {
        var sites = try Sites.mobile()
        let before = sites.callerSession?.path
        let update = try sites.forged(
            [.notify(.updateSAAddresses)], fromCaller: false, messageID: 0, from: Roads.at(Roads.otherSite), to: Roads.at(Roads.caller))
        sites.deliver(update, toSite: false)
        #expect(sites.callerSession?.path == before && sites.callerSession?.movingTo == nil)
        #expect(try sites.last(fromCaller: true).remote == Roads.at(Roads.otherSite))
    }

    /// With a window above 1 an older update may come after a newer one.
    @Test func update_thatIsOlder_isAnsweredWithoutEffect() throws {
        var (caller, site) = (IKEConfiguration.caller(), IKEConfiguration.site())
        caller.connections[0].localAddresses = []
        site.connections[0].remoteAddresses = []
        site.connections[0].addressCheck = .never
        site.limits.requestWindow = 4
        var sites = Sites(caller: caller, site: site)
        try sites.call()
        sites.settle()
        for (id, address) in [(UInt32(3), Roads.second), (2, Roads.third)] {
            let update = try sites.forged(
                [.notify(.updateSAAddresses)], fromCaller: true, messageID: id, from: Roads.at(address), to: Roads.at(Roads.site))
            sites.deliver(update, toSite: true)
            #expect(try sites.last(fromCaller: false).remote == Roads.at(address))
            #expect(sites.siteSession?.remote == Roads.at(Roads.second))
        }
    }

    /// An update that was under way while the site rekeyed the IKE SA is followed, unless a newer one has come in the new IKE SA.
    @Test(arguments: [false, true])
    func update_inTheIKESAThatWasReplaced_isFollowedIfItIsTheNewest(comesLate: Bool) throws {
        var sites = try Sites.mobile()
        let id = try #require(sites.siteSession?.id)
        // The update is held up; the site's DELETE of the old IKE SA gets lost.
        sites.wire = { $0.isInformational && $0.isRequest ? nil : $0 }
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(1))
        let held = try sites.last(fromCaller: true)
        #expect(held.isInformational && held.isRequest)
        sites.atSite { $0.rekey(session: id, table: $1, context: $2) }
        sites.pass(.milliseconds(50))
        #expect(sites.siteSession?.otherIKESAs.count == 1 && sites.siteSession?.remote == Roads.at(Roads.caller))
        if comesLate {
            let newer = try sites.forged(
                [.notify(.updateSAAddresses)], fromCaller: true, messageID: 0, from: Roads.at(Roads.third), to: Roads.at(Roads.site))
            sites.deliver(newer, toSite: true)
            #expect(sites.siteSession?.movingTo?.remote == Roads.at(Roads.third))
        }
        sites.deliver(Datagram(local: held.remote, remote: held.local, bytes: held.bytes), toSite: true)
        #expect(sites.sent.last { !$0.fromCaller && !$0.datagram.isRequest }?.datagram.remote == held.local, "answered in any case")
        #expect(sites.siteSession?.movingTo?.remote == Roads.at(comesLate ? Roads.third : Roads.second))
    }

    // MARK: Failures (§3.11)

    /// One packet whose source somebody changed ends no session whose path works.
    @Test(arguments: [false, true])
    func update_fromAnAddressWhereNobodyAnswers_leavesTheSessionWhereItWas(withOthersWaiting: Bool) throws {
        var (caller, site) = (IKEConfiguration.caller(), IKEConfiguration.site())
        caller.limits.requestWindow = 4
        site.connections[0].remoteAddresses = []
        var sites = Sites(caller: caller, site: site)
        try sites.call()
        sites.settle()
        sites.wire = { $0.remote.address == Roads.outside ? nil : $0 }
        let update = try sites.forged(
            [.notify(.updateSAAddresses)], fromCaller: true, messageID: 2, from: Roads.at(Roads.outside), to: Roads.at(Roads.site))
        sites.deliver(update, toSite: true)
        sites.pass(.seconds(5))
        #expect(sites.siteSession?.movingTo?.remote == Roads.at(Roads.outside))
        let before = try #require(sites.siteSession)
        if withOthersWaiting {
            sites.atSite { $0.rekey(child: before.children[0].inboundSPI, in: before.id, table: $1, context: $2) }
            #expect(sites.siteSession?.ikeSA.pendingRequests.count == 2)
        }
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.path == before.path && sites.siteSession?.movingTo == nil)
        #expect((sites.siteSession?.children[0].inboundSPI != before.children[0].inboundSPI) == withOthersWaiting)
        #expect(sites.site.engine.counters.peersDead == 0)
        #expect(sites.site.events.contains { if case .stayed = $0 { true } else { false } })
    }

    // MARK: Takeovers in the middle

    @Test func takeover_ofTheSiteDuringTheCheck_finishesIt() throws {
        var (sites, check, _) = try checking()
        sites.wire = { $0 }
        sites.takeOverSite()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == check.path?.remote && sites.siteSession?.movingTo == nil)
    }

    @Test func takeover_ofTheSiteBeforeTheCheck_beginsIt() throws {
        var sites = try Sites.mobile()
        let id = try #require(sites.siteSession?.id)
        // The window is full when the update comes.
        sites.wire = { $0.isRequest && $0.local.address == Roads.site ? nil : $0 }
        sites.atSite { $0.checkLiveness(session: id, table: $1, context: $2) }
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(50))
        #expect(sites.siteSession?.movingTo?.remote == Roads.at(Roads.second))
        #expect(sites.siteSession?.ikeSA.pendingRequests.map(\.purpose) == [.liveness])
        sites.wire = { $0 }
        sites.takeOverSite()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == Roads.at(Roads.second) && sites.siteSession?.movingTo == nil)
    }

    /// With the update in flight, and with the update still waiting for the window.
    @Test(arguments: [false, true])
    func takeover_ofTheCallerThatMoves_finishesIt(windowIsFull: Bool) throws {
        var sites = try Sites.mobile()
        let id = try #require(sites.callerSession?.id)
        sites.wire = { _ in nil }
        if windowIsFull { sites.atCaller { $0.checkLiveness(session: id, table: $1, context: $2) } }
        try sites.moveCaller(to: Roads.second)
        sites.pass(.milliseconds(50))
        #expect((sites.callerSession?.ikeSA.pendingRequests.first?.purpose == .liveness) == windowIsFull)
        sites.wire = { $0 }
        sites.takeOver()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == Roads.at(Roads.second) && sites.callerSession?.movingTo == nil)
    }

    /// Whatever gets lost, and whoever takes over at whatever moment: in the end both are at the same place.
    @Test func move_withATakeoverAtEveryMoment_endsWhereTheCallerIs() throws {
        for delay in stride(from: 0, through: 28, by: 4) {
            for lost in 0..<5 {
                for bySite in [true, false] {
                    var sites = try Sites.mobile()
                    var number = 0
                    sites.wire = { datagram in
                        defer { number += 1 }
                        return number == lost ? nil : datagram
                    }
                    try sites.moveCaller(to: Roads.second)
                    sites.pass(.milliseconds(delay))
                    if bySite { sites.takeOverSite() } else { sites.takeOver() }
                    sites.settle()
                    sites.expectAgreement(children: 1)
                    #expect(sites.siteSession?.remote == Roads.at(Roads.second), "\(delay) ms, datagram \(lost) lost")
                    #expect(sites.siteSession?.movingTo == nil && sites.callerSession?.movingTo == nil)
                }
            }
        }
    }

    @Test func deltas_ofMoves_appliedElsewhere_giveTheSameTable() throws {
        var sites = try Sites.mobile()
        try sites.moveCaller(to: Roads.second)
        sites.settle()
        try sites.moveCaller(to: Roads.third)
        sites.settle()
        for gateway in [sites.caller, sites.site] {
            var standby = SessionTable()
            for delta in gateway.deltas { #expect(throws: Never.self) { try standby.apply(delta) } }
            #expect(standby.sessions == gateway.table.sessions && standby.count == 1)
        }
    }
}
