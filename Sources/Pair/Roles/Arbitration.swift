import Session

/// Who may own when the nodes cannot hear each other, decided by what both can ask (Docs/splitbrain.md).
///
/// Belongs to the role machine: `Seeking` is the way of a node that would own, `Holding` that of one that does. While each hears that
/// the other hears it, nothing is asked at all.
struct Arbitration: Sendable {
    let plan: ArbitrationPlan
    private let timing: RoleTiming
    private(set) var seeking: Seeking?
    private var holding: Holding?
    private var lastNumber: QuestionNumber = 0
    private var withheldReason: String?
    /// What was sent lately, and when, so that what the peer says it heard can be dated.
    private var sent: [(sequence: UInt64, at: Instant)] = []
    /// The latest of it that the peer says it heard.
    private(set) var contact: Instant?

    /// Sendings that are remembered: many more than are under way within the time after which nobody counts as heard.
    static let sentMax = 128

    init(plan: ArbitrationPlan, timing: RoleTiming) {
        self.plan = plan
        self.timing = timing
    }

    /// The peer hears us.
    func isMutual(at now: Instant) -> Bool { contact.map { now < $0 + timing.deadTime } ?? false }

    func nextDeadline() -> Instant? {
        if let seeking { return seeking.nextDeadline() }
        return holding?.nextDeadline(plan, timing)
    }

    // MARK: - Being heard

    mutating func sent(upTo sequence: UInt64, at now: Instant) {
        sent.append((sequence, now))
        if sent.count > 2 * Arbitration.sentMax { sent.removeFirst(Arbitration.sentMax) }
    }

    /// - Parameter sequence: the highest number of ours that the peer has heard; `nil` when it does not say, and what came from it has to do.
    mutating func heard(upTo sequence: UInt64?, at now: Instant) -> [RoleAction] {
        let at = sequence.map { heard in sent.last { $0.sequence <= heard }?.at } ?? now
        guard let at, at > contact ?? at + .nanoseconds(-1) else { return [] }
        contact = at
        guard holding?.wasHeard(at, timing, at: now) == true else { return [] }
        return [release()]
    }

    // MARK: - Wanting to own

    /// - Parameter silentSince: when the other node was last heard, or could have been.
    mutating func seek(_ cause: TakeoverCause, epoch: Epoch, silentSince: Instant, at now: Instant) -> Verdict {
        holding = nil
        // A link that closed tells that something ended; all else is silence, in which the other one may live.
        let wait = plan.witness.map { timing.deadTime + $0.timeout + timing.heartbeatInterval }
        let notBefore = cause == .linkClosed || cause == .peerNotActive ? now : wait.map { silentSince + $0 } ?? now
        var new = Seeking(cause: cause, epoch: epoch, notBefore: notBefore)
        lastNumber += 1
        let outcome = new.begin(plan, number: lastNumber, at: now)
        seeking = new
        return verdict(outcome)
    }

    enum Verdict: Hashable, Sendable {
        case own(TakeoverCause)
        case wait([RoleAction])
    }

    private mutating func verdict(_ outcome: Seeking.Outcome?) -> Verdict {
        switch (outcome, seeking) {
        case (.own, let way?): return .own(way.cause)
        case (.ask(let question), _): return .wait([.ask(lastNumber, question)])
        case (.withheld(let reason), let way?) where !reason.isEmpty && reason != withheldReason:
            withheldReason = reason
            return .wait([.withheld(cause: way.cause, reason: reason)])
        default: return .wait([])
        }
    }

    mutating func seekingDeadline(at now: Instant) -> Verdict {
        lastNumber += 1
        return verdict(seeking?.deadline(plan, number: lastNumber, at: now))
    }

    mutating func seekingAnswered(_ number: QuestionNumber, _ answer: ArbiterAnswer, at now: Instant) -> Verdict {
        lastNumber += 1
        return verdict(seeking?.answered(number, answer, plan, number: lastNumber, at: now))
    }

    /// The other one is heard, or the roles go another way. A claim that was asked for may have been granted unheard.
    mutating func cancel() -> [RoleAction] {
        guard seeking != nil else { return [] }
        seeking = nil
        withheldReason = nil
        return plan.witness == nil ? [] : [release()]
    }

    private mutating func release() -> RoleAction {
        lastNumber += 1
        return .ask(lastNumber, .release)
    }

    // MARK: - Owning

    /// - Parameter isHandedOver: the peer has let go for us, and waits for longer than we do.
    mutating func owns(epoch: Epoch, isHandedOver: Bool = false, at now: Instant) {
        let claimed = seeking?.claimedUntil
        seeking = nil
        withheldReason = nil
        guard plan.questionsOwners else { return }
        // Not from now on: the peer counts from when it heard us. Whoever was never heard and owns by a claim is alone from the start.
        let known = contact ?? (claimed == nil ? now : now + (.zero - timing.deadTime))
        holding = Holding(contact: isHandedOver ? now : known, epoch: epoch, claimedUntil: claimed)
    }

    mutating func outbid(epoch: Epoch) {
        guard let contact = holding?.contact else { return }
        holding = Holding(contact: contact, epoch: epoch, claimedUntil: nil)
    }

    /// No longer owner.
    mutating func steppedDown() -> [RoleAction] {
        guard holding != nil, plan.witness != nil else {
            holding = nil
            return []
        }
        holding = nil
        return [release()]
    }

    enum Doubt: Hashable, Sendable {
        case none
        case yield(reason: String, silentSince: Instant)
    }

    mutating func holdingDeadline(at now: Instant) -> (actions: [RoleAction], doubt: Doubt) {
        guard var current = holding else { return ([], .none) }
        var numbers = lastNumber
        let outcomes = current.advance(
            plan, timing,
            number: {
                numbers += 1; return numbers
            }, at: now)
        holding = current
        let first = lastNumber
        lastNumber = numbers
        return settle(outcomes, from: first)
    }

    mutating func holdingAnswered(_ number: QuestionNumber, _ answer: ArbiterAnswer, at now: Instant) -> (
        actions: [RoleAction], doubt: Doubt
    ) {
        let outcomes = holding?.answered(number, answer, plan, at: now) ?? []
        return settle(outcomes, from: lastNumber)
    }

    private func settle(_ outcomes: [Holding.Outcome], from first: QuestionNumber) -> (actions: [RoleAction], doubt: Doubt) {
        var actions: [RoleAction] = []
        var number = first
        for outcome in outcomes {
            switch outcome {
            case .ask(let question):
                number += 1
                actions.append(.ask(number, question))
            case .unconfirmed(let reason): actions.append(.unconfirmed(reason: reason))
            case .yield(let reason): return (actions, .yield(reason: reason, silentSince: holding?.contact ?? Instant(nanoseconds: 0)))
            }
        }
        return (actions, .none)
    }
}
