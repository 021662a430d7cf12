import Cryptography
import IKEWire
import Session

/// RFC 6311 as the peer of a cluster.
extension IKEEngine {
    /// A request with message ID 0 that is outside the window: a synchronization, repeated or new, or nothing. `nil`: not ours to say.
    mutating func receiveSyncRequest(_ message: ReceivedMessage, context: IKEContext) -> IKEOutcome? {
        let sa = message.sa
        let bytes = message.datagram.bytes
        guard message.header.messageID == 0, message.header.exchangeType == .informational else { return nil }
        if let response = sa.counterSync.answered?.response, response.requestDigest == sha256(bytes) {
            counters.responsesRepeated += 1
            return IKEOutcome(datagrams: reply(response.datagrams, to: message.datagram), session: message.session.id)
        }
        // What is in the window, or was answered, is looked at as any other request first.
        guard sa.nextReceiveID > 0, sa.response(messageID: 0)?.requestDigest != sha256(bytes),
            message.session.capabilities.contains(.messageIDSync)
        else { return nil }
        let payloads: [Payload]
        do {
            payloads = try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(bytes)
        } catch {
            return drop(error.dropReason, message.datagram, session: message.session.id)
        }
        guard PayloadSet(payloads).has(.ikev2MessageIDSync) else { return nil }
        return answerSync(payloads, message: message, context: context)
    }

    /// An authenticated request with IKEV2_MESSAGE_ID_SYNC and message ID 0. Whatever is wrong with it, it is dropped in silence.
    mutating func answerSync(_ payloads: [Payload], message: ReceivedMessage, context: IKEContext) -> IKEOutcome {
        let sa = message.sa
        let session = message.session
        func refuse(_ reason: IKEDropReason) -> IKEOutcome { drop(reason, message.datagram, session: session.id) }
        guard session.capabilities.contains(.messageIDSync) else { return refuse(.syncNotNegotiated) }
        guard let notify = SyncNotify(payloads, isResponse: false), message.isInCurrentSA, session.accepts(notify.increment) else {
            return refuse(.syncMalformed)
        }
        // M1 has to be above everything that was seen of the cluster (RFC 6311 §5.1): what is not, is a replay.
        guard notify.ids.send >= sa.aboveReceived, sa.counterSync.answered.map({ notify.ids.send > $0.firstID }) ?? true else {
            return refuse(.syncReplayed)
        }
        guard notify.ids.fitsLife, sa.nextSendID < SyncNotify.idMax else { return refuse(.syncValues) }
        let answer = SyncNotify(
            nonce: notify.nonce, ids: MessageIDs(send: sa.nextSendID, receive: sa.aboveReceived).answer(to: notify.ids))
        let protection = MessageProtection(sa.algorithms, keys: sa.sendingKeys)
        guard
            let bytes = try? protection.sealSync(
                [answer.payload], header: sa.syncHeader(isResponse: true), firstID: notify.ids.send, context: context)
        else { return refuse(.unusableKeys) }
        noteAlive(session, at: context.now.instant)
        counters.syncsAnswered += 1
        let response = CachedResponse(messageID: 0, requestDigest: sha256(message.datagram.bytes), datagrams: [bytes])
        let moves = movement(message)
        var changes = moves.changes
        changes.append(
            .syncAnswered(
                localSPI: sa.localSPI, answer: SyncAnswer(firstID: notify.ids.send, response: response), ids: answer.ids))
        changes += giveUp(sa.pendingRequests, of: session, at: context.now.instant)
        if let increment = notify.increment { changes += raiseNumbers(of: session, by: increment.value) }
        let event = IKEEvent.synchronized(session: session.id, send: answer.ids.send, receive: answer.ids.receive, byPeer: true)
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: changes)], datagrams: reply([bytes], to: message.datagram),
            events: moves.events + [event], session: session.id)
    }

    /// IPSEC_REPLAY_COUNTER_SYNC in an exchange with an ID of its own (RFC 6311 §5, case 2).
    mutating func takeReplayCounters(_ request: PayloadSet, message: ReceivedMessage, answer: inout RequestAnswer) {
        guard let notify = request.notify(.ipsecReplayCounterSync), answer.endsSession == nil, message.isInCurrentSA else { return }
        guard message.session.capabilities.contains(.replayCounterSync), let increment = SyncNotify.increment(notify.data),
            message.session.accepts(increment)
        else {
            // An unknown status notify is passed over (RFC 7296 §3.10.1); what was not agreed on, or does not fit, as well.
            counters.dropped[.syncMalformed, default: 0] += 1
            return
        }
        let deleted = Set(answer.changes.compactMap { if case .childRemoved(let spi) = $0 { spi } else { nil } })
        answer.changes += raiseNumbers(of: message.session, by: increment.value, except: deleted)
    }

    /// We send from a slice that lies so far ahead of the present one.
    private mutating func raiseNumbers(of session: Session, by increment: UInt64, except gone: Set<UInt32> = []) -> [SessionChange] {
        counters.replayCountersRaised += 1
        let slices = increment / Lease.size + (increment % Lease.size == 0 ? 0 : 1)
        return session.children.filter { !gone.contains($0.inboundSPI) }.map { child in
            let above = min(child.lease.slice, Lease.sliceMax) + min(slices, Lease.sliceMax)
            return .leased(inboundSPI: child.inboundSPI, lease: Lease(slice: min(above, Lease.sliceMax)).next(for: node))
        }
    }
}

extension Session {
    /// An increment was agreed on, and has the size that the CHILD SAs' numbers ask for (RFC 6311 §6.4).
    fileprivate func accepts(_ increment: (value: UInt64, octets: Int)?) -> Bool {
        guard let increment else { return true }
        guard capabilities.contains(.replayCounterSync), let extended = hasExtendedNumbers else { return false }
        return children.isEmpty || increment.octets == (extended ? 8 : 4)
    }
}
