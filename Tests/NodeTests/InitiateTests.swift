import Control
import Cryptography
import Pair
import Session
import Testing

@testable import IKE
@testable import Node
@testable import Simulator

extension World {
    func initiate(_ child: String?, connection: String? = nil, at index: Int = 0) -> RequestToken {
        request(index, .initiate(InitiateRequest(child: child, connection: connection)))
    }

    func answer(_ token: RequestToken) -> DoneSummary? {
        guard case .done(let summary)? = responses[token]?.last else { return nil }
        return summary
    }
}

@Suite struct InitiateTests {
    static func connection(
        _ name: String, local: (String, String, String), remote: (String?, String, String), children: [String] = ["link"]
    ) -> ConnectionConfiguration {
        let ike = IKEProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
        let esp = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        return ConnectionConfiguration(
            name: name, localAddresses: [IPPrefix(host: IPAddress(local.0)!)],
            remoteAddresses: remote.0.map { [IPPrefix(host: IPAddress($0)!)] } ?? [], proposals: [ike],
            localIdentity: Identity(text: local.1), remoteIdentity: Identity(text: remote.1),
            children: children.map { child in
                ChildConfiguration(
                    name: child, localSelectors: [.selector(TrafficSelector(IPPrefix(local.2)!))],
                    remoteSelectors: [.selector(TrafficSelector(IPPrefix(remote.2)!))], proposals: [esp])
            })
    }

    static func pair(
        siteSecret: String = "secret", children: [String] = ["link"], rekeyPackets: UInt64? = nil,
        replayProtection: ReplayProtection = .window, keepsState: Bool = false
    ) -> (World, World.Site) {
        let ours = ("192.0.2.10", "gw.example.net", "10.10.0.0/16")
        let theirs = ("192.0.2.200", "site.example.net", "10.30.0.0/16")
        var options = World.Options()
        options.retransmitTimeout = .milliseconds(200)
        options.replayProtection = replayProtection
        options.keepsState = keepsState
        options.connections = [connection("site", local: ours, remote: theirs, children: children)]
        options.connections[0].children[0].packets = VolumeConfiguration(rekey: rekeyPackets)
        let world = World(options)
        let site = World.Site(
            IKEConfiguration(
                connections: [connection("headquarters", local: theirs, remote: ours)],
                secrets: [SharedSecret(identities: [], secret: SecretBytes(Array(siteSecret.utf8)))], pools: []))
        world.site = site
        world.startPair()
        return (world, site)
    }

    @Test func initiate_ofAConnectionWithAHost_makesASessionOnBothNodes() throws {
        let (world, site) = Self.pair()
        let token = world.initiate("link")
        #expect(world.answer(token) == nil)
        world.run(for: 20)
        #expect(world.answer(token) == .success)
        let session = try #require(world.nodes[0]?.table.sessions.values.first)
        #expect(session.ikeSA.role == .initiator && session.authorization.connection == "site")
        #expect(world.nodes[1]?.table[session.id] == session)
        #expect(site.table.count == 1)
        let spi = session.children[0].inboundSPI
        #expect(world.planes[0].sas[spi]?.next == 1 && world.planes[1].sas[spi]?.next == Lease.size + 1)
        #expect(world.sendESP(inboundSPI: spi, from: 0) && !world.sendESP(inboundSPI: spi, from: 1))

        // It is there: said at once, by its child's name or its connection's.
        #expect(world.answer(world.initiate("link")) == .success)
        #expect(world.answer(world.initiate("site")) == .success)
        world.run(for: 20)
        #expect(site.table.count == 1)

        // The other node goes on inside the same SAs, answers the peer and ends the session.
        world.kill(0)
        world.run(for: 200)
        #expect(world.role(1) == .active && world.sendESP(inboundSPI: spi, from: 1))
        let end = world.request(1, .terminate(TerminateRequest(connection: "site")))
        world.run(for: 50)
        #expect(world.answer(end)?.success == true)
        #expect(site.table.count == 0 && world.nodes[1]?.table.count == 0)
        let again = world.initiate("link", at: 1)
        world.run(for: 50)
        #expect(world.answer(again) == .success && site.table.count == 1)
        #expect(world.nodes[1]?.table.sessions.keys.first.map { $0.rawValue >> 63 } == 1)
    }

    /// Law 2 for operators: success is said when the standby has the session.
    @Test func initiate_isAnswered_onlyWhenTheStandbyHasTheSession() throws {
        let (world, _) = Self.pair()
        let token = world.initiate("link")
        while world.answer(token) == nil, world.time.instant.nanoseconds < 10_000_000_000 {
            world.run(until: world.now + 20_000)
            if world.answer(token) != nil { #expect(world.nodes[1]?.table.count == 1 && world.planes[0].sas.count == 1) }
        }
        #expect(world.answer(token) == .success)
    }

    @Test func initiate_joinedByASecondOperator_callsOnce() {
        let (world, site) = Self.pair()
        let tokens = [world.initiate("link"), world.initiate("site"), world.initiate("link", connection: "site")]
        world.run(for: 20)
        #expect(tokens.allSatisfy { world.answer($0) == .success })
        #expect(site.table.count == 1 && site.engine.counters.halfOpenCreated == 1)
    }

    @Test func initiate_thatFails_saysWhy() throws {
        let (world, _) = Self.pair(siteSecret: "another")
        let token = world.initiate("link")
        world.run(for: 20)
        #expect(world.answer(token)?.error == "the peer answered AUTHENTICATION_FAILED")
        #expect(world.answer(token)?.success == false && world.nodes[0]?.table.count == 0)

        let (silent, site) = Self.pair()
        site.isDead = true
        let waiting = silent.initiate("link")
        silent.run(for: 5_000)
        #expect(silent.answer(waiting) == nil)
        silent.run(for: 10_000)
        #expect(silent.answer(waiting)?.error == "the peer does not answer")
        #expect(silent.nodes[0]?.calls.isEmpty == true)
    }

    @Test func initiate_thatCannotBe_isRefusedClearly() {
        let (world, _) = Self.pair(children: ["link", "more"])
        func refusal(_ child: String?, _ connection: String? = nil, at index: Int = 0) -> String {
            world.answer(world.initiate(child, connection: connection, at: index))?.error ?? "no answer"
        }
        #expect(refusal("net").contains("remote_addrs %any"))
        #expect(refusal("nobody").contains("no connection"))
        #expect(refusal("net", "site").contains("no connection"))
        #expect(refusal("site").contains("2 children"))
        #expect(refusal("link", at: 1).contains("standby"))
        let token = world.initiate("link")
        world.run(for: 20)
        #expect(world.answer(token) == .success)
    }

    @Test func initiate_ofAFurtherChild_addsItToTheSessionThatStands() throws {
        let (world, site) = Self.pair(children: ["link", "more"])
        _ = world.initiate("link")
        world.run(for: 20)
        let tokens = [world.initiate("more"), world.initiate("more", connection: "site")]
        #expect(world.answer(tokens[0]) == nil)
        world.run(for: 20)
        #expect(tokens.allSatisfy { world.answer($0) == .success })
        let session = try #require(world.nodes[1]?.table.sessions.values.first)
        #expect(session.children.map(\.name) == ["link", "more"] && site.table.count == 1)
        #expect(world.nodes[0]?.table[session.id] == session)
    }

    @Test func initiate_ofAFurtherChildThatIsRefused_saysWhy() throws {
        let (world, site) = Self.pair(children: ["link", "more"])
        site.engine.configuration.limits.childrenPerSessionMax = 1
        _ = world.initiate("link")
        world.run(for: 20)
        let token = world.initiate("more")
        world.run(for: 20)
        #expect(world.answer(token)?.error == "the peer refused the CHILD SA with NO_ADDITIONAL_SAS")
        #expect(world.nodes[0]?.table.childCount == 1, "the session goes on without it")
    }

    @Test func initiate_whoseNodeStepsDown_isAnswered() {
        let (world, site) = Self.pair()
        site.isDead = true
        let token = world.initiate("link")
        world.run(for: 10)
        _ = world.request(0, .switchover(force: false))
        world.run(for: 100)
        #expect(world.role(1) == .active)
        #expect(world.answer(token)?.error.contains("not active any more") == true)
        site.isDead = false
        let again = world.initiate("link", at: 1)
        world.run(for: 50)
        #expect(world.answer(again) == .success)
    }
}
