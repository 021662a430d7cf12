import Glibc
import Netlink
import Node
import Session
import Synchronization

/// A thread with the kernel's table of connections: it tells a node what happens there, or does to it what the node wants.
///
/// Both may take long, and must not keep the node's event loop. What it tells waits in few pages, so that a loop that is busy slows
/// it down and not the other way round; the kernel drops what nobody reads, says so, and the table is told anew.
final class FlowThread: Sendable {
    enum Order: Sendable {
        case watch(generation: UInt64)
        case unwatch
        case inject(FlowInjection)
    }

    /// What it says, each to be acknowledged by `taken` unless it is a result.
    enum Message: Sendable {
        case report(FlowReport, generation: UInt64)
        case result(FlowInjectionResult, failure: String?)
    }

    /// Changes or entries in one page: a fraction of a millisecond of the event loop.
    static let pageMax = 256
    /// Pages that the event loop has not taken.
    static let pagesMax = 16
    /// Events come together: one wake-up of the event loop for all within this.
    static let coalescingMicroseconds: UInt32 = 10_000
    /// From one telling of the whole table to the next, however often the kernel has to drop events.
    static let tablePauseSeconds = 5
    /// A socket that fails is asked again, but not in a busy loop.
    static let errorPauseMicroseconds: UInt32 = 100_000

    private let mail: FlowMail
    private let thread: WaitingThread

    /// - Parameter handler: called on the thread.
    init(
        monitor: sending ConntrackMonitor, table: sending Conntrack, handler: sending @escaping (Message) -> Void
    ) throws(NetlinkError) {
        let mail = FlowMail()
        self.mail = mail
        let body = FlowThreadBody(monitor: monitor, table: table, mail: mail, handler: handler)
        thread = try WaitingThread { waiter in body.run(waiter) }
    }

    func order(_ order: Order) {
        mail.put(order)
        thread.wake()
    }

    /// The event loop has done a page.
    func taken() { mail.pageTaken() }

    /// Ends the thread and waits for it. Not from the thread itself.
    func stop() {
        mail.stop()
        thread.stop()
    }

    deinit { stop() }
}

/// What lies between the event loop and the thread.
private final class FlowMail: Sendable {
    private struct State {
        var orders: [FlowThread.Order] = []
        var pagesOutstanding = 0
        var isStopped = false
    }

    private let state = Mutex(State())

    func put(_ order: FlowThread.Order) { state.withLock { $0.orders.append(order) } }
    func pageTaken() { state.withLock { $0.pagesOutstanding -= 1 } }
    func stop() { state.withLock { $0.isStopped = true } }

    var isStopped: Bool { state.withLock { $0.isStopped } }
    var hasOrders: Bool { state.withLock { !$0.orders.isEmpty || $0.isStopped } }

    func takeOrders() -> [FlowThread.Order] {
        state.withLock { state in
            defer { state.orders = [] }
            return state.orders
        }
    }

    /// Whether there is room for a page; if so it is counted.
    func reservePage() -> Bool {
        state.withLock { state in
            guard state.pagesOutstanding < FlowThread.pagesMax else { return false }
            state.pagesOutstanding += 1
            return true
        }
    }
}

/// What the thread owns.
private final class FlowThreadBody {
    private let monitor: ConntrackMonitor
    private let table: Conntrack
    private let mail: FlowMail
    private let handler: (FlowThread.Message) -> Void
    private var generation: UInt64?
    /// The whole table is to be told, at this time of the monotonic clock in seconds.
    private var tableDueAt: Int?

    init(monitor: ConntrackMonitor, table: Conntrack, mail: FlowMail, handler: @escaping (FlowThread.Message) -> Void) {
        self.monitor = monitor
        self.table = table
        self.mail = mail
        self.handler = handler
    }

    func run(_ waiter: WaitingThread.Waiter) {
        while !mail.isStopped {
            for order in mail.takeOrders() { carryOut(order) }
            if let due = tableDueAt, generation != nil, now() >= due { tellTable() }
            guard !mail.hasOrders else { continue }
            // Nobody reads on a standby: what the kernel has to drop then is not missed.
            let timeout = tableDueAt.map { Int32(clamping: max(0, $0 - now()) * 1000 + 10) } ?? -1
            switch waiter.wait(for: generation == nil ? nil : monitor.descriptor, milliseconds: timeout) {
            case .ready: tellEvents()
            case .timeOver, .woken: break
            case .ended: return
            }
        }
    }

    private func carryOut(_ order: FlowThread.Order) {
        switch order {
        case .watch(let generation):
            self.generation = generation
            // What came before the table says nothing that the table does not say.
            try? monitor.drain()
            tableDueAt = now()
        case .unwatch:
            generation = nil
            tableDueAt = nil
        case .inject(let injection): inject(injection)
        }
    }

    private func tellEvents() {
        usleep(FlowThread.coalescingMicroseconds)
        var overrun = false
        do throws(NetlinkError) {
            let changes = try monitor.read(overrun: &overrun)
            for start in stride(from: 0, to: changes.count, by: FlowThread.pageMax) {
                guard tell(.changes(Array(changes[start..<min(start + FlowThread.pageMax, changes.count)]))) else { return }
            }
        } catch {
            overrun = true
            usleep(FlowThread.errorPauseMicroseconds)
        }
        if overrun, tableDueAt == nil { tableDueAt = now() + FlowThread.tablePauseSeconds }
    }

    private func tellTable() {
        tableDueAt = nil
        guard tell(.tableBegins) else { return }
        var page: [FlowEntry] = []
        do throws(NetlinkError) {
            let isWhole = try table.entries { entries in
                page += entries
                guard page.count >= FlowThread.pageMax else { return true }
                defer { page = [] }
                return tell(.table(page))
            }
            if isWhole, tell(.table(page)), tell(.tableEnds) { return }
        } catch {
            usleep(FlowThread.errorPauseMicroseconds)
        }
        // Without its end the table says nothing of what is gone.
        if generation != nil { tableDueAt = now() + FlowThread.tablePauseSeconds }
    }

    /// - Returns: false when there is something else to do first.
    private func tell(_ report: FlowReport) -> Bool {
        guard let generation else { return false }
        while !mail.reservePage() {
            guard !mail.hasOrders else { return false }
            usleep(1000)
        }
        handler(.report(report, generation: generation))
        return true
    }

    private func inject(_ injection: FlowInjection) {
        var result = FlowInjectionResult(isFromPeer: injection.isFromPeer, done: 0, failed: 0)
        var failure: String?
        do throws(NetlinkError) {
            let outcome = try table.perform(injection.commands)
            (result.done, result.failed) = (outcome.done, outcome.failures.count)
            failure = outcome.failures.first.map { "\($0)" }
        } catch {
            result.failed = injection.commands.count
            failure = "\(error)"
        }
        handler(.result(result, failure: failure))
    }

    private func now() -> Int { Int(WaitingThread.monotonicNanoseconds() / 1_000_000_000) }
}
