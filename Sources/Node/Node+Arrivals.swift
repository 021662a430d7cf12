import Context
import Control
import Cryptography
import IKE
import Pair
import Session

/// Sessions that come from another gateway: silent from the context's PUT on, until the giver says that the client is here.
extension Node {
    /// CT-Req on an operator's behalf (RFC 4067 §2.1.2): without a token, which the client did not give us.
    mutating func fetch(_ name: String, from gateway: GatewayConfiguration, token: RequestToken, now: Now) throws(TransferRefusal) {
        guard let mobileNode = IPAddress(name) else {
            throw .because("\(name) is no address: a session elsewhere is named by its client's address", .unknownNode)
        }
        guard transfers.arrivals[mobileNode] == nil, transfers.departures[mobileNode] == nil else {
            throw .because("another transfer of \(name) is under way", .busy)
        }
        guard transfers.hasRoom(from: gateway.name) else { throw .because("too many transfers are under way", .busy) }
        let deadline = now.instant + TransferWork.settleTime + TransferWork.offerTime
        transfers.arrivals[mobileNode] = Arrival(
            token: token, gateway: gateway.name, began: now.instant, stage: .requested, deadline: deadline)
        counters.transfersBegun += 1
        let request = ContextRequest(
            mobileNode: mobileNode, sequenceNumber: random.uint32(), token: 0, blocks: [ContextDataBlock(.ipsecContext)])
        send(.request(request), to: gateway.name)
    }

    mutating func requestRefused(_ reply: DataReply, now: Now) {
        let status = reply.statuses.first?.status ?? .malformed
        drop(reply.mobileNode, because: "\(transfers.arrivals[reply.mobileNode]?.gateway ?? "") refused: \(status.text)", now: now)
    }

    // MARK: - CTD

    mutating func contextReceived(_ data: ContextData, from gateway: String, now: Now) {
        if let block = data.blocks.first(where: { $0.profile == .ipsecCounters }) {
            return lastWordReceived(data, block, from: gateway, now: now)
        }
        do throws(TransferRefusal) {
            guard isOwner, handover == nil else { throw .because("this node is \(roles.role.name)", .notActive) }
            guard data.blocks.contains(where: { $0.profile == .ipsecContext }) else { throw .because("no context", .unknownProfile) }
            try expect(data.mobileNode, from: gateway, now: now)
            guard let bytes = try assemble(data, now: now) else { return }
            try install(bytes, of: data, from: gateway, now: now)
        } catch {
            counters.transfersRefused += 1
            let fields: [LogLine.Field] = [
                .init("gateway", gateway), .init("client", "\(data.mobileNode)"), .init("reason", error.text),
            ]
            log(.warning, "refused the context of another gateway's session", fields)
            if transfers.arrivals[data.mobileNode]?.gateway == gateway { drop(data.mobileNode, because: error.text, now: now) }
            send(refusal(data.mobileNode, .ipsecContext, error.status), to: gateway)
        }
    }

    /// One transfer of a client at a time (RFC 4067 §2.5).
    private mutating func expect(_ mobileNode: IPAddress, from gateway: String, now: Now) throws(TransferRefusal) {
        guard transfers.departures[mobileNode] == nil else { throw .because("we are giving it away", .busy) }
        if let arrival = transfers.arrivals[mobileNode] {
            guard arrival.gateway == gateway else { throw .because("it is coming from \(arrival.gateway)", .busy) }
            return
        }
        guard transfers.hasRoom(from: gateway) else { throw .because("too many transfers are under way", .busy) }
        transfers.arrivals[mobileNode] = Arrival(gateway: gateway, began: now.instant, deadline: now.instant + TransferWork.offerTime)
    }

    private mutating func assemble(_ data: ContextData, now: Now) throws(TransferRefusal) -> [UInt8]? {
        guard var arrival = transfers.arrivals[data.mobileNode] else { return nil }
        var whole: [UInt8]?
        do throws(CXTPError) {
            for block in data.blocks { whole = try arrival.assembler.add(block) ?? whole }
        } catch .badChecksum {
            throw .because("the context arrived damaged", .badChecksum)
        } catch {
            throw .because("the context's parts do not fit: \(error)", .malformed)
        }
        if arrival.stage == .requested {
            arrival.stage = .collecting
            arrival.deadline = now.instant + TransferWork.offerTime
        }
        transfers.arrivals[data.mobileNode] = arrival
        guard let whole else { return nil }
        // A second context takes the place of the first.
        if let old = arrival.session, table[old] != nil { forget(old, because: "\(arrival.gateway) sent a newer context", now: now) }
        return whole
    }

    /// The PUT of the paper. Nothing of the session is sent from here yet.
    private mutating func install(_ bytes: [UInt8], of data: ContextData, from gateway: String, now: Now) throws(TransferRefusal) {
        let mobileNode = data.mobileNode
        let session: Session
        do {
            let context = try SessionContext(parsing: bytes)
            guard context.session.mobileNode == mobileNode else { throw ContextError.invalid("the client's address") }
            let adoption = try adoption(of: context, local: nil, now: now)
            var adopted = adoption.session
            adopted.isArriving = true
            // It speaks to the giver until we tell it where we are.
            if adoption.hasMoved, adopted.followsWhoSpeaks { adopted.local = context.session.local }
            session = adopted
        } catch let error as ContextError {
            throw .because("\(error)", .malformed)
        } catch let error as AdoptionRefusal {
            throw .because("\(error)", TransferStatus(error))
        } catch {
            throw .because("\(error)", .notInstallable)
        }
        guard let delta = ike.adopt(session, table: table, context: context(now)).deltas.first, let applied = applyOwn(delta, now: now)
        else {
            throw .because("the session does not fit into the table", .notInstallable)
        }
        let id = delta.session
        transfers.arrivals[mobileNode]?.stage = .held
        transfers.arrivals[mobileNode]?.session = id
        transfers.arrivals[mobileNode]?.deadline = now.instant + TransferWork.heldTime
        transfers.arrivals[mobileNode]?.contextBytes = bytes.count
        transfers.arrivals[mobileNode]?.installedAt = now.instant
        let reply = DataReply(isSuccess: true, mobileNode: mobileNode, statuses: [ProfileStatus(.ipsecContext, .success)])
        // Whoever takes over here must have it before the client is told to come (law 2).
        release(commands: plan.commands(for: applied), datagrams: [], messages: [.init(to: gateway, .dataReply(reply))], now: now)
        log(.info, "session \(id) stands ready for \(gateway)", [.init("client", "\(mobileNode)")])
    }

    // MARK: - The last word

    /// The client is here: the giver is silent from now on, and we speak.
    private mutating func lastWordReceived(_ data: ContextData, _ block: ContextDataBlock, from gateway: String, now: Now) {
        guard let arrival = transfers.arrivals[data.mobileNode], arrival.gateway == gateway, let id = arrival.session,
            let session = table[id], let last = try? ContextCounters(block)
        else {
            counters.transferMessagesUnexpected += 1
            return send(refusal(data.mobileNode, .ipsecCounters, .unknownNode), to: gateway)
        }
        var changes: [SessionChange] = [.arrived(nextSendID: last.nextSendID, nextReceiveID: last.nextReceiveID)]
        for sa in last.inbound where session.child(inboundSPI: sa.spi).map({ $0.inboundTop < sa.top }) ?? false {
            changes.append(.inboundAdvanced(inboundSPI: sa.spi, top: sa.top))
        }
        let reply = DataReply(isSuccess: true, mobileNode: data.mobileNode, statuses: [ProfileStatus(.ipsecCounters, .success)])
        arrive(data.mobileNode, changes, messages: [.init(to: gateway, .dataReply(reply))], now: now)
    }

    private mutating func arrive(_ mobileNode: IPAddress, _ changes: [SessionChange], messages: [TransferOutput], now: Now) {
        guard let arrival = transfers.arrivals[mobileNode], let id = arrival.session, let before = table[id],
            let applied = applyOwn(SessionDelta(session: id, changes: changes), now: now), let session = applied.after
        else { return }
        transfers.arrivals[mobileNode] = nil
        counters.transfersTaken += 1
        // The replay windows of SAs that stand already are set by an explicit command.
        let windows = session.children.compactMap { child -> DataPlaneCommand? in
            guard let known = before.child(inboundSPI: child.inboundSPI), known.inboundTop < child.inboundTop else { return nil }
            return .advanceInbound(inboundSPI: child.inboundSPI, top: child.inboundTop)
        }
        release(
            commands: plan.commands(for: applied) + windows, datagrams: [], hooks: hookCalls(for: applied), messages: messages, now: now)
        ike.arrived(session: id, table: table, context: context(now))
        if session.followsWhoSpeaks, let local = newLocalAddress(of: session) { tellMove(of: session, to: local, now: now) }
        log(.notice, "session \(id) came from \(arrival.gateway)", [.init("client", "\(mobileNode)")])
        note(.transfer, "session \(id) of \(mobileNode) came from \(arrival.gateway)", now: now)
        answer(arrival, .done, "", now: now)
        for datagram in arrival.parked { commit(ike.receive(datagram, table: table, context: context(now)), now: now) }
    }

    // MARK: - Without the giver

    mutating func doubt(_ mobileNode: IPAddress, now: Now) {
        guard var arrival = transfers.arrivals[mobileNode], arrival.stage == .held else { return }
        arrival.stage = .inDoubt
        arrival.deadline = now.instant + TransferWork.doubtTime
        let parked = arrival.parked
        arrival.parked = []
        transfers.arrivals[mobileNode] = arrival
        log(
            .warning, "\(arrival.gateway) says nothing of a session that was to come; its client decides",
            [.init("client", "\(mobileNode)")])
        for datagram in parked { receivedForArrival(datagram, mobileNode, now: now) }
    }

    /// Whether a datagram belongs to a session that is arriving; then it was dealt with.
    mutating func isForArrival(_ datagram: Datagram, now: Now) -> Bool {
        guard !transfers.arrivals.isEmpty, let id = ike.session(of: datagram, table: table), table[id]?.isArriving == true,
            let found = transfers.arrival(of: id)
        else { return false }
        receivedForArrival(datagram, found.mobileNode, now: now)
        return true
    }

    /// Until the giver has spoken, what the client says to us waits. Without a giver, an authentic request of the client's shows that it is
    /// here: it sends to one gateway at a time.
    private mutating func receivedForArrival(_ datagram: Datagram, _ mobileNode: IPAddress, now: Now) {
        guard let arrival = transfers.arrivals[mobileNode], let id = arrival.session, let before = table[id] else { return }
        guard arrival.stage == .inDoubt else {
            if arrival.parked.count < TransferWork.parkedMax { transfers.arrivals[mobileNode]?.parked.append(datagram) }
            return
        }
        let outcome = ike.receive(datagram, table: table, context: context(now))
        let isAuthentic = outcome.deltas.contains { delta in
            delta.session == id && delta.changes.contains { if case .answered = $0 { true } else { false } }
        }
        guard isAuthentic else { return commit(outcome, now: now) }
        arrive(
            mobileNode, [.arrived(nextSendID: before.ikeSA.nextSendID, nextReceiveID: before.ikeSA.nextReceiveID)], messages: [], now: now)
        commit(outcome, now: now)
    }

    /// The data plane took ESP from the client of a session that is arriving.
    mutating func trafficArrived(for session: Session, now: Now) {
        guard let found = transfers.arrival(of: session.id), found.arrival.stage == .inDoubt else { return }
        let here = SessionChange.arrived(nextSendID: session.ikeSA.nextSendID, nextReceiveID: session.ikeSA.nextReceiveID)
        arrive(found.mobileNode, [here], messages: [], now: now)
    }

    // MARK: - Ends

    mutating func workOnArrival(_ mobileNode: IPAddress, now: Now) {
        guard let arrival = transfers.arrivals[mobileNode] else { return }
        if let id = arrival.session, table[id] == nil { return drop(mobileNode, because: "the session ended", now: now) }
        guard now.instant >= arrival.deadline else { return }
        switch arrival.stage {
        case .requested, .collecting:
            send(.cancel(mobileNode), to: arrival.gateway)
            drop(mobileNode, because: "\(arrival.gateway) does not answer", now: now)
        case .held: doubt(mobileNode, now: now)
        case .inDoubt: drop(mobileNode, because: "the client did not come", now: now)
        }
    }

    /// Nothing came of it: the copy goes, and nobody is told.
    mutating func drop(_ mobileNode: IPAddress, because reason: String, now: Now) {
        guard let arrival = transfers.arrivals.removeValue(forKey: mobileNode) else { return }
        counters.transfersFailed += 1
        if let id = arrival.session, table[id]?.isArriving == true { forget(id, because: reason, now: now) }
        log(.warning, "a session of \(arrival.gateway) does not come", [.init("client", "\(mobileNode)"), .init("reason", reason)])
        note(.transfer, "the session of \(mobileNode) does not come from \(arrival.gateway): \(reason)", now: now)
        answer(arrival, .failed, reason, now: now)
    }

    private mutating func forget(_ id: SessionID, because reason: String, now: Now) {
        let removed = SessionDelta(session: id, changes: [.removed(reason: reason, at: now.wallMilliseconds)])
        guard let applied = applyOwn(removed, now: now) else { return }
        release(commands: plan.commands(for: applied), datagrams: [], now: now)
    }

    /// A new owner of the pair found a copy whose giver it has not heard of.
    mutating func adoptArrival(_ session: Session, now: Now) {
        guard transfers.arrival(of: session.id) == nil, transfers.arrivals.count < TransferWork.countMax else { return }
        transfers.arrivals[session.mobileNode] = Arrival(
            gateway: "the other gateway", began: now.instant, stage: .inDoubt, deadline: now.instant + TransferWork.doubtTime,
            session: session.id)
    }

    mutating func answer(_ arrival: Arrival, _ outcome: TransferSummary.Outcome, _ reason: String, now: Now?) {
        guard let token = arrival.token else { return }
        var summary = TransferSummary(
            outcome: outcome, reason: reason, sessionID: arrival.session?.rawValue ?? 0, gateway: arrival.gateway)
        summary.contextBytes = arrival.contextBytes
        if let installedAt = arrival.installedAt {
            summary.installedMicroseconds = (installedAt - arrival.began).inNanoseconds / 1000
        }
        if let now { summary.totalMicroseconds = (now.instant - arrival.began).inNanoseconds / 1000 }
        respond(token, .transfer(summary))
    }
}

extension Session {
    /// The client was not told to come: it learns of our address when we speak from there (RFC 4555 §3.5).
    fileprivate var followsWhoSpeaks: Bool {
        originalRole == .responder && capabilities.contains(.mobike) && !capabilities.contains(.contextTransfer)
    }
}
