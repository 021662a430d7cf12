import CLinux
import Glibc
import Node
import Session

/// What the daemon tells its guard, an octet at a time.
enum GuardSign: UInt8 {
    /// This node is active and its peer is ready to take over as soon as it hears nothing: little patience.
    case paired = 0x70  // p
    /// Nobody would take over: much patience.
    case solo = 0x73  // s
    /// The daemon ends in good order, and has given up what it had.
    case quit = 0x71  // q
}

/// Decides when the daemon is dead or frozen. Knows no clock and no process.
struct GuardMachine {
    enum Verdict: Equatable {
        /// Wait for the next octet at most this long.
        case wait(Duration)
        case fence(reason: String, mustKill: Bool)
        case quit
    }

    /// When nobody would take over, a restart is all that a fence brings: only a daemon that is surely stuck deserves it.
    static let soloPatience: Duration = .seconds(5)
    /// Below this a busy host looks like a frozen daemon.
    static let pairedPatienceMin: Duration = .milliseconds(100)

    private let pairedPatience: Duration
    private var last = GuardSign.solo

    /// - Parameter pair: the peer gives up after `heartbeatInterval · deadAfter`, and so does the guard.
    init(pair: PairConfiguration?) {
        let deadTime = pair.map { $0.heartbeatInterval * $0.deadAfter } ?? GuardMachine.soloPatience
        pairedPatience = max(deadTime, GuardMachine.pairedPatienceMin)
    }

    private var patience: Duration { last == .paired ? pairedPatience : GuardMachine.soloPatience }

    var start: Verdict { .wait(patience) }

    /// Octets came; the last one counts. Unknown ones are signs of life.
    mutating func received(_ octets: some Collection<UInt8>) -> Verdict {
        for octet in octets {
            guard let sign = GuardSign(rawValue: octet) else { continue }
            if sign == .quit { return .quit }
            last = sign
        }
        return .wait(patience)
    }

    /// The pipe is closed: the daemon's process is gone.
    func ended() -> Verdict { .fence(reason: "the daemon's process ended", mustKill: false) }

    /// Nothing came within the patience.
    func silent() -> Verdict {
        .fence(reason: "the daemon gave no sign of life for \(Int(patience.inMilliseconds)) ms", mustKill: true)
    }
}

/// `tandemd fence --watch FD`: the process that fences this host when the daemon dies or freezes.
public enum GuardWatch {
    /// Watches until the daemon has quit or the host is fenced.
    ///
    /// - Parameters:
    ///   - descriptor: the reading end of the daemon's pipe. The daemon is the parent process.
    /// - Returns: the exit status: 0 after an orderly end, 1 after a fence, 78 when the configuration is bad.
    public static func run(descriptor: Int32, configurationPath: String) -> Int32 {
        // A session of its own: what is sent to the daemon's terminal or group must not end the guard.
        setsid()
        // Nor what is sent to all that bear the daemon's name.
        tandem_set_process_name("tandem-guard")
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT] { Glibc.signal(signal, SIG_IGN) }
        Confinement.refuseDumps()
        let log = LogSink(program: "tandem-guard")
        let daemon = ParentProcess()
        let configuration: Configuration
        do throws(ConfigurationError) {
            configuration = try Configuration.load(path: configurationPath, for: .fencing)
        } catch {
            log.write(LogLine(.error, "the guard cannot read the configuration", [.init("problems", error.description)]))
            return 78
        }
        log.level = configuration.runtime.logLevel
        let fence = Fence(configuration: configuration)
        // Best effort: a guard whose pages are on a stuck disk is none.
        mlockall(MCL_CURRENT | MCL_FUTURE)
        log.write(LogLine(.debug, "the guard watches", [.init("pid", "\(daemon.identifier)")]))
        var machine = GuardMachine(pair: configuration.node.pair)
        var verdict = machine.start
        while true {
            switch verdict {
            case .wait(let patience): verdict = waitForSign(descriptor, patience, &machine)
            case .quit: return 0
            case .fence(let reason, let mustKill):
                var failures = fence.engage()
                if mustKill { daemon.kill() }
                failures += fence.clear()
                var line = LogLine(.error, "the guard fenced this host", [.init("reason", reason)])
                if !failures.isEmpty { line.fields.append(.init("undone", failures.joined(separator: "; "))) }
                log.write(line)
                return 1
            }
        }
    }

    private static func waitForSign(_ descriptor: Int32, _ patience: Duration, _ machine: inout GuardMachine) -> GuardMachine.Verdict {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let ready = Glibc.poll(&poll, 1, Int32(clamping: patience.inNanoseconds / 1_000_000))
        if ready == 0 { return machine.silent() }
        if ready < 0 { return errno == EINTR ? .wait(patience) : machine.ended() }
        var octets = [UInt8](repeating: 0, count: 512)
        let count = read(descriptor, &octets, octets.count)
        if count < 0, errno == EINTR || errno == EAGAIN { return .wait(patience) }
        return count <= 0 ? machine.ended() : machine.received(octets[..<count])
    }
}

/// The process that started this one, held so that no other process that gets its number is ever hit.
struct ParentProcess {
    let identifier = getppid()
    private let descriptor: Int32

    init() {
        let opened = tandem_pidfd_open(identifier)
        // A parent that died before it could be held is no longer the parent.
        descriptor = opened >= 0 && getppid() == identifier ? opened : -1
    }

    func kill() {
        if descriptor >= 0 {
            _ = tandem_pidfd_send_signal(descriptor, SIGKILL)
        } else if identifier > 1, getppid() == identifier {
            // A kernel without pidfd: as long as it is our parent, the number is its.
            Glibc.kill(identifier, SIGKILL)
        }
    }
}
