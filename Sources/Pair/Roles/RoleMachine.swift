public import Session

/// Why a node became owner.
public enum TakeoverCause: Hashable, Sendable {
    /// Nobody was heard since the start.
    case alone
    /// Heartbeats stopped on every path.
    case heartbeatLost
    /// The link closed, and the peer did not answer when it was asked.
    case linkClosed
    /// The peer lives, but is not active (it restarted, or gave up).
    case peerNotActive
    /// The peer handed over.
    case switchover

    public var name: String {
        switch self {
        case .alone: "alone"
        case .heartbeatLost: "heartbeat_lost"
        case .linkClosed: "link_closed"
        case .peerNotActive: "peer_not_active"
        case .switchover: "switchover"
        }
    }
}

public enum StepDownCause: Hashable, Sendable {
    /// The peer is active with a higher epoch.
    case higherEpoch
    /// The peer accepted the hand-over.
    case switchover
    /// Nobody is heard, and nobody confirms that we are the only owner.
    case notConfirmed(reason: String)
}

public enum RoleAction: Hashable, Sendable {
    /// Own everything from this epoch on.
    case takeOver(cause: TakeoverCause, epoch: Epoch)
    /// We are active and stay so, under a higher epoch than the peer knows.
    case outbid(epoch: Epoch)
    /// Let go of addresses and gate: the peer owns everything.
    case stepDown(cause: StepDownCause, epoch: Epoch)
    /// The peer is active; we stand by.
    case standBy(epoch: Epoch)
    /// Ask the peer on every path whether it lives.
    case probe
    /// The peer did not answer the hand-over in time: carry on as active.
    case handoverFailed(reason: String)
    /// Find out, and say so with this number.
    case ask(QuestionNumber, ArbiterQuestion)
    /// We would take over and may not, for this reason. Said once for each.
    case withheld(cause: TakeoverCause, reason: String)
    /// We go on as owner and may be one of two: the witness is not reached.
    case unconfirmed(reason: String)
}

/// What the role machine is timed by.
public struct RoleTiming: Hashable, Sendable {
    public var heartbeatInterval: Duration
    public var deadAfter: Int

    public init(heartbeatInterval: Duration, deadAfter: Int) {
        self.heartbeatInterval = heartbeatInterval
        self.deadAfter = deadAfter
    }

    /// Silence on all paths after which the peer is dead.
    public var deadTime: Duration { heartbeatInterval * deadAfter }
    /// How long an asked peer has to answer once the link has closed: half an interval. A living daemon answers in well under
    /// a millisecond; the closed connection has already told that something ended.
    public var probeTime: Duration { heartbeatInterval / 2 }
    /// How long two nodes that have just met take to prove their lives to each other: one learns the other's, names it, is named.
    public var introductionTime: Duration { heartbeatInterval * 4 }
    /// How long a starting node listens for an active peer. Node 1 waits twice as long, so that two that start together do
    /// not both become active.
    public func grace(for node: NodeID) -> Duration {
        max(.seconds(1), heartbeatInterval * 10) * (node == .zero ? 1 : 2)
    }
    /// How long the standby has to take a hand-over before the active carries on.
    public var handoverTime: Duration { max(.milliseconds(500), deadTime * 2) }
}

/// What a node that keeps its state on disk knows of its lives before this one.
public struct FormerLives: Hashable, Sendable {
    /// The ownership of which the sessions are that were read; 0: there are none.
    public var epoch: Epoch
    /// Epochs up to here may have been used (law 3).
    public var spent: Epoch

    public init(epoch: Epoch, spent: Epoch) {
        self.epoch = epoch
        self.spent = spent
    }
}

/// Who owns the sessions, decided from heartbeats, the link and the operator (design: Roles).
///
/// Epochs are even when node 0 made them and odd when node 1 did, so that no epoch ever has two owners.
public struct RoleMachine: Sendable {
    private enum State: Hashable, Sendable {
        case starting(until: Instant)
        /// `suspicion`: the link closed, the peer was asked, and has until then to answer.
        case standby(activeHeard: Instant, suspicion: Instant?)
        case active
        case handingOver(to: Epoch, until: Instant)
    }

    private let node: NodeID
    public let timing: RoleTiming
    private var state: State
    public private(set) var epoch: Epoch = 0
    /// The life in which the peer was last known to be active.
    private var ownerLife: UInt64?
    /// What the node's own disk says of its lives before.
    private var former: FormerLives?
    /// Epochs up to here are written down as used; `nil`: nothing is written down. A takeover does not wait for a disk, and lies within a
    /// reserve; to go past what the peer spent is not urgent, and waits.
    private var writtenLimit: Epoch?
    /// When the present role was taken, and why, for `status`.
    public private(set) var since: Instant
    /// What is asked when nobody is heard.
    private var arbitration: Arbitration
    /// Since when the peer says that it stands by as well; only looked at with a witness.
    private var peerIdleSince: Instant?
    /// The highest epoch that the peer has named while we owned: what we may not outbid, it can still be offered.
    private var peerKnows: Epoch = 0

    public init(node: NodeID, timing: RoleTiming, arbitration plan: ArbitrationPlan = .none, now: Instant) {
        self.node = node
        self.timing = timing
        arbitration = Arbitration(plan: plan, timing: timing)
        since = now
        state = .starting(until: now + timing.grace(for: node))
    }

    public var role: NodeRole {
        switch state {
        case .starting: .starting
        case .standby: .standby
        case .active, .handingOver: .active
        }
    }

    /// What heartbeats and the link say of us: while we are starting the ownership of which our sessions are, so that of two that start
    /// the one that knows more begins; from then on no less than what was spent, so that an owner goes past it.
    public var announcedEpoch: Epoch {
        switch state {
        case .starting: former?.epoch ?? 0
        case .standby: max(epoch, former?.spent ?? 0)
        case .active, .handingOver: epoch
        }
    }

    /// The node remembers its former lives. Before anything else happens.
    public mutating func remember(_ lives: FormerLives) { former = lives }

    /// Epochs up to here are on the node's disk; `nil`: there is nothing on it.
    public mutating func mayUse(upTo limit: Epoch?) { writtenLimit = limit }

    public var isHandingOver: Bool { if case .handingOver = state { true } else { false } }

    /// Who is active in the epoch that we offered has accepted it; in another one it took over by itself, and does not hold what we hold.
    private func isOffered(_ epoch: Epoch) -> Bool { if case .handingOver(epoch, _) = state { true } else { false } }

    /// The link closed, and the peer has not answered yet.
    public var isSuspecting: Bool { if case .standby(_, .some) = state { true } else { false } }

    /// It would own, and waits for leave.
    public var isSeeking: Bool { arbitration.seeking != nil }

    public func nextDeadline() -> Instant? {
        if isSeeking { return arbitration.nextDeadline() }
        switch state {
        case .starting(let until): return until
        case .standby(let heard, let suspicion): return min(heard + timing.deadTime, suspicion ?? heard + timing.deadTime)
        case .active: return arbitration.nextDeadline()
        case .handingOver(_, let until): return min(until, arbitration.nextDeadline() ?? until)
        }
    }

    /// A heartbeat that counts. The epoch is looked at before the role (law 4).
    public mutating func heartbeat(_ heartbeat: Heartbeat, at now: Instant) -> [RoleAction] {
        let known = epoch
        epoch = max(epoch, heartbeat.epoch)
        switch state {
        case .active, .handingOver:
            peerKnows = max(peerKnows, heartbeat.epoch)
            guard heartbeat.role == .active, heartbeat.epoch > known else {
                epoch = known
                // A peer of a higher epoch that is not active any more: outbid it, so that the highest epoch is the owner's.
                return heartbeat.epoch > known && mayOutbid(heartbeat.epoch) ? outbid(heartbeat.epoch) : []
            }
            ownerLife = heartbeat.boot
            return becomeStandby(cause: isOffered(heartbeat.epoch) ? .switchover : .higherEpoch, at: now)
        case .starting:
            return heardWhileStarting(heartbeat, at: now)
        case .standby(_, let suspicion):
            guard heartbeat.role == .active else { return isOutdated(heartbeat, known: known) ? [] : peerIsIdle(heartbeat, at: now) }
            guard heartbeat.epoch >= known else { return [] }
            ownerLife = heartbeat.boot
            peerIdleSince = nil
            state = .standby(activeHeard: now, suspicion: heartbeat.wantsAnswer ? suspicion : nil)
            return arbitration.cancel()
        }
    }

    /// The peer said so before it became the owner that we know, and what came by the link was faster.
    private func isOutdated(_ heartbeat: Heartbeat, known: Epoch) -> Bool {
        heartbeat.role == .starting ? heartbeat.boot == ownerLife : heartbeat.epoch < known
    }

    /// Somebody speaks on a heartbeat path and cannot be verified: most likely the peer, with another key than the pinned one. A
    /// starting node must not become a second owner beside it, so it listens on for as long as that goes on. Whoever can forge
    /// the peer's address on the pair's own network can so keep a node from starting alone, and nothing else.
    ///
    /// - Returns: whether the node is held back.
    public mutating func unverifiedHeard(at now: Instant) -> Bool {
        guard case .starting = state, !isSeeking else { return false }
        state = .starting(until: now + timing.grace(for: node))
        return true
    }

    /// The peer has just started as well, and it cannot be said yet who begins: the node listens on.
    public mutating func wait(at now: Instant) {
        guard case .starting(let until) = state, !isSeeking else { return }
        state = .starting(until: max(until, now + timing.grace(for: node)))
    }

    /// The peer said on the link what it is, which a starting node hears before any heartbeat counts. From an active one it may be
    /// filled at once, and must not count as new any more: two that are new would begin from nothing.
    public mutating func linked(to role: NodeRole, epoch known: Epoch, life: UInt64, at now: Instant) -> [RoleAction] {
        guard case .starting(let until) = state else { return [] }
        guard role == .active else {
            state = .starting(until: max(until, now + timing.introductionTime))
            return arbitration.cancel()
        }
        ownerLife = life
        epoch = max(epoch, known)
        // Heartbeats count once each side knows the other's life, which takes a few of them.
        state = .standby(activeHeard: now + (timing.grace(for: node) - timing.deadTime), suspicion: nil)
        since = now
        return arbitration.cancel() + [.standBy(epoch: epoch)]
    }

    private mutating func heardWhileStarting(_ heartbeat: Heartbeat, at now: Instant) -> [RoleAction] {
        switch heartbeat.role {
        case .active:
            state = .standby(activeHeard: now, suspicion: nil)
            ownerLife = heartbeat.boot
            since = now
            return arbitration.cancel() + [.standBy(epoch: epoch)]
        case .standby:
            // It holds sessions and finds us not active: it takes over by itself.
            state = .starting(until: now + timing.grace(for: node))
            return arbitration.cancel()
        case .starting:
            if isFirst(before: heartbeat) { return arbitration.cancel() + [own(.alone, at: now)] }
            state = .starting(until: now + timing.grace(for: node))
            return arbitration.cancel()
        }
    }

    /// Both have just started. Who has sessions on its disk begins, before one that has none; if both have, the one whose sessions are of
    /// the later ownership, and of the same one the owner, which knew of each change before its standby. Two that have nothing: node 0.
    private func isFirst(before peer: Heartbeat) -> Bool {
        let own = former?.epoch ?? 0
        guard own == peer.epoch else { return own > peer.epoch }
        return own == 0 ? node == .zero : own % 2 == UInt64(node.rawValue)
    }

    /// The link's connection closed: a hint, no proof. The peer is asked at once.
    ///
    /// - Parameter holdsEverything: a standby that does not is in no hurry: were the peer alive, it would lose what it has.
    public mutating func linkClosed(holdsEverything: Bool, at now: Instant) -> [RoleAction] {
        guard case .standby(let heard, nil) = state, holdsEverything, !isSeeking else { return [] }
        // `heard` is ahead while only the link has told that the peer is active: it does not know our life yet, and cannot answer.
        state = .standby(activeHeard: heard, suspicion: now + (heard > now ? timing.introductionTime : timing.probeTime))
        return [.probe]
    }

    public mutating func deadline(at now: Instant) -> [RoleAction] {
        if isSeeking { return act(on: arbitration.seekingDeadline(at: now), at: now) }
        switch state {
        case .starting(let until):
            return now >= until ? decide(.alone, silentSince: until + (.zero - timing.grace(for: node)), at: now) : []
        case .standby(let heard, let suspicion):
            if now >= heard + timing.deadTime { return decide(.heartbeatLost, silentSince: heard, at: now) }
            if let suspicion, now >= suspicion { return decide(.linkClosed, silentSince: heard, at: now) }
            return []
        case .active:
            return act(on: arbitration.holdingDeadline(at: now), at: now)
        case .handingOver(_, let until):
            guard now >= until else { return act(on: arbitration.holdingDeadline(at: now), at: now) }
            state = .active
            return [.handoverFailed(reason: "the standby did not answer within \(timing.handoverTime)")]
        }
    }

    /// The operator's switchover: from here on the node changes nothing. Only a node that is active can begin.
    ///
    /// - Returns: the epoch that is offered to the peer.
    public mutating func beginHandover(at now: Instant) -> Epoch? {
        guard case .active = state else { return nil }
        // Not the next one, which the peer would take by itself if it missed us: whoever is heard in the offered epoch has accepted.
        // The peer uses it, whose disk has what it named and a reserve above.
        let offered = RoleMachine.next(after: max(epoch, peerKnows), for: node.peer) + 2
        state = .handingOver(to: offered, until: now + timing.handoverTime)
        return offered
    }

    public mutating func handoverAccepted(epoch accepted: Epoch, at now: Instant) -> [RoleAction] {
        guard case .handingOver(let offered, _) = state, accepted == offered else { return [] }
        epoch = accepted
        // The link told; a peer that has just started may not know our life yet, and could not answer if the link broke.
        return becomeStandby(cause: .switchover, at: now, heard: now + timing.introductionTime)
    }

    public mutating func handoverRefused(epoch refused: Epoch, reason: String) -> [RoleAction] {
        guard case .handingOver(let offered, _) = state, refused == offered else { return [] }
        state = .active
        return [.handoverFailed(reason: reason)]
    }

    /// The active asks us to own everything. `nil`: we are not its standby, or the epoch is not above what we know.
    public mutating func takeHandover(epoch offered: Epoch, at now: Instant) -> [RoleAction]? {
        guard case .standby = state, offered > max(epoch, former?.spent ?? 0), offered % 2 == UInt64(node.rawValue) else { return nil }
        state = .active
        since = now
        epoch = offered
        let actions = arbitration.cancel() + [.takeOver(cause: .switchover, epoch: offered)]
        arbitration.owns(epoch: offered, isHandedOver: true, at: now)
        return actions
    }

    /// A node without a pair owns from the start.
    public mutating func ownAlone(at now: Instant) -> RoleAction { own(.alone, at: now) }

    /// The owner goes on to an epoch of its own that nobody has spoken in: before it takes over what another owner did, so that no IV of it
    /// can have been used under the keys that come.
    public mutating func renew() -> Epoch? {
        guard case .active = state else { return nil }
        epoch = RoleMachine.next(after: epoch, for: node)
        return epoch
    }

    private func mayOutbid(_ known: Epoch) -> Bool { writtenLimit.map { known + 2 <= $0 } ?? true }

    private mutating func outbid(_ known: Epoch) -> [RoleAction] {
        let failed: [RoleAction] = isHandingOver ? [.handoverFailed(reason: "the standby knows of a higher epoch")] : []
        epoch = RoleMachine.next(after: max(known, former?.spent ?? 0), for: node)
        state = .active
        arbitration.outbid(epoch: epoch)
        return failed + [.outbid(epoch: epoch)]
    }

    /// The epoch in which this node would own next.
    private var nextOwn: Epoch { RoleMachine.next(after: max(epoch, former?.spent ?? 0), for: node) }

    private mutating func own(_ cause: TakeoverCause, at now: Instant) -> RoleAction {
        epoch = nextOwn
        state = .active
        since = now
        peerIdleSince = nil
        arbitration.owns(epoch: epoch, at: now)
        return .takeOver(cause: cause, epoch: epoch)
    }

    private mutating func becomeStandby(cause: StepDownCause, at now: Instant, heard: Instant? = nil) -> [RoleAction] {
        state = .standby(activeHeard: heard ?? now, suspicion: nil)
        since = now
        return [.stepDown(cause: cause, epoch: epoch)] + arbitration.steppedDown()
    }

    // MARK: - Arbitration

    /// Heartbeats up to this number have been sent.
    public mutating func heartbeatsSent(upTo sequence: UInt64, at now: Instant) {
        guard !arbitration.plan.isEmpty else { return }
        arbitration.sent(upTo: sequence, at: now)
    }

    /// The peer has heard our heartbeats up to this number.
    ///
    /// - Parameter sequence: `nil` when the peer cannot tell.
    public mutating func wasHeard(upTo sequence: UInt64?, at now: Instant) -> [RoleAction] {
        arbitration.plan.isEmpty ? [] : arbitration.heard(upTo: sequence, at: now)
    }

    /// The answer to a question of ours.
    public mutating func answered(_ number: QuestionNumber, _ answer: ArbiterAnswer, at now: Instant) -> [RoleAction] {
        if isSeeking { return act(on: arbitration.seekingAnswered(number, answer, at: now), at: now) }
        return act(on: arbitration.holdingAnswered(number, answer, at: now), at: now)
    }

    /// Nobody is heard. Without anybody to ask the node decides alone.
    private mutating func decide(_ cause: TakeoverCause, silentSince: Instant, at now: Instant) -> [RoleAction] {
        guard !arbitration.plan.isEmpty else { return [own(cause, at: now)] }
        return act(on: arbitration.seek(cause, epoch: nextOwn, silentSince: silentSince, at: now), at: now)
    }

    private mutating func act(on verdict: Arbitration.Verdict, at now: Instant) -> [RoleAction] {
        switch verdict {
        case .own(let cause): return [own(cause, at: now)]
        case .wait(let actions): return actions
        }
    }

    private mutating func act(on result: (actions: [RoleAction], doubt: Arbitration.Doubt), at now: Instant) -> [RoleAction] {
        guard case .yield(let reason, let silentSince) = result.doubt else { return result.actions }
        // From here on it is a standby that hears nobody, and asks as one.
        return result.actions + becomeStandby(cause: .notConfirmed(reason: reason), at: now, heard: silentSince)
    }

    /// The peer does not own either. Without a witness it does not begin to by itself while we are heard, and we own at once.
    private mutating func peerIsIdle(_ heartbeat: Heartbeat, at now: Instant) -> [RoleAction] {
        guard arbitration.plan.witness != nil else { return arbitration.cancel() + [own(.peerNotActive, at: now)] }
        // One that does not hear us may ask the witness, and then we have to as well. While it hears us it does not; of two that stand by
        // whoever owned last has what there is to own, and begins, the other one only when nothing comes of that.
        let isNew = heartbeat.role == .starting
        let isOurs = isNew || RoleMachine.next(after: epoch, for: node) == epoch + 2
        if isOurs, arbitration.isMutual(at: now) { return arbitration.cancel() + [own(.peerNotActive, at: now)] }
        if isNew { return isSeeking ? [] : decide(.peerNotActive, silentSince: now, at: now) }
        let since = peerIdleSince ?? now
        peerIdleSince = since
        state = .standby(activeHeard: now, suspicion: nil)
        guard isOurs || now >= since + timing.deadTime * 2 else { return arbitration.cancel() }
        return isSeeking ? [] : decide(.peerNotActive, silentSince: now, at: now)
    }

    /// The smallest epoch above `epoch` that `node` may make.
    static func next(after epoch: Epoch, for node: NodeID) -> Epoch {
        let above = epoch + 1
        return above % 2 == UInt64(node.rawValue) ? above : above + 1
    }
}
