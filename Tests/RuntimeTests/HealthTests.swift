import Glibc
import NIOCore
import NIOPosix
import Netlink
import Node
import Session
import Synchronization
import Testing

@testable import Runtime

/// What says whether a host is fit, with real programs, files and interfaces.
@Suite struct HealthTests {
    // MARK: - Scripts

    private final class Heard: Sendable {
        let reports = Mutex<[HealthReport]>([])
        func add(_ report: HealthReport) { reports.withLock { $0.append(report) } }
        func of(_ name: String) -> [String?] {
            reports.withLock { $0 }.compactMap { if case .script(name, let failure) = $0 { .some(failure) } else { nil } }
        }

        /// Waits for so many, without a bound that a loaded machine could miss.
        func wait(for count: Int, of name: String) async throws {
            for _ in 0..<6000 where of(name).count < count { try await Task.sleep(for: .milliseconds(10)) }
            #expect(of(name).count >= count)
        }
    }

    private static func script(_ name: String, _ command: [String], timeout: Duration = .seconds(20)) -> TrackedScript {
        var script = TrackedScript(name: name, command: command)
        (script.interval, script.timeout) = (.milliseconds(50), timeout)
        return script
    }

    /// Owned by its loop, as in the daemon.
    private final class Owner { var tracker: ScriptTracker? }

    private static func track(_ scripts: [TrackedScript], _ heard: Heard, _ body: () async throws -> Void) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let owner = NIOLoopBoundBox<ScriptTracker?>.makeBoxSendingValue(nil, eventLoop: loop)
        try await loop.submit {
            let tracker = ScriptTracker(
                scripts, eventLoop: loop, variables: { [.init("TANDEM_ROLE", "standby")] }, report: { heard.add($0) })
            owner.value = tracker
            tracker.start()
        }.get()
        try await body()
        try await loop.submit {
            owner.value?.stop()
            owner.value = nil
        }.get()
        try await group.shutdownGracefully()
    }

    @Test func script_runsAgainAndAgain_andItsStatusIsTold() async throws {
        let folder = TemporaryFolder()
        let program = folder.write(
            "check",
            """
            #!/bin/sh
            echo run >>'\(folder.path)/runs'
            [ "$TANDEM_ROLE $TANDEM_SCRIPT $1 $2" = 'standby a one two words' ] || exit 9
            [ -e '\(folder.path)/good' ] && exit 0
            printf 'no \\033answer\\nfrom it\\n' >&2
            exit 3
            """, mode: 0o755)
        let heard = Heard()
        try await Self.track([Self.script("a", [program, "one", "two words"])], heard) {
            try await heard.wait(for: 2, of: "a")
            #expect(heard.of("a")[0] == "exit status 3: no answer")
            folder.write("good", "")
            let count = heard.of("a").count
            try await heard.wait(for: count + 2, of: "a")
            #expect(heard.of("a").last == .some(nil))
        }
        #expect((readText("\(folder.path)/runs") ?? "").split(separator: "\n").count >= 4)
    }

    @Test func script_thatHangs_isKilled_andHoldsUpNoOther() async throws {
        let folder = TemporaryFolder()
        let slow = folder.write("slow", "#!/bin/sh\necho $$ >>'\(folder.path)/slow.pids'\nsleep 100\n", mode: 0o755)
        let quick = folder.write("quick", "#!/bin/sh\nexit 0\n", mode: 0o755)
        let heard = Heard()
        let scripts = [Self.script("slow", [slow], timeout: .seconds(2)), Self.script("quick", [quick])]
        try await Self.track(scripts, heard) {
            try await heard.wait(for: 3, of: "quick")
            try await heard.wait(for: 1, of: "slow")
            #expect(heard.of("slow").first == "timed out and was killed")
            #expect(heard.of("quick").allSatisfy { $0 == nil })
        }
        let pids = (readText("\(folder.path)/slow.pids") ?? "").split(separator: "\n").compactMap { pid_t($0) }
        #expect(!pids.isEmpty)
        // A run that was under way when the tracker stopped ends by its own timeout.
        for pid in pids { for _ in 0..<1000 where kill(pid, 0) == 0 { usleep(10_000) } }
        #expect(pids.allSatisfy { kill($0, 0) != 0 })
    }

    @Test func failure_isShort_andHoldsNothingThatSteersATerminal() {
        let text = ScriptTracker.failure(
            .exited(status: 1), output: Array("\n  \u{1B}[31m\(String(repeating: "x", count: 500))\nmore".utf8))
        #expect(text == "exit status 1: [31m" + String(repeating: "x", count: ScriptTracker.textMax - 4))
        #expect(ScriptTracker.failure(.exited(status: 0), output: Array("all is well".utf8)) == nil)
        #expect(ScriptTracker.failure(.killed(signal: 9), output: []) == "signal 9")
    }

    // MARK: - Memory and descriptors

    @Test func memory_ofTheMachine_isWhatIsNotAvailable() {
        let text = "MemTotal:        1000 kB\nMemFree:           10 kB\nMemAvailable:     250 kB\nBuffers: 1 kB\n"
        #expect(ResourceMeter.machinePercent(text) == 75)
        for broken in ["", "MemTotal: 5 kB\n", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB\n"] {
            #expect(ResourceMeter.machinePercent(broken) == nil)
        }
        #expect(ResourceMeter.machinePercent("MemTotal: 10 kB\nMemAvailable: 99999999999999999999 kB\n") == nil)
    }

    @Test func memory_ofAControlGroup_isWithoutItsOldFiles() {
        #expect(ResourceMeter.groupPercent(limit: "1000\n", current: "900\n", statistics: "anon 400\ninactive_file 300\n") == 60)
        #expect(ResourceMeter.groupPercent(limit: "1000", current: "200", statistics: "inactive_file 300") == 0)
        #expect(ResourceMeter.groupPercent(limit: "max\n", current: "900\n", statistics: "") == nil)
        #expect(
            ResourceMeter.groupFolders("1:cpu:/x\n0::/system.slice/tandemd.service\n") == [
                "/system.slice", "/system.slice/tandemd.service",
            ])
        #expect(ResourceMeter.groupFolders("0::/\n").isEmpty && ResourceMeter.groupFolders("").isEmpty)
        #expect(ResourceMeter.groupFolders("0::/../../etc\n") == ["/etc"])
    }

    /// The tightest of all counts.
    @Test func memory_isTheLargestShareOfAll() {
        let folder = TemporaryFolder()
        for name in ["proc", "proc/self", "sys", "sys/fs", "sys/fs/cgroup", "sys/fs/cgroup/a", "sys/fs/cgroup/a/b"] {
            folder.makeFolder(name)
        }
        folder.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 600 kB\n")
        #expect(ResourceMeter.memoryPercent(root: folder.path) == 40)
        folder.write("proc/self/cgroup", "0::/a/b\n")
        for (group, limit, current) in [("a", "2000", "1840"), ("a/b", "max", "1900")] {
            folder.write("sys/fs/cgroup/\(group)/memory.max", "\(limit)\n")
            folder.write("sys/fs/cgroup/\(group)/memory.current", "\(current)\n")
            folder.write("sys/fs/cgroup/\(group)/memory.stat", "inactive_file 40\n")
        }
        #expect(ResourceMeter.memoryPercent(root: folder.path) == 90)
        #expect(ResourceMeter.memoryPercent(root: "\(folder.path)/nowhere") == nil)
        #expect((1...100).contains(ResourceMeter.memoryPercent() ?? 0), "this machine's")
    }

    @Test func descriptors_areThoseOfThisProcess() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let before = try #require(ResourceMeter.descriptorsPercent())
        #expect((0...100).contains(before))
        // A tenth of them more.
        let wanted = min(Int(limit.rlim_cur) / 10, 4000)
        guard wanted * 100 / Int(limit.rlim_cur) >= 5 else { return }
        let opened = (0..<wanted).map { _ in open("/dev/null", O_RDONLY | O_CLOEXEC) }.filter { $0 >= 0 }
        defer { opened.forEach { close($0) } }
        #expect(try #require(ResourceMeter.descriptorsPercent()) >= before + 4)
    }

    // MARK: - The clock

    @Test func clock_thatDrifts_doesNotJump() {
        var meter = ClockMeter(threshold: .seconds(5))
        let second: Int64 = 1_000_000_000
        #expect(meter.jump(realtime: 1000 * second, boottime: 10 * second) == nil)
        // Half a second in each second, for a minute.
        for step in 1...60 {
            #expect(
                meter.jump(realtime: (1000 + Int64(step)) * second + Int64(step) * second / 2, boottime: (10 + Int64(step)) * second) == nil
            )
        }
        #expect(meter.jump(realtime: 1091 * second, boottime: 71 * second) == nil)
        #expect(meter.jump(realtime: 4692 * second, boottime: 72 * second) == 3_600_000)
        #expect(meter.jump(realtime: 4693 * second, boottime: 73 * second) == nil)
        #expect(meter.jump(realtime: 4000 * second, boottime: 74 * second) == -694_000)
        // A machine that slept: both have gone on.
        #expect(meter.jump(realtime: 14_000 * second, boottime: 10_074 * second) == nil)
    }

    // MARK: - Interfaces

    private static var canIsolate: Bool {
        guard geteuid() == 0 else { return false }
        return onThreadOfItsOwn { (try? NetworkNamespace.isolateThread()) != nil }
    }

    private final class Box<R>: @unchecked Sendable {
        let body: () -> R
        var result: R?
        init(_ body: @escaping () -> R) { self.body = body }
        func run() { result = body() }
    }

    private static func onThreadOfItsOwn<R>(_ body: @escaping () -> R) -> R {
        let box = Box(body)
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Box<Void> { box.run() })
        precondition(
            pthread_create(
                &thread, nil,
                { pointer in
                    Unmanaged<Box<Void>>.fromOpaque(pointer!).takeRetainedValue().run()
                    return nil
                }, argument.toOpaque()) == 0)
        pthread_join(thread, nil)
        return box.result!
    }

    @Test(.enabled(if: canIsolate)) func interfaces_areToldAtOnceAndWhenTheyChange() {
        let heard = Heard()
        let seen = Self.onThreadOfItsOwn { () -> [[InterfaceHealth]] in
            func interfaces() -> [[InterfaceHealth]] {
                heard.reports.withLock { $0 }.compactMap { if case .interfaces(let list) = $0 { list } else { nil } }
            }
            func wait(for count: Int) { for _ in 0..<2000 where interfaces().count < count { usleep(10_000) } }
            guard (try? NetworkNamespace.isolateThread()) != nil else { return [] }
            var track = TrackConfiguration()
            (track.interfaces, track.memoryPercent, track.descriptorsPercent, track.clockJump) = (["lo", "eth7"], nil, nil, nil)
            guard let watch = try? HealthWatch(HealthWatch.Tracked(track, device: "tandem7"), handler: { heard.add($0) }) else { return [] }
            wait(for: 1)
            try? Links.setUp(true, "lo")
            wait(for: 2)
            try? Links.setUp(false, "lo")
            wait(for: 3)
            watch.stop()
            return interfaces()
        }
        let others = [InterfaceHealth(name: "eth7", state: .missing), .init(name: "tandem7", state: .missing, isDataPlane: true)]
        #expect(seen == [.down, .up, .down].map { [InterfaceHealth(name: "lo", state: $0)] + others })
    }
}
