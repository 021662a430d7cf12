import Cryptography
import Glibc
import Session
import Synchronization
import Testing

@testable import Runtime

/// A socket of a peer's, for the tests: what it sends and what it hears.
final class TestSocket: Sendable {
    let socket: DatagramSocket

    init(_ address: String = "127.0.0.1", kind: DatagramSocket.Kind = .ike) throws {
        socket = try DatagramSocket.open(kind, address: IPAddress(address)!, port: 0)
    }

    var endpoint: Endpoint { Endpoint(socket.address, socket.port) }

    func send(_ bytes: [UInt8], to remote: Endpoint) { _ = socket.send(bytes, marker: false, from: socket.address, to: remote) }

    /// The next datagram within 2 s, and where it came from.
    func receive() -> (bytes: [UInt8], from: Endpoint?)? {
        var waiting = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 2000) == 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 65536)
        var name = [UInt8](repeating: 0, count: SocketAddress.capacity)
        var nameLength = socklen_t(name.count)
        let count = name.withUnsafeMutableBytes { name in
            recvfrom(socket.descriptor, &bytes, bytes.count, 0, name.baseAddress!.assumingMemoryBound(to: sockaddr.self), &nameLength)
        }
        guard count >= 0 else { return nil }
        return (Array(bytes[..<count]), name.withUnsafeBytes { SocketAddress.read($0.baseAddress!, length: nameLength) })
    }
}

/// Collects what a callback is given.
final class Collector<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])

    func add(_ new: [Value]) { values.withLock { $0 += new } }

    /// At least `count` of them, or what there is after 2 s.
    func wait(for count: Int) -> [Value] {
        for _ in 0..<400 {
            let now = values.withLock { $0 }
            if now.count >= count { return now }
            usleep(5000)
        }
        return values.withLock { $0 }
    }
}

extension PacketLoop {
    /// A counter, as soon as it is `value`, or as it is after 2 s.
    func counter(_ name: String, awaiting value: UInt64) -> UInt64? {
        for _ in 0..<400 where statistics()[name] != value { usleep(5000) }
        return statistics()[name]
    }
}

@Suite struct PacketLoopTests {
    private func withLoop(
        _ addresses: [String] = ["127.0.0.1"], _ body: (PacketLoop, Collector<Datagram>) throws -> Void
    ) throws {
        let received = Collector<Datagram>()
        let configuration = PacketLoop.Configuration(
            addresses: addresses.map { IPAddress($0)! }, ikePort: 0, encapsulationPort: 0)
        let loop = try PacketLoop(configuration) { received.add($0) }
        try loop.start()
        defer { loop.stop() }
        try body(loop, received)
    }

    @Test(arguments: ["127.0.0.1", "::1"])
    func datagram_onTheIKEPort_isHandedOnWhole(address: String) throws {
        try withLoop([address]) { loop, received in
            let peer = try TestSocket(address)
            let local = Endpoint(IPAddress(address)!, loop.ports[0].ike)
            for bytes in [[1, 2, 3], [0, 0, 0, 0, 5]] as [[UInt8]] { peer.send(bytes, to: local) }
            let expected = [[1, 2, 3], [0, 0, 0, 0, 5]].map { Datagram(local: local, remote: peer.endpoint, bytes: $0) }
            #expect(received.wait(for: 2) == expected)
        }
    }

    @Test func datagram_onTheEncapsulationPort_isToldApart() throws {
        try withLoop { loop, received in
            let peer = try TestSocket()
            let local = Endpoint(IPAddress("127.0.0.1")!, loop.ports[0].encapsulation)
            for bytes in [[0xFF], [0xFE], [0, 0, 0], [], [0, 0, 0, 1, 9, 9], [0, 0, 0, 0], [0, 0, 0, 0, 7, 8]] as [[UInt8]] {
                peer.send(bytes, to: local)
            }
            #expect(received.wait(for: 2).map(\.bytes) == [[], [7, 8]])
            #expect(loop.counter("keepalive_received", awaiting: 1) == 1)
            #expect(loop.counter("malformed_datagram", awaiting: 3) == 3)
            #expect(loop.counter("esp_without_data_plane", awaiting: 1) == 1)
            #expect(loop.counter("ike_received", awaiting: 2) == 2)
        }
    }

    /// RFC 3948 §2.3.
    @Test(arguments: ["127.0.0.1", "::1"])
    func keepAlive_isSentWithoutTheMarker(text: String) throws {
        try withLoop([text]) { loop, _ in
            let peer = try TestSocket(text)
            let local = Endpoint(IPAddress(text)!, loop.ports[0].encapsulation)
            loop.send(Datagram(local: local, remote: peer.endpoint, bytes: [0xFF]))
            loop.send(Datagram(local: local, remote: peer.endpoint, bytes: [0xFF, 0xFF]))
            #expect(try #require(peer.receive()).bytes == [0xFF])
            #expect(try #require(peer.receive()).bytes == [0, 0, 0, 0, 0xFF, 0xFF])
            #expect(loop.counter("keepalive_sent", awaiting: 1) == 1 && loop.counter("ike_sent", awaiting: 1) == 1)
        }
    }

    @Test func send_fromEachPort_addsTheMarkerWhereItBelongs() throws {
        try withLoop { loop, _ in
            let peer = try TestSocket()
            let address = IPAddress("127.0.0.1")!
            loop.send(Datagram(local: Endpoint(address, loop.ports[0].ike), remote: peer.endpoint, bytes: [1, 2]))
            var answer = try #require(peer.receive())
            #expect(answer.bytes == [1, 2] && answer.from == Endpoint(address, loop.ports[0].ike))
            loop.send(Datagram(local: Endpoint(address, loop.ports[0].encapsulation), remote: peer.endpoint, bytes: [1, 2]))
            answer = try #require(peer.receive())
            #expect(answer.bytes == [0, 0, 0, 0, 1, 2] && answer.from == Endpoint(address, loop.ports[0].encapsulation))
            loop.send(Datagram(local: Endpoint(IPAddress("192.0.2.77")!, 1), remote: peer.endpoint, bytes: [1, 2]))
            #expect(loop.statistics()["ike_no_socket"] == 1 && loop.statistics()["ike_sent"] == 2)
        }
    }

    @Test(arguments: [("0.0.0.0", "127.0.0.9"), ("::", "::1")])
    func wildcardSocket_knowsTheAddressSpokenTo_andAnswersFromIt(bound: String, spokenTo: String) throws {
        try withLoop([bound]) { loop, received in
            let peer = try TestSocket(spokenTo)
            let local = Endpoint(IPAddress(spokenTo)!, loop.ports[0].ike)
            peer.send([1, 2, 3], to: local)
            let datagram = try #require(received.wait(for: 1).first)
            #expect(datagram == Datagram(local: local, remote: peer.endpoint, bytes: [1, 2, 3]))
            loop.send(Datagram(local: datagram.local, remote: datagram.remote, bytes: [4]))
            let answer = try #require(peer.receive())
            #expect(answer.bytes == [4] && answer.from == local)
        }
    }

    @Test func socket_forAnAddressOfTheOtherNode_canBeBound() throws {
        try withLoop(["192.0.2.10", "2001:db8::10"]) { loop, _ in #expect(loop.ports.allSatisfy { $0.ike != 0 }) }
    }

    @Test func start_whenThePortIsTaken_saysWhichOne() throws {
        let taken = try TestSocket()
        // Other IKE daemons are willing to share it.
        var on: Int32 = 1
        setsockopt(taken.socket.descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
        let configuration = PacketLoop.Configuration(addresses: [taken.endpoint.address], ikePort: taken.endpoint.port)
        #expect(throws: PacketIOError(operation: "bind \(taken.endpoint)", code: EADDRINUSE)) {
            try PacketLoop(configuration) { _ in }
        }
    }

    @Test func mailbox_whenNobodyEmptiesIt_staysBoundedAndIsScheduledOnce() {
        let waiting = Collector<@Sendable () -> Void>()
        let handled = Collector<Int>()
        let mailbox = IKEMailbox(schedule: { waiting.add([$0]) }, handler: { handled.add([$0.count]) })
        let endpoint = Endpoint(IPAddress("127.0.0.1")!, 500)
        let batch = Array(repeating: Datagram(local: endpoint, remote: endpoint, bytes: [1]), count: 64)
        var dropped = 0
        for _ in 0..<100 { dropped += mailbox.put(batch) }
        #expect(dropped == 6400 - IKEMailbox.countMax)
        let scheduled = waiting.wait(for: 1)
        #expect(scheduled.count == 1)
        scheduled[0]()
        #expect(handled.wait(for: 1) == [IKEMailbox.countMax])
        #expect(mailbox.put(batch) == 0)
        let large = Datagram(local: endpoint, remote: endpoint, bytes: Array(repeating: 0, count: 60000))
        #expect(mailbox.put(Array(repeating: large, count: 200)) == 200 - (IKEMailbox.octetCountMax - 64) / 60000)
    }

    @Test func stop_endsTheThreadAndMayBeRepeated() throws {
        let received = Collector<Datagram>()
        let loop = try PacketLoop(.init(addresses: [IPAddress("127.0.0.1")!], ikePort: 0, encapsulationPort: 0)) { received.add($0) }
        try loop.start()
        loop.stop()
        loop.stop()
        let peer = try TestSocket()
        peer.send([1], to: Endpoint(IPAddress("127.0.0.1")!, loop.ports[0].ike))
        usleep(50_000)
        #expect(received.wait(for: 0).isEmpty)
    }
}

/// A network namespace of its own, gone when the last descriptor on it is closed.
final class Namespace: Sendable {
    private typealias Unshare = @convention(c) (Int32) -> Int32
    private typealias Enter = @convention(c) (Int32, Int32) -> Int32
    private static let newNetwork: Int32 = 0x4000_0000
    private let descriptor: Int32

    init() throws {
        descriptor = try Namespace.onThread {
            guard unsafeBitCast(dlsym(nil, "unshare"), to: Unshare.self)(Namespace.newNetwork) == 0 else { throw PacketIOError("unshare") }
            return open("/proc/thread-self/ns/net", O_RDONLY | Linux.closeOnExec)
        }
        try run { try ip("link", "set", "lo", "up") }
    }

    deinit { close(descriptor) }

    /// For `ip link ... netns`.
    var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

    /// Runs `body` on a thread in the namespace, to its end.
    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let descriptor = descriptor
        return try Namespace.onThread {
            let enter = unsafeBitCast(dlsym(nil, "setns"), to: Enter.self)
            guard enter(descriptor, Namespace.newNetwork) == 0 else { throw PacketIOError("setns") }
            return try body()
        }
    }

    private final class Call: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private static func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let result = Collector<Result<Value, any Error>>()
        let call = Call { result.add([Result(catching: body)]) }
        var thread = pthread_t()
        let started = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Call>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(call).toOpaque())
        precondition(started == 0)
        pthread_join(thread, nil)
        return try result.wait(for: 1)[0].get()
    }
}

/// iproute2, in the namespace of the calling thread.
func ip(_ arguments: String...) throws { try ip(arguments) }

func ip(_ arguments: [String]) throws {
    var process = pid_t()
    let words = (["ip"] + arguments).map { strdup($0) } + [nil]
    defer { words.forEach { free($0) } }
    guard posix_spawn(&process, "/sbin/ip", nil, nil, words, environ) == 0 else { throw PacketIOError("ip") }
    var status: Int32 = 0
    waitpid(process, &status, 0)
    guard status == 0 else { throw PacketIOError(operation: "ip \(arguments.joined(separator: " "))", code: EINVAL) }
}

/// Two gateways in two namespaces that a veth pair joins; behind each an address on its loopback.
private struct TwoGateways {
    let left: Side
    let right: Side

    final class Side: Sendable {
        let namespace: Namespace
        let outer: IPAddress
        let inner: String
        let plane: UserDataPlane
        let loop: PacketLoop
        let events = Collector<DataPlaneEvent>()

        init(namespace: Namespace, outer: String, inner: String, remote: String) throws {
            self.namespace = namespace
            self.outer = IPAddress(outer)!
            self.inner = inner
            let configuration = PacketLoop.Configuration(addresses: [self.outer])
            loop = try namespace.run { try PacketLoop(configuration) { _ in } }
            let routes = RouteInstaller(
                addUnicast: { try ip("route", "replace", $0.description, "dev", $1) },
                removeUnicast: { try ip("route", "del", $0.description, "dev", $1) },
                addBlackhole: { try ip("route", "replace", "blackhole", $0.description, "metric", "\($1)") })
            let protected = ProtectedTraffic(
                local: TrafficSelector(IPPrefix(inner)!), remote: TrafficSelector(IPPrefix(remote)!))
            plane = UserDataPlane(
                configuration: DataPlaneConfiguration(
                    protected: [protected], tunName: "tandem0", counterInterval: .milliseconds(20), routes: routes),
                reason: "test", loop: loop)
        }

        func start() throws {
            try loop.start()
            try namespace.run { [plane, events] in try plane.start { events.add([$0]) } }
        }

        func stop() throws {
            try namespace.run { [plane] in plane.stop() }
            loop.stop()
        }

        func socket() throws -> TestSocket { try namespace.run { [inner] in try TestSocket(inner) } }
    }

    init(ipv6: Bool = false) throws {
        let (one, two) = (try Namespace(), try Namespace())
        let outer = ipv6 ? ["2001:db8::1", "2001:db8::2"] : ["192.0.2.1", "192.0.2.2"]
        let inner = ipv6 ? ["2001:db8:1::1", "2001:db8:3::5"] : ["10.1.0.1", "10.3.0.5"]
        let remote = ipv6 ? ["2001:db8:3::/48", "2001:db8:1::/48"] : ["10.3.0.0/16", "10.1.0.0/16"]
        let path = two.path
        try one.run { try ip("link", "add", "v1", "type", "veth", "peer", "name", "v2", "netns", path) }
        for (index, namespace) in [one, two].enumerated() {
            try namespace.run {
                let link = "v\(index + 1)"
                let noProbe = ipv6 ? ["nodad"] : []
                try ip(["addr", "add", outer[index] + (ipv6 ? "/64" : "/24"), "dev", link] + noProbe)
                try ip(["addr", "add", inner[index], "dev", "lo"] + noProbe)
                try ip("link", "set", link, "up")
            }
        }
        left = try Side(namespace: one, outer: outer[0], inner: inner[0], remote: remote[0])
        right = try Side(namespace: two, outer: outer[1], inner: inner[1], remote: remote[1])
        try left.start()
        try right.start()
    }

    func stop() throws {
        try left.stop()
        try right.stop()
    }

    /// Installs one CHILD SA on both sides and opens the gates.
    func connect(_ algorithms: ESPAlgorithms, encapsulation: Bool) {
        func keys(_ seed: UInt64) -> DirectionKeys {
            let random = RandomSource.seeded(seed)
            return DirectionKeys(
                encryption: SecretBytes(random.bytes(algorithms.cipher.keyMaterialLength)),
                integrity: SecretBytes(random.bytes(algorithms.integrity?.keyLength ?? 0)))
        }
        for (side, other, own, peers) in [(left, right, UInt32(1), UInt32(0x8000_0001)), (right, left, 0x8000_0001, 1)] {
            let child = ChildSA(
                inboundSPI: own, outboundSPI: peers, name: "net", uniqueID: 1, algorithms: algorithms, inboundKeys: keys(UInt64(own)),
                outboundKeys: keys(UInt64(peers)), mode: .tunnel, localSelectors: [TrafficSelector(host: IPAddress(side.inner)!)],
                remoteSelectors: [TrafficSelector(host: IPAddress(other.inner)!)], lease: .initial, establishedWallMilliseconds: 0)
            let installation = ChildInstallation(
                session: SessionID(rawValue: 1), child: child, local: Endpoint(side.outer, 4500), remote: Endpoint(other.outer, 4500),
                encapsulation: encapsulation, numbers: LeasedNumbers(next: 1, limit: 1 << 24))
            #expect(side.plane.apply([.install(installation), .gate(.open)]).isEmpty)
        }
    }
}

let canMakeNamespaces = geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 && access("/sbin/ip", X_OK) == 0

@Suite(.enabled(if: canMakeNamespaces, "needs root, /dev/net/tun and iproute2")) struct UserDataPlaneTests {
    private static let suites = [
        ESPAlgorithms(
            cipher: Cipher(.aesGCM16, keyBits: 128), integrity: nil, extendedSequenceNumbers: true, keyExchangeGroup: nil),
        ESPAlgorithms(
            cipher: Cipher(.aesCBC, keyBits: 256), integrity: .hmacSHA256_128, extendedSequenceNumbers: false, keyExchangeGroup: nil),
    ]

    @Test(arguments: suites, [(true, false), (false, false), (true, true), (false, true)])
    func packets_betweenTwoGateways_goThroughTheTunnelBothWays(algorithms: ESPAlgorithms, way: (inUDP: Bool, ipv6: Bool)) throws {
        let pair = try TwoGateways(ipv6: way.ipv6)
        defer { #expect(throws: Never.self) { try pair.stop() } }
        pair.connect(algorithms, encapsulation: way.inUDP)
        let (near, far) = (try pair.left.socket(), try pair.right.socket())
        for length in [0, 1, 1000, 1352, 4000] {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
            near.send(bytes, to: far.endpoint)
            let there = try #require(far.receive(), "\(length) octets")
            #expect(there.bytes == bytes && there.from == near.endpoint)
            far.send(bytes, to: near.endpoint)
            let back = try #require(near.receive(), "\(length) octets")
            #expect(back.bytes == bytes && back.from == far.endpoint)
        }
        let statistics = pair.left.plane.statistics()
        // 4,000 octets are three fragments inside.
        #expect((statistics.outboundPackets, statistics.inboundPackets) == (7, 7))
        #expect(pair.left.loop.counter("esp_sent", awaiting: 7) == 7)
        #expect(pair.left.loop.counter("tun_sent", awaiting: 7) == 7)
        let reports = pair.left.events.wait(for: 1).compactMap { event -> CounterReport? in
            guard case .counters(let reports) = event else { return nil }
            return reports.first
        }
        #expect(reports.first?.inboundSPI == 1)
    }

    @Test func gate_whenClosed_letsNothingOut_andAfterTheEndNothingGoesInClear() throws {
        let pair = try TwoGateways()
        pair.connect(UserDataPlaneTests.suites[0], encapsulation: true)
        let (near, far) = (try pair.left.socket(), try pair.right.socket())
        // Were it not for the data plane, the other side could be reached in clear.
        try pair.left.namespace.run { try ip("route", "add", "10.0.0.0/8", "via", "192.0.2.2") }
        near.send([1], to: far.endpoint)
        #expect(far.receive()?.bytes == [1])

        #expect(pair.left.plane.apply([.gate(.closed)]).isEmpty)
        near.send([2], to: far.endpoint)
        far.send([3], to: near.endpoint)
        #expect(pair.left.loop.counter("tun_received", awaiting: 2) == 2)
        #expect(pair.left.loop.counter("esp_received", awaiting: 1) == 1)
        #expect(pair.left.plane.statistics().counters["out_gate_closed"] == 1)
        #expect(pair.left.plane.statistics().counters["in_gate_closed"] == 1)

        try pair.stop()
        #expect(!near.socket.send([4], marker: false, from: near.endpoint.address, to: far.endpoint))
        #expect(pair.left.plane.statistics().counters["esp_sent"] == 1)
    }

    @Test func start_withEverythingProtected_isRefused() throws {
        let loop = try PacketLoop(.init(addresses: [IPAddress("127.0.0.1")!], ikePort: 0, encapsulationPort: 0)) { _ in }
        let all = TrafficSelector(IPPrefix("0.0.0.0/0")!)
        let plane = UserDataPlane(
            configuration: DataPlaneConfiguration(protected: [ProtectedTraffic(local: all, remote: all)]), reason: "test", loop: loop)
        #expect(throws: UserDataPlaneError.defaultRoute(IPPrefix("0.0.0.0/0")!)) { try plane.start { _ in } }
    }

    @Test func apply_ofALeaseForAnUnknownSA_isAFailureThatNamesIt() throws {
        let loop = try PacketLoop(.init(addresses: [IPAddress("127.0.0.1")!], ikePort: 0, encapsulationPort: 0)) { _ in }
        let plane = UserDataPlane(configuration: DataPlaneConfiguration(), reason: "test", loop: loop)
        let commands: [DataPlaneCommand] = [
            .lease(inboundSPI: 0xABC, numbers: LeasedNumbers(next: 1, limit: 2)), .gate(.inboundOnly),
        ]
        #expect(plane.apply(commands).map(\.command) == ["lease abc 1...2"])
        #expect(plane.statistics().gate == .inboundOnly)
    }
}
