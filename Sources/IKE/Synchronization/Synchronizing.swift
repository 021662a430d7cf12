import Cryptography
import IKEWire
import Session

/// RFC 6311 as the cluster's member that has become active.
extension IKEEngine {
    /// IDs that are passed over, so that ours is above whatever the former owner sent unheard: requests of months (RFC 6311 §5.1 asks
    /// for the size of the window at least). A peer drops a lower one, and the IKE SA ends in the end.
    ///
    /// One leap for each epoch since the IDs were known: an owner in between may have leapt, and have died unheard.
    static let syncLeap: UInt32 = 1 << 16
    /// Of all the epochs of a pair's life more would only use up IDs.
    private static let syncLeapsMax: UInt64 = 4096

    /// Asks the peer of a session what is left to be agreed on with it; nothing if nothing is.
    mutating func synchronize(_ session: Session, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard !session.isClosing, let step = syncStep(of: session, epoch: context.epoch) else { return .nothing }
        switch step {
        case .messageIDs(let increment):
            return askForSync(session, increment: increment, context: context)
        case .replayCounters(let increment):
            synchronization.noteRaised(session.id)
            return want(.syncReplayCounters(increment), in: session, table: table, context: context)
        }
    }

    private mutating func askForSync(_ session: Session, increment: UInt64?, context: IKEContext) -> IKEOutcome {
        let sa = session.ikeSA
        let known = sa.counterSync.knownSince.map { context.epoch > $0 ? context.epoch - $0 : 1 } ?? 1
        let leap = IKEEngine.syncLeap * UInt32(min(known, IKEEngine.syncLeapsMax))
        guard sa.nextSendID < SyncNotify.idMax - leap, sa.aboveReceived < SyncNotify.idMax else { return .nothing }
        let notify = SyncNotify(
            nonce: context.random.uint32(), ids: MessageIDs(send: sa.nextSendID + leap, receive: sa.aboveReceived))
        var payloads = [notify.payload]
        if let increment { payloads.append(SyncNotify.incrementPayload(increment, extended: session.hasExtendedNumbers ?? false)) }
        let header = sa.syncHeader(isResponse: false)
        let protection = MessageProtection(sa.algorithms, keys: sa.sendingKeys)
        guard let bytes = try? protection.sealSync(payloads, header: header, firstID: notify.ids.send, context: context) else {
            return .nothing
        }
        let request = SyncRequest(epoch: context.epoch, nonce: notify.nonce, ids: notify.ids, increment: increment, datagram: bytes)
        counters.syncsRequested += 1
        if increment != nil { synchronization.noteRaised(session.id) }
        awaitSync(session.id, sa.localSPI, notify.nonce, repeats: 0, from: context.now.instant)
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [.syncRequested(localSPI: sa.localSPI, request: request)])],
            datagrams: send([bytes], in: session), session: session.id)
    }

    /// IPSEC_REPLAY_COUNTER_SYNC in an exchange like any other.
    func draftReplayCounters(_ increment: UInt64, in session: Session) -> RequestDraft? {
        guard let extended = session.hasExtendedNumbers, session.capabilities.contains(.replayCounterSync) else { return nil }
        return RequestDraft(
            purpose: .syncReplayCounters(increment), payloads: [SyncNotify.incrementPayload(increment, extended: extended)])
    }

    // MARK: Waiting

    private mutating func awaitSync(_ session: SessionID, _ localSPI: UInt64, _ nonce: UInt32, repeats: Int, from now: Instant) {
        let deadline = Deadline.retransmitSync(session: session, localSPI: localSPI, nonce: nonce, repeats: repeats)
        deadlines.insert(deadline, at: now + configuration.limits.wait(repeats: repeats))
    }

    mutating func repeatSync(in sa: IKESA, of session: Session, context: IKEContext) -> [Datagram] {
        guard let pending = sa.counterSync.pending, pending.epoch == context.epoch else { return [] }
        awaitSync(session.id, sa.localSPI, pending.nonce, repeats: 0, from: context.now.instant)
        counters.requestsRetransmitted += 1
        return send([pending.datagram], in: session)
    }

    /// The same bytes again; what is never answered ends as any other request does.
    mutating func retransmitSync(
        _ id: SessionID, _ localSPI: UInt64, _ nonce: UInt32, repeats: Int, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id], let pending = session.ikeSA(localSPI: localSPI)?.counterSync.pending, pending.nonce == nonce
        else { return .nothing }
        // The owner is the same, under a higher epoch.
        guard pending.epoch == context.epoch else { return synchronize(session, table: table, context: context) }
        guard repeats < configuration.limits.retransmitTries else {
            if hasStartedOver(id, at: context.now.instant) { return .nothing }
            counters.syncsFailed += 1
            guard session.ikeSA.localSPI == localSPI else { return endOther(localSPI, of: session, at: context.now.instant) }
            return giveUpPeer(session, context: context)
        }
        counters.requestsRetransmitted += 1
        awaitSync(id, localSPI, nonce, repeats: repeats + 1, from: context.now.instant)
        return IKEOutcome(datagrams: send([pending.datagram], in: session), session: id)
    }

    // MARK: The answer

    /// A response with message ID 0 while a synchronization is under way; `nil` when it is one to something else.
    mutating func receiveSyncResponse(_ message: ReceivedMessage, table: SessionTable, context: IKEContext) -> IKEOutcome? {
        let sa = message.sa
        let session = message.session
        guard let pending = sa.counterSync.pending, message.header.messageID == 0, message.header.exchangeType == .informational else {
            return nil
        }
        let payloads: [Payload]
        do {
            payloads = try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(message.datagram.bytes)
        } catch {
            return sa.pendingRequest(messageID: 0) == nil ? drop(error.dropReason, message.datagram, session: session.id) : nil
        }
        if !PayloadSet(payloads).has(.ikev2MessageIDSync), sa.pendingRequest(messageID: 0) != nil { return nil }
        guard let notify = SyncNotify(payloads, isResponse: true) else {
            return drop(.syncMalformed, message.datagram, session: session.id)
        }
        guard notify.nonce == pending.nonce else { return drop(.syncWrongNonce, message.datagram, session: session.id) }
        guard notify.ids.receive >= pending.ids.send, notify.ids.send >= pending.ids.receive, notify.ids.fitsLife else {
            return drop(.syncValues, message.datagram, session: session.id)
        }
        noteAlive(session, at: context.now.instant)
        counters.syncsCompleted += 1
        // What the peer sends next is what we expect, and the other way round.
        let ids = MessageIDs(send: notify.ids.receive, receive: notify.ids.send)
        var changes = movement(message).changes + [.syncCompleted(localSPI: sa.localSPI, ids: ids)]
        changes += giveUp(sa.pendingRequests.filter { $0.messageID < ids.send }, of: session, at: context.now.instant)
        releaseWaiting(session.id, at: context.now.instant)
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: changes)],
            events: [.synchronized(session: session.id, send: ids.send, receive: ids.receive, byPeer: false)], session: session.id)
    }

    /// Requests whose IDs were passed: nobody knows whether they were heard (RFC 6311 §8.1, §9). What they were for is wanted anew.
    ///
    /// - Returns: what has to be settled without them.
    mutating func giveUp(_ requests: [PendingRequest], of session: Session, at now: Instant) -> [SessionChange] {
        var changes: [SessionChange] = []
        for request in requests {
            counters.requestsGivenUp += 1
            switch (request.purpose, request.collision) {
            // The answer came to the other node.
            case (.createChildSA(let offer), _) where session.child(inboundSPI: offer.inboundSPI) != nil: continue
            case (.rekeyIKESA, .some(let collision)) where session.ikeSA(localSPI: collision.localSPI) != nil:
                changes.append(.ikeSAAdopted(localSPI: collision.localSPI))
            case (.createChildSA(let offer), .some):
                if let old = offer.replacing, session.child(inboundSPI: old) != nil { changes.append(.childRekeyed(inboundSPI: old)) }
            default:
                guard let wish = request.purpose.wish(in: session) else { continue }
                putInLine(wish, session.id)
            }
        }
        releaseWaiting(session.id, at: now)
        return changes
    }
}

extension PendingRequest.Purpose {
    /// What has to be asked again when the request is given up.
    fileprivate func wish(in session: Session) -> Wish? {
        switch self {
        // The synchronization has answered it.
        case .liveness: nil
        case .deleteIKESA: .deleteIKESA
        case .deleteChildSA(let spi): .deleteChildSA(spi)
        case .createChildSA(let offer):
            .createChildSA(ChildWish(name: offer.name, replacing: offer.replacing, group: offer.keyExchange?.group))
        case .rekeyIKESA: .rekeyIKESA(group: nil)
        case .updateAddresses, .verifyAddress: .move
        // The order stands in the session, and is carried out from there.
        case .redirect: nil
        case .announce: session.capabilities.contains(.mobike) ? .announceAddresses : nil
        case .syncReplayCounters(let increment): .syncReplayCounters(increment)
        }
    }
}

extension MessageIDs {
    var fitsLife: Bool { send < SyncNotify.idMax && receive < SyncNotify.idMax }
}

extension IKESA {
    func syncHeader(isResponse: Bool) -> IKEHeader {
        IKEHeader(
            initiatorSPI: spis.initiator, responderSPI: spis.responder, exchangeType: .informational, isInitiator: role == .initiator,
            isResponse: isResponse, messageID: 0)
    }
}
