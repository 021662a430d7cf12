import Cryptography
import IKEWire
import Session

/// The exchanges of an established IKE SA, asked and answered (RFC 7296 §1.3, §1.4).
extension IKEInitiator {
    // MARK: Asking

    /// `nil` when there is nothing to ask any more.
    mutating func send(_ task: InitiatorTask, context: IKEContext) -> [Datagram]? {
        guard let current = ikeSA else { return nil }
        switch task {
        case .liveness:
            return request([], purpose: .liveness, exchange: .informational, sa: current, context: context)
        case .deleteIKESA:
            let payload = Payload.delete(DeletePayload(protocolID: .ike))
            return request([payload], purpose: .deleteIKESA, exchange: .informational, sa: current, context: context)
        case .deleteRekeyedIKESA:
            guard let old = rekeyedIKESA else { return nil }
            let payload = Payload.delete(DeletePayload(protocolID: .ike))
            return request([payload], purpose: .deleteRekeyedIKESA, exchange: .informational, sa: old, context: context)
        case .deleteChild(let spi):
            guard children.contains(where: { $0.inboundSPI == spi }) else { return nil }
            let payload = Payload.delete(DeletePayload(protocolID: .esp, spis: [spi.networkBytes]))
            return request([payload], purpose: .deleteChild(spi), exchange: .informational, sa: current, context: context)
        case .createChild(let old, let group):
            return sendCreateChild(replacing: old, group: group, sa: current, context: context)
        case .rekeyIKESA(let group):
            return sendRekey(group: group, sa: current, context: context)
        }
    }

    private mutating func sendCreateChild(
        replacing old: UInt32?, group: KeyExchangeGroup?, sa: IKESA, context: IKEContext
    ) -> [Datagram]? {
        let keyExchange = group.flatMap { try? KeyExchange(group: $0, random: context.random) }
        let pending = PendingChild(
            replacing: old, inboundSPI: newChildSPI(context: context), nonce: context.random.bytes(ownNonceLength),
            keyExchange: keyExchange)
        var payloads: [Payload] = []
        if let old { payloads.append(.notify(NotifyPayload(protocolID: .esp, spi: old.networkBytes, type: .rekeySA))) }
        var child = childPayloads(spi: pending.inboundSPI, groups: group.map { [$0] })
        payloads += [child.removeFirst(), .nonce(pending.nonce)]
        if let keyExchange {
            payloads.append(.keyExchange(KeyExchangePayload(group: keyExchange.group.rawValue, data: keyExchange.publicValue)))
        }
        return request(payloads + child, purpose: .createChild(pending), exchange: .createChildSA, sa: sa, context: context)
    }

    private mutating func sendRekey(group: KeyExchangeGroup, sa: IKESA, context: IKEContext) -> [Datagram]? {
        guard let keyExchange = try? KeyExchange(group: group, random: context.random) else { return nil }
        let pending = PendingRekey(
            spi: context.random.uint64() | 1, nonce: context.random.bytes(ownNonceLength), keyExchange: keyExchange)
        let proposals = configuration.proposals.enumerated().map { $1.wire(number: UInt8($0 + 1), spi: pending.spi.networkBytes) }
        let payloads: [Payload] = [
            .securityAssociation(proposals), .nonce(pending.nonce),
            .keyExchange(KeyExchangePayload(group: group.rawValue, data: keyExchange.publicValue)),
        ]
        return request(payloads, purpose: .rekeyIKESA(pending), exchange: .createChildSA, sa: sa, context: context)
    }

    /// SA, TSi and TSr of a CHILD SA.
    func childPayloads(spi: UInt32, groups: [KeyExchangeGroup]?) -> [Payload] {
        let proposals = configuration.childProposals.enumerated().map { $1.wire(number: UInt8($0 + 1), spi: spi, groups: groups ?? []) }
        return [
            .securityAssociation(proposals), .trafficSelectorsInitiator(configuration.localSelectors.map(\.wire)),
            .trafficSelectorsResponder(configuration.remoteSelectors.map(\.wire)),
        ]
    }

    private mutating func request(
        _ payloads: [Payload], purpose: OutstandingRequest.Purpose, exchange: ExchangeType, sa: IKESA, context: IKEContext
    ) -> [Datagram]? {
        let id = sa.nextSendID
        guard let bytes = seal(payloads, sa: sa, exchange: exchange, messageID: id, isResponse: false, context: context) else {
            return nil
        }
        withSA(sa.localSPI) { $0.nextSendID = id &+ 1 }
        return track(OutstandingRequest(localSPI: sa.localSPI, messageID: id, purpose: purpose, datagrams: bytes), context: context)
    }

    func seal(
        _ payloads: [Payload], sa: IKESA, exchange: ExchangeType, messageID: UInt32, isResponse: Bool, context: IKEContext
    ) -> [[UInt8]]? {
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: exchange,
            isInitiator: sa.role == .initiator, isResponse: isResponse, messageID: messageID)
        let length = usesFragments ? configuration.limits.fragmentLength(local: local, remote: remote) : nil
        return try? MessageProtection(sa.algorithms, keys: sa.sendingKeys)
            .seal(payloads, header: header, fragmentLength: length, context: context)
    }

    func newChildSPI(context: IKEContext) -> UInt32 {
        var spi = context.random.uint32()
        while spi <= 255 || children.contains(where: { $0.inboundSPI == spi }) { spi &+= 1 }
        return spi
    }

    // MARK: Answers to what we asked

    mutating func receiveResponse(_ datagram: Datagram, header: IKEHeader, sa: IKESA, context: IKEContext) -> [Datagram] {
        guard let request = outstanding, request.localSPI == sa.localSPI, request.messageID == header.messageID else { return drop() }
        let key = FragmentTable.Key(localSPI: sa.localSPI, isResponse: true, messageID: header.messageID)
        let protection = MessageProtection(sa.algorithms, keys: sa.receivingKeys)
        let opened: OpenedMessage?
        do { opened = try fragments.open(datagram.bytes, key: key, with: protection, at: context.now.instant) } catch { return drop() }
        guard let opened else { return [] }
        outstanding = nil
        counters.responsesTaken += 1
        let payloads = PayloadSet(opened.payloads)
        switch request.purpose {
        case .initialize: return drop()
        case .authenticate: return takeAuthResponse(payloads, sa: sa, context: context)
        case .liveness: lastResult = .succeeded
        case .deleteChild(let spi):
            children.removeAll { $0.inboundSPI == spi }
            lastResult = .succeeded
        case .deleteIKESA: close()
        case .deleteRekeyedIKESA: rekeyedIKESA = nil
        case .createChild(let pending): takeCreateChild(payloads, pending: pending, sa: sa, context: context)
        case .rekeyIKESA(let pending): takeRekey(payloads, pending: pending, sa: sa, context: context)
        }
        return sendNext(context: context)
    }

    private mutating func close() {
        phase = .closed
        children = []
        queue = []
        rekeyedIKESA = nil
        lastResult = .succeeded
    }

    private mutating func takeCreateChild(_ payloads: PayloadSet, pending: PendingChild, sa: IKESA, context: IKEContext) {
        guard payloads.error == nil, let nonce = payloads.nonce else {
            lastResult = payloads.error.map { .refused(notify: $0.type.rawValue) } ?? .badResponse
            return
        }
        lastResult = takeChild(
            payloads, pending: pending, nonces: NoncePair(initiator: pending.nonce, responder: nonce), sa: sa,
            keyExchange: .negotiated(offered: pending.keyExchange?.group.rawValue), context: context)
        guard lastResult == .succeeded, let old = pending.replacing else { return }
        for index in children.indices where children[index].inboundSPI == old { children[index].isRekeyed = true }
        queue.insert(.deleteChild(old), at: 0)
    }

    mutating func takeChild(
        _ payloads: PayloadSet, pending: PendingChild, nonces: NoncePair, sa: IKESA, keyExchange: ChildKeyExchange, context: IKEContext
    ) -> InitiatorResult {
        if let error = payloads.error { return .refused(notify: error.type.rawValue) }
        let acceptable = configuration.childProposals.map { proposal in
            var proposal = proposal
            proposal.groups = pending.keyExchange.map { [$0.group] } ?? []
            return proposal
        }
        guard let offered = payloads.proposals, let initiator = payloads.initiatorSelectors, let responder = payloads.responderSelectors,
            let chosen = Negotiation.choose(from: offered, acceptable: acceptable, keyExchange: keyExchange)
        else { return .badResponse }
        var shared: SecretBytes?
        if let own = pending.keyExchange {
            guard let answer = payloads.keyExchange, answer.group == own.group.rawValue,
                let secret = try? own.sharedSecret(peerPublicValue: answer.data)
            else { return .badResponse }
            shared = secret
        }
        let keys = KeyDerivation.child(
            prf: sa.algorithms.prf, derivation: sa.keys.derivation, algorithms: chosen.algorithms, nonces: nonces, sharedSecret: shared)
        children.append(
            ChildSA(
                inboundSPI: pending.inboundSPI, outboundSPI: chosen.peerSPI, name: configuration.childName,
                uniqueID: UInt32(children.count + 1), algorithms: chosen.algorithms, inboundKeys: keys.responder,
                outboundKeys: keys.initiator, mode: .tunnel, localSelectors: initiator.compactMap { TrafficSelector($0) },
                remoteSelectors: responder.compactMap { TrafficSelector($0) }, lease: .initial,
                establishedWallMilliseconds: context.now.wallMilliseconds))
        return .succeeded
    }

    private mutating func takeRekey(_ payloads: PayloadSet, pending: PendingRekey, sa: IKESA, context: IKEContext) {
        if let error = payloads.error {
            lastResult = .refused(notify: error.type.rawValue)
            return
        }
        lastResult = .badResponse
        guard let offered = payloads.proposals, let nonce = payloads.nonce, let answer = payloads.keyExchange,
            answer.group == pending.keyExchange.group.rawValue,
            let chosen = Negotiation.choose(
                from: offered, acceptable: configuration.proposals, spiLength: 8, keyExchangeGroup: answer.group),
            chosen.algorithms.keyExchangeGroup == pending.keyExchange.group, let peerSPI = UInt64(networkBytes: chosen.peerSPI),
            let shared = try? pending.keyExchange.sharedSecret(peerPublicValue: answer.data)
        else { return }
        let spis = IKESPIs(initiator: pending.spi, responder: peerSPI)
        let derived = KeyDerivation.rekeyed(
            from: sa, algorithms: chosen.algorithms, nonces: NoncePair(initiator: pending.nonce, responder: nonce),
            sharedSecret: shared, spis: spis)
        rekeyedIKESA = ikeSA
        ikeSA = IKESA(
            spis: spis, role: .initiator, algorithms: chosen.algorithms, keys: derived.keys, nextSendID: 0, nextReceiveID: 0,
            establishedWallMilliseconds: context.now.wallMilliseconds)
        lastResult = .succeeded
        queue.insert(.deleteRekeyedIKESA, at: 0)
    }

    // MARK: What the gateway asks

    mutating func receiveRequest(_ datagram: Datagram, header: IKEHeader, sa: IKESA, context: IKEContext) -> [Datagram] {
        if let last = sa.response(messageID: header.messageID), last.requestDigest == sha256(datagram.bytes) {
            return last.datagrams.map { self.datagram($0) }
        }
        guard phase == .established, header.messageID == sa.nextReceiveID, header.exchangeType == .informational,
            let inner = try? MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(datagram.bytes)
        else { return drop() }
        let request = PayloadSet(inner)
        let deletesIKESA = request.deletes.contains { $0.protocolID == .ike }
        let spis = Set(request.deletes.filter { $0.protocolID == .esp }.flatMap(\.spis).compactMap { UInt32(networkBytes: $0) })
        let deleted = children.filter { spis.contains($0.outboundSPI) }
        let answer: [Payload] =
            deleted.isEmpty || deletesIKESA
            ? [] : [.delete(DeletePayload(protocolID: .esp, spis: deleted.map(\.inboundSPI.networkBytes)))]
        guard
            let bytes = seal(
                answer, sa: sa, exchange: .informational, messageID: header.messageID, isResponse: true, context: context)
        else { return drop() }
        counters.requestsAnswered += 1
        children.removeAll { child in deleted.contains { $0.inboundSPI == child.inboundSPI } }
        withSA(sa.localSPI) { sa in
            sa.nextReceiveID = header.messageID &+ 1
            sa.responses = [CachedResponse(messageID: header.messageID, requestDigest: sha256(datagram.bytes), datagrams: bytes)]
        }
        if deletesIKESA {
            if sa.localSPI == ikeSA?.localSPI { close() } else { rekeyedIKESA = nil }
        }
        return bytes.map { self.datagram($0) }
    }
}
