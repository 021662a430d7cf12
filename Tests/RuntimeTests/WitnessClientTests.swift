import Control
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

/// A real etcd on loopback, in a folder of its own.
private final class Etcd {
    static let program = "/usr/bin/etcd"
    static var isInstalled: Bool { access(program, X_OK) == 0 }

    let port: UInt16
    private let peerPort: UInt16
    private let folder = TemporaryFolder()
    private var process: pid_t = 0

    init() {
        (port, peerPort) = (freePort(), freePort())
        start()
    }

    deinit { stop() }

    var url: String { "http://127.0.0.1:\(port)" }

    /// Starts with what it had when it was stopped.
    func start() {
        let arguments = [
            Etcd.program, "--data-dir", "\(folder.path)/data", "--listen-client-urls", url, "--advertise-client-urls", url,
            "--listen-peer-urls", "http://127.0.0.1:\(peerPort)", "--initial-advertise-peer-urls", "http://127.0.0.1:\(peerPort)",
            "--initial-cluster", "default=http://127.0.0.1:\(peerPort)", "--unsafe-no-fsync",
        ]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "\(folder.path)/log", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        let words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        let environment: [UnsafeMutablePointer<CChar>?] = [strdup("ETCD_UNSUPPORTED_ARCH=arm64"), nil]
        defer { for pointer in words + environment { free(pointer) } }
        #expect(posix_spawn(&process, Etcd.program, &actions, nil, words, environment) == 0)
    }

    func stop() {
        guard process > 0 else { return }
        kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
        process = 0
    }
}

/// One node's client on an event loop of its own.
private final class Client: Sendable {
    let lines = Mutex<[LogLine]>([])
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let loop: any EventLoop
    private let client: NIOLoopBoundBox<WitnessClient?>

    init(_ name: String, id: NodeID = .zero, _ settings: WitnessSettings, keepsAlive: Bool = true) async throws {
        loop = group.next()
        client = .makeEmptyBox(eventLoop: loop)
        try await loop.submit {
            let made = try WitnessClient(
                settings, id: id, name: name, eventLoop: self.loop, log: { line in self.lines.withLock { $0.append(line) } })
            self.client.value = made
            if keepsAlive { made.start() }
        }.get()
    }

    func claim(_ epoch: Epoch) async throws -> ArbiterAnswer {
        let promise = loop.makePromise(of: ArbiterAnswer.self)
        try await loop.submit { self.client.value!.claim(epoch: epoch) { promise.succeed($0) } }.get()
        return try await promise.futureResult.get()
    }

    func release() async throws { try await loop.submit { self.client.value!.release() }.get() }

    func counter(_ name: String) async throws -> UInt64 { try await loop.submit { self.client.value!.counters[name] ?? 0 }.get() }

    func stop() async throws {
        try await loop.submit { self.client.value!.stop() }.get()
        try await group.shutdownGracefully()
    }
}

extension ArbiterAnswer {
    fileprivate var isGranted: Bool { if case .granted = self { true } else { false } }
    fileprivate var isUnanswered: Bool { if case .unanswered = self { true } else { false } }
}

@Suite struct WitnessClientTests {
    private static func settings(_ urls: [String], timeout: Duration = .seconds(5)) -> WitnessSettings {
        // Long, since machines that build are slow; what the time is worth is not looked at here.
        WitnessSettings(endpoints: urls.map { WitnessSettings.Endpoint($0)! }, key: "tandem/test", ttlSeconds: 2, timeout: timeout)
    }

    /// Until it serves.
    private static func claimed(_ client: Client, _ epoch: Epoch) async throws -> ArbiterAnswer {
        var answer = try await client.claim(epoch)
        for _ in 0..<100 where answer.isUnanswered {
            try await Task.sleep(for: .milliseconds(100))
            answer = try await client.claim(epoch)
        }
        return answer
    }

    @Test(.enabled(if: Etcd.isInstalled)) func claim_isGrantedToTheFirstOnly_untilItIsReleased() async throws {
        let etcd = Etcd()
        let (one, two) = (try await Client("sg1", Self.settings([etcd.url])), try await Client("sg2", Self.settings([etcd.url])))
        let before = NIODeadline.now()
        guard case .granted(let until) = try await Self.claimed(one, 4) else {
            Issue.record("not granted")
            return
        }
        // No more than the lease from now.
        #expect(until.nanoseconds > before.uptimeNanoseconds)
        #expect(until.nanoseconds <= (NIODeadline.now() + .seconds(2)).uptimeNanoseconds)
        #expect(try await two.claim(5) == .refused(holder: "sg1"))
        #expect(try await one.claim(4).isGranted)
        try await one.release()
        // Its order is kept: what is asked after the release comes after it.
        #expect(try await eventually { try await two.claim(5).isGranted })
        #expect(try await one.claim(6) == .refused(holder: "sg2"))
        // One who has no claim takes nobody's.
        try await one.release()
        #expect(try await one.claim(6) == .refused(holder: "sg2"))
        try await one.stop()
        try await two.stop()
    }

    @Test(.enabled(if: Etcd.isInstalled)) func claims_atTheSameTime_areGrantedOnce() async throws {
        let etcd = Etcd()
        let (one, two) = (try await Client("sg1", Self.settings([etcd.url])), try await Client("sg2", Self.settings([etcd.url])))
        _ = try await Self.claimed(one, 1)
        try await one.release()
        #expect(try await eventually { try await two.claim(1).isGranted })
        try await two.release()
        #expect(try await eventually { (try await one.counter("released")) > 0 })
        #expect(try await eventually { (try await two.counter("released")) > 0 })
        for epoch in UInt64(2)..<12 {
            async let first = one.claim(epoch)
            async let second = two.claim(epoch)
            let answers = try await [first, second]
            #expect(answers.filter(\.isGranted).count == 1, "\(answers)")
            let winner = answers[0].isGranted ? one : two
            let count = try await winner.counter("released")
            try await winner.release()
            #expect(try await eventually { try await winner.counter("released") > count })
        }
        try await one.stop()
        try await two.stop()
    }

    @Test(.enabled(if: Etcd.isInstalled)) func claimOfOneThatIsGone_endsWithItsLease_andAtOnceForItsNextLife() async throws {
        let etcd = Etcd()
        let first = try await Client("sg1", Self.settings([etcd.url]))
        #expect(try await Self.claimed(first, 4).isGranted)
        // Dead: nothing is taken back, nothing kept alive.
        try await first.stop()
        let next = try await Client("sg1", Self.settings([etcd.url]))
        #expect(try await next.claim(6).isGranted)
        try await next.stop()
        let other = try await Client("sg2", Self.settings([etcd.url]))
        #expect(try await other.claim(7) == .refused(holder: "sg1"))
        #expect(try await eventually { try await other.claim(7).isGranted })
        try await other.stop()
    }

    @Test(.enabled(if: Etcd.isInstalled)) func claimThatIsKept_outlivesItsLease() async throws {
        let etcd = Etcd()
        let (one, two) = (try await Client("sg1", Self.settings([etcd.url])), try await Client("sg2", Self.settings([etcd.url])))
        #expect(try await Self.claimed(one, 4).isGranted)
        let renewed = try await one.counter("renewed")
        // A lease and a half's worth of renewals.
        #expect(try await eventually { try await one.counter("renewed") >= renewed + 6 })
        #expect(try await two.claim(5) == .refused(holder: "sg1"))
        try await one.stop()
        try await two.stop()
    }

    @Test(.enabled(if: Etcd.isInstalled)) func etcdThatEnds_isUnanswered_andServesAgainWhenItIsBack() async throws {
        let etcd = Etcd()
        let client = try await Client("sg1", Self.settings([etcd.url], timeout: .milliseconds(500)))
        #expect(try await Self.claimed(client, 4).isGranted)
        etcd.stop()
        #expect(try await client.claim(4).isUnanswered)
        #expect(client.lines.withLock { $0.contains { $0.message == "the witness is not reached" } })
        etcd.start()
        #expect(try await Self.claimed(client, 4).isGranted)
        #expect(client.lines.withLock { $0.last?.message == "the witness answers" })
        try await client.stop()
    }

    @Test(.enabled(if: Etcd.isInstalled)) func endpointThatIsDead_isPassedOver() async throws {
        let etcd = Etcd()
        let dead = "http://127.0.0.1:\(freePort())"
        let client = try await Client("sg1", Self.settings([dead, etcd.url]))
        #expect(try await Self.claimed(client, 4).isGranted)
        try await client.stop()
    }

    /// Somebody has copied the configuration: a former life of the one is none of the other's.
    @Test(.enabled(if: Etcd.isInstalled)) func claimOfTheOtherNode_isNotTakenByOneOfTheSameName() async throws {
        let etcd = Etcd()
        let first = try await Client("sg1", id: .zero, Self.settings([etcd.url]))
        let second = try await Client("sg1", id: .one, Self.settings([etcd.url]))
        #expect(try await Self.claimed(first, 4).isGranted)
        #expect(try await second.claim(5) == .refused(holder: "sg1"))
        try await first.stop()
        try await second.stop()
    }

    /// Slower with a password than with all else, as etcd is; and its users change once.
    @Test func etcdWithUsers_isAskedForATokenAnew_andHasTimeForIt() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let tokens = Counted()
        let server = try await ServerBootstrap(group: group).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(EtcdWithUsers(tokens)) }
        }.bind(host: "127.0.0.1", port: 0).get()
        var settings = Self.settings(["http://127.0.0.1:\(server.localAddress!.port!)"], timeout: .milliseconds(500))
        (settings.username, settings.password) = ("tandem", SecretBytes(Array("secret".utf8)))
        let client = try await Client("sg1", settings, keepsAlive: false)
        #expect(try await Self.claimed(client, 4).isGranted)
        #expect(tokens.count.withLock { $0 } >= 2)
        #expect(client.lines.withLock { $0.contains { line in line.fields.contains { $0.value.contains("revision is old") } } })
        try await client.stop()
        try await server.close()
        try await group.shutdownGracefully()
    }

    /// Whatever is there, it is no grant.
    @Test func serverThatTalksNonsense_isUnanswered() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let nonsense = [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + String(repeating: " ", count: 200_000),
        ]
        for text in nonsense {
            let server = try await ServerBootstrap(group: group).childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Talker(text)) }
            }.bind(host: "127.0.0.1", port: 0).get()
            let client = try await Client(
                "sg1", Self.settings(["http://127.0.0.1:\(server.localAddress!.port!)"], timeout: .milliseconds(500)), keepsAlive: false)
            #expect(try await client.claim(1).isUnanswered, "\(text.prefix(60))")
            try await client.stop()
            try await server.close()
        }
        try await group.shutdownGracefully()
    }

    // MARK: - What is said

    @Test func base64_isThatOfTheRFC() {
        for (text, encoded) in [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ] {
            #expect(Base64.encode(Array(text.utf8)) == encoded)
            #expect(Base64.decode(encoded) == Array(text.utf8))
        }
        for wrong in ["Z", "Zg=", "Z===", "Zg==Zg==", "Zm9v=", "Zm9*"] { #expect(Base64.decode(wrong) == nil, "\(wrong)") }
    }

    @Test func endpoint_isAURLAndNothingBehindIt() {
        #expect(WitnessSettings.Endpoint("http://10.9.0.1:2379")?.description == "http://10.9.0.1:2379")
        #expect(WitnessSettings.Endpoint("https://etcd.example.net")?.description == "https://etcd.example.net:2379")
        #expect(WitnessSettings.Endpoint("https://[2001:db8::1]:23790/")?.description == "https://[2001:db8::1]:23790")
        for wrong in [
            "", "etcd", "ftp://a", "http://", "http://a:0", "http://a:99999", "http://a/b", "http://a b", "http://[::1", "http://[a]",
            "http://a@b",
        ] {
            #expect(WitnessSettings.Endpoint(wrong) == nil, "\(wrong)")
        }
    }
}

private final class Counted: Sendable { let count = Mutex(0) }

/// The first token that it gave is of no use any more.
private final class EtcdWithUsers: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let tokens: Counted
    private var request = ""
    init(_ tokens: Counted) { self.tokens = tokens }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        request += String(buffer: unwrapInboundIn(data))
        guard request.hasSuffix("}") else { return }
        defer { request = "" }
        if request.contains("/v3/auth/authenticate") {
            let number = tokens.count.withLock { count in
                count += 1
                return count
            }
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            // Longer than any other request may take.
            context.eventLoop.scheduleTask(in: .milliseconds(900)) {
                let (handler, context) = bound.value
                handler.say("200 OK", "{\"token\":\"t\(number)\"}", context)
            }
        } else if request.contains("Authorization: t1\r\n") {
            say("400 Bad Request", "{\"error\":\"etcdserver: auth store revision is old\",\"code\":3}", context)
        } else if request.contains("/v3/lease/") {
            say("200 OK", "{\"ID\":\"7\",\"TTL\":\"2\"}", context)
        } else {
            say("200 OK", "{\"header\":{\"revision\":\"3\"},\"succeeded\":true}", context)
        }
    }

    private func say(_ status: String, _ body: String, _ context: ChannelHandlerContext) {
        let text = "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    }
}

/// Says its text to whoever says something.
private final class Talker: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let text: String
    init(_ text: String) { self.text = text }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    }
}
