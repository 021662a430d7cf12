import Cryptography
import IKE
import Session
import Testing

/// A gateway: an engine and its table, with what a node does with outcomes.
struct Gateway {
    var engine: IKEEngine
    var table = SessionTable()
    var epoch: Epoch
    /// Everything that deltas and events said.
    var deltas: [SessionDelta] = []
    var events: [IKEEvent] = []

    init(_ configuration: IKEConfiguration, node: NodeID = .zero, epoch: Epoch = 1) {
        engine = IKEEngine(configuration: configuration, node: node, cookieSecret: World.cookieSecret)
        self.epoch = epoch
    }

    /// Applies what came out; a delta that does not fit is a defect of the engine.
    mutating func take(_ outcome: IKEOutcome) -> [Datagram] {
        for delta in outcome.deltas {
            #expect(throws: Never.self) { try table.apply(delta) }
        }
        #expect(Set(outcome.deltas.map(\.session)).count == outcome.deltas.count, "one delta for each session")
        deltas += outcome.deltas
        events += outcome.events
        return outcome.datagrams
    }
}

/// What the network does to datagrams between client and gateway.
struct Link {
    var lossPercent: UInt64 = 0
    var duplicatePercent: UInt64 = 0
    var delayMilliseconds: ClosedRange<UInt64> = 5...5
    /// The client's datagrams come from here: a NAT.
    var translatesTo: Endpoint?
}

/// A client and a gateway in virtual time. The same seed gives the same run.
struct World {
    static let cookieSecret = SecretBytes(Array("cookies of the pair".utf8))
    static let gatewayAddress = IPAddress("192.0.2.10")!
    static let clientAddress = IPAddress("198.51.100.7")!

    var gateway: Gateway
    var client: IKEInitiator
    var link = Link()
    var now = Instant(nanoseconds: 1_000_000_000)
    let random: RandomSource
    private let faults: RandomSource
    private var inFlight: [(at: Instant, number: Int, toGateway: Bool, datagram: Datagram)] = []
    private var sent = 0
    /// Everything that gateways sent, in order.
    var fromGateway: [Datagram] = []
    var fromClient: [Datagram] = []
    /// What was sealed under an IV by a key; a second text under it would break law 3.
    private var sealed: [[UInt8]: [UInt8]] = [:]

    init(gateway configuration: IKEConfiguration = .standard(), client: InitiatorConfiguration = .standard(), seed: UInt64 = 1) {
        gateway = Gateway(configuration)
        self.client = IKEInitiator(configuration: client)
        random = .seeded(seed)
        faults = .seeded(seed &+ 1_000_000)
    }

    var context: IKEContext {
        IKEContext(
            now: Now(instant: now, wallMilliseconds: 1_700_000_000_000 + Int64(now.nanoseconds / 1_000_000)), epoch: gateway.epoch,
            random: random)
    }

    var session: Session? { gateway.table.sessions.values.max { $0.uniqueID < $1.uniqueID } }

    // MARK: Acting

    mutating func client(_ body: (inout IKEInitiator, IKEContext) -> [Datagram]) { sendFromClient(body(&client, context)) }

    mutating func gateway(_ body: (inout IKEEngine, SessionTable, IKEContext) -> IKEOutcome) {
        sendFromGateway(gateway.take(body(&gateway.engine, gateway.table, context)))
    }

    /// The other node takes over with a copy of the table; what was in flight goes on to it.
    mutating func takeOver(_ configuration: IKEConfiguration = .standard()) {
        let node: NodeID = gateway.epoch % 2 == 1 ? .one : .zero
        var next = Gateway(configuration, node: node, epoch: gateway.epoch + 1)
        next.table = gateway.table
        gateway = next
        for outcome in gateway.engine.becameOwner(table: gateway.table, context: context) { sendFromGateway(gateway.take(outcome)) }
    }

    mutating func sendFromClient(_ datagrams: [Datagram]) {
        fromClient += datagrams
        for datagram in datagrams {
            let source = link.translatesTo ?? datagram.local
            enqueue(Datagram(local: datagram.remote, remote: source, bytes: datagram.bytes), toGateway: true)
        }
    }

    private mutating func sendFromGateway(_ datagrams: [Datagram]) {
        fromGateway += datagrams
        for datagram in datagrams {
            noteIV(datagram.bytes)
            enqueue(Datagram(local: client.local, remote: datagram.local, bytes: datagram.bytes), toGateway: false)
        }
    }

    private mutating func noteIV(_ bytes: [UInt8]) {
        guard bytes.count > 40, bytes[16] == 46 else { return }
        let key = Array(bytes[0..<16]) + Array(bytes[32..<40])
        #expect(sealed[key, default: bytes] == bytes, "an IV was used twice")
        sealed[key] = bytes
    }

    private mutating func enqueue(_ datagram: Datagram, toGateway: Bool) {
        func chance(_ percent: UInt64) -> Bool { percent > 0 && faults.uint64() % 100 < percent }
        for _ in 0..<(chance(link.duplicatePercent) ? 2 : 1) {
            guard !chance(link.lossPercent) else { continue }
            let span = link.delayMilliseconds.upperBound - link.delayMilliseconds.lowerBound + 1
            let delay = link.delayMilliseconds.lowerBound + (span > 1 ? faults.uint64() % span : 0)
            sent += 1
            inFlight.append((now + .milliseconds(Int64(delay)), sent, toGateway, datagram))
        }
    }

    // MARK: Time

    /// Lets time pass until nothing is in flight and the client waits for nothing, or `limit` has passed.
    mutating func settle(limit: Duration = .seconds(600)) {
        let end = now + limit
        while let at = nextEvent(), at <= end, !(inFlight.isEmpty && client.isQuiet && !gatewayWaits) { step(at) }
    }

    /// Lets exactly `duration` pass.
    mutating func pass(_ duration: Duration) {
        let end = now + duration
        while let at = nextEvent(), at <= end { step(at) }
        now = end
    }

    private var gatewayWaits: Bool { !gateway.table.withPendingRequest.isEmpty }

    private func nextEvent() -> Instant? {
        [inFlight.map(\.at).min(), client.nextDeadline(), gateway.engine.nextDeadline()].compactMap { $0 }.min()
    }

    private mutating func step(_ at: Instant) {
        now = max(now, at)
        sendFromClient(client.advance(context: context))
        for outcome in gateway.engine.advance(table: gateway.table, context: context) { sendFromGateway(gateway.take(outcome)) }
        let due = inFlight.filter { $0.at <= now }.sorted { ($0.at, $0.number) < ($1.at, $1.number) }
        inFlight.removeAll { $0.at <= now }
        for item in due {
            if item.toGateway {
                deliver(item.datagram)
            } else {
                sendFromClient(client.receive(item.datagram, context: context))
            }
        }
    }

    /// Hands the gateway a datagram at once.
    @discardableResult
    mutating func deliver(_ datagram: Datagram) -> [Datagram] {
        let datagrams = gateway.take(gateway.engine.receive(datagram, table: gateway.table, context: context))
        sendFromGateway(datagrams)
        return datagrams
    }

    // MARK: Steps of most tests

    mutating func establish() {
        client { client, context in client.start(context: context) }
        settle()
    }

    /// Both sides hold the same CHILD SAs with the same keys, crossed over, and the same IKE SA.
    func expectAgreement(children count: Int, sourceLocation: SourceLocation = #_sourceLocation) {
        guard let session, let ikeSA = client.ikeSA else {
            Issue.record("no session", sourceLocation: sourceLocation)
            return
        }
        #expect(session.ikeSA.keys == ikeSA.keys, sourceLocation: sourceLocation)
        #expect(session.ikeSA.spis == ikeSA.spis, sourceLocation: sourceLocation)
        #expect(session.children.count == count, sourceLocation: sourceLocation)
        #expect(client.children.count == count, sourceLocation: sourceLocation)
        for child in session.children {
            let other = client.children.first { $0.inboundSPI == child.outboundSPI }
            #expect(other?.outboundSPI == child.inboundSPI, sourceLocation: sourceLocation)
            #expect(other?.outboundKeys == child.inboundKeys, sourceLocation: sourceLocation)
            #expect(other?.inboundKeys == child.outboundKeys, sourceLocation: sourceLocation)
            #expect(other?.algorithms == child.algorithms, sourceLocation: sourceLocation)
            #expect(other?.localSelectors == child.remoteSelectors, sourceLocation: sourceLocation)
            #expect(other?.remoteSelectors == child.localSelectors, sourceLocation: sourceLocation)
        }
    }
}
