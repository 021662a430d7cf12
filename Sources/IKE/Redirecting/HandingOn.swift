import Cryptography
import IKEWire
public import Session

/// How a peer whose context the other gateway has comes to it.
public enum ContextMove: Hashable, Sendable {
    /// By a REDIRECT that says so; for peers with the vendor ID.
    case redirect
    /// The other gateway speaks first, and the peer follows it (RFC 4555 §3.5, §3.6).
    case mobike
}

/// Redirects of peers whose context the other gateway has already: NO_REAUTH_IPSEC_CXT_TRANSMITTED and IPSEC_SYN beside REDIRECT, so that
/// nobody authenticates anew. Docs/context-transfer.md has the formats, and why no message ID, IV or sequence number comes twice.
extension IKEEngine {
    /// How long a session is held still for its context to reach the other gateway; its peer repeats a request for much longer.
    public static let holdTime: Duration = .seconds(10)

    /// Holds the session still, as the first step of handing it on: from now on its IKE SA does not change, so that a context taken after
    /// this stays true. ESP goes on. It ends with `redirect`, with `cancelHandingOn`, or by itself after `holdTime`, whoever owns the
    /// session then.
    public mutating func prepareHandingOn(
        session id: SessionID, to target: GatewayIdentity, by move: ContextMove = .redirect, table: SessionTable, context: IKEContext
    ) throws(RedirectObjection) -> IKEOutcome {
        if let objection = objection(toHandingOn: id, to: target, by: move, table: table, context: context) { throw objection }
        guard let session = table[id] else { throw .unknownSession }
        var redirects = session.redirects
        redirects.order = RedirectOrder(
            target: target, contextTransmitted: true,
            endsAt: context.now.wallMilliseconds + IKEEngine.holdTime.inNanoseconds / 1_000_000)
        let outcome = IKEOutcome(deltas: [SessionDelta(session: id, changes: [.redirectsSet(redirects)])], session: id)
        schedule(outcome, table: table, context: context)
        return outcome
    }

    /// Why a session cannot be handed on to `target`; `nil` if it can.
    public func objection(
        toHandingOn id: SessionID, to target: GatewayIdentity, by move: ContextMove, table: SessionTable, context: IKEContext
    ) -> RedirectObjection? {
        switch move {
        case .redirect: objection(toRedirecting: id, to: target, contextTransmitted: true, table: table, context: context)
        case .mobike: objection(toMoving: id, to: target, table: table, context: context)
        }
    }

    private func objection(
        toMoving id: SessionID, to target: GatewayIdentity, table: SessionTable, context: IKEContext
    ) -> RedirectObjection? {
        guard let session = table[id] else { return .unknownSession }
        // As initiator it is we who decide on addresses (RFC 4555 §3.5).
        if session.originalRole == .initiator { return .isCaller }
        guard session.capabilities.contains(.mobike), !session.children.contains(where: { $0.mode == .transport }) else {
            return .noContextTransfer
        }
        if session.isClosing { return .isClosing }
        guard case .address = target else { return .badTarget }
        if let objection = objection(to: target, in: session, context: context) { return objection }
        return session.isRedirectUnderWay(besidesPreparation: true) ? .isUnderWay : session.objectionToGiving
    }

    /// The session stays: it is held still no more. Nothing happens once the redirect is on its way.
    public mutating func cancelHandingOn(session id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let session = table[id], session.isHeldStill, session.redirects.order?.stage == .prepared else { return .nothing }
        releaseWaiting(id, at: context.now.instant)
        return keepHere(session)
    }

    /// What is due of an order whose time is over.
    mutating func endHandingOn(_ session: Session, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard session.redirects.order?.stage == .prepared else {
            return forgetMoved(session: session.id, table: table, context: context)
        }
        releaseWaiting(session.id, at: context.now.instant)
        return keepHere(session)
    }

    private func keepHere(_ session: Session) -> IKEOutcome {
        var redirects = session.redirects
        redirects.order = nil
        return IKEOutcome(deltas: [SessionDelta(session: session.id, changes: [.redirectsSet(redirects)])], session: session.id)
    }

    /// REDIRECT with what the other gateway will do: it begins with the ID after this request's, expects the ID that we expect, and sends
    /// ESP with numbers that we never come to.
    func draftHandingOn(_ redirect: Payload, in session: Session, context: IKEContext) -> RequestDraft? {
        let sa = session.ikeSA
        guard sa.nextSendID < .max - 1 else { return nil }
        let nonce = context.random.uint64()
        let syn = IPsecSyn(
            nonce: nonce, nextSendID: sa.nextSendID + 1, nextReceiveID: sa.nextReceiveID,
            starts: session.children.map { IPsecSyn.Start(spi: $0.outboundSPI, number: $0.numberAfterHandingOn) })
        return RequestDraft(
            purpose: .redirect(nonce: nonce),
            payloads: [redirect, .notify(.noReauthIPsecContextTransmitted), .notify(.ipsecSyn, syn.encode())])
    }

    /// The peer goes on with the session there, or stays, or goes by itself as every client does.
    mutating func settleHandingOn(
        _ order: RedirectOrder, nonce: UInt64, response: PayloadSet, message: ReceivedMessage, effects: inout ResponseEffects,
        context: IKEContext
    ) {
        let session = message.session
        if response.error != nil {
            var redirects = session.redirects
            redirects.order = nil
            effects.changes.append(.redirectsSet(redirects))
            return effects.events.append(.redirectAnswered(session: session.id, accepted: false))
        }
        guard response.has(.noReauthIPsecContextTransmitted), let notify = response.notify(.ipsecSyn),
            let syn = try? IPsecSyn(parsing: notify.data), syn.nonce == nonce
        else { return leave(order, in: session, effects: &effects, context: context) }
        var redirects = session.redirects
        redirects.order = order
        // Should nobody see to it, what is left here is forgotten soon.
        redirects.order?.endsAt = context.now.wallMilliseconds + IKEEngine.holdTime.inNanoseconds / 1_000_000
        effects.changes.append(.redirectsSet(redirects))
        // The peer sends nothing below this any more: whoever holds the session refuses what it sent before.
        for told in syn.starts {
            guard let child = session.child(inboundSPI: told.spi), told.number > child.inboundTop + 1 else { continue }
            effects.changes.append(.inboundAdvanced(inboundSPI: child.inboundSPI, top: told.number - 1))
        }
        effects.events.append(.redirectAnswered(session: session.id, accepted: true))
    }
}

extension ChildSA {
    /// From here on the other gateway may send: it begins at least 16 slices after what its context says (`Lease.nextAfterGap`), and we do
    /// not come half as far until the peer has gone.
    fileprivate var numberAfterHandingOn: UInt64 {
        Lease(slice: min(lease.slice, Lease.sliceMax) + 8).numbers(extended: algorithms.extendedSequenceNumbers).next
    }

    /// Another gateway can send in it at all.
    var canBeHandedOn: Bool {
        let numbers = [NodeID.zero, .one].map { lease.nextAfterGap(for: $0).numbers(extended: algorithms.extendedSequenceNumbers) }
        return isRekeyed || numbers.allSatisfy { $0.next <= $0.limit }
    }
}
