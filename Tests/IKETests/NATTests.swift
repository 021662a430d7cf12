import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// NATs between two engines: detection, encapsulation, keepalives, and mappings that change.
@Suite struct NATTests {
    private static let mapped = Endpoint(Roads.outside, 61_000)

    /// The caller is behind a NAT.
    private func behindNAT(livenessDelay: Duration? = nil, mobike: Bool = true) throws -> Sites {
        var (caller, site) = (IKEConfiguration.caller(), IKEConfiguration.site())
        caller.connections[0].mobike = mobike
        caller.connections[0].livenessDelay = livenessDelay
        site.connections[0].remoteAddresses = []
        var sites = Sites(caller: caller, site: site)
        sites.translateInit()
        try sites.call()
        sites.settle()
        let session = try #require(sites.callerSession)
        #expect(session.localBehindNAT && session.encapsulation && sites.siteSession?.encapsulation == true)
        #expect(sites.siteSession?.remoteBehindNAT == true && sites.siteSession?.remote == Self.mapped)
        return sites
    }

    private func keepAlives(_ sites: Sites, fromCaller: Bool = true) -> [Datagram] {
        sites.sent.filter { $0.fromCaller == fromCaller && $0.datagram.bytes == [0xFF] }.map(\.datagram)
    }

    // MARK: Keepalives (RFC 3948 §4)

    @Test func keepAlives_whileBehindANAT_goEvery20SecondsOfSilence() throws {
        var sites = try behindNAT()
        sites.pass(.seconds(101))
        #expect(keepAlives(sites).count == 5 && keepAlives(sites, fromCaller: false).isEmpty)
        #expect(keepAlives(sites).allSatisfy { $0.local == Roads.at(Roads.caller) && $0.remote == Roads.at(Roads.site) })
        #expect(sites.caller.engine.counters.keepAlivesSent == 5)
        #expect(sites.site.engine.counters.keepAlivesReceived == 5 && sites.site.engine.counters.droppedTotal == 0)
    }

    @Test func keepAlives_whenSomethingElseGoesOut_waitForSilence() throws {
        var sites = try behindNAT()
        let id = try #require(sites.callerSession?.id)
        for _ in 0..<5 {
            sites.pass(.seconds(15))
            sites.caller.engine.noteOutboundTraffic(session: id, at: sites.now)
        }
        #expect(keepAlives(sites).isEmpty)
        sites.pass(.seconds(21))
        #expect(keepAlives(sites).count == 1)
    }

    @Test func keepAlives_afterTakeover_goOn() throws {
        var sites = try behindNAT()
        sites.pass(.seconds(30))
        sites.takeOver()
        let before = keepAlives(sites).count
        sites.pass(.seconds(2))
        #expect(keepAlives(sites).count == before + 1, "nobody knows when the last one went out")
        sites.pass(.seconds(60))
        #expect(keepAlives(sites).count == before + 4)
    }

    @Test func keepAlives_withoutANAT_areNone() throws {
        var sites = try Sites.mobile { caller, _ in caller.forceEncapsulation = true }
        #expect(sites.callerSession?.encapsulation == true)
        sites.pass(.seconds(60))
        #expect(keepAlives(sites).isEmpty)
    }

    @Test func keepAlives_thatAreSwitchedOff_areNone() throws {
        var sites = try behindNAT()
        var silent = sites.caller.engine.configuration
        silent.limits.keepAliveInterval = nil
        sites.caller.engine.reconfigure(silent)
        sites.pass(.seconds(60))
        #expect(keepAlives(sites).isEmpty)
    }

    // MARK: Moves through NATs (RFC 4555 §2.3)

    @Test func move_behindANATAndBack_switchesEncapsulation() throws {
        var sites = try Sites.mobile()
        sites.translate(Roads.second, to: Self.mapped)
        try sites.moveCaller(to: Roads.second)
        sites.settle()
        var (ours, theirs) = (try #require(sites.callerSession), try #require(sites.siteSession))
        #expect(ours.encapsulation && ours.localBehindNAT && !ours.remoteBehindNAT && ours.local == Roads.at(Roads.second))
        #expect(theirs.encapsulation && theirs.remoteBehindNAT && theirs.remote == Self.mapped)
        sites.pass(.seconds(21))
        #expect(keepAlives(sites).count == 1)
        try sites.moveCaller(to: Roads.third)
        sites.settle()
        sites.expectAgreement(children: 1)
        (ours, theirs) = (try #require(sites.callerSession), try #require(sites.siteSession))
        #expect(!ours.encapsulation && !ours.localBehindNAT && !theirs.encapsulation && !theirs.remoteBehindNAT)
        sites.pass(.seconds(60))
        #expect(keepAlives(sites).count == 1, "without a NAT there is nothing to keep alive")
    }

    @Test(arguments: [true, false])
    func move_withForcedEncapsulation_staysEncapsulated(byCaller: Bool) throws {
        var sites = try Sites.mobile {
            $0.forceEncapsulation = byCaller
            $1.forceEncapsulation = !byCaller
        }
        #expect(sites.callerSession?.encapsulation == true)
        try sites.moveCaller(to: Roads.second)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.encapsulation == true && sites.siteSession?.encapsulation == true)
    }

    /// RFC 4555 §3.8: liveness checks tell that the mapping changed, and the update tells the site.
    @Test func mapping_thatChanges_isNoticedByLivenessChecks() throws {
        var sites = try behindNAT(livenessDelay: .seconds(30))
        sites.pass(.seconds(35))
        #expect(sites.siteSession?.remote == Self.mapped && sites.caller.engine.counters.requestsSent == 3)
        let other = Endpoint(Roads.outside, 61_777)
        sites.translate(Roads.caller, to: other)
        sites.pass(.seconds(35))
        #expect(sites.siteSession?.remote == other && sites.siteSession?.movingTo == nil)
        #expect(sites.callerSession?.movingTo == nil && sites.callerSession?.localBehindNAT == true)
    }

    /// RFC 4555 §3.8: with MOBIKE an authenticated request alone moves nothing; without it, it does (RFC 7296 §2.23).
    @Test(arguments: [true, false])
    func request_throughAnotherMapping_isFollowedOnlyWithoutMobike(mobike: Bool) throws {
        var sites = try behindNAT(mobike: mobike)
        let other = Endpoint(Roads.outside, 61_777)
        sites.translate(Roads.caller, to: other)
        let id = try #require(sites.callerSession?.id)
        sites.atCaller { $0.checkLiveness(session: id, table: $1, context: $2) }
        sites.settle()
        #expect(sites.siteSession?.remote == (mobike ? Self.mapped : other))
        #expect(sites.callerSession?.hasPendingRequest == false, "it is answered where it came from")
    }

    // MARK: IPv6 outside

    @Test(arguments: [true, false])
    func call_overIPv6_isLikeOneOverIPv4(hasNAT: Bool) throws {
        let (ours, theirs) = (IPAddress("2001:db8:1::1")!, IPAddress("2001:db8:2::1")!)
        let outside = Endpoint(IPAddress("2001:db8:ffff::1")!, 4500)
        var (caller, site) = (IKEConfiguration.caller(), IKEConfiguration.site())
        caller.connections[0].localAddresses = []
        site.connections[0].localAddresses = []
        site.connections[0].remoteAddresses = []
        var sites = Sites(caller: caller, site: site)
        if hasNAT {
            sites.wire = { datagram in
                var datagram = datagram
                if datagram.local.address == ours { datagram.local.address = outside.address }
                if datagram.remote.address == outside.address { datagram.remote.address = ours }
                return datagram
            }
        }
        let connection = sites.caller.engine.configuration.connections[0]
        let begun = try sites.caller.engine.initiate(
            connection: connection, child: connection.children[0], local: Endpoint(ours, 500), remote: Endpoint(theirs, 500),
            table: sites.caller.table, context: sites.context(sites.caller))
        sites.send(sites.caller.take(begun.outcome), fromCaller: true)
        sites.settle()
        let session = try #require(sites.siteSession)
        #expect(session.remote == (hasNAT ? outside : Roads.at(ours)) && session.local == Roads.at(theirs))
        #expect(session.encapsulation == hasNAT && session.remoteBehindNAT == hasNAT && !session.localBehindNAT)
        #expect(sites.callerSession?.localBehindNAT == hasNAT)
        let next = IPAddress("2001:db8:1::2")!
        try sites.moveCaller(to: next)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.remote == Roads.at(next) && sites.siteSession?.encapsulation == false)
    }
}

extension Sites {
    /// The caller's datagrams leave a NAT from one port, whichever they came from.
    fileprivate mutating func translateInit() {
        wire = { datagram in
            var datagram = datagram
            let isFloated = datagram.local.port == 4500 || datagram.remote.port == 61_000
            if datagram.local.address == Roads.caller { datagram.local = Endpoint(Roads.outside, isFloated ? 61_000 : 60_500) }
            if datagram.remote.address == Roads.outside { datagram.remote = Endpoint(Roads.caller, isFloated ? 4500 : 500) }
            return datagram
        }
    }
}
