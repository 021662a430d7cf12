import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Two gateways in virtual time, of which one calls the other; the same run every time.
struct Sites {
    static let callerAddress = World.gatewayAddress
    static let siteAddress = World.clientAddress

    var caller: Gateway
    var site: Gateway
    var now = Instant(nanoseconds: 1_000_000_000)
    let random: RandomSource
    /// Takes a datagram off the wire, or changes it.
    var wire: (Datagram) -> Datagram? = { $0 }
    /// Everything that was put on the wire, with whether the caller sent it.
    var sent: [(fromCaller: Bool, datagram: Datagram)] = []
    private var inFlight: [(at: Instant, toSite: Bool, datagram: Datagram)] = []
    private var sealed: [[UInt8]: [UInt8]] = [:]

    init(caller: IKEConfiguration = .caller(), site: IKEConfiguration = .site(), node: NodeID = .zero, seed: UInt64 = 7) {
        random = .seeded(seed)
        self.caller = Gateway(caller, node: node)
        self.site = Gateway(site)
    }

    var callerSession: Session? { caller.table.sessions.values.first }
    var siteSession: Session? { site.table.sessions.values.first }
    var failures: [InitiationFailure] {
        caller.events.compactMap { if case .initiationFailed(_, _, _, let reason) = $0 { reason } else { nil } }
    }

    func context(_ gateway: Gateway) -> IKEContext {
        let wall = 1_700_000_000_000 + Int64(now.nanoseconds / 1_000_000)
        return IKEContext(now: Now(instant: now, wallMilliseconds: wall), epoch: gateway.epoch, random: random)
    }

    @discardableResult
    mutating func call() throws(InitiationRefusal) -> SessionID {
        let connection = caller.engine.configuration.connections[0]
        let begun = try caller.engine.initiate(
            connection: connection, child: connection.children[0], local: Endpoint(Self.callerAddress, 500),
            remote: Endpoint(Self.siteAddress, 500), table: caller.table, context: context(caller))
        send(caller.take(begun.outcome), fromCaller: true)
        return begun.session
    }

    mutating func atCaller(_ body: (inout IKEEngine, SessionTable, IKEContext) -> IKEOutcome) {
        send(caller.take(body(&caller.engine, caller.table, context(caller))), fromCaller: true)
    }

    mutating func atSite(_ body: (inout IKEEngine, SessionTable, IKEContext) -> IKEOutcome) {
        send(site.take(body(&site.engine, site.table, context(site))), fromCaller: false)
    }

    /// The caller's other node goes on with a copy of the table.
    mutating func takeOver() {
        var next = Gateway(caller.engine.configuration, node: caller.engine.node.peer, epoch: caller.epoch + 1)
        next.table = caller.table
        caller = next
        for outcome in caller.engine.becameOwner(table: caller.table, context: context(caller)) {
            send(caller.take(outcome), fromCaller: true)
        }
    }

    mutating func send(_ datagrams: [Datagram], fromCaller: Bool) {
        for datagram in datagrams {
            noteIV(datagram.bytes, fromCaller: fromCaller)
            sent.append((fromCaller, datagram))
            guard let carried = wire(datagram) else { continue }
            let arriving = Datagram(local: carried.remote, remote: carried.local, bytes: carried.bytes)
            inFlight.append((now + .milliseconds(5), fromCaller, arriving))
        }
    }

    /// Law 3: no IV twice under one key with another text.
    private mutating func noteIV(_ bytes: [UInt8], fromCaller: Bool) {
        guard bytes.count > 40, bytes[16] == 46 else { return }
        let key = [fromCaller ? 1 : 0] + Array(bytes[0..<16]) + Array(bytes[32..<40])
        #expect(sealed[key, default: bytes] == bytes, "an IV was used twice")
        sealed[key] = bytes
    }

    /// Lets time pass until nothing is in flight and nobody waits for an answer.
    mutating func settle(limit: Duration = .seconds(1000)) {
        let end = now + limit
        while let at = nextEvent(), at <= end { step(to: at) }
    }

    /// Lets so much time pass, whatever happens in it.
    mutating func pass(_ duration: Duration) {
        let end = now + duration
        while let at = [inFlight.map(\.at).min(), caller.engine.nextDeadline(), site.engine.nextDeadline()].compactMap({ $0 }).min(),
            at <= end
        {
            step(to: at)
        }
        now = end
    }

    /// Lets the next `count` datagrams arrive, and nothing else happen.
    mutating func deliverNext(_ count: Int) {
        for _ in 0..<count {
            guard let index = inFlight.indices.min(by: { inFlight[$0].at < inFlight[$1].at }) else { return }
            let item = inFlight.remove(at: index)
            now = max(now, item.at)
            deliver(item.datagram, toSite: item.toSite)
        }
    }

    private mutating func step(to at: Instant) {
        now = max(now, at)
        for outcome in caller.engine.advance(table: caller.table, context: context(caller)) {
            send(caller.take(outcome), fromCaller: true)
        }
        for outcome in site.engine.advance(table: site.table, context: context(site)) { send(site.take(outcome), fromCaller: false) }
        let due = inFlight.filter { $0.at <= now }
        inFlight.removeAll { $0.at <= now }
        for item in due { deliver(item.datagram, toSite: item.toSite) }
    }

    mutating func deliver(_ datagram: Datagram, toSite: Bool) {
        if toSite {
            atSite { $0.receive(datagram, table: $1, context: $2) }
        } else {
            atCaller { $0.receive(datagram, table: $1, context: $2) }
        }
    }

    private func nextEvent() -> Instant? {
        let asks = !caller.table.withPendingRequest.isEmpty || !site.table.withPendingRequest.isEmpty
        guard asks || caller.engine.initiations.count > 0 || !inFlight.isEmpty else { return nil }
        return [inFlight.map(\.at).min(), caller.engine.nextDeadline(), site.engine.nextDeadline()].compactMap { $0 }.min()
    }

    /// Both hold the same IKE SA and the same CHILD SAs, crossed over.
    func expectAgreement(children count: Int, sourceLocation: SourceLocation = #_sourceLocation) {
        guard let ours = callerSession, let theirs = siteSession else {
            Issue.record("no session", sourceLocation: sourceLocation)
            return
        }
        #expect(ours.ikeSA.keys == theirs.ikeSA.keys, sourceLocation: sourceLocation)
        #expect(ours.ikeSA.spis == theirs.ikeSA.spis && ours.ikeSA.role != theirs.ikeSA.role, sourceLocation: sourceLocation)
        #expect(ours.local == theirs.remote && ours.remote == theirs.local, sourceLocation: sourceLocation)
        #expect(ours.encapsulation == theirs.encapsulation, sourceLocation: sourceLocation)
        #expect(ours.children.count == count && theirs.children.count == count, sourceLocation: sourceLocation)
        for child in ours.children {
            let other = theirs.children.first { $0.inboundSPI == child.outboundSPI }
            #expect(other?.outboundSPI == child.inboundSPI, sourceLocation: sourceLocation)
            #expect(other?.outboundKeys == child.inboundKeys && other?.inboundKeys == child.outboundKeys, sourceLocation: sourceLocation)
            #expect(other?.localSelectors == child.remoteSelectors, sourceLocation: sourceLocation)
            #expect(other?.remoteSelectors == child.localSelectors, sourceLocation: sourceLocation)
        }
    }
}

extension IKEConfiguration {
    private static func one(
        _ name: String, local: (IPAddress, String, String), remote: (IPAddress, String?, String), proposals: [IKEProposal],
        secret: String, forceEncapsulation: Bool, limits: IKELimits
    ) -> IKEConfiguration {
        let net = ChildConfiguration(
            name: "net", localSelectors: [.selector(TrafficSelector(local.2))], remoteSelectors: [.selector(TrafficSelector(remote.2))],
            proposals: [.gcmPFS, .gcm])
        let connection = ConnectionConfiguration(
            name: name, localAddresses: [IPPrefix(host: local.0)], remoteAddresses: [IPPrefix(host: remote.0)], proposals: proposals,
            localIdentity: Identity(text: local.1), remoteIdentity: remote.1.map { Identity(text: $0) }, children: [net],
            forceEncapsulation: forceEncapsulation)
        let shared = SharedSecret(identities: [Identity(text: local.1), nil], secret: SecretBytes(Array(secret.utf8)))
        return IKEConfiguration(connections: [connection], secrets: [shared], pools: [], limits: limits)
    }

    static func caller(
        proposals: [IKEProposal] = [.gcmX25519], secret: String = "of the sites", remoteIdentity: String? = "site.example.net",
        remoteSelector: String = "10.30.0.0/16", forceEncapsulation: Bool = false
    ) -> IKEConfiguration {
        one(
            "site", local: (Sites.callerAddress, "gw.example.net", "10.10.0.0/16"),
            remote: (Sites.siteAddress, remoteIdentity, remoteSelector), proposals: proposals, secret: secret,
            forceEncapsulation: forceEncapsulation, limits: IKELimits())
    }

    static func site(
        proposals: [IKEProposal] = IKEProposal.all, identity: String = "site.example.net", limits: IKELimits = IKELimits()
    ) -> IKEConfiguration {
        one(
            "headquarters", local: (Sites.siteAddress, identity, "10.30.0.0/16"),
            remote: (Sites.callerAddress, "gw.example.net", "10.10.0.0/16"), proposals: proposals, secret: "of the sites",
            forceEncapsulation: false, limits: limits)
    }
}
