import Cryptography
import IKEWire
import Session

/// IKE_SA_INIT (RFC 7296 §1.2): nothing of it is authenticated, so that it must cost little until the peer has shown that it can
/// receive what we send.
extension IKEEngine {
    mutating func receiveInit(_ datagram: Datagram, header: IKEHeader, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard header.isInitiator, !header.isResponse, header.responderSPI == 0, header.messageID == 0 else {
            return drop(.badInitRequest, datagram)
        }
        guard datagram.bytes.count <= configuration.limits.initRequestLengthMax else { return drop(.oversizedInitRequest, datagram) }
        let digest = sha256(datagram.bytes)
        if let half = halfOpen.repeated(digest: digest, remote: datagram.remote) {
            counters.responsesRepeated += 1
            return IKEOutcome(datagrams: [reply(half.response, to: datagram)], session: revealing(half.spis.responder))
        }
        guard let message = try? IKEMessage(parsing: datagram.bytes) else { return drop(.malformed, datagram) }
        if let type = message.payloads.firstUnknownCritical {
            guard refusals.take(configuration.limits, at: context.now.instant) else { return drop(.tooManyClearErrors, datagram) }
            return refuseInit(header, datagram, .notify(.unsupportedCriticalPayload, [type]), events: [])
        }
        let payloads = PayloadSet(message.payloads)
        guard let request = InitRequest(payloads, header: header, datagram: datagram, digest: digest) else {
            return drop(.badInitRequest, datagram)
        }
        // Before any cookie: it costs less than one, and nothing is kept.
        if let target = redirection(ofInit: payloads, datagram: datagram, context: context) {
            return refuseInit(
                header, datagram, .notify(.redirect, target.notifyData(nonce: request.nonce)),
                events: [.peerRedirected(remote: datagram.remote, identity: nil, to: target)])
        }
        halfOpen.forgetFailures(at: context.now.instant)
        if asksForCookies, !hasValidCookie(payloads, request, context: context) {
            let cookie = cookies.cookie(
                nonce: request.nonce, remote: datagram.remote, initiatorSPI: header.initiatorSPI, now: context.now)
            return refuseInit(header, datagram, .notify(.cookie, cookie), events: [.cookieRequired(remote: datagram.remote)])
        }
        guard halfOpen.count < configuration.limits.halfOpenMax else { return drop(.tooManyHalfOpen, datagram) }
        guard halfOpen.count(from: datagram.remote.address) < configuration.limits.halfOpenPerAddressMax else {
            return drop(.tooManyHalfOpenFromAddress, datagram)
        }
        guard table.count < SessionTable.sessionCountMax else { return drop(.tooManySessions, datagram) }
        return negotiate(request, payloads: payloads, table: table, context: context)
    }

    private func hasValidCookie(_ payloads: PayloadSet, _ request: InitRequest, context: IKEContext) -> Bool {
        guard let cookie = payloads.notify(.cookie) else { return false }
        return cookies.accepts(
            cookie.data, nonce: request.nonce, remote: request.datagram.remote, initiatorSPI: request.header.initiatorSPI,
            now: context.now)
    }

    private mutating func negotiate(
        _ request: InitRequest, payloads: PayloadSet, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        let datagram = request.datagram
        guard let (chosen, connection) = choose(request) else {
            guard refusals.take(configuration.limits, at: context.now.instant) else { return drop(.tooManyClearErrors, datagram) }
            return refuseInit(
                request.header, datagram, .notify(.noProposalChosen), events: [.noProposalChosen(remote: datagram.remote)])
        }
        let group = chosen.algorithms.keyExchangeGroup
        guard request.keyExchange.group == group.rawValue else {
            return refuseInit(
                request.header, datagram, .notify(.invalidKEPayload, group.rawValue.networkBytes),
                events: [.invalidKeyExchange(remote: datagram.remote, wantedGroup: group.rawValue)])
        }
        guard request.keyExchange.data.count == group.publicValueLength,
            let keyExchange = try? KeyExchange(group: group, random: context.random),
            let shared = try? keyExchange.sharedSecret(peerPublicValue: request.keyExchange.data)
        else {
            halfOpen.noteFailure(
                limit: configuration.limits.cookieThreshold, now: context.now.instant,
                expiresAt: context.now.instant + configuration.limits.halfOpenTimeout)
            return drop(.badInitRequest, datagram)
        }

        let spis = IKESPIs(initiator: request.header.initiatorSPI, responder: newIKESPI(table: table, context: context))
        let nonces = NoncePair(initiator: request.nonce, responder: context.random.bytes(ownNonceLength))
        let nat = NATDetection(
            payloads, spis: IKESPIs(initiator: spis.initiator, responder: 0), local: datagram.local, remote: datagram.remote)
        var answer: [Payload] = [
            chosen.payload(spi: []), .keyExchange(KeyExchangePayload(group: group.rawValue, data: keyExchange.publicValue)),
            .nonce(nonces.responder),
        ]
        if nat.isSupported {
            answer += NATDetection.payloads(
                spis: spis, local: datagram.local, remote: datagram.remote, forced: connection.forceEncapsulation)
        }
        var capabilities = PeerCapabilities(initNotifies: payloads)
        if connection.fragmentation == .no { capabilities.remove(.fragmentation) }
        if capabilities.contains(.fragmentation) { answer.append(.notify(.ikev2FragmentationSupported)) }
        if connection.childless != .never {
            answer.append(.notify(NotifyPayload(protocolID: .ike, type: .childlessIKEv2Supported)))
        }
        answer += certificatePayloads(datagram, payloads: payloads)
        let response = IKEMessage(
            initiatorSPI: spis.initiator, responderSPI: spis.responder, exchangeType: .ikeSAInit, isInitiator: false, isResponse: true,
            messageID: 0, payloads: answer
        ).encode()
        let half = HalfOpenSA(
            spis: spis, algorithms: chosen.algorithms,
            derived: KeyDerivation.initial(algorithms: chosen.algorithms, nonces: nonces, sharedSecret: shared, spis: spis),
            nonces: nonces, request: datagram.bytes, response: response, local: datagram.local, remote: datagram.remote, nat: nat,
            forcesEncapsulation: connection.forceEncapsulation, capabilities: capabilities,
            peerHashes: SignatureAuthentication.announcedHashes(payloads), redirectedFrom: payloads.redirectedFrom)
        counters.halfOpenCreated += 1
        return begin(half, answer: reply(response, to: datagram), context: context)
    }

    /// Which hashes we take and whose certificates we trust, if a connection that the peer may mean uses any.
    private func certificatePayloads(_ datagram: Datagram, payloads: PayloadSet) -> [Payload] {
        let candidates = configuration.connections(local: datagram.local.address, remote: datagram.remote.address)
        let request = CertificateRequest.payload(candidates.compactMap(\.requestedTrust))
        let announces = payloads.has(.signatureHashAlgorithms) && candidates.contains(where: \.usesPublicKeys)
        return (request.map { [$0] } ?? []) + (announces ? [SignatureAuthentication.hashNotify] : [])
    }

    /// The first connection for these addresses that takes one of the peer's proposals.
    private func choose(_ request: InitRequest) -> (ChosenIKE, ConnectionConfiguration)? {
        let datagram = request.datagram
        for connection in configuration.connections(local: datagram.local.address, remote: datagram.remote.address) {
            let chosen = Negotiation.choose(
                from: request.proposals, acceptable: connection.proposals, spiLength: 0, keyExchangeGroup: request.keyExchange.group)
            if let chosen { return (chosen, connection) }
        }
        return nil
    }

    /// An answer of one notify, in clear and with a responder SPI of zero; nothing is kept (RFC 7296 §2.6, §2.21.1).
    private mutating func refuseInit(
        _ header: IKEHeader, _ datagram: Datagram, _ payload: Payload, events: [IKEEvent]
    ) -> IKEOutcome {
        count(events)
        let answer = IKEMessage(
            initiatorSPI: header.initiatorSPI, responderSPI: 0, exchangeType: .ikeSAInit, isInitiator: false, isResponse: true,
            messageID: 0, payloads: [payload])
        return IKEOutcome(datagrams: [reply(answer.encode(), to: datagram)], events: events)
    }
}

/// Octets of our nonces: at least half the key length of the PRF, and at least 16 (RFC 7296 §2.10).
let ownNonceLength = 32

/// What an IKE_SA_INIT request has to have.
private struct InitRequest {
    var header: IKEHeader
    var datagram: Datagram
    var digest: [UInt8]
    var proposals: [Proposal]
    var keyExchange: KeyExchangePayload
    var nonce: [UInt8]

    init?(_ payloads: PayloadSet, header: IKEHeader, datagram: Datagram, digest: [UInt8]) {
        guard let proposals = payloads.proposals, let keyExchange = payloads.keyExchange, let nonce = payloads.nonce else { return nil }
        self.header = header
        self.datagram = datagram
        self.digest = digest
        self.proposals = proposals
        self.keyExchange = keyExchange
        self.nonce = nonce
    }
}

extension PeerCapabilities {
    /// What is announced in IKE_SA_INIT.
    init(initNotifies payloads: PayloadSet) {
        self = []
        if payloads.has(.ikev2FragmentationSupported) { insert(.fragmentation) }
        // Who was redirected here need not say it again (RFC 5685 §3).
        if payloads.has(.redirectSupported) || payloads.redirectedFrom != nil { insert(.redirect) }
    }

    /// What is announced in IKE_AUTH.
    init(authNotifies payloads: PayloadSet) {
        self = []
        if payloads.has(.mobikeSupported) { insert(.mobike) }
        if payloads.has(.ikev2MessageIDSyncSupported) { insert(.messageIDSync) }
        if payloads.has(.ipsecReplayCounterSyncSupported) { insert(.replayCounterSync) }
        if payloads.vendorIDs.contains(VendorID.contextTransfer) { insert(.contextTransfer) }
    }
}
