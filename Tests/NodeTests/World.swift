import Control
import Cryptography
import IKE
import Node
import Pair
import Session
import Testing

/// Two nodes, a link, heartbeat paths, addresses, data planes and one end-user, in virtual time. Everything is deterministic.
///
/// What the world checks by itself, at every step: no outbound sequence number is used twice under one key, no packet leaves
/// through a gate that is not open, none above its lease, and the end-user drops none as a replay.
final class World {
    static let vip = IPAddress("192.0.2.10")!
    static let client = Endpoint(IPAddress("192.0.2.100")!, 500)

    var now: UInt64 = 1_000_000_000
    var nodes: [Node?] = [nil, nil]
    var planes = [FakeDataPlane(), FakeDataPlane()]
    var holdsAddress = [false, false]
    var logs: [[LogLine]] = [[], []]
    var responses: [RequestToken: [ControlResponse]] = [:]
    var roleChanges: [[(role: NodeRole, paired: Bool)]] = [[], []]
    var toClient: [Datagram] = []
    var sentByNodes = 0
    let random = RandomSource.seeded(42)

    /// Where packets for the shared address go: to the node that announced it last.
    var addressee: Int?
    var linkIsCut = false
    var pathsAreCut = false
    /// One way, on every wire.
    var latency: UInt64 = 200_000
    private var linkIsUp = false
    private var linkGeneration = 0
    private var queue: [(at: UInt64, order: Int, action: (World) -> Void)] = []
    private var order = 0
    private var usedNumbers: [UInt32: Set<UInt64>] = [:]
    private var clientTop: [UInt32: UInt64] = [:]
    private var isDead = [true, true]

    var time: Now { Now(instant: Instant(nanoseconds: now), wallMilliseconds: 1_700_000_000_000 + Int64(now / 1_000_000)) }

    static func configuration(_ node: NodeID, alone: Bool = false) -> NodeConfiguration {
        let path = HeartbeatPath(
            local: Endpoint(IPAddress("10.1.0.\(node.rawValue + 1)")!, 4510), remote: Endpoint(IPAddress("10.1.0.\(2 - node.rawValue)")!, 4510))
        let pair = PairConfiguration(peerName: "sg\(2 - node.rawValue)", secret: SecretBytes(Array(repeating: 3, count: 32)), paths: [path])
        return NodeConfiguration(
            name: "sg\(node.rawValue + 1)", id: node, pair: alone ? nil : pair,
            addresses: [SharedAddress(prefix: IPPrefix("192.0.2.10/24")!, interface: "eth0")], ike: ikeConfiguration, version: "test")
    }

    static var ikeConfiguration: IKEConfiguration {
        let ike = IKEProposal(
            ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
        let withPFS = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [.curve25519])
        let withoutPFS = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        let child = ChildConfiguration(
            name: "net", localSelectors: [.selector(TrafficSelector(IPPrefix("10.10.0.0/16")!))], remoteSelectors: [.dynamic],
            proposals: [withPFS, withoutPFS])
        let connection = ConnectionConfiguration(
            name: "road", proposals: [ike], localIdentity: Identity(text: "gw.example.net"), remoteIdentity: nil, pools: ["road"],
            children: [child])
        let pool = PoolConfiguration(
            name: "road", first: IPAddress("10.20.0.1")!, last: IPAddress("10.20.255.254")!, network: IPPrefix("10.20.0.0/16")!)
        return IKEConfiguration(
            connections: [connection], secrets: [SharedSecret(identities: [], secret: SecretBytes(Array("secret".utf8)))], pools: [pool])
    }

    // MARK: - Nodes

    func start(_ index: Int, alone: Bool = false) {
        let node = NodeID(rawValue: UInt8(index))!
        isDead[index] = false
        planes[index] = FakeDataPlane()
        holdsAddress[index] = false
        nodes[index] = Node(
            configuration: World.configuration(node, alone: alone), boot: random.uint64() | 1, random: random, now: time)
        feed(index, .started(dataPlane: "fake", reason: "test"))
    }

    /// The process is gone: its connection closes, its guard lets go of the address.
    func kill(_ index: Int) {
        isDead[index] = true
        nodes[index] = nil
        planes[index] = FakeDataPlane()
        holdsAddress[index] = false
        closeLink(reason: "the connection was closed")
    }

    func startPair() {
        start(0)
        start(1)
        run(for: 1_500)
        #expect(role(0) == .active)
        #expect(role(1) == .standby)
        #expect(pairState(0) == "paired")
    }

    func feed(_ index: Int, _ input: Input) {
        guard !isDead[index] else { return }
        // In place: a copy would copy the table.
        var effects = nodes[index]!.handle(input, now: time)
        while !effects.isEmpty {
            var passed: [TakeoverStep] = []
            for effect in effects { carryOut(effect, of: index, passed: &passed) }
            effects = passed.flatMap { nodes[index]!.handle(.milestonePassed($0, at: time.instant), now: time) }
        }
    }

    private func carryOut(_ effect: Effect, of index: Int, passed: inout [TakeoverStep]) {
        switch effect {
        case .send(let datagram):
            sentByNodes += 1
            #expect(holdsAddress[index], "a datagram left without the address")
            after(latency) { $0.toClient.append(datagram) }
        case .heartbeat(let path, let bytes):
            guard !pathsAreCut else { return }
            after(latency) { $0.feed(1 - index, .heartbeat(path: path, bytes: bytes)) }
        case .frame(let frame):
            let generation = linkGeneration
            after(latency) { world in
                guard world.linkIsUp, !world.linkIsCut, world.linkGeneration == generation else { return }
                world.feed(1 - index, .frame(frame))
            }
        case .closeLink(let reason):
            after(0) { $0.closeLink(reason: reason) }
        case .dataPlane(let commands):
            for command in commands { planes[index].apply(command) }
        case .claimAddresses: holdsAddress[index] = true
        case .releaseAddresses: holdsAddress[index] = false
        case .announceAddresses: after(latency) { $0.addressee = index }
        case .respond(let token, let response): responses[token, default: []].append(response)
        case .control: break
        case .log(let line): logs[index].append(line)
        case .milestone(let step): passed.append(step)
        case .roleChanged(let role, _, let paired): roleChanges[index].append((role, paired))
        }
    }

    // MARK: - Time

    func after(_ nanoseconds: UInt64, _ action: @escaping (World) -> Void) {
        order += 1
        queue.append((now + nanoseconds, order, action))
    }

    /// Runs everything that is due within the next milliseconds of virtual time.
    func run(for milliseconds: UInt64) {
        let end = now + milliseconds * 1_000_000
        while true {
            openLinkIfPossible()
            let nextEvent = queue.indices.min { (queue[$0].at, queue[$0].order) < (queue[$1].at, queue[$1].order) }
            let deadlines = nodes.map { $0?.nextDeadline()?.nanoseconds ?? .max }
            let deadline = deadlines.min()!
            let event = nextEvent.map { queue[$0].at } ?? .max
            let next = max(min(deadline, event), now)
            guard next <= end else { break }
            now = next
            if event <= deadline, let nextEvent {
                queue.remove(at: nextEvent).action(self)
            } else {
                feed(deadlines[0] == deadline ? 0 : 1, .deadline)
            }
        }
        now = end
    }

    private func openLinkIfPossible() {
        guard !linkIsUp, !linkIsCut, !isDead[0], !isDead[1] else { return }
        linkIsUp = true
        linkGeneration += 1
        for index in 0...1 { after(1_000_000) { $0.feed(index, .linkOpened) } }
    }

    func closeLink(reason: String) {
        guard linkIsUp else { return }
        linkIsUp = false
        for index in 0...1 { after(latency) { $0.feed(index, .linkClosed(reason: reason)) } }
    }

    func cut() {
        // TCP does not notice at once; the nodes' own heartbeats do.
        linkIsCut = true
        pathsAreCut = true
    }

    func heal() {
        linkIsCut = false
        pathsAreCut = false
        closeLink(reason: "timed out")
    }

    // MARK: - Questions

    private var tokens: UInt64 = 0

    func request(_ index: Int, _ request: ControlRequest) -> RequestToken {
        tokens += 1
        let token = RequestToken(rawValue: tokens)
        feed(index, .request(token, request))
        return token
    }

    func status(_ index: Int) -> StatusSummary {
        let token = request(index, .status)
        guard case .status(let status)? = responses[token]?.last else { return StatusSummary() }
        return status
    }

    func role(_ index: Int) -> NodeRole { NodeRole.allCases.first { $0.name == status(index).role } ?? .starting }
    func pairState(_ index: Int) -> String { status(index).pairState }

    // MARK: - Traffic

    /// One ESP packet to the end-user through the node to which the address points.
    @discardableResult
    func sendESP(inboundSPI: UInt32, from index: Int) -> Bool {
        guard let number = planes[index].take(inboundSPI) else { return false }
        #expect(usedNumbers[inboundSPI, default: []].insert(number).inserted, "sequence number \(number) was used twice")
        #expect(number > clientTop[inboundSPI] ?? 0, "the end-user drops \(number) as a replay")
        clientTop[inboundSPI] = max(number, clientTop[inboundSPI] ?? 0)
        return true
    }
}

/// A data plane that only keeps the books.
struct FakeDataPlane {
    struct SA {
        var child: ChildSA
        var next: UInt64
        var limit: UInt64
        var top: UInt64
    }

    var gate = GateState.closed
    var sas: [UInt32: SA] = [:]

    mutating func apply(_ command: DataPlaneCommand) {
        switch command {
        case .install(let installation):
            let spi = installation.child.inboundSPI
            var sa = sas[spi] ?? SA(child: installation.child, next: 1, limit: 0, top: 0)
            sa.child = installation.child
            sa.next = max(sa.next, installation.numbers.next)
            sa.limit = installation.numbers.limit
            sas[spi] = sa
        case .remove(_, let child, _, _):
            sas[child.inboundSPI] = nil
        case .lease(let spi, let numbers):
            #expect(sas[spi] != nil, "a lease for an SA that is not installed")
            guard var sa = sas[spi] else { return }
            sa.next = max(sa.next, numbers.next)
            sa.limit = numbers.limit
            sas[spi] = sa
        case .advanceInbound(let spi, let top):
            #expect(sas[spi] != nil, "a counter for an SA that is not installed")
            guard let known = sas[spi]?.top else { return }
            sas[spi]?.top = max(known, top)
        case .gate(let state):
            gate = state
        }
    }

    /// The next outbound number, if one may be used.
    mutating func take(_ spi: UInt32) -> UInt64? {
        guard gate == .open, var sa = sas[spi], !sa.child.isRekeyed, sa.next <= sa.limit else { return nil }
        defer { sas[spi] = sa }
        sa.next += 1
        return sa.next - 1
    }
}
