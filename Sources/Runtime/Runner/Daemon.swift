import CLinux
import Control
import Glibc
import NIOCore
import NIOPosix
import Node
import Session

/// `tandemd`: puts the parts together in their order, waits for signals, and ends in good order.
public enum Daemon {
    /// What it ends with (sysexits.h).
    public enum ExitStatus {
        public static let success: Int32 = 0
        public static let failure: Int32 = 1
        public static let configuration: Int32 = 78
    }

    /// From which level on lines are logged.
    public enum LogLevel: String, CaseIterable, Sendable { case debug, info, notice, warning, error }

    /// Runs until a signal ends it.
    ///
    /// - Parameter logLevel: in place of the configuration's.
    /// - Returns: the exit status.
    public static func run(configuration: Configuration, logLevel: LogLevel? = nil) -> Int32 {
        let level = logLevel.flatMap { LogLine.Level(name: $0.rawValue) } ?? configuration.runtime.logLevel
        let log = LogSink(program: "tandemd", level: level)
        func fail(_ message: String, _ reason: String) -> Int32 {
            log.write(LogLine(.error, message, [.init("reason", reason)]))
            return ExitStatus.failure
        }
        // One thread allocates, the others hardly do. An arena of its own would grow by a page at a time, each a system call.
        tandem_allocate_in_one_arena()
        let signals = SignalSet([SIGTERM, SIGINT, SIGHUP, Daemon.finished])
        signals.block()
        signal(SIGPIPE, SIG_IGN)
        // Whoever started us may have ignored it, and then the kernel would tell nobody how our programs end.
        signal(SIGCHLD, SIG_DFL)
        let lock: RuntimeLock
        do throws(RuntimeLock.Failure) {
            lock = try RuntimeLock(directory: configuration.runtime.directory)
        } catch {
            return fail("cannot start", error.description)
        }
        defer { withExtendedLifetime(lock) {} }
        log.write(
            LogLine(
                .notice, "tandemd starts",
                [.init("version", TandemVersion.text), .init("node", configuration.node.name), .init("configuration", configuration.path)]))
        for warning in configuration.warnings {
            log.write(LogLine(.warning, "the configuration", [.init("warning", warning.description)]))
        }
        let confinement = Confinement.begin(configuration) { log.write($0) }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? group.syncShutdownGracefully() }
        let eventLoop = group.next()
        let life: NIOLoopBound<DaemonLife>
        do {
            life = try eventLoop.submit {
                NIOLoopBound(try DaemonLife(configuration, confinement, log: log, eventLoop: eventLoop), eventLoop: eventLoop)
            }.wait()
            confinement.sealThread { log.write($0) }
            try eventLoop.flatSubmit { life.value.start() }.wait()
        } catch {
            // What was put in place by then is taken back; the exit closes the rest.
            for problem in SharedAddresses(addresses: configuration.node.addresses).release() { log.write(problem) }
            return fail("cannot start", "\(error)")
        }
        return serve(signals, life, eventLoop, log)
    }

    /// Sent to ourselves when the end has come.
    static let finished = SIGUSR2

    private static func serve(_ signals: SignalSet, _ life: NIOLoopBound<DaemonLife>, _ eventLoop: any EventLoop, _ log: LogSink) -> Int32 {
        while true {
            switch signals.wait() {
            case SIGHUP:
                log.write(LogLine(.warning, "SIGHUP ignored: a changed configuration needs a restart, the standby's first"))
            case finished:
                return ExitStatus.success
            case let number:
                log.write(LogLine(.notice, "ends on a signal", [.init("signal", number == SIGINT ? "SIGINT" : "SIGTERM")]))
                eventLoop.execute { life.value.end { kill(getpid(), finished) } }
            }
        }
    }
}

/// Signals that one thread takes one by one, and no other thread ever.
struct SignalSet {
    private var set = sigset_t()

    init(_ signals: [Int32]) {
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
    }

    /// In this thread and all that it starts. Before any other thread is.
    func block() {
        var set = set
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    func wait() -> Int32 {
        var set = set
        var number: Int32 = 0
        while sigwait(&set, &number) != 0 {}
        return number
    }
}
