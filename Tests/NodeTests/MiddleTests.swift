import Control
import Cryptography
import IKE
import Node
import Pair
import Session
import Testing

@testable import Simulator

/// A takeover at any moment of any exchange. The end-user ends with a working tunnel, and waits for its own timeout only if a datagram of
/// its own came where nobody was.
@Suite struct MiddleTests {
    enum Exchange: CaseIterable {
        case establish, establishInFragments, refused
        case createChild, rekeyChild, rekeyIKE, deleteChild, delete, liveness
        case rekeyChildByGateway, rekeyIKEByGateway, terminateChildByGateway, terminateByGateway

        var beginsWithATunnel: Bool { self != .establish && self != .establishInFragments && self != .refused }
        var endsWithATunnel: Bool { self != .delete && self != .terminateByGateway && self != .refused }
        var hasChild: Bool { endsWithATunnel && self != .deleteChild && self != .terminateChildByGateway }
    }

    /// Microseconds after its beginning: past the end of the longest, which takes four times 800.
    static let moments = Array(stride(from: UInt64(0), through: 3600, by: 150))

    private static func world(_ exchange: Exchange) -> (World, World.EndUser) {
        let world = World()
        let user = World.EndUser(in: world, announces: exchange == .establishInFragments ? [.fragmentation] : [])
        if exchange == .establishInFragments { user.initiator = user.initiator.inFragments }
        if exchange == .refused { user.initiator = user.initiator.withAnotherSecret }
        world.startPair()
        if exchange.beginsWithATunnel {
            world.connect(user)
            world.run(for: 50)
        }
        world.add(user)
        return (world, user)
    }

    private static func begin(_ exchange: Exchange, _ user: World.EndUser, in world: World) {
        let inbound = user.initiator.children.first?.inboundSPI ?? 0
        switch exchange {
        case .establish, .establishInFragments, .refused: world.act(user) { $0.start(context: $1) }
        case .createChild: world.act(user) { $0.addChild(context: $1) }
        case .rekeyChild: world.act(user) { $0.rekeyChild(inboundSPI: inbound, context: $1) }
        case .rekeyIKE: world.act(user) { $0.rekeyIKE(context: $1) }
        case .deleteChild: world.act(user) { $0.deleteChild(inboundSPI: inbound, context: $1) }
        case .delete: world.act(user) { $0.delete(context: $1) }
        case .liveness: world.act(user) { $0.liveness(context: $1) }
        case .rekeyChildByGateway: _ = world.request(0, .rekey(RekeyRequest(child: "net")))
        case .rekeyIKEByGateway: _ = world.request(0, .rekey(RekeyRequest(connection: "road")))
        case .terminateChildByGateway: _ = world.request(0, .terminate(TerminateRequest(child: "net")))
        case .terminateByGateway: _ = world.request(0, .terminate(TerminateRequest(connection: "road")))
        }
    }

    /// - Parameter losesLastWords: what the dead had sent and had not arrived is lost with it.
    @Test(arguments: Exchange.allCases, [false, true])
    func activeThatDies_atAnyMoment_leavesWhatTheExchangeWouldHave(exchange: Exchange, losesLastWords: Bool) {
        for moment in Self.moments {
            let (world, user) = Self.world(exchange)
            world.checks.label = "\(exchange), \(moment) µs\(losesLastWords ? ", last words lost" : "")"
            world.losesLastWords = losesLastWords
            Self.begin(exchange, user, in: world)
            world.run(until: world.now + moment * 1000)
            world.kill(0)
            world.run(for: 1000)
            Self.judge(exchange, user, in: world)
            #expect(user.initiator.counters.retransmissions == (world.missedRequests > 0 ? 1 : 0), "\(world.checks.label)")
        }
    }

    @Test(arguments: Exchange.allCases)
    func switchover_atAnyMoment_leavesWhatTheExchangeWouldHave(exchange: Exchange) {
        for moment in Self.moments {
            let (world, user) = Self.world(exchange)
            world.checks.label = "\(exchange), \(moment) µs, switchover"
            Self.begin(exchange, user, in: world)
            world.run(until: world.now + moment * 1000)
            _ = world.request(0, .switchover(force: false))
            world.run(for: 1000)
            Self.judge(exchange, user, in: world)
            #expect(user.initiator.counters.retransmissions == (world.missedRequests > 0 ? 1 : 0), "\(world.checks.label)")
        }
    }

    private static func judge(_ exchange: Exchange, _ user: World.EndUser, in world: World) {
        let label = Comment(rawValue: world.checks.label)
        #expect(world.role(1) == .active, label)
        #expect(world.nodes[1]?.halfOpenCount == 0, label)
        let sessions = world.nodes[1]?.table.sessions.values.map { $0 } ?? []
        guard exchange.endsWithATunnel else {
            // An answer to our DELETE that nobody heard does not come again: that session is closing, for as long as we ask.
            #expect(sessions.allSatisfy { exchange == .terminateByGateway && $0.hasPendingRequest } && !user.isEstablished, label)
            // It knows what became of it, and does not ask for ever.
            #expect(user.initiator.isQuiet, label)
            return
        }
        #expect(user.isEstablished && user.initiator.isQuiet, label)
        #expect(sessions.count == 1 && sessions.first?.ikeSA.spis == user.initiator.ikeSA?.spis, label)
        let live = sessions.first?.children.filter { !$0.isRekeyed }.map(\.outboundSPI).sorted()
        #expect(live == user.initiator.children.filter { !$0.isRekeyed }.map(\.inboundSPI).sorted(), label)
        if exchange.hasChild { #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 1), label) }
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded, label)
    }

    // MARK: - Half-open IKE SAs

    /// A pair with an end-user whose IKE_AUTH is on a long way.
    private static func halfOpen(fragments: Bool = false, delayed: @escaping (Int) -> Bool = { _ in true }) -> (World, World.EndUser, Held)
    {
        let world = World()
        let user = World.EndUser(in: world, announces: fragments ? [.fragmentation] : [])
        if fragments { user.initiator = user.initiator.inFragments }
        world.startPair()
        world.add(user)
        let held = Held()
        var count = 0
        world.fromSite = { datagram in
            guard datagram.bytes[18] == 35 else { return datagram }
            defer { count += 1 }
            guard delayed(count) else { return datagram }
            held.datagrams.append(datagram)
            return nil
        }
        world.act(user) { $0.start(context: $1) }
        world.run(for: 5)
        world.fromSite = { $0 }
        return (world, user, held)
    }

    final class Held { var datagrams: [Datagram] = [] }

    @Test func halfOpen_whenAnswered_isAtBothNodesAndNoSession() {
        let (world, user, _) = Self.halfOpen()
        #expect(world.nodes.map { $0?.halfOpenCount } == [1, 1])
        #expect(world.status(0).sessionsOwned == 0 && world.status(1).sessionsHeld == 0)
        #expect(world.status(0).counters["handshake_entries_sent"] == 1)
        _ = user
    }

    @Test func halfOpen_thatBecomesASession_isGoneFromBoth() {
        let (world, user, held) = Self.halfOpen()
        world.post(held.datagrams)
        world.run(for: 5)
        #expect(user.isEstablished && world.nodes.map { $0?.halfOpenCount } == [0, 0])
    }

    @Test func halfOpen_thatNobodyComesBackTo_expiresOnBoth() {
        let (world, user, _) = Self.halfOpen()
        world.users = []
        world.run(for: 31_000)
        #expect(world.nodes.map { $0?.halfOpenCount } == [0, 0])
        #expect(world.status(0).counters["ike_half_open_expired"] == 1 && world.status(1).counters["ike_half_open_expired"] == 0)
        _ = user
    }

    @Test func newOwner_whenAuthComes_goesOnInTheSameIKESA() {
        let (world, user, held) = Self.halfOpen()
        let spis = user.initiator.ikeSA?.spis
        world.kill(0)
        world.run(for: 60)
        world.post(held.datagrams)
        world.run(for: 5)
        #expect(user.isEstablished && user.initiator.ikeSA?.spis == spis && user.initiator.counters.retransmissions == 0)
    }

    @Test func newOwner_whenInitIsRepeated_answersWithTheSameBytes() {
        let world = World()
        let user = World.EndUser(in: world)
        world.startPair()
        world.add(user)
        // Neither the answer nor its repetition by the new owner arrives.
        world.network.isCut = false
        world.act(user) { $0.start(context: $1) }
        world.run(until: world.now + 250_000)
        world.network.isCut = true
        world.run(for: 1)
        world.kill(0)
        world.run(for: 60)
        world.network.isCut = false
        world.run(for: 1000)
        // Which it was: the end-user began once, and took one answer.
        #expect(user.isEstablished && user.initiator.counters.retransmissions == 1)
        #expect(world.status(1).counters["ike_half_open_created"] == 0)
        #expect(user.initiator.ikeSA.map { $0.spis.responder >> 63 } == 0, "the SPI is the dead node's")
    }

    @Test func switchover_andBack_goesOnInTheSameIKESA() {
        let (world, user, held) = Self.halfOpen()
        for active in [0, 1] {
            _ = world.request(active, .switchover(force: false))
            world.run(for: 20)
        }
        #expect(world.role(0) == .active)
        world.post(held.datagrams)
        world.run(for: 5)
        #expect(user.isEstablished && user.initiator.counters.retransmissions == 0)
    }

    @Test func standbyThatComesLate_isToldOfWhatIsHalfOpen() {
        let (world, user, held) = Self.halfOpen()
        world.users = []
        world.kill(1)
        world.run(for: 300)
        world.start(1)
        world.run(for: 2000)
        #expect(world.pairState(0) == "paired" && world.nodes[1]?.halfOpenCount == 1)
        world.kill(0)
        world.run(for: 60)
        world.add(user)
        world.post(held.datagrams)
        world.run(for: 5)
        #expect(user.isEstablished)
    }

    @Test func nodeAlone_keepsNothingBack() {
        let world = World()
        let user = World.EndUser(in: world)
        world.start(0, alone: true)
        world.run(for: 100)
        world.connect(user)
        #expect(world.status(0).counters["handshake_entries_sent"] == 0)
    }

    // MARK: - Fragments

    @Test(arguments: [0, 1, 2]) func fragments_ofWhichOneComesToTheNewOwner_areJoined(late: Int) {
        let (world, user, held) = Self.halfOpen(fragments: true) { $0 == late }
        #expect(held.datagrams.count == 1)
        world.kill(0)
        world.run(for: 60)
        world.post(held.datagrams)
        world.run(for: 5)
        #expect(user.isEstablished && user.initiator.counters.retransmissions == 0)
    }

    // MARK: - Floods

    /// As long as cookies are asked for nothing goes to the standby, and what it holds is bounded by the threshold.
    @Test func flood_whenCookiesAreAskedFor_costsTheLinkNothing() {
        let world = World()
        world.startPair()
        let threshold = world.ikeConfiguration.limits.cookieThreshold
        for number in 0..<threshold * 3 {
            let user = World.EndUser(number, in: world)
            world.add(user)
            world.fromSite = { $0.bytes[18] == 34 ? $0 : nil }
            world.act(user) { $0.start(context: $1) }
            world.run(for: 2)
            world.users = []
        }
        let status = world.status(0)
        #expect(status.counters["handshake_entries_sent"] == UInt64(threshold) && world.nodes[1]?.halfOpenCount == threshold)
        #expect(status.counters["ike_cookies_required"] ?? 0 >= UInt64(threshold * 2))
        #expect(world.nodes[0]?.halfOpenCount ?? 0 > threshold, "who shows that it is there is served")
    }

    /// The last answers are repeated in pages, the latest first, and no more of them than the limit.
    @Test func answers_whenManyWereGiven_areRepeatedOnceEach() {
        let world = World()
        world.startPair()
        var users: [World.EndUser] = []
        for number in 0..<100 {
            let user = World.EndUser(number, in: world)
            world.connect(user)
            users.append(user)
        }
        world.run(for: 500)
        world.losesLastWords = true
        for user in users { world.act(user) { $0.liveness(context: $1) } }
        // Every request is answered, and no answer arrives.
        world.run(until: world.now + 700_000)
        world.kill(0)
        world.run(for: 100)
        #expect(users.allSatisfy { $0.initiator.isQuiet && $0.initiator.counters.retransmissions == 0 })
        #expect(world.status(1).counters["ike_answers_repeated"] == 100)
    }
}

extension IKEInitiator {
    /// In datagrams so small that IKE_AUTH takes three.
    fileprivate var inFragments: IKEInitiator {
        var configuration = configuration
        configuration.limits.fragmentSize = 160
        return IKEInitiator(configuration: configuration)
    }

    fileprivate var withAnotherSecret: IKEInitiator {
        var configuration = configuration
        configuration.secret = SecretBytes(Array("another".utf8))
        return IKEInitiator(configuration: configuration)
    }
}
