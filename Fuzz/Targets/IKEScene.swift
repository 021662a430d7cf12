import Cryptography
import Pair
import Session

@testable import IKE

/// A gateway, its standby's table, and a peer, brought to some state of the protocol; a copy of it for every input.
struct Scene {
    static let gatewayAddress = IPAddress("192.0.2.10")!
    static let peerAddress = IPAddress("198.51.100.7")!
    static let siteAddress = IPAddress("203.0.113.66")!

    var engine: IKEEngine
    var table = SessionTable()
    /// What the standby holds: the deltas as they come out of the pair's frames.
    var standby = SessionTable()
    var deltas: [SessionDelta] = []
    var handshakes: [HandshakeChange] = []
    var peer: IKEInitiator
    var now = Instant(nanoseconds: 1_000_000_000)
    let random = RandomSource.seeded(7)

    init() {
        engine = IKEEngine(
            configuration: .fuzzed, node: .zero, cookieSecret: SecretBytes(Array("cookies of the pair".utf8)))
        var configuration = InitiatorConfiguration(
            local: Endpoint(Self.peerAddress, 500), remote: Endpoint(Self.gatewayAddress, 500),
            localIdentity: Identity(text: "alice@example.net"), remoteIdentity: nil, secret: .fuzzed, proposals: [.fuzzed],
            childProposals: [.fuzzed], localSelectors: [TrafficSelector(IPPrefix("0.0.0.0/0")!)],
            remoteSelectors: [TrafficSelector(IPPrefix("0.0.0.0/0")!)])
        configuration.requestsAddresses = [.ipv4]
        configuration.ikeSPI = 0xA11C_E000_0000_0001
        peer = IKEInitiator(configuration: configuration)
    }

    var context: IKEContext {
        IKEContext(
            now: Now(instant: now, wallMilliseconds: 1_700_000_000_000 + Int64(now.nanoseconds / 1_000_000)), epoch: 1, random: random,
            hasStandby: true)
    }

    // MARK: States

    /// Between IKE_SA_INIT and IKE_AUTH; the peer's IKE_AUTH request is given beside it.
    static func halfOpen() throws -> (scene: Scene, request: Datagram) {
        var scene = Scene()
        let answers = try scene.deliver(crossed(scene.peer.start(context: scene.context)[0]))
        let requests = scene.peer.receive(crossed(answers[0]), context: scene.context)
        return (scene, crossed(requests[0]))
    }

    /// With a session, in which we have just asked for a sign of life.
    static func established() throws -> Scene {
        var (scene, request) = try halfOpen()
        for answer in try scene.deliver(request) { _ = scene.peer.receive(crossed(answer), context: scene.context) }
        let session = scene.table.sessions.keys.first!
        _ = try scene.take(scene.engine.checkLiveness(session: session, table: scene.table, context: scene.context))
        return scene
    }

    /// Calling a site, which has answered IKE_SA_INIT; with what it would seal its answer to IKE_AUTH.
    static func calling() throws -> (scene: Scene, site: HalfOpenSA) {
        var scene = Scene()
        let connection = IKEConfiguration.fuzzed.connections[1]
        let begun = try scene.engine.initiate(
            connection: connection, child: connection.children[0], local: Endpoint(gatewayAddress, 500),
            remote: Endpoint(siteAddress, 500), table: scene.table, context: scene.context)
        var site = IKEEngine(configuration: .fuzzed, node: .one, cookieSecret: .fuzzed)
        let answer = site.receive(crossed(begun.outcome.datagrams[0]), table: SessionTable(), context: scene.context).datagrams[0]
        _ = try scene.deliver(crossed(answer))
        let spi = answer.bytes[8..<16].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return (scene, site.halfOpen[spi]!)
    }

    static func crossed(_ datagram: Datagram) -> Datagram {
        Datagram(local: datagram.remote, remote: datagram.local, bytes: datagram.bytes)
    }

    // MARK: What comes out

    /// Hands in a datagram; gives what is sent.
    mutating func deliver(_ datagram: Datagram) throws -> [Datagram] {
        try take(engine.receive(datagram, table: table, context: context))
    }

    mutating func deliver(_ bytes: [UInt8], from remote: IPAddress) throws -> [Datagram] {
        try deliver(Datagram(local: Endpoint(Self.gatewayAddress, 500), remote: Endpoint(remote, 500), bytes: bytes))
    }

    /// Lets an hour pass, with everything that is due.
    mutating func passAnHour() throws {
        let end = now + .seconds(3600)
        for _ in 0..<64 {
            guard let next = engine.nextDeadline(), next <= end else { break }
            now = max(now, next)
            for outcome in engine.advance(table: table, context: context) { _ = try take(outcome) }
        }
    }

    /// The deltas fit, here and, through the pair's frames, on the standby, which then holds the same.
    mutating func take(_ outcome: IKEOutcome) throws -> [Datagram] {
        try require(Set(outcome.deltas.map(\.session)).count == outcome.deltas.count, "two deltas for one session")
        for change in outcome.handshakes {
            handshakes.append(change)
            let copy = try PairFrameCodec.decode(PairFrameCodec.encode(.entry(index: 1, .handshake(change))))
            try require(copy == .entry(index: 1, .handshake(change)), "a step of a handshake became something else")
        }
        for delta in outcome.deltas {
            deltas.append(delta)
            try table.apply(delta)
            guard case .entry(_, .delta(let copy)) = try PairFrameCodec.decode(PairFrameCodec.encode(.entry(index: 1, .delta(delta))))
            else {
                throw FuzzFailure(description: "a delta became something else")
            }
            try standby.apply(copy)
            try require(table[delta.session] == standby[delta.session], "the standby holds another session")
        }
        for event in outcome.events { _ = event.summary.text }
        try require(outcome.datagrams.allSatisfy { $0.bytes.count <= 65_507 }, "a datagram that UDP does not take")
        return outcome.datagrams
    }
}

extension SecretBytes {
    fileprivate static let fuzzed = SecretBytes(Array("a shared secret".utf8))
}

extension IKEProposal {
    /// The groups are those that cost little.
    fileprivate static let fuzzed = IKEProposal(
        ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519, .ecp256])
}

extension ESPProposal {
    fileprivate static let fuzzed = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
    fileprivate static let fuzzedPFS = ESPProposal(
        ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [.curve25519, .ecp256], extendedSequenceNumbers: [true, false])
}

extension IKEConfiguration {
    fileprivate static let fuzzed = IKEConfiguration(
        connections: [
            connection(
                "road", remote: nil, pools: ["road"],
                ChildConfiguration(
                    name: "net", localSelectors: [.selector(TrafficSelector(IPPrefix("10.10.0.0/16")!))], remoteSelectors: [.dynamic],
                    proposals: [.fuzzed, .fuzzedPFS])),
            connection(
                "site", remote: Scene.siteAddress, pools: [],
                ChildConfiguration(
                    name: "branch",
                    localSelectors: [.selector(TrafficSelector(IPPrefix("10.10.0.0/16")!)), .selector(TrafficSelector(IPPrefix("::/0")!))],
                    remoteSelectors: [.selector(TrafficSelector(IPPrefix("0.0.0.0/0")!)), .selector(TrafficSelector(IPPrefix("::/0")!))],
                    proposals: [.fuzzed, .fuzzedPFS])),
        ],
        secrets: [SharedSecret(identities: [], secret: .fuzzed)],
        pools: [
            PoolConfiguration(
                name: "road", first: IPAddress("10.20.0.1")!, last: IPAddress("10.20.0.9")!, network: IPPrefix("10.20.0.0/16")!,
                dns: [IPAddress("10.10.0.53")!])
        ])

    private static func connection(
        _ name: String, remote: IPAddress?, pools: [String], _ child: ChildConfiguration
    ) -> ConnectionConfiguration {
        ConnectionConfiguration(
            name: name, localAddresses: [], remoteAddresses: remote.map { [IPPrefix(host: $0)] } ?? [], proposals: [.fuzzed],
            localIdentity: Identity(text: "gw.example.net"), remoteIdentity: nil, pools: pools, children: [child],
            livenessDelay: .seconds(30))
    }
}
