import Cryptography
import IKEWire
public import Session

/// What we ask of a peer: INFORMATIONAL requests, one at a time in each session (RFC 7296 §2.3).
extension IKEEngine {
    /// Asks the peer whether it lives (RFC 7296 §2.4). Nothing happens while another request of ours is under way.
    public mutating func checkLiveness(session id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let session = table[id], !session.awaitsResponse else { return .nothing }
        return request(.liveness, in: session, context: context)
    }

    /// Deletes the IKE SA and all that belongs to it. The session is removed when the peer has answered or is given up.
    ///
    /// - Parameter force: remove it at once; the peer is told, but its answer is not awaited.
    public mutating func terminate(
        session id: SessionID, force: Bool = false, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id] else { return .nothing }
        if force { return removeNow(session, context: context) }
        return requestWhenFree(.deleteIKESA, in: session, context: context)
    }

    /// Deletes a CHILD SA, named by our inbound SPI; it goes when the peer has answered.
    public mutating func terminate(
        child inboundSPI: UInt32, in id: SessionID, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id], session.child(inboundSPI: inboundSPI) != nil else { return .nothing }
        return requestWhenFree(.deleteChildSA(inboundSPI), in: session, context: context)
    }

    private mutating func requestWhenFree(
        _ purpose: PendingRequest.Purpose, in session: Session, context: IKEContext
    ) -> IKEOutcome {
        guard session.awaitsResponse else { return request(purpose, in: session, context: context) }
        let pending = session.ikeSA.pendingRequest?.purpose
        // A session has at most as many wishes as CHILD SAs and itself: the same one is not put in line twice.
        if pending != purpose, !(waiting[session.id] ?? []).contains(purpose) { waiting[session.id, default: []].append(purpose) }
        return .nothing
    }

    /// Seals a request in the current IKE SA and says as a delta that it is under way.
    mutating func request(_ purpose: PendingRequest.Purpose, in session: Session, context: IKEContext) -> IKEOutcome {
        guard let bytes = seal(purpose, in: session, context: context) else { return .nothing }
        let sa = session.ikeSA
        let pending = PendingRequest(messageID: sa.nextSendID, purpose: purpose, bytes: bytes)
        counters.requestsSent += 1
        awaitResponse(session.id, sa.localSPI, pending.messageID, repeats: 0, from: context.now.instant)
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [.requested(localSPI: sa.localSPI, request: pending)])],
            datagrams: [send(bytes, in: session)], session: session.id)
    }

    private func seal(_ purpose: PendingRequest.Purpose, in session: Session, context: IKEContext) -> [UInt8]? {
        let sa = session.ikeSA
        // An IKE SA ends before its message IDs do (RFC 7296 §2.2).
        guard sa.nextSendID < .max else { return nil }
        let payloads: [Payload]
        switch purpose {
        case .liveness: payloads = []
        case .deleteIKESA: payloads = [.delete(DeletePayload(protocolID: .ike))]
        case .deleteChildSA(let spi): payloads = [.delete(DeletePayload(protocolID: .esp, spis: [spi.networkBytes]))]
        }
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: .informational,
            isInitiator: sa.role == .initiator, isResponse: false, messageID: sa.nextSendID)
        return try? MessageProtection(sa.algorithms, keys: sa.sendingKeys).seal(payloads, header: header, context: context)
    }

    private mutating func removeNow(_ session: Session, context: IKEContext) -> IKEOutcome {
        var outcome = IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [.removed(reason: "terminated")])],
            events: [.terminated(session: session.id)], session: session.id)
        if !session.awaitsResponse, let bytes = seal(.deleteIKESA, in: session, context: context) {
            outcome.datagrams = [send(bytes, in: session)]
        }
        forget(session.id)
        return outcome
    }

    mutating func send(_ bytes: [UInt8], in session: Session) -> Datagram {
        counters.datagramsSent += 1
        return Datagram(local: session.local, remote: session.remote, bytes: bytes)
    }

    // MARK: Responses

    mutating func receiveResponse(_ message: ReceivedMessage, table: SessionTable, context: IKEContext) -> IKEOutcome {
        let sa = message.sa
        let session = message.session
        guard let pending = sa.pendingRequest, pending.messageID == message.header.messageID,
            message.header.exchangeType == .informational
        else { return drop(.unexpectedResponse, message.datagram, session: session.id) }
        let response: PayloadSet
        do {
            response = PayloadSet(try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(message.datagram.bytes))
        } catch {
            return drop(error.dropReason, message.datagram, session: session.id)
        }
        noteAlive(session, at: context.now.instant)
        // Nothing else that is inside matters: every one of our requests is done when it is answered.
        if response.has(.invalidSyntax) { return end(sa, of: session, at: context.now.instant) }
        let moves = movement(message)
        var changes = moves.changes + [.requestCompleted(localSPI: sa.localSPI, messageID: pending.messageID)]
        var events = moves.events
        switch pending.purpose {
        case .liveness: break
        case .deleteChildSA(let spi):
            // It may be gone already, if the peer deleted it at the same time.
            if session.child(inboundSPI: spi) != nil {
                changes.append(.childRemoved(inboundSPI: spi))
                events.append(.childDeleted(session: session.id, inboundSPI: spi))
            }
        case .deleteIKESA:
            forget(session.id)
            changes = [.removed(reason: "terminated")]
            events = [.terminated(session: session.id)]
        }
        releaseWaiting(session.id, at: context.now.instant)
        return IKEOutcome(deltas: [SessionDelta(session: session.id, changes: changes)], events: events, session: session.id)
    }

    /// RFC 7296 §2.21.3: a peer that could not read our request has deleted the IKE SA, and so do we.
    private mutating func end(_ sa: IKESA, of session: Session, at now: Instant) -> IKEOutcome {
        guard sa.localSPI == session.ikeSA.localSPI else { return endRekeyedSA(of: session, at: now) }
        let events = [IKEEvent.deletedByPeer(session: session.id)]
        count(events)
        forget(session.id)
        let removed = SessionChange.removed(reason: "the peer reported INVALID_SYNTAX")
        return IKEOutcome(deltas: [SessionDelta(session: session.id, changes: [removed])], events: events, session: session.id)
    }

    /// The IKE SA that was replaced is over, and with it the request that went in it; the session lives on in the new one.
    mutating func endRekeyedSA(of session: Session, at now: Instant) -> IKEOutcome {
        releaseWaiting(session.id, at: now)
        return IKEOutcome(deltas: [SessionDelta(session: session.id, changes: [.rekeyedIKESARemoved])], session: session.id)
    }
}

extension Session {
    /// A request of ours is under way: the window is full.
    var awaitsResponse: Bool { ikeSA.pendingRequest != nil || rekeyedIKESA?.pendingRequest != nil }
}
