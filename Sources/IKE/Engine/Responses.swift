import Cryptography
import IKEWire
import Session

/// What the peer answered, and what follows from it.
extension IKEEngine {
    mutating func receiveResponse(_ message: ReceivedMessage, table: SessionTable, context: IKEContext) -> IKEOutcome {
        let sa = message.sa
        let session = message.session
        guard let pending = sa.pendingRequest(messageID: message.header.messageID),
            message.header.exchangeType == pending.purpose.exchange
        else { return drop(.unexpectedResponse, message.datagram, session: session.id) }
        let response: PayloadSet
        do {
            let protection = MessageProtection(sa.algorithms, keys: sa.receivingKeys)
            let opened = try open(
                message.datagram, header: message.header, localSPI: sa.localSPI, with: protection, at: context.now.instant)
            guard let opened else { return .nothing }
            response = PayloadSet(opened.payloads)
        } catch {
            return drop(error.dropReason, message.datagram, session: session.id)
        }
        noteAlive(session, at: context.now.instant)
        // RFC 7296 §2.21.3: a peer that could not read our request has deleted the IKE SA, and so do we.
        if response.has(.invalidSyntax) { return end(sa, of: session, context: context) }
        let moves = movement(message)
        var effects = ResponseEffects(
            changes: moves.changes + [.requestCompleted(localSPI: sa.localSPI, messageID: pending.messageID)], events: moves.events)
        if case .verifyAddress(let check) = pending.purpose,
            !settleCheck(check, response: response, session: session, effects: &effects)
        {
            return endUnreachable(message, context: context)
        }
        settle(pending, response: response, message: message, effects: &effects, table: table, context: context)
        releaseWaiting(session.id, at: context.now.instant)
        return finish(effects, session: session, table: table, context: context)
    }

    private mutating func settle(
        _ pending: PendingRequest, response: PayloadSet, message: ReceivedMessage, effects: inout ResponseEffects, table: SessionTable,
        context: IKEContext
    ) {
        let session = message.session
        switch pending.purpose {
        case .announce, .verifyAddress: break
        case .redirect(let nonce):
            settleRedirect(nonce: nonce, response: response, message: message, effects: &effects, context: context)
        case .liveness: settleLiveness(response: response, message: message, effects: &effects)
        case .updateAddresses(let update): settleUpdate(update, response: response, message: message, effects: &effects)
        case .deleteChildSA(let spi):
            // It may be gone already, if the peer deleted it at the same time.
            if session.child(inboundSPI: spi) != nil {
                effects.changes.append(.childRemoved(inboundSPI: spi))
                effects.events.append(.childDeleted(session: session.id, inboundSPI: spi))
            }
        case .deleteIKESA:
            if message.isInCurrentSA {
                effects = ResponseEffects(changes: [context.removal("terminated")], events: [.terminated(session: session.id)])
            } else {
                effects.changes = [.ikeSARemoved(localSPI: message.sa.localSPI)]
            }
        case .createChildSA(let offer):
            settleChild(pending, offer, response: response, message: message, effects: &effects, table: table, context: context)
        case .rekeyIKESA(let offer):
            settleRekey(pending, offer, response: response, message: message, effects: &effects, context: context)
        }
    }

    /// What was settled, and the requests that have to follow, as one delta: whoever takes over in between knows of both.
    private mutating func finish(
        _ effects: ResponseEffects, session: Session, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        count(effects.events)
        var outcome = IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: effects.changes)], events: effects.events, session: session.id)
        guard let after = (try? session.applying(effects.changes)) ?? nil else {
            forget(session.id)
            return outcome
        }
        if let step = effects.next {
            let request: IKEOutcome
            switch step {
            case .rejectChildSA(let spi):
                request = self.request(.deleteChildSA(spi), in: after, sa: after.ikeSA, context: context)
            case .wish(let wish): request = want(wish, in: after, table: table, context: context)
            case .deleteIKESA(let localSPI):
                guard let sa = after.ikeSA(localSPI: localSPI) else { return outcome }
                request = self.request(.deleteIKESA, in: after, sa: sa, context: context)
            }
            outcome.deltas[0].changes += request.deltas.flatMap(\.changes)
            outcome.datagrams += request.datagrams
        }
        return outcome
    }

    // MARK: CHILD SAs

    private mutating func settleChild(
        _ pending: PendingRequest, _ offer: ChildOffer, response: PayloadSet, message: ReceivedMessage, effects: inout ResponseEffects,
        table: SessionTable, context: IKEContext
    ) {
        let session = message.session
        if let error = response.error {
            return refused(error, offer, session: session, effects: &effects, context: context)
        }
        guard
            var child = acceptChild(response, offer: offer, sa: message.sa, session: session, table: table, context: context)
        else {
            // The peer believes that it has one: it is told that it does not.
            effects.events.append(.childRefused(session: session.id, reason: .malformed))
            effects.next = .rejectChildSA(offer.inboundSPI)
            return putOff(offer, session: session, effects: &effects, context: context)
        }
        let own = lower(offer.nonce, response.nonce ?? [])
        if let collision = pending.collision, let other = session.child(inboundSPI: UInt32(truncatingIfNeeded: collision.localSPI)) {
            if precedes(own, collision.lowestNonce) {
                // Ours is the redundant one (RFC 7296 §2.8.1): it receives what the peer may send until it is deleted.
                child.isRekeyed = true
                effects.changes.append(.childAdded(child))
                effects.next = .wish(.deleteChildSA(child.inboundSPI))
                return
            }
            effects.changes.append(.childRekeyed(inboundSPI: other.inboundSPI))
        }
        effects.changes.append(.childAdded(child))
        guard let old = offer.replacing.flatMap({ session.child(inboundSPI: $0) }) else {
            let name = child.name
            effects.events.append(.childAdded(session: session.id, inboundSPI: child.inboundSPI, name: name))
            return
        }
        effects.changes.append(.childRekeyed(inboundSPI: old.inboundSPI))
        effects.events.append(.childRekeyed(session: session.id, inboundSPI: old.inboundSPI, successor: child.inboundSPI))
        effects.next = .wish(.deleteChildSA(old.inboundSPI))
    }

    private func refused(
        _ error: NotifyPayload, _ offer: ChildOffer, session: Session, effects: inout ResponseEffects, context: IKEContext
    ) {
        switch error.type {
        case .invalidKEPayload:
            // Followed once, and only to a group that is ours: a peer that is never content is not asked without end.
            if let id = UInt16(networkBytes: error.data), let group = KeyExchangeGroup(rawValue: id), group != offer.keyExchange?.group,
                isFirstChoice(offer, in: session), childProposals(offer.name, in: session).contains(where: { $0.groups.contains(group) })
            {
                let wish = ChildWish(name: offer.name, replacing: offer.replacing, group: group)
                effects.next = .wish(.createChildSA(wish))
                return
            }
        case .singlePairRequired where offer.localSelectors.count > 1 || offer.remoteSelectors.count > 1:
            let wish = ChildWish(
                name: offer.name, replacing: offer.replacing, group: offer.keyExchange?.group, isSinglePair: true)
            effects.next = .wish(.createChildSA(wish))
            return
        case .childSANotFound:
            // RFC 7296 §2.25: it is gone there; here it goes silently, and a new one is made unless the peer made one meanwhile.
            guard let old = offer.replacing, let child = session.child(inboundSPI: old) else { return }
            effects.changes.append(.childRemoved(inboundSPI: old))
            effects.events.append(.childDeleted(session: session.id, inboundSPI: old))
            let hasAnother = session.children.contains { $0.name == child.name && $0.inboundSPI != old && !$0.isRekeyed }
            if !hasAnother { effects.next = (.wish(.createChildSA(ChildWish(name: child.name)))) }
            return
        default: break
        }
        let what = RefusedRequest.childSA(name: offer.name, isRekey: offer.replacing != nil)
        effects.events.append(.requestRefused(session: session.id, what: what, notify: error.type.rawValue))
        putOff(offer, session: session, effects: &effects, context: context)
    }

    private func childProposals(_ name: String, in session: Session) -> [ESPProposal] {
        connection(of: session)?.children.first { $0.name == name }?.proposals ?? []
    }

    /// The offer had the group that we choose by ourselves.
    private func isFirstChoice(_ offer: ChildOffer, in session: Session) -> Bool {
        let old = offer.replacing.flatMap { session.child(inboundSPI: $0) }
        let first = childProposals(offer.name, in: session).offered(group: old?.algorithms.keyExchangeGroup).group
        return offer.keyExchange?.group == first
    }

    /// RFC 7296 §2.25: not at once again.
    private func putOff(_ offer: ChildOffer, session: Session, effects: inout ResponseEffects, context: IKEContext) {
        guard let old = offer.replacing.flatMap({ session.child(inboundSPI: $0) }), !old.isRekeyed else { return }
        effects.changes.append(.childLifetimeSet(inboundSPI: old.inboundSPI, lifetime: putOff(old.lifetime, context: context)))
    }

    private func putOff(_ lifetime: Lifetime, context: IKEContext) -> Lifetime {
        let pause = configuration.limits.rekeyRetryTime.inNanoseconds / 1_000_000
        let jitter = Int64(context.random.uint64() % UInt64(max(1, pause)))
        return Lifetime(rekeyAt: context.now.wallMilliseconds + pause + jitter, endsAt: lifetime.endsAt)
    }

    // MARK: IKE SAs

    private mutating func settleRekey(
        _ pending: PendingRequest, _ offer: IKEOffer, response: PayloadSet, message: ReceivedMessage, effects: inout ResponseEffects,
        context: IKEContext
    ) {
        let session = message.session
        let rival = pending.collision.flatMap { session.ikeSA(localSPI: $0.localSPI) }
        let successor =
            response.error == nil
            ? acceptSuccessor(response, offer: offer, sa: message.sa, session: session, context: context) : nil
        guard let successor else {
            if let rival { return effects.changes.append(.ikeSAAdopted(localSPI: rival.localSPI)) }
            if response.error?.type == .invalidKEPayload, let id = response.error.flatMap({ UInt16(networkBytes: $0.data) }),
                let group = KeyExchangeGroup(rawValue: id), group != offer.keyExchange.group,
                offer.keyExchange.group == firstRekeyGroup(in: session),
                connection(of: session)?.proposals.contains(where: { $0.groups.contains(group) }) == true
            {
                effects.next = .wish(.rekeyIKESA(group: group))
                return
            }
            let notify = response.error?.type.rawValue ?? NotifyType.invalidSyntax.rawValue
            effects.events.append(.requestRefused(session: session.id, what: .ikeSARekey, notify: notify))
            return effects.changes.append(
                .ikeLifetimeSet(localSPI: message.sa.localSPI, lifetime: putOff(message.sa.lifetime, context: context)))
        }
        let own = lower(offer.nonce, response.nonce ?? [])
        if let collision = pending.collision, let rival, precedes(own, collision.lowestNonce) {
            // RFC 7296 §2.8.2: the peer's lives on and the peer deletes the old one; ours is deleted by us.
            effects.changes += [.ikeSAAdopted(localSPI: rival.localSPI), .ikeSAAdded(successor)]
            effects.events.append(.ikeRekeyed(session: session.id))
            effects.next = .deleteIKESA(localSPI: successor.localSPI)
            return
        }
        effects.changes.append(.ikeSARekeyed(successor))
        effects.events.append(.ikeRekeyed(session: session.id))
        effects.next = .deleteIKESA(localSPI: message.sa.localSPI)
    }

    private mutating func end(_ sa: IKESA, of session: Session, context: IKEContext) -> IKEOutcome {
        guard sa.localSPI == session.ikeSA.localSPI else { return endOther(sa.localSPI, of: session, at: context.now.instant) }
        let events = [IKEEvent.deletedByPeer(session: session.id)]
        count(events)
        forget(session.id)
        let removed = context.removal("the peer reported INVALID_SYNTAX")
        return IKEOutcome(deltas: [SessionDelta(session: session.id, changes: [removed])], events: events, session: session.id)
    }

    /// An IKE SA that was replaced, or lost, is over, and with it the request that went in it; the session lives on in the current one.
    mutating func endOther(_ localSPI: UInt64, of session: Session, at now: Instant) -> IKEOutcome {
        releaseWaiting(session.id, at: now)
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [.ikeSARemoved(localSPI: localSPI)])], session: session.id)
    }
}

/// What a response leads to.
struct ResponseEffects {
    enum Step {
        case wish(Wish)
        /// DELETE of an IKE SA beside the current one, or of one that was current until now.
        case deleteIKESA(localSPI: UInt64)
        /// DELETE of a CHILD SA that only the peer believes in.
        case rejectChildSA(UInt32)
    }

    var changes: [SessionChange]
    var events: [IKEEvent] = []
    /// At most one: it is asked for in the session as the changes leave it.
    var next: Step?
}

/// "Lowest" as RFC 7296 §2.8.1 has it: octet by octet, and of two of which one begins the other, the shorter.
func precedes(_ nonce: [UInt8], _ other: [UInt8]) -> Bool { nonce.lexicographicallyPrecedes(other) }

func lower(_ nonce: [UInt8], _ other: [UInt8]) -> [UInt8] { precedes(nonce, other) ? nonce : other }

extension PendingRequest.Purpose {
    var exchange: ExchangeType {
        switch self {
        case .createChildSA, .rekeyIKESA: .createChildSA
        case .liveness, .deleteIKESA, .deleteChildSA, .updateAddresses, .verifyAddress, .announce, .redirect: .informational
        }
    }
}
