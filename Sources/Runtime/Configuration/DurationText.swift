/// Durations as an operator writes them.
enum DurationText {
    /// Ten years: past it a number is a slip, and nanoseconds would overflow.
    private static let secondsMax = 315_360_000

    static func seconds(_ count: Int) -> Duration? { (0...secondsMax).contains(count) ? .seconds(count) : nil }

    /// Reads a whole number and `ms`, `s`, `m`, `h` or `d`; a number alone is seconds, as in swanctl.conf.
    static func parse(_ text: String) -> Duration? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let count = Int(digits), count >= 0 else { return nil }
        let scale: Int
        switch text[digits.endIndex...] {
        case "ms": return count <= secondsMax * 1000 ? .milliseconds(count) : nil
        case "", "s": scale = 1
        case "m": scale = 60
        case "h": scale = 3600
        case "d": scale = 86400
        default: return nil
        }
        let (product, overflow) = count.multipliedReportingOverflow(by: scale)
        return overflow ? nil : seconds(product)
    }

    static func show(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        if attoseconds == 0 {
            for (unit, length) in [("d", Int64(86400)), ("h", 3600), ("m", 60)] where seconds >= length && seconds % length == 0 {
                return "\(seconds / length)\(unit)"
            }
            return "\(seconds)s"
        }
        return "\(seconds * 1000 + attoseconds / 1_000_000_000_000_000)ms"
    }
}
