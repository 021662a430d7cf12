import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// A client, the gateway that it called, and another one, each a node of its own, in virtual time.
final class Three {
    static let client = IPAddress("198.51.100.7")!
    static let old = IPAddress("192.0.2.10")!
    static let new = IPAddress("203.0.113.20")!

    struct Stream: Equatable {
        var sent = 0
        var taken = 0
        /// Nobody was there, or the number was not above the last one.
        var lost = 0
    }

    var now: UInt64 = 1_000_000_000
    let random = RandomSource.seeded(5)
    var nodes: [IPAddress: Node] = [:]
    var planes: [IPAddress: FakeDataPlane] = [:]
    /// Where the outbound SA of each CHILD SA ends.
    var ends: [IPAddress: [UInt32: IPAddress]] = [:]
    var answers: [RequestToken: [ControlResponse]] = [:]
    var fromClient = Stream()
    var toClient = Stream()
    var firstMessages = 0
    /// Whose IKE datagrams go nowhere.
    var silenced: Set<IPAddress> = []
    /// Between the gateways.
    var links = TransferWires()
    private var sealed: [[UInt8]: [UInt8]] = [:]
    private var queue: [(at: UInt64, action: (Three) -> Void)] = []
    private var tokens: UInt64 = 0
    private var last = Three.old
    /// What the last packet of each went through.
    private var children: [IPAddress: ChildSA] = [:]
    /// Every SPI with every number that was used in it.
    private var numbers: [UInt32: Set<UInt64>] = [:]

    /// - Parameter overload: of the old gateway.
    /// - Parameter isStock: the client knows neither context transfer nor redirects.
    init(
        mobike: Bool, isStock: Bool = false, moves: GatewayConfiguration.MobikeMoves = .auto, overload: OverloadConfiguration? = nil
    ) {
        nodes[Self.client] = Self.node("client", Self.client, Self.calling(mobike: mobike, isStock: isStock), random, time)
        for (name, address) in [("old", Self.old), ("new", Self.new)] {
            nodes[address] = Self.node(
                name, address, Self.called(mobike: mobike), random, time, moves: moves, overload: address == Self.old ? overload : nil)
        }
        for address in [Self.client, Self.old, Self.new] {
            planes[address] = FakeDataPlane()
            feed(address, .started(dataPlane: "fake", reason: "test"))
        }
        run(for: 100)
    }

    var time: Now { Now(instant: Instant(nanoseconds: now), wallMilliseconds: 1_700_000_000_000 + Int64(now / 1_000_000)) }

    /// The gateways know each other, and the new one may ask for sessions.
    private static func gateways(of name: String, _ moves: GatewayConfiguration.MobikeMoves) -> [GatewayConfiguration] {
        switch name {
        case "old": [GatewayConfiguration(name: "new", redirectTo: .address(new), mayRequest: true, mobike: moves)]
        case "new": [GatewayConfiguration(name: "old", redirectTo: .address(old), mobike: moves)]
        default: []
        }
    }

    private static func node(
        _ name: String, _ address: IPAddress, _ ike: IKEConfiguration, _ random: RandomSource, _ now: Now,
        moves: GatewayConfiguration.MobikeMoves = .auto, overload: OverloadConfiguration? = nil
    ) -> Node {
        let shared = SharedAddress(prefix: IPPrefix(host: address), interface: "eth0")
        var configuration = NodeConfiguration(
            name: name, id: .zero, pair: nil, addresses: [shared], ike: ike, version: "test",
            gateways: gateways(of: name, moves))
        configuration.overload = overload
        return Node(configuration: configuration, boot: 1, random: random, now: now)
    }

    private static func ike(
        _ name: String, local: [IPPrefix], remote: [IPPrefix], own: String, peer: String, inside: String, outside: String, mobike: Bool
    ) -> IKEConfiguration {
        let proposal = IKEProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
        let esp = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        let child = ChildConfiguration(
            name: "net", localSelectors: [.selector(TrafficSelector(IPPrefix(inside)!))],
            remoteSelectors: [.selector(TrafficSelector(IPPrefix(outside)!))], proposals: [esp])
        var connection = ConnectionConfiguration(
            name: name, localAddresses: local, remoteAddresses: remote, proposals: [proposal], localIdentity: Identity(text: own),
            remoteIdentity: Identity(text: peer), children: [child])
        connection.mobike = mobike
        let secret = SharedSecret(identities: [], secret: SecretBytes(Array("of the three".utf8)))
        return IKEConfiguration(connections: [connection], secrets: [secret], pools: [])
    }

    private static func calling(mobike: Bool, isStock: Bool) -> IKEConfiguration {
        var configuration = ike(
            "gate", local: [IPPrefix(host: client)], remote: [IPPrefix(host: old)], own: "client.example.net", peer: "gw.example.net",
            inside: "10.20.0.0/16", outside: "10.10.0.0/16", mobike: mobike)
        if isStock { configuration.connections[0].followsRedirects = false }
        return configuration
    }

    private static func called(mobike: Bool) -> IKEConfiguration {
        ike(
            "road", local: [], remote: [], own: "gw.example.net", peer: "client.example.net", inside: "10.10.0.0/16",
            outside: "10.20.0.0/16",
            mobike: mobike)
    }

    // MARK: Running

    func feed(_ address: IPAddress, _ input: Input) {
        var effects = nodes[address]!.handle(input, now: time)
        while !effects.isEmpty {
            var passed: [TakeoverStep] = []
            for effect in effects { carryOut(effect, of: address, &passed) }
            effects = passed.flatMap { nodes[address]!.handle(.milestonePassed($0, at: time.instant), now: time) }
        }
    }

    private func carryOut(_ effect: Effect, of address: IPAddress, _ passed: inout [TakeoverStep]) {
        switch effect {
        case .send(let datagram):
            #expect(datagram.local.address == address)
            note(datagram.bytes, fromClient: address == Self.client)
            guard !silenced.contains(address) else { return }
            after(5_000_000) { three in
                guard three.nodes[datagram.remote.address] != nil else { return }
                three.feed(
                    datagram.remote.address, .datagram(Datagram(local: datagram.remote, remote: datagram.local, bytes: datagram.bytes)))
            }
        case .dataPlane(let commands):
            for command in commands {
                if let problem = planes[address]!.apply(command) { Issue.record("\(problem)") }
                if case .install(let installation) = command {
                    ends[address, default: [:]][installation.child.inboundSPI] = installation.remote.address
                }
            }
        case .respond(let token, let response): answers[token, default: []].append(response)
        case .milestone(let step): passed.append(step)
        case .transfer(let gateway, let message): links.carry(message, to: gateway, self)
        default: break
        }
    }

    /// Law 3, over both gateways: no IV twice under one key with another text.
    private func note(_ bytes: [UInt8], fromClient: Bool) {
        guard bytes.count > 40 else { return }
        if bytes[18] == 34 || bytes[18] == 35 { firstMessages += 1 }
        guard bytes[16] == 46 else { return }
        let key = [fromClient ? 1 : 0] + Array(bytes[0..<16]) + Array(bytes[32..<40])
        #expect(sealed[key, default: bytes] == bytes, "an IV was used twice")
        sealed[key] = bytes
    }

    func after(_ nanoseconds: UInt64, _ action: @escaping (Three) -> Void) { queue.append((now + nanoseconds, action)) }

    func run(for milliseconds: UInt64) {
        let end = now + milliseconds * 1_000_000
        while true {
            let event = queue.map(\.at).min() ?? .max
            let deadlines = nodes.mapValues { $0.nextDeadline()?.nanoseconds ?? .max }
            let next = max(now, min(event, deadlines.values.min() ?? .max))
            guard next <= end else { break }
            now = next
            if event <= now, let index = queue.firstIndex(where: { $0.at == event }) {
                queue.remove(at: index).action(self)
            } else if let due = deadlines.filter({ $0.value <= now }).keys.min() {
                feed(due, .deadline)
            }
        }
        now = end
    }

    func request(_ address: IPAddress, _ request: ControlRequest) -> RequestToken {
        tokens += 1
        let token = RequestToken(rawValue: tokens)
        feed(address, .request(token, request))
        return token
    }

    func session(_ address: IPAddress) -> Session? { nodes[address]?.table.sessions.values.first }

    // MARK: Traffic

    /// A packet each way every 2 ms, for so long.
    func stream(for milliseconds: UInt64) {
        for at in stride(from: UInt64(0), to: milliseconds, by: 2) {
            after(at * 1_000_000) { three in
                three.packet(from: Three.client)
                three.packet(from: three.gateway)
            }
        }
    }

    /// Through which what is inside goes to the client: the one that speaks for the session, or, before the next one does, the last.
    private var gateway: IPAddress {
        if let found = [Self.old, Self.new].first(where: { session($0)?.isArriving == false }) { last = found }
        return last
    }

    private func packet(from address: IPAddress) {
        let isClient = address == Self.client
        if isClient { fromClient.sent += 1 } else { toClient.sent += 1 }
        if let child = session(address)?.children.first(where: { !$0.isRekeyed }) { children[address] = child }
        guard let child = children[address], let end = ends[address]?[child.inboundSPI],
            let number = planes[address]!.take(child.inboundSPI)
        else {
            if isClient { fromClient.lost += 1 } else { toClient.lost += 1 }
            return
        }
        #expect(numbers[child.outboundSPI, default: []].insert(number).inserted, "a sequence number was used twice")
        after(5_000_000) { three in
            let sa = three.planes[end]?.sas[child.outboundSPI]
            let isTaken = sa.map { number > $0.top } ?? false
            if isTaken { three.planes[end]!.sas[child.outboundSPI]!.top = number }
            switch (isClient, isTaken) {
            case (true, true): three.fromClient.taken += 1
            case (true, false): three.fromClient.lost += 1
            case (false, true): three.toClient.taken += 1
            case (false, false): three.toClient.lost += 1
            }
        }
    }
}

@Suite struct HandingOnTests {
    private static func connected(mobike: Bool = true) throws -> Three {
        let three = Three(mobike: mobike)
        _ = three.request(Three.client, .initiate(InitiateRequest(child: "net", connection: "gate")))
        three.run(for: 100)
        try #require(three.session(Three.client) != nil && three.session(Three.old) != nil)
        return three
    }

    /// What a transfer does: holds the session still, gives the other gateway a copy, redirects.
    private static func handOn(_ three: Three, to address: IPAddress = Three.new) throws {
        let id = try #require(three.session(Three.old)?.id)
        let target = GatewayIdentity.address(address)
        try three.act(Three.old) { (node, now) throws(RedirectObjection) in
            node.commit(
                try node.ike.prepareHandingOn(session: id, to: target, table: node.table, context: node.context(now)), now: now)
        }
        var copy = try #require(three.session(Three.old))
        copy.redirects = .none
        copy.ikeSA.nextSendID += 1
        copy.local.address = address
        for index in copy.children.indices { copy.children[index].lease = copy.children[index].lease.nextAfterGap(for: .zero) }
        try three.act(address) { (node, now) throws(RedirectObjection) in
            node.commit(IKEOutcome(deltas: [SessionDelta(session: id, changes: [.created(copy)])], session: id), now: now)
        }
        three.run(for: 3)
        try three.act(Three.old) { (node, now) throws(RedirectObjection) in
            node.commit(
                try node.ike.redirect(
                    session: id, to: target, contextTransmitted: true, table: node.table, context: node.context(now)), now: now)
        }
    }

    @Test(arguments: [false, true]) func session_handedOnUnderLoad_losesNothingAndAuthenticatesNothing(mobike: Bool) throws {
        let three = try Self.connected(mobike: mobike)
        let before = try #require(three.session(Three.client))
        let first = three.firstMessages
        three.stream(for: 400)
        three.run(for: 50)
        try Self.handOn(three)
        // The old gateway forgets it when the client has answered.
        for _ in 0..<40 {
            three.run(for: 1)
            guard let left = three.session(Three.old), left.redirects.order?.stage == .answered else { continue }
            try three.act(Three.old) { (node, now) throws(RedirectObjection) in node.forgetMoved(left.id, now: now) }
        }
        #expect(three.session(Three.old) == nil && three.planes[Three.old]?.sas.isEmpty == true)
        three.run(for: 400)
        let client = try #require(three.session(Three.client))
        let gateway = try #require(three.session(Three.new))
        #expect(three.firstMessages == first, "no IKE_SA_INIT and no IKE_AUTH")
        #expect(client.id == before.id && client.remote.address == Three.new && client.movingTo == nil && !client.hasPendingRequest)
        #expect(gateway.ikeSA.keys == client.ikeSA.keys && gateway.remote == client.local && gateway.local == client.remote)
        #expect(three.fromClient == Three.Stream(sent: 200, taken: 200, lost: 0))
        #expect(three.toClient == Three.Stream(sent: 200, taken: 200, lost: 0))
        // Both sides go on in it: fresh keys by the gateway, then by the client.
        for (address, name) in [(Three.new, "road"), (Three.client, "gate")] {
            _ = three.request(address, .rekey(RekeyRequest(connection: name)))
            three.run(for: 100)
            _ = three.request(address, .rekey(RekeyRequest(child: "net")))
            three.run(for: 100)
        }
        let last = try #require(three.session(Three.client))
        #expect(last.ikeSA.keys != before.ikeSA.keys && last.ikeSA.keys == three.session(Three.new)?.ikeSA.keys)
        #expect(last.children.count == 1 && last.children[0].inboundKeys == three.session(Three.new)?.children[0].outboundKeys)
        #expect(three.firstMessages == first)
    }

    /// Nobody tells the old gateway to forget it: it does by itself, and the client is not told.
    @Test func session_thatWent_isForgottenInTime() throws {
        let three = try Self.connected()
        try Self.handOn(three)
        three.run(for: 15_000)
        #expect(three.session(Three.old) == nil && three.session(Three.client)?.remote.address == Three.new)
    }

    // MARK: The operator

    private static func answer(_ three: Three, _ token: RequestToken) -> RedirectSummary? {
        guard case .redirect(let summary)? = three.answers[token]?.last else { return nil }
        return summary
    }

    @Test(arguments: [RedirectRequest.Selection.name("client.example.net"), .all, .share(50)])
    func client_redirectedByTheOperator_authenticatesAtTheOther(selection: RedirectRequest.Selection) throws {
        let three = try Self.connected()
        let token = three.request(Three.old, .redirect(RedirectRequest(selection, to: "203.0.113.20")))
        #expect(Self.answer(three, token) == RedirectSummary(matched: 1, sent: 1, refused: [], newPeersTo: nil))
        three.run(for: 2000)
        #expect(three.session(Three.old) == nil && three.session(Three.client)?.remote.address == Three.new)
        #expect(three.nodes[Three.client]?.table.count == 1 && three.session(Three.new)?.children.count == 1)
        let back = three.request(Three.new, .redirect(RedirectRequest(.all, to: "192.0.2.10")))
        let reason = RedirectObjection.cameFromThere.rawValue
        #expect(Self.answer(three, back)?.refused.map(\.reason) == [reason] && Self.answer(three, back)?.sent == 0)
    }

    @Test func newClients_areSentOnUntilTheOperatorSaysSo() throws {
        let three = Three(mobike: true)
        let token = three.request(Three.old, .redirect(RedirectRequest(.newPeers(.initial), to: "203.0.113.20")))
        #expect(Self.answer(three, token)?.newPeersTo == "203.0.113.20")
        _ = three.request(Three.client, .initiate(InitiateRequest(child: "net", connection: "gate")))
        three.run(for: 200)
        #expect(three.session(Three.client)?.remote.address == Three.new && three.nodes[Three.old]?.table.count == 0)
        let off = three.request(Three.old, .redirect(RedirectRequest(.newPeersOff)))
        #expect(Self.answer(three, off)?.newPeersTo == nil && three.nodes[Three.old]?.ike.redirectNew == nil)
    }

    @Test func redirect_toNoGatewayOrOfNobody_isRefused() throws {
        let three = try Self.connected()
        for (request, text) in [
            (RedirectRequest(.all, to: "0.0.0.0"), "neither"), (RedirectRequest(.name("nobody"), to: "203.0.113.20"), "no matching"),
            (RedirectRequest(.all, to: "a b"), "neither"),
        ] {
            let token = three.request(Three.old, .redirect(request))
            guard case .done(let done)? = three.answers[token]?.last else {
                Issue.record("no refusal")
                continue
            }
            #expect(!done.success && done.error.contains(text))
        }
        #expect(three.session(Three.old)?.redirects == Redirections.none)
    }
}

extension Three {
    fileprivate func act(_ address: IPAddress, _ body: (inout Node, Now) throws(RedirectObjection) -> Void) throws {
        try body(&nodes[address]!, time)
        // What it wants done comes out with the next input.
        feed(address, .deadline)
    }
}
