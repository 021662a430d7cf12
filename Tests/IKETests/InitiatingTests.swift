import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// The engine as initiator of an IKE SA, against another engine; IVs are checked by `Sites`.
@Suite struct InitiatingTests {
    static func established(_ caller: IKEConfiguration = .caller(), node: NodeID = .zero) throws -> Sites {
        var sites = Sites(caller: caller, node: node)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        return sites
    }

    @Test func call_ofAnEngine_makesOneSessionOnBothSides() throws {
        let cbc = IKEProposal(ciphers: [.cbc128], integrity: [.hmacSHA256_128], prfs: [.hmacSHA256], groups: [.ecp256])
        for proposal in [IKEProposal.gcmX25519, cbc] {
            for node in [NodeID.zero, .one] {
                let sites = try Self.established(.caller(proposals: [proposal]), node: node)
                let session = try #require(sites.callerSession)
                #expect(session.ikeSA.role == .initiator && session.id.rawValue == session.ikeSA.spis.initiator)
                #expect(session.ikeSA.nextSendID == 2 && session.ikeSA.nextReceiveID == 0)
                #expect(session.ikeSA.localSPI >> 63 == UInt64(node.rawValue), "law 3: the node's bit in the IKE SPI")
                #expect(session.children[0].inboundSPI >> 31 == UInt32(node.rawValue), "law 3: the node's bit in the ESP SPI")
                #expect(session.children[0].lease == .initial && session.children[0].name == "net")
                #expect(session.uniqueID % 2 == UInt32(node.rawValue) && session.children[0].uniqueID % 2 == UInt32(node.rawValue))
                #expect(session.authorization.remoteIdentity == Identity(text: "site.example.net"))
                #expect(sites.caller.deltas.count == 1 && sites.caller.engine.initiations.count == 0 && sites.failures.isEmpty)
                #expect(sites.sent.filter(\.fromCaller).count == 2)
            }
        }
    }

    @Test func call_withForcedEncapsulation_movesToPort4500() throws {
        let session = try #require(try Self.established(.caller(forceEncapsulation: true)).callerSession)
        #expect(session.encapsulation && session.local.port == 4500 && session.remote.port == 4500)
    }

    @Test func call_thatMeetsACookieAndAnotherGroup_succeeds() throws {
        var limits = IKELimits()
        limits.cookieThreshold = 0
        let proposals = [IKEProposal(ciphers: [.gcm128], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519, .ecp256])]
        var sites = Sites(caller: .caller(proposals: proposals), site: .site(proposals: [.gcmP256], limits: limits))
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.site.engine.counters.cookiesRequired == 1 && sites.site.engine.counters.invalidKeyExchanges == 1)
    }

    // MARK: Failures

    @Test func call_thatIsRefused_saysWhyAndLeavesNothing() throws {
        let refusals: [(IKEConfiguration, IKEConfiguration, InitiationFailure)] = [
            (.caller(secret: "another"), .site(), .refused(notify: NotifyType.authenticationFailed.rawValue)),
            (.caller(), .site(identity: "other.example.net"), .refused(notify: NotifyType.authenticationFailed.rawValue)),
            (.caller(), .site(proposals: [.gcmP256]), .refused(notify: NotifyType.noProposalChosen.rawValue)),
            (.caller(remoteSelector: "172.16.0.0/12"), .site(), .childRefused(notify: NotifyType.tsUnacceptable.rawValue)),
        ]
        for (caller, site, reason) in refusals {
            var sites = Sites(caller: caller, site: site)
            try sites.call()
            sites.settle()
            #expect(sites.failures == [reason])
            #expect(sites.caller.table.count == 0 && sites.site.table.count == 0, "\(reason)")
            #expect(sites.caller.engine.initiations.count == 0 && sites.caller.engine.counters.initiationsFailed == 1)
        }
    }

    /// Any identity is taken, but not with a secret that is somebody else's.
    @Test func peer_withTheSecretOfAnother_isNotBelievedAndTold() throws {
        var caller = IKEConfiguration.caller(remoteIdentity: nil)
        caller.secrets.append(SharedSecret(identities: [Identity(text: "site.example.net")], secret: SecretBytes(Array("its own".utf8))))
        var sites = Sites(caller: caller)
        try sites.call()
        sites.settle()
        #expect(sites.failures == [.notAuthenticated])
        #expect(sites.caller.table.count == 0 && sites.site.table.count == 0)
        caller.secrets.removeLast()
        let session = try Self.established(caller).callerSession
        #expect(session?.authorization.remoteIdentity == Identity(text: "site.example.net"))
    }

    @Test func peer_thatIsSilent_isAskedSixTimesAndGivenUp() throws {
        for lost in [ExchangeType.ikeSAInit, .ikeAuth] {
            var sites = Sites()
            sites.wire = { $0.bytes[18] == lost.rawValue ? nil : $0 }
            let began = sites.now
            try sites.call()
            sites.settle()
            let requests = sites.sent.filter { $0.fromCaller && $0.datagram.bytes[18] == lost.rawValue }
            #expect(requests.count == 6 && Set(requests.map(\.datagram)).count == 1)
            #expect(sites.failures == [.timedOut])
            #expect(sites.caller.table.count == 0 && sites.caller.engine.initiations.count == 0)
            #expect(sites.now - began >= .seconds(160) && sites.now - began < .seconds(170))
        }
    }

    @Test func datagrams_thatGetLost_areRepeated() throws {
        for lost in 0..<4 {
            var sites = Sites()
            var number = 0
            sites.wire = { datagram in
                defer { number += 1 }
                return number == lost ? nil : datagram
            }
            try sites.call()
            sites.settle()
            sites.expectAgreement(children: 1)
            #expect(sites.caller.engine.counters.requestsRetransmitted == 1)
        }
    }

    /// RFC 7296 §2.9: a peer may narrow what was offered, and nothing else.
    @Test func peer_thatWidensTheSelectors_getsADelete() throws {
        var sites = Sites()
        let id = try sites.call()
        var answer: Datagram?
        sites.wire = { datagram in
            guard datagram.bytes[18] == ExchangeType.ikeAuth.rawValue, datagram.local.address == Sites.siteAddress else { return datagram }
            answer = datagram
            return nil
        }
        sites.settle(limit: .milliseconds(100))
        let original = try #require(answer)
        sites.wire = { $0 }
        let sa = try #require(sites.caller.engine.initiations[id.rawValue]?.machine.ikeSA)
        let protection = MessageProtection(sa.algorithms, keys: sa.receivingKeys)
        let payloads = try protection.open(original.bytes).map { payload in
            if case .trafficSelectorsResponder = payload { return Payload.trafficSelectorsResponder([TrafficSelector("0.0.0.0/0").wire]) }
            return payload
        }
        let widened = try protection.seal(
            payloads, header: try IKEHeader(parsing: original.bytes), context: sites.context(sites.site))
        sites.deliver(Datagram(local: original.remote, remote: original.local, bytes: widened[0]), toSite: false)
        #expect(sites.failures == [.badChild] && sites.callerSession?.children.isEmpty == true)
        sites.settle()
        #expect(sites.caller.table.count == 0 && sites.site.table.count == 0)
    }

    @Test func answers_thatAreForgedOrFromElsewhere_changeNothing() throws {
        var sites = Sites()
        sites.wire = { _ in nil }
        try sites.call()
        let request = try #require(sites.sent.last).datagram
        sites.site = Gateway(.site())
        sites.deliver(Datagram(local: request.remote, remote: request.local, bytes: request.bytes), toSite: true)
        let answer = try #require(sites.sent.last).datagram
        let stranger = Endpoint(IPAddress("203.0.113.1")!, 500)
        sites.deliver(Datagram(local: answer.remote, remote: stranger, bytes: answer.bytes), toSite: false)
        #expect(sites.caller.engine.counters.dropped(.unexpectedResponse) == 1 && sites.sent.count == 2)
        // Nothing traps, whatever stands in an answer, and no session comes of it.
        for index in answer.bytes.indices {
            var copy = sites
            var bytes = answer.bytes
            bytes[index] ^= 0x5A
            copy.deliver(Datagram(local: answer.remote, remote: answer.local, bytes: bytes), toSite: false)
            #expect(copy.caller.table.count == 0)
        }
        for length in answer.bytes.indices {
            sites.deliver(Datagram(local: answer.remote, remote: answer.local, bytes: Array(answer.bytes.prefix(length))), toSite: false)
        }
        sites.wire = { $0 }
        sites.deliver(Datagram(local: answer.remote, remote: answer.local, bytes: answer.bytes), toSite: false)
        sites.settle()
        sites.expectAgreement(children: 1)
    }

    @Test func calls_beyondTheLimit_areRefused() throws {
        var sites = Sites()
        sites.wire = { _ in nil }
        for _ in 0..<InitiationTable.countMax { try sites.call() }
        #expect(throws: InitiationRefusal.tooMany) { try sites.call() }
        var without = Sites(caller: .caller(remoteIdentity: "site.example.net"))
        without.caller.engine.reconfigure(IKEConfiguration(connections: IKEConfiguration.caller().connections, secrets: [], pools: []))
        #expect(throws: InitiationRefusal.noSecret) { try without.call() }
    }

    // MARK: The session's life

    private func converse(_ sites: inout Sites, children count: Int = 1) throws {
        let ours = try #require(sites.callerSession).id
        let theirs = try #require(sites.siteSession).id
        let dropped = (sites.caller.engine.counters.droppedTotal, sites.site.engine.counters.droppedTotal)
        sites.atCaller { $0.checkLiveness(session: ours, table: $1, context: $2) }
        sites.settle()
        sites.atSite { $0.checkLiveness(session: theirs, table: $1, context: $2) }
        sites.settle()
        #expect((sites.caller.engine.counters.droppedTotal, sites.site.engine.counters.droppedTotal) == dropped)
        #expect(sites.caller.table.withPendingRequest.isEmpty && sites.site.table.withPendingRequest.isEmpty)
        sites.expectAgreement(children: count)
    }

    @Test func session_thatWeBegan_livesAndEndsFromBothSides() throws {
        for endsHere in [true, false] {
            for childrenFirst in [true, false] {
                var sites = try Self.established()
                try converse(&sites)
                let ours = try #require(sites.callerSession)
                let theirs = try #require(sites.siteSession)
                if childrenFirst {
                    if endsHere {
                        sites.atCaller { $0.terminate(child: ours.children[0].inboundSPI, in: ours.id, table: $1, context: $2) }
                    } else {
                        sites.atSite { $0.terminate(child: theirs.children[0].inboundSPI, in: theirs.id, table: $1, context: $2) }
                    }
                    sites.settle()
                    sites.expectAgreement(children: 0)
                }
                if endsHere {
                    sites.atCaller { $0.terminate(session: ours.id, table: $1, context: $2) }
                } else {
                    sites.atSite { $0.terminate(session: theirs.id, table: $1, context: $2) }
                }
                sites.settle()
                #expect(sites.caller.table.count == 0 && sites.site.table.count == 0)
            }
        }
    }

    @Test func session_thatWeBegan_survivesTakeovers() throws {
        var sites = try Self.established()
        for _ in 0..<3 {
            sites.takeOver()
            try converse(&sites)
        }
        let ours = try #require(sites.callerSession)
        // The DELETE of one owner is repeated by the next, the same to the bit.
        sites.wire = { _ in nil }
        sites.atCaller { $0.terminate(session: ours.id, table: $1, context: $2) }
        sites.wire = { $0 }
        sites.takeOver()
        sites.settle()
        #expect(sites.caller.table.count == 0 && sites.site.table.count == 0)
    }

    @Test func takeover_inTheMiddleOfACall_losesOnlyTheCall() throws {
        var sites = Sites()
        try sites.call()
        sites.takeOver()
        sites.settle()
        #expect(sites.caller.table.count == 0 && sites.site.table.count == 0)
        #expect(sites.caller.engine.counters.droppedTotal == 1)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)

        try sites.call()
        sites.caller.engine.lostOwnership()
        #expect(sites.caller.engine.initiations.count == 0)
    }

    /// A peer rekeys what we began, as stock peers do: then we are responder of the new IKE SA.
    @Test func rekeysByThePeer_inASessionThatWeBegan_areAnswered() throws {
        var sites = try Self.established()
        let theirs = try #require(sites.siteSession)
        // The peer's state in the machine that knows how to ask.
        var configuration = InitiatorConfiguration(
            local: theirs.local, remote: theirs.remote, localIdentity: theirs.authorization.localIdentity, remoteIdentity: nil,
            secret: SecretBytes([1]), proposals: [.gcmX25519], childProposals: [.gcm],
            localSelectors: [TrafficSelector("10.30.0.0/16")], remoteSelectors: [TrafficSelector("10.10.0.0/16")])
        configuration.childName = "net"
        var peer = IKEInitiator(configuration: configuration)
        peer.phase = .established
        peer.ikeSA = theirs.ikeSA
        peer.children = theirs.children
        func exchange(_ datagrams: [Datagram]) {
            var datagrams = datagrams
            while let next = datagrams.popLast() {
                let arriving = Datagram(local: next.remote, remote: next.local, bytes: next.bytes)
                let answers = sites.caller.take(
                    sites.caller.engine.receive(arriving, table: sites.caller.table, context: sites.context(sites.caller)))
                for answer in answers {
                    let back = Datagram(local: answer.remote, remote: answer.local, bytes: answer.bytes)
                    datagrams += peer.receive(back, context: sites.context(sites.site))
                }
            }
        }
        for round in 0..<2 {
            exchange(peer.rekeyChild(inboundSPI: peer.children[0].inboundSPI, group: .curve25519, context: sites.context(sites.site)))
            exchange(peer.rekeyIKE(context: sites.context(sites.site)))
            exchange(peer.liveness(context: sites.context(sites.site)))
            #expect(peer.isQuiet && peer.lastResult == .succeeded && peer.children.count == 1)
            let session = try #require(sites.callerSession)
            #expect(session.ikeSA.role == .responder && session.otherIKESAs.isEmpty && session.ikeSA.keys == peer.ikeSA?.keys)
            #expect(session.children.map(\.outboundSPI) == peer.children.map(\.inboundSPI))
            #expect(session.children[0].outboundKeys == peer.children[0].inboundKeys)
            if round == 0 { sites.takeOver() }
        }
        exchange(peer.delete(context: sites.context(sites.site)))
        #expect(sites.caller.table.count == 0 && peer.phase == .closed)
    }
}
