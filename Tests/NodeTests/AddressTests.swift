import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// The host's addresses come and go, and sessions that we began go with them (RFC 4555 §3.5).
@Suite struct AddressTests {
    private static let own = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8::1"].map { IPAddress($0)! }

    private static func connection(_ name: String, children: (String, String), isHub: Bool) -> ConnectionConfiguration {
        let ike = IKEProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
        let esp = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        let site = IPPrefix(host: IPAddress("192.0.2.200")!)
        let child = ChildConfiguration(
            name: "link", localSelectors: [.selector(TrafficSelector(IPPrefix(children.0)!))],
            remoteSelectors: [.selector(TrafficSelector(IPPrefix(children.1)!))], proposals: [esp])
        return ConnectionConfiguration(
            name: name, localAddresses: isHub ? [own[0], own[1], own[3]].map(IPPrefix.init(host:)) : [site],
            remoteAddresses: isHub ? [site] : [], proposals: [ike],
            localIdentity: Identity(text: isHub ? "gw.example.net" : "site.example.net"),
            remoteIdentity: Identity(text: isHub ? "site.example.net" : "gw.example.net"), children: [child])
    }

    private static func established() throws -> (World, World.Site) {
        var options = World.Options()
        options.retransmitTimeout = .milliseconds(200)
        options.connections = [connection("site", children: ("10.10.0.0/16", "10.30.0.0/16"), isHub: true)]
        let world = World(options)
        let site = World.Site(
            IKEConfiguration(
                connections: [connection("hub", children: ("10.30.0.0/16", "10.10.0.0/16"), isHub: false)],
                secrets: [SharedSecret(identities: [], secret: SecretBytes(Array("secret".utf8)))], pools: []))
        world.site = site
        world.startPair()
        let token = world.initiate("link")
        world.run(for: 50)
        #expect(world.answer(token) == .success)
        #expect(world.nodes[0]?.table.sessions.values.first?.local == Endpoint(own[0], 4500))
        return (world, site)
    }

    @Test func session_whoseAddressVanished_goesToAnotherThatTheConnectionAllows() throws {
        let (world, _) = try Self.established()
        let before = try #require(world.nodes[0]?.table.sessions.values.first)
        world.feed(0, .localAddressesChanged(Self.own))
        world.run(for: 50)
        #expect(world.nodes[0]?.table.sessions.values.first?.path == before.path, "it is there")
        world.feed(0, .localAddressesChanged([Self.own[3], Self.own[2], IPAddress("127.0.0.1")!]))
        world.run(for: 50)
        #expect(world.nodes[0]?.table.sessions.values.first?.path == before.path, "the connection allows none of them")
        world.feed(0, .localAddressesChanged([Self.own[3], Self.own[2], Self.own[1]]))
        world.run(for: 30)
        let after = try #require(world.nodes[0]?.table.sessions.values.first)
        #expect(after.ikePath.local == Endpoint(Self.own[1], 4500))
        world.run(for: 50)
        #expect(world.nodes[1]?.table.sessions.values.first?.ikePath.local == Endpoint(Self.own[1], 4500), "the standby knows")
    }

    /// The dead node's own address is not on the other one.
    @Test func takeover_byANodeWithOtherAddresses_movesTheSession() throws {
        let (world, site) = try Self.established()
        world.feed(1, .localAddressesChanged([Self.own[1]]))
        world.kill(0)
        world.run(for: 500)
        #expect(world.role(1) == .active)
        #expect(world.nodes[1]?.table.sessions.values.first?.path.local == Endpoint(Self.own[1], 4500))
        #expect(world.nodes[1]?.table.sessions.values.first?.movingTo == nil, "the peer knows")
        let path = try #require(site.table.sessions.values.first?.ikePath)
        #expect(path.remote == Endpoint(Self.own[1], 4500))
    }
}
