import Cryptography
import IKEWire
public import Session

/// What a datagram is by its looks, of which nothing is proved: for who has to choose what to handle first.
public enum DatagramRank: Hashable, Sendable {
    /// It has a responder SPI: of an IKE SA that has begun.
    case ongoing
    /// It begins an IKE SA and brings what looks like a cookie of ours (RFC 7296 §2.6): its sender has answered us before.
    case returning
    /// It begins an IKE SA.
    case newcomer

    public init(_ datagram: Datagram) {
        let bytes = datagram.bytes
        guard bytes.count >= 16, bytes[8..<16].allSatisfy({ $0 == 0 }) else {
            self = .ongoing
            return
        }
        self = DatagramRank.hasCookie(bytes) ? .returning : .newcomer
    }

    /// The header says that a notify follows, and the notify that it is a COOKIE of the length of ours. RFC 7296 §2.6 has it first.
    private static func hasCookie(_ bytes: [UInt8]) -> Bool {
        let start = IKEHeader.length
        let length = 8 + CookieJar.cookieLength
        guard bytes.count > start + length, bytes[16] == PayloadType.notify else { return false }
        let type = UInt16(bytes[start + 6]) << 8 | UInt16(bytes[start + 7])
        return bytes[start + 2] == 0 && Int(bytes[start + 3]) == length && bytes[start + 5] == 0 && type == NotifyType.cookie.rawValue
    }
}

extension IKEEngine {

    /// Takes a datagram from port 500 or 4500, without the non-ESP marker. Never traps, whatever the bytes are.
    public mutating func receive(_ datagram: Datagram, table: SessionTable, context: IKEContext) -> IKEOutcome {
        let outcome = take(datagram, table: table, context: context)
        schedule(outcome, table: table, context: context)
        return outcome
    }

    private mutating func take(_ datagram: Datagram, table: SessionTable, context: IKEContext) -> IKEOutcome {
        counters.datagramsReceived += 1
        guard datagram.bytes != IKEEngine.keepAlive else {
            counters.keepAlivesReceived += 1
            return .nothing
        }
        guard let header = try? IKEHeader(parsing: datagram.bytes), header.initiatorSPI != 0 else { return drop(.malformed, datagram) }
        guard header.majorVersion == 2 else { return refuseVersion(header, datagram, at: context.now.instant) }
        if header.isResponse, !header.isInitiator, let initiation = initiations[header.initiatorSPI] {
            return receiveAnswer(datagram, to: initiation, table: table, context: context)
        }
        if header.exchangeType == .ikeSAInit { return receiveInit(datagram, header: header, table: table, context: context) }
        // The I flag says whose SPI is whose (RFC 7296 §2.6).
        let localSPI = header.isInitiator ? header.responderSPI : header.initiatorSPI
        if let session = table.session(localSPI: localSPI) {
            return receive(datagram, header: header, localSPI: localSPI, session: session, table: table, context: context)
        }
        if let half = halfOpen[localSPI] {
            return receiveAuth(datagram, header: header, half: half, table: table, context: context)
        }
        if !header.isResponse, let farewell = farewells.farewell(localSPI: localSPI, request: datagram.bytes) {
            counters.responsesRepeated += 1
            return IKEOutcome(datagrams: reply(farewell.datagrams, to: datagram), session: farewell.session)
        }
        return drop(.unknownSPI, datagram)
    }

    /// RFC 7296 §2.5: a higher major version is dropped and told which one we speak; nothing else of the message is believed.
    private mutating func refuseVersion(_ header: IKEHeader, _ datagram: Datagram, at now: Instant) -> IKEOutcome {
        var outcome = drop(.version, datagram)
        guard header.majorVersion > 2, !header.isResponse, refusals.take(configuration.limits, at: now) else { return outcome }
        let answer = IKEMessage(
            initiatorSPI: header.initiatorSPI, responderSPI: header.responderSPI, exchangeType: header.exchangeType,
            isInitiator: !header.isInitiator, isResponse: true, messageID: header.messageID, payloads: [.notify(.invalidMajorVersion)])
        outcome.datagrams = [reply(answer.encode(), to: datagram)]
        return outcome
    }

    /// A message for an IKE SA of an established session: window first, then integrity, then meaning (RFC 7296 §2.3).
    private mutating func receive(
        _ datagram: Datagram, header: IKEHeader, localSPI: UInt64, session: Session, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        let sa = session.ikeSA(localSPI: localSPI) ?? session.ikeSA
        guard header.isInitiator == (sa.role == .responder), header.initiatorSPI == sa.spis.initiator,
            header.responderSPI == sa.spis.responder
        else { return drop(.wrongRole, datagram, session: session.id) }
        noteSyncSign(session.id, at: context.now.instant)
        let message = ReceivedMessage(datagram: datagram, header: header, session: session, sa: sa)
        return header.isResponse
            ? receiveResponse(message, table: table, context: context) : receiveRequest(message, table: table, context: context)
    }

    private mutating func receiveRequest(_ message: ReceivedMessage, table: SessionTable, context: IKEContext) -> IKEOutcome {
        let sa = message.sa
        let id = message.header.messageID
        if id == 0, let outcome = receiveSyncRequest(message, context: context) { return outcome }
        // The last ID of all is never answered: after it the IDs, and with them the IVs, would come again (RFC 7296 §2.2).
        guard id >= sa.nextReceiveID, id - sa.nextReceiveID < sa.receiveWindow, id < .max, sa.response(messageID: id) == nil else {
            return repeatResponse(message)
        }
        // The other gateway's copy ends with what was answered so far.
        guard !message.session.isHeldStill else { return drop(.beingHandedOn, message.datagram, session: message.session.id) }
        var message = message
        let opened: OpenedMessage
        do {
            let protection = MessageProtection(sa.algorithms, keys: sa.receivingKeys)
            let part = try open(
                message.datagram, header: message.header, localSPI: sa.localSPI, with: protection, at: context.now.instant)
            guard let part else { return partOutcome(isReplicated: context.hasStandby) }
            opened = part
            message.digest = part.digest
        } catch .malformedInside {
            // RFC 7296 §2.21.3: authenticated, but badly formed: fatal in both peers.
            return answer(message, with: .fatal(.notify(.invalidSyntax), reason: "malformed request"), context: context)
        } catch .unknownCriticalPayload(let type) {
            let answer = RequestAnswer(payloads: [.notify(.unsupportedCriticalPayload, [type])])
            return self.answer(message, with: answer, context: context)
        } catch {
            return drop(error.dropReason, message.datagram, session: message.session.id)
        }
        let request = PayloadSet(opened.payloads)
        if id == 0, message.header.exchangeType == .informational, request.has(.ikev2MessageIDSync) {
            return answerSync(opened.payloads, message: message, context: context)
        }
        noteAlive(message.session, at: context.now.instant)
        switch message.header.exchangeType {
        case .informational:
            var answer = answerInformational(request, message: message)
            noteSuccession(request, message: message, answer: &answer, context: context)
            takeReplayCounters(request, message: message, answer: &answer)
            return repeatingWhatMoved(self.answer(message, with: answer, context: context), session: message.session)
        case .createChildSA:
            return answer(
                message, with: answerCreateChildSA(request, message: message, table: table, context: context), context: context)
        default:
            // RFC 7296 §2.21.3: every authenticated request with an error is answered; a type that is out of range is a wrong syntax.
            let answer = RequestAnswer.fatal(
                .notify(.invalidSyntax), reason: "a request of exchange type \(message.header.exchangeType.rawValue)")
            return self.answer(message, with: answer, context: context)
        }
    }

    /// A request that was answered gets the same bytes again, one outside the window nothing. Of a request in fragments only the first
    /// asks for the answer (RFC 7383 §2.6.1).
    private mutating func repeatResponse(_ message: ReceivedMessage) -> IKEOutcome {
        let sa = message.sa
        let id = message.header.messageID
        guard let response = sa.response(messageID: id) else {
            return drop(id >= sa.nextReceiveID ? .futureRequest : .oldRequest, message.datagram, session: message.session.id)
        }
        if let fragment = FragmentNumber(message.datagram.bytes), fragment.value > 1 { return .nothing }
        guard response.requestDigest == sha256(message.datagram.bytes) else {
            return drop(.changedRequest, message.datagram, session: message.session.id)
        }
        counters.responsesRepeated += 1
        return IKEOutcome(datagrams: reply(response.datagrams, to: message.datagram), session: message.session.id)
    }

    /// Seals the answer and says as one delta what the request changed.
    private mutating func answer(_ message: ReceivedMessage, with answer: RequestAnswer, context: IKEContext) -> IKEOutcome {
        let sa = message.sa
        let answer = message.isInCurrentSA ? answer : answer.confined(to: sa)
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: message.header.exchangeType,
            isInitiator: sa.role == .initiator, isResponse: true, messageID: message.header.messageID)
        let protection = MessageProtection(sa.algorithms, keys: sa.sendingKeys, epochShift: sa.epochShift)
        let length = fragmentLength(
            message.session.capabilities, local: message.datagram.local, remote: message.datagram.remote)
        guard let datagrams = try? protection.seal(answer.payloads, header: header, fragmentLength: length, context: context) else {
            return drop(.unusableKeys, message.datagram, session: message.session.id)
        }
        counters.requestsAnswered += 1
        count(answer.events)
        let digest = message.digest ?? sha256(message.datagram.bytes)
        var handshakes: [HandshakeChange] = []
        if answer.endsIKESA {
            let farewell = Farewell(
                localSPI: sa.localSPI, requestDigest: digest, datagrams: datagrams, local: message.datagram.local,
                remote: message.datagram.remote, session: message.session.id)
            apply(.ended(farewell), at: context.now.instant)
            if context.hasStandby { handshakes.append(.ended(farewell)) }
        }
        let response = CachedResponse(messageID: header.messageID, requestDigest: digest, datagrams: datagrams)
        let answered = SessionChange.answered(localSPI: sa.localSPI, response: response)
        let changes: [SessionChange]
        var events = answer.events
        if let reason = answer.endsSession {
            changes = [context.removal(reason)]
            forget(message.session.id)
        } else {
            // A request of ours may have gone with an old IKE SA: the window could be free now.
            releaseWaiting(message.session.id, at: context.now.instant)
            let moves = movement(message)
            changes = moves.changes + [answered] + answer.changes
            events = moves.events + events
        }
        return IKEOutcome(
            deltas: [SessionDelta(session: message.session.id, changes: changes)], datagrams: reply(datagrams, to: message.datagram),
            events: events, session: message.session.id, handshakes: handshakes)
    }

    /// What waits for an answer goes on to where the peer is now (RFC 4555 §3.5), and does not wait for its turn.
    private mutating func repeatingWhatMoved(_ outcome: IKEOutcome, session: Session) -> IKEOutcome {
        guard session.hasPendingRequest, let changes = outcome.deltas.first?.changes,
            let after = (try? session.applying(changes)) ?? nil, after.ikePath.remote != session.ikePath.remote
        else { return outcome }
        var outcome = outcome
        outcome.datagrams += after.ikeSAs.flatMap(\.pendingRequests).flatMap { send($0.datagrams, in: after) }
        return outcome
    }

    /// RFC 7296 §2.23: a peer behind a NAT is where its last authenticated request came from; who is behind a NAT himself does not
    /// follow, for a third party could lead him astray. With MOBIKE the peer says when it has moved (RFC 4555 §3.8).
    ///
    /// Whoever comes to our own address instead of the other node's is served here from now on.
    mutating func movement(_ message: ReceivedMessage) -> (changes: [SessionChange], events: [IKEEvent]) {
        let session = message.session
        let datagram = message.datagram
        guard !session.capabilities.contains(.mobike) else { return ([], []) }
        let hasMoved = session.remoteBehindNAT && !session.localBehindNAT && datagram.remote != session.remote
        guard hasMoved || nodeAddresses.counterpart(of: session.local.address) == datagram.local.address else { return ([], []) }
        let remote = hasMoved ? datagram.remote : session.remote
        guard hasMoved else {
            return (
                [.moved(local: datagram.local, remote: remote)],
                [.relocated(session: session.id, local: datagram.local, remote: remote)]
            )
        }
        counters.peersMoved += 1
        return ([.moved(local: datagram.local, remote: remote)], [.moved(session: session.id, from: session.remote, to: remote)])
    }
}

/// A message that belongs to an IKE SA, by its header.
struct ReceivedMessage {
    var datagram: Datagram
    var header: IKEHeader
    var session: Session
    var sa: IKESA
    /// Known once it is opened.
    var digest: [UInt8]?

    /// It did not come in an IKE SA that was replaced, or that lost against another.
    var isInCurrentSA: Bool { sa.localSPI == session.ikeSA.localSPI }
}

/// What a request leads to.
struct RequestAnswer {
    var payloads: [Payload] = []
    var changes: [SessionChange] = []
    var events: [IKEEvent] = []
    /// Why the session is over, if it is.
    var endsSession: String?
    /// The IKE SA of the request is gone after it.
    var endsIKESA = false

    static func refusal(_ refusal: ChildRefusal, session: SessionID) -> RequestAnswer {
        RequestAnswer(payloads: [refusal.payload], events: [.childRefused(session: session, reason: refusal)])
    }

    static func fatal(_ payload: Payload, reason: String) -> RequestAnswer {
        RequestAnswer(payloads: [payload], endsSession: reason, endsIKESA: true)
    }

    /// What ends an IKE SA that has a successor ends nothing else: the CHILD SAs are the successor's (RFC 7296 §2.8).
    func confined(to sa: IKESA) -> RequestAnswer {
        endsSession == nil
            ? self : RequestAnswer(payloads: payloads, changes: [.ikeSARemoved(localSPI: sa.localSPI)], endsIKESA: true)
    }
}

extension OpenFailure {
    var dropReason: IKEDropReason {
        switch self {
        case .malformedOutside: .malformed
        case .unprotected: .unprotected
        case .integrity: .integrity
        case .unusableKeys: .unusableKeys
        case .malformedInside, .unknownCriticalPayload: .malformedResponse
        }
    }
}

extension IKEEngine {
    /// Counts what events say, so that no place counts twice.
    mutating func count(_ events: [IKEEvent]) {
        for event in events {
            switch event {
            case .authenticated: counters.authenticated += 1
            case .authenticationFailed: counters.authenticationFailures += 1
            case .noProposalChosen: counters.noProposalChosen += 1
            case .invalidKeyExchange: counters.invalidKeyExchanges += 1
            case .cookieRequired: counters.cookiesRequired += 1
            case .childAdded: counters.childrenCreated += 1
            case .childRekeyed: counters.childrenRekeyed += 1
            case .childRefused: counters.childrenRefused += 1
            case .poolsExhausted: counters.poolsExhausted += 1
            case .ikeRekeyed: counters.ikeSAsRekeyed += 1
            case .replaced: counters.sessionsReplaced += 1
            case .deletedByPeer: counters.deletedByPeer += 1
            case .peerDead: counters.peersDead += 1
            case .halfOpenExpired: counters.halfOpenExpired += 1
            case .initiationFailed: counters.initiationsFailed += 1
            case .requestRefused: counters.requestsRefused += 1
            case .redirected: counters.redirectsFollowed += 1
            case .redirectIgnored: counters.redirectsIgnored += 1
            case .unreachable: counters.peersUnreachable += 1
            case .peerRedirected: counters.newPeersRedirected += 1
            case .redirectAnswered: counters.sessionsRedirected += 1
            case .handedOn: counters.sessionsHandedOn += 1
            case .synchronized, .contextTransferMessage: break
            case .childDeleted, .terminated, .moved, .relocated, .stayed, .dropped, .successorWanted, .successorIncomplete: break
            }
        }
    }
}
