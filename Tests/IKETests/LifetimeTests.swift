import Cryptography
import Session
import Testing

@testable import IKE

/// SAs that are replaced in time, and that end when they cannot be (RFC 7296 §2.8), and windows above 1 (§2.3).
struct LifetimeTests {
    private static func timed(_ configuration: IKEConfiguration, ike: Duration? = .seconds(300), child: Duration? = .seconds(60))
        -> IKEConfiguration
    {
        var configuration = configuration
        configuration.connections[0].lifetime = LifetimeConfiguration(
            rekey: ike, end: ike.map { $0 + .seconds(30) }, random: .seconds(30))
        configuration.connections[0].children[0].lifetime = LifetimeConfiguration(
            rekey: child, end: child.map { $0 + .seconds(30) }, random: .seconds(10))
        return configuration
    }

    private static func established(caller: IKEConfiguration, site: IKEConfiguration, seed: UInt64 = 7) throws -> Sites {
        var sites = Sites(caller: caller, site: site, seed: seed)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        return sites
    }

    /// Both have lifetimes, so that now and then both begin at once; an hour of it leaves one of each.
    @Test(arguments: UInt64(1)...4) func sas_ofBothSides_areReplacedInTime(seed: UInt64) throws {
        var sites = try Self.established(caller: Self.timed(.caller()), site: Self.timed(.site()), seed: seed)
        for _ in 0..<60 {
            sites.pass(.seconds(60))
            #expect(sites.callerSession != nil && sites.siteSession != nil)
        }
        sites.settle(limit: .seconds(5))
        sites.expectAgreement(children: 1)
        let rekeys = sites.caller.engine.counters
        #expect((50...140).contains(rekeys.childrenRekeyed) && (10...30).contains(rekeys.ikeSAsRekeyed))
        // One gateway after the other goes on with the same appointments.
        sites.takeOver()
        for _ in 0..<20 {
            sites.pass(.seconds(60))
            #expect(sites.callerSession?.children.contains { !$0.isRekeyed } == true)
        }
        #expect(sites.caller.engine.counters.childrenRekeyed > 10 && sites.caller.engine.counters.ikeSAsRekeyed > 1)
    }

    @Test func jitter_isTakenOffAndDiffers() throws {
        let context = IKEContext(now: Now(instant: Instant(nanoseconds: 0), wallMilliseconds: 1_000_000), epoch: 1, random: .seeded(3))
        let configuration = LifetimeConfiguration(rekey: .seconds(100), end: .seconds(110), random: .seconds(10))
        let chosen = (0..<64).map { _ in configuration.chosen(context) }
        #expect(chosen.allSatisfy { (1_090_000...1_100_000).contains($0.rekeyAt ?? 0) && $0.endsAt == 1_110_000 })
        #expect(Set(chosen.map(\.rekeyAt)).count > 32)
        #expect(LifetimeConfiguration().chosen(context) == .unlimited)
    }

    /// The peer is silent: the SA ends at its end, and not before.
    @Test func child_thatCannotBeRekeyed_endsInTime() throws {
        var sites = try Self.established(caller: Self.timed(.caller(), ike: nil), site: .site())
        // The site refuses whatever it is asked, as a peer does whose configuration was changed.
        sites.site.engine.reconfigure(IKEConfiguration(connections: [], secrets: [], pools: []))
        sites.pass(.seconds(85))
        #expect(sites.callerSession?.children.count == 1)
        #expect(sites.caller.engine.counters.requestsRefused > 0)
        sites.pass(.seconds(20))
        #expect(sites.callerSession?.children.isEmpty == true && sites.siteSession?.children.isEmpty == true)
    }

    @Test func ikeSA_thatCannotBeRekeyed_endsInTime() throws {
        var sites = try Self.established(caller: Self.timed(.caller(), child: nil), site: .site())
        sites.site.engine.reconfigure(IKEConfiguration(connections: [], secrets: [], pools: []))
        sites.pass(.seconds(320))
        #expect(sites.callerSession != nil)
        sites.pass(.seconds(20))
        #expect(sites.callerSession == nil && sites.siteSession == nil)
    }

    // MARK: Volume

    @Test func child_thatCarriedEnough_isReplaced() throws {
        var caller = IKEConfiguration.caller()
        caller.connections[0].children[0].bytes = VolumeConfiguration(rekey: 1_000_000, end: 2_000_000, random: 0)
        caller.connections[0].children[0].packets = VolumeConfiguration(rekey: 100_000, end: nil, random: 0)
        var sites = try Self.established(caller: caller, site: .site())
        let first = try #require(sites.callerSession?.children.first)
        func note(_ bytes: UInt64, _ packets: UInt64 = 1) {
            sites.atCaller {
                $0.noteVolume(
                    Volume(bytes: bytes, packets: packets), child: $1.sessions.values.first!.children[0].inboundSPI, table: $1, context: $2)
            }
        }
        note(1000)
        #expect(sites.callerSession?.children.first?.volume == Volume(), "too little to be worth a delta")
        note(500_000)
        #expect(sites.callerSession?.children.first?.volume == Volume(bytes: 501_000, packets: 2))
        // Whoever takes over counts on from there.
        sites.takeOver()
        note(498_999)
        sites.settle()
        #expect(sites.callerSession?.children.first?.inboundSPI == first.inboundSPI)
        note(1)
        sites.pass(.seconds(1))
        sites.expectAgreement(children: 1)
        let second = try #require(sites.callerSession?.children.first)
        #expect(second.inboundSPI != first.inboundSPI && second.volume == Volume())
        note(1, 100_000)
        sites.pass(.seconds(1))
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.children.first?.inboundSPI != second.inboundSPI)
    }

    // MARK: Windows (RFC 7296 §2.3)

    @Test func requests_withinAWindow_areUnderWayAtOnce() throws {
        var caller = IKEConfiguration.caller()
        caller.limits.requestWindow = 4
        var site = IKEConfiguration.site()
        site.limits.requestWindow = 3
        var sites = try Self.established(caller: caller, site: site)
        #expect(sites.callerSession?.ikeSA.sendWindow == 3 && sites.callerSession?.ikeSA.receiveWindow == 4)
        #expect(sites.siteSession?.ikeSA.sendWindow == 4 && sites.siteSession?.ikeSA.receiveWindow == 3)
        for _ in 0..<5 { sites.atCaller { $0.addChild(named: "net", in: $1.sessions.keys.first!, table: $1, context: $2) } }
        #expect(sites.callerSession?.ikeSA.pendingRequests.count == 3)
        sites.pass(.seconds(1))
        // The fourth and fifth wish were the same as one another, so that four were made in all.
        sites.expectAgreement(children: 5)
    }

    /// With a window requests overtake one another, are answered in any order, and each gets its own answer again.
    @Test(arguments: 0...7) func requests_thatOvertakeOneAnother_areAnsweredEach(delivered: Int) throws {
        var caller = IKEConfiguration.caller()
        caller.limits.requestWindow = 4
        var site = IKEConfiguration.site()
        site.limits.requestWindow = 4
        var sites = try Self.established(caller: caller, site: site, seed: UInt64(delivered) + 20)
        var kept: [Datagram] = []
        sites.wire = { datagram in
            kept.append(datagram)
            return kept.count > 2 ? kept.removeLast() : nil
        }
        for _ in 0..<3 { sites.atCaller { $0.addChild(named: "net", in: $1.sessions.keys.first!, table: $1, context: $2) } }
        sites.wire = { $0 }
        sites.deliverNext(delivered)
        sites.takeOver()
        sites.settle()
        sites.expectAgreement(children: 4)
        #expect(sites.callerSession?.hasPendingRequest == false)
    }
}
