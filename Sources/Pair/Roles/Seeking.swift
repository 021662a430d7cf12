import Session

/// The way of a node that would own and hears nobody: check, claim, fence, own. What fails is tried again from the start.
struct Seeking: Sendable {
    enum Step: Hashable, Sendable {
        case checking(QuestionNumber, until: Instant)
        case claiming(QuestionNumber, until: Instant)
        case fencing(QuestionNumber, until: Instant)
        /// Everything is granted; the other node, if it lives, still has time to find out that it is not.
        case settling
        case pausing(until: Instant)
    }

    enum Outcome: Hashable, Sendable {
        case ask(ArbiterQuestion)
        case own
        case withheld(reason: String)
    }

    /// Before what failed is tried again.
    static let pause: Duration = .milliseconds(500)
    /// A program is killed when its time is over, and that is told a moment later.
    static let programGrace: Duration = .seconds(1)

    let cause: TakeoverCause
    let epoch: Epoch
    /// An owner that hears nobody has let go by then.
    let notBefore: Instant
    private(set) var step = Step.settling
    private(set) var claimedUntil: Instant?
    private var isFenced = false
    private var hasFencingFailed = false

    init(cause: TakeoverCause, epoch: Epoch, notBefore: Instant) {
        self.cause = cause
        self.epoch = epoch
        self.notBefore = notBefore
    }

    func nextDeadline() -> Instant {
        switch step {
        case .checking(_, let until), .claiming(_, let until), .fencing(_, let until), .pausing(let until): until
        case .settling: notBefore
        }
    }

    /// - Parameter number: for the question that this may ask.
    mutating func begin(_ plan: ArbitrationPlan, number: QuestionNumber, at now: Instant) -> Outcome {
        isFenced = false
        hasFencingFailed = false
        guard let check = plan.check, cause != .peerNotActive else { return claim(plan, number: number, at: now) }
        step = .checking(number, until: now + check.timeout + Seeking.programGrace)
        return .ask(.check)
    }

    private mutating func claim(_ plan: ArbitrationPlan, number: QuestionNumber, at now: Instant) -> Outcome {
        guard let witness = plan.witness else { return fence(plan, number: number, at: now) }
        step = .claiming(number, until: now + witness.timeout)
        return .ask(.claim(epoch: epoch))
    }

    private mutating func fence(_ plan: ArbitrationPlan, number: QuestionNumber, at now: Instant) -> Outcome {
        // A node that says of itself that it does not own is not shot for it.
        guard let fencing = plan.fencing, !isFenced, !hasFencingFailed, cause != .peerNotActive else {
            return settle(plan, number: number, at: now)
        }
        step = .fencing(number, until: now + fencing.timeout + Seeking.programGrace)
        return .ask(.fence(cause: cause))
    }

    private mutating func settle(_ plan: ArbitrationPlan, number: QuestionNumber, at now: Instant) -> Outcome {
        step = .settling
        // Fencing may have taken longer than a claim lives.
        if let witness = plan.witness, now + witness.margin >= claimedUntil ?? now { return claim(plan, number: number, at: now) }
        return isFenced || now >= notBefore ? .own : .withheld(reason: "")
    }

    mutating func deadline(_ plan: ArbitrationPlan, number: QuestionNumber, at now: Instant) -> Outcome? {
        guard now >= nextDeadline() else { return nil }
        switch step {
        case .checking: return wait("the reachability check did not end", at: now)
        case .claiming: return wait("the witness did not answer in time", at: now)
        case .fencing: return notFenced("the program did not end", plan, number: number, at: now)
        case .settling: return settle(plan, number: number, at: now)
        case .pausing: return begin(plan, number: number, at: now)
        }
    }

    /// - Returns: `nil` for an answer that is not waited for any more.
    mutating func answered(
        _ answered: QuestionNumber, _ answer: ArbiterAnswer, _ plan: ArbitrationPlan, number: QuestionNumber, at now: Instant
    ) -> Outcome? {
        switch (step, answer) {
        case (.checking(answered, _), .reachable): return claim(plan, number: number, at: now)
        case (.checking(answered, _), .notReachable(let reason)): return wait("the reachability check failed: \(reason)", at: now)
        case (.claiming(answered, _), .granted(let until)):
            claimedUntil = until
            return fence(plan, number: number, at: now)
        case (.claiming(answered, _), .refused(let holder)): return wait("the witness has a claim of \(holder)", at: now)
        case (.claiming(answered, _), .unanswered(let reason)): return wait("the witness: \(reason)", at: now)
        case (.fencing(answered, _), .fenced):
            isFenced = true
            return settle(plan, number: number, at: now)
        case (.fencing(answered, _), .notFenced(let reason)): return notFenced(reason, plan, number: number, at: now)
        default: return nil
        }
    }

    private mutating func notFenced(_ reason: String, _ plan: ArbitrationPlan, number: QuestionNumber, at now: Instant) -> Outcome {
        guard plan.fencing?.goesOnAfterFailure == true else { return wait("fencing failed: \(reason)", at: now) }
        hasFencingFailed = true
        return settle(plan, number: number, at: now)
    }

    private mutating func wait(_ reason: String, at now: Instant) -> Outcome {
        step = .pausing(until: now + Seeking.pause)
        return .withheld(reason: reason)
    }
}
