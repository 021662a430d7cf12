import CLinux
import Glibc
import Node
import Session

/// One run of an operator's program, from start to end. Blocks its thread, and is never called on the event loop.
struct HookProcess {
    /// What a program says is logged up to here; the rest is read and dropped.
    static let outputMax = 4096
    /// What a program finds, whatever the daemon was started with.
    static let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    /// How often a kernel without pidfd_open is asked whether the program has ended.
    private static let blindPause: Duration = .milliseconds(20)
    /// How long a killed program may take to go: one that hangs in the kernel must not keep a thread for ever.
    private static let deathPause: Duration = .seconds(5)

    private let arguments: [String]
    /// `NAME=value`.
    private let environment: [String]
    private var process: pid_t = 0
    private var pipe: Int32 = -1
    private var output: [UInt8] = []

    private init(_ arguments: [String], _ environment: [String]) {
        self.arguments = arguments
        self.environment = environment
    }

    /// - Parameter timeout: after which the program and all that it started in its process group is killed.
    /// - Returns: what became of it, and what it said on standard output and standard error.
    static func run(_ call: HookCall, timeout: Duration) -> (outcome: HookOutcome, output: [UInt8]) {
        run([call.program], environment: call.variables.map { "\($0.name)=\($0.value)" }, timeout: timeout)
    }

    /// - Parameters:
    ///   - arguments: the program's absolute path, and what it is told.
    ///   - environment: `NAME=value`; the path to look for programs is added.
    static func run(_ arguments: [String], environment: [String], timeout: Duration) -> (outcome: HookOutcome, output: [UInt8]) {
        var run = HookProcess(arguments, environment)
        if let reason = run.start() { return (.notRun(reason: reason), []) }
        let outcome = run.waitUntilEnded(timeout: timeout)
        return (outcome, run.output)
    }

    /// - Returns: why it could not be started.
    private mutating func start() -> String? {
        var ends: [Int32] = [-1, -1]
        guard tandem_pipe(&ends) == 0 else { return errorText() }
        defer { close(ends[1]) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        let result = spawn(writing: ends[1])
        guard result == 0 else {
            close(ends[0])
            return errorText(result)
        }
        pipe = ends[0]
        return nil
    }

    /// No shell, no input, no descriptor of ours, no signal blocked or ignored, a process group of its own.
    ///
    /// - Returns: an errno, or 0.
    private mutating func spawn(writing descriptor: Int32) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, descriptor, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, descriptor, STDERR_FILENO)
        tandem_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        let variables = ["PATH=\(HookProcess.path)"] + environment
        let words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        let settings: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { for pointer in words + settings { free(pointer) } }
        return posix_spawn(&process, arguments[0], &actions, &attributes, words, settings)
    }

    private mutating func waitUntilEnded(timeout: Duration) -> HookOutcome {
        let ended = tandem_pidfd_open(process)
        defer {
            if ended >= 0 { close(ended) }
            if pipe >= 0 { close(pipe) }
        }
        let clock = ContinuousClock()
        let deadline = clock.now + timeout
        while true {
            let rest = deadline - clock.now
            guard rest > .zero else { return kill(ended) }
            wait(ended, for: rest)
            // First whether it has ended, so that nothing it said before is missed.
            let outcome = reap()
            read()
            if let outcome { return outcome }
        }
    }

    /// Until it says something, ends, a signal comes, or the time is over.
    private func wait(_ ended: Int32, for rest: Duration) {
        let wait = ended >= 0 ? rest : min(rest, HookProcess.blindPause)
        var polls = [pollfd(fd: pipe, events: Int16(POLLIN), revents: 0), pollfd(fd: ended, events: Int16(POLLIN), revents: 0)]
        _ = poll(&polls, 2, Int32(clamping: wait.inNanoseconds / 1_000_000 + 1))
    }

    /// - Returns: `nil` while it runs. After anything else its number may be another process's: nothing is sent to it any more.
    private func reap() -> HookOutcome? {
        var status: Int32 = 0
        while true {
            let found = waitpid(process, &status, WNOHANG)
            if found == process { return HookProcess.outcome(status) }
            if found == 0 { return nil }
            // ECHILD: whoever ignores SIGCHLD, or waits for any child, has got the status.
            if errno != EINTR { return .statusLost }
        }
    }

    /// To be called while it has not been reaped: until then neither its number nor its group's is given to another.
    private mutating func kill(_ ended: Int32) -> HookOutcome {
        Glibc.kill(-process, SIGKILL)
        let clock = ContinuousClock()
        let deadline = clock.now + HookProcess.deathPause
        while reap() == nil, clock.now < deadline {
            read()
            wait(ended, for: min(deadline - clock.now, HookProcess.blindPause))
        }
        read()
        return .timedOut
    }

    private mutating func read() {
        var chunk = [UInt8](repeating: 0, count: 4096)
        // What a program says without end is read in turns, between which its time is looked at.
        for _ in 0..<64 where pipe >= 0 {
            let count = Glibc.read(pipe, &chunk, chunk.count)
            if count > 0 {
                output += chunk[..<min(count, HookProcess.outputMax - output.count)]
            } else if count == 0 {
                close(pipe)
                pipe = -1
            } else if errno != EINTR {
                return
            }
        }
    }

    /// What wait(2) says.
    private static func outcome(_ status: Int32) -> HookOutcome {
        let signal = status & 0x7F
        return signal == 0 ? .exited(status: status >> 8 & 0xFF) : .killed(signal: signal)
    }
}
