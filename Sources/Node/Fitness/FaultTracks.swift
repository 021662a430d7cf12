import Session

/// What a script's results make of it: several in a row are needed for either, so that one slip moves nothing.
struct ScriptTrack {
    private let rise: Int
    private let fall: Int
    private var successes = 0
    private var failures = 0
    /// Why it is bad; `nil`: it is good, or has not been heard of.
    private(set) var failure: String?
    private(set) var hasRun = false

    init(rise: Int, fall: Int) {
        self.rise = rise
        self.fall = fall
    }

    mutating func note(failure reason: String?) {
        hasRun = true
        guard let reason else {
            (successes, failures) = (successes + 1, 0)
            if successes >= rise { failure = nil }
            return
        }
        (successes, failures) = (0, failures + 1)
        // While it stays bad the reason is the latest.
        if failures >= fall || failure != nil { failure = reason }
    }
}

/// Something of which there may be too much: bad at the mark, good again a little below it, each for several samples in a row.
struct LevelTrack {
    static let samples = 3
    /// Percent below the mark at which it is good again.
    static let hysteresis = 5

    private let mark: Int
    private var streak = 0
    private(set) var isBad = false
    private(set) var value: Int?

    init(mark: Int) { self.mark = mark }

    /// What was not measured changes nothing.
    mutating func note(_ percent: Int?) {
        guard let percent else { return }
        value = percent
        let speaksForChange = isBad ? percent <= mark - LevelTrack.hysteresis : percent >= mark
        streak = speaksForChange ? streak + 1 : 0
        guard streak >= LevelTrack.samples else { return }
        isBad.toggle()
        streak = 0
    }
}

/// Failures that are too many within a while, and when they are over.
struct FailureRate {
    static let window: Duration = .seconds(10)
    /// Without a failure for so long it is good again: what fails is asked for anew within this time.
    static let quiet: Duration = .seconds(60)

    private let mark: Int
    /// The latest, at most `mark` of them.
    private var recent: [Instant] = []
    private(set) var isBad = false

    init(mark: Int) { self.mark = mark }

    mutating func note(at now: Instant) {
        recent.append(now)
        if recent.count > mark { recent.removeFirst() }
        if recent.count == mark, let first = recent.first, now - first <= FailureRate.window { isBad = true }
    }

    /// When it is good again, if nothing more happens.
    var recovers: Instant? { isBad ? recent.last.map { $0 + FailureRate.quiet } : nil }

    mutating func deadline(at now: Instant) {
        guard let recovers, now >= recovers else { return }
        isBad = false
        recent = []
    }
}

/// Whether a time of day that jumped is to be believed. A jump that makes it agree with the other node's was a correction; one that
/// makes it differ is a fault, until the two agree again.
struct ClockTrack {
    private let threshold: Duration
    /// By how much it jumped last, while that has not been found to be right.
    private(set) var jumped: Int64?
    /// How much later it is here than there, in milliseconds.
    private(set) var difference: Int64?

    init(threshold: Duration) { self.threshold = threshold }

    mutating func jump(byMilliseconds jump: Int64) {
        jumped = jump
        difference = difference.map { $0 &+ jump }
        settle()
    }

    /// What time it is there, compared with here at the same moment.
    mutating func compare(own: Int64, peer: Int64) {
        difference = own &- peer
        settle()
    }

    private mutating func settle() {
        if let difference, difference.magnitude < UInt64(clamping: threshold.inNanoseconds / 1_000_000) { jumped = nil }
    }

    var fault: String? {
        guard let jumped, let difference else { return nil }
        return "jumped by \(ClockTrack.text(jumped)), and differs from the other node's by \(ClockTrack.text(difference))"
    }

    static func text(_ milliseconds: Int64) -> String {
        let sign = milliseconds < 0 ? "-" : "+"
        let (seconds, rest) = milliseconds.magnitude.quotientAndRemainder(dividingBy: 1000)
        return rest == 0 ? "\(sign)\(seconds) s" : "\(sign)\(seconds).\(String(rest + 1000).dropFirst()) s"
    }
}
