import IKE
import Pair
import Session

extension Node {
    mutating func linkOpened(path: Int?, now: Now) {
        if link.isUp { linkClosed(reason: "another one was opened", now: now) }
        link = LinkState(isUp: true, path: path)
        sayHello()
    }

    /// The first frame on a link. Said again by a standby, it means "nothing that was sent to me counts: begin"; by an active
    /// one, "I own everything by my own decision, and take nothing from you".
    mutating func sayHello() {
        guard link.isUp, !link.isClosing else { return }
        let hello = PairHello(
            version: PairProtocol.version, node: configuration.id, name: configuration.name, boot: boot, role: roles.role,
            epoch: roles.announcedEpoch, takesFlows: flows.isEnabled, takesCondition: true,
            takesCertificates: certificates.certificates != nil, takesMerge: true, owesMerge: owesMerge, takesHandshakes: true,
            certificate: certificates.settled?.digest ?? [])
        effects.append(.frame(.hello(hello)))
    }

    mutating func linkClosed(reason: String, now: Now) {
        guard link.isUp else { return }
        link = LinkState()
        abandonMerge()
        service.isOverruled = false
        state.heldAcknowledgement = nil
        log(.warning, "the pair link closed", [.init("reason", reason)])
        noteEndOfLink(reason, now: now)
        let heldEverything = receiver.isInStep
        receiver.linkClosed(at: now.instant)
        rotationLostLink(now: now)
        if isOwner { leaveStandby(.linkClosed, now: now) }
        perform(roles.linkClosed(holdsEverything: heldEverything, at: now.instant), now: now)
        tellRole(now: now)
    }

    /// A peer that cannot be spoken with calls every second: the same reason is told once, until it has gone well.
    private mutating func noteEndOfLink(_ reason: String, now: Now) {
        guard lastEndOfLink != reason else { return }
        lastEndOfLink = reason
        note(.pairState, "the link to the other node closed: \(reason)", now: now)
    }

    /// Nobody takes anything from us any more.
    private mutating func leaveStandby(_ reason: SoloReason, now: Now) {
        // Who was cut off was cut off for a reason, which the end of the link does not change.
        guard sender.pairState != .solo(reason: .standbyTooSlow) else { return }
        sender.goSolo(reason, at: now.instant)
        pairStateChanged(now: now)
        releaseHeld()
    }

    mutating func frameReceived(_ frame: PairFrame, now: Now) {
        guard link.isUp, !link.isClosing else { return }
        if case .hello(let hello) = frame { return greeted(hello, now: now) }
        guard link.peer != nil else { return closeLink("a frame came before the peer's hello") }
        switch frame {
        case .hello: break
        case .entry, .snapshotBegin, .snapshotPage, .snapshotEnd: standbyReceived(frame, now: now)
        case .acknowledge(let index): acknowledged(index, now: now)
        case .snapshotPageTaken: pageTaken(now: now)
        case .flows(let batch): flowsReceived(batch, now: now)
        case .flowsTaken: flowsTaken()
        case .certificateOffer(let pem): certificateOffered(pem)
        case .certificateAnswer(let digest, let refusal): certificateAnswered(digest: digest, refusal: refusal, now: now)
        case .mergeRequest(_, let wantsAll): mergeRequested(wantsAll: wantsAll, now: now)
        case .mergePage(let page): mergePageReceived(page, now: now)
        case .mergePageTaken: mergePageTaken(now: now)
        case .mergeEnd: mergeEnded(now: now)
        case .passedOn(let datagrams): passedOnReceived(datagrams, now: now)
        case .condition(let condition): conditionReceived(condition, now: now)
        case .handover(let epoch, let terms): handoverOffered(epoch: epoch, terms, now: now)
        case .handoverAccepted(let epoch): perform(roles.handoverAccepted(epoch: epoch, at: now.instant), now: now)
        case .handoverRefused(let epoch, let reason): perform(roles.handoverRefused(epoch: epoch, reason: reason), now: now)
        }
    }

    private mutating func greeted(_ hello: PairHello, now: Now) {
        guard hello.version == PairProtocol.version else {
            return closeLink("the peer speaks version \(hello.version) of the pair protocol, this node version \(PairProtocol.version)")
        }
        guard hello.node == configuration.id.peer else {
            return closeLink(
                "the peer says it is node \(hello.node.rawValue), which this node is; set [node] id to 0 on one and 1 on the other")
        }
        link.peer = hello
        peerKeeps(hello.certificate, now: now)
        link.isMerged = false
        abandonMerge()
        if isOwner {
            if sender.isRunning { leaveStandby(.standbyLeft, now: now) }
            startReplication(now: now)
        } else {
            perform(roles.linked(to: hello.role, epoch: hello.epoch, life: hello.boot, at: now.instant), now: now)
            if hello.role == .active, !receiver.isIdle { beginAnew(now: now) }
        }
    }

    /// The peer did not take our hand-over but everything by itself: what it did since is not here.
    private mutating func beginAnew(now: Now) {
        receiver.reset()
        sayHello()
        tellRole(now: now)
    }

    mutating func closeLink(_ reason: String) {
        guard link.isUp, !link.isClosing else { return }
        link.isClosing = true
        counters.replicationErrors += 1
        log(.error, "closing the pair link", [.init("reason", reason)])
        effects.append(.closeLink(reason: reason))
    }

    /// Begins to fill the standby, when there is one on the link and every lease of ours is recorded.
    mutating func startReplication(now: Now) {
        guard isOwner, !isHandoverOffered, !link.isClosing, let peer = link.peer, peer.role != .active else { return }
        guard !sender.isRunning, !leases.isRecording || goesFurther(past: peer) else { return }
        if beginsMerge(with: peer, now: now) || hasSuccessor(peer, now: now) { return }
        divergence.forgetBase()
        // A peer that began with nothing while we were cut off has announced itself, and has nothing that it could tell us of.
        if sender.pairState != .paired { drawBack(now: now) }
        let overrules = peer.owesMerge && !link.isMerged
        effects += sender.begin(table: table, epoch: roles.epoch, overrules: overrules, at: now.instant).map(Effect.frame)
        tellAllHandshakes(now: now)
        pairStateChanged(now: now)
    }

    /// Leases that are being recorded go no further than the next slice, and such a peer wants them beyond: that is begun at once, instead of
    /// going through all sessions twice. A gate that waits for them is not kept waiting.
    private func goesFurther(past peer: PairHello) -> Bool {
        leases.task == .record(.next) && !leases.opensGate && table.childCount > 0 && !peer.owesMerge && isAnotherLife(peer)
    }

    /// Whether the peer has begun anew since it last held our sessions.
    private func isAnotherLife(_ peer: PairHello) -> Bool { contact.map { $0.life != peer.boot } ?? false }

    /// Another life of the peer than the one that held our sessions: the former may have owned everything unheard for a while, and have
    /// died of it. What it can have sent by then is left behind before the new one is filled (law 3), for nobody is left who knows.
    ///
    /// - Returns: whether there are leases to be recorded first.
    private mutating func hasSuccessor(_ peer: PairHello, now: Now) -> Bool {
        let (former, isNew) = (contact, isAnotherLife(peer))
        noteContact(with: peer, now: now)
        guard let former, isNew, table.childCount > 0 else { return false }
        leases.begin(.record(.pastPeer(aloneFor: now.instant - former.at)), at: now.instant)
        return true
    }

    /// From now on the peer holds what we hold. What this very life did unheard stays to be gone past, should it die.
    private mutating func noteContact(with peer: PairHello, now: Now) {
        let contacted = Contact(life: peer.boot, epoch: roles.epoch, at: now.instant)
        guard let known = contact, known.life == peer.boot else { return contact = contacted }
        if known.owes { return }
        if isOwner, known.epoch != roles.epoch || peer.epoch > known.epoch { contact?.owes = true } else { contact = contacted }
    }

    private mutating func acknowledged(_ index: UInt64, now: Now) {
        guard isOwner else { return }
        let before = sender.pairState
        guard sender.acknowledge(index, at: now.instant) else {
            return closeLink("the peer acknowledged entry \(index), which was not sent")
        }
        link.acknowledgedAt = now.instant
        emit(hold.release(upTo: index))
        if sender.isInStep { noteSameness() }
        if sender.pairState != before { pairStateChanged(now: now) }
        offerHandover(now: now)
    }

    private mutating func pageTaken(now: Now) {
        guard isOwner else { return }
        effects += sender.pageTaken(table: table, at: now.instant).map(Effect.frame)
        if sender.isInStep { noteSameness() }
        if sender.pairState == .paired { pairStateChanged(now: now) }
    }

    private mutating func standbyReceived(_ frame: PairFrame, now: Now) {
        // An owner takes nothing from anybody: the heartbeats will tell who it is.
        guard !isOwner else { return }
        // What was sent before the peer heard our last hello.
        if receiver.isIdle { guard case .snapshotBegin(let begin) = frame, mayBeFilled(by: begin) else { return } }
        do {
            let wasInStep = receiver.isInStep
            let applied = try take(frame)
            standBy(frame, applied: applied, now: now)
            var commands = applied.flatMap { plan.commands(for: $0) }
            if case .entry(_, .replay(let reports)) = frame { commands += advance(reports, now: now) }
            for change in applied {
                forgetTraffic(of: change)
                roads.note(change, configuration.nodeAddresses)
                followSelectors(of: change)
                noteTraffic(of: change, at: now.instant)
                settleHooks(for: change)
                noteDeparture(change, now: now)
                noteStored(change, now: now)
            }
            noteStored(frame)
            if !commands.isEmpty { effects.append(.dataPlane(commands)) }
            acknowledge(frame)
            if receiver.isInStep != wasInStep {
                noteSameness()
                heard = [:]
                if let peer = link.peer { noteContact(with: peer, now: now) }
                // What has to look at every session is done now, not in the takeover (law 6).
                ike.prepare(table: table)
                noteInStep()
                log(.notice, "everything the active knows is here", [.init("sessions", "\(table.count)")])
                note(.pairState, "in step with the active: \(table.count) sessions", now: now)
                tellRole(now: now)
            }
        } catch {
            closeLink(error.text)
        }
    }

    /// The owner's counters of what came in: the standby's windows follow.
    private mutating func advance(_ reports: [ReplayReport], now: Now) -> [DataPlaneCommand] {
        let plan = plan
        return reports.compactMap { report in
            guard let advance = table.advance(inboundSPI: report.inboundSPI, to: report.top) else { return nil }
            noteAdvance(advance, now: now)
            if !configuration.nodeAddresses.isEmpty { recentTraffic.note(advance.session, at: now.instant) }
            // Only then more than the SA itself is to be looked at.
            let top = isStrict ? table[advance.session].map { plan.inboundTop(of: advance.child, in: $0) } : nil
            return .advanceInbound(inboundSPI: report.inboundSPI, top: top ?? advance.child.inboundTop)
        }
    }

    private mutating func take(_ frame: PairFrame) throws(ReplicationError) -> [AppliedDelta] {
        switch frame {
        case .snapshotBegin(let begin):
            divergence.forgetBase()
            return try receiver.begin(begin, table: &table, epoch: roles.epoch, othersMayCome: state.isRestoring)
        case .snapshotPage(let sessions, let reservations):
            return try receiver.page(sessions, reservations: reservations, table: &table)
        case .snapshotEnd:
            return try receiver.end(table: &table)
        case .entry(let index, let entry):
            counters.entriesApplied += 1
            return try receiver.entry(index: index, entry, table: &table)
        case .hello, .acknowledge, .snapshotPageTaken, .handover, .handoverAccepted, .handoverRefused, .flows, .flowsTaken,
            .certificateOffer, .certificateAnswer, .passedOn, .condition, .mergeRequest, .mergePage, .mergePageTaken, .mergeEnd:
            return []
        }
    }

    /// After the data plane has it: an acknowledgement says that a takeover may follow.
    private mutating func acknowledge(_ frame: PairFrame) {
        switch frame {
        case .entry(let index, let entry):
            if holdsAcknowledgement(of: entry, index: index) { return }
            effects.append(.frame(.acknowledge(index: index)))
        case .snapshotPage, .snapshotEnd: effects.append(.frame(.snapshotPageTaken))
        case .hello, .acknowledge, .snapshotBegin, .snapshotPageTaken, .handover, .handoverAccepted, .handoverRefused, .flows, .flowsTaken,
            .certificateOffer, .certificateAnswer, .passedOn, .condition, .mergeRequest, .mergePage, .mergePageTaken, .mergeEnd:
            break
        }
    }

    /// Solo, syncing and paired are told whenever they change (law 8).
    mutating func pairStateChanged(now: Now) {
        let state = sender.pairState
        if state == .paired {
            lastEndOfLink = ""
            giveUnheardLeases()
        }
        let fields = [LogLine.Field("state", state.name)] + (state.reason.map { [.init("reason", $0)] } ?? [])
        log(state == .paired ? .notice : .warning, "pair state", fields)
        note(.pairState, state.reason.map { "\(state.name): \($0)" } ?? state.name, now: now)
        announceWhileAlone(now: now)
        // Before anything leaves that the standby does not have: it cannot see by itself that a silent link has left it behind.
        if isOwner { sendHeartbeats(wantsAnswer: false, on: nil, now: now) }
        tellRole(now: now)
    }
}
