import IKEWire
public import Session

/// Why a peer is not told to go to another gateway.
public enum RedirectObjection: String, Error, Hashable, Sendable, CaseIterable {
    case unknownSession = "there is no such session"
    case notAnnounced = "the peer did not announce that it follows redirects"
    case isCaller = "we called the peer: only who was called redirects"
    case isTarget = "the session is at that gateway already"
    case cameFromThere = "that gateway has just sent the peer here"
    case badTarget = "that is no address of a gateway"
    case otherFamily = "the peer speaks another address family with us"
    case tooMany = "the peer was redirected five times within five minutes, and would take the next for a loop"
    case isClosing = "the session is being deleted"
    case isUnderWay = "a redirect of the session is under way"
    case notHeldStill = "its context was not taken, or is too old"
    case isBusy = "an exchange of the session is under way"
    case noContextTransfer = "the peer authenticates anew wherever it goes"
    case exhausted = "the message IDs or sequence numbers that are left are too few"
}

/// Redirects of peers that have a session (RFC 5685 §5).
///
/// What is ordered is written down in `Session.redirects` before it is sent, so that a new owner goes on with it.
extension IKEEngine {
    /// Why a session cannot be redirected to `target`; `nil` if it can.
    public func objection(
        toRedirecting id: SessionID, to target: GatewayIdentity, contextTransmitted: Bool = false, table: SessionTable,
        context: IKEContext
    ) -> RedirectObjection? {
        guard let session = table[id] else { return .unknownSession }
        if session.originalRole == .initiator { return .isCaller }
        if !session.capabilities.contains(.redirect) { return .notAnnounced }
        if session.isClosing { return .isClosing }
        if let objection = objection(to: target, in: session, context: context) { return objection }
        if contextTransmitted, !session.capabilities.contains(.contextTransfer) { return .noContextTransfer }
        if session.isRedirectUnderWay(besidesPreparation: contextTransmitted) { return .isUnderWay }
        let wall = context.now.wallMilliseconds
        if session.redirects.recent(at: wall).count >= Redirections.countMax { return .tooMany }
        return contextTransmitted ? session.objectionToGiving : nil
    }

    func objection(to target: GatewayIdentity, in session: Session, context: IKEContext) -> RedirectObjection? {
        guard case .address(let address) = target else { return nil }
        guard address.isGatewayAddress, address != session.remote.address else { return .badTarget }
        if address == session.local.address { return .isTarget }
        if address.family != session.remote.address.family { return .otherFamily }
        let isRecent = session.establishedWallMilliseconds + Redirections.period.inNanoseconds / 1_000_000 > context.now.wallMilliseconds
        return isRecent && address == session.redirects.from ? .cameFromThere : nil
    }

    /// Tells the peer to go to another gateway.
    ///
    /// Without a transmitted context the peer authenticates there and deletes the session here; what it has not deleted
    /// `IKELimits.redirectDeleteDelay` after its answer we delete. With one it keeps the session, and how it answered is told by
    /// `redirectAnswered`; see Docs/context-transfer.md.
    ///
    /// - Parameter contextTransmitted: the target holds the session's context as it is since `prepareHandingOn`.
    public mutating func redirect(
        session id: SessionID, to target: GatewayIdentity, contextTransmitted: Bool, table: SessionTable, context: IKEContext
    ) throws(RedirectObjection) -> IKEOutcome {
        if let objection = objection(
            toRedirecting: id, to: target, contextTransmitted: contextTransmitted, table: table, context: context)
        {
            throw objection
        }
        guard let session = table[id] else { throw .unknownSession }
        // What the target holds would not be true any more.
        if contextTransmitted, !session.isHeldStill || session.redirects.order?.target != target { throw .notHeldStill }
        var redirects = session.redirects
        redirects.order = RedirectOrder(target: target, contextTransmitted: contextTransmitted)
        let changes = [SessionChange.redirectsSet(redirects)]
        guard let after = (try? session.applying(changes)) ?? nil else { throw .unknownSession }
        var outcome = IKEOutcome(deltas: [SessionDelta(session: id, changes: changes)], session: id)
        let request =
            contextTransmitted
            ? self.request(.redirect, in: after, table: table, context: context)
            : want(.redirect, in: after, table: table, context: context)
        if contextTransmitted, request.isEmpty { throw .exhausted }
        outcome.deltas[0].changes += request.deltas.flatMap(\.changes)
        outcome.datagrams = request.datagrams
        schedule(outcome, table: table, context: context)
        return outcome
    }

    /// REDIRECT, without a nonce: the message is protected (RFC 5685 §5).
    func draftRedirect(in session: Session, context: IKEContext) -> RequestDraft? {
        guard let order = session.redirects.order, order.stage == .prepared else { return nil }
        let redirect = Payload.notify(.redirect, order.target.notifyData())
        guard order.contextTransmitted else { return RequestDraft(purpose: .redirect(nonce: nil), payloads: [redirect]) }
        return draftHandingOn(redirect, in: session, context: context)
    }

    /// The redirect was sent: when, so that there are never more than the peer follows.
    func noteSent(_ outcome: inout IKEOutcome, in session: Session, context: IKEContext) {
        guard !outcome.deltas.isEmpty else { return }
        let wall = context.now.wallMilliseconds
        var redirects = session.redirects
        redirects.times = redirects.recent(at: wall).suffix(Redirections.countMax - 1) + [wall]
        redirects.order?.stage = .sent
        redirects.order?.endsAt = nil
        outcome.deltas[0].changes.append(.redirectsSet(redirects))
    }

    /// The peer's answer: usually empty, and it says nothing of whether the peer goes.
    mutating func settleRedirect(
        nonce: UInt64?, response: PayloadSet, message: ReceivedMessage, effects: inout ResponseEffects, context: IKEContext
    ) {
        let session = message.session
        guard var order = session.redirects.order, order.stage == .sent else { return }
        order.stage = .answered
        if order.contextTransmitted, let nonce {
            return settleHandingOn(order, nonce: nonce, response: response, message: message, effects: &effects, context: context)
        }
        leave(order, in: session, effects: &effects, context: context)
    }

    /// The peer goes by itself; what is left of the session here when it has had time for that is deleted.
    func leave(_ order: RedirectOrder, in session: Session, effects: inout ResponseEffects, context: IKEContext) {
        var redirects = session.redirects
        var order = order
        order.contextTransmitted = false
        order.endsAt = configuration.limits.redirectDeleteDelay.map { context.now.wallMilliseconds + $0.inNanoseconds / 1_000_000 }
        redirects.order = order
        effects.changes.append(.redirectsSet(redirects))
        effects.events.append(.redirectAnswered(session: session.id, accepted: false))
    }

    /// Puts a redirect that is ordered and not sent in line, unless it is there.
    mutating func keepRedirecting(_ session: Session, at now: Instant) {
        guard let order = session.redirects.order, order.stage == .prepared, !order.contextTransmitted,
            waiting[session.id]?.contains(.redirect) != true, state(of: .redirect, in: session) != .never
        else { return }
        waiting[session.id, default: []].append(.redirect)
        releaseWaiting(session.id, at: now)
    }

    // MARK: The end

    /// Forgets a session that another gateway has now: no DELETE goes out, for the peer goes on with it there.
    public mutating func forgetMoved(session id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard table[id] != nil else { return .nothing }
        forget(id)
        let removed = SessionDelta(session: id, changes: [context.removal(IKEEngine.movedReason)])
        return IKEOutcome(deltas: [removed], events: [.handedOn(session: id)], session: id)
    }

    public static let movedReason = "moved"
}

extension Session {
    /// Nothing is under way in it that another gateway would have to know of.
    var isQuiet: Bool { !hasPendingRequest && otherIKESAs.isEmpty && movingTo == nil }

    /// What keeps its context from being taken now.
    var objectionToGiving: RedirectObjection? {
        guard isQuiet else { return .isBusy }
        return children.allSatisfy(\.canBeHandedOn) ? nil : .exhausted
    }

    /// - Parameter besidesPreparation: that it is held still to be handed on does not count.
    func isRedirectUnderWay(besidesPreparation: Bool) -> Bool {
        guard let order = redirects.order else { return false }
        if besidesPreparation, order.contextTransmitted, order.stage == .prepared { return false }
        return order.stage != .answered || order.contextTransmitted
    }
}

extension IPAddress {
    /// A gateway can have it: neither unspecified, nor of this host, nor of a group (RFC 6890, RFC 4291 §2.4).
    var isGatewayAddress: Bool {
        guard !isUnspecified, let first = bytes.first else { return false }
        guard !isIPv4 else { return first != 0 && first != 127 && first < 224 }
        return first != 0xFF && bytes != [UInt8](repeating: 0, count: 15) + [1]
    }
}
