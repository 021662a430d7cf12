import Session

/// The time of day by which lifetimes are reckoned: it does not jump when the host's does.
///
/// An owner's time goes on by the monotonic clock and comes nearer to the host's by a twentieth of what passes, so that an SA's life is never
/// wrong by more than that, and a host whose clock is set right gets there. A standby goes by the owner's, for the times in the sessions are.
struct SteadyClock {
    /// Differences that are followed at once: what a clock is set by while it is disciplined.
    static let toleranceMilliseconds: Int64 = 1000
    static let slewDivisor: Int64 = 20

    private var anchor: Now
    private var isAligned = false
    /// The host's own, as it was last read.
    private(set) var hostMilliseconds: Int64

    init(_ now: Now) {
        anchor = now
        hostMilliseconds = now.wallMilliseconds
    }

    /// - Parameters:
    ///   - now: with the host's time of day.
    ///   - isBound: there are sessions whose times would be misjudged.
    mutating func read(_ now: Now, isOwner: Bool, isBound: Bool) -> Now {
        hostMilliseconds = now.wallMilliseconds
        if !isBound, isOwner { isAligned = false }
        let passed = max(0, Int64((now.instant - anchor.instant).inMilliseconds))
        let steady = anchor.wallMilliseconds + passed
        let difference = now.wallMilliseconds - steady
        let slew = passed / SteadyClock.slewDivisor
        if !isBound && !isAligned || abs(difference) <= SteadyClock.toleranceMilliseconds + slew {
            anchor = now
            return now
        }
        return Now(instant: now.instant, wallMilliseconds: steady + (difference > 0 ? slew : -slew))
    }

    /// The owner's is this.
    mutating func align(to milliseconds: Int64, at instant: Instant) {
        anchor = Now(instant: instant, wallMilliseconds: milliseconds)
        isAligned = true
    }
}
