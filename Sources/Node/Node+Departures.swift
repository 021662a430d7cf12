import Context
import Control
import Cryptography
import IKE
import Pair
import Session

/// Sessions that go to another gateway: CTD, its CTDR, REDIRECT, the client's answer, the last word (the paper's section III.D).
extension Node {
    /// Begins to give a session away.
    mutating func depart(
        _ session: Session, to gateway: GatewayConfiguration, transfer: UInt32, token: RequestToken?, isAskedByClient: Bool = false,
        now: Now
    ) throws(TransferRefusal) {
        let mobileNode = session.mobileNode
        guard !session.isArriving, transfers.departures[mobileNode] == nil, transfers.arrivals[mobileNode] == nil else {
            throw .because("another transfer of the session is under way", .busy)
        }
        guard transfers.departures.count < TransferWork.countMax else { throw .because("too many transfers are under way", .busy) }
        var departure = Departure(
            token: token, session: session.id, gateway: gateway, transfer: transfer, began: now.instant,
            settlesUntil: now.instant + TransferWork.settleTime, isAskedByClient: isAskedByClient)
        departure.move = session.move(to: gateway)
        let objection =
            if let move = departure.move {
                ike.objection(toHandingOn: session.id, to: gateway.redirectTo, by: move, table: table, context: context(now))
            } else {
                ike.objection(toRedirecting: session.id, to: gateway.redirectTo, table: table, context: context(now))
            }
        if let objection, departure.move == nil || objection != .isBusy { throw .because(objection.rawValue, .notMoved) }
        counters.transfersBegun += 1
        guard departure.move != nil else {
            departure.stage = .redirecting
            transfers.departures[mobileNode] = departure
            return redirect(mobileNode, contextTransmitted: false, now: now)
        }
        transfers.departures[mobileNode] = departure
        offer(mobileNode, now: now)
    }

    // MARK: - The context

    /// Holds the session still and sends its context, when nothing is under way in it.
    private mutating func offer(_ mobileNode: IPAddress, now: Now) {
        guard var departure = transfers.departures[mobileNode], departure.stage == .settling, let move = departure.move else { return }
        do throws(RedirectObjection) {
            let outcome = try ike.prepareHandingOn(
                session: departure.session, to: departure.gateway.redirectTo, by: move, table: table, context: context(now))
            commit(outcome, now: now)
        } catch .isBusy where now.instant < departure.settlesUntil {
            transfers.departures[mobileNode]?.deadline = now.instant + TransferWork.settlePause
            return
        } catch {
            return fail(mobileNode, because: error.rawValue, tell: false, now: now)
        }
        guard let session = table[departure.session], let messages = contextMessages(of: session, departure, now: now) else {
            return fail(mobileNode, because: "the context is too large", tell: false, now: now)
        }
        departure.stage = .offered
        departure.deadline = now.instant + TransferWork.offerTime
        departure.contextBytes = messages.bytes
        transfers.departures[mobileNode] = departure
        for message in messages.messages { send(message, to: departure.gateway.name) }
    }

    /// The session as the taker is to go on with it: after the REDIRECT, if there is one, whose message ID is used up then.
    private func contextMessages(of session: Session, _ departure: Departure, now: Now) -> (messages: [CXTPMessage], bytes: Int)? {
        var given = session
        given.redirects.order = nil
        if departure.move == .redirect { given.ikeSA.nextSendID += 1 }
        // The taker leaves room for what this pair may use until the client has answered, a takeover here included.
        let bytes = self.context(of: given, kind: .snapshot, now: now).encode()
        guard let blocks = try? ContextDataBlock.blocks(of: bytes, transfer: departure.transfer) else { return nil }
        let key = TokenKey(
            algorithm: TokenAlgorithm.hmacSHA256.rawValue,
            key: tokenKey(of: session.ikeSA, sequenceNumber: departure.transfer))
        let elapsed = UInt32(clamping: Int64((now.instant - departure.began).inMilliseconds))
        let starts = Array(stride(from: 0, to: blocks.count, by: ContextDataBlock.perMessage))
        let messages = starts.map { start in
            let end = min(start + ContextDataBlock.perMessage, blocks.count)
            return CXTPMessage.data(
                ContextData(
                    wantsReply: end == blocks.count, elapsedMilliseconds: elapsed, mobileNode: session.mobileNode, tokenKey: key,
                    blocks: Array(blocks[start..<end])))
        }
        return (messages, bytes.count)
    }

    mutating func offerAnswered(_ reply: DataReply, now: Now) {
        let mobileNode = reply.mobileNode
        guard let gateway = transfers.departures[mobileNode]?.gateway.name else { return }
        guard reply.isSuccess else {
            let status = reply.statuses.first { $0.status != .success }?.status ?? .malformed
            transfers.departures[mobileNode]?.refusal = status
            // Should the reply be to something else, there may be a copy all the same.
            return fail(mobileNode, because: "\(gateway) refused: \(status.text)", tell: true, now: now)
        }
        transfers.departures[mobileNode]?.installedAt = now.instant
        // The client is told by the other gateway, once that may speak.
        guard transfers.departures[mobileNode]?.move == .redirect else { return handOver(mobileNode, now: now) }
        transfers.departures[mobileNode]?.stage = .moving
        transfers.departures[mobileNode]?.deadline = nil
        redirect(mobileNode, contextTransmitted: true, now: now)
    }

    // MARK: - The client

    private mutating func redirect(_ mobileNode: IPAddress, contextTransmitted: Bool, now: Now) {
        guard let departure = transfers.departures[mobileNode] else { return }
        do throws(RedirectObjection) {
            let outcome = try ike.redirect(
                session: departure.session, to: departure.gateway.redirectTo, contextTransmitted: contextTransmitted, table: table,
                context: context(now))
            commit(outcome, now: now)
        } catch {
            fail(mobileNode, because: error.rawValue, tell: contextTransmitted, now: now)
        }
    }

    mutating func redirectAnswered(_ mobileNode: IPAddress, accepted: Bool, now: Now) {
        guard let departure = transfers.departures[mobileNode] else { return }
        if departure.stage == .redirecting { return close(mobileNode, .done, "", method: .redirect, now: now) }
        guard departure.stage == .moving else { return }
        guard accepted, table[departure.session] != nil else {
            guard table[departure.session]?.redirects.order != nil else {
                return fail(mobileNode, because: "the client refuses to move", tell: true, now: now)
            }
            // It knows REDIRECT and nothing of the context: it goes by itself, and the copy there is of no use.
            send(.cancel(mobileNode), to: departure.gateway.name)
            return close(mobileNode, .done, "", method: .redirect, now: now)
        }
        handOver(mobileNode, now: now)
    }

    /// From here on this gateway is silent for the session, whatever becomes of the message.
    private mutating func handOver(_ mobileNode: IPAddress, now: Now) {
        guard let departure = transfers.departures[mobileNode], let session = table[departure.session] else { return }
        let last = ContextCounters(
            transfer: departure.transfer, nextSendID: session.ikeSA.nextSendID, nextReceiveID: session.ikeSA.nextReceiveID,
            inbound: session.children.prefix(ContextCounters.inboundMax).map { .init(spi: $0.inboundSPI, top: $0.inboundTop) })
        let message = ContextData(
            wantsReply: true, elapsedMilliseconds: UInt32(clamping: Int64((now.instant - departure.began).inMilliseconds)),
            mobileNode: mobileNode, blocks: [last.block])
        transfers.departures[mobileNode]?.stage = .handedOver
        transfers.departures[mobileNode]?.deadline = now.instant + TransferWork.confirmTime
        transfers.departures[mobileNode]?.settlesUntil = now.instant + TransferWork.repeatTime
        transfers.departures[mobileNode]?.lastWord = message
        // The standby is silent for it too when the taker hears of it (law 2).
        detach(session, answer: nil, messages: [TransferOutput(to: departure.gateway.name, .data(message))], now: now)
    }

    // MARK: - Ends

    mutating func workOnDeparture(_ mobileNode: IPAddress, now: Now) {
        guard let departure = transfers.departures[mobileNode] else { return }
        guard departure.stage == .handedOver || table[departure.session] != nil else { return vanished(mobileNode, departure, now: now) }
        guard let deadline = departure.deadline, now.instant >= deadline else { return }
        switch departure.stage {
        case .settling: offer(mobileNode, now: now)
        case .offered: fail(mobileNode, because: "\(departure.gateway.name) does not answer", tell: true, now: now)
        case .handedOver: confirmationMissing(mobileNode, departure, now: now)
        case .moving, .redirecting: break
        }
    }

    /// A client that was redirected speaks to the other gateway by itself. One that is to follow hears nothing before the last word is
    /// there: it is repeated, over another link if need be.
    private mutating func confirmationMissing(_ mobileNode: IPAddress, _ departure: Departure, now: Now) {
        guard departure.move == .mobike, now.instant < departure.settlesUntil, let lastWord = departure.lastWord else {
            return finish(mobileNode, unconfirmed: "\(departure.gateway.name) has not confirmed it", now: now)
        }
        transfers.departures[mobileNode]?.deadline = now.instant + TransferWork.confirmTime
        // Not before the session can no longer come back from our disk.
        guard !state.isOpen || state.hasForgotten(departure.session) else { return }
        send(.data(lastWord), to: departure.gateway.name)
    }

    private mutating func vanished(_ mobileNode: IPAddress, _ departure: Departure, now: Now) {
        switch departure.stage {
        case .moving:
            // Whether it went nobody here knows: the other gateway keeps the copy, silent, until the client speaks to it or time is over.
            let reason = "the client does not answer; if it went, \(departure.gateway.name) serves it"
            close(mobileNode, .failed, reason, now: now)
        case .settling, .offered, .redirecting, .handedOver:
            fail(mobileNode, because: "the session ended", tell: departure.stage == .offered, now: now)
        }
    }

    /// The session stays here, as it was.
    mutating func fail(_ mobileNode: IPAddress, because reason: String, tell: Bool, now: Now) {
        guard let departure = transfers.departures[mobileNode] else { return }
        if tell { send(.cancel(mobileNode), to: departure.gateway.name) }
        commit(ike.cancelHandingOn(session: departure.session, table: table, context: context(now)), now: now)
        close(mobileNode, .failed, reason, now: now)
    }

    mutating func finish(_ mobileNode: IPAddress, unconfirmed: String = "", now: Now) {
        close(mobileNode, .done, unconfirmed, now: now)
    }

    private mutating func close(
        _ mobileNode: IPAddress, _ outcome: TransferSummary.Outcome, _ reason: String, method: TransferSummary.Method? = nil, now: Now
    ) {
        guard let departure = transfers.departures.removeValue(forKey: mobileNode) else { return }
        let method = method ?? (departure.move == .mobike ? .mobike : .context)
        if outcome == .done { counters.transfersGiven += 1 } else { counters.transfersFailed += 1 }
        let what = outcome == .done ? "went to" : "stays, and was to go to"
        let why = reason.isEmpty ? "" : ": \(reason)"
        log(outcome == .done ? .notice : .warning, "session \(departure.session) \(what) \(departure.gateway.name)\(why)")
        note(.transfer, "session \(departure.session) \(what) \(departure.gateway.name)\(why)", now: now)
        answer(departure, outcome, reason, method: method, now: now)
        if departure.isAskedByClient, outcome != .done { tell(departure.session, departure.refusal, now: now) }
    }

    mutating func answer(
        _ departure: Departure, _ outcome: TransferSummary.Outcome, _ reason: String, method: TransferSummary.Method = .context, now: Now?
    ) {
        guard let token = departure.token else { return }
        var summary = TransferSummary(
            outcome: outcome, reason: reason, sessionID: departure.session.rawValue, gateway: departure.gateway.name, method: method)
        summary.contextBytes = departure.contextBytes
        if let installedAt = departure.installedAt {
            summary.installedMicroseconds = (installedAt - departure.began).inNanoseconds / 1000
        }
        if let now { summary.totalMicroseconds = (now.instant - departure.began).inNanoseconds / 1000 }
        respond(token, .transfer(summary))
    }

    // MARK: - On request (RFC 4067 §2.1.2)

    /// CT-Req: another gateway asks for a session, because the client's token allows it, or our operator does.
    mutating func contextRequested(_ request: ContextRequest, by gateway: GatewayConfiguration, now: Now) {
        do throws(TransferRefusal) {
            guard transfers.requestsOfGateways.take(at: now.instant) else { throw .because("too many requests", .busy) }
            guard isOwner, handover == nil else { throw .because("this node is \(roles.role.name)", .notActive) }
            guard request.blocks.isEmpty || request.blocks.contains(where: { $0.profile == .ipsecContext }) else {
                throw .because("no such feature profile type", .unknownProfile)
            }
            guard let session = session(of: request.mobileNode), session.originalRole == .responder else {
                // Who may not ask does not learn whom we serve.
                throw .because("no such session", gateway.mayRequest ? .unknownNode : .unauthorized)
            }
            guard isAllowed(request, of: session, by: gateway) else { throw .because("the token is wrong", .unauthorized) }
            try depart(session, to: gateway, transfer: request.sequenceNumber, token: nil, now: now)
        } catch {
            counters.transfersRefused += 1
            let fields: [LogLine.Field] = [.init("client", "\(request.mobileNode)"), .init("reason", error.text)]
            log(.warning, "\(gateway.name) asked for a session and does not get it", fields)
            send(refusal(request.mobileNode, .ipsecContext, error.status), to: gateway.name)
        }
    }

    /// RFC 4067 §6.3: the token is checked before anything else is done. Without one (§2.5.6) it is up to the operator.
    private func isAllowed(_ request: ContextRequest, of session: Session, by gateway: GatewayConfiguration) -> Bool {
        guard request.token != 0 else { return gateway.mayRequest }
        let key = tokenKey(of: session.ikeSA, sequenceNumber: request.sequenceNumber)
        return TokenAlgorithm.hmacSHA256.verify(
            request.token, key: key, mobileNode: request.mobileNode, sequenceNumber: request.sequenceNumber, blocks: request.blocks)
    }

    private func session(of mobileNode: IPAddress) -> Session? {
        if let session = table.session(virtualAddress: mobileNode) { return session }
        let found = table.sessions.values.filter { $0.mobileNode == mobileNode }
        return found.count == 1 ? found.first : nil
    }

    func refusal(_ mobileNode: IPAddress, _ profile: FeatureProfileType, _ status: TransferStatus) -> CXTPMessage {
        .dataReply(DataReply(isSuccess: false, mobileNode: mobileNode, statuses: [ProfileStatus(profile, status)]))
    }
}

extension Session {
    /// How its client comes to another gateway with its context; `nil` if it has to authenticate there.
    func move(to gateway: GatewayConfiguration) -> ContextMove? {
        if capabilities.contains(.contextTransfer) { return .redirect }
        guard case .address = gateway.redirectTo, originalRole == .responder else { return nil }
        return switch (gateway.mobike, mobility) {
        case (.auto, .movable), (.always, .movable), (.always, .behindNAT): .mobike
        case (.never, _), (_, .unable), (.auto, .behindNAT): nil
        }
    }
}
