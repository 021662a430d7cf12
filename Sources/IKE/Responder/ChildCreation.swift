import Cryptography
import IKEWire
import Session

/// What the peer asks for when it wants a CHILD SA, in IKE_AUTH or CREATE_CHILD_SA.
struct ChildRequest {
    var proposals: [Proposal]
    /// TSi: what lies behind the peer, for it is the initiator of the exchange.
    var peerSelectors: [WireTrafficSelector]
    /// TSr: what it wants to reach behind us.
    var ownSelectors: [WireTrafficSelector]
    var nonces: NoncePair
    var keyExchange: ChildKeyExchange
    /// The peer's public value, if there is one.
    var peerPublicValue: [UInt8]?
    /// USE_TRANSPORT_MODE (RFC 7296 §1.3.1).
    var wantsTransport: Bool

    /// `nil` without an SA or a TS payload.
    init?(_ payloads: PayloadSet, nonces: NoncePair, isAuth: Bool) {
        guard let proposals = payloads.proposals, let initiator = payloads.initiatorSelectors,
            let responder = payloads.responderSelectors
        else { return nil }
        self.proposals = proposals
        peerSelectors = initiator
        ownSelectors = responder
        self.nonces = nonces
        keyExchange = isAuth ? .ignored : .negotiated(offered: payloads.keyExchange?.group)
        peerPublicValue = isAuth ? nil : payloads.keyExchange?.data
        wantsTransport = payloads.has(.useTransportMode)
    }
}

/// What the CHILD SA belongs to.
struct ChildParent {
    var connection: ConnectionConfiguration
    var prf: PRF
    /// SK_d.
    var derivation: SecretBytes
    var local: IPAddress
    var remote: IPAddress
    var virtualAddresses: [IPAddress]
    /// The name of the CHILD SA that is rekeyed: its configuration is tried first.
    var preferredChild: String?
    /// The mode of the CHILD SA that is rekeyed.
    var keptMode: IPsecMode?
    /// Between NATs transport mode cannot work: checksums hold addresses that were changed on the way.
    var encapsulation: Bool
    /// The peer's SPIs of the session's CHILD SAs: a second SA with one of them would displace the first in a data plane.
    var outboundSPIs: Set<UInt32>

    /// Whom `dynamic` means on the peer's side: its virtual addresses, else the address that it comes from.
    var remoteDynamic: [IPAddress] { virtualAddresses.isEmpty ? [remote] : virtualAddresses }
}

struct CreatedChild {
    var child: ChildSA
    /// SA and TS payloads.
    var payloads: [Payload]
    /// Nr and KEr go between them in CREATE_CHILD_SA.
    var keyExchange: KeyExchangePayload?
}

extension IKEEngine {
    /// Narrows, negotiates and derives (RFC 7296 §1.3.1, §2.9, §2.17).
    mutating func createChild(
        _ request: ChildRequest, parent: ChildParent, table: SessionTable, context: IKEContext
    ) throws(ChildRefusal) -> CreatedChild {
        let match = try matchChild(request, parent: parent)
        guard !parent.outboundSPIs.contains(match.chosen.peerSPI) else { throw .noProposalChosen }
        let (shared, ownKeyExchange) = try exchangeKeys(request, group: match.chosen.algorithms.keyExchangeGroup, context: context)
        let keys = KeyDerivation.child(
            prf: parent.prf, derivation: parent.derivation, algorithms: match.chosen.algorithms, nonces: request.nonces,
            sharedSecret: shared)
        let spi = newESPSPI(table: table, context: context)
        let isTransport = request.wantsTransport && !parent.encapsulation && (parent.keptMode ?? match.child.mode) == .transport
        var child = ChildSA(
            inboundSPI: spi, outboundSPI: match.chosen.peerSPI, name: match.child.name,
            uniqueID: withUniqueIDs(table: table) { $0.nextChild() }, algorithms: match.chosen.algorithms,
            inboundKeys: keys.initiator, outboundKeys: keys.responder, mode: isTransport ? .transport : .tunnel,
            localSelectors: match.local,
            remoteSelectors: match.remote, lease: .initial,
            establishedWallMilliseconds: context.now.wallMilliseconds)
        child.setLimits(match.child, context: context)
        var payloads: [Payload] = [
            match.chosen.payload(spi: spi), .trafficSelectorsInitiator(match.remote.map(\.wire)),
            .trafficSelectorsResponder(match.local.map(\.wire)),
        ]
        if isTransport { payloads.append(.notify(.useTransportMode)) }
        if match.isMorePossible { payloads.append(.notify(.additionalTSPossible)) }
        return CreatedChild(child: child, payloads: payloads, keyExchange: ownKeyExchange)
    }

    private struct ChildMatch {
        var child: ChildConfiguration
        var local: [TrafficSelector]
        var remote: [TrafficSelector]
        var chosen: ChosenESP
        /// Another child takes what this one left out (RFC 7296 §2.9).
        var isMorePossible = false
    }

    /// The first configured child whose selectors meet the peer's and whose proposals do.
    private func matchChild(_ request: ChildRequest, parent: ChildParent) throws(ChildRefusal) -> ChildMatch {
        let remoteOffer = request.peerSelectors.compactMap { TrafficSelector($0) }
        let localOffer = request.ownSelectors.compactMap { TrafficSelector($0) }
        let children = parent.connection.children
        let candidates = children.filter { $0.name == parent.preferredChild } + children.filter { $0.name != parent.preferredChild }
        var refusal = ChildRefusal.trafficSelectorsUnacceptable
        func narrow(_ candidate: ChildConfiguration) -> (local: [TrafficSelector], remote: [TrafficSelector])? {
            var local = Narrowing.narrow(localOffer, to: candidate.localSelectors, dynamic: [parent.local])
            var remote = Narrowing.narrow(remoteOffer, to: candidate.remoteSelectors, dynamic: parent.remoteDynamic)
            // A selector without a counterpart of its family on the other side matches no packet.
            let families = Set(local.map(\.start.family)).intersection(remote.map(\.start.family))
            local.removeAll { !families.contains($0.start.family) }
            remote.removeAll { !families.contains($0.start.family) }
            return local.isEmpty || remote.isEmpty ? nil : (local, remote)
        }
        for (index, candidate) in candidates.enumerated() {
            guard let (local, remote) = narrow(candidate) else { continue }
            let chosen = Negotiation.choose(
                from: request.proposals, acceptable: candidate.proposals, keyExchange: request.keyExchange)
            if let chosen {
                var match = ChildMatch(child: candidate, local: local, remote: remote, chosen: chosen)
                match.isMorePossible = candidates[(index + 1)...].contains { other in
                    narrow(other).map { !$0.local.lies(in: local) || !$0.remote.lies(in: remote) } ?? false
                }
                return match
            }
            refusal = .noProposalChosen
        }
        throw refusal
    }

    /// The fresh Diffie-Hellman exchange of PFS, if one was negotiated.
    private func exchangeKeys(
        _ request: ChildRequest, group: KeyExchangeGroup?, context: IKEContext
    ) throws(ChildRefusal) -> (SecretBytes?, KeyExchangePayload?) {
        guard let group else { return (nil, nil) }
        guard case .negotiated(let offered) = request.keyExchange, offered == group.rawValue, let peerValue = request.peerPublicValue
        else { throw .invalidKeyExchange(group: group.rawValue) }
        guard let own = try? KeyExchange(group: group, random: context.random),
            let shared = try? own.sharedSecret(peerPublicValue: peerValue)
        else { throw .malformed }
        return (shared, KeyExchangePayload(group: group.rawValue, data: own.publicValue))
    }
}

extension [TrafficSelector] {
    fileprivate func lies(in others: [TrafficSelector]) -> Bool { allSatisfy { selector in others.contains { $0.contains(selector) } } }
}
