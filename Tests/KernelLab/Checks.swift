import Glibc
import Netlink
import Runtime
import Session
import Synchronization

/// One line a check, as the Test Anything Protocol has it.
enum Checks {
    nonisolated(unsafe) private(set) static var failures = 0

    static func check(_ condition: Bool, _ what: String) {
        print("\(condition ? "ok" : "not ok") - \(what)")
        fflush(nil)
        if !condition { failures += 1 }
    }

    static func empty(_ failures: [DataPlaneFailure], _ what: String) { check(failures.isEmpty, "\(what) \(failures)") }
}

/// A data plane in a namespace, with what it said.
final class Plane {
    let plane: KernelDataPlane
    private let log = EventLog()

    private final class EventLog: Sendable {
        let events = Mutex<[DataPlaneEvent]>([])
    }

    init(_ space: String, protected: [ProtectedTraffic], support: ESPSupport) throws {
        try World.enter(space)
        plane = try KernelDataPlane(configuration: DataPlaneConfiguration(protected: protected), support: support)
        try plane.start { [log] event in log.events.withLock { $0.append(event) } }
    }

    func apply(_ commands: DataPlaneCommand...) -> [DataPlaneFailure] { plane.apply(commands) }

    /// The newest report of a CHILD SA that satisfies the condition, waited for.
    func report(_ spi: UInt32, withinMs: Double = 10_000, _ condition: @escaping (CounterReport) -> Bool = { _ in true }) -> CounterReport?
    {
        wait(withinMs) { events in
            events.reversed().lazy.compactMap { event -> CounterReport? in
                guard case .counters(let reports) = event else { return nil }
                return reports.first { $0.inboundSPI == spi && condition($0) }
            }.first
        }
    }

    func movedTo(_ spi: UInt32) -> Endpoint? {
        wait(10_000) { events in
            events.lazy.compactMap { event -> Endpoint? in
                guard case .endpointChanged(spi, let remote) = event else { return nil }
                return remote
            }.first
        }
    }

    private func wait<R>(_ withinMs: Double, _ body: ([DataPlaneEvent]) -> R?) -> R? {
        let end = World.now() + withinMs
        while true {
            if let found = log.events.withLock({ body($0) }) { return found }
            if World.now() > end { return nil }
            usleep(5000)
        }
    }
}
