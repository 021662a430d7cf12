import DequeModule
import IKE
import Pair
import Session

extension Node {
    /// When gratuitous ARP and neighbour advertisements are repeated after the first: a lost one must not cost a client more.
    static let announcementDelays: [Duration] = [.milliseconds(50), .milliseconds(200), .seconds(1), .seconds(3)]

    /// How far a takeover goes on.
    private func leaseStep(heldEverything: Bool, now: Now) -> LeaseStep {
        // What comes from our own disk went past the gap when it was read.
        if heldEverything || state.isRestoredOnly { return .next }
        return merge.owed == nil ? .pastGap(aloneFor: contact.map { now.instant - $0.at }) : .pastMerge
    }

    /// Becomes owner. Everything slow was done before: what is left takes as long with ten sessions as with a hundred thousand
    /// (law 6). Each step is safe to repeat.
    mutating func takeOver(cause: TakeoverCause, epoch: Epoch, now: Now) {
        restoreRest(now: now)
        let heldEverything = table.count == 0 || receiver.holdsEverything(at: now.instant)
        let needs = syncNeeds(cause: cause, heldEverything: heldEverything, now: now)
        counters.takeovers += 1
        judgement.trouble = nil
        takeover = TakeoverRecord(
            cause: cause, epoch: epoch, previousEpoch: watch.last?.epoch ?? 0,
            deadLife: cause == .heartbeatLost || cause == .linkClosed ? watch.boot : nil,
            wallMilliseconds: now.wallMilliseconds, sessions: table.count, steps: [(.detected, now.instant)])
        effects.append(.milestone(.owned))
        if cause == .switchover, let terms = service.taking { takeover.reason = terms.reason }
        receiver.reset()
        flows.receiver.clear()
        if cause != .switchover { sender.goSolo(configuration.pair == nil ? .noPair : .tookOver, at: now.instant) }
        let step = leaseStep(heldEverything: heldEverything, now: now)
        let isArmed = armAtOnce(step, cause: cause)
        beginReplayWork(isPastGap: !heldEverything, movesWindows: isArmed)
        effects.append(.milestone(.armed))
        setGate(isArmed ? .open : replay.isPastGap ? .closed : .inboundOnly)
        effects.append(.milestone(.gateOpened))
        effects.append(.claimAddresses)
        effects.append(.milestone(.addressesClaimed))
        effects.append(.announceAddresses)
        effects.append(.milestone(.announced))
        noteOwnership(now: now)
        for outcome in ike.becameOwner(table: table, context: context(now), needs: needs) { commit(outcome, now: now) }
        repeatAnswers(cause: cause, now: now)
        effects.append(.milestone(.ikeLive))

        wanted.beginsAt = wanted.isEmpty ? nil : now.instant + Node.wantedDelay
        announceFromNow(now)
        leases.begin(.record(step), at: now.instant, opensGate: !isArmed)
        moveToOwnAddresses(now: now)
        runHooksForAll(.up, .takeover, now: now)
        sendHeartbeats(wantsAnswer: false, on: nil, now: now)
        if cause != .switchover { sayHello() }
        tellRole(now: now)
        let fields: [LogLine.Field] = [
            .init("cause", cause.name), .init("reason", takeover.reason), .init("epoch", "\(epoch)"), .init("sessions", "\(table.count)"),
            .init("held_everything", "\(heldEverything)"), .init("synchronizes_message_ids", "\(needs.messageIDs)"),
        ]
        log(.notice, "took over", fields)
        let why = takeover.reason.isEmpty ? cause.name : takeover.reason
        note(.takeover, "took over: \(why), epoch \(epoch), \(table.count) sessions", now: now)
        if cause != .switchover { complainOfTakeover(now: now) }
    }

    /// In the usual case nothing: the standby's SAs stand armed. Only after a hand-over that has just been, or when the dead
    /// owner may have done what we were not told, every SA has to be set ahead before anything is sent.
    ///
    /// - Returns: whether all are. With more than a page of sessions none is: the pages in which leases are recorded do it, and the gate
    ///   lets nothing out until they are through (law 6).
    private mutating func armAtOnce(_ step: LeaseStep, cause: TakeoverCause) -> Bool {
        // Who hands over has recorded all of its leases, and with each entry of them the SA was armed anew.
        let isArming = leases.task == .arm && cause != .switchover
        let count = step != .next ? table.count : isArming ? leases.sessions?.count ?? table.count : 0
        guard count > 0 else { return true }
        guard count <= LeaseWork.page else { return false }
        let sessions = step == .next ? leases.sessions ?? Array(table.sessions.keys) : Array(table.sessions.keys)
        let plan = plan
        let commands = sessions.compactMap { table[$0] }.filter { !$0.isArriving }.flatMap { session in
            session.children.map { child in
                let lease = plan.lease(step, after: child)
                return DataPlaneCommand.lease(
                    inboundSPI: child.inboundSPI, numbers: lease.numbers(extended: child.algorithms.extendedSequenceNumbers))
            }
        }
        effects.append(.dataPlane(commands))
        return true
    }

    /// The peer owns everything: nothing of ours may speak from here on.
    mutating func stepDown(cause: StepDownCause, epoch: Epoch, now: Now) {
        counters.stepDowns += 1
        setGate(.closed)
        effects.append(.releaseAddresses)
        forgetUnanswered()
        dropHeld()
        unheardLeases = []
        dropHeldForDisk()
        passOnParked(cause: cause, now: now)
        announcements = []
        hasAskedBeforeAnnouncing = false
        rekeys = RekeyWork()
        host.stop()
        replay = ReplayWork()
        leaveTransfers()
        endLingering()
        forgetLoad()
        ike.lostOwnership()
        wanted.reset()
        sender.goSolo(.noLink, at: now.instant)
        abandonMerge()
        // Only who got our offer can hold what we hold, and only on the connection on which it was made do its entries follow.
        if cause == .switchover, link.offered == epoch {
            receiver.continueInStep()
            noteSameness()
            heard = [:]
        } else {
            receiver.reset()
            oweMerge()
        }
        leases.begin(.arm, at: now.instant)
        runHooksForAll(.down, .stepDown, now: now)
        let why = cause == .switchover ? handover?.terms.reason ?? "" : ""
        finishHandover(cause: cause, epoch: epoch, now: now)
        sendHeartbeats(wantsAnswer: false, on: nil, now: now)
        tellRole(now: now)
        if receiver.isIdle { sayHello() }
        log(.notice, "stepped down", [.init("cause", cause.name), .init("epoch", "\(epoch)")])
        note(.stepDown, "stepped down: \(why.isEmpty ? cause.text(epoch) : "\(why), the peer owns epoch \(epoch)")", now: now)
    }

    mutating func announceFromNow(_ now: Now) { announcements = Deque(Node.announcementDelays.map { now.instant + $0 }) }

    /// While nobody stands by, the other node may be cut off and have announced itself without our knowing; if it died of it, all
    /// send to the dead until we announce again.
    static let announcementPause: Duration = .seconds(5)

    mutating func announceWhileAlone(now: Now) {
        guard isOwner, configuration.pair != nil, !sender.isRunning, announcements.isEmpty else { return }
        announcements.append(now.instant + Node.announcementPause)
    }

    /// How long the other node has to answer before an announcement is repeated. A living one answers in about a millisecond.
    static let announcementQuestionTime: Duration = .milliseconds(10)

    mutating func announceIfDue(now: Now) {
        guard let due = announcements.first, now.instant >= due else { return }
        guard !waitsBeforeAnnouncing(now: now), !asksBeforeAnnouncing(now: now) else { return }
        while let first = announcements.first, now.instant >= first { announcements.removeFirst() }
        if isOwner {
            // Links that came back since it asked: another owner learns of the announcement while it is on the wire, and answers it at once.
            if configuration.pair != nil, !isPeerHeard(now) { sendHeartbeats(wantsAnswer: true, on: nil, now: now) }
            effects.append(.announceAddresses)
        }
        announceWhileAlone(now: now)
    }

    /// The other node was heard in this ownership and is not any more. If it died nobody has to be told anything: what was announced holds.
    /// If we were cut off it owns the sessions by now, and right after the links come back an announcement may reach all but it, whose own
    /// address has to be found anew (ARP tries once a second). So nothing is repeated soon.
    private mutating func waitsBeforeAnnouncing(now: Now) -> Bool {
        guard isOwner, let heard = watch.lastHeard, heard > roles.since, !isPeerHeard(now), now.instant < heard + Node.announcementPause
        else { return false }
        announcements = [heard + Node.announcementPause]
        return true
    }

    /// An owner that hears nobody may have been cut off, and its links may just have come back: a repeated announcement would draw to
    /// it what belongs to an owner of a higher epoch. It asks on every path first, and steps down if one answers; it asks once more with
    /// the announcement itself, so that what was drawn to it all the same goes back within a round trip and not within a heartbeat.
    private mutating func asksBeforeAnnouncing(now: Now) -> Bool {
        guard isOwner, configuration.pair != nil, !isPeerHeard(now), !hasAskedBeforeAnnouncing else {
            hasAskedBeforeAnnouncing = false
            return false
        }
        hasAskedBeforeAnnouncing = true
        sendHeartbeats(wantsAnswer: true, on: nil, now: now)
        announcements[0] = now.instant + Node.announcementQuestionTime
        return true
    }

    mutating func milestonePassed(_ step: TakeoverStep, at instant: Instant, now: Now) {
        takeover.steps.append((step, instant))
        guard step == .ikeLive, let begin = takeover.steps.first?.at else { return }
        let steps = takeover.steps.map { LogLine.Field($0.step.name, "\(($0.at - begin).inMilliseconds)") }
        log(.notice, "takeover steps in milliseconds since it was detected", steps)
    }

    // MARK: - Switchover

    /// How long the standby has to come into step before a switchover is refused.
    static let handoverPatience: Duration = .seconds(2)

    var isHandoverOffered: Bool { handover?.isOffered == true }

    /// Peers wait, so that the standby can come into step or stay so. One that is still being filled takes long: they are served
    /// meanwhile, and so they are until the leases of the last takeover are recorded.
    var isDraining: Bool { handover != nil && (isHandoverOffered || sender.pairState == .paired && !leases.isRecording) }

    mutating func beginSwitchover(token: RequestToken?, terms: HandoverTerms, then: Maintenance = .none, now: Now) {
        handover = Handover(
            token: token, began: now.instant, deadline: now.instant + Node.handoverPatience, terms: terms, then: then)
        offerHandover(now: now)
    }

    /// Sends the hand-over once the standby has everything and every lease of ours is recorded. From here on we send no ESP.
    mutating func offerHandover(now: Now) {
        guard var pending = handover, !pending.isOffered, sender.isInStep, hold.isEmpty, !leases.isRecording else { return }
        guard let epoch = roles.beginHandover(at: now.instant) else { return }
        pending.isOffered = true
        handover = pending
        link.offered = epoch
        setGate(.inboundOnly)
        sendFlows(isUrgent: true, now: now)
        effects.append(.frame(.handover(epoch: epoch, pending.terms)))
    }

    mutating func handoverDeadline(now: Now) {
        guard let pending = handover, !pending.isOffered else { return }
        offerHandover(now: now)
        if !isDraining { unpark(now: now) }
        // Of a hundred thousand sessions that takes seconds, and is nothing that the standby is late with.
        if leases.isRecording {
            handover?.deadline = now.instant + Node.handoverPatience
            return
        }
        guard !isHandoverOffered, now.instant >= pending.deadline else { return }
        let reason = "the standby is not in step: \(sender.pairState.name), \(sender.lag) entries behind"
        handover = nil
        respond(pending.token, refusing: reason)
        handoverCameToNothing(pending, reason: reason, now: now)
        unpark(now: now)
    }

    mutating func handoverFailed(reason: String, now: Now) {
        let failed = handover
        handover = nil
        setGate(.open)
        log(.error, "the hand-over failed; carrying on as active", [.init("reason", reason)])
        respond(failed?.token, refusing: reason)
        if let failed { handoverCameToNothing(failed, reason: reason, now: now) }
        unpark(now: now)
        // The link may have been opened anew meanwhile.
        startReplication(now: now)
    }

    private mutating func finishHandover(cause: StepDownCause, epoch: Epoch, now: Now) {
        let done = handover
        handover = nil
        defer { ownershipWentAway(cause == .switchover ? done : nil, now: now) }
        guard let done else { return }
        switch cause {
        case .switchover:
            respond(done.token, switchedOverIn: now.instant - done.began, epoch: epoch)
            noteHandover(done.terms, now: now)
        case .higherEpoch: respond(done.token, refusing: "the peer took over by itself")
        case .notConfirmed(let reason): respond(done.token, refusing: reason)
        }
    }

    /// The active asks us to take everything over.
    mutating func handoverOffered(epoch: Epoch, _ terms: HandoverTerms, now: Now) {
        let objection = receiver.isInStep ? objectionToTaking(terms) : "the standby is not in step"
        guard objection == nil, let actions = roles.takeHandover(epoch: epoch, at: now.instant) else {
            let reason = objection ?? "not a standby of that epoch"
            effects.append(.frame(.handoverRefused(epoch: epoch, reason: reason)))
            return
        }
        sender.beginInStep(at: now.instant)
        service.taking = terms
        perform(actions, now: now)
        service.taking = nil
        service.isOverruled = terms.isForced
        noteHandover(terms, now: now)
        // Before any entry of ours: whatever the takeover has already put into the log follows it.
        let first = effects.firstIndex { if case .frame(.entry) = $0 { true } else { false } } ?? effects.endIndex
        effects.insert(.frame(.handoverAccepted(epoch: epoch)), at: first)
        link.peer?.role = .standby
        pairStateChanged(now: now)
    }
}
