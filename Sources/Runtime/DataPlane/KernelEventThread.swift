import Glibc
import Netlink
import Session
import Synchronization

/// A thread that waits for the kernel's events about SAs and hands them on, together with when it is time to report.
final class KernelEventThread: Sendable {
    struct Round {
        var events: [XFRMEvent]
        /// The coalescing time of something that waits is over.
        var isDue: Bool
    }

    enum Wish { case nothing, report }

    /// When the monitor fails it is asked again, but not in a busy loop.
    private static let errorPauseMs: UInt32 = 100

    /// Closing the second wakes who waits for the first.
    private let pair: [Int32]
    private let handle: Mutex<pthread_t?>

    /// What the thread owns.
    private final class Body {
        let monitor: XFRMMonitor
        let coalescing: Duration
        let stopDescriptor: Int32
        let handler: (Round) -> Wish?

        init(monitor: XFRMMonitor, coalescing: Duration, stopDescriptor: Int32, handler: @escaping (Round) -> Wish?) {
            self.monitor = monitor
            self.coalescing = coalescing
            self.stopDescriptor = stopDescriptor
            self.handler = handler
        }

        func run() {
            var reportAt: Int64?
            while true {
                var descriptors = [
                    pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: stopDescriptor, events: Int16(POLLIN), revents: 0),
                ]
                let timeout = reportAt.map { Int32(clamping: max(($0 - Body.now() + 999_999) / 1_000_000, 0)) } ?? -1
                _ = poll(&descriptors, 2, timeout)
                if descriptors[1].revents != 0 { return }
                var events: [XFRMEvent] = []
                if descriptors[0].revents != 0 {
                    do { events = try monitor.read() } catch { usleep(KernelEventThread.errorPauseMs * 1000) }
                }
                let isDue = reportAt.map { Body.now() >= $0 } ?? false
                guard let wish = handler(Round(events: events, isDue: isDue)) else { return }
                switch wish {
                case .nothing: reportAt = nil
                case .report: reportAt = isDue ? nil : reportAt ?? Body.now() + coalescing.inNanoseconds
                }
            }
        }

        private static func now() -> Int64 {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        }
    }

    /// - Parameter handler: called on the thread; `nil` ends it.
    init(monitor: sending XFRMMonitor, coalescing: Duration, handler: sending @escaping (Round) -> Wish?) throws(NetlinkError) {
        var pair: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw NetlinkError(operation: "make a socket pair", code: errno)
        }
        let body = Body(monitor: monitor, coalescing: coalescing, stopDescriptor: pair[0], handler: handler)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(body).toOpaque())
        guard code == 0 else {
            pair.forEach { close($0) }
            throw NetlinkError(operation: "start a thread", code: code)
        }
        self.pair = pair
        handle = Mutex(thread)
    }

    /// Ends the thread and waits for it. Not from the thread itself.
    func stop() {
        handle.withLock { handle in
            guard let thread = handle else { return }
            close(pair[1])
            pthread_join(thread, nil)
            close(pair[0])
            handle = nil
        }
    }

    deinit { stop() }
}
