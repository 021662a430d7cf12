import Glibc
import Node
import Testing

@testable import Runtime

@Suite struct LogTests {
    @Test func line_whenItHasFields_staysOneLine() {
        let line = LogLine(
            .warning, "peer\nspoke", [.init("from", "10.0.0.1:500"), .init("reason", "bad \"proof\"\n"), .init("empty", "")])
        #expect(
            LogText.line(line, at: 1_767_225_600_123)
                == "2026-01-01T00:00:00.123Z warning peer spoke from=10.0.0.1:500 reason=\"bad \\\"proof\\\" \" empty=\"\"")
    }

    @Test func journalEntry_whenAValueHasANewline_usesTheBinaryForm() {
        let entry = LogText.journal(LogLine(.error, "m", [.init("the-reason", "a\nb")]), program: "tandemd")
        let expected =
            Array("MESSAGE=m the-reason=\"a b\"\nPRIORITY=3\nSYSLOG_IDENTIFIER=tandemd\nTANDEM_THE_REASON\n".utf8) + [
                3, 0, 0, 0, 0, 0, 0, 0,
            ]
            + Array("a\nb\n".utf8)
        #expect(entry == expected)
    }

    @Test func limiter_whenLinesComeFast_letsOneASecondThrough() {
        var limiter = LogLimiter()
        let line = LogLine(.warning, "x")
        #expect(limiter.pass(line, wallMilliseconds: 1000) == line)
        #expect(limiter.pass(line, wallMilliseconds: 1500) == nil)
        #expect(limiter.pass(line, wallMilliseconds: 1999) == nil)
        #expect(limiter.pass(line, wallMilliseconds: 2000)?.fields == [.init("suppressed", "2")])
        #expect(limiter.pass(line, wallMilliseconds: 0) != nil, "the clock was set back")
        #expect(limiter.total == 5)
    }
}

@Suite struct NotifierTests {
    @Test(arguments: [true, false]) func notifier_whenAManagerListens_speaks(isAbstract: Bool) throws {
        let folder = TemporaryFolder()
        let name = isAbstract ? "@tandem-test-\(getpid())" : "\(folder.path)/notify"
        let listener = try #require(listen(name))
        defer { close(listener) }
        let values = ["NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "77"]
        let notifier = Notifier(environment: { values[$0] }, processID: 77)
        #expect(notifier.watchdogInterval == .milliseconds(1500))
        notifier.ready(status: "active, epoch 3")
        notifier.watchdog()
        #expect(receive(listener) == "READY=1\nSTATUS=active, epoch 3\n")
        #expect(receive(listener) == "WATCHDOG=1\n")
        #expect(Notifier(environment: { values[$0] }, processID: 78).watchdogInterval == nil)
        Notifier(environment: { _ in nil }, processID: 1).watchdog()
    }

    private func listen(_ path: String) -> Int32? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var octets = Array(path.utf8)
        if octets[0] == UInt8(ascii: "@") { octets[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: octets) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        let length = socklen_t(2 + octets.count + (octets[0] == 0 ? 0 : 1))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        return result == 0 ? descriptor : nil
    }

    private func receive(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}

@Suite struct RuntimeLockTests {
    @Test func directory_whenLocked_refusesASecondDaemon() throws {
        let folder = TemporaryFolder()
        let directory = "\(folder.path)/run"
        var lock: RuntimeLock? = try RuntimeLock(directory: directory)
        withExtendedLifetime(lock) {
            do throws(RuntimeLock.Failure) {
                _ = try RuntimeLock(directory: directory)
                Issue.record("a second lock was given")
            } catch {
                #expect(error.description.contains("another tandemd runs already (process \(getpid()) holds"))
            }
        }
        lock = nil
        _ = try RuntimeLock(directory: directory)
    }
}
