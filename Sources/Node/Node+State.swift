import Context
import Control
import DequeModule
import IKE
import Pair
public import Session

/// Sessions that are kept on disk, so that they outlive the loss of both daemons at once, or of the only one.
///
/// Nothing waits for the disk but what must not come back from it: a session that goes to another gateway. So the last moments may be
/// missing, and whoever goes on with what is there leaves behind all that may have been used since: epochs are written before they are
/// used, with a reserve (`StoredState.epochReserve`); sequence numbers go on so many slices later (`StoredState.beginLife`), and no further
/// slice is used before it is written; message IDs are agreed on with the peer (RFC 6311).
extension Node {
    mutating func stateReported(_ event: StateEvent, now: Now) {
        switch event {
        case .opened(let opening): stateOpened(opening, now: now)
        case .done: stateDone(now: now)
        case .failed(let reason): stateFailed(reason, now: now)
        }
    }

    // MARK: - The beginning

    private mutating func stateOpened(_ opening: StateOpening, now: Now) {
        state.open(opening, at: now.instant)
        oweSpentSlices()
        roles.mayUse(upTo: state.writtenLimit)
        if let problem = opening.problem {
            log(.error, "the state directory", [.init("problem", problem)])
            note(.state, "the state directory: \(problem)", now: now)
        }
        for reservation in opening.state.reservations.values { try? table.replace(with: reservation) }
        for departure in opening.state.departures {
            _ = departures.insert(Departures.Entry(spent: departure.spent, traps: [], trapsEnd: now.instant))
        }
        var refusals: [String] = []
        for id in opening.state.sessions.keys.sorted() {
            guard let session = opening.state.sessions[id] else { continue }
            do throws(RestoreRefusal) {
                state.stored.append(try restorable(session, writtenAt: opening.writtenAtWallMilliseconds, now: now))
            } catch {
                refusals.append("#\(session.uniqueID): \(error.text)")
                state.mark(id)
            }
        }
        roles.remember(FormerLives(epoch: state.stored.isEmpty ? 0 : opening.state.head?.epoch ?? 0, spent: opening.spent))
        state.epoch = state.stored.isEmpty ? 0 : opening.state.head?.epoch ?? 0
        state.isRestoredOnly = state.isRestoring
        state.nextRestore = state.isRestoring ? now.instant : nil
        tellOpening(refusals, count: state.stored.count, writtenAt: opening.writtenAtWallMilliseconds, now: now)
    }

    /// Lines that say why a session is not gone on with.
    private static let refusalsToldMax = 8

    private mutating func tellOpening(_ refusals: [String], count: Int, writtenAt: Int64?, now: Now) {
        counters.stateSessionsRefused += UInt64(refusals.count)
        for refusal in refusals.prefix(Node.refusalsToldMax) {
            log(.warning, "a session of the disk is not gone on with", [.init("session", refusal)])
        }
        guard count + refusals.count > 0 else { return }
        let age = writtenAt.map { ", written \(WallTime.span(milliseconds: max(0, now.wallMilliseconds - $0))) ago" } ?? ""
        let rest = refusals.isEmpty ? "" : "; \(refusals.count) are not gone on with, the first \(refusals[0])"
        log(.notice, "read sessions from disk", [.init("sessions", "\(count)"), .init("refused", "\(refusals.count)")])
        note(.state, "read \(count) sessions from disk\(age)\(rest)", now: now)
    }

    /// Why a session of the disk is not gone on with.
    private enum RestoreRefusal: Error {
        case clock
        case expired
        /// Another gateway's copy that nobody came to.
        case arriving
        case adoption(String)

        var text: String {
            switch self {
            case .clock: "the clock is behind the time at which it was written"
            case .expired: "its time is over"
            case .arriving: "it had not come here yet"
            case .adoption(let text): text
            }
        }
    }

    /// A session as it is gone on with; the same is asked of it as of one that another gateway gives us.
    private func restorable(_ session: Session, writtenAt: Int64?, now: Now) throws(RestoreRefusal) -> Session {
        let wall = now.wallMilliseconds
        if let writtenAt, writtenAt > wall + StateWork.clockToleranceMilliseconds { throw .clock }
        guard !session.isArriving else { throw .arriving }
        let isOver = [session.ikeSA.lifetime.endsAt, session.reauthenticateAt].contains { $0.map { $0 <= wall } ?? false }
        guard !isOver else { throw .expired }
        do throws(AdoptionRefusal) { try checkAuthorization(of: session) } catch { throw .adoption("\(error)") }
        var session = session
        session.children.removeAll { child in child.lifetime.endsAt.map { $0 <= wall } ?? false }
        return session
    }

    /// Puts the sessions of the disk into the table and the data plane, silent and armed as a standby's, page by page.
    mutating func workOnRestoring(now: Now) {
        if roles.role == .standby { standByRestored() }
        guard let due = state.nextRestore, now.instant >= due else { return }
        restore(StateWork.restorePage, now: now)
        guard state.stored.isEmpty else {
            state.nextRestore = now.instant + StateWork.restorePause
            return
        }
        ike.prepare(table: table)
        if configuration.pair == nil, roles.role == .starting { perform(roles.ownAlone(at: now.instant), now: now) }
    }

    /// The rest at once, for a takeover does not wait.
    mutating func restoreRest(now: Now) { restore(state.stored.count, now: now) }

    private mutating func restore(_ count: Int, now: Now) {
        var commands: [DataPlaneCommand] = []
        for _ in 0..<min(count, state.stored.count) {
            let session = state.stored.removeFirst()
            // The active has told of it, or it came before from there.
            guard !state.told.contains(session.id), table[session.id] == nil else { continue }
            guard let applied = try? table.apply(SessionDelta(session: session.id, changes: [.created(session)])) else {
                counters.stateSessionsRefused += 1
                log(.warning, "a session of the disk does not fit", [.init("session", "\(session.id)")])
                state.mark(session.id)
                continue
            }
            state.restoredCount += 1
            counters.stateSessionsRestored += 1
            roads.note(applied, configuration.nodeAddresses)
            followSelectors(of: applied)
            commands += plan.commands(for: applied)
        }
        if !commands.isEmpty { effects.append(.dataPlane(commands)) }
        if state.stored.isEmpty { endRestoring() }
    }

    private mutating func endRestoring() {
        state.nextRestore = nil
        state.told = []
    }

    /// The peer is active, and has gone on since. Until all that it knows is here the disk's sessions go on coming: it may die before, and
    /// they are all that there is then. Once in step what is not in the table yet does not come into it.
    private mutating func standByRestored() {
        state.isRestoredOnly = false
        guard state.isRestoring, receiver.isInStep else { return }
        for session in state.stored { state.mark(session.id) }
        state.stored = []
        endRestoring()
    }

    /// Nothing is missing here any more.
    mutating func noteInStep() { state.forgetChildren(except: table) }

    /// This node is owner in this epoch.
    mutating func noteOwnership(now: Now) {
        guard state.isOpen else { return }
        if state.isRestoredOnly {
            let count = state.restoredCount
            log(.notice, "goes on with sessions from disk", [.init("sessions", "\(count)")])
            note(.state, "goes on with \(count) sessions from disk", now: now)
        }
        state.isRestoredOnly = false
    }

    // MARK: - Changes

    /// On both nodes: a session changed.
    mutating func noteStored(_ applied: AppliedDelta, now: Now) {
        guard state.isOpen else { return }
        if state.isRestoring { state.told.insert(applied.delta.session) }
        let isLazy = applied.delta.changes.allSatisfy(\.isCounter)
        if isLazy { state.markLazily(applied.delta.session, at: now.instant) } else { state.mark(applied.delta.session) }
        guard !isLazy else { return }
        for child in applied.after?.children ?? [] { checkReach(of: child) }
        guard let before = applied.before else { return }
        for child in before.children where applied.after?.child(inboundSPI: child.inboundSPI) == nil {
            state.forgetChild(child.inboundSPI, mayComeBack: !isOwner && !receiver.isInStep)
        }
        guard applied.after == nil else { return }
        for lease in before.virtualAddresses where table.reservations[lease.address] != nil { state.mark(lease.address) }
        guard !before.isArriving, applied.delta.isDetachment || before.ikeSAs.contains(where: { $0.epochShift.spent > 0 }) else { return }
        state.mark(StoredDeparture(spent: Dictionary(before.ikeSAs.map { ($0.localSPI, $0.epochShift.spent) }) { max($0, $1) }))
    }

    /// On both nodes: a data plane's counter moved on.
    mutating func noteAdvance(_ advance: SessionTable.Advance, now: Now) {
        guard state.isOpen else { return }
        if state.isRestoring { state.told.insert(advance.session) }
        state.markLazily(advance.session, at: now.instant)
    }

    /// Numbers that this node uses, or as a standby would use at once when it took over unprepared, must lie below those of a life that
    /// begins with what is on the disk.
    private mutating func checkReach(of child: ChildSA) {
        let reach = isOwner ? child.lease : child.lease.nextAfterGap(for: configuration.id)
        guard state.isTooFar(reach, of: child.inboundSPI, node: configuration.id) else { return }
        discardState("a CHILD SA went on further than what is on the disk reckons with")
    }

    /// What a snapshot says beside the sessions.
    mutating func noteStored(_ frame: PairFrame) {
        guard state.isOpen, case .snapshotPage(_, let reservations) = frame else { return }
        for reservation in reservations { state.mark(reservation.address) }
    }

    /// The peer may have used epochs up to here: an owner goes past them when that is written.
    mutating func reserveEpochs(above epoch: Epoch) { if state.isOpen { state.reserve(above: epoch) } }

    private mutating func discardState(_ reason: String) {
        guard !state.wantsDiscard else { return }
        state.discard()
        guard state.wantsDiscard else { return }
        counters.stateDiscards += 1
        log(.warning, "what is on the disk is too old to be gone on with, and is written anew", [.init("reason", reason)])
    }

    // MARK: - Writing

    mutating func workOnState(now: Now) {
        guard state.isOpen else { return }
        noteEpoch()
        noticeHanging(now: now)
        let hostTime = Now(instant: now.instant, wallMilliseconds: clock.hostMilliseconds)
        guard let order = state.takeOrder(table: table, node: configuration.id, now: hostTime) else { return }
        effects.append(.state(order))
    }

    private mutating func noticeHanging(now: Now) {
        guard state.noteHanging(at: now.instant) else { return }
        log(.error, "the state directory does not answer; going on without")
        note(.state, "the state directory does not answer; going on without", now: now)
        if !state.claims.isEmpty {
            discardState(Node.claimUnwritten)
            settleClaims(isForced: true, now: now)
        }
        guard !state.waiters.isEmpty || state.heldAcknowledgement != nil else { return }
        // Nobody waits for ever. When the disk works again what it had is removed.
        discardState("a session left, and the disk does not answer")
        log(
            .error,
            "a session that left is still on the disk, which hangs: empty the state directory if this node ends before it works again")
        releaseForgotten(isForced: true, now: now)
    }

    private static let claimUnwritten = "what the other node used cannot be written"

    private mutating func noteEpoch() {
        // A standby that is not in step has the sessions of an earlier ownership.
        if isOwner || receiver.isInStep { state.own(roles.epoch) }
        state.reserve(above: roles.epoch)
        guard isOwner, let written = state.writtenLimit, roles.epoch > written else { return }
        discardState("epoch \(roles.epoch) is past what it reckons with")
    }

    private mutating func stateDone(now: Now) {
        if let since = state.errorSince {
            let seconds = Int((now.instant - since).inMilliseconds / 1000)
            log(.notice, "the state directory can be written again", [.init("after_seconds", "\(seconds)")])
            note(.state, "the state directory can be written again, after \(seconds) s", now: now)
        }
        counters.stateBatchesWritten += 1
        let wasDiscarding = state.isDiscarding
        state.done(table: table, at: now.instant)
        if wasDiscarding { markDepartures() }
        roles.mayUse(upTo: state.writtenLimit)
        settleClaims(now: now)
        releaseForgotten(now: now)
    }

    private mutating func stateFailed(_ reason: String, now: Now) {
        counters.stateWriteFailures += 1
        if state.errorSince == nil {
            log(.error, "cannot write to the state directory; going on without", [.init("reason", reason)])
            note(.state, "cannot write to the state directory: \(reason); going on without, and trying again", now: now)
        }
        let wasDiscarding = state.isDiscarding
        state.failed(reason, table: table, at: now.instant)
        if wasDiscarding { markDepartures() }
        roles.mayUse(upTo: state.writtenLimit)
        // Nobody waits for a disk that fails: it is not gone on with then.
        if !state.claims.isEmpty { discardState(Node.claimUnwritten) }
        settleClaims(now: now)
        guard wasDiscarding || state.writtenLimit == nil else {
            // What waits must not come back from the disk.
            if !state.waiters.isEmpty || state.heldAcknowledgement != nil { discardState("a session left, and that cannot be written") }
            return
        }
        if wasDiscarding {
            log(.error, "old state cannot be removed: empty the state directory before the next start", [.init("reason", reason)])
            note(.state, "old state cannot be removed (\(reason)): empty the state directory before the next start", now: now)
        }
        releaseForgotten(isForced: true, now: now)
    }

    /// The file begins from nothing: what left is still not to come back from elsewhere.
    private mutating func markDepartures() { for departure in departures.stored { state.mark(departure) } }

    // MARK: - What waits for the disk

    /// The session lives elsewhere as soon as this is out: it must not come back from the disk then.
    mutating func releaseWhenForgotten(
        _ session: SessionID, messages: [TransferOutput], responses: [HeldResponse], now: Now
    ) {
        guard state.isOpen, !messages.isEmpty || !responses.isEmpty else {
            return release(commands: [], datagrams: [], messages: messages, responses: responses, now: now)
        }
        state.waiters.append(StateWork.Waiter(session: session, messages: messages, responses: responses))
    }

    private mutating func releaseForgotten(isForced: Bool = false, now: Now) {
        let waiters = state.waiters
        let ready = waiters.filter { isForced || state.hasForgotten($0.session) }
        state.waiters = waiters.filter { !isForced && !state.hasForgotten($0.session) }
        for waiter in ready {
            release(commands: [], datagrams: [], messages: waiter.messages, responses: waiter.responses, now: now)
        }
        guard let held = state.heldAcknowledgement, isForced || held.sessions.allSatisfy(state.hasForgotten) else { return }
        state.heldAcknowledgement = nil
        if !isOwner { effects.append(.frame(.acknowledge(index: held.index))) }
    }

    /// We are not the owner any more.
    mutating func dropHeldForDisk() {
        for waiter in state.waiters { for held in waiter.responses { respondLate(held) } }
        state.waiters = []
    }

    /// The active answers when both disks have forgotten a session: this one's entry is acknowledged, and those after it, when it has.
    mutating func holdsAcknowledgement(of entry: LogEntry, index: UInt64) -> Bool {
        guard state.isOpen else { return false }
        state.heldAcknowledgement?.index = index
        // One that hangs may never have forgotten anything; `noticeHanging` has told.
        if case .delta(let delta) = entry, delta.isDetachment, !state.isHanging, !state.hasForgotten(delta.session) {
            state.heldAcknowledgement = ((state.heldAcknowledgement?.sessions ?? []).union([delta.session]), index)
        }
        return state.heldAcknowledgement != nil
    }

    // MARK: - The end

    /// All that is not on the disk, for the daemon's end; nothing is to be handed in any more.
    public mutating func lastStateOrders(now: Now) -> [StateOrder] {
        guard state.isOpen else { return [] }
        // The removal may be under way, and not come to its end any more.
        guard !state.wantsDiscard else { return [.discard] }
        state.takeBack()
        var out: [StateOrder] = []
        let head = StateHead(
            node: configuration.id, epoch: state.epoch, epochLimit: state.limit, atWallMilliseconds: clock.hostMilliseconds)
        repeat {
            out.append(.write(state.takeBatch(head, table: table, at: now.instant + StateWork.lazyDelay)))
        } while !state.isEmpty
        return out
    }
}

extension SessionChange {
    /// What moves all the time, and is of little worth for itself.
    fileprivate var isCounter: Bool {
        switch self {
        case .inboundAdvanced, .volumeReached: true
        default: false
        }
    }
}
