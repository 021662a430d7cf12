import Control
import IKE
import NIOCore
import NIOPosix
import Node
import Session
import Synchronization
import Testing

@testable import Runtime

/// Remembers what it was told.
private final class RecordingPlane: DataPlane {
    let kind = "recording"
    let reason = "test"
    let commands = Mutex<[DataPlaneCommand]>([])
    let failing = Mutex(false)

    func start(events: @escaping @Sendable (DataPlaneEvent) -> Void) throws {}
    func apply(_ commands: [DataPlaneCommand]) -> [DataPlaneFailure] {
        self.commands.withLock { $0 += commands }
        return failing.withLock { $0 } ? commands.map { DataPlaneFailure($0, reason: "test") } : []
    }
    func statistics() -> DataPlaneStatistics { DataPlaneStatistics(inboundPackets: 7) }
    func stop() {}
}

/// A node that stands alone, on an event loop of its own, with a data plane that only remembers.
private final class RunnerEnd: Sendable {
    let plane = RecordingPlane()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop: any EventLoop
    private let runner: NIOLoopBoundBox<Runner?>

    init() async throws {
        loop = group.next()
        runner = .makeEmptyBox(eventLoop: loop)
        let loopback = IPAddress("127.0.0.1")!
        let packets = try PacketLoop(.init(addresses: [loopback], ikePort: 0, encapsulationPort: 0)) { _ in }
        let ike = IKEConfiguration(connections: [], secrets: [], pools: [])
        let node = NodeConfiguration(name: "alone", id: .zero, pair: nil, addresses: [], ike: ike, version: "test")
        try await loop.submit {
            let world = Runner.World(
                dataPlane: self.plane, packets: packets, addresses: SharedAddresses(addresses: []), notifier: Notifier(),
                log: LogSink(program: "test", level: .error))
            self.runner.value = Runner(configuration: node, world: world, eventLoop: self.loop)
        }.get()
    }

    func perform<Value: Sendable>(_ work: @escaping @Sendable (Runner) -> Value) async throws -> Value {
        try await loop.submit { work(self.runner.value!) }.get()
    }

    func status() async throws -> StatusSummary? {
        let answer = Mutex<StatusSummary?>(nil)
        try await perform { runner in
            _ = runner.request(.status) { response in
                if case .status(let status) = response { answer.withLock { $0 = status } }
            }
        }
        return answer.withLock { $0 }
    }
}

@Suite struct RunnerTests {
    @Test func node_whenItStandsAlone_becomesActiveAndOpensTheGate() async throws {
        let end = try await RunnerEnd()
        try await end.perform { $0.submit(.started(dataPlane: "recording", reason: "test")) }
        #expect(end.plane.commands.withLock { $0 } == [.gate(.closed), .gate(.open)])
        let status = try #require(try await end.status())
        #expect(status.role == "active" && status.dataPlane == "recording")
        #expect(status.counters["dataplane_inbound_packets"] == 7, "what lies below the node is in its status")
        #expect(status.lastTakeover?.steps.isEmpty == false, "milestones were handed back")
        try await end.group.shutdownGracefully()
    }

    @Test func dataPlane_whenItFails_isToldToTheNodeAndNothingStops() async throws {
        let end = try await RunnerEnd()
        end.plane.failing.withLock { $0 = true }
        try await end.perform { $0.submit(.started(dataPlane: "recording", reason: "test")) }
        let status = try #require(try await end.status())
        #expect(status.role == "active")
        #expect(status.counters["runtime_dataplane_failures"] == 2)
        try await end.group.shutdownGracefully()
    }

    @Test func flood_whenDatagramsWait_letsOthersPassAndIsBounded() async throws {
        let end = try await RunnerEnd()
        try await end.perform { $0.submit(.started(dataPlane: "recording", reason: "test")) }
        let here = Endpoint(IPAddress("127.0.0.1")!, 500)
        let there = Endpoint(IPAddress("127.0.0.1")!, 9)
        let flood = (0..<6000).map { Input.datagram(Datagram(local: here, remote: there, bytes: [UInt8(truncatingIfNeeded: $0)])) }
        let order = Mutex<[String]>([])
        try await end.perform { runner in
            _ = runner.request(.version) { _ in
                // Within the drain: the flood is put behind it and the next request passes it.
                runner.submit(flood)
                _ = runner.request(.stats) { _ in order.withLock { $0.append("answered") } }
            }
            order.withLock { $0.append("drained") }
        }
        #expect(order.withLock { $0 }.first == "answered")
        let counters = try #require(try await end.status()).counters
        #expect(counters["runtime_ike_dropped"] == UInt64(6000 - Runner.datagramsMax))
        try await end.group.shutdownGracefully()
    }

    @Test func runner_whenStopped_doesNothingMore() async throws {
        let end = try await RunnerEnd()
        try await end.perform { runner in
            runner.stop()
            runner.submit(.started(dataPlane: "recording", reason: "test"))
        }
        #expect(end.plane.commands.withLock { $0 } == [])
        #expect(try await end.status() == nil)
        try await end.group.shutdownGracefully()
    }
}
