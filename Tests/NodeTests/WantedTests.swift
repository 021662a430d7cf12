import Control
import Cryptography
import IKEWire
import Pair
import Session
import Testing

@testable import IKE
@testable import Node
@testable import Simulator

extension World {
    /// The site does something by itself.
    func atSite(_ body: (inout IKEEngine, SessionTable, IKEContext) -> IKEOutcome) {
        guard let site else { return }
        post(site.take(body(&site.engine, site.table, IKEContext(now: time, epoch: 0, random: random))))
    }

    /// Until it is so, or for 10 s of virtual time.
    func run(until condition: (World) -> Bool) {
        for _ in 0..<200_000 where !condition(self) { run(until: now + 50_000) }
        expect(condition(self), "it did not come to that")
    }

    /// What both nodes hold of the site, if they agree.
    var siteSessions: [Session] { (nodes[0] ?? nodes[1])?.table.sessions(connection: "site") ?? [] }

    func calls(of index: Int) -> UInt64 { nodes[index]?.ike.counters.initiationsStarted ?? 0 }
}

/// What a node makes by itself, and what a new owner makes of it.
@Suite struct WantedTests {
    static func pair(
        children: [String] = ["link"], start: StartAction = .start, loss: LossAction = .restart, isSiteDead: Bool = false,
        change: (inout ConnectionConfiguration) -> Void = { _ in }, site changeSite: (inout IKEConfiguration) -> Void = { _ in }
    ) -> World {
        let ours = ("192.0.2.10", "gw.example.net", "10.10.0.0/16")
        let theirs = ("192.0.2.200", "site.example.net", "10.30.0.0/16")
        var connection = InitiateTests.connection("site", local: ours, remote: theirs, children: children)
        for index in connection.children.indices {
            connection.children[index].startAction = start
            connection.children[index].closeAction = loss
            connection.children[index].deadPeerAction = loss
        }
        change(&connection)
        var options = World.Options()
        options.retransmitTimeout = .milliseconds(200)
        options.connections = [connection]
        let world = World(options)
        var headquarters = InitiateTests.connection("headquarters", local: theirs, remote: ours)
        headquarters.localAddresses = []
        var configuration = IKEConfiguration(
            connections: [headquarters], secrets: [SharedSecret(identities: [], secret: SecretBytes(Array("secret".utf8)))], pools: [])
        changeSite(&configuration)
        let site = World.Site(configuration)
        site.isDead = isSiteDead
        world.site = site
        world.startPair()
        return world
    }

    // MARK: start

    @Test func start_whenANodeBecomesOwner_establishesTheChildOnce() throws {
        let world = Self.pair()
        world.run(for: 1000)
        let session = try #require(world.siteSessions.first)
        #expect(session.hasChild("link") && world.siteSessions.count == 1 && world.nodes[1]?.table[session.id] == session)
        world.kill(0)
        world.run(for: 5000)
        #expect(world.role(1) == .active && world.siteSessions.map(\.id) == [session.id], "the new owner finds it there")
        #expect(world.calls(of: 1) == 0 && world.site?.table.count == 1)
    }

    @Test func start_whenThePeerIsSilent_isRepeatedForEverWithGrowingWaits() {
        let world = Self.pair(isSiteDead: true)
        world.run(for: 120_000)
        // A call lasts 8.3 s; the waits between grow to a minute.
        #expect((4...8).contains(world.calls(of: 0)))
        world.site?.isDead = false
        world.run(for: 70_000)
        #expect(world.siteSessions.count == 1)
    }

    @Test func start_whenTheOwnerDiesInTheMiddleOfACall_isMadeByTheNext() {
        let initial = Self.pair(isSiteDead: true)
        initial.run { $0.calls(of: 0) == 1 }
        initial.kill(0)
        initial.site?.isDead = false
        initial.run(for: 2000)
        #expect(initial.siteSessions.count == 1 && initial.site?.table.count == 1)

        let authenticating = Self.pair(isSiteDead: true)
        authenticating.site?.isDead = false
        authenticating.run { $0.site?.table.count == 1 }
        #expect(authenticating.siteSessions.isEmpty, "the site's answer is under way")
        authenticating.kill(0)
        authenticating.run(for: 3000)
        #expect(authenticating.siteSessions.count == 1 && authenticating.role(1) == .active)
    }

    @Test func start_ofSeveralChildren_fillsOneSessionAlsoThroughATakeover() throws {
        let world = Self.pair(children: ["link", "more", "third"], isSiteDead: true)
        world.site?.isDead = false
        world.run { $0.siteSessions.first?.hasPendingRequest == true }
        world.run(for: 1)
        world.kill(0)
        world.run(for: 5000)
        let session = try #require(world.siteSessions.first)
        #expect(Set(session.children.map(\.name)) == ["link", "more", "third"] && session.children.count == 3)
        #expect(world.siteSessions.count == 1 && world.calls(of: 1) == 0)
    }

    @Test func start_thatBeginsChildless_isThereOnce() throws {
        let world = Self.pair(children: ["link", "more"], change: { $0.childless = .prefer })
        world.run(for: 3000)
        #expect(world.siteSessions.count == 1 && world.calls(of: 0) == 1)
        #expect(world.siteSessions.first?.children.map(\.name) == ["link", "more"])
        #expect(world.site?.table.childCount == 2)
    }

    @Test func start_whenThePeerTakesNoMoreChildren_asksSeldom() throws {
        let world = Self.pair(children: ["link", "more"], site: { $0.limits.childrenPerSessionMax = 1 })
        world.run(for: 1000)
        let asked = try #require(world.siteSessions.first?.ikeSA.nextSendID)
        world.run(for: 40_000)
        #expect(asked == 3 && world.siteSessions.first?.ikeSA.nextSendID == asked)
        world.site?.engine.configuration.limits.childrenPerSessionMax = 2
        world.run(for: 30_000)
        #expect(world.siteSessions.first?.children.count == 2)
    }

    // MARK: Loss

    @Test(arguments: [LossAction.clear, .restart]) func close_byThePeer_isAnsweredAsConfigured(loss: LossAction) throws {
        let world = Self.pair(loss: loss)
        world.run(for: 1000)
        let session = try #require(world.site?.table.sessions.values.first)
        world.atSite { $0.terminate(child: session.children[0].inboundSPI, in: session.id, table: $1, context: $2) }
        world.run(for: 3000)
        let children = try #require(world.siteSessions.first?.children.map(\.outboundSPI))
        #expect(children.count == (loss == .restart ? 1 : 0) && !children.contains(session.children[0].inboundSPI))
        world.atSite { $0.terminate(session: session.id, table: $1, context: $2) }
        world.run(for: 5000)
        #expect(world.siteSessions.count == (loss == .restart ? 1 : 0))
    }

    /// A peer that takes everything and deletes it at once is not called at the speed of the network.
    @Test func close_againAndAgain_isAnsweredEverMoreSeldom() {
        let world = Self.pair()
        for _ in 0..<3000 {
            world.run(for: 10)
            if let session = world.site?.table.sessions.keys.first {
                world.atSite { $0.terminate(session: session, table: $1, context: $2) }
            }
        }
        #expect((3...6).contains(world.calls(of: 0)))
    }

    @Test(arguments: [LossAction.clear, .restart]) func deadPeer_isCalledAgainAsConfigured(loss: LossAction) throws {
        let world = Self.pair(loss: loss, change: { $0.livenessDelay = .seconds(1) })
        world.run(for: 1000)
        world.site?.isDead = true
        world.run(for: 15_000)
        #expect(world.siteSessions.isEmpty)
        world.site?.isDead = false
        world.run(for: 20_000)
        #expect(world.siteSessions.count == (loss == .restart ? 1 : 0))
    }

    @Test func terminate_byAnOperator_isNotUndone() throws {
        let world = Self.pair()
        world.run(for: 1000)
        _ = world.request(0, .terminate(.init(connection: "site")))
        world.run(for: 20_000)
        #expect(world.siteSessions.isEmpty && world.calls(of: 0) == 1)
    }

    // MARK: trap

    private static let packet = PacketSelector(
        local: TrafficSelector(ipProtocol: 6, startPort: 4711, endPort: 4711, start: IPAddress("10.10.0.7")!, end: IPAddress("10.10.0.7")!),
        remote: TrafficSelector(ipProtocol: 6, startPort: 443, endPort: 443, start: IPAddress("10.30.0.9")!, end: IPAddress("10.30.0.9")!))

    @Test func trap_whenAPacketComes_makesTheChild() throws {
        let world = Self.pair(start: .trap, loss: .clear)
        world.run(for: 5000)
        #expect(world.siteSessions.isEmpty && world.planes.map { $0.traps.count } == [1, 1])
        let name = ChildName(connection: "site", child: "link")
        #expect(world.planes[0].traps[0].name == name && world.planes[0].traps[0].remote == IPAddress("192.0.2.200"))
        world.feed(1, .dataPlane(.acquired(name, Self.packet)))
        world.run(for: 100)
        #expect(world.siteSessions.isEmpty, "a standby's packets call for nothing")
        for _ in 0..<5 { world.feed(0, .dataPlane(.acquired(name, Self.packet))) }
        world.run(for: 100)
        #expect(world.siteSessions.first?.children.count == 1 && world.calls(of: 0) == 1)
        // It takes the packet: another one of before says nothing new.
        world.run(for: 2000)
        world.feed(0, .dataPlane(.acquired(name, Self.packet)))
        world.run(for: 100)
        #expect(world.siteSessions.first?.children.count == 1)
    }

    @Test func trap_whosePeerIsSilent_callsForOnePacketOnly() {
        let world = Self.pair(start: .trap, loss: .trap, isSiteDead: true)
        let name = ChildName(connection: "site", child: "link")
        world.feed(0, .dataPlane(.acquired(name, Self.packet)))
        world.run(for: 60_000)
        #expect(world.calls(of: 0) == 1)
        world.site?.isDead = false
        world.feed(0, .dataPlane(.acquired(name, Self.packet)))
        world.run(for: 100)
        #expect(world.siteSessions.count == 1)
    }

    /// Where the peer agreed to less than is configured, a packet of the rest wants a CHILD SA of its own.
    @Test func trap_whenTheChildIsNarrower_addsAnother() throws {
        let world = Self.pair(
            start: [.trap, .start],
            site: { $0.connections[0].children[0].localSelectors = [.selector(TrafficSelector(IPPrefix("10.30.1.0/24")!))] })
        world.run(for: 1000)
        #expect(world.siteSessions.first?.children.count == 1)
        let name = ChildName(connection: "site", child: "link")
        for _ in 0..<30 {
            world.feed(0, .dataPlane(.acquired(name, Self.packet)))
            world.run(for: 1000)
        }
        #expect(
            (3...8).contains(try #require(world.siteSessions.first?.children.count)),
            "it never takes the packet, and is asked ever more seldom")
    }

    // MARK: Reauthentication

    @Test func reauthentication_asInitiator_makesBeforeItBreaks() throws {
        let world = Self.pair(children: ["link", "more"], change: { $0.reauthenticationTime = .seconds(20) })
        world.run(for: 1000)
        let old = try #require(world.siteSessions.first)
        #expect(old.children.count == 2 && old.reauthenticateAt != nil)
        var least = 2
        while world.nodes[0]?.table[old.id] != nil, world.time.instant.nanoseconds < 30_000_000_000 {
            world.run(for: 1)
            least = min(least, Set(world.siteSessions.flatMap(\.children).map(\.name)).count)
        }
        let new = try #require(world.siteSessions.first)
        #expect(world.siteSessions.count == 1 && new.id != old.id && new.predecessor == old.id && new.children.count == 2)
        #expect(least == 2, "at no moment is a child missing")
        #expect(new.establishedWallMilliseconds < (old.reauthenticateAt ?? 0))
        world.run(for: 100)
        #expect(world.site?.table.count == 1)
    }

    @Test(arguments: 0..<3) func reauthentication_whenTheOwnerDiesInTheMiddle_isFinishedByTheNext(moment: Int) throws {
        let world = Self.pair(children: ["link", "more"], change: { $0.reauthenticationTime = .seconds(20) })
        world.run(for: 1000)
        let old = try #require(world.siteSessions.first?.id)
        world.run(for: 14_000)
        switch moment {
        case 0: world.run { $0.calls(of: 0) == 2 }
        case 1: world.run { $0.nodes[1]?.table.successor(of: old) != nil }
        default: world.run { $0.nodes[1]?.table[old]?.isClosing == true }
        }
        world.kill(0)
        world.run(for: 5000)
        let session = try #require(world.siteSessions.first)
        #expect(world.siteSessions.count == 1 && session.id != old && session.children.count == 2)
        #expect(world.role(1) == .active && world.calls(of: 1) == (moment == 0 ? 1 : 0))
    }

    // MARK: Redirect

    @Test(arguments: [false, true]) func redirect_ofASession_movesItToTheNewGateway(dies: Bool) throws {
        let world = Self.pair(children: ["link", "more"])
        world.run(for: 1000)
        let old = try #require(world.siteSessions.first)
        let target = IPAddress("192.0.2.201")!
        world.atSite { engine, table, context in
            let session = table.sessions.values.first!
            let redirect = RequestDraft(purpose: .announce, payloads: [.notify(.redirect, GatewayIdentity.encode(target))])
            return engine.request(redirect, in: session, sa: session.ikeSA, context: context)
        }
        if dies {
            world.run { $0.nodes[1]?.table[old.id]?.redirectedTo == target }
            world.kill(0)
        }
        world.run(for: 5000)
        let new = try #require(world.siteSessions.first)
        #expect(world.siteSessions.count == 1 && new.id != old.id && new.remote.address == target && new.children.count == 2)
        #expect(world.site?.table.sessions.values.map(\.local.address) == [target])
    }
}
