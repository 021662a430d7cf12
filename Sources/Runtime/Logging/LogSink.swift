import Glibc
public import Node
import Synchronization

/// Where log lines go: the journal, when it reads our standard error anyway, else standard error as text.
///
/// Never waits: a line that nobody takes is dropped and counted, and the next that gets through says how many were.
public final class LogSink: Sendable {
    private enum Target: Sendable {
        case standardError
        /// A datagram socket towards journald.
        case journal(Int32)
    }

    /// Longer lines are cut: a pipe takes this much whole or not at all (PIPE_BUF).
    private static let lineOctetsMax = 4096

    private let target: Target
    private let program: String
    private let threshold: Atomic<UInt8>
    private let dropped = Atomic<UInt64>(0)

    /// - Parameter program: the SYSLOG_IDENTIFIER.
    public init(program: String, level: LogLine.Level = .info) {
        self.program = program
        threshold = Atomic(level.rawValue)
        target = LogSink.journalSocket().map(Target.journal) ?? .standardError
    }

    deinit {
        if case .journal(let descriptor) = target { close(descriptor) }
    }

    /// Lines below it are not written.
    public var level: LogLine.Level {
        get { LogLine.Level(rawValue: threshold.load(ordering: .relaxed)) ?? .info }
        set { threshold.store(newValue.rawValue, ordering: .relaxed) }
    }

    public func write(_ line: LogLine) {
        guard line.level.rawValue >= threshold.load(ordering: .relaxed) else { return }
        let missed = dropped.exchange(0, ordering: .relaxed)
        if missed > 0, !put(LogLine(.warning, "log lines were dropped, because nobody took them", [.init("count", "\(missed)")])) {
            dropped.add(missed, ordering: .relaxed)
        }
        if !put(line) { dropped.add(1, ordering: .relaxed) }
    }

    private func put(_ line: LogLine) -> Bool {
        switch target {
        case .standardError: putText(LogText.line(line, at: wallMilliseconds()))
        case .journal(let descriptor):
            putJournal(LogText.journal(line, program: program), descriptor) || putText(LogText.line(line, at: nil))
        }
    }

    private func putText(_ text: String) -> Bool {
        var bytes = Array(text.utf8.prefix(LogSink.lineOctetsMax - 1))
        bytes.append(0x0A)
        var poll = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        guard Glibc.poll(&poll, 1, 0) == 1, poll.revents & Int16(POLLOUT) != 0 else { return false }
        return Glibc.write(STDERR_FILENO, bytes, bytes.count) == bytes.count
    }

    private func putJournal(_ bytes: [UInt8], _ descriptor: Int32) -> Bool {
        send(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// A socket towards journald if JOURNAL_STREAM names what standard error is (sd_journal's convention), else `nil`.
    private static func journalSocket() -> Int32? {
        guard let value = getenv("JOURNAL_STREAM") else { return nil }
        var status = stat()
        guard fstat(STDERR_FILENO, &status) == 0, String(cString: value) == "\(status.st_dev):\(status.st_ino)" else { return nil }
        return UnixDatagram.connect("/run/systemd/journal/socket")
    }
}

/// Log lines as octets.
enum LogText {
    /// `2026-01-31T12:00:00.123Z info message key=value`; without the time where the journal adds it.
    static func line(_ line: LogLine, at wallMilliseconds: Int64?) -> String {
        let time = wallMilliseconds.map { timestamp($0) + " " } ?? ""
        let fields = line.fields.map { " \($0.name)=\(quoted($0.value))" }.joined()
        return "\(time)\(line.level.name) \(oneLine(line.message))\(fields)"
    }

    /// UTC with milliseconds (RFC 3339).
    static func timestamp(_ wallMilliseconds: Int64) -> String {
        var seconds = time_t(wallMilliseconds / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func pad(_ number: Int, _ width: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let date = "\(pad(Int(parts.tm_year) + 1900, 4))-\(pad(Int(parts.tm_mon) + 1, 2))-\(pad(Int(parts.tm_mday), 2))"
        let clock = "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2))"
        return "\(date)T\(clock).\(pad(Int(wallMilliseconds % 1000), 3))Z"
    }

    /// A value with blanks, quotes or control characters is quoted, so that a line stays one line and splits at its blanks.
    private static func quoted(_ value: String) -> String {
        let plain = !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x5C && $0 != 0x7F }
        if plain { return value }
        return "\"" + oneLine(value).replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    private static func oneLine(_ text: String) -> String {
        text.utf8.contains { $0 < 0x20 || $0 == 0x7F }
            ? String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 })) : text
    }

    /// An entry of journald's native protocol: `NAME=value` lines, or name, length and octets for a value with a newline.
    static func journal(_ line: LogLine, program: String) -> [UInt8] {
        var out: [UInt8] = []
        func append(_ name: String, _ value: String) {
            let octets = Array(value.utf8)
            if octets.contains(0x0A) {
                out += Array(name.utf8) + [0x0A]
                out += (0..<8).map { UInt8(truncatingIfNeeded: UInt64(octets.count) >> UInt64(8 * $0)) }
                out += octets + [0x0A]
            } else {
                out += Array("\(name)=".utf8) + octets + [0x0A]
            }
        }
        let priority = [LogLine.Level.debug: 7, .info: 6, .notice: 5, .warning: 4, .error: 3][line.level] ?? 6
        append("MESSAGE", line.message + line.fields.map { " \($0.name)=\(quoted($0.value))" }.joined())
        append("PRIORITY", "\(priority)")
        append("SYSLOG_IDENTIFIER", program)
        for field in line.fields { append("TANDEM_" + journalName(field.name), field.value) }
        return out
    }

    /// Capitals, digits and `_`, and at most 64 octets, as journald demands.
    private static func journalName(_ name: String) -> String {
        let octets = name.uppercased().utf8.map { (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) ? $0 : UInt8(ascii: "_") }
        return String(decoding: octets.prefix(57), as: UTF8.self)
    }
}

/// Milliseconds since 1970, UTC.
func wallMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
