/// A moment of the wall clock as people read it, in UTC.
public struct WallTime: Hashable, Sendable, CustomStringConvertible {
    /// Milliseconds since 1970, UTC.
    public let milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// `2026-11-23 15:46:04.120 UTC`.
    public var description: String {
        let (year, month, day) = date
        let remainder = milliseconds % WallTime.millisecondsPerDay
        let inDay = remainder < 0 ? remainder + WallTime.millisecondsPerDay : remainder
        let time = [inDay / 3_600_000, inDay / 60_000 % 60, inDay / 1000 % 60].map { WallTime.padded($0, 2) }
        return "\(year)-\(WallTime.padded(month, 2))-\(WallTime.padded(day, 2)) "
            + time.joined(separator: ":") + "." + WallTime.padded(inDay % 1000, 3) + " UTC"
    }

    private static let millisecondsPerDay: Int64 = 86_400_000

    private var days: Int64 {
        let quotient = milliseconds / WallTime.millisecondsPerDay
        return milliseconds % WallTime.millisecondsPerDay < 0 ? quotient - 1 : quotient
    }

    /// The Gregorian date: years are counted from March, so that a leap day is the last of its year, and in eras of 400 years.
    private var date: (year: Int64, month: Int64, day: Int64) {
        let daysPerEra: Int64 = 146_097
        // 719,468 days lie between 0000-03-01 and 1970-01-01.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - (daysPerEra - 1)) / daysPerEra
        let dayOfEra = shifted - era * daysPerEra
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    private static func padded(_ value: Int64, _ digits: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    /// A time span in its two largest units: `850 ms`, `12 s`, `5 min 3 s`, `2 h 10 min`, `3 d 4 h`.
    public static func span(milliseconds: Int64) -> String {
        let whole = max(0, milliseconds)
        guard whole >= 1000 else { return "\(whole) ms" }
        let seconds = whole / 1000
        if seconds < 60 { return "\(seconds) s" }
        if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
        if seconds < 86_400 { return "\(seconds / 3600) h \(seconds / 60 % 60) min" }
        return "\(seconds / 86_400) d \(seconds / 3600 % 24) h"
    }
}
