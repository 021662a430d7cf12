import Session

/// An owner that may not be heard: when it has to ask, and when it has to let go.
///
/// What counts is not when the peer was heard, but when something was sent of which the peer said that it has heard it: the peer waits
/// for as long from the moment at which it heard it, which was later. So the two spans need no common clock.
struct Holding: Sendable {
    enum Outcome: Hashable, Sendable {
        case ask(ArbiterQuestion)
        case yield(reason: String)
        /// It goes on without knowing whether it is the only one.
        case unconfirmed(reason: String)
    }

    /// Between two checks, and between two questions to a witness that does not answer.
    static let pause: Duration = .milliseconds(500)

    /// The latest sending that the peer is known to have heard.
    private(set) var contact: Instant
    private let epoch: Epoch
    private var claimedUntil: Instant?
    private var claim: (number: QuestionNumber, until: Instant)?
    private var nextClaim: Instant?
    private var check: (number: QuestionNumber, until: Instant)?
    private var nextCheck: Instant?
    private var trouble = "the witness did not answer in time"
    private var isUnconfirmed = false
    /// A claim may stand at the witness.
    private var hasAsked: Bool

    init(contact: Instant, epoch: Epoch, claimedUntil: Instant?) {
        self.contact = contact
        self.epoch = epoch
        self.claimedUntil = claimedUntil
        hasAsked = claimedUntil != nil
    }

    func isAlone(_ timing: RoleTiming, at now: Instant) -> Bool { now >= contact + timing.deadTime }

    /// - Returns: whether it had been alone, and so may have a claim.
    mutating func wasHeard(_ sent: Instant, _ timing: RoleTiming, at now: Instant) -> Bool {
        guard sent > contact else { return false }
        contact = sent
        guard hasAsked, !isAlone(timing, at: now) else { return false }
        self = Holding(contact: contact, epoch: epoch, claimedUntil: nil)
        return true
    }

    /// By when it must have let go.
    private func limit(_ witness: ArbitrationPlan.Witness, _ timing: RoleTiming) -> Instant {
        max(contact + timing.deadTime + witness.timeout, claimedUntil.map { $0 + (.zero - witness.margin) } ?? contact)
    }

    func nextDeadline(_ plan: ArbitrationPlan, _ timing: RoleTiming) -> Instant? {
        guard plan.questionsOwners else { return nil }
        let alone = contact + timing.deadTime
        var deadlines: [Instant] = []
        if let witness = plan.witness {
            deadlines.append(claim?.until ?? max(nextClaim ?? alone, alone))
            if !isUnconfirmed { deadlines.append(limit(witness, timing)) }
        }
        if plan.check != nil { deadlines.append(check?.until ?? max(nextCheck ?? alone, alone)) }
        return deadlines.min()
    }

    mutating func advance(_ plan: ArbitrationPlan, _ timing: RoleTiming, number: () -> QuestionNumber, at now: Instant) -> [Outcome] {
        guard plan.questionsOwners, isAlone(timing, at: now) else { return [] }
        hasAsked = true
        var out: [Outcome] = []
        if let witness = plan.witness {
            if let claim, now >= claim.until {
                trouble = "the witness did not answer in time"
                unanswered(at: now)
            }
            if now >= limit(witness, timing), !isUnconfirmed {
                guard witness.whenUnreachable == .stay else { return [.yield(reason: trouble)] }
                isUnconfirmed = true
                out.append(.unconfirmed(reason: trouble))
            }
            if claim == nil, now >= nextClaim ?? now {
                claim = (number(), now + witness.timeout)
                out.append(.ask(.claim(epoch: epoch)))
            }
        }
        if let limits = plan.check {
            if let check, now >= check.until { return [.yield(reason: "the reachability check did not end")] }
            if check == nil, now >= nextCheck ?? now {
                check = (number(), now + limits.timeout + Seeking.programGrace)
                out.append(.ask(.check))
            }
        }
        return out
    }

    private mutating func unanswered(at now: Instant) {
        claim = nil
        nextClaim = now + Holding.pause
    }

    mutating func answered(_ number: QuestionNumber, _ answer: ArbiterAnswer, _ plan: ArbitrationPlan, at now: Instant) -> [Outcome] {
        switch answer {
        case .granted(let until):
            guard claim?.number == number, let witness = plan.witness else { return [] }
            claim = nil
            claimedUntil = until
            isUnconfirmed = false
            nextClaim = now + witness.confirmationPause
        case .refused(let holder):
            guard claim?.number == number else { return [] }
            return [.yield(reason: "the witness has a claim of \(holder)")]
        case .unanswered(let reason):
            guard claim?.number == number else { return [] }
            trouble = "the witness: \(reason)"
            unanswered(at: now)
        case .reachable:
            guard check?.number == number else { return [] }
            check = nil
            nextCheck = now + Holding.pause
        case .notReachable(let reason):
            guard check?.number == number else { return [] }
            return [.yield(reason: "the reachability check failed: \(reason)")]
        case .fenced, .notFenced: break
        }
        return []
    }
}
