import Cryptography
import Glibc
import NIOCore
import NIOPosix
import Node
import Pair
import Session
import Synchronization
import Testing

@testable import Runtime

/// One end of a pair's link on an event loop of its own.
final class LinkEnd: Sendable {
    enum Event: Equatable, Sendable {
        case opened
        case frame(PairFrame)
        case closed(String)
    }

    let events = Mutex<[Event]>([])
    let lines = Mutex<[LogLine]>([])
    /// The digests of the certificates that the other end showed, one for each time that it was open.
    let shown = Mutex<[[UInt8]]>([])
    /// The path of each connection.
    let paths = Mutex<[Int?]>([])
    /// From the start until it was open for the first time, by the event loop's own clock.
    let waited = Mutex<Duration?>(nil)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop: any EventLoop
    private let link: NIOLoopBoundBox<PairLink?>

    init(_ node: NodeID, _ settings: PairLinkSettings, returnAfter: TimeAmount = PairLink.returnAfter) async throws {
        loop = group.next()
        link = .makeEmptyBox(eventLoop: loop)
        try await loop.submit {
            let start = ContinuousClock.now
            let link = try PairLink(
                settings, node: node, eventLoop: self.loop, returnAfter: returnAfter,
                log: { line in self.lines.withLock { $0.append(line) } }
            ) { event in
                if case .opened(let path, _, let certificate) = event {
                    self.waited.withLock { $0 = $0 ?? ContinuousClock.now - start }
                    self.shown.withLock { $0.append(certificate) }
                    self.paths.withLock { $0.append(path) }
                }
                self.events.withLock { events in
                    switch event {
                    case .opened: events.append(.opened)
                    case .frame(let frame): events.append(.frame(frame))
                    case .closed(let reason): events.append(.closed(reason))
                    }
                }
            }
            self.link.value = link
            link.start()
        }.get()
    }

    func perform<Value: Sendable>(_ work: @escaping @Sendable (PairLink) -> Value) async throws -> Value {
        try await loop.submit { work(self.link.value!) }.get()
    }

    func counter(_ name: String) async throws -> UInt64 { try await perform { $0.counters[name] ?? 0 } }
    var isOpen: Bool { get async throws { try await perform { $0.isOpen } } }

    func stop() async throws {
        try await perform { $0.stop() }
        try await group.shutdownGracefully()
    }
}

/// Waits for a condition, for at most 5 s.
func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
    for _ in 0..<1000 {
        if try await condition() { return true }
        try await Task.sleep(for: .milliseconds(5))
    }
    return false
}

/// Where the next free port is looked for: below those that the kernel gives to whoever connects.
private let nextPort = Atomic<UInt16>(UInt16(10_000 + getpid() % 20_000))

/// A TCP port of the loopback that nobody uses now, and no other test gets.
func freePort() -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    while true {
        let port = nextPort.wrappingAdd(1, ordering: .relaxed).newValue
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        if bound == 0 { return port }
    }
}

struct Identities {
    let certificates: [String]
    let keys: [SecretBytes]

    init(_ names: [String]) throws {
        let made = try names.map { try PairIdentity.generate(name: $0, validDays: 1) }
        certificates = made.map(\.certificatePEM)
        keys = made.map(\.keyPEM)
    }

    func settings(own: Int, peer: Int, paths: [HeartbeatPath]) -> PairLinkSettings {
        PairLinkSettings(paths: paths, certificatePEM: certificates[own], keyPEM: keys[own], peerCertificatePEMs: [certificates[peer]])
    }
}

func path(_ local: UInt16, _ remote: UInt16, preference: Int = 0) -> HeartbeatPath {
    let loopback = IPAddress("127.0.0.1")!
    return HeartbeatPath(local: Endpoint(loopback, local), remote: Endpoint(loopback, remote), preference: preference)
}

func bothOpen(_ zero: LinkEnd, _ one: LinkEnd) async throws -> Bool {
    try await eventually {
        guard try await zero.isOpen else { return false }
        return try await one.isOpen
    }
}

/// Both ends of a link that is open, on one path.
private func openPair() async throws -> (zero: LinkEnd, one: LinkEnd) {
    let identities = try Identities(["a", "b"])
    let port = freePort()
    let zero = try await LinkEnd(.zero, identities.settings(own: 0, peer: 1, paths: [path(port, 1)]))
    let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, port)]))
    #expect(try await bothOpen(zero, one))
    return (zero, one)
}

@Suite struct PairLinkTests {
    @Test func frames_whenBothSend_arriveInOrder() async throws {
        let (zero, one) = try await openPair()
        for end in [zero, one] {
            try await end.perform { link in
                for index in 1...2000 {
                    link.send(.entry(index: UInt64(index), .replay([])))
                    if index % 7 == 0 { link.flush() }
                }
                link.flush()
            }
        }
        let expected = [LinkEnd.Event.opened] + (1...2000).map { .frame(.entry(index: UInt64($0), .replay([]))) }
        for end in [zero, one] {
            #expect(try await eventually { end.events.withLock { $0.count } == 2001 })
            #expect(end.events.withLock { $0 } == expected)
        }
        try await zero.stop()
        try await one.stop()
    }

    /// Of those that wait for a flush only the last one goes, and no frame passes the acknowledgements before it.
    @Test func acknowledgements_whenSeveralWait_goAsOne() async throws {
        let (zero, one) = try await openPair()
        try await zero.perform { link in
            for index in 1...6 { link.send(.acknowledge(index: UInt64(index))) }
            link.send(.snapshotPageTaken)
            for index in 7...9 { link.send(.acknowledge(index: UInt64(index))) }
            link.flush()
            link.send(.acknowledge(index: 10))
            link.flush()
        }
        let expected: [LinkEnd.Event] = [
            .opened, .frame(.acknowledge(index: 6)), .frame(.snapshotPageTaken), .frame(.acknowledge(index: 9)),
            .frame(.acknowledge(index: 10)),
        ]
        #expect(try await eventually { one.events.withLock { $0.count } == expected.count })
        #expect(one.events.withLock { $0 } == expected)
        try await zero.stop()
        try await one.stop()
    }

    @Test func link_whenClosed_isOpenedAgain() async throws {
        let (zero, one) = try await openPair()
        try await zero.perform { $0.close(reason: "test") }
        #expect(try await eventually { try await one.counter("opened") == 2 })
        #expect(try await eventually { zero.events.withLock { $0 } == [.opened, .closed("test"), .opened] })
        let others = one.events.withLock { $0 }
        #expect(others.count == 3 && others[1] == .closed("the peer closed the connection"))
        try await zero.stop()
        try await one.stop()
    }

    @Test func link_whenHeartbeatsComeFast_isStillOpened() async throws {
        let identities = try Identities(["a", "b"])
        let port = freePort()
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, port)]))
        // Until the wait between two attempts is at its longest.
        #expect(try await eventually { try await one.counter("connect_failed") >= 5 })
        let zero = try await LinkEnd(.zero, identities.settings(own: 0, peer: 1, paths: [path(port, 1)]))
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(5), try await !one.isOpen {
            try await one.perform { $0.peerWasHeard() }
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(try await one.isOpen, "no heartbeat puts the next attempt off")
        #expect(try await bothOpen(zero, one))
        try await zero.stop()
        try await one.stop()
    }

    @Test func firstPath_whenNobodyAnswersThere_isPassedOver() async throws {
        let identities = try Identities(["a", "b"])
        let (dead, alive) = (freePort(), freePort())
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, dead), path(2, alive)]))
        let zero = try await LinkEnd(.zero, identities.settings(own: 0, peer: 1, paths: [path(alive, 1)]))
        #expect(try await bothOpen(zero, one))
        #expect(try await one.counter("connect_failed") > 0)
        try await zero.stop()
        try await one.stop()
    }

    /// The one that stands is left when the other is open, not before.
    @Test func preferredPath_whenItHasWorkedForAWhile_getsTheLinkBack() async throws {
        let identities = try Identities(["a", "b"])
        let (first, second) = (freePort(), freePort())
        let zero = try await LinkEnd(
            .zero, identities.settings(own: 0, peer: 1, paths: [path(first, 2), path(second, 3, preference: 1)]))
        let dialled = [path(2, first), path(3, second, preference: 1)]
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: dialled), returnAfter: .milliseconds(50))
        #expect(try await bothOpen(zero, one))
        try await one.perform { $0.pathsChanged(working: [false, true]) }
        #expect(try await eventually { zero.paths.withLock { $0 } == one.paths.withLock { $0 } && one.paths.withLock { $0.last } == 1 })
        let moves = one.paths.withLock { $0.count }
        try await one.perform { $0.pathsChanged(working: [true, true]) }
        #expect(try await eventually { zero.paths.withLock { $0 } == one.paths.withLock { $0 } && one.paths.withLock { $0.last } == 0 })
        #expect(try await one.counter("returned") == 1)
        // Neither end had none in between.
        for end in [zero, one] {
            #expect(end.paths.withLock { $0.count } == moves + 1)
            #expect(end.events.withLock { $0.suffix(2) } == [.opened, .opened])
        }
        try await zero.stop()
        try await one.stop()
    }

    @Test func stranger_whenItKnocks_harmsNothing() async throws {
        let identities = try Identities(["a", "b", "stranger"])
        let port = freePort()
        let start = ContinuousClock.now
        let zero = try await LinkEnd(.zero, identities.settings(own: 0, peer: 1, paths: [path(port, 1)]))
        let stranger = try await LinkEnd(.one, identities.settings(own: 2, peer: 0, paths: [path(2, port)]))
        #expect(try await eventually { try await zero.counter("wrong_certificate") >= 2 })
        #expect(stranger.events.withLock { $0 } == [])
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, port)]))
        #expect(try await bothOpen(zero, one))
        let garbage = try await ClientBootstrap(group: stranger.loop).connect(host: "127.0.0.1", port: Int(port)).get()
        try await garbage.writeAndFlush(ByteBuffer(repeating: 0x47, count: 5000)).get()
        #expect(try await eventually { try await zero.counter("handshake_failed") > 2 })
        try await Task.sleep(for: .milliseconds(50))
        #expect(try await zero.isOpen)
        #expect(try await one.isOpen)
        #expect(zero.events.withLock { $0 } == [.opened])
        let logged = zero.lines.withLock { $0.count }
        let seconds = Int((ContinuousClock.now - start).components.seconds)
        // One each second for each of the three reasons that a refusal can have here.
        #expect((1...(3 * (seconds + 1))).contains(logged), "refusals are logged at most once a second")
        for end in [stranger, zero, one] { try await end.stop() }
    }

    @Test func strangersAddress_whenItHoldsManyConnections_keepsNobodyOut() async throws {
        let identities = try Identities(["a", "b"])
        let port = freePort()
        let zero = try await LinkEnd(.zero, identities.settings(own: 0, peer: 1, paths: [path(port, 1)]))
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let elsewhere = try NIOCore.SocketAddress(ipAddress: "127.0.0.2", port: 0)
        for _ in 0..<40 {
            _ = try await ClientBootstrap(group: group).bind(to: elsewhere).connect(host: "127.0.0.1", port: Int(port)).get()
        }
        #expect(try await eventually { try await zero.counter("stranger") == 40 })
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, port)]))
        #expect(try await bothOpen(zero, one))
        let waited = try #require(one.waited.withLock { $0 })
        #expect(waited < .seconds(2), "sooner than the time in which a connection has to open")
        for end in [zero, one] { try await end.stop() }
        try await group.shutdownGracefully()
    }

    @Test func server_whenItIsNotThePeer_isRefused() async throws {
        let identities = try Identities(["a", "b", "impostor"])
        let port = freePort()
        let impostor = try await LinkEnd(.zero, identities.settings(own: 2, peer: 1, paths: [path(port, 1)]))
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, port)]))
        #expect(try await eventually { try await one.counter("wrong_certificate") >= 2 })
        #expect(one.events.withLock { $0 } == [] && impostor.events.withLock { $0 } == [])
        try await impostor.stop()
        try await one.stop()
    }

    @Test func peer_whenItTakesNothing_isGivenUp() async throws {
        let (zero, one) = try await openPair()
        try await zero.perform { link in
            let reports = (1...4096).map { ReplayReport(inboundSPI: 0x8000_0000 | UInt32($0), top: 1 << 61) }
            for index in 1...2000 { link.send(.entry(index: UInt64(index), .replay(reports))) }
        }
        let events = zero.events.withLock { $0 }
        #expect(events.count == 2 && events[1] == .closed("the peer takes nothing: 64 MiB wait for it"))
        try await zero.stop()
        try await one.stop()
    }
}

@Suite struct HeartbeatSocketTests {
    @Test func heartbeats_whenFromThePathsRemote_areHandedIn() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let (a, b) = (freePort(), freePort())
        let received = Mutex<[String]>([])
        let foreign = HeartbeatPath(local: Endpoint(IPAddress("127.0.0.1")!, b), remote: Endpoint(IPAddress("127.0.0.9")!, a))
        let both = try await loop.submit {
            func make(_ name: String, _ path: HeartbeatPath) -> HeartbeatSockets {
                let sockets = HeartbeatSockets([path], eventLoop: loop, log: { _ in }) { path, bytes in
                    received.withLock { $0.append("\(name) \(path) \(bytes)") }
                }
                sockets.start()
                return sockets
            }
            return NIOLoopBound((make("a", path(a, b)), make("b", path(b, a))), eventLoop: loop)
        }.get()
        #expect(
            try await eventually {
                try await loop.submit {
                    both.value.0.send(path: 0, [1, 2, 3])
                    both.value.1.send(path: 0, [])
                    both.value.1.send(path: 0, [UInt8](repeating: 0, count: 257))
                    both.value.1.send(path: 0, [UInt8](repeating: 7, count: 2))
                }.get()
                return received.withLock { Set($0) } == ["b 0 [1, 2, 3]", "a 0 []", "a 0 [7, 7]"]
            })
        try await loop.submit {
            #expect(both.value.0.counters["too_long", default: 0] > 0)
            both.value.1.stop()
            let stranger = HeartbeatSockets([foreign], eventLoop: loop, log: { _ in }) { _, _ in received.withLock { $0 = ["stranger"] } }
            stranger.start()
            both.value.0.send(path: 0, [9])
            loop.assumeIsolated().scheduleTask(in: .milliseconds(100)) {
                both.value.0.send(path: 0, [9])
            }
            loop.assumeIsolated().scheduleTask(in: .milliseconds(200)) {
                #expect(stranger.counters["stranger", default: 0] > 0)
                stranger.stop()
                both.value.0.stop()
            }
        }.get()
        try await Task.sleep(for: .milliseconds(300))
        #expect(received.withLock { $0 } != ["stranger"])
        try await group.shutdownGracefully()
    }
}
