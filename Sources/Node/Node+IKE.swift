import DequeModule
import IKE
import Pair
import Session

extension Node {
    /// Datagrams kept during a hand-over, at most: it takes milliseconds, and a peer repeats what got lost.
    static let parkedMax = 256

    mutating func received(_ datagram: Datagram, now: Now) {
        guard isOwner else { return passOn(datagram, now: now) }
        guard !isDraining else { return park(datagram) }
        if isForArrival(datagram, now: now) { return }
        commit(ike.receive(datagram, table: table, context: context(now)), now: now)
    }

    private mutating func park(_ datagram: Datagram) {
        guard parked.count < Node.parkedMax else {
            counters.datagramsParkedDropped += 1
            return
        }
        counters.datagramsParked += 1
        parked.append(datagram)
    }

    /// What waited for a hand-over that did not come to be is answered now.
    mutating func unpark(now: Now) {
        while let datagram = parked.popFirst() { commit(ike.receive(datagram, table: table, context: context(now)), now: now) }
    }

    mutating func advanceIKE(now: Now) {
        guard isOwner, !isDraining, let due = ike.nextDeadline(), now.instant >= due else { return }
        for outcome in ike.advance(table: table, context: context(now)) { commit(outcome, now: now) }
    }

    func context(_ now: Now) -> IKEContext {
        IKEContext(now: now, epoch: roles.epoch, random: random, isAlone: isAlone(now), hasStandby: tellsHandshakes)
    }

    /// Nothing is known of the other node: it may be dead, or cut off and active as well. A link that is cut looks well until it is
    /// used; heartbeats that stay away say so sooner.
    func isAlone(_ now: Now) -> Bool {
        configuration.pair != nil && (!isPeerHeard(now) || sender.pairState != .paired)
    }

    func isPeerHeard(_ now: Now) -> Bool {
        guard let pair = configuration.pair else { return false }
        return watch.lastHeard.map { now.instant - $0 < pair.heartbeatInterval * pair.deadAfter } ?? false
    }

    /// Makes an outcome so: applied here, sent to the standby, and shown to the peer only when the standby has it (law 2).
    mutating func commit(_ outcome: IKEOutcome, now: Now) {
        var commands: [DataPlaneCommand] = []
        var changes: [WantedChange] = []
        var hooks: [HookCall] = []
        tellHandshakes(outcome.handshakes, now: now)
        for delta in outcome.deltas {
            guard let applied = applyOwn(delta, now: now) else {
                // What the deltas before it changed is so, and the data plane has to follow; but nothing of it is shown.
                return release(commands: commands, datagrams: [], hooks: hooks, now: now)
            }
            commands += plan.commands(for: applied)
            if let change = wantedChange(applied) { changes.append(change) }
            hooks += hookCalls(for: applied)
        }
        if outcome.session == nil, outcome.deltas.isEmpty {
            // It shows nothing that a standby would have to know.
            effects += outcome.datagrams.map(Effect.send)
        } else {
            let halfOpen = outcome.deltas.isEmpty ? outcome.handshakes.compactMap(\.opened) : []
            release(commands: commands, datagrams: outcome.datagrams, hooks: hooks, halfOpen: halfOpen, now: now)
        }
        for event in outcome.events {
            noteCall(event)
            noteEnding(event, now: now)
            noteTransfer(event, now: now)
            noteWanted(event, now: now)
            report(event, now: now)
        }
        for change in changes { note(change, events: outcome.events, now: now) }
    }

    /// Applies one of our own deltas, and hands it to the log.
    mutating func applyOwn(_ delta: SessionDelta, now: Now) -> AppliedDelta? {
        do {
            let applied = try table.apply(delta)
            if applied.before == nil, let new = applied.after { endLingering(before: new) }
            replicate(.delta(delta), now: now)
            forgetTraffic(of: applied)
            noteDeparture(applied, now: now)
            noteDivergence(applied, now: now)
            noteStored(applied, now: now)
            roads.note(applied, configuration.nodeAddresses)
            followSelectors(of: applied)
            if isAlone(now), let ended = applied.before, applied.after == nil { ike.sessionEndedAlone(ended) }
            return applied
        } catch {
            // Our own machine made a delta that does not fit: the session stays as it was, and nothing is shown of it.
            counters.applyErrors += 1
            log(.error, "a change did not fit and was dropped", [.init("session", "\(delta.session)"), .init("error", "\(error)")])
            return nil
        }
    }

    mutating func replicate(_ entry: LogEntry, now: Now) {
        guard let frame = sender.append(entry).frame else { return }
        counters.entriesSent += 1
        effects.append(.frame(frame))
        if sender.isOverrun { cutOffStandby(now: now) }
    }

    /// A standby that takes in nothing must not cost memory without end: it begins anew on another link.
    private mutating func cutOffStandby(now: Now) {
        sender.goSolo(.standbyTooSlow, at: now.instant)
        pairStateChanged(now: now)
        releaseHeld()
        closeLink("the standby is too far behind")
    }

    /// Lets outputs go now, or when the standby has everything that was sent up to here.
    ///
    /// What follows a held output waits too, though it changed nothing itself: it may repeat what is being held.
    mutating func release(
        commands: [DataPlaneCommand], datagrams: [Datagram], hooks: [HookCall] = [], messages: [TransferOutput] = [],
        responses: [HeldResponse] = [], isLease: Bool = false, halfOpen: [UInt64] = [], now: Now
    ) {
        guard !commands.isEmpty || !datagrams.isEmpty || !hooks.isEmpty || !messages.isEmpty || !responses.isEmpty else { return }
        let output = HeldOutput(
            index: sender.nextIndex - 1, deadline: now.instant + commitTimeout, commands: commands, datagrams: datagrams,
            hooks: hooks, messages: messages, responses: responses, isLease: isLease, halfOpen: halfOpen)
        if sender.holdsReplies, sender.lag > 0 { hold.append(output) } else { emit([output]) }
    }

    /// A link on which nobody has anything to say looks well when it is cut, and the pair would be called paired (law 8). Where
    /// heartbeats stay away, or nothing was acknowledged for a while, what was sent has to be acknowledged within the commit timeout,
    /// and be it an entry that says nothing.
    mutating func askSilentStandby(now: Now) {
        let isQuiet = link.acknowledgedAt.map { now.instant - $0 >= LinkState.quietTimeMax } ?? true
        guard isOwner, sender.pairState == .paired, hold.isEmpty, isQuiet || !isPeerHeard(now) else { return }
        if sender.isInStep { replicate(.replay([]), now: now) }
        hold.append(HeldOutput(index: sender.nextIndex - 1, deadline: now.instant + commitTimeout, commands: [], datagrams: []))
    }

    var commitTimeout: Duration { configuration.pair?.commitTimeout ?? .zero }

    mutating func emit(_ outputs: [HeldOutput]) {
        for output in outputs {
            if !output.commands.isEmpty { effects.append(.dataPlane(output.commands)) }
            effects += output.datagrams.map(Effect.send)
            for output in output.messages { send(output.message, to: output.gateway) }
            run(output.hooks)
            for held in output.responses { respond(held.token, held.response) }
        }
    }

    /// Nobody will acknowledge any more: what waits goes out, and the pair is visibly solo.
    ///
    /// But no SA goes on to a slice of which the standby was not told, before it has stopped to go by what it knows or the numbers end
    /// (`extendLease`), or is there again.
    mutating func releaseHeld() {
        for output in hold.releaseAll() {
            if output.isLease {
                for case .lease(let spi, _) in output.commands { unheardLeases.insert(spi) }
            } else {
                emit([output])
            }
        }
    }

    /// The standby has heard of everything.
    mutating func giveUnheardLeases() {
        let commands = unheardLeases.sorted().compactMap { spi -> DataPlaneCommand? in
            guard let session = table.session(inboundSPI: spi), let child = session.child(inboundSPI: spi) else { return nil }
            return plan.arm(child, in: session)
        }
        unheardLeases = []
        if !commands.isEmpty { effects.append(.dataPlane(commands)) }
    }

    /// We are not the owner any more: what waited is never shown; the data plane follows the table all the same.
    mutating func dropHeld() {
        for output in hold.releaseAll() {
            if !output.commands.isEmpty { effects.append(.dataPlane(output.commands)) }
            // What came is the new owner's; what went was ours.
            run(output.hooks.filter { $0.verb == .down })
            for held in output.responses { respondLate(held) }
        }
    }

    mutating func releaseOverdue(now: Now) {
        releaseLateHandshakes(now: now)
        guard let deadline = hold.nextDeadline, now.instant >= deadline else { return }
        counters.commitTimeouts += 1
        sender.commitTimedOut(at: now.instant)
        pairStateChanged(now: now)
        releaseHeld()
    }

    /// A burst of new peers keeps both nodes busy for longer than the commit timeout. That is no reason to call the pair solo: an answer to
    /// IKE_SA_INIT that left too early costs its peer a new beginning, if this node dies at that moment, and no session.
    private mutating func releaseLateHandshakes(now: Now) {
        let late = hold.releaseLateHandshakes(at: now.instant)
        guard !late.isEmpty else { return }
        counters.handshakesNotWaitedFor += UInt64(late.count)
        for spi in late.flatMap(\.halfOpen) { ike.unshare(halfOpen: spi) }
        emit(late)
    }

    mutating func forgetTraffic(of applied: AppliedDelta) {
        for child in applied.before?.children ?? [] where applied.after?.child(inboundSPI: child.inboundSPI) == nil {
            traffic[child.inboundSPI] = nil
        }
    }
}
