import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import IKE
@testable import Node
@testable import Simulator

/// Two gateways at two addresses, and clients that follow the one that speaks.
@Suite struct TwoCitiesTests {
    static let cities = [IPAddress("198.51.100.10")!, IPAddress("203.0.113.10")!]

    private static func connection(_ name: String, isGateway: Bool, mobike: Bool) -> ConnectionConfiguration {
        let ike = IKEProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
        let esp = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        let sides = ["10.10.0.0/16", "10.40.0.0/16"].map { SelectorConfiguration.selector(TrafficSelector(IPPrefix($0)!)) }
        let child = ChildConfiguration(
            name: "net", localSelectors: [sides[isGateway ? 0 : 1]], remoteSelectors: [sides[isGateway ? 1 : 0]], proposals: [esp])
        let names = [Identity(text: "gw.example.net"), Identity(text: "roamer.example.net")]
        var connection = ConnectionConfiguration(
            name: name, localAddresses: isGateway ? cities.map(IPPrefix.init(host:)) : [], proposals: [ike],
            localIdentity: names[isGateway ? 0 : 1], remoteIdentity: names[isGateway ? 1 : 0], children: [child])
        connection.mobike = mobike
        return connection
    }

    /// A pair in two cities, of which the first is active, and connected clients of one engine.
    private static func connected(
        _ count: Int = 1, mobike: Bool = true, behind nat: NAT? = nil, home change: (inout ConnectionConfiguration) -> Void = { _ in }
    ) throws -> (World, World.Site) {
        var options = World.Options()
        options.retransmitTimeout = .milliseconds(200)
        options.nodeAddresses = cities
        options.connections = [connection("roam", isGateway: true, mobike: mobike)]
        let world = World(options)
        world.nat = nat
        var configuration = IKEConfiguration(
            connections: [connection("home", isGateway: false, mobike: mobike)],
            secrets: [SharedSecret(identities: [], secret: SecretBytes(Array("secret".utf8)))], pools: [])
        configuration.limits.retransmitTimeout = .milliseconds(200)
        change(&configuration.connections[0])
        let site = World.Site(configuration)
        site.hasClock = true
        // With every change, and with all sessions each time.
        world.checks.comparesTables = count < 20
        world.site = site
        world.startPair()
        for number in 0..<count { try call(number, of: site, in: world) }
        world.run(for: 100)
        #expect(site.table.count == count && world.nodes[0]?.table.count == count && world.nodes[1]?.table.count == count)
        return (world, site)
    }

    private static func call(_ number: Int, of site: World.Site, in world: World) throws {
        let address = IPAddress("172.16.0.1")!.advanced(by: UInt64(number))!
        site.addresses.insert(address)
        let home = site.engine.configuration.connections[0]
        let begun = try site.engine.initiate(
            connection: home, child: home.children[0], local: Endpoint(address, 500), remote: Endpoint(cities[0], 500), table: site.table,
            context: IKEContext(now: world.time, epoch: 0, random: world.random))
        world.post(site.take(begun.outcome))
        world.run(for: 2)
    }

    private func act(_ world: World, _ site: World.Site, _ body: (inout IKEEngine, SessionTable, IKEContext) -> IKEOutcome) {
        world.post(site.take(body(&site.engine, site.table, IKEContext(now: world.time, epoch: 0, random: world.random))))
    }

    private func sends(_ world: World, from index: Int) -> Bool {
        let children = world.nodes[index]?.table.sessions.values.flatMap(\.children) ?? []
        return children.allSatisfy { world.sendESP(inboundSPI: $0.inboundSPI, from: index) }
    }

    private func stands(_ world: World, at index: Int) -> Bool {
        world.planes[index].sas.values.allSatisfy { $0.local.address == Self.cities[index] }
    }

    @Test func kill_inOneCity_isCarriedOnInTheOther_andBack() throws {
        let (world, site) = try Self.connected(3)
        let before = site.table.sessions
        #expect(stands(world, at: 0) && stands(world, at: 1), "each node's SAs stand where it would serve")
        #expect(world.status(1).roaming?.movable == 3)
        #expect(sends(world, from: 0))
        world.kill(0)
        let killed = world.now
        while site.table.sessions.values.contains(where: { $0.remote.address != Self.cities[1] }), world.now < killed + 1_000_000_000 {
            world.run(for: 1)
        }
        #expect(world.now - killed < 40_000_000, "a closed connection, a question and a round trip: \((world.now - killed) / 1_000_000) ms")
        #expect(world.role(1) == .active && sends(world, from: 1))
        world.run(for: 100)
        for (id, session) in before {
            let now = try #require(site.table[id])
            #expect(now.path.remote == Endpoint(Self.cities[1], 4500) && now.movingTo == nil)
            #expect(now.ikeSA.spis == session.ikeSA.spis && now.children.map(\.inboundSPI) == session.children.map(\.inboundSPI))
        }
        var roaming = try #require(world.status(1).roaming)
        #expect((roaming.movable, roaming.moving, roaming.waiting, roaming.unanswered) == (3, 0, 0, 0))
        #expect(world.nodes[1]?.journal.events.contains { $0.text.contains("3 peers were told") } == true)
        // The dead comes back: everything stays, until an operator wants it otherwise.
        world.start(0)
        world.run(for: 1500)
        #expect(world.pairState(1) == "paired" && stands(world, at: 0))
        #expect(site.table.sessions.values.allSatisfy { $0.remote.address == Self.cities[1] })
        _ = world.request(1, .switchover(force: false))
        world.run(for: 100)
        #expect(world.role(0) == .active && sends(world, from: 0))
        #expect(site.table.sessions.values.allSatisfy { $0.path.remote.address == Self.cities[0] && $0.movingTo == nil })
        roaming = try #require(world.status(0).roaming)
        #expect((roaming.movable, roaming.moving, roaming.unanswered) == (3, 0, 0))
        #expect(site.engine.counters.authenticated == 3, "nobody authenticated anew")
    }

    @Test func client_behindANAT_isWaitedForAndServedWhenItComes() throws {
        let (world, site) = try Self.connected(behind: NAT(outside: IPAddress("192.0.2.99")!))
        let session = try #require(site.table.sessions.values.first)
        #expect(world.status(1).roaming?.behindNAT == 1)
        world.kill(0)
        let before = world.sentByNodes
        // Longer than a peer that could hear us would be waited for.
        world.run(for: 60_000)
        #expect(world.sentByNodes > before && site.table[session.id]?.remote.address == Self.cities[0], "nothing gets through")
        let roaming = try #require(world.status(1).roaming)
        #expect((roaming.waiting, roaming.moving, roaming.unanswered, roaming.behindNAT) == (1, 0, 0, 1))
        #expect(world.nodes[1]?.journal.events.contains { $0.text.contains("1 of them behind a NAT") } == true)
        // It looks for the gateway at its other address.
        act(world, site) {
            $0.localAddressChanged(
                session: session.id, local: session.local, remote: Endpoint(Self.cities[1], 4500), table: $1, context: $2)
        }
        world.run(for: 31_000)
        let after = try #require(site.table[session.id])
        #expect(after.path.remote.address == Self.cities[1] && after.movingTo == nil && after.ikeSA.spis == session.ikeSA.spis)
        #expect(world.nodes[1]?.table.sessions.values.first?.path.local.address == Self.cities[1])
        #expect(world.status(1).roaming?.waiting == 0 && sends(world, from: 1))
    }

    /// A client that only says that it is behind a NAT, to have ESP in UDP.
    @Test func client_thatOnlyWantsEncapsulation_follows() throws {
        let (world, site) = try Self.connected { $0.forceEncapsulation = true }
        #expect(world.status(1).roaming?.behindNAT == 1)
        world.kill(0)
        world.run(for: 60)
        #expect(site.table.sessions.values.first?.path.remote.address == Self.cities[1])
        #expect(world.status(1).roaming?.waiting == 0 && sends(world, from: 1))
    }

    @Test func client_withoutMobike_isWaitedForAndServedWhenItComes() throws {
        let (world, site) = try Self.connected(mobike: false)
        let session = try #require(site.table.sessions.values.first)
        world.kill(0)
        let before = world.sentByNodes
        world.run(for: 500)
        #expect(world.sentByNodes == before && world.status(1).roaming?.waiting == 1 && world.status(1).roaming?.unable == 1)
        // Its way leads here now.
        world.fromSite = { Datagram(local: $0.local, remote: Endpoint(Self.cities[1], $0.remote.port), bytes: $0.bytes) }
        act(world, site) { $0.checkLiveness(session: session.id, table: $1, context: $2) }
        world.run(for: 50)
        #expect(site.table[session.id]?.ikeSA.pendingRequests.isEmpty == true, "it was answered")
        #expect(world.nodes[1]?.table.sessions.values.first?.local.address == Self.cities[1] && world.status(1).roaming?.waiting == 0)
    }

    /// Whoever has traffic comes first, and all of them in bounded bursts.
    @Test func thousand_sessions_areMovedInPages() throws {
        let count = 1000
        let (world, site) = try Self.connected(count)
        let busy = try #require(world.nodes[0]?.table.sessions.values.max { $0.id < $1.id })
        let rest = try #require(world.nodes[0]?.table.sessions.values.min { $0.id < $1.id })
        for session in [busy, rest] { world.report(session.children[0].inboundSPI, next: 5, top: 9) }
        world.run(for: 20)
        world.kill(0)
        while world.role(1) != .active { world.run(for: 1) }
        let start = world.now
        var (sent, first, most) = (world.sentByNodes, Set<IPAddress>(), 0)
        while world.status(1).roaming?.moving != 0, world.now < start + 1_000_000_000 {
            world.run(for: 1)
            most = max(most, world.sentByNodes - sent)
            if first.isEmpty, world.sentByNodes > sent {
                first = Set(world.nodes[1]!.table.sessions.values.filter { $0.local.address == Self.cities[1] }.map(\.remote.address))
            }
            sent = world.sentByNodes
        }
        #expect(first == [busy.remote.address, rest.remote.address], "they had traffic")
        // The requests, and the answers to the updates that peers send upon them.
        #expect(most <= 3 * HostAddresses.movesPerPage, "\(most) datagrams in a millisecond")
        #expect(world.now - start < 80_000_000, "\((world.now - start) / 1_000_000) ms")
        world.run(for: 1000)
        #expect(site.table.sessions.values.allSatisfy { $0.path.remote.address == Self.cities[1] && $0.movingTo == nil })
        #expect(world.status(1).roaming?.unanswered == 0 && world.status(1).counters["sessions_relocated"] == UInt64(count))
    }

    /// Nobody has answered the second node yet when it dies too, and the first one is back.
    @Test func takeover_inTheMiddleOfTheMove_isFinishedByWhoCameBack() throws {
        let (world, site) = try Self.connected(3)
        #expect(sends(world, from: 0))
        site.isDead = true
        world.kill(0)
        world.run(for: 100)
        #expect(world.status(1).roaming?.unanswered == 3 && sends(world, from: 1))
        world.start(0)
        world.run(for: 1500)
        #expect(world.pairState(1) == "paired")
        world.kill(1)
        world.run(for: 50)
        #expect(world.role(0) == .active)
        site.isDead = false
        world.run(for: 3000)
        #expect(site.table.sessions.values.allSatisfy { $0.path.remote.address == Self.cities[0] && $0.movingTo == nil })
        let roaming = try #require(world.status(0).roaming)
        #expect((roaming.movable, roaming.moving, roaming.unanswered) == (3, 0, 0) && sends(world, from: 0))
        #expect(world.nodes[0]?.table.count == 3 && site.engine.counters.authenticated == 3)
    }

    @Test func answers_thatAreForged_changeNothing() throws {
        let (world, site) = try Self.connected(2)
        world.fromSite = { datagram in
            var datagram = datagram
            datagram.bytes[datagram.bytes.count - 1] ^= 1
            return datagram
        }
        world.kill(0)
        world.run(for: 150)
        let roaming = try #require(world.status(1).roaming)
        #expect(world.nodes[1]?.table.count == 2 && roaming.unanswered == 2)
        #expect(world.status(1).counters["ike_dropped_integrity"] ?? 0 >= 2)
        world.fromSite = { $0 }
        world.run(for: 1500)
        #expect(world.status(1).roaming?.unanswered == 0)
        #expect(site.table.sessions.values.allSatisfy { $0.path.remote.address == Self.cities[1] && $0.movingTo == nil })
    }
}
