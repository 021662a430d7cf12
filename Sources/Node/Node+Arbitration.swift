import Control
import Pair
import Session

/// What was asked of those outside of the pair, and what they said, for `status`.
struct Judgement {
    /// The last answer of the witness.
    enum Witness: Equatable {
        case unasked
        case granted
        case refused(holder: String)
        case unanswered(reason: String)
        case released

        var text: String {
            switch self {
            case .unasked: "unasked"
            case .granted: "granted"
            case .refused(let holder): "refused: \(holder)"
            case .unanswered(let reason): "unanswered: \(reason)"
            case .released: "released"
            }
        }
    }

    var witness = Witness.unasked
    var witnessAt: Instant?
    /// Why this node does not take over, or is not sure that it may own.
    var trouble: String?
}

/// Arbitration (Docs/splitbrain.md): the role machine decides what is asked and what follows from the answers; here it is handed on, said to
/// operators, and counted.
extension Node {
    mutating func ask(_ number: QuestionNumber, _ question: ArbiterQuestion, now: Now) {
        counters.arbiterQuestions += 1
        if question == .release { judgement.trouble = nil }
        if question == .release, judgement.witness != .unasked {
            judgement.witness = .released
            judgement.witnessAt = now.instant
        }
        if case .fence(let cause) = question {
            log(.warning, "fencing the peer", [.init("cause", cause.name)])
            note(.arbitration, "fencing the peer: \(cause.name)", now: now)
        }
        effects.append(.arbitrate(number, question))
    }

    mutating func arbiterAnswered(_ number: QuestionNumber, _ answer: ArbiterAnswer, now: Now) {
        heardOf(answer, now: now)
        perform(roles.answered(number, answer, at: now.instant), now: now)
    }

    private mutating func heardOf(_ answer: ArbiterAnswer, now: Now) {
        let witness: Judgement.Witness
        switch answer {
        case .granted: witness = .granted
        case .refused(let holder): witness = .refused(holder: holder)
        case .unanswered(let reason): witness = .unanswered(reason: reason)
        case .reachable: return
        case .notReachable(let reason): return log(.warning, "the reachability check failed", [.init("reason", reason)])
        case .fenced:
            log(.notice, "the peer is fenced")
            return note(.arbitration, "the peer is fenced", now: now)
        case .notFenced(let reason):
            log(.error, "fencing failed", [.init("reason", reason)])
            return note(.arbitration, "fencing failed: \(reason)", now: now)
        }
        let isNews = witness != judgement.witness
        judgement.witness = witness
        judgement.witnessAt = now.instant
        if witness == .granted, isOwner { judgement.trouble = nil }
        if isNews { log(.notice, "the witness", [.init("says", witness.text)]) }
    }

    mutating func withheld(_ cause: TakeoverCause, reason: String, now: Now) {
        counters.takeoversWithheld += 1
        judgement.trouble = "not taking over: \(reason)"
        log(.error, "not taking over", [.init("cause", cause.name), .init("reason", reason)])
        note(.arbitration, "not taking over (\(cause.name)): \(reason)", now: now)
    }

    mutating func unconfirmed(reason: String, now: Now) {
        judgement.trouble = "owner without knowing whether the only one: \(reason)"
        log(.error, "owner without knowing whether the only one", [.init("reason", reason)])
        note(.arbitration, "owner without knowing whether the only one: \(reason)", now: now)
    }

    /// `nil` where nobody is asked.
    func arbitrationSummary(_ now: Now) -> ArbitrationSummary? {
        guard let plan = configuration.pair?.arbitration, !plan.isEmpty else { return nil }
        var summary = ArbitrationSummary()
        summary.reachability = plan.check != nil
        summary.witness = plan.witness == nil ? "" : judgement.witness.text
        summary.witnessAtMilliseconds = judgement.witnessAt.map { wall(of: $0, now) } ?? 0
        summary.fencing = plan.fencing != nil
        summary.trouble = roles.isSeeking || isOwner ? judgement.trouble ?? "" : ""
        return summary
    }
}

extension StepDownCause {
    var name: String {
        switch self {
        case .higherEpoch: "higher_epoch"
        case .switchover: "switchover"
        case .notConfirmed(let reason): "not_confirmed: \(reason)"
        }
    }

    func text(_ epoch: Epoch) -> String {
        switch self {
        case .higherEpoch: "higherEpoch, the peer owns epoch \(epoch)"
        case .switchover: "switchover, the peer owns epoch \(epoch)"
        case .notConfirmed(let reason): "nobody is heard, and nobody confirms that this is the only owner: \(reason)"
        }
    }
}
