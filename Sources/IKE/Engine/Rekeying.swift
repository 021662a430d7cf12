import Cryptography
import IKEWire
public import Session

/// CREATE_CHILD_SA requests of ours (RFC 7296 §1.3).
extension IKEEngine {
    func connection(of session: Session) -> ConnectionConfiguration? {
        configuration.connections.first { $0.name == session.authorization.connection }
    }

    // MARK: Asking for a CHILD SA

    /// `nil` when the configuration no longer has the child, or nothing of it can be said to the peer.
    func draftChild(_ wish: ChildWish, in session: Session, table: SessionTable, context: IKEContext) -> RequestDraft? {
        guard let connection = connection(of: session), let child = connection.children.first(where: { $0.name == wish.name }) else {
            return nil
        }
        let old = wish.replacing.flatMap { session.child(inboundSPI: $0) }
        var selectors = OfferedSelectors(child, session: session, replacing: old)
        if wish.isSinglePair { selectors.keepOnePair() }
        guard !selectors.isEmpty else { return nil }
        let proposals = child.proposals.offered(group: wish.group ?? old?.algorithms.keyExchangeGroup)
        guard let group = proposals.group else {
            return draft(child, selectors, proposals: proposals.list, exchange: nil, wish: wish, table: table, context: context)
        }
        guard let exchange = try? KeyExchange(group: group, random: context.random) else { return nil }
        return draft(child, selectors, proposals: proposals.list, exchange: exchange, wish: wish, table: table, context: context)
    }

    private func draft(
        _ child: ChildConfiguration, _ selectors: OfferedSelectors, proposals: [ESPProposal], exchange: KeyExchange?, wish: ChildWish,
        table: SessionTable, context: IKEContext
    ) -> RequestDraft {
        let spi = newESPSPI(table: table, context: context)
        let offer = ChildOffer(
            name: child.name, inboundSPI: spi, replacing: wish.replacing, nonce: context.random.bytes(ownNonceLength),
            keyExchange: exchange.map { KeyExchangeOffer(group: $0.group, privateValue: $0.privateValue) },
            localSelectors: selectors.local, remoteSelectors: selectors.remote, mode: selectors.mode)
        var payloads: [Payload] = []
        if let old = wish.replacing {
            payloads.append(.notify(NotifyPayload(protocolID: .esp, spi: old.networkBytes, type: .rekeySA)))
        }
        if offer.mode == .transport { payloads.append(.notify(.useTransportMode)) }
        let wire = proposals.prefix(IKEWireLimits.proposalsPerSAMax).enumerated()
            .map { $1.wire(number: UInt8($0 + 1), spi: spi, groups: $1.groups) }
        payloads += [.securityAssociation(wire), .nonce(offer.nonce)]
        if let exchange { payloads.append(.keyExchange(KeyExchangePayload(group: exchange.group.rawValue, data: exchange.publicValue))) }
        let trigger = wish.trigger.map { selectors.holds($0) ? $0 : nil } ?? nil
        payloads += [
            .trafficSelectorsInitiator(((trigger.map { [$0.local] } ?? []) + selectors.local).map(\.wire)),
            .trafficSelectorsResponder(((trigger.map { [$0.remote] } ?? []) + selectors.remote).map(\.wire)),
        ]
        return RequestDraft(purpose: .createChildSA(offer), exchange: .createChildSA, payloads: payloads)
    }

    // MARK: Asking for a successor of the IKE SA

    /// The same algorithms as before, if the configuration still has them; another group only when the peer asked for it.
    func draftRekey(group: KeyExchangeGroup?, in session: Session, table: SessionTable, context: IKEContext) -> RequestDraft? {
        guard let connection = connection(of: session) else { return nil }
        let known = connection.proposals.flatMap(\.groups)
        let asked = group.flatMap { known.contains($0) ? $0 : nil }
        guard let chosen = asked ?? firstRekeyGroup(in: session),
            let exchange = try? KeyExchange(group: chosen, random: context.random)
        else { return nil }
        let offer = IKEOffer(
            spi: newIKESPI(table: table, context: context), nonce: context.random.bytes(ownNonceLength),
            keyExchange: KeyExchangeOffer(group: chosen, privateValue: exchange.privateValue))
        let proposals = connection.proposals.prefix(IKEWireLimits.proposalsPerSAMax).enumerated()
            .map { $1.wire(number: UInt8($0 + 1), spi: offer.spi.networkBytes) }
        return RequestDraft(
            purpose: .rekeyIKESA(offer), exchange: .createChildSA,
            payloads: [
                .securityAssociation(proposals), .nonce(offer.nonce),
                .keyExchange(KeyExchangePayload(group: chosen.rawValue, data: exchange.publicValue)),
            ])
    }

    /// The group of the IKE SA as it is, if the configuration still has it.
    func firstRekeyGroup(in session: Session) -> KeyExchangeGroup? {
        let known = connection(of: session)?.proposals.flatMap(\.groups) ?? []
        let current = session.ikeSA.algorithms.keyExchangeGroup
        return known.contains(current) ? current : known.first
    }

    // MARK: The answers

    /// The CHILD SA that the peer agreed to, or `nil` when it went beyond what was offered.
    mutating func acceptChild(
        _ response: PayloadSet, offer: ChildOffer, sa: IKESA, session: Session, table: SessionTable, context: IKEContext
    ) -> ChildSA? {
        guard let connection = connection(of: session), let configured = connection.children.first(where: { $0.name == offer.name }),
            let offered = response.proposals, let nonce = response.nonce
        else { return nil }
        let proposals = configured.proposals.offered(group: offer.keyExchange?.group).list
        let group = response.keyExchange?.group
        guard group == nil || group == offer.keyExchange?.group.rawValue,
            let chosen = Negotiation.choose(from: offered, acceptable: proposals, keyExchange: .negotiated(offered: group)),
            chosen.algorithms.keyExchangeGroup?.rawValue == group, !table.isInUse(inboundSPI: offer.inboundSPI),
            !session.children.contains(where: { $0.outboundSPI == chosen.peerSPI })
        else { return nil }
        let local = (response.initiatorSelectors ?? []).compactMap { TrafficSelector($0) }
        let remote = (response.responderSelectors ?? []).compactMap { TrafficSelector($0) }
        guard local.isNarrowed(from: offer.localSelectors), remote.isNarrowed(from: offer.remoteSelectors) else { return nil }
        var shared: SecretBytes?
        if let exchange = offer.keyExchange, let answer = response.keyExchange {
            guard let secret = exchange.sharedSecret(peerPublicValue: answer.data) else { return nil }
            shared = secret
        }
        let keys = KeyDerivation.child(
            prf: sa.algorithms.prf, derivation: sa.keys.derivation, algorithms: chosen.algorithms,
            nonces: NoncePair(initiator: offer.nonce, responder: nonce), sharedSecret: shared)
        var child = ChildSA(
            inboundSPI: offer.inboundSPI, outboundSPI: chosen.peerSPI, name: offer.name,
            uniqueID: withUniqueIDs(table: table) { $0.nextChild() }, algorithms: chosen.algorithms, inboundKeys: keys.responder,
            outboundKeys: keys.initiator, mode: offer.mode == .transport && response.has(.useTransportMode) ? .transport : .tunnel,
            localSelectors: local, remoteSelectors: remote, lease: firstLease(begunBy: UInt64(offer.inboundSPI >> 31)),
            establishedWallMilliseconds: context.now.wallMilliseconds)
        child.setLimits(configured, context: context)
        return child
    }

    /// The IKE SA that the peer agreed to, or `nil` when it went beyond what was offered.
    func acceptSuccessor(
        _ response: PayloadSet, offer: IKEOffer, sa: IKESA, session: Session, context: IKEContext
    ) -> IKESA? {
        guard let connection = connection(of: session), let offered = response.proposals, let nonce = response.nonce,
            let answer = response.keyExchange, answer.group == offer.keyExchange.group.rawValue,
            let chosen = Negotiation.choose(
                from: offered, acceptable: connection.proposals, spiLength: 8, keyExchangeGroup: answer.group),
            chosen.algorithms.keyExchangeGroup == offer.keyExchange.group, let peerSPI = UInt64(networkBytes: chosen.peerSPI),
            peerSPI != 0, let shared = offer.keyExchange.sharedSecret(peerPublicValue: answer.data)
        else { return nil }
        let spis = IKESPIs(initiator: offer.spi, responder: peerSPI)
        let derived = KeyDerivation.rekeyed(
            from: sa, algorithms: chosen.algorithms, nonces: NoncePair(initiator: offer.nonce, responder: nonce), sharedSecret: shared,
            spis: spis)
        var successor = IKESA(
            spis: spis, role: .initiator, algorithms: chosen.algorithms, keys: derived.keys, nextSendID: 0, nextReceiveID: 0,
            receiveWindow: sa.receiveWindow,
            lifetime: connection.lifetime.chosen(context), establishedWallMilliseconds: context.now.wallMilliseconds)
        successor.counterSync.knownSince = context.epoch
        return successor
    }
}

extension KeyExchangeOffer {
    fileprivate func sharedSecret(peerPublicValue: [UInt8]) -> SecretBytes? {
        try? KeyExchange(group: group, privateValue: privateValue).sharedSecret(peerPublicValue: peerPublicValue)
    }
}

/// What is offered as traffic selectors.
private struct OfferedSelectors {
    var local: [TrafficSelector]
    var remote: [TrafficSelector]
    var mode: IPsecMode

    /// A rekey offers the whole configuration again: RFC 7296 §2.9.2 forbids only to ask for less than there is.
    init(_ child: ChildConfiguration, session: Session, replacing old: ChildSA?) {
        let peers = session.virtualAddresses.map(\.address)
        local = child.localSelectors.resolved(dynamic: [session.local.address])
        remote = child.remoteSelectors.resolved(dynamic: peers.isEmpty ? [session.remote.address] : peers)
        // A selector without a counterpart of its family matches no packet.
        let families = Set(local.map(\.start.family)).intersection(remote.map(\.start.family))
        local.removeAll { !families.contains($0.start.family) }
        remote.removeAll { !families.contains($0.start.family) }
        mode = old?.mode ?? (session.encapsulation ? .tunnel : child.mode)
    }

    var isEmpty: Bool { local.isEmpty || remote.isEmpty }

    mutating func keepOnePair() {
        remote = Array(remote.prefix(1))
        local = Array(local.filter { $0.start.family == remote.first?.start.family }.prefix(1))
    }

    func holds(_ packet: PacketSelector) -> Bool {
        local.contains { $0.contains(packet.local) } && remote.contains { $0.contains(packet.remote) }
    }
}

extension [ESPProposal] {
    /// Those that can be offered together with a key exchange in `group`, or else in the first group of the first proposal. A proposal
    /// without a group stands for "no PFS"; without a KE payload only such ones can be offered.
    func offered(group wanted: KeyExchangeGroup?) -> (list: [ESPProposal], group: KeyExchangeGroup?) {
        let known = flatMap(\.groups)
        let group = wanted.flatMap { known.contains($0) ? $0 : nil } ?? first?.groups.first
        if let group {
            // The group of the KE payload comes first in each list that has it.
            let list = map { proposal in
                var proposal = proposal
                if proposal.groups.contains(group) { proposal.groups = [group] + proposal.groups.filter { $0 != group } }
                return proposal
            }
            return (list, group)
        }
        return (filter(\.groups.isEmpty), nil)
    }
}

extension ChildConfiguration {
    /// What a packet has to match to call for this child; `nil` when there is no such packet.
    public func trap(of connection: String, local: IPAddress, remote: IPAddress) -> TrapPolicy? {
        let own = localSelectors.resolved(dynamic: [local])
        let peers = remoteSelectors.resolved(dynamic: [remote])
        let families = Set(own.map(\.start.family)).intersection(peers.map(\.start.family))
        guard !families.isEmpty else { return nil }
        return TrapPolicy(
            name: ChildName(connection: connection, child: name), mode: mode, local: local, remote: remote,
            localSelectors: own.filter { families.contains($0.start.family) },
            remoteSelectors: peers.filter { families.contains($0.start.family) })
    }
}

extension [SelectorConfiguration] {
    /// As many as a peer's answer is narrowed to.
    func resolved(dynamic: [IPAddress]) -> [TrafficSelector] {
        let all = flatMap { (configured: SelectorConfiguration) -> [TrafficSelector] in
            switch configured {
            case .dynamic: return dynamic.map { TrafficSelector(host: $0) }
            case .selector(let selector): return [selector]
            }
        }
        return [TrafficSelector](all.prefix(Narrowing.selectorsMax))
    }
}

extension [TrafficSelector] {
    /// Each lies within something that was offered (RFC 7296 §2.9).
    func isNarrowed(from offered: [TrafficSelector]) -> Bool {
        !isEmpty && count <= Narrowing.selectorsMax && allSatisfy { selector in offered.contains { $0.contains(selector) } }
    }
}
