import Cryptography
import IKEWire
import Session

/// IKE_AUTH (RFC 7296 §1.2): from here on all is protected, and a session begins.
extension IKEEngine {
    mutating func receiveAuth(
        _ datagram: Datagram, header: IKEHeader, half: HalfOpenSA, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard header.isInitiator, !header.isResponse, header.initiatorSPI == half.spis.initiator else { return drop(.wrongRole, datagram) }
        guard header.exchangeType == .ikeAuth, header.messageID == 1 else { return drop(.unexpectedExchange, datagram) }
        guard table.count < SessionTable.sessionCountMax else { return drop(.tooManySessions, datagram) }
        var exchange = AuthExchange(datagram: datagram, half: half)
        let payloads: [Payload]
        do {
            let opened = try open(
                datagram, header: header, localSPI: half.spis.responder, with: half.receiving, at: context.now.instant)
            guard let opened else { return partOutcome(isReplicated: halfOpen.isReplicated(half.spis.responder)) }
            payloads = opened.payloads
            exchange.digest = opened.digest
        } catch .malformedInside {
            return refuse(exchange, .malformed, .notify(.invalidSyntax), context: context)
        } catch .unknownCriticalPayload(let type) {
            return refuse(exchange, .unsupportedPayload, .notify(.unsupportedCriticalPayload, [type]), context: context)
        } catch {
            return drop(error.dropReason, datagram)
        }
        exchange.request = PayloadSet(payloads)
        guard !exchange.request.isTranslated(datagram) else {
            return refuse(exchange, .translated, .notify(.unexpectedNATDetected), context: context)
        }
        do {
            let admission = try admit(exchange, context: context)
            if let target = redirection(of: admission, exchange: exchange, context: context) {
                return try redirect(exchange, admission: admission, to: target, table: table, context: context)
            }
            return try establish(exchange, admission: admission, table: table, context: context)
        } catch .malformed {
            return refuse(exchange, .malformed, .notify(.invalidSyntax), context: context)
        } catch {
            return refuse(exchange, error, .notify(.authenticationFailed), context: context)
        }
    }

    private mutating func establish(
        _ exchange: AuthExchange, admission: Admission, table: SessionTable, context: IKEContext
    ) throws(IKEAuthenticationFailure) -> IKEOutcome {
        let half = exchange.half
        let id = SessionID(rawValue: half.spis.responder)
        let childRequest = ChildRequest(exchange.request, nonces: half.nonces, isAuth: true)
        // RFC 6023 §3.
        let isChildless = exchange.request.asksForNoChild && admission.connection.childless != .never
        guard childRequest != nil || isChildless else { throw .malformed }
        let replaced = try sessionsToReplace(exchange, admission, table: table)
        var answer = try authenticationPayloads(exchange, admission)
        let leaving = Set(replaced.flatMap(\.virtualAddresses).map(\.address))
        let assignment = assignAddresses(
            exchange.request.configuration, admission: admission, table: table, leaving: leaving, context: context)
        var session = newSession(id, exchange: exchange, admission: admission, table: table, context: context)
        session.virtualAddresses = assignment.addresses
        session.reauthenticateAt = admission.connection.reauthenticationTime.map {
            context.now.wallMilliseconds + $0.inNanoseconds / 1_000_000
        }
        session.capabilities = session.capabilities.agreed(admission.connection)
        if session.capabilities.contains(.mobike) { session.peerAddresses = exchange.request.additionalAddresses ?? [] }

        var events: [IKEEvent] = [
            .authenticated(
                session: id, connection: admission.connection.name, identity: admission.peer, remote: exchange.datagram.remote)
        ]
        // RFC 7296 §1.2: the IKE SA stands even if the CHILD SA fails.
        do throws(ChildRefusal) {
            if let childRequest {
                if let refusal = assignment.refusal { throw refusal }
                if admission.connection.childless == .force { throw .noAdditionalSAs }
                let parent = ChildParent(session, connection: admission.connection, rekeying: nil)
                let created = try createChild(childRequest, parent: parent, table: table, context: context)
                var child = created.child
                // The nonces are those of IKE_SA_INIT: with a half-open IKE SA of the other node's it has come to the same keys, if it answered too.
                child.lease = firstLease(begunBy: exchange.half.spis.responder >> 63)
                session.children = [child]
                answer += assignment.payloads + created.payloads
                events.append(.childAdded(session: id, inboundSPI: created.child.inboundSPI, name: created.child.name))
            } else {
                answer += assignment.payloads
            }
        } catch {
            answer += assignment.payloads + [error.payload]
            events.append(.childRefused(session: id, reason: error))
        }
        if !assignment.exhausted.isEmpty {
            events.append(.poolsExhausted(session: id, pools: assignment.exhausted, isHalved: context.isAlone))
        }
        answer += closingPayloads(session, admission)
        return complete(exchange, session: session, answer: answer, events: events, replaced: replaced, context: context)
    }

    /// RFC 5685 §6: who we are, and where to go; there is no CHILD SA. The peer deletes the IKE SA; what it leaves we delete, as that of
    /// every redirected session.
    private mutating func redirect(
        _ exchange: AuthExchange, admission: Admission, to target: GatewayIdentity, table: SessionTable, context: IKEContext
    ) throws(IKEAuthenticationFailure) -> IKEOutcome {
        let answer = try authenticationPayloads(exchange, admission) + [.notify(.redirect, target.notifyData())]
        // It ends nothing by coming by, unless it says that what was before is dead.
        let replaced = exchange.request.has(.initialContact) ? try sessionsToReplace(exchange, admission, table: table) : []
        let id = SessionID(rawValue: exchange.half.spis.responder)
        var session = newSession(id, exchange: exchange, admission: admission, table: table, context: context)
        let wall = context.now.wallMilliseconds
        session.redirects.times = [wall]
        session.redirects.order = RedirectOrder(
            target: target, contextTransmitted: false, stage: .answered,
            endsAt: configuration.limits.redirectDeleteDelay.map { wall + $0.inNanoseconds / 1_000_000 })
        let events: [IKEEvent] = [
            .authenticated(session: id, connection: admission.connection.name, identity: admission.peer, remote: exchange.datagram.remote),
            .peerRedirected(remote: exchange.datagram.remote, identity: admission.peer, to: target),
        ]
        return complete(exchange, session: session, answer: answer, events: events, replaced: replaced, context: context)
    }

    /// Who we are, and what shows it.
    private func authenticationPayloads(_ exchange: AuthExchange, _ admission: Admission) throws(IKEAuthenticationFailure) -> [Payload] {
        let half = exchange.half
        let connection = admission.connection
        let identity = admission.localIdentity.payload
        let signed = SignedOctets(
            prf: half.algorithms.prf, message: half.response, peerNonce: half.nonces.initiator,
            authenticationKey: half.derived.responderAuthentication, identity: identity)
        let authentication = try connection.localAuthentication.payload(signed, secret: admission.secret, peerHashes: half.peerHashes)
        let certificates = connection.localAuthentication.certificatePayloads(
            connection.certificateSending, isAsked: exchange.request.asksForCertificate)
        return [.identificationResponder(identity)] + certificates + [authentication]
    }

    /// What the peer is told beside its CHILD SA: our window, how long it is believed to be who it is (RFC 4478 §3), our addresses.
    private func closingPayloads(_ session: Session, _ admission: Admission) -> [Payload] {
        var payloads = windowSize.map { [$0] } ?? []
        if let time = admission.connection.reauthenticationTime {
            payloads.append(.notify(.authLifetime, UInt32(clamping: time.inNanoseconds / 1_000_000_000).networkBytes))
        }
        if session.capabilities.contains(.mobike) { payloads += admission.connection.mobikeNotifies(beside: session.local.address) }
        // RFC 6311 §5: only what the peer offered.
        if session.capabilities.contains(.messageIDSync) { payloads.append(.notify(.ikev2MessageIDSyncSupported)) }
        if session.capabilities.contains(.replayCounterSync) { payloads.append(.notify(.ipsecReplayCounterSyncSupported)) }
        if session.capabilities.contains(.contextTransfer) { payloads.append(.vendorID(VendorID.contextTransfer)) }
        return payloads
    }

    /// The sessions of the same peer that end with this one (`unique`).
    ///
    /// INITIAL_CONTACT says that what the peer had with us before is dead (RFC 7296 §2.4), which only `never` does not believe.
    private func sessionsToReplace(
        _ exchange: AuthExchange, _ admission: Admission, table: SessionTable
    ) throws(IKEAuthenticationFailure) -> [Session] {
        let unique = admission.connection.unique
        guard unique != .never else { return [] }
        // On another connection the same name may have been proven by other means: what it says here ends nothing there.
        let others = table.sessions(remoteIdentity: admission.peer).filter {
            $0.authorization.localIdentity == admission.localIdentity && $0.authorization.connection == admission.connection.name
        }
        if exchange.request.has(.initialContact) { return others }
        switch unique {
        case .no, .never: return []
        case .replace: return others
        case .keep:
            // A peer at the same address authenticates anew, and deletes the old one itself (RFC 7296 §2.8.3).
            let strangers = others.filter { $0.remote.address != exchange.datagram.remote.address && !$0.isClosing }
            guard strangers.isEmpty else { throw .notUnique }
            return []
        }
    }

    private mutating func newSession(
        _ id: SessionID, exchange: AuthExchange, admission: Admission, table: SessionTable, context: IKEContext
    ) -> Session {
        let half = exchange.half
        let nat = half.nat
        var sa = IKESA(
            spis: half.spis, role: .responder, algorithms: half.algorithms, keys: half.derived.keys, nextSendID: 0, nextReceiveID: 2,
            sendWindow: exchange.request.announcedWindow ?? 1, receiveWindow: configuration.limits.requestWindow,
            lifetime: admission.connection.lifetime.chosen(context), establishedWallMilliseconds: context.now.wallMilliseconds)
        sa.counterSync.knownSince = context.epoch
        var session = Session(
            id: id, uniqueID: withUniqueIDs(table: table) { $0.nextSession() },
            authorization: PeerAuthorization(
                connection: admission.connection.name, localIdentity: admission.localIdentity, remoteIdentity: admission.peer,
                method: admission.method),
            capabilities: half.capabilities.union(PeerCapabilities(authNotifies: exchange.request)),
            // The peer floats to port 4500 here (RFC 7296 §2.23): the session is where IKE_AUTH came from.
            local: exchange.datagram.local, remote: exchange.datagram.remote,
            encapsulation: nat.localBehindNAT || nat.remoteBehindNAT || (nat.isSupported && half.forcesEncapsulation),
            localBehindNAT: nat.localBehindNAT, remoteBehindNAT: nat.remoteBehindNAT, ikeSA: sa,
            establishedWallMilliseconds: context.now.wallMilliseconds)
        session.redirects.from = half.redirectedFrom
        return session
    }

    /// Seals the answer into the new session, and turns the half-open IKE SA into it.
    private mutating func complete(
        _ exchange: AuthExchange, session: Session, answer: [Payload], events: [IKEEvent], replaced: [Session], context: IKEContext
    ) -> IKEOutcome {
        guard let datagrams = seal(answer, exchange, context: context) else { return drop(.unusableKeys, exchange.datagram) }
        var session = session
        session.ikeSA.responses = [CachedResponse(messageID: 1, requestDigest: exchange.requestDigest, datagrams: datagrams)]
        halfOpen.remove(exchange.half.spis.responder)
        let isContact = exchange.request.has(.initialContact)
        let events = events + replaced.map { .replaced(session: $0.id, by: session.id) }
        count(events)
        var farewells: [Datagram] = []
        for old in replaced {
            // Whoever did not say that it has forgotten is told, once.
            if !isContact { farewells += farewell(to: old, context: context) }
            forget(old.id)
        }
        watch(session, from: context.now.instant)
        let removals = replaced.map { SessionDelta(session: $0.id, changes: [context.removal("replaced by \(session.id)")]) }
        return IKEOutcome(
            deltas: removals + [SessionDelta(session: session.id, changes: [.created(session)])],
            datagrams: reply(datagrams, to: exchange.datagram) + farewells, events: events, session: session.id)
    }

    private func seal(_ answer: [Payload], _ exchange: AuthExchange, context: IKEContext) -> [[UInt8]]? {
        let datagram = exchange.datagram
        let length = fragmentLength(exchange.half.capabilities, local: datagram.local, remote: datagram.remote)
        return try? exchange.half.sending.seal(answer, header: exchange.responseHeader, fragmentLength: length, context: context)
    }

    /// A protected refusal; it ends the half-open IKE SA (RFC 7296 §2.21.2).
    private mutating func refuse(
        _ exchange: AuthExchange, _ reason: IKEAuthenticationFailure, _ payload: Payload, context: IKEContext
    ) -> IKEOutcome {
        let half = exchange.half
        let isReplicated = halfOpen.isReplicated(half.spis.responder)
        halfOpen.remove(half.spis.responder)
        let identity = exchange.request.initiatorIdentity.flatMap { Identity($0) }.map { String($0.description.prefix(128)) } ?? "?"
        let events = [IKEEvent.authenticationFailed(remote: exchange.datagram.remote, identity: identity, reason: reason)]
        count(events)
        guard let datagrams = seal([payload], exchange, context: context) else { return drop(.unusableKeys, exchange.datagram) }
        let farewell = Farewell(
            localSPI: half.spis.responder, requestDigest: exchange.requestDigest, datagrams: datagrams, local: exchange.datagram.local,
            remote: exchange.datagram.remote, session: isReplicated ? half.session : nil)
        apply(.ended(farewell), at: context.now.instant)
        return IKEOutcome(
            datagrams: reply(datagrams, to: exchange.datagram), events: events, session: farewell.session,
            handshakes: isReplicated ? [.ended(farewell)] : [])
    }
}

struct AuthExchange {
    var datagram: Datagram
    var half: HalfOpenSA
    var request = PayloadSet([])
    /// Known once it is opened.
    var digest: [UInt8]?
    var requestDigest: [UInt8] { digest ?? sha256(datagram.bytes) }

    init(datagram: Datagram, half: HalfOpenSA) {
        self.datagram = datagram
        self.half = half
    }

    var responseHeader: IKEHeader {
        IKEHeader(
            initiatorSPI: half.spis.initiator, responderSPI: half.spis.responder, exchangeType: .ikeAuth, isInitiator: false,
            isResponse: true, messageID: 1)
    }
}

extension ChildParent {
    init(_ session: Session, connection: ConnectionConfiguration, rekeying: ChildSA?) {
        self.init(
            connection: connection, prf: session.ikeSA.algorithms.prf, derivation: session.ikeSA.keys.derivation,
            local: session.local.address, remote: session.remote.address,
            virtualAddresses: session.virtualAddresses.map(\.address), preferredChild: rekeying?.name, keptMode: rekeying?.mode,
            encapsulation: session.encapsulation,
            outboundSPIs: Set(session.children.map(\.outboundSPI)))
    }
}
