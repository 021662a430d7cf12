import Node

/// Lets one line of a kind through in a while and counts the others, so that whoever can make us log cannot fill the disk.
struct LogLimiter {
    private static let interval: Int64 = 1000
    private var nextMilliseconds: Int64 = 0
    private var suppressed: UInt64 = 0
    /// Everything that was ever offered.
    private(set) var total: UInt64 = 0

    /// The line, with how many like it were left out before; `nil` when it is too soon.
    mutating func pass(_ line: LogLine, wallMilliseconds now: Int64) -> LogLine? {
        total += 1
        // A clock that was set back must not silence the log for long.
        guard now >= nextMilliseconds || nextMilliseconds - now > LogLimiter.interval else {
            suppressed += 1
            return nil
        }
        nextMilliseconds = now + LogLimiter.interval
        var line = line
        if suppressed > 0 { line.fields.append(.init("suppressed", "\(suppressed)")) }
        suppressed = 0
        return line
    }
}
