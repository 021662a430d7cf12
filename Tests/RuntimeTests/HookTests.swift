import Glibc
import NIOCore
import NIOPosix
import Node
import Session
import Synchronization
import Testing

@testable import Runtime

/// Real programs, run as `updown` is.
@Suite struct HookTests {
    private static func call(_ program: String, verb: HookCall.Verb = .up, subject: String = "a", _ variables: [(String, String)] = [])
        -> HookCall
    {
        HookCall(program: program, verb: verb, subject: subject, variables: variables.map { HookCall.Variable($0.0, $0.1) })
    }

    @Test func program_getsItsEnvironmentAndNothingElse() throws {
        let folder = TemporaryFolder()
        let program = folder.write(
            "updown",
            """
            #!/bin/sh
            env | sort >'\(folder.path)/environment'
            ls /proc/$$/fd >'\(folder.path)/descriptors'
            ps -o pgid= -p $$ 2>/dev/null | tr -d ' ' >'\(folder.path)/group'
            cat >'\(folder.path)/input'
            echo said; echo also >&2
            exit 3
            """, mode: 0o755)
        // A descriptor that a program started without care would have.
        let open = Glibc.open("/dev/null", O_RDONLY)
        defer { close(open) }
        setenv("TANDEM_TEST_SECRET", "must not be seen", 1)
        defer { unsetenv("TANDEM_TEST_SECRET") }
        let variables = [("PLUTO_VERB", "up-client"), ("PLUTO_PEER_ID", "a b; $(touch \(folder.path)/injected)")]
        let (outcome, output) = HookProcess.run(HookTests.call(program, variables), timeout: .seconds(10))
        #expect(outcome == .exited(status: 3))
        #expect(String(decoding: output, as: UTF8.self) == "said\nalso\n")
        let environment = try #require(readText("\(folder.path)/environment")).split(separator: "\n")
        #expect(environment.contains("PLUTO_VERB=up-client") && environment.contains("PATH=\(HookProcess.path)"))
        #expect(environment.contains("PLUTO_PEER_ID=a b; $(touch \(folder.path)/injected)"))
        #expect(!environment.contains { $0.hasPrefix("TANDEM_TEST_SECRET") || $0.hasPrefix("HOME=") })
        #expect(readText("\(folder.path)/injected") == nil)
        let descriptors = try #require(readText("\(folder.path)/descriptors")).split(separator: "\n").compactMap { Int32($0) }
        // The shell has its script open, at 10 or above.
        #expect(descriptors.starts(with: [0, 1]) && descriptors.allSatisfy { $0 <= 2 || $0 >= 10 && $0 != open })
        #expect(readText("\(folder.path)/input") == "")
        if let group = readText("\(folder.path)/group").flatMap({ Int32(trimmed($0)) }) { #expect(group != getpgrp()) }
    }

    @Test func program_thatTakesTooLong_isKilledWithAllThatItStarted() throws {
        let folder = TemporaryFolder()
        let program = folder.write(
            "slow", "#!/bin/sh\necho begun\nsleep 60 &\necho $! >'\(folder.path)/child'\nwait\n", mode: 0o755)
        let clock = ContinuousClock()
        let began = clock.now
        let (outcome, output) = HookProcess.run(HookTests.call(program), timeout: .seconds(1))
        #expect(outcome == .timedOut && String(decoding: output, as: UTF8.self) == "begun\n")
        #expect(clock.now - began < .seconds(20))
        let child = try #require(readText("\(folder.path)/child").flatMap { pid_t(trimmed($0)) })
        // Gone soon, or a zombie that whoever adopted it has not looked at yet.
        func isAlive() -> Bool {
            guard let state = readText("/proc/\(child)/stat")?.split(separator: " ").dropFirst(2).first else { return false }
            return state != "Z" && state != "X"
        }
        for _ in 0..<200 where isAlive() { usleep(20_000) }
        #expect(!isAlive())
    }

    @Test func program_thatFails_isToldFromOneThatCannotBeRun() {
        let folder = TemporaryFolder()
        let killed = folder.write("killed", "#!/bin/sh\nkill -9 $$\n", mode: 0o755)
        #expect(HookProcess.run(HookTests.call(killed), timeout: .seconds(10)).outcome == .killed(signal: 9))
        // What stays behind it holds the pipe open, and is not waited for.
        let parent = folder.write("parent", "#!/bin/sh\nsleep 20 &\necho $! >'\(folder.path)/child'\nexit 0\n", mode: 0o755)
        #expect(HookProcess.run(HookTests.call(parent), timeout: .seconds(30)).outcome == .exited(status: 0))
        if let child = readText("\(folder.path)/child").flatMap({ pid_t(trimmed($0)) }) {
            #expect(kill(child, SIGKILL) == 0, "it was waited for")
        } else {
            Issue.record("the program did not say what it started")
        }
        let loud = folder.write("loud", "#!/bin/sh\nhead -c 300000 /dev/zero\n", mode: 0o755)
        let (outcome, output) = HookProcess.run(HookTests.call(loud), timeout: .seconds(10))
        #expect(outcome == .exited(status: 0) && output.count == HookProcess.outputMax)
        guard case .notRun = HookProcess.run(HookTests.call("\(folder.path)/none"), timeout: .seconds(1)).outcome else {
            Issue.record("a program that is not there was run")
            return
        }
    }

    /// Calls about the same traffic keep their order; others do not wait for them.
    @Test func runner_keepsTheOrderOfEachSubject_andTellsOfEveryCall() async throws {
        let folder = TemporaryFolder()
        let program = folder.write(
            "updown", "#!/bin/sh\n[ \"$SLOW\" ] && sleep 0.3\necho $NAME >>'\(folder.path)/order'\n", mode: 0o755)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let ended = Mutex<[HookCall: HookOutcome]>([:])
        let says = Mutex<[LogLine]>([])
        let box = NIOLoopBoundBox<HookRunner?>.makeEmptyBox(valueType: HookRunner.self, eventLoop: loop)
        try await loop.submit {
            let runner = HookRunner(eventLoop: loop, log: { line in says.withLock { $0.append(line) } }) { call, outcome in
                ended.withLock { $0[call] = outcome }
            }
            box.value = runner
            runner.run(HookTests.call(program, subject: "a", [("NAME", "first"), ("SLOW", "1")]))
            runner.run(HookTests.call(program, verb: .down, subject: "a", [("NAME", "second")]))
            runner.run(HookTests.call(program, subject: "b", [("NAME", "other")]))
            runner.run(HookTests.call("/nonexistent", subject: "c"))
        }.get()
        for _ in 0..<1000 where ended.withLock({ $0.count }) < 4 { try await Task.sleep(for: .milliseconds(20)) }
        let outcomes = ended.withLock { $0 }
        #expect(outcomes.count == 4 && outcomes.values.count { $0 == .exited(status: 0) } == 3)
        #expect(readText("\(folder.path)/order") == "other\nfirst\nsecond\n")
        #expect(try await loop.submit { box.value?.count }.get() == 0)
        try await loop.submit { box.value = nil }.get()
        try await group.shutdownGracefully()
    }

    /// Too many wait: what came is left out, what goes never is, and what came and went before its turn is neither.
    @Test func runner_whenTooManyWait_keepsEveryDownOfAnUpThatRan() async throws {
        let folder = TemporaryFolder()
        let program = folder.write(
            "updown", "#!/bin/sh\n[ \"$SLOW\" ] && sleep 0.5\necho $NAME >>'\(folder.path)/order'\n", mode: 0o755)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let ended = Mutex<[String]>([])
        let box = NIOLoopBoundBox<HookRunner?>.makeEmptyBox(valueType: HookRunner.self, eventLoop: loop)
        try await loop.submit {
            let runner = HookRunner(eventLoop: loop, waitingMax: 6, log: { _ in }) { call, outcome in
                let name = call.variables.first { $0.name == "NAME" }?.value ?? ""
                ended.withLock { $0.append("\(name) \(outcome == .exited(status: 0) ? "ran" : "\(outcome)")") }
            }
            box.value = runner
            func call(_ verb: HookCall.Verb, _ subject: String, _ more: [(String, String)] = []) {
                runner.run(HookTests.call(program, verb: verb, subject: subject, [("NAME", "\(verb) \(subject)")] + more))
            }
            for index in 0..<4 { call(.up, "s\(index)", [("SLOW", "1")]) }
            call(.up, "waiting")
            call(.up, "other")
            call(.up, "refused")
            call(.down, "s0")
            call(.up, "s0")
            call(.down, "waiting")
            call(.down, "s1")
        }.get()
        for _ in 0..<1000 where ended.withLock({ $0.count }) < 11 { try await Task.sleep(for: .milliseconds(20)) }
        let outcomes = ended.withLock { $0 }
        #expect(Set(outcomes.filter { $0.hasSuffix("cancelledOut") }) == ["up waiting cancelledOut", "down waiting cancelledOut"])
        #expect(outcomes.count { $0.contains("too many") } == 2, "\(outcomes)")
        #expect(outcomes.contains("down s0 ran") && outcomes.contains("down s1 ran") && outcomes.contains("up other ran"))
        #expect(try await loop.submit { box.value?.count }.get() == 0)
        try await loop.submit { box.value = nil }.get()
        try await group.shutdownGracefully()
    }

    @Test func programFile_thatOthersCouldChange_isRefused() {
        let folder = TemporaryFolder()
        let good = folder.write("good", "#!/bin/sh\n", mode: 0o755)
        #expect(ProgramFile.problem(good) == nil)
        let plain = folder.write("plain", "#!/bin/sh\n", mode: 0o644)
        let open = folder.write("open", "#!/bin/sh\n", mode: 0o775)
        for (path, what) in [
            (plain, "cannot be executed"), (open, "can be written by others"), ("good", "not an absolute path"),
            (folder.path, "is no file"), ("\(folder.path)/none", "cannot find"),
        ] {
            #expect(ProgramFile.problem(path)?.what.contains(what) == true, "\(path)")
        }
        if geteuid() == 0 {
            chown(good, 65534, 65534)
            #expect(ProgramFile.problem(good)?.what.contains("belongs to user 65534") == true)
        }
    }
}
