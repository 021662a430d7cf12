import Context
import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// The paper's third test, in virtual time: GET in the middle of a stream, T_S, PUT.
@Suite struct GetPutTests {
    private static func connected(_ options: World.Options = World.Options()) -> (World, World.EndUser) {
        let world = World(options)
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 50)
        return (world, user)
    }

    /// Another pair with the same configuration, which knows what the end-user has seen.
    private static func elsewhere(_ world: World, _ user: World.EndUser, options: World.Options = World.Options()) -> World {
        var options = options
        options.seed = 4711
        let other = World(options)
        // Its epochs and its clock are its own.
        other.startPair()
        for _ in 0..<3 {
            _ = other.request(other.role(0) == .active ? 0 : 1, .switchover(force: false))
            other.run(for: 100)
        }
        (other.checks.usedNumbers, other.checks.userTop, other.checks.ike) =
            (world.checks.usedNumbers, world.checks.userTop, world.checks.ike)
        other.run(until: max(other.now, world.now))
        other.add(user)
        return other
    }

    private static func active(_ world: World) -> Int { world.role(0) == .active ? 0 : 1 }

    private static func answer(_ world: World, _ request: ControlRequest, node: Int? = nil) -> ContextSummary {
        let token = world.request(node ?? active(world), request)
        world.run(for: 5)
        guard case .context(let summary)? = world.responses[token]?.last else { return .failure("none", "no answer") }
        return summary
    }

    private static func get(_ world: World, detach: Bool) throws -> String {
        let summary = answer(world, .get(GetRequest(name: "client0.example.net", detach: detach)))
        try #require(summary.success, "\(summary.error ?? "")")
        return summary.text
    }

    private static func put(_ world: World, _ document: String, local: String? = nil) -> ContextSummary {
        answer(world, .put(PutRequest(document: document, local: local)))
    }

    /// A stream of so many packets a second.
    private static func stream(_ world: World, _ user: World.EndUser, packets: Int) -> Int {
        (0..<packets).count { _ in
            world.run(for: 1)
            return world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: active(world))
        }
    }

    private static func expectAlive(_ world: World, _ user: World.EndUser) {
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded)
    }

    /// Everything that a session does in its life.
    private static func expectWhole(_ world: World, _ user: World.EndUser) {
        #expect(stream(world, user, packets: 50) == 50)
        expectAlive(world, user)
        world.act(user) { $0.rekeyIKE(context: $1) }
        world.settle(user)
        let spi = user.initiator.children.first { !$0.isRekeyed }?.inboundSPI ?? 0
        world.act(user) { $0.rekeyChild(inboundSPI: spi, context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded)
        #expect(stream(world, user, packets: 20) == 20)
        world.run(for: 100)
        let (node, other) = (active(world), 1 - active(world))
        #expect(world.nodes[node]?.table.sessions == world.nodes[other]?.table.sessions)
        // The standby carries on with what it never negotiated.
        world.kill(node)
        world.run(for: 200)
        #expect(stream(world, user, packets: 20) == 20)
        expectAlive(world, user)
    }

    @Test(arguments: [UInt64(1), 3, 10], [false, true])
    func getAndPut_duringAStream_carryOnInsideTheSameSAs(seconds: UInt64, isElsewhere: Bool) throws {
        let (world, user) = Self.connected(World.Options(livenessDelay: .seconds(2)))
        #expect(Self.stream(world, user, packets: 100) == 100)
        let (ike, children) = (user.initiator.ikeSA?.spis, user.initiator.children.map(\.inboundSPI))
        world.report(user.inboundSPIAtGateway, next: 101, top: 77)
        let document = try Self.get(world, detach: true)
        #expect(Self.stream(world, user, packets: 10) == 0, "nothing here speaks for it")
        #expect(world.nodes.allSatisfy { $0?.table.count == 0 } && world.planes.allSatisfy { $0.sas.isEmpty })
        world.run(for: seconds * 1000)
        let taker = isElsewhere ? Self.elsewhere(world, user, options: World.Options(livenessDelay: .seconds(2))) : world
        let summary = Self.put(taker, document)
        #expect(summary.success, "\(summary.error ?? "")")
        #expect(taker.planes[Self.active(taker)].sas[user.inboundSPIAtGateway]?.top == 77)
        #expect((user.initiator.ikeSA?.spis, user.initiator.children.map(\.inboundSPI)) == (ike, children))
        // The gateway asks the silent peer, too.
        let answered = user.initiator.counters.requestsAnswered
        taker.run(for: 5000)
        #expect(user.initiator.counters.requestsAnswered > answered)
        Self.expectWhole(taker, user)
    }

    @Test func snapshot_putElsewhere_neverMeetsTheGiver() throws {
        let (world, user) = Self.connected()
        _ = Self.stream(world, user, packets: 50)
        let document = try Self.get(world, detach: false)
        #expect(Self.stream(world, user, packets: 50) == 50, "the giver lives on")
        Self.expectAlive(world, user)
        #expect(Self.put(world, document).code == "already_owned")
        let other = Self.elsewhere(world, user)
        #expect(Self.put(other, document).success)
        #expect(Self.stream(other, user, packets: 50) == 50)
        #expect(other.logs[Self.active(other)].contains { $0.message.contains("behind its peer") })
    }

    /// The giver went on after it was asked, and is gone: the taker asks the peer where it stands before it asks for anything else.
    @Test func snapshot_putAfterTheGiverWentOn_agreesOnMessageIDs() throws {
        let (world, site) = InitiateTests.pair()
        _ = world.initiate("link")
        world.run(for: 500)
        let summary = Self.answer(world, .get(GetRequest(name: "site", detach: false)))
        try #require(summary.success, "\(summary.error ?? "")")
        let known = try #require(site.table.sessions.values.first?.ikeSA.nextReceiveID)
        for _ in 0..<3 {
            world.askForLife(at: 0)
            world.run(for: 100)
        }
        #expect(try #require(site.table.sessions.values.first?.ikeSA.nextReceiveID) > known)
        let other = World(world.options)
        other.site = site
        other.startPair()
        other.checks.ike = world.checks.ike
        other.run(until: max(other.now, world.now))
        #expect(Self.put(other, summary.text).success)
        other.run(for: 500)
        #expect(other.status(0).counters["ike_syncs_completed"] == 1)
        #expect(!other.logs[0].contains { $0.message.contains("behind its peer") })
        let before = site.table.sessions.values.first?.ikeSA.spis
        _ = other.request(0, .rekey(RekeyRequest(connection: "site")))
        other.run(for: 1_000)
        #expect(site.table.count == 1 && site.table.sessions.values.first?.ikeSA.spis != before)
    }

    @Test func file_thatIsOlderThanWhatWasHere_isRefused() throws {
        let (world, user) = Self.connected()
        let first = try Self.get(world, detach: true)
        #expect(Self.put(world, first).success)
        #expect(Self.put(world, first).code == "already_owned")
        _ = Self.stream(world, user, packets: 10)
        let second = try Self.get(world, detach: true)
        #expect(Self.put(world, first).code == "stale")
        // The other node knows it too.
        world.kill(Self.active(world))
        world.run(for: 200)
        #expect(Self.put(world, first).code == "stale")
        #expect(Self.put(world, second).success)
        #expect(Self.stream(world, user, packets: 10) == 10)
        Self.expectAlive(world, user)
    }

    @Test func detachment_keepsTheAddressAndBlocksItsTraffic_forAWhile() throws {
        let (world, user) = Self.connected(World.Options(lastAddress: "10.20.0.2"))
        let document = try Self.get(world, detach: true)
        let address = try #require(user.initiator.virtualAddresses.first)
        world.run(for: 10)
        for plane in world.planes { #expect(plane.traps.map(\.remoteSelectors) == [[TrafficSelector(host: address)]]) }
        let others = (1...2).map { World.EndUser($0, in: world) }
        for other in others {
            world.add(other)
            world.act(other) { $0.start(context: $1) }
            world.run(for: 100)
        }
        #expect(!others.flatMap(\.initiator.virtualAddresses).contains(address))
        #expect(Self.put(world, document).success)
        world.run(for: 10)
        #expect(world.planes.allSatisfy { $0.traps.isEmpty })
        let again = try Self.get(world, detach: true)
        world.run(for: 601_000)
        #expect(world.planes.allSatisfy { $0.traps.isEmpty })
        let late = World.EndUser(7, in: world)
        world.connect(late)
        #expect(late.initiator.virtualAddresses == [address])
        #expect(Self.put(world, again).code == "address_in_use")
    }

    @Test func put_ofWhatCannotBe_saysWhich() throws {
        let (world, user) = Self.connected()
        let document = try Self.get(world, detach: true)
        let context = try SessionContext(parsing: Array(document.utf8))
        func refuse(_ code: String, _ change: (inout SessionContext) -> Void) {
            var changed = context
            change(&changed)
            #expect(Self.put(world, String(decoding: changed.encode(), as: UTF8.self)).code == code)
        }
        #expect(Self.put(world, String(document.dropLast())).code == "malformed")
        #expect(Self.put(world, document.replacing("\"kind\": \"detached\"", with: "\"kind\": \"snapshot\"")).code == "damaged")
        #expect(Self.put(world, document.replacing("\"version\": \"1.0\"", with: "\"version\": \"9.0\"")).code == "unsupported_version")
        #expect(Self.answer(world, .put(PutRequest(document: document)), node: 1 - Self.active(world)).code == "not_active")
        #expect(Self.put(world, document, local: "192.0.2.77").code == "no_local_address")
        #expect(Self.put(world, document, local: "nowhere").code == "invalid")
        refuse("expired") { $0.session.ikeSA.lifetime.endsAt = 5 }
        refuse("connection_unknown") { $0.session.authorization.connection = "other" }
        refuse("connection_unknown") { $0.session.children[0].name = "other" }
        refuse("identity_refused") { $0.session.authorization.localIdentity = Identity(text: "somebody.else") }
        refuse("identity_refused") { $0.session.authorization.method = .rsaSignature }
        refuse("given_too_often") { $0.session.ikeSA.epochShift = EpochShift(offset: 0, spent: EpochShift.spentMax)! }
        refuse("numbers_exhausted") { $0.session.children[0].lease = Lease(slice: 510) }
        refuse("spi_in_use") { $0.session.children.append($0.session.children[0]) }
        let other = World.EndUser(1, in: world)
        world.connect(other)
        world.run(for: 10)
        let theirs = try #require(world.nodes[Self.active(world)]?.table.sessions.values.first)
        refuse("address_in_use") { $0.session.virtualAddresses = theirs.virtualAddresses }
        refuse("spi_in_use") { $0.session.children[0].inboundSPI = theirs.children[0].inboundSPI }
        refuse("spi_in_use") { $0.session.ikeSA.spis.responder = theirs.ikeSA.spis.responder }
        refuse("already_owned") { $0.session.ikeSA.spis = theirs.ikeSA.spis }
        #expect(world.nodes[Self.active(world)]?.table.count == 1, "a refusal changes nothing")
        #expect(Self.put(world, document).success)
        Self.expectWhole(world, user)
    }

    @Test func get_ofWhatIsNotOneSession_isRefused() throws {
        let (world, _) = Self.connected()
        world.connect(World.EndUser(1, in: world))
        func code(_ name: String, node: Int? = nil) -> String? {
            Self.answer(world, .get(GetRequest(name: name, detach: true)), node: node).code
        }
        #expect(code("road") == "ambiguous")
        #expect(code("nobody") == "not_found")
        #expect(code("client0.example.net", node: 1 - Self.active(world)) == "not_active")
        #expect(world.nodes[Self.active(world)]?.table.count == 2)
    }

    /// The active dies so many microseconds after it was told to let go: either the operator has no context and the standby the session,
    /// or the standby has let go of it as well.
    @Test(arguments: Array(stride(from: UInt64(0), through: 1000, by: 50)))
    func activeThatDies_whileItLetsGo_leavesOneOwner(microseconds: UInt64) throws {
        let (world, user) = Self.connected()
        let token = world.request(0, .get(GetRequest(name: "client0.example.net", detach: true)))
        world.run(until: world.now + microseconds * 1000)
        let isAnswered = world.responses[token] != nil
        world.kill(0)
        world.run(for: 200)
        #expect(world.role(1) == .active)
        if isAnswered {
            #expect(world.nodes[1]?.table.count == 0)
        } else if world.nodes[1]?.table.count == 1 {
            #expect(Self.stream(world, user, packets: 5) == 5)
        }
    }
}
