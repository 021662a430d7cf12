import Glibc

/// Tells the service manager how the daemon fares (sd_notify(3)). Without a service manager it does nothing.
public struct Notifier: Sendable {
    private let descriptor: Int32?
    /// How often WATCHDOG=1 is due: half of what the manager waits (sd_watchdog_enabled(3)); `nil` when it does not watch.
    public let watchdogInterval: Duration?

    public init() { self.init(environment: { name in getenv(name).map { String(cString: $0) } }, processID: getpid()) }

    init(environment: (String) -> String?, processID: pid_t) {
        descriptor = environment("NOTIFY_SOCKET").flatMap { UnixDatagram.connect($0) }
        let isForUs = environment("WATCHDOG_PID").map { pid_t($0) == processID } ?? true
        let microseconds = environment("WATCHDOG_USEC").flatMap { Int64($0) } ?? 0
        watchdogInterval = descriptor != nil && isForUs && microseconds > 1 ? .microseconds(microseconds / 2) : nil
    }

    public func ready(status: String) { send("READY=1\nSTATUS=\(status)\n") }
    public func status(_ text: String) { send("STATUS=\(text)\n") }
    public func watchdog() { send("WATCHDOG=1\n") }
    public func stopping() { send("STOPPING=1\n") }

    private func send(_ text: String) {
        guard let descriptor else { return }
        let bytes = Array(text.utf8)
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    }
}
