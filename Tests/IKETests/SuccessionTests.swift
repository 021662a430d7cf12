import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Redirects (RFC 5685) of the gateway as client, and AUTH_LIFETIME (RFC 4478) in both roles.
@Suite struct SuccessionTests {
    static let other = IPAddress("198.51.100.8")!

    /// A site that answers at any address.
    private static func sites(follows: Bool = true) -> Sites {
        var caller = IKEConfiguration.caller()
        caller.connections[0].followsRedirects = follows
        var site = IKEConfiguration.site()
        site.connections[0].localAddresses = []
        return Sites(caller: caller, site: site)
    }

    /// Calls, and keeps the IKE_SA_INIT request off the wire.
    private static func asked(_ sites: inout Sites) throws -> IKEMessage {
        let wire = sites.wire
        sites.wire = { _ in nil }
        try sites.call()
        sites.wire = wire
        return try IKEMessage(parsing: try #require(sites.sent.last).datagram.bytes)
    }

    private static func nonce(_ message: IKEMessage) throws -> [UInt8] { try #require(PayloadSet(message.payloads).nonce) }

    /// Answers the last IKE_SA_INIT request of the caller with a REDIRECT.
    private static func redirect(_ sites: inout Sites, identity: [UInt8], nonce: [UInt8]? = nil) throws {
        let request = try #require(sites.sent.last { $0.fromCaller && $0.datagram.bytes[18] == 34 }).datagram
        let message = try IKEMessage(parsing: request.bytes)
        let data = identity + (try nonce ?? Self.nonce(message))
        let answer = IKEMessage(
            initiatorSPI: message.header.initiatorSPI, responderSPI: 0, exchangeType: .ikeSAInit, isInitiator: false, isResponse: true,
            messageID: 0, payloads: [.notify(.redirect, data)])
        sites.deliver(Datagram(local: request.local, remote: request.remote, bytes: answer.encode()), toSite: false)
    }

    // MARK: IKE_SA_INIT

    @Test func redirect_inIKESAInit_leadsToTheOtherGateway() throws {
        var sites = Self.sites()
        let first = try Self.asked(&sites)
        #expect(PayloadSet(first.payloads).has(.redirectSupported))
        try Self.redirect(&sites, identity: GatewayIdentity.encode(Self.other))
        let second = try IKEMessage(parsing: try #require(sites.sent.last).datagram.bytes)
        let from = try #require(PayloadSet(second.payloads).notify(.redirectedFrom))
        #expect(GatewayIdentity.parse(from.data)?.gateway == .address(Sites.siteAddress))
        #expect(sites.caller.engine.redirectedAddress(connection: "site", at: sites.now) == Self.other)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.remote.address == Self.other && sites.failures.isEmpty)
        #expect(sites.caller.engine.redirectedAddress(connection: "site", at: sites.now) == nil, "the connection is up")
        #expect(sites.caller.engine.counters.redirectsFollowed == 1)
    }

    @Test func redirect_withAWrongNonceOrNoAddress_isAsIfItHadNotCome() throws {
        var sites = Self.sites()
        let message = try Self.asked(&sites)
        let right = try Self.nonce(message)
        let good = GatewayIdentity.encode(Self.other)
        for (identity, nonce) in [
            (good, Array(right.dropLast())), (good, right + [0]), (good, [UInt8](repeating: 0, count: right.count)), (good, []),
            ([1, 5] + Self.other.bytes + [0], right), ([9, 4] + Self.other.bytes, right), ([1, 4, 0, 0, 0, 0], right), ([1], []), ([], []),
        ] {
            try Self.redirect(&sites, identity: identity, nonce: nonce)
        }
        #expect(sites.caller.engine.counters.redirectsFollowed == 0 && sites.failures.isEmpty)
        sites.settle()
        #expect(sites.callerSession?.remote.address == Sites.siteAddress, "the real answer came later")
    }

    @Test func redirect_whereNoneIsFollowed_isNotAnnouncedNorTaken() throws {
        var sites = Self.sites(follows: false)
        let message = try Self.asked(&sites)
        #expect(!PayloadSet(message.payloads).has(.redirectSupported))
        try Self.redirect(&sites, identity: GatewayIdentity.encode(Self.other))
        sites.settle()
        #expect(sites.callerSession?.remote.address == Sites.siteAddress)
    }

    @Test func redirect_toAName_endsTheCallAndSaysSo() throws {
        var sites = Self.sites()
        _ = try Self.asked(&sites)
        try Self.redirect(&sites, identity: [3, 14] + Array("gw2.example.io".utf8))
        #expect(sites.failures == [.redirected(to: .name("gw2.example.io"), .name)])
        #expect(sites.caller.engine.counters.redirectsIgnored == 1 && sites.caller.engine.initiations.count == 0)
    }

    @Test func redirects_inALoop_endAfterFive() throws {
        var sites = Self.sites()
        _ = try Self.asked(&sites)
        sites.wire = { _ in nil }
        for step in 0..<6 {
            #expect(sites.failures.isEmpty, "step \(step)")
            try Self.redirect(&sites, identity: GatewayIdentity.encode(step % 2 == 0 ? Self.other : Sites.siteAddress))
        }
        #expect(sites.failures == [.redirected(to: .address(Sites.siteAddress), .tooMany)])
        #expect(sites.caller.engine.counters.redirectsFollowed == 5 && sites.caller.engine.counters.redirectsIgnored == 1)
        // Five minutes later they count no more.
        sites.now = sites.now + .seconds(301)
        _ = try Self.asked(&sites)
        try Self.redirect(&sites, identity: GatewayIdentity.encode(Self.other))
        #expect(sites.caller.engine.counters.redirectsFollowed == 6)
    }

    // MARK: IKE_AUTH

    @Test func redirect_inIKEAuth_leadsOnAndDeletesTheFirst() throws {
        var sites = Self.sites()
        try sites.call()
        // The site's answer, with a REDIRECT instead of the CHILD SA.
        var held: Datagram?
        while held == nil, sites.sent.count < 10 {
            sites.wire = { $0.bytes[18] == 35 && $0.bytes[19] & 0x20 != 0 ? nil : $0 }
            sites.settle(limit: .milliseconds(6))
            held = sites.sent.last { !$0.fromCaller && $0.datagram.bytes[18] == 35 }?.datagram
        }
        sites.wire = { $0 }
        let answer = try #require(held)
        let sa = try #require(sites.siteSession).ikeSA
        let protection = MessageProtection(sa.algorithms, keys: sa.sendingKeys)
        let payloads = try protection.open(answer.bytes).filter { payload in
            switch payload {
            case .securityAssociation, .trafficSelectorsInitiator, .trafficSelectorsResponder: false
            default: true
            }
        }
        let changed = try protection.seal(
            payloads + [.notify(.redirect, GatewayIdentity.encode(Self.other))], header: IKEHeader(parsing: answer.bytes),
            fragmentLength: nil, context: sites.context(sites.caller))
        sites.deliver(Datagram(local: answer.remote, remote: answer.local, bytes: changed[0]), toSite: false)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.remote.address == Self.other)
        #expect(sites.site.table.count == 1 && sites.site.engine.counters.deletedByPeer == 1)
    }

    // MARK: In a session

    private static func tell(_ sites: inout Sites, _ payloads: [Payload]) {
        sites.atSite { engine, table, context in
            let session = table.sessions.values.first!
            return engine.request(RequestDraft(purpose: .announce, payloads: payloads), in: session, sa: session.ikeSA, context: context)
        }
    }

    /// What a node does when it is asked for a successor.
    private static func succeed(_ sites: inout Sites, to remote: IPAddress) throws {
        let wanted = sites.caller.events.compactMap { if case .successorWanted(let session) = $0 { session } else { nil } }
        let session = try #require(wanted.last)
        let connection = sites.caller.engine.configuration.connections[0]
        var begun: IKEOutcome?
        sites.atCaller { engine, table, context in
            begun = try? engine.initiate(
                connection: connection, child: connection.children[0], local: Endpoint(Sites.callerAddress, 500),
                remote: Endpoint(remote, 500), replacing: session, table: table, context: context
            ).outcome
            return begun ?? .nothing
        }
        #expect(begun != nil)
    }

    /// Lets time pass also when nobody waits for an answer.
    private static func pass(_ sites: inout Sites, _ duration: Duration) {
        sites.now = sites.now + duration
        for outcome in sites.caller.engine.advance(table: sites.caller.table, context: sites.context(sites.caller)) {
            sites.send(sites.caller.take(outcome), fromCaller: true)
        }
        for outcome in sites.site.engine.advance(table: sites.site.table, context: sites.context(sites.site)) {
            sites.send(sites.site.take(outcome), fromCaller: false)
        }
        sites.settle(limit: .seconds(1))
    }

    @Test(arguments: [false, true]) func redirect_ofASession_isWrittenDownAndFollowed(takesOver: Bool) throws {
        var sites = Self.sites()
        try sites.call()
        sites.settle()
        let old = try #require(sites.callerSession)
        Self.tell(&sites, [.notify(.redirect, GatewayIdentity.encode(Self.other))])
        sites.settle()
        #expect(sites.callerSession?.redirectedTo == Self.other && sites.site.table.withPendingRequest.isEmpty)
        if takesOver {
            sites.takeOver()
            Self.pass(&sites, .seconds(2))
        }
        Self.pass(&sites, .seconds(1))
        try Self.succeed(&sites, to: Self.other)
        let request = try IKEMessage(parsing: try #require(sites.sent.last { $0.fromCaller && $0.datagram.bytes[18] == 34 }).datagram.bytes)
        #expect(PayloadSet(request.payloads).has(.redirectedFrom))
        sites.settle()
        Self.pass(&sites, .seconds(1))
        #expect(sites.caller.table.count == 1 && sites.caller.table[old.id] == nil)
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.predecessor == old.id && sites.callerSession?.remote.address == Self.other)
    }

    @Test func redirect_ofASessionAgainAndAgain_isIgnoredAfterFive() throws {
        var sites = Self.sites()
        try sites.call()
        sites.settle()
        for number in 1...7 {
            Self.tell(&sites, [.notify(.redirect, GatewayIdentity.encode(Self.other.advanced(by: UInt64(number))!))])
            sites.settle()
        }
        #expect(sites.callerSession?.redirectedTo == Self.other.advanced(by: 5))
        #expect(sites.caller.engine.counters.redirectsIgnored == 2 && sites.site.table.withPendingRequest.isEmpty)
    }

    @Test func redirect_byTheCaller_isNotFollowedByTheCalled() throws {
        var sites = Self.sites()
        try sites.call()
        sites.settle()
        sites.atCaller { engine, table, context in
            let session = table.sessions.values.first!
            let draft = RequestDraft(purpose: .announce, payloads: [.notify(.redirect, GatewayIdentity.encode(Self.other))])
            return engine.request(draft, in: session, sa: session.ikeSA, context: context)
        }
        sites.settle()
        #expect(sites.siteSession?.redirectedTo == nil && sites.site.engine.counters.redirectsFollowed == 0)
    }

    // MARK: AUTH_LIFETIME (RFC 4478)

    @Test func authLifetime_ofTheResponder_isToldKeptAndEnforced() throws {
        var configuration = IKEConfiguration.standard()
        configuration.connections[0].reauthenticationTime = .seconds(100)
        var world = World(gateway: configuration)
        world.establish()
        #expect(world.client.authenticationLifetime == 100)
        let session = try #require(world.session)
        #expect(session.reauthenticateAt == session.establishedWallMilliseconds + 100_000)
        world.pass(.seconds(50))
        world.takeOver(configuration)
        world.pass(.seconds(49))
        #expect(world.gateway.table.count == 1)
        world.pass(.seconds(10))
        #expect(world.gateway.table.count == 0 && world.client.phase == .closed)
    }

    @Test func authLifetime_ofThePeerThatWasCalled_asksForASuccessorInTime() throws {
        var site = IKEConfiguration.site()
        site.connections[0].reauthenticationTime = .seconds(100)
        var sites = Sites(site: site)
        try sites.call()
        sites.settle()
        let session = try #require(sites.callerSession)
        let begins = try #require(session.reauthenticationBegins)
        #expect((80_000...90_000).contains(begins - session.establishedWallMilliseconds))
        Self.pass(&sites, .seconds(75))
        #expect(!sites.caller.events.contains(.successorWanted(session: session.id)))
        sites.takeOver()
        Self.pass(&sites, .seconds(15))
        #expect(sites.caller.events.contains(.successorWanted(session: session.id)))
        // A later word of the peer counts instead.
        Self.tell(&sites, [.notify(.authLifetime, UInt32(3600).networkBytes)])
        sites.settle()
        #expect(try #require(sites.callerSession?.reauthenticateAt) > session.establishedWallMilliseconds + 3_000_000)
    }
}
