import Cryptography
import IKEWire
public import Session

/// What we ask of a peer in an IKE SA that stands (RFC 7296 §1.3, §1.4, §2.3).
extension IKEEngine {
    /// Asks the peer whether it lives (RFC 7296 §2.4). Nothing happens while another request of ours is under way.
    public mutating func checkLiveness(session id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let session = table[id] else { return .nothing }
        return want(.liveness, in: session, table: table, context: context)
    }

    /// Deletes the IKE SA and all that belongs to it. The session is removed when the peer has answered or is given up.
    ///
    /// - Parameter force: remove it at once; the peer is told, but its answer is not awaited.
    public mutating func terminate(
        session id: SessionID, force: Bool = false, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id] else { return .nothing }
        if force { return removeNow(session, table: table, context: context) }
        return want(.deleteIKESA, in: session, table: table, context: context)
    }

    /// Deletes a CHILD SA, named by our inbound SPI; it goes when the peer has answered.
    public mutating func terminate(
        child inboundSPI: UInt32, in id: SessionID, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id] else { return .nothing }
        return want(.deleteChildSA(inboundSPI), in: session, table: table, context: context)
    }

    /// Replaces the IKE SA by one with fresh keys (RFC 7296 §1.3.2).
    public mutating func rekey(session id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let session = table[id] else { return .nothing }
        return want(.rekeyIKESA(group: nil), in: session, table: table, context: context)
    }

    /// Replaces a CHILD SA, named by our inbound SPI, by one with fresh keys (RFC 7296 §1.3.3).
    public mutating func rekey(
        child inboundSPI: UInt32, in id: SessionID, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id], let child = session.child(inboundSPI: inboundSPI) else { return .nothing }
        let wish = Wish.createChildSA(ChildWish(name: child.name, replacing: inboundSPI))
        return want(wish, in: session, table: table, context: context)
    }

    /// Asks for a further CHILD SA of a configured child (RFC 7296 §1.3.1).
    ///
    /// - Parameter trigger: the packet that wants it, if one does.
    public mutating func addChild(
        named name: String, trigger: PacketSelector? = nil, in id: SessionID, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id] else { return .nothing }
        return want(.createChildSA(ChildWish(name: name, trigger: trigger)), in: session, table: table, context: context)
    }

    /// Seals what is wanted in the current IKE SA, and says as a delta that it is under way.
    mutating func request(_ wish: Wish, in session: Session, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let draft = draft(wish, in: session, table: table, context: context) else { return .nothing }
        var outcome = request(draft, in: session, sa: session.ikeSA, context: context)
        if wish == .redirect { noteSent(&outcome, in: session, context: context) }
        return outcome
    }

    mutating func request(_ draft: RequestDraft, in session: Session, sa: IKESA, context: IKEContext) -> IKEOutcome {
        guard sa.freeWindow > 0, let bytes = seal(draft, in: session, sa: sa, context: context) else { return .nothing }
        let pending = PendingRequest(messageID: sa.nextSendID, purpose: draft.purpose, datagrams: bytes)
        counters.requestsSent += 1
        awaitResponse(session.id, sa.localSPI, pending.messageID, repeats: 0, from: context.now.instant)
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [.requested(localSPI: sa.localSPI, request: pending)])],
            datagrams: send(bytes, in: session), session: session.id)
    }

    private func draft(_ wish: Wish, in session: Session, table: SessionTable, context: IKEContext) -> RequestDraft? {
        switch wish {
        case .liveness: draftLiveness(in: session)
        case .move: draftMove(in: session, context: context)
        case .announceAddresses: draftAddresses(in: session)
        case .redirect: draftRedirect(in: session, context: context)
        case .contextTransferMessage(let message): RequestDraft(purpose: .announce, payloads: [.notify(.cxtpMessage, message)])
        case .deleteIKESA: .deleteIKESA
        case .deleteChildSA(let spi): .deleteChildSA(spi)
        case .createChildSA(let wish): draftChild(wish, in: session, table: table, context: context)
        case .syncReplayCounters(let increment): draftReplayCounters(increment, in: session)
        case .rekeyIKESA(let group): draftRekey(group: group, in: session, table: table, context: context)
        }
    }

    func seal(_ draft: RequestDraft, in session: Session, sa: IKESA, context: IKEContext) -> [[UInt8]]? {
        // An IKE SA ends before its message IDs do (RFC 7296 §2.2).
        guard sa.nextSendID < .max else { return nil }
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: draft.exchange,
            isInitiator: sa.role == .initiator, isResponse: false, messageID: sa.nextSendID)
        let length = fragmentLength(session.capabilities, local: session.ikePath.local, remote: session.ikePath.remote)
        return try? MessageProtection(sa.algorithms, keys: sa.sendingKeys, epochShift: sa.epochShift).seal(
            draft.payloads, header: header, fragmentLength: length, context: context)
    }

    private mutating func removeNow(_ session: Session, table: SessionTable, context: IKEContext) -> IKEOutcome {
        var outcome = IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [context.removal("terminated")])],
            events: [.terminated(session: session.id)], session: session.id)
        outcome.datagrams = farewell(to: session, context: context)
        forget(session.id)
        return outcome
    }

    /// A DELETE whose answer nobody awaits; with another request under way there is no message ID for it.
    public mutating func farewell(to session: Session, context: IKEContext) -> [Datagram] {
        guard session.ikeSA.pendingRequests.isEmpty, let bytes = seal(.deleteIKESA, in: session, sa: session.ikeSA, context: context) else {
            return []
        }
        return send(bytes, in: session)
    }

    mutating func send(_ messages: [[UInt8]], in session: Session) -> [Datagram] {
        counters.datagramsSent += UInt64(messages.count)
        let path = session.ikePath
        let local = nodeAddresses.here(path.local)
        return messages.map { Datagram(local: local, remote: path.remote, bytes: $0) }
    }
}

/// A request before it is sealed.
struct RequestDraft {
    var purpose: PendingRequest.Purpose
    var exchange = ExchangeType.informational
    var payloads: [Payload] = []

    static let deleteIKESA = RequestDraft(purpose: .deleteIKESA, payloads: [.delete(DeletePayload(protocolID: .ike))])

    static func deleteChildSA(_ spi: UInt32) -> RequestDraft {
        RequestDraft(purpose: .deleteChildSA(spi), payloads: [.delete(DeletePayload(protocolID: .esp, spis: [spi.networkBytes]))])
    }
}
