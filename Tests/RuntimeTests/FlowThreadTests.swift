import Glibc
import Netlink
import Node
import Session
import Synchronization
import Testing

@testable import Runtime

/// The thread with the kernel's own table of connections, in a network namespace that ends with it.
@Suite(.enabled(if: geteuid() == 0 && Conntrack.support().isSupported, "needs root, network namespaces and conntrack"))
struct FlowThreadTests {
    private static func entry(_ port: UInt16) -> FlowEntry {
        let (client, server) = (IPAddress("10.20.0.1")!, IPAddress("10.10.0.53")!)
        return FlowEntry(
            original: FlowTuple(source: client, destination: server, ipProtocol: 17, sourcePort: port, destinationPort: 53),
            reply: FlowTuple(source: server, destination: client, ipProtocol: 17, sourcePort: 53, destinationPort: port),
            status: [.seenReply], timeout: 300)
    }

    /// What the thread said.
    private final class Heard: Sendable {
        let messages = Mutex<[FlowThread.Message]>([])
        /// Changed once the thread is there.
        let thread = Mutex<FlowThread?>(nil)

        func hear(_ message: FlowThread.Message) {
            messages.withLock { $0.append(message) }
            if case .report = message { thread.withLock { $0 }?.taken() }
        }

        var reports: [(report: FlowReport, generation: UInt64)] {
            messages.withLock { $0 }.compactMap { if case .report(let report, let generation) = $0 { (report, generation) } else { nil } }
        }

        var table: [FlowEntry] {
            reports.flatMap { (report, _) -> [FlowEntry] in if case .table(let page) = report { page } else { [] } }
        }

        var changes: [FlowChange] {
            reports.flatMap { (report, _) -> [FlowChange] in if case .changes(let list) = report { list } else { [] } }
        }

        func results() -> [FlowInjectionResult] {
            messages.withLock { $0 }.compactMap { if case .result(let result, _) = $0 { result } else { nil } }
        }

        func wait(_ what: String, _ holds: () -> Bool) {
            for _ in 0..<500 where !holds() { usleep(10_000) }
            #expect(holds(), "\(what)")
        }
    }

    /// Its sockets, of one namespace.
    private final class Sockets: @unchecked Sendable {
        var monitor: ConntrackMonitor?
        var tables: [Conntrack] = []
        var error: (any Error)?
    }

    /// Opened on a thread of another namespace, where they stay.
    private static func sockets() throws -> Sockets {
        let sockets = Sockets()
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                let sockets = Unmanaged<Sockets>.fromOpaque(argument!).takeRetainedValue()
                do {
                    try NetworkNamespace.isolateThread()
                    sockets.monitor = try ConntrackMonitor()
                    sockets.tables = [try Conntrack(), try Conntrack()]
                } catch { sockets.error = error }
                return nil
            }, Unmanaged.passRetained(sockets).toOpaque())
        try #require(code == 0)
        pthread_join(thread, nil)
        if let error = sockets.error { throw error }
        return sockets
    }

    @Test func watch_tellsTheTableThenWhatChanges_andOrdersAreCarriedOut() throws {
        let sockets = try Self.sockets()
        let (heard, kernel) = (Heard(), sockets.tables[1])
        let thread = try FlowThread(monitor: sockets.monitor!, table: sockets.tables[0]) { heard.hear($0) }
        defer { thread.stop() }
        heard.thread.withLock { $0 = thread }
        // Before anybody asks nothing is told.
        _ = try kernel.perform((1...600).map { .create(Self.entry($0)) })
        thread.order(.inject(FlowInjection(commands: [.create(Self.entry(601)), .remove(Self.entry(1).key)], isFromPeer: true)))
        heard.wait("the injection's result") { heard.results() == [FlowInjectionResult(isFromPeer: true, done: 2, failed: 0)] }
        #expect(heard.reports.isEmpty)

        thread.order(.watch(generation: 7))
        heard.wait("the end of the table") { heard.reports.last?.report == .tableEnds }
        #expect(heard.reports.first?.report == .tableBegins)
        #expect(heard.reports.allSatisfy { $0.generation == 7 })
        let told = heard.table
        #expect(Set(told.map(\.original.sourcePort)) == Set(2...601))

        _ = try kernel.perform([.create(Self.entry(700)), .remove(Self.entry(2).key)])
        heard.wait("both changes") {
            heard.changes.contains(.remove(Self.entry(2).key)) && heard.changes.contains { $0.key == Self.entry(700).key }
        }

        thread.order(.unwatch)
        thread.order(.inject(FlowInjection(commands: [], isFromPeer: false)))
        heard.wait("the second result") { heard.results().count == 2 }
        let count = heard.reports.count
        _ = try kernel.perform([.create(Self.entry(701))])
        usleep(50_000)
        #expect(heard.reports.count == count)
    }

    /// A loop that takes nothing is sent no more than it may leave, and the thread still hears orders.
    @Test func pages_thatNobodyTakes_holdTheThreadAndNotItsOrders() throws {
        let sockets = try Self.sockets()
        let (heard, kernel) = (Heard(), sockets.tables[1])
        _ = try kernel.perform((1...10_000).map { .create(Self.entry($0)) })
        let thread = try FlowThread(monitor: sockets.monitor!, table: sockets.tables[0]) { heard.hear($0) }
        defer { thread.stop() }
        thread.order(.watch(generation: 1))
        heard.wait("as many pages as may wait") { heard.reports.count == FlowThread.pagesMax }
        thread.order(.unwatch)
        thread.order(.inject(FlowInjection(commands: [.create(Self.entry(20_000))], isFromPeer: false)))
        heard.wait("the injection's result") { heard.results().count == 1 }
        #expect(heard.reports.count == FlowThread.pagesMax)
    }
}
