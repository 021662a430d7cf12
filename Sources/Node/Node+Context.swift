import Context
import Control
import IKE
import Pair
import Session

/// The paper's GET and PUT: a session leaves for another gateway, or comes from one.
extension Node {
    // MARK: - GET

    mutating func get(_ request: GetRequest, token: RequestToken, now: Now) {
        guard isOwner, handover == nil else { return refuse(token, .notActive(roles.role.name)) }
        guard !leases.isRecording else {
            return refuse(token, "not_ready", "a takeover is being written down; try again in a moment")
        }
        let found = find(SessionFilter(name: request.name))
        guard let id = found.first.map(SessionID.init(rawValue:)), let session = table[id] else {
            return refuse(token, "not_found", "no session '\(request.name)'")
        }
        guard found.count == 1 else {
            return refuse(token, "ambiguous", "\(found.count) sessions are '\(request.name)'; name one by its number")
        }
        guard !session.isClosing else { return refuse(token, "not_ready", "the session is being closed") }
        guard !request.detach || state.canForget else {
            let reason = "the state directory cannot be written, and the session would come back from it: \(state.error ?? "")"
            return refuse(token, "not_ready", reason)
        }
        let context = context(of: session, kind: request.detach ? .detached : .snapshot, now: now)
        let document = context.encode()
        guard document.count <= ContextFormat.bytesMax else {
            return refuse(token, "too_large", "the context has \(document.count) octets, \(ContextFormat.bytesMax) are allowed")
        }
        var summary = ContextSummary(context.session, kind: context.kind)
        summary.text = String(decoding: document, as: UTF8.self)
        if request.detach {
            detach(session, answer: HeldResponse(token: token, response: .context(summary)), now: now)
        } else {
            respond(token, .context(summary))
        }
    }

    /// The session as it is known here, with the data plane's last report.
    func context(of session: Session, kind: SessionContext.Kind, now: Now) -> SessionContext {
        var session = session
        var traffic: [UInt32: ChildTraffic] = [:]
        for index in session.children.indices {
            guard let report = self.traffic[session.children[index].inboundSPI] else { continue }
            session.children[index].inboundTop = max(session.children[index].inboundTop, report.inboundTop)
            traffic[report.inboundSPI] = ChildTraffic(
                inboundBytes: report.inboundBytes, inboundPackets: report.inboundPackets, outboundBytes: report.outboundBytes,
                outboundPackets: report.outboundPackets, outboundNext: report.outboundNext)
        }
        // A session of this node's table means nothing elsewhere.
        session.predecessor = nil
        return SessionContext(
            kind: kind, giver: configuration.name, giverNode: configuration.id, epoch: roles.epoch,
            givenAtWallMilliseconds: now.wallMilliseconds, session: session, traffic: traffic)
    }

    /// Nothing here speaks for the session from now on. The operator has the context when the standby has let go of it too (law 2): a
    /// standby that took over in between would otherwise go on with what lives elsewhere.
    ///
    /// - Parameter messages: for the gateway to which its client went; what still comes for the client here is sent on for a moment.
    mutating func detach(_ session: Session, answer: HeldResponse?, messages: [TransferOutput] = [], now: Now) {
        noteTerminated(session)
        ike.release(session: session.id)
        let delta = SessionDelta(session: session.id, changes: [.detached(at: now.wallMilliseconds)])
        guard let applied = applyOwn(delta, now: now) else {
            if let answer { refuse(answer.token, "failed", "the session could not be removed") }
            return
        }
        var (commands, hooks) = (plan.commands(for: applied), hookCalls(for: applied))
        if !messages.isEmpty {
            linger(session, removals: commands, hooks: hooks, now: now)
            (commands, hooks) = ([], [])
        }
        release(commands: commands, datagrams: [], hooks: hooks, now: now)
        releaseWhenForgotten(session.id, messages: messages, responses: answer.map { [$0] } ?? [], now: now)
        if let change = wantedChange(applied) { note(change, events: [], now: now) }
        log(.notice, "session detached", [.init("session", "\(session.id)"), .init("peer", "\(session.authorization.remoteIdentity)")])
        note(.context, "session #\(session.uniqueID) of '\(session.authorization.remoteIdentity)' left this gateway (detached)", now: now)
    }

    /// This node does not own the session any more: whether its successor knows that it was given away, nobody can say.
    mutating func respondLate(_ held: HeldResponse) {
        guard case .context(let summary) = held.response else { return respond(held.token, held.response) }
        if summary.document.isEmpty { return respond(held.token, held.response) }
        refuse(held.token, "not_active", "the other node took over meanwhile and may have the session")
    }

    // MARK: - PUT

    mutating func put(_ request: PutRequest, token: RequestToken, now: Now) {
        do {
            let context = try SessionContext(parsing: Array(request.document.utf8))
            let local = try request.local.map { (text) throws(ContextError) in
                guard let address = IPAddress(text) else { throw .invalid("local") }
                return address
            }
            let adopted = try adopt(context, local: local, now: now)
            let summary = ContextSummary(adopted, kind: context.kind)
            release(commands: [], datagrams: [], responses: [HeldResponse(token: token, response: .context(summary))], now: now)
        } catch let error as ContextError {
            refuse(token, error.code, "\(error)")
        } catch let error as AdoptionRefusal {
            refuse(token, error)
        } catch {
            refuse(token, "failed", "\(error)")
        }
    }

    /// Goes on with a session of another gateway, as its owner. What has to reach the standby first waits in the hold queue.
    ///
    /// - Parameter wanted: the address at which it goes on; `nil`: the giver's if it is ours, else one that the connection may use.
    /// - Returns: the session as it is in the table.
    mutating func adopt(_ context: SessionContext, local wanted: IPAddress?, now: Now) throws(AdoptionRefusal) -> Session {
        let given = context.session
        let adoption = try adoption(of: context, local: wanted, now: now)
        let local = adoption.session.local.address
        var session = adoption.session
        // A peer that speaks MOBIKE is told of the new address as of any other change of ours.
        let isTold = adoption.hasMoved && session.capabilities.contains(.mobike)
        if isTold { session.local = given.local }
        let outcome = ike.adopt(
            session, mayBeBehind: adoption.needsSynchronization, table: table, context: self.context(now))
        commit(outcome, now: now)
        guard let id = outcome.session, let taken = table[id] else { throw .spiInUse("of a CHILD SA, twice") }
        log(.notice, "session adopted", [.init("session", "\(id)"), .init("from", context.giver), .init("kind", context.kind.rawValue)])
        let peer = taken.authorization.remoteIdentity
        note(.context, "session #\(taken.uniqueID) of '\(peer)' came from \(context.giver) (\(context.kind.rawValue))", now: now)
        if isTold { tellMove(of: taken, to: local, now: now) }
        if adoption.needsSynchronization { warnOfWhatIsBehind(taken) }
        return table[id] ?? taken
    }

    /// The session of a context as this node would go on with it.
    func adoption(of context: SessionContext, local wanted: IPAddress?, now: Now) throws(AdoptionRefusal) -> Adoption {
        guard isOwner, handover == nil else { throw .notActive(roles.role.name) }
        let given = context.session
        try checkSPIs(of: given)
        try checkAuthorization(of: given)
        try checkLeases(of: given, now: now)
        guard table.count < SessionTable.sessionCountMax else { throw .tableFull }
        let local = try localAddress(for: given, wanted: wanted)
        return try context.adopted(by: configuration.id, epoch: roles.epoch, local: local, at: now.wallMilliseconds)
    }

    /// The gateway is at another address than the peer thinks: it is told from there, with the engine's own means (RFC 4555 §3.5, §3.6).
    mutating func tellMove(of session: Session, to local: IPAddress, now: Now) {
        let endpoint = Endpoint(local, session.ikePath.local.port)
        commit(ike.localAddressChanged(session: session.id, local: endpoint, table: table, context: context(now)), now: now)
    }

    /// The giver may have gone on after the context was taken. A peer that can is asked for its message IDs (RFC 6311); any other may
    /// take our next ones for old ones, and the operator is told.
    private mutating func warnOfWhatIsBehind(_ session: Session) {
        guard !session.capabilities.contains(.messageIDSync) else { return }
        log(
            .warning, "a session from a snapshot may be behind its peer, which cannot synchronize message IDs",
            [.init("session", "\(session.id)")])
    }

    private func checkSPIs(of session: Session) throws(AdoptionRefusal) {
        for sa in session.ikeSAs {
            func hex() -> String { String(sa.localSPI, radix: 16) }
            if let holder = table.session(localSPI: sa.localSPI) {
                guard holder.ikeSAs.contains(where: { $0.spis == sa.spis }) else { throw .spiInUse(hex()) }
                throw .alreadyOwned(uniqueID: holder.uniqueID)
            }
            if ike.isBeginning(localSPI: sa.localSPI) { throw .spiInUse(hex()) }
            if let spent = departures.spent(localSPI: sa.localSPI), spent > sa.epochShift.spent { throw .stale }
        }
        if !session.otherIKESAs.isEmpty, Set(session.localSPIs).count < session.ikeSAs.count { throw .spiInUse("of an IKE SA, twice") }
        var seen: Set<UInt32> = []
        for spi in session.children.map(\.inboundSPI)
        where !seen.insert(spi).inserted || table.isInUse(inboundSPI: spi) || ike.isBeginning(inboundSPI: spi) {
            throw .spiInUse(String(spi, radix: 16))
        }
    }

    /// As this node's PAD would have it (RFC 4301 §4.4.3).
    func checkAuthorization(of session: Session) throws(AdoptionRefusal) {
        let name = session.authorization.connection
        guard let connection = configuration.ike.connections.first(where: { $0.name == name }) else { throw .connectionUnknown(name) }
        if let objection = connection.objection(to: session.authorization, at: session.remote.address) { throw .identityRefused(objection) }
        for child in session.children where !connection.children.contains(where: { $0.name == child.name }) {
            throw .childUnknown(connection: name, child: child.name)
        }
    }

    private func checkLeases(of session: Session, now: Now) throws(AdoptionRefusal) {
        for lease in session.virtualAddresses {
            if table.isLeased(lease.address) { throw .addressInUse("\(lease.address)") }
            guard let kept = table.reservations[lease.address], kept.holder != session.leaseHolder else { continue }
            let pool = configuration.ike.pools.first { $0.name == kept.pool }
            let isOver = kept.offlineSince.map { pool?.hasExpired(offlineSince: $0, at: now.wallMilliseconds) ?? true } ?? false
            if !isOver { throw .addressInUse("\(lease.address)") }
        }
    }

    private func localAddress(for session: Session, wanted: IPAddress?) throws(AdoptionRefusal) -> IPAddress {
        let own = configuration.addresses.map(\.prefix.address) + (host.all ?? [])
        guard let wanted else {
            if own.contains(session.local.address) { return session.local.address }
            if let address = newLocalAddress(of: session) { return address }
            throw .noLocalAddress("\(session.local.address) is not here, and the connection may use no other")
        }
        guard own.contains(wanted) else { throw .noLocalAddress("\(wanted) is not an address of this gateway") }
        guard wanted.family == session.remote.address.family else {
            throw .noLocalAddress("\(wanted) is of another family than the peer's \(session.remote.address)")
        }
        return wanted
    }

    // MARK: - Refusals

    private mutating func refuse(_ token: RequestToken, _ refusal: AdoptionRefusal) { refuse(token, refusal.code, "\(refusal)") }

    private mutating func refuse(_ token: RequestToken, _ code: String, _ text: String) {
        respond(token, .context(.failure(code, text)))
    }
}

extension ContextSummary {
    fileprivate init(_ session: Session, kind: SessionContext.Kind) {
        self.init()
        success = true
        self.kind = kind.rawValue
        connection = session.authorization.connection
        uniqueID = session.uniqueID
        remoteID = "\(session.authorization.remoteIdentity)"
        (local, remote) = ("\(session.local)", "\(session.remote)")
        children = session.children.count
    }
}
