import Cryptography
import IKEWire
import Session

/// CREATE_CHILD_SA (RFC 7296 §1.3): a new CHILD SA, a rekeyed one, or a rekeyed IKE SA.
extension IKEEngine {
    mutating func answerCreateChildSA(
        _ request: PayloadSet, message: ReceivedMessage, table: SessionTable, context: IKEContext
    ) -> RequestAnswer {
        let session = message.session
        guard let proposals = request.proposals, let nonce = request.nonce else {
            return .fatal(.notify(.invalidSyntax), reason: "malformed CREATE_CHILD_SA")
        }
        // RFC 7296 §2.8: nothing new begins in an IKE SA that is rekeyed; §2.25.2: nor in one that we are closing.
        if !message.isInCurrentSA || message.sa.pendingRequests.contains(where: { $0.purpose == .deleteIKESA }) {
            return .refusal(.temporaryFailure, session: session.id)
        }
        do {
            if proposals.contains(where: { $0.protocolID == .ike }) {
                return try rekeyIKESA(request, proposals: proposals, nonce: nonce, message: message, table: table, context: context)
            }
            return try addChild(request, nonce: nonce, message: message, table: table, context: context)
        } catch .malformed {
            return .fatal(.notify(.invalidSyntax), reason: "malformed CREATE_CHILD_SA")
        } catch {
            return .refusal(error, session: session.id)
        }
    }

    private mutating func addChild(
        _ request: PayloadSet, nonce: [UInt8], message: ReceivedMessage, table: SessionTable, context: IKEContext
    ) throws(ChildRefusal) -> RequestAnswer {
        let session = message.session
        // RFC 7296 §2.25.2.
        if message.sa.pendingRequests.contains(where: { $0.purpose.isIKERekey }) { throw .temporaryFailure }
        let old = try childToRekey(request, session: session)
        try checkRoom(for: old, session: session)
        let nonces = NoncePair(initiator: nonce, responder: context.random.bytes(ownNonceLength))
        guard let childRequest = ChildRequest(request, nonces: nonces, isAuth: false) else { throw .malformed }
        guard let connection = connection(of: session) else { throw .noProposalChosen }
        // As in IKE_AUTH: where addresses are handed out, nobody has a CHILD SA for another one.
        if !connection.pools.isEmpty, session.virtualAddresses.isEmpty { throw .configurationRequired }
        let parent = ChildParent(session, connection: connection, rekeying: old)
        let created = try createChild(childRequest, parent: parent, table: table, context: context)
        // SA, Nr, [KEr], TSi, TSr (RFC 7296 §1.3.1).
        var payloads = [created.payloads[0], .nonce(nonces.responder)]
        if let keyExchange = created.keyExchange { payloads.append(.keyExchange(keyExchange)) }
        payloads += created.payloads.dropFirst()
        var answer = RequestAnswer(payloads: payloads, changes: [.childAdded(created.child)])
        if let old {
            // The old one goes on receiving until the peer deletes it (RFC 7296 §2.8).
            answer.changes.append(.childRekeyed(inboundSPI: old.inboundSPI))
            let rival = message.sa.pendingRequests.first { $0.purpose.childOffer?.replacing == old.inboundSPI }
            if let rival {
                answer.changes.append(collision(of: rival, in: message.sa, nonces: nonces, made: UInt64(created.child.inboundSPI)))
            }
            answer.events = [.childRekeyed(session: session.id, inboundSPI: old.inboundSPI, successor: created.child.inboundSPI)]
        } else {
            answer.events = [.childAdded(session: session.id, inboundSPI: created.child.inboundSPI, name: created.child.name)]
        }
        return answer
    }

    /// The CHILD SA that REKEY_SA names, or `nil` for a new one.
    private func childToRekey(_ request: PayloadSet, session: Session) throws(ChildRefusal) -> ChildSA? {
        guard let notify = request.notify(.rekeySA) else { return nil }
        // The SPI is the one that the peer receives on (RFC 7296 §1.3.3).
        guard let spi = UInt32(networkBytes: notify.spi) else { throw .malformed }
        guard notify.protocolID == .esp, let old = session.children.first(where: { $0.outboundSPI == spi }) else {
            throw .childNotFound(spi: spi)
        }
        // RFC 7296 §2.25.1; a CHILD SA that already has a successor is about to be deleted by the peer itself.
        if old.isRekeyed || session.ikeSA.pendingRequests.contains(where: { $0.purpose == .deleteChildSA(old.inboundSPI) }) {
            throw .temporaryFailure
        }
        return old
    }

    /// Both of us began: which of the two survives is known when our own is answered (RFC 7296 §2.8.1).
    private func collision(of ours: PendingRequest, in sa: IKESA, nonces: NoncePair, made localSPI: UInt64) -> SessionChange {
        let collision = RekeyCollision(lowestNonce: lower(nonces.initiator, nonces.responder), localSPI: localSPI)
        return .collided(localSPI: sa.localSPI, messageID: ours.messageID, collision: collision)
    }

    /// Those that are replaced but not yet deleted may double the number for a while.
    private func checkRoom(for old: ChildSA?, session: Session) throws(ChildRefusal) {
        let limit = configuration.limits.childrenPerSessionMax
        let active = session.children.count { !$0.isRekeyed }
        if old == nil, active >= limit { throw .noAdditionalSAs }
        if session.children.count >= 2 * limit { throw .noAdditionalSAs }
    }

    /// RFC 7296 §1.3.2, §2.18.
    private mutating func rekeyIKESA(
        _ request: PayloadSet, proposals: [Proposal], nonce: [UInt8], message: ReceivedMessage, table: SessionTable, context: IKEContext
    ) throws(ChildRefusal) -> RequestAnswer {
        let session = message.session
        // RFC 7296 §2.25.1: not while we are creating, rekeying or closing a CHILD SA of it.
        for pending in message.sa.pendingRequests {
            switch pending.purpose {
            case .deleteChildSA, .createChildSA: throw .temporaryFailure
            default: break
            }
        }
        guard let keyExchange = request.keyExchange else { throw .malformed }
        guard let connection = connection(of: session),
            let chosen = Negotiation.choose(
                from: proposals, acceptable: connection.proposals, spiLength: 8, keyExchangeGroup: keyExchange.group),
            let peerSPI = UInt64(networkBytes: chosen.peerSPI), peerSPI != 0
        else { throw .noProposalChosen }
        let group = chosen.algorithms.keyExchangeGroup
        guard keyExchange.group == group.rawValue else { throw .invalidKeyExchange(group: group.rawValue) }
        guard let own = try? KeyExchange(group: group, random: context.random),
            let shared = try? own.sharedSecret(peerPublicValue: keyExchange.data)
        else { throw .malformed }
        let nonces = NoncePair(initiator: nonce, responder: context.random.bytes(ownNonceLength))
        let spis = IKESPIs(initiator: peerSPI, responder: newIKESPI(table: table, context: context))
        let derived = KeyDerivation.rekeyed(
            from: session.ikeSA, algorithms: chosen.algorithms, nonces: nonces, sharedSecret: shared, spis: spis)
        // Whoever asked for the rekey is initiator of the new IKE SA; its message IDs start at 0 (RFC 7296 §2.18).
        var successor = IKESA(
            spis: spis, role: .responder, algorithms: chosen.algorithms, keys: derived.keys, nextSendID: 0, nextReceiveID: 0,
            receiveWindow: message.sa.receiveWindow, lifetime: connection.lifetime.chosen(context),
            establishedWallMilliseconds: context.now.wallMilliseconds)
        successor.counterSync.knownSince = context.epoch
        var changes = [SessionChange.ikeSARekeyed(successor)]
        var events = [IKEEvent.ikeRekeyed(session: session.id)]
        if let rival = message.sa.pendingRequests.first(where: { $0.purpose.isIKERekey }) {
            changes = [
                .ikeSAAdded(successor), collision(of: rival, in: message.sa, nonces: nonces, made: successor.localSPI),
            ]
            events = []
        }
        return RequestAnswer(
            payloads: [
                chosen.payload(spi: spis.responder.networkBytes), .nonce(nonces.responder),
                .keyExchange(KeyExchangePayload(group: group.rawValue, data: own.publicValue)),
            ], changes: changes, events: events)
    }
}
