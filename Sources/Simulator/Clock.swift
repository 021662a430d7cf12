import Cryptography
import IKE
import Session

/// A node's own clock: it begins at another moment, and goes faster or slower than the world's.
struct Clock {
    /// Parts per million, at most `driftMax` either way.
    var drift: Int64 = 0
    /// Of the time of day, in milliseconds; it may change at any moment.
    var wallOffset: Int64 = 0

    /// Worse than any quartz.
    static let driftMax: Int64 = 500

    /// What it shows at a moment of the world.
    func shows(_ now: UInt64) -> Now {
        let shown = UInt64(Int64(now) + Int64(now) / 1_000_000 * drift)
        return Now(instant: Instant(nanoseconds: shown), wallMilliseconds: 1_700_000_000_000 + Int64(shown / 1_000_000) + wallOffset)
    }

    /// The first moment of the world at which it shows that instant.
    func moment(of instant: Instant) -> UInt64 {
        let wanted = instant.nanoseconds
        var now = UInt64(Double(wanted) / (1 + Double(drift) / 1_000_000))
        // The division above is not exact: a few steps of what one unit of `shows` is.
        now -= min(now, 2_000_000)
        while shows(now).instant.nanoseconds < wanted { now += max(1, (wanted - shows(now).instant.nanoseconds) / 2) }
        return now
    }
}
