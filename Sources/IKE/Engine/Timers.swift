import IKEWire
public import Session

/// Time: retransmissions, liveness, and what a new owner has to pick up.
extension IKEEngine {
    /// Deadlines handled in one `advance`; what is left over is due at once again, so that the caller's loop gets its turn.
    static let deadlinesPerAdvance = 256
    /// Sessions whose liveness timers one sweep sets, and the pause between two sweeps: 100,000 sessions take 4 s, and their
    /// first liveness checks are spread as widely.
    static let sweepPage = 256
    static let sweepPause: Duration = .milliseconds(10)
    /// A takeover has more urgent things to do first.
    static let sweepDelay: Duration = .seconds(1)

    /// When `advance` wants to be called. Late and needless calls do no harm.
    public func nextDeadline() -> Instant? {
        [deadlines.next, halfOpen.nextDeadline, initiations.nextDeadline].compactMap { $0 }.min()
    }

    /// Does what is due: repeats requests, gives peers up, checks liveness, forgets half-open IKE SAs. Bounded work.
    ///
    /// - Returns: at most one outcome for each session.
    public mutating func advance(table: SessionTable, context: IKEContext) -> [IKEOutcome] {
        let now = context.now.instant
        let expired = halfOpen.expire(at: now, limit: IKEEngine.deadlinesPerAdvance).map { IKEEvent.halfOpenExpired(remote: $0.remote) }
        count(expired)
        var outcomes = expired.map { IKEOutcome(events: [$0]) } + advanceInitiations(context: context)
        var touched: Set<SessionID> = []
        var again: [Deadline] = []
        for _ in 0..<IKEEngine.deadlinesPerAdvance {
            guard let deadline = deadlines.popDue(at: now) else { break }
            // Outcomes of one call are applied together: a session's second deadline has to see what the first did.
            if let session = deadline.session, touched.contains(session) {
                again.append(deadline)
                continue
            }
            let outcome = fire(deadline, table: table, context: context)
            schedule(outcome, table: table, context: context)
            guard !outcome.isEmpty else { continue }
            if let session = deadline.session { touched.insert(session) }
            outcomes.append(outcome)
        }
        for deadline in again { deadlines.insert(deadline, at: now) }
        return outcomes
    }

    private mutating func fire(_ deadline: Deadline, table: SessionTable, context: IKEContext) -> IKEOutcome {
        switch deadline {
        case .retransmit(let session, let localSPI, let messageID, let repeats):
            return retransmit(session, localSPI, messageID, repeats: repeats, table: table, context: context)
        case .lifetime(let session):
            return lifetimeDue(session, table: table, context: context)
        case .liveness(let session):
            return livenessDue(session, table: table, context: context)
        case .keepAlive(let session):
            return keepAliveDue(session, table: table, at: context.now.instant)
        case .waiting(let session):
            return sendWaiting(session, table: table, context: context)
        case .retransmitSync(let session, let localSPI, let nonce, let repeats):
            return retransmitSync(session, localSPI, nonce, repeats: repeats, table: table, context: context)
        case .synchronize(let session):
            return synchronizeDue(session, table: table, context: context)
        case .startOver(let session):
            return startOverDue(session, table: table, context: context)
        case .sweep:
            sweep(table: table, context: context)
            return .nothing
        case .repeatAnswers:
            return repeatAnswersDue(table: table, at: context.now.instant)
        }
    }

    // MARK: Retransmission (RFC 7296 §2.1, §2.4)

    mutating func awaitResponse(
        _ session: SessionID, _ localSPI: UInt64, _ messageID: UInt32, repeats: Int, isPatient: Bool = false, from now: Instant
    ) {
        let deadline = Deadline.retransmit(session: session, localSPI: localSPI, messageID: messageID, repeats: repeats)
        let wait = configuration.limits.wait(repeats: repeats)
        deadlines.insert(deadline, at: now + (isPatient ? min(wait, IKELimits.patientWaitMax) : wait))
    }

    private mutating func retransmit(
        _ id: SessionID, _ localSPI: UInt64, _ messageID: UInt32, repeats: Int, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table[id], let pending = session.ikeSA(localSPI: localSPI)?.pendingRequest(messageID: messageID) else {
            return .nothing
        }
        let isPatient = session.isHardToReach(pending)
        guard repeats < configuration.limits.retransmitTries + (isPatient ? IKELimits.patientTries : 0) else {
            // A peer may have done with the IKE SA that was replaced; whether it lives, the new one tells.
            guard session.ikeSA.localSPI == localSPI else { return endOther(localSPI, of: session, at: context.now.instant) }
            if hasStartedOver(id, at: context.now.instant) { return .nothing }
            let last = context.now.instant + (.zero - configuration.limits.wait(repeats: repeats))
            if pending.purpose == .liveness, hasBeenHeard(session, since: last) {
                return IKEOutcome(datagrams: askAgain(session, at: context.now.instant), session: id)
            }
            return fallBack(session, context: context) ?? giveUp(session, pending, context: context)
        }
        counters.requestsRetransmitted += 1
        awaitResponse(id, localSPI, messageID, repeats: repeats + 1, isPatient: isPatient, from: context.now.instant)
        return IKEOutcome(datagrams: send(pending.datagrams, in: session), session: id)
    }

    private mutating func giveUp(_ session: Session, _ pending: PendingRequest, context: IKEContext) -> IKEOutcome {
        guard pending.purpose == .deleteIKESA else { return giveUpPeer(session, context: context) }
        return end(session, .terminated(session: session.id), "terminated, the peer did not answer", context: context)
    }

    /// RFC 7296 §2.4: nobody answers, and the IKE SA is over.
    mutating func giveUpPeer(_ session: Session, context: IKEContext) -> IKEOutcome {
        end(session, .peerDead(session: session.id), "the peer does not answer", context: context)
    }

    private mutating func end(_ session: Session, _ event: IKEEvent, _ reason: String, context: IKEContext) -> IKEOutcome {
        count([event])
        forget(session.id)
        return IKEOutcome(
            deltas: [SessionDelta(session: session.id, changes: [context.removal(reason)])], events: [event], session: session.id)
    }

    // MARK: Liveness (RFC 7296 §2.4)

    /// The data plane took a valid ESP packet from the peer: it lives.
    public mutating func noteInboundTraffic(session: SessionID, at instant: Instant) {
        if let last = lastHeard[session], last < instant { lastHeard[session] = instant }
        noteSyncSign(session, at: instant)
    }

    mutating func noteAlive(_ session: Session, at now: Instant) {
        if lastHeard[session.id] != nil { lastHeard[session.id] = now } else { watch(session, from: now) }
    }

    /// Whoever was heard after we asked for the last time lives, whatever became of the answer.
    private func hasBeenHeard(_ session: Session, since instant: Instant) -> Bool { lastHeard[session.id].map { $0 > instant } ?? false }

    /// Sets the liveness timer of a session whose connection has one.
    mutating func watch(_ session: Session, from now: Instant) {
        guard lastHeard[session.id] == nil, let delay = livenessDelay(session) else { return }
        lastHeard[session.id] = now
        deadlines.insert(.liveness(session.id), at: now + delay)
    }

    /// Forgets what hangs on a session that ends; its deadlines find nothing when they fire.
    mutating func forget(_ session: SessionID) {
        lastHeard[session] = nil
        waiting[session] = nil
        appointments[session] = nil
        lastSent[session] = nil
        mappings[session] = nil
        addressTries[session] = nil
        addressRequests[session] = nil
        startedOver[session] = nil
        synchronization.forget(session)
    }

    private func livenessDelay(_ session: Session) -> Duration? { connection(of: session)?.livenessDelay }

    private mutating func livenessDue(_ id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let last = lastHeard[id] else { return .nothing }
        guard let session = table[id], let delay = livenessDelay(session) else {
            lastHeard[id] = nil
            return .nothing
        }
        let now = context.now.instant
        if last + delay > now {
            deadlines.insert(.liveness(id), at: last + delay)
            return .nothing
        }
        deadlines.insert(.liveness(id), at: now + delay)
        return checkLiveness(session: id, table: table, context: context)
    }

    // MARK: Ownership

    /// This node became owner: requests of the old owner that are not answered go out again, the same to the bit. Takes time in
    /// proportion to these requests, not to the sessions; liveness timers are set page by page later.
    ///
    /// - Parameter needs: what the peers have to be asked, lazily and in turn.
    public mutating func becameOwner(table: SessionTable, context: IKEContext, needs: SyncNeeds = .none) -> [IKEOutcome] {
        let now = context.now.instant
        // Said twice, it is the same as said once.
        deadlines.removeAll()
        lastHeard = [:]
        lastSent = [:]
        startedOver = [:]
        for session in waiting.keys.sorted() { deadlines.insert(.waiting(session), at: now) }
        appointments = [:]
        unswept = nil
        synchronization = SyncWork()
        synchronization.needs = needs
        // As long as peers are not asked, their packets are not taken.
        deadlines.insert(.sweep, at: now + (needs.replayIncrement == nil ? IKEEngine.sweepDelay : IKEEngine.sweepPause))
        return table.withPendingRequest.sorted().compactMap { table[$0] }.map { session in
            keepMoving(session, at: now)
            if syncStep(of: session, epoch: context.epoch) != nil { noteSyncDue(session.id, at: now) }
            keepRedirecting(session, at: now)
            // Peers that are hard to reach may be many, and have waited for long.
            return IKEOutcome(datagrams: ask(session, unless: session.isHardToReach, at: now), session: session.id)
        }
    }

    /// The peers' answers may have gone to the other node until now, which spoke for them as well: whatever waits for one goes out again,
    /// and has all its tries before anybody is given up. In turns, as `advance` goes.
    public mutating func startOver(table: SessionTable, at now: Instant) {
        for id in table.withPendingRequest.sorted() {
            startedOver[id] = now
            deadlines.insert(.startOver(id), at: now)
        }
    }

    private mutating func startOverDue(_ id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let session = table[id], !session.isArriving else { return .nothing }
        let syncs = session.ikeSAs.flatMap { repeatSync(in: $0, of: session, context: context) }
        return IKEOutcome(datagrams: askAgain(session, at: context.now.instant) + syncs, session: id)
    }

    /// What waits for an answer goes out again, and is given up as late as if it had never gone out before.
    mutating func askAgain(_ session: Session, at now: Instant) -> [Datagram] {
        startedOver[session.id] = now
        return ask(session, at: now)
    }

    /// - Parameter isLater: a request that can wait for its next turn.
    private mutating func ask(
        _ session: Session, unless isLater: (PendingRequest) -> Bool = { _ in false }, at now: Instant
    ) -> [Datagram] {
        var datagrams: [Datagram] = []
        for sa in session.ikeSAs {
            for pending in sa.pendingRequests {
                awaitResponse(session.id, sa.localSPI, pending.messageID, repeats: 0, from: now)
                guard !isLater(pending) else { continue }
                counters.requestsRetransmitted += 1
                datagrams += send(pending.datagrams, in: session)
            }
        }
        return datagrams
    }

    /// A request that is not answered has not had its time since the session started over.
    mutating func hasStartedOver(_ session: SessionID, at now: Instant) -> Bool {
        guard let since = startedOver[session] else { return false }
        if now < since + configuration.limits.patience { return true }
        startedOver[session] = nil
        return false
    }

    /// The other node speaks for the sessions now: timers and hints go, and of what is half-open all of which it does not know.
    public mutating func lostOwnership() {
        aloneness = Aloneness()
        halfOpen.keepReplicated()
        initiations = InitiationTable()
        fragments = FragmentTable()
        recentAnswers = RecentAnswers()
        redirects = RedirectLedger()
        redirected = RedirectBook()
        redirectNew = nil
        deadlines.removeAll()
        lastHeard = [:]
        waiting = [:]
        appointments = [:]
        lastSent = [:]
        mappings = [:]
        addressTries = [:]
        addressRequests = [:]
        startedOver = [:]
        unrecorded = [:]
        synchronization = SyncWork()
        unswept = nil
    }

    private mutating func sweep(table: SessionTable, context: IKEContext) {
        var rest = unswept ?? sweepOrder(table)
        // Held once, so that a page costs a page and not a copy of all.
        unswept = nil
        for id in rest.suffix(IKEEngine.sweepPage) {
            guard let session = table[id], !session.isArriving else { continue }
            watch(session, from: context.now.instant)
            keepMapping(session, isOverdue: true, at: context.now.instant)
            schedule(session, context: context)
            if synchronization.needs.replayIncrement != nil { noteSyncDue(id, at: context.now.instant) }
        }
        rest.removeLast(min(rest.count, IKEEngine.sweepPage))
        unswept = rest.isEmpty ? nil : rest
        if !rest.isEmpty { deadlines.insert(.sweep, at: context.now.instant + IKEEngine.sweepPause) }
    }

    /// Taken from the end. Those through which nothing went come last when peers have to be asked.
    private func sweepOrder(_ table: SessionTable) -> [SessionID] {
        let all = table.sessions.keys.sorted()
        guard synchronization.needs.replayIncrement != nil else { return all }
        var (silent, talking): ([SessionID], [SessionID]) = ([], [])
        for id in all {
            if table[id]?.children.contains(where: { $0.inboundTop > 0 }) == true { talking.append(id) } else { silent.append(id) }
        }
        return silent + talking
    }
}

extension Session {
    /// A peer behind a NAT is told where we are now: it may hear it only after it has come to us by itself (RFC 4555 §2.3).
    fileprivate func isHardToReach(_ pending: PendingRequest) -> Bool {
        pending.purpose == .announce && originalRole == .responder && ikePath.remoteBehindNAT
    }
}
