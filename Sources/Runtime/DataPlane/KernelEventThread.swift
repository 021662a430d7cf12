import Glibc
import Netlink
import Session

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

    private let thread: WaitingThread

    /// - Parameter handler: called on the thread; `nil` ends it.
    init(monitor: sending XFRMMonitor, coalescing: Duration, handler: sending @escaping (Round) -> Wish?) throws(NetlinkError) {
        thread = try WaitingThread { waiter in KernelEventThread.run(waiter, monitor, coalescing, handler) }
    }

    /// Ends the thread and waits for it. Not from the thread itself.
    func stop() { thread.stop() }

    private static func run(_ waiter: WaitingThread.Waiter, _ monitor: XFRMMonitor, _ coalescing: Duration, _ handler: (Round) -> Wish?) {
        var reportAt: Int64?
        while true {
            let timeout = reportAt.map { Int32(clamping: max(($0 - WaitingThread.monotonicNanoseconds() + 999_999) / 1_000_000, 0)) } ?? -1
            let wake = waiter.wait(for: monitor.descriptor, milliseconds: timeout)
            if wake == .ended { return }
            var events: [XFRMEvent] = []
            if wake == .ready {
                do { events = try monitor.read() } catch { usleep(errorPauseMs * 1000) }
            }
            let isDue = reportAt.map { WaitingThread.monotonicNanoseconds() >= $0 } ?? false
            guard let wish = handler(Round(events: events, isDue: isDue)) else { return }
            switch wish {
            case .nothing: reportAt = nil
            case .report: reportAt = isDue ? nil : reportAt ?? WaitingThread.monotonicNanoseconds() + coalescing.inNanoseconds
            }
        }
    }
}
