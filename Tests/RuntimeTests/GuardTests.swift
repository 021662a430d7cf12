import Cryptography
import Glibc
import Netlink
import Node
import Session
import Testing

@testable import Runtime

@Suite struct GuardMachineTests {
    private let pair = PairConfiguration(peerName: "b", secret: .empty, paths: [])

    @Test func patience_whenPaired_isThePeers() {
        var machine = GuardMachine(pair: pair)
        #expect(machine.start == .wait(.seconds(5)))
        #expect(machine.received([0x70]) == .wait(.milliseconds(150)))
        #expect(machine.received([0x70, 0x73]) == .wait(.seconds(5)))
        #expect(machine.received([0x73, 0x70, 0xFF]) == .wait(.milliseconds(150)))
        #expect(machine.silent() == .fence(reason: "the daemon gave no sign of life for 150 ms", mustKill: true))
        #expect(machine.ended() == .fence(reason: "the daemon's process ended", mustKill: false))
        #expect(machine.received([0x70, 0x71]) == .quit)
    }

    @Test func patience_whenHeartbeatsAreFast_isAtLeastTheMinimum() {
        var fast = pair
        fast.heartbeatInterval = .milliseconds(5)
        var machine = GuardMachine(pair: fast)
        #expect(machine.received([0x70]) == .wait(.milliseconds(100)))
        var alone = GuardMachine(pair: nil)
        #expect(alone.received([0x70]) == .wait(.seconds(5)))
    }
}

/// The daemon's program as it was built beside these tests; it is its own guard.
private let tandemd: String? = {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    let own = String(decoding: buffer[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let candidates = ([own] + CommandLine.arguments).map { (program: String) -> String in
        let folder = program.lastIndex(of: "/").map { String(program[..<$0]) } ?? "."
        return "\(folder)/tandemd"
    }
    return candidates.first(where: { access($0, X_OK) == 0 })
}()

/// A process that plays the daemon: it starts the guard as tandemd does, then only sleeps. This test holds the pipe.
private final class FakeDaemon {
    let process: pid_t
    private var pipe: Int32

    init(configuration: String) throws {
        var ends: [Int32] = [-1, -1]
        let piped = Glibc.pipe(&ends)
        try #require(piped == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], 3)
        let script = "\"$0\" fence --watch 3 --config \"$1\" & exec sleep 60 3<&-"
        let program: String = try #require(tandemd)
        let words: [String] = ["/bin/sh", "-c", script, program, configuration]
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process: pid_t = 0
        let spawned = posix_spawn(&process, "/bin/sh", &actions, nil, arguments, environ)
        try #require(spawned == 0)
        close(ends[0])
        pipe = ends[1]
        self.process = process
    }

    deinit {
        closePipe()
        kill(process, SIGKILL)
        waitpid(process, nil, WNOHANG)
    }

    func say(_ sign: GuardSign) {
        var octet = sign.rawValue
        _ = write(pipe, &octet, 1)
    }

    func closePipe() {
        if pipe >= 0 { close(pipe) }
        pipe = -1
    }

    /// The signal that ended it; `nil` while it lives.
    func endingSignal() -> Int32? {
        var status: Int32 = 0
        return waitpid(process, &status, WNOHANG) == process ? status & 0x7F : nil
    }
}

/// With real processes and a real address: needs root, and the `tandemd` program beside the tests.
@Suite(.serialized, .enabled(if: geteuid() == 0 && tandemd != nil)) struct GuardProcessTests {
    private static let prefix = IPPrefix("192.0.2.213/32")!

    private func configuration(in folder: TemporaryFolder) throws -> String {
        folder.write(
            "tandem.toml",
            try #require(readText("\(samples)/sg1.toml"))
                .replacing("192.0.2.10/24", with: "192.0.2.213/32").replacing("10.10.0.1/16", with: "192.0.2.214/32")
                .replacing("\"eth0\"", with: "\"lo\"").replacing("\"eth1\"", with: "\"lo\"").replacing("\"auto\"", with: "\"user\""))
    }

    private var hasAddress: Bool { (try? Addresses.list(of: "lo").contains(GuardProcessTests.prefix)) ?? false }

    private func isGone(within milliseconds: Int) async throws -> Bool {
        for _ in 0..<(milliseconds / 2) where hasAddress { try await Task.sleep(for: .milliseconds(2)) }
        return !hasAddress
    }

    @Test func fence_whenRun_takesTheAddressesAwayAndMayBeRepeated() throws {
        let folder = try pairFolder()
        let file = try configuration(in: folder)
        try Addresses.add(GuardProcessTests.prefix, to: "lo")
        #expect(hasAddress)
        try Fence.run(configurationPath: file)
        #expect(!hasAddress)
        try Fence.run(configurationPath: file)
    }

    @Test func guard_whenTheDaemonFreezes_fencesAndKillsIt() async throws {
        let folder = try pairFolder()
        try Addresses.add(GuardProcessTests.prefix, to: "lo")
        let daemon = try FakeDaemon(configuration: try configuration(in: folder))
        // A test that does not run for longer than the guard's patience is a daemon that is frozen.
        let clock = ContinuousClock()
        var (last, longest) = (clock.now, Duration.zero)
        for _ in 0..<100 {
            longest = max(longest, clock.now - last)
            last = clock.now
            daemon.say(.paired)
            try await Task.sleep(for: .milliseconds(10))
        }
        longest = max(longest, clock.now - last)
        #expect(hasAddress || longest > .milliseconds(90), "no fence while there are signs of life: none for \(longest) at most")
        #expect(try await isGone(within: 2000))
        #expect(try await eventually { daemon.endingSignal() == SIGKILL })
    }

    @Test func guard_whenTheDaemonDies_fencesAtOnce() async throws {
        let folder = try pairFolder()
        try Addresses.add(GuardProcessTests.prefix, to: "lo")
        let daemon = try FakeDaemon(configuration: try configuration(in: folder))
        for _ in 0..<50 {
            daemon.say(.solo)
            try await Task.sleep(for: .milliseconds(10))
        }
        daemon.closePipe()
        #expect(try await isGone(within: 2000))
    }

    @Test func guard_whenTheDaemonQuits_leavesEverything() async throws {
        let folder = try pairFolder()
        try Addresses.add(GuardProcessTests.prefix, to: "lo")
        let daemon = try FakeDaemon(configuration: try configuration(in: folder))
        daemon.say(.paired)
        daemon.say(.quit)
        daemon.closePipe()
        #expect(try await !isGone(within: 500))
        #expect(daemon.endingSignal() == nil)
        try Addresses.remove(GuardProcessTests.prefix, from: "lo")
    }

    @Test func guard_whenGroupSignalsCome_lives() async throws {
        // As the daemon does: a sign of life to a guard that is gone must not end the process.
        signal(SIGPIPE, SIG_IGN)
        let folder = try pairFolder()
        try Addresses.add(GuardProcessTests.prefix, to: "lo")
        let file = try configuration(in: folder)
        let lines = Lines()
        let process = GuardProcess(program: try #require(tandemd), configurationPath: file) { lines.all.append($0) }
        process.beat(.solo, now: Instant(nanoseconds: 5_000_000_000))
        let text = try #require(lines.all.first?.fields.first { $0.name == "pid" }?.value)
        let identifier = try #require(pid_t(text))
        try await Task.sleep(for: .milliseconds(300))
        for signal in [SIGTERM, SIGINT, SIGHUP] { kill(identifier, signal) }
        try await Task.sleep(for: .milliseconds(100))
        #expect(getsid(identifier) == identifier)
        process.beat(.solo, now: Instant(nanoseconds: 6_000_000_000))
        #expect(process.restarts == 0 && process.isRunning)
        // Gone by force: the next sign of life finds out and another guard is started.
        kill(identifier, SIGKILL)
        try await Task.sleep(for: .milliseconds(50))
        process.beat(.solo, now: Instant(nanoseconds: 7_000_000_000))
        #expect(process.restarts == 1 && !process.isRunning)
        process.beat(.solo, now: Instant(nanoseconds: 9_000_000_000))
        #expect(process.isRunning && hasAddress)
        process.quit()
        try Addresses.remove(GuardProcessTests.prefix, from: "lo")
    }
}

private final class Lines {
    var all: [LogLine] = []
}
