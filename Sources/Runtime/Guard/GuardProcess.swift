import Glibc
import Node
import Session

/// The daemon's side of the guard: starts it, gives it signs of life, starts it again when it is gone.
///
/// Belongs to the node's event loop; nothing here waits.
final class GuardProcess {
    /// Between two attempts to start a guard that does not stay.
    static let restartDelay: Duration = .seconds(1)
    /// POSIX_SPAWN_SETSID of glibc.
    private static let spawnInNewSession: Int16 = 0x80

    private let program: String
    private let configurationPath: String
    private let log: (LogLine) -> Void
    private var pipe: Int32 = -1
    private var process: pid_t = 0
    private var nextStart = Instant(nanoseconds: 0)
    private(set) var restarts: UInt64 = 0

    init(program: String, configurationPath: String, log: @escaping (LogLine) -> Void) {
        self.program = program
        self.configurationPath = configurationPath
        self.log = log
    }

    var isRunning: Bool { pipe >= 0 }

    /// Gives a sign of life, and starts the guard if there is none.
    func beat(_ sign: GuardSign, now: Instant) {
        if pipe < 0 {
            guard now >= nextStart else { return }
            nextStart = now + GuardProcess.restartDelay
            start()
        }
        var octet = sign.rawValue
        guard pipe >= 0, write(pipe, &octet, 1) != 1, errno != EAGAIN, errno != EINTR else { return }
        log(LogLine(.error, "the guard is gone and is started again", [.init("reason", errorText())]))
        restarts += 1
        abandon()
    }

    /// The orderly end: the guard goes without fencing.
    func quit() {
        guard pipe >= 0 else { return }
        var octet = GuardSign.quit.rawValue
        _ = write(pipe, &octet, 1)
        abandon()
    }

    private func abandon() {
        close(pipe)
        pipe = -1
        reap()
    }

    private func reap() {
        var status: Int32 = 0
        if process > 0, waitpid(process, &status, WNOHANG) == process { process = 0 }
    }

    private func start() {
        reap()
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { return failed(errorText()) }
        defer { close(ends[0]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        let result = spawn(reading: ends[0])
        guard result == 0 else {
            close(ends[1])
            return failed(errorText(result))
        }
        pipe = ends[1]
        log(LogLine(.info, "guard started", [.init("program", program), .init("pid", "\(process)")]))
    }

    private func failed(_ reason: String) {
        log(LogLine(.error, "cannot start the guard", [.init("program", program), .init("reason", reason)]))
    }

    /// - Returns: an errno, or 0.
    private func spawn(reading descriptor: Int32) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, descriptor, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var noSignals = sigset_t()
        sigemptyset(&noSignals)
        posix_spawnattr_setsigmask(&attributes, &noSignals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | GuardProcess.spawnInNewSession)
        let arguments = [program, "fence", "--watch", "3", "--config", configurationPath]
        let pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return posix_spawn(&process, program, &actions, &attributes, pointers, environ)
    }

    /// This program, whatever has become of its file since it was started.
    static let ownProgram = "/proc/self/exe"
}
