import Cryptography
import IKEWire
public import Session

/// A move that is under way (`Session.movingTo`): as initiator we tell the peer where we are, as responder we see whether it can be
/// reached where it says it is. As long as it is set, the request for it is under way or in line.
extension IKEEngine {
    // MARK: Our own addresses

    /// The local address of the session is another now, or is to be.
    ///
    /// As initiator we tell the peer (RFC 4555 §3.5): the IKE SA and, unless the peer's address changes as well, the CHILD SAs use the
    /// new one at once. Several changes in a row are one: the peer is told of the last. As responder our former address is gone: the
    /// peer is told from the new one that there are no others, and moves by itself (RFC 4555 §3.6). Without MOBIKE nothing happens.
    ///
    /// - Parameters:
    ///   - local: with the port from which we speak: 4500, unless a test says otherwise.
    ///   - remote: as initiator, where the peer is to be spoken to from now on; `nil`: where it is.
    public mutating func localAddressChanged(
        session id: SessionID, local: Endpoint, remote: Endpoint? = nil, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id], session.capabilities.contains(.mobike), !session.children.contains(where: { $0.mode == .transport })
        else { return .nothing }
        let current = session.ikePath
        let remote = session.originalRole == .initiator ? remote ?? current.remote : current.remote
        guard local.address.family == remote.address.family, local != current.local || remote != current.remote else { return .nothing }
        let changes =
            session.originalRole == .initiator
            ? changes(of: session, movingTo: local, remote) : changes(of: session, speakingFrom: local)
        var outcome = IKEOutcome(deltas: [SessionDelta(session: id, changes: changes)], session: id)
        guard let after = (try? session.applying(changes)) ?? nil else { return .nothing }
        // What waits for an answer goes on from here, and does not wait for its turn.
        outcome.datagrams = after.ikeSAs.flatMap(\.pendingRequests).flatMap { send($0.datagrams, in: after) }
        if session.originalRole == .responder {
            let request = want(.announceAddresses, in: after, table: table, context: context)
            outcome.deltas[0].changes += request.deltas.flatMap(\.changes)
            outcome.datagrams += request.datagrams
        }
        schedule(outcome, table: table, context: context)
        return outcome
    }

    /// The one case in which a responder changes the CHILD SAs unasked: it cannot send from where it was (RFC 4555 §3.5).
    private func changes(of session: Session, speakingFrom local: Endpoint) -> [SessionChange] {
        var path = session.path
        path.local = local
        guard var target = session.movingTo else { return [.pathChanged(path)] }
        target.local = local
        return superseded(by: target, in: session) + [.pathChanged(path), .movingSet(target)]
    }

    /// ADDITIONAL_*_ADDRESS or NO_ADDITIONAL_ADDRESSES: the list is whole, and takes the place of the one before. The other node's own
    /// is not among them: we speak because it does not.
    func draftAddresses(in session: Session) -> RequestDraft {
        let known = connection(of: session)?.additionalAddresses ?? []
        let addresses = IPAddress.notifies(
            known.filter { nodeAddresses.counterpart(of: $0) == nil }, beside: nodeAddresses.here(session.ikePath.local).address)
        return RequestDraft(purpose: .announce, payloads: addresses.isEmpty ? [.notify(.noAdditionalAddresses)] : addresses)
    }

    // MARK: As initiator

    /// The CHILD SAs wait for the answer when the peer's address is a new one: nothing has come from it yet that was asked for.
    func changes(of session: Session, movingTo local: Endpoint, _ remote: Endpoint) -> [SessionChange] {
        var path = session.path
        path.local = local
        path.remote = remote
        var changes = superseded(by: path, in: session)
        if remote == session.remote, path != session.path { changes.append(.pathChanged(path)) }
        return changes + [.movingSet(path)]
    }

    /// The answer to UPDATE_SA_ADDRESSES.
    mutating func settleUpdate(
        _ update: AddressUpdate, response: PayloadSet, message: ReceivedMessage, effects: inout ResponseEffects
    ) {
        let session = message.session
        guard let target = session.movingTo, target.local == update.local, target.remote == update.remote else { return }
        if let error = response.error {
            // RFC 4555 §3.9: whoever changed one packet must not keep us from a path; but not for ever.
            let tries = addressTries[session.id, default: 0]
            if error.type == .unexpectedNATDetected, tries < configuration.limits.retransmitTries {
                addressTries[session.id] = tries + 1
                return
            }
            addressTries[session.id] = nil
            effects.changes.append(.movingSet(nil))
            return effects.events.append(
                .requestRefused(session: session.id, what: .addressUpdate, notify: error.type.rawValue))
        }
        addressTries[session.id] = nil
        let nat = NATDetection(response, spis: message.sa.spis, local: update.local, remote: update.remote)
        let path = path(of: session, local: update.local, remote: update.remote, nat: nat)
        noteMapping(response, message: message)
        if path != session.path { effects.changes.append(.pathChanged(path)) }
        effects.changes.append(.movingSet(nil))
        effects.events.append(.relocated(session: session.id, local: path.local, remote: path.remote))
    }

    /// A liveness check of an initiator behind a NAT tells whether the NAT still maps it as before; if not, the peer has to be told
    /// (RFC 4555 §3.8).
    mutating func settleLiveness(response: PayloadSet, message: ReceivedMessage, effects: inout ResponseEffects) {
        let session = message.session
        guard session.watchesMapping, session.movingTo == nil, noteMapping(response, message: message) else { return }
        effects.changes.append(.movingSet(session.path))
    }

    /// - Returns: whether the peer sees us elsewhere than before. The hash covers the SPIs too: after a rekey there is no before.
    @discardableResult
    private mutating func noteMapping(_ response: PayloadSet, message: ReceivedMessage) -> Bool {
        guard let seen = response.notify(.natDetectionDestinationIP)?.data else { return false }
        let before = mappings[message.session.id]
        mappings[message.session.id] = (message.sa.localSPI, seen)
        return before.map { $0.localSPI == message.sa.localSPI && $0.hash != seen } ?? false
    }

    // MARK: As responder

    /// The answer to COOKIE2.
    ///
    /// - Returns: false when the cookie is wrong, and the IKE SA has to be closed (RFC 4555 §3.7).
    mutating func settleCheck(
        _ check: AddressCheck, response: PayloadSet, session: Session, effects: inout ResponseEffects
    ) -> Bool {
        guard let cookie = response.notify(.cookie2)?.data, constantTimeEquals(cookie, check.cookie) else { return false }
        guard let path = check.path, path == session.movingTo else { return true }
        effects.changes.append(.movingSet(nil))
        guard path != session.path else { return true }
        effects.changes.append(.pathChanged(path))
        counters.peersMoved += 1
        effects.events.append(.moved(session: session.id, from: session.remote, to: path.remote))
        return true
    }

    /// The peer did not see what was sent to where it says it is. It is told that this is the end, once.
    mutating func endUnreachable(_ message: ReceivedMessage, context: IKEContext) -> IKEOutcome {
        let session = message.session
        let events = [IKEEvent.unreachable(session: session.id, remote: session.ikePath.remote)]
        count(events)
        forget(session.id)
        let farewell = seal(.deleteIKESA, in: session, sa: message.sa, context: context).map { send($0, in: session) }
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [context.removal("the peer returned a wrong COOKIE2")])],
            datagrams: farewell ?? [], events: events, session: session.id)
    }

    // MARK: Both

    /// Nobody answers where the session is moving: whoever changed the source of one packet may have sent us there. What is under way
    /// goes to where the session was until now, and only if nobody answers there either the peer is given up (RFC 4555 §3.11).
    ///
    /// - Returns: `nil` when there is no other path.
    mutating func fallBack(_ session: Session, context: IKEContext) -> IKEOutcome? {
        guard let target = session.movingTo, target != session.path else { return nil }
        let changes = superseded(by: session.path, in: session) + [.movingSet(nil)]
        guard let after = (try? session.applying(changes)) ?? nil else { return nil }
        let now = context.now.instant
        addressTries[session.id] = nil
        var outcome = IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: changes)],
            events: [.stayed(session: session.id, insteadOf: target.remote)], session: session.id)
        count(outcome.events)
        outcome.datagrams = askAgain(after, at: now)
        return outcome
    }

    func draftMove(in session: Session, context: IKEContext) -> RequestDraft? {
        guard let path = session.movingTo else { return nil }
        switch session.originalRole {
        case .initiator:
            return RequestDraft(
                purpose: .updateAddresses(AddressUpdate(local: path.local, remote: path.remote)),
                payloads: [.notify(.updateSAAddresses)] + natDetection(path, in: session))
        case .responder:
            let cookie = context.random.bytes(ReturnCookie.ownLength)
            return RequestDraft(
                purpose: .verifyAddress(AddressCheck(cookie: cookie, path: path)), payloads: [.notify(.cookie2, cookie)])
        }
    }

    func draftLiveness(in session: Session) -> RequestDraft {
        RequestDraft(purpose: .liveness, payloads: session.watchesMapping ? natDetection(session.path, in: session) : [])
    }

    private func natDetection(_ path: SessionPath, in session: Session) -> [Payload] {
        NATDetection.payloads(
            spis: session.ikeSA.spis, local: path.local, remote: path.remote,
            forced: connection(of: session)?.forceEncapsulation ?? false)
    }

    /// Whether the request for the move is under way already.
    func isMoveRequested(_ session: Session) -> Bool {
        session.ikeSA.pendingRequests.contains { pending in
            switch pending.purpose {
            case .updateAddresses(let update): session.movingTo.map { $0.local == update.local && $0.remote == update.remote } ?? false
            case .verifyAddress(let check): check.path == session.movingTo
            default: false
            }
        }
    }

    /// Puts the request for a move in line, unless it is there or under way.
    mutating func keepMoving(_ session: Session, at now: Instant) {
        guard session.movingTo != nil, waiting[session.id]?.contains(.move) != true, state(of: .move, in: session) != .never else { return }
        waiting[session.id, default: []].insert(.move, at: 0)
        releaseWaiting(session.id, at: now)
    }
}

extension Session {
    /// We are the initiator and behind a NAT: who changes addresses has to see that the NAT's mapping changed (RFC 4555 §3.8).
    fileprivate var watchesMapping: Bool { originalRole == .initiator && capabilities.contains(.mobike) && localBehindNAT }
}
