import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Redirects (RFC 5685) of the gateway, to a client of our own.
@Suite struct RedirectingTests {
    static let other = IPAddress("198.51.100.8")!

    /// A site that answers at any address.
    private static func sites(follows: Bool = true, limits: IKELimits = IKELimits()) -> Sites {
        var caller = IKEConfiguration.caller()
        caller.connections[0].followsRedirects = follows
        var site = IKEConfiguration.site(limits: limits)
        site.connections[0].localAddresses = []
        return Sites(caller: caller, site: site)
    }

    private static func established(follows: Bool = true, limits: IKELimits = IKELimits()) throws -> Sites {
        var sites = sites(follows: follows, limits: limits)
        try sites.call()
        sites.settle()
        try #require(sites.callerSession != nil && sites.siteSession != nil)
        return sites
    }

    private static func inits(_ sites: Sites, fromCaller: Bool) throws -> [IKEMessage] {
        try sites.sent.filter { $0.fromCaller == fromCaller && $0.datagram.bytes[18] == 34 }.map {
            try IKEMessage(parsing: $0.datagram.bytes)
        }
    }

    /// - Returns: why not, if not.
    @discardableResult
    private static func redirect(_ sites: inout Sites, to target: GatewayIdentity = .address(other)) -> RedirectObjection? {
        guard let id = sites.siteSession?.id else { return .unknownSession }
        var objection: RedirectObjection?
        sites.atSite { engine, table, context in
            do throws(RedirectObjection) {
                return try engine.redirect(session: id, to: target, contextTransmitted: false, table: table, context: context)
            } catch {
                objection = error
                return .nothing
            }
        }
        return objection
    }

    // MARK: IKE_SA_INIT

    @Test func redirect_inIKESAInit_keepsNothingAndLeadsOn() throws {
        var sites = Self.sites()
        sites.site.engine.redirectNew = NewPeerRedirect(to: .address(Self.other), phase: .ikeSAInit)
        try sites.call()
        sites.deliverNext(1)
        #expect(sites.site.engine.halfOpenCount == 0)
        let request = try #require(Self.inits(sites, fromCaller: true).first)
        let answer = try #require(Self.inits(sites, fromCaller: false).last)
        #expect(answer.header.responderSPI == 0 && answer.payloads.count == 1)
        let notify = try #require(PayloadSet(answer.payloads).notify(.redirect))
        #expect(notify.protocolID == .none && notify.spi.isEmpty)
        #expect(notify.data == [1, 4] + Self.other.bytes + (try #require(PayloadSet(request.payloads).nonce)))
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.remote.address == Self.other)
        #expect(sites.siteSession?.redirects.from == Sites.siteAddress, "REDIRECTED_FROM is kept")
        #expect(sites.siteSession?.capabilities.contains(.redirect) == true)
        #expect(sites.site.engine.counters.newPeersRedirected == 1 && sites.site.engine.counters.authenticated == 1)
    }

    @Test(arguments: NewPeerRedirect.Phase.allCases) func newClient_thatDidNotAnnounceIt_isLetIn(phase: NewPeerRedirect.Phase) throws {
        var sites = Self.sites(follows: false)
        sites.site.engine.redirectNew = NewPeerRedirect(to: .address(Self.other), phase: phase)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.remote.address == Sites.siteAddress && sites.site.engine.counters.newPeersRedirected == 0)
        #expect(Self.redirect(&sites) == .notAnnounced)
        #expect(sites.siteSession?.hasPendingRequest == false)
    }

    /// To itself, to where the client comes from, to the client, and to a family that the client may not have.
    @Test func newClient_whomNoRedirectWouldHelp_isLetIn() throws {
        for target in [Sites.siteAddress, Sites.callerAddress, IPAddress("2001:db8::8")!] {
            for phase in NewPeerRedirect.Phase.allCases {
                var sites = Self.sites()
                sites.site.engine.redirectNew = NewPeerRedirect(to: .address(target), phase: phase)
                try sites.call()
                sites.settle()
                sites.expectAgreement(children: 1)
                #expect(sites.callerSession?.remote.address == Sites.siteAddress, "\(target)")
            }
        }
        // The first sends to the second, which would send back.
        var sites = Self.sites()
        sites.site.engine.redirectNew = NewPeerRedirect(to: .address(Self.other), phase: .ikeSAInit)
        try sites.call()
        sites.deliverNext(2)
        sites.site.engine.redirectNew = NewPeerRedirect(to: .address(Sites.siteAddress), phase: .ikeSAInit)
        sites.settle()
        #expect(sites.callerSession?.remote.address == Self.other && sites.site.engine.counters.newPeersRedirected == 1)
    }

    @Test(arguments: NewPeerRedirect.Phase.allCases) func newClient_redirectedFiveTimes_isLetIn(phase: NewPeerRedirect.Phase) throws {
        var sites = Self.sites()
        sites.caller.engine.configuration.limits.retransmitTries = 20
        // Each of them sends to another one.
        for step in 0..<8 {
            let target = Self.other.advanced(by: UInt64(step))!
            sites.site.engine.redirectNew = NewPeerRedirect(to: .address(target), phase: phase)
            if step == 0 { try sites.call() }
            let before = sites.site.engine.counters.newPeersRedirected
            while sites.site.engine.counters.newPeersRedirected == before, sites.siteSession?.children.isEmpty != false {
                sites.deliverNext(1)
                if sites.site.engine.counters.authenticated > 0, phase == .ikeSAInit { break }
            }
        }
        sites.site.engine.redirectNew = nil
        sites.settle()
        #expect(sites.site.engine.counters.newPeersRedirected == 5)
        #expect(sites.callerSession?.remote.address == Self.other.advanced(by: 4) && sites.failures.isEmpty)
        sites.expectAgreement(children: 1)
    }

    @Test func redirectBook_whenFlooded_staysSmallAndForgetsTheOldest() {
        var book = RedirectBook()
        let first = RedirectBook.Peer.address(Self.other)
        let counted = (0..<5).map { _ in book.count(first, at: 1000) } + [301_000, 300_999].reversed().map { book.count(first, at: $0) }
        #expect(counted == [true, true, true, true, true, false, true])
        let others = (0..<UInt64(10_000)).map { book.count(.address(IPAddress("10.0.0.1")!.advanced(by: $0)!), at: 301_000) }
        #expect(!others.contains(false))
        #expect(book.count <= 2 * RedirectBook.perGenerationMax)
    }

    // MARK: IKE_AUTH

    @Test(arguments: [false, true]) func redirect_inIKEAuth_comesWithAUTHAndWithoutAChild(isLost: Bool) throws {
        var limits = IKELimits()
        limits.redirectDeleteDelay = .seconds(30)
        var sites = Self.sites(limits: limits)
        // Without INITIAL_CONTACT, which would take the first IKE SA away.
        sites.caller.engine.configuration.connections[0].unique = .never
        sites.site.engine.redirectNew = NewPeerRedirect(to: .address(Self.other), phase: .ikeAuth)
        // The client's DELETE.
        if isLost { sites.wire = { $0.bytes[18] == 37 && $0.remote.address == Sites.siteAddress ? nil : $0 } }
        try sites.call()
        sites.deliverNext(3)
        let first = try #require(sites.siteSession)
        #expect(first.children.isEmpty && first.virtualAddresses.isEmpty && first.redirects.order?.stage == .answered)
        let answer = try #require(sites.sent.last { !$0.fromCaller && $0.datagram.bytes[18] == 35 }).datagram
        let payloads = PayloadSet(try MessageProtection(first.ikeSA.algorithms, keys: first.ikeSA.sendingKeys).open(answer.bytes))
        #expect(payloads.authentication != nil && payloads.responderIdentity != nil && payloads.proposals == nil)
        #expect(payloads.notify(.redirect)?.data == [1, 4] + Self.other.bytes, "no nonce (RFC 5685 §9.2)")
        sites.settle()
        #expect(sites.callerSession?.remote.address == Self.other)
        #expect(sites.site.table.count == (isLost ? 2 : 1))
        sites.wire = { $0 }
        sites.pass(.seconds(250))
        #expect(sites.site.table.count == 1 && sites.site.table[first.id] == nil)
        sites.expectAgreement(children: 1)
    }

    @Test func redirect_inIKEAuth_isForThoseWhoShowWhoTheyAre() throws {
        var sites = Sites(caller: .caller(secret: "another one"), site: .site())
        sites.site.engine.redirectNew = NewPeerRedirect(to: .address(Self.other), phase: .ikeAuth)
        try sites.call()
        sites.settle()
        #expect(sites.site.table.count == 0 && sites.site.engine.counters.newPeersRedirected == 0)
        #expect(sites.failures == [.refused(notify: NotifyType.authenticationFailed.rawValue)])
    }

    // MARK: In a session

    /// What a node does when it is asked for a successor.
    private static func succeed(_ sites: inout Sites) throws {
        let session = try #require(sites.callerSession)
        let remote = try #require(session.redirectedTo)
        let connection = sites.caller.engine.configuration.connections[0]
        sites.atCaller { engine, table, context in
            let begun = try? engine.initiate(
                connection: connection, child: connection.children[0], local: Endpoint(Sites.callerAddress, 500),
                remote: Endpoint(remote, 500), replacing: session.id, table: table, context: context)
            return begun?.outcome ?? .nothing
        }
    }

    @Test(arguments: [false, true]) func redirect_ofASession_goesOutAndTheClientGoes(takesOver: Bool) throws {
        var sites = try Self.established()
        let old = try #require(sites.siteSession)
        // Something else is under way first.
        let wire = sites.wire
        sites.wire = { _ in nil }
        sites.atSite { $0.checkLiveness(session: old.id, table: $1, context: $2) }
        #expect(Self.redirect(&sites) == nil)
        #expect(sites.siteSession?.redirects.order?.stage == .prepared)
        #expect(Self.redirect(&sites) == .isUnderWay)
        sites.wire = wire
        if takesOver { sites.takeOverSite() }
        sites.settle()
        let told = try #require(sites.siteSession)
        #expect(told.redirects.order?.stage == .answered && told.redirects.times.count == 1)
        #expect(sites.callerSession?.redirectedTo == Self.other)
        #expect(sites.site.events.contains(.redirectAnswered(session: old.id, accepted: false)))
        try Self.succeed(&sites)
        sites.settle()
        sites.pass(.seconds(1))
        #expect(sites.site.table.count == 1 && sites.site.table[old.id] == nil)
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.remote.address == Self.other)
        #expect(Self.redirect(&sites, to: .address(Sites.siteAddress)) == .cameFromThere, "it has just come from there")
        sites.now = sites.now + .seconds(300)
        #expect(Self.redirect(&sites, to: .address(Sites.siteAddress)) == nil)
    }

    @Test(arguments: [false, true]) func redirectedSession_thatTheClientLeaves_isDeletedInTime(takesOver: Bool) throws {
        var limits = IKELimits()
        limits.redirectDeleteDelay = .seconds(40)
        var sites = try Self.established(limits: limits)
        #expect(Self.redirect(&sites, to: .name("gw2.example.net")) == nil)
        sites.settle()
        let notify = try #require(sites.sent.last { !$0.fromCaller && $0.datagram.bytes[18] == 37 }).datagram
        let session = try #require(sites.siteSession)
        let payloads = PayloadSet(try MessageProtection(session.ikeSA.algorithms, keys: session.ikeSA.sendingKeys).open(notify.bytes))
        #expect(payloads.notify(.redirect)?.data == [3, 15] + Array("gw2.example.net".utf8))
        sites.pass(.seconds(20))
        if takesOver { sites.takeOverSite() }
        sites.pass(.seconds(15))
        #expect(sites.site.table.count == 1)
        sites.pass(.seconds(15))
        sites.settle()
        #expect(sites.site.table.count == 0 && sites.caller.table.count == 0, "the client is told")
    }

    @Test func session_redirectedFiveTimes_isRedirectedAgainAfterFiveMinutes() throws {
        var limits = IKELimits()
        limits.redirectDeleteDelay = nil
        var sites = try Self.established(limits: limits)
        for number in 0..<5 {
            #expect(Self.redirect(&sites, to: .address(Self.other.advanced(by: UInt64(number))!)) == nil)
            sites.settle()
            sites.pass(.seconds(10))
        }
        #expect(Self.redirect(&sites) == .tooMany)
        sites.takeOverSite()
        #expect(Self.redirect(&sites) == .tooMany, "the new owner knows")
        sites.now = sites.now + .seconds(255)
        #expect(Self.redirect(&sites) == nil)
        sites.settle()
        #expect(sites.caller.engine.counters.redirectsIgnored == 0)
    }

    @Test func session_toNowhereOrToWhereItIs_isNotRedirected() throws {
        var sites = try Self.established()
        let cases: [(String, RedirectObjection)] = [
            ("198.51.100.7", .isTarget), ("192.0.2.10", .badTarget), ("224.0.0.1", .badTarget), ("127.0.0.1", .badTarget),
            ("2001:db8::8", .otherFamily), ("ff02::1", .badTarget), ("::1", .badTarget),
        ]
        for (target, objection) in cases { #expect(Self.redirect(&sites, to: .address(IPAddress(target)!)) == objection, "\(target)") }
        #expect(
            ["", "0.0.0.0", "::", "a..b", "-a.b", "1.2.3", "a b", String(repeating: "a", count: 64)].allSatisfy {
                GatewayIdentity(text: $0) == nil
            })
        #expect(GatewayIdentity(text: "gw2.example.net") == .name("gw2.example.net"))
        #expect(GatewayIdentity(text: "2001:db8::8") == .address(IPAddress("2001:db8::8")!))
        #expect(sites.siteSession?.redirects.order == nil)
    }

    @Test func callersSession_isNotRedirectedByTheCaller() throws {
        let sites = try Self.established()
        let id = try #require(sites.callerSession?.id)
        let objection = sites.caller.engine.objection(
            toRedirecting: id, to: .address(Self.other), table: sites.caller.table, context: sites.context(sites.caller))
        #expect(objection == .isCaller)
    }

    // MARK: What the client does not follow

    @Test func client_toldToGoNowhere_stays() throws {
        var sites = try Self.established()
        let bad = ["0.0.0.0", "127.0.0.1", "239.1.2.3", "198.51.100.7", "192.0.2.10"].map { GatewayIdentity.encode(IPAddress($0)!) }
        for data in bad + [
            [], [3, 0], [1, 16] + [UInt8](repeating: 1, count: 16), [1, 4, 1], GatewayIdentity.encode(IPAddress("2001:db8::1")!),
        ] {
            sites.atSite { engine, table, context in
                let session = table.sessions.values.first!
                let draft = RequestDraft(purpose: .announce, payloads: [.notify(.redirect, data)])
                return engine.request(draft, in: session, sa: session.ikeSA, context: context)
            }
            sites.settle()
        }
        #expect(sites.callerSession?.redirectedTo == nil && sites.caller.engine.counters.redirectsFollowed == 0)
        sites.expectAgreement(children: 1)
    }

    /// Nothing but the peer's own keys makes a redirect.
    @Test func forgedRedirect_changesNothing() throws {
        var sites = try Self.established()
        let session = try #require(sites.siteSession)
        var header = IKEHeader(
            initiatorSPI: session.ikeSA.spis.initiator, responderSPI: session.ikeSA.spis.responder, exchangeType: .informational,
            isInitiator: false, isResponse: false, messageID: 0)
        let redirect = Payload.notify(.redirect, GatewayIdentity.encode(Self.other))
        let clear = IKEMessage(
            initiatorSPI: header.initiatorSPI, responderSPI: header.responderSPI, exchangeType: .informational, isInitiator: false,
            isResponse: false, messageID: 0, payloads: [redirect]
        ).encode()
        // With the keys of the other direction.
        let wrong = try MessageProtection(session.ikeSA.algorithms, keys: session.ikeSA.receivingKeys)
            .seal([redirect], header: header, context: sites.context(sites.site))[0]
        header.messageID = 1
        let future = try MessageProtection(session.ikeSA.algorithms, keys: session.ikeSA.sendingKeys)
            .seal([redirect], header: header, context: sites.context(sites.site))[0]
        for bytes in [clear, wrong, future] + (0..<200).map({ _ in clear }) {
            sites.deliver(Datagram(local: session.remote, remote: session.local, bytes: bytes), toSite: false)
        }
        #expect(sites.callerSession?.redirectedTo == nil && sites.caller.engine.counters.dropped(.unprotected) == 201)
        sites.expectAgreement(children: 1)
    }
}
