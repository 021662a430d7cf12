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

    /// As the packet thread hands datagrams in.
    func mailbox() -> IKEMailbox {
        IKEMailbox(
            schedule: { [loop] in loop.execute($0) }, scheduleLater: { [loop] in _ = loop.scheduleTask(in: Runner.pause, $0) },
            handler: { [runner] in runner.value!.submit($0.map(Input.datagram)) })
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

private final class Flag: Sendable {
    let isSet = Atomic(false)
}

/// Notes that something came.
private final class Ear: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    let hasHeard = Atomic(false)

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { hasHeard.store(true, ordering: .relaxed) }
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
        // What was refused is tried again.
        #expect(status.counters["runtime_dataplane_failures"] ?? 0 >= 2)
        try await end.group.shutdownGracefully()
    }

    @Test func flood_whenDatagramsWait_letsOthersPassAndIsBounded() async throws {
        let end = try await RunnerEnd()
        try await end.perform { $0.submit(.started(dataPlane: "recording", reason: "test")) }
        let here = Endpoint(IPAddress("127.0.0.1")!, 500)
        let there = Endpoint(IPAddress("127.0.0.1")!, 9)
        // As many as may wait, and more, that begin an IKE SA; one that does not.
        let first = Datagram(local: here, remote: there, bytes: [UInt8](repeating: 0, count: 16))
        let flood = [Input](repeating: .datagram(first), count: 6000) + [.datagram(Datagram(local: here, remote: there, bytes: [1]))]
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
        #expect(counters["runtime_ike_dropped"] == UInt64(6000 - DatagramQueues.eachMax))
        try await end.group.shutdownGracefully()
    }

    /// Who comes back with a cookie needs a place of its own, or it would have to win against the flood once more.
    @Test func cookie_whenAFloodWaits_isTakenBeforeItAndNotLost() throws {
        let here = Endpoint(IPAddress("127.0.0.1")!, 500)
        func datagram(_ bytes: [UInt8]) -> Datagram { Datagram(local: here, remote: here, bytes: bytes) }
        let start = [UInt8](repeating: 1, count: 8) + [UInt8](repeating: 0, count: 8)
        // Header, COOKIE of 33 octets, and the beginning of an SA payload.
        let cookie: [UInt8] = [33, 0, 0, 41, 0, 0, 0x40, 0x06] + [UInt8](repeating: 7, count: 33)
        let returning = datagram(start + [41, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 200] + cookie + [34, 0, 0, 4])
        let newcomer = datagram(start + [33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 200] + [34, 0, 0, 4])
        let ongoing = datagram([UInt8](repeating: 1, count: 32))
        var queues = DatagramQueues()
        let kept = (0..<6000).count { _ in queues.append(newcomer) }
        #expect(kept == DatagramQueues.eachMax)
        for _ in 0..<8 {
            let isKept = queues.append(returning)
            #expect(isKept)
        }
        let isKept = queues.append(ongoing)
        #expect(isKept)
        var order: [Datagram] = []
        while let next = queues.take(), case .datagram(let datagram) = next, order.count < 12 { order.append(datagram) }
        #expect(order.first == ongoing)
        #expect(order.dropFirst().prefix(4).count { $0 == returning } == 3, "made-up cookies do not keep newcomers out")
        #expect(order.count { $0 == returning } == 8)

        let handled = Mutex<[Datagram]>([])
        let run = Mutex<[@Sendable () -> Void]>([])
        let mailbox = IKEMailbox(
            schedule: { work in run.withLock { $0.append(work) } }, handler: { batch in handled.withLock { $0 += batch } })
        #expect(mailbox.put([Datagram](repeating: newcomer, count: 5000)) == 5000 - IKEMailbox.countMax)
        #expect(mailbox.put([returning, ongoing]) == 0)
        run.withLock { $0 }.forEach { $0() }
        #expect(handled.withLock { $0 }.prefix(2) == [ongoing, returning])
    }

    /// Datagrams that come faster than they are handled keep nothing else from the event loop: heartbeats come through sockets.
    @Test func flood_whenItNeverEnds_leavesTheLoopToItsSockets() async throws {
        let end = try await RunnerEnd()
        try await end.perform { $0.submit(.started(dataPlane: "recording", reason: "test")) }
        let ear = Ear()
        let channel = try await DatagramBootstrap(group: end.loop).channelInitializer { $0.pipeline.addHandler(ear) }
            .bind(host: "127.0.0.1", port: 0).get()
        let here = try #require(channel.localAddress)
        let mailbox = end.mailbox()
        let over = Flag()
        try await withThrowingTaskGroup { group in
            group.addTask {
                let noise = Datagram(
                    local: Endpoint(IPAddress("127.0.0.1")!, 500), remote: Endpoint(IPAddress("127.0.0.1")!, 9), bytes: [0])
                let batch = [Datagram](repeating: noise, count: 64)
                while !over.isSet.load(ordering: .relaxed) { _ = mailbox.put(batch) }
            }
            // By then as many wait as may.
            try await Task.sleep(for: .milliseconds(200))
            channel.writeAndFlush(AddressedEnvelope(remoteAddress: here, data: ByteBuffer(string: "heartbeat")), promise: nil)
            for _ in 0..<300 where !ear.hasHeard.load(ordering: .relaxed) { try await Task.sleep(for: .milliseconds(10)) }
            let hasHeard = ear.hasHeard.load(ordering: .relaxed)
            #expect(hasHeard)
            over.isSet.store(true, ordering: .relaxed)
        }
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
