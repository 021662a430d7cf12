import IKE
import Pair
import Session

extension Node {
    mutating func beatIfDue(now: Now) {
        guard let due = beat.next, now.instant >= due, let pair = configuration.pair else { return }
        // Asked again with every heartbeat: one that overtakes the question would make it a late one.
        sendHeartbeats(wantsAnswer: roles.isSuspecting, on: nil, now: now)
        if isOwner, !isAlone(now) { ike.pairedAgain() }
        askSilentStandby(now: now)
        lookAtPaths(now: now)
        // Without drift; after a pause no burst follows.
        beat.next = max(due + pair.heartbeatInterval, now.instant)
    }

    /// On every path, or on one.
    mutating func sendHeartbeats(wantsAnswer: Bool, on only: Int?, now: Now) {
        guard let pair = configuration.pair else { return }
        let hearing = watch.hearing(order: paths.order, at: now.instant)
        defer { roles.heartbeatsSent(upTo: beat.sequence, at: now.instant) }
        for path in pair.paths.indices where only == nil || only == path {
            beat.sequence += 1
            counters.heartbeatsSent += 1
            let heartbeat = Heartbeat(
                node: configuration.id, role: roles.role, isReady: isReadyToTakeOver || isPairedActive, wantsAnswer: wantsAnswer,
                boot: boot,
                echo: watch.echo, sequence: beat.sequence, epoch: roles.announcedEpoch, hearing: hearing)
            effects.append(.heartbeat(path: path, bytes: heartbeats.seal(heartbeat)))
        }
    }

    /// An active that shows peers nothing of which its standby does not know: what the standby cannot see by itself when the link has
    /// gone silent.
    private var isPairedActive: Bool { isOwner && sender.pairState == .paired }

    /// A standby that holds everything.
    var isReadyToTakeOver: Bool { roles.role == .standby && receiver.isInStep }

    mutating func heartbeatReceived(_ bytes: [UInt8], path: Int, now: Now) {
        do {
            let (heartbeat, key) = try heartbeats.open(bytes)
            let worth = try watch.receive(heartbeat, path: path, at: now.instant)
            // Only now it is known that it is not one of our own, sent back.
            keyWasUsed(key, now: now)
            counters.heartbeatsReceived += 1
            guard worth != .unproven else { return }
            refreshContact(by: heartbeat, now: now)
            perform(roles.wasHeard(upTo: heartbeat.hearing?.upTo, at: now.instant), now: now)
            // One for one, and only to a proven peer, so that nothing can be amplified.
            if heartbeat.wantsAnswer { sendHeartbeats(wantsAnswer: false, on: path, now: now) }
            guard case .latest(let isNewLife) = worth else { return }
            watch.take(heartbeat.hearing, order: paths.order)
            if heartbeat.role == .active { activeWasPaired = heartbeat.isReady }
            if isNewLife { log(.info, "the peer is heard", [.init("path", "\(path)"), .init("role", heartbeat.role.name)]) }
            noteSplit(heartbeat, now: now)
            reserveEpochs(above: heartbeat.epoch)
            // All of ours come into the table page by page before it is decided who begins: in one go they would keep heartbeats away for
            // seconds. The peer says so again with each heartbeat, and the pages come to an end.
            if state.isRestoring, roles.role == .starting, heartbeat.role == .starting { return roles.wait(at: now.instant) }
            perform(roles.heartbeat(heartbeat, at: now.instant), now: now)
        } catch {
            counters.heartbeatsRejected[error, default: 0] += 1
            heldBack(by: error, path: path, now: now)
        }
    }

    /// A heartbeat in form, but of another key or version: said once in a life, since it comes every 50 ms.
    private mutating func heldBack(by rejection: HeartbeatRejection, path: Int, now: Now) {
        guard rejection == .forged || rejection == .otherVersion, roles.unverifiedHeard(at: now.instant), !watch.hasWarned else { return }
        watch.hasWarned = true
        let text = rejection == .forged ? "its key does not belong to [pair] peer_certificate" : "it speaks another protocol version"
        log(
            .error, "somebody on a heartbeat path cannot be verified; not becoming active",
            [.init("path", "\(path)"), .init("reason", text)])
        note(.standBy, "not becoming active: somebody on heartbeat path \(path) cannot be verified: \(text)", now: now)
    }

    /// The one stands by the other and has everything: so nobody has done anything that the other one does not know.
    private mutating func refreshContact(by heartbeat: Heartbeat, now: Now) {
        let isInStep =
            isOwner
            ? heartbeat.role == .standby && heartbeat.isReady && sender.isRunning
            : heartbeat.role == .active && receiver.isInStep
        guard heartbeat.boot == contact?.life, contact?.owes == false, isInStep, attention.isFresh(at: now.instant) else { return }
        contact?.epoch = roles.epoch
        contact?.at = now.instant
    }

    /// A former owner that we had taken for dead was active all the while. The leases that it may have taken are gone past when it is
    /// another life that is filled (`hasSuccessor`): this one remembers them.
    private mutating func noteSplit(_ heartbeat: Heartbeat, now: Now) {
        guard isOwner, isSplit(from: heartbeat) else { return }
        // Whoever heard the other last sends to it: ours must be the last announcement, also after it has given way.
        announceFromNow(now)
        guard noteFirst(splitWith: heartbeat.boot, now: now) else { return }
        let fields: [LogLine.Field] = [.init("its_epoch", "\(heartbeat.epoch)"), .init("epoch", "\(roles.epoch)")]
        log(.warning, "both nodes were active; the peer gives way", fields)
        note(.takeover, "both nodes were active; the other one gives way to epoch \(roles.epoch)", now: now)
    }

    /// - Returns: whether it is news that the peer, in this life, was active beside us.
    mutating func noteFirst(splitWith life: UInt64, now: Now) -> Bool {
        guard takeover.splitWith != life else { return false }
        takeover.splitWith = life
        drawBack(now: now)
        return true
    }

    /// What routers and clients sent to the other node, which may have announced itself last, comes here from now on. What they answered
    /// went there as well: nobody is given up for it.
    mutating func drawBack(now: Now) {
        effects.append(.announceAddresses)
        ike.startOver(table: table, at: now.instant)
    }

    private func isSplit(from heartbeat: Heartbeat) -> Bool {
        // It may have heard of us before we hear of it, and have given way already: that it lives says enough.
        if heartbeat.boot == takeover.deadLife { return heartbeat.role == .active || takeover.splitWith != heartbeat.boot }
        guard heartbeat.role == .active, heartbeat.epoch < roles.epoch else { return false }
        // After a hand-over the former owner's last heartbeats are still under way.
        return takeover.cause != .switchover || heartbeat.epoch != takeover.previousEpoch
    }

    mutating func perform(_ actions: [RoleAction], now: Now) {
        for action in actions { perform(action, now: now) }
    }

    mutating func perform(_ action: RoleAction, now: Now) {
        switch action {
        case .takeOver(let cause, let epoch): takeOver(cause: cause, epoch: epoch, now: now)
        case .outbid(let epoch): outbid(epoch: epoch, now: now)
        case .stepDown(let cause, let epoch): stepDown(cause: cause, epoch: epoch, now: now)
        case .standBy(let epoch): standBy(epoch: epoch, now: now)
        case .probe: sendHeartbeats(wantsAnswer: true, on: nil, now: now)
        case .handoverFailed(let reason): handoverFailed(reason: reason, now: now)
        case .ask(let number, let question): ask(number, question, now: now)
        case .withheld(let cause, let reason): withheld(cause, reason: reason, now: now)
        case .unconfirmed(let reason): unconfirmed(reason: reason, now: now)
        }
    }

    private mutating func standBy(epoch: Epoch, now: Now) {
        judgement.trouble = nil
        log(.notice, "standing by", [.init("epoch", "\(epoch)")])
        note(.standBy, "standing by for epoch \(epoch)", now: now)
        tellRole(now: now)
    }

    private mutating func outbid(epoch: Epoch, now: Now) {
        log(.notice, "staying active above the epoch that the peer knows", [.init("epoch", "\(epoch)")])
        // A starting peer names the ownership of which its sessions are: there was one after ours of which nobody told us.
        if watch.last?.role == .starting { leases.begin(.record(.pastGap(aloneFor: nil)), at: now.instant) }
        sendHeartbeats(wantsAnswer: false, on: nil, now: now)
        tellRole(now: now)
    }

    mutating func tellRole(now: Now) {
        effects.append(
            .roleChanged(role: roles.role, epoch: roles.epoch, paired: isOwner ? sender.pairState == .paired : receiver.isInStep))
    }
}
