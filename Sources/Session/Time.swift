/// A moment on one node's monotonic clock, in nanoseconds since an arbitrary start. Never compared between nodes.
public struct Instant: Hashable, Comparable, Sendable {
    public let nanoseconds: UInt64

    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    public static func < (lhs: Instant, rhs: Instant) -> Bool { lhs.nanoseconds < rhs.nanoseconds }

    public static func + (lhs: Instant, rhs: Duration) -> Instant {
        let delta = rhs.inNanoseconds
        return Instant(nanoseconds: delta < 0 ? lhs.nanoseconds &- delta.magnitude : lhs.nanoseconds &+ delta.magnitude)
    }

    public static func - (lhs: Instant, rhs: Instant) -> Duration {
        .nanoseconds(Int64(bitPattern: lhs.nanoseconds &- rhs.nanoseconds))
    }
}

extension Duration {
    /// Whole nanoseconds; saturates at the range of `Int64` (292 years).
    public var inNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, overflowOfSum) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflow || overflowOfSum ? (seconds < 0 ? .min : .max) : sum
    }

    /// Milliseconds with a fraction, for people and JSON.
    public var inMilliseconds: Double { Double(inNanoseconds) / 1_000_000 }
}

/// What time it is: the node's own clock for deadlines, the wall clock for what is replicated and shown.
public struct Now: Sendable {
    public let instant: Instant
    /// Milliseconds since 1970, UTC.
    public let wallMilliseconds: Int64

    public init(instant: Instant, wallMilliseconds: Int64) {
        self.instant = instant
        self.wallMilliseconds = wallMilliseconds
    }
}
