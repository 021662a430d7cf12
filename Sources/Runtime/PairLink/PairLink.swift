import Cryptography
import Glibc
public import NIOCore
import NIOPosix
public import Node
public import Pair
public import Session

/// The link between the two nodes: TLS over TCP with pinned certificates, on the path of the lowest preference that works.
///
/// Node 0 listens on every path's local endpoint, node 1 dials, so there is never a question which of two connections is the
/// link; a newer connection of the peer takes the place of the older. Belongs to the node's event loop: created, called and
/// calling there.
public final class PairLink {
    public enum Event {
        /// - path: its index among those of the settings.
        /// - certificate: the digest of the one that the peer showed.
        case opened(path: Int?, description: String, certificate: [UInt8])
        case frame(PairFrame)
        case closed(reason: String)
    }

    /// Connections of strangers, or of the peer, that are still in their handshake. The peer needs one.
    private static let openingMax = 16
    private static let backoffMin: TimeAmount = .milliseconds(50)
    private static let backoffMax: TimeAmount = .seconds(1)
    private static let connectTimeout: TimeAmount = .seconds(1)
    /// How long a link has to last before its end is answered without delay.
    private static let provenAfter: TimeAmount = .seconds(5)
    /// How long the kernel repeats unacknowledged data (TCP_USER_TIMEOUT): far beyond what heartbeats need to tell a dead peer.
    private static let userTimeoutMilliseconds = 5000
    /// An end that has nothing to send asks this often whether there is still another one. After a cut one end may have given up while
    /// the other one has nothing under way by which it would notice, and would wait for ever.
    private static let keepAliveSeconds = 1

    /// How long a preferred path has to work before the link returns to it: a return costs a snapshot, and a path that comes and goes is no
    /// better than the one that stands.
    public static let returnAfter: TimeAmount = .seconds(10)
    /// How long a connection stands after a newer one has taken its place.
    private static let leavingFor: TimeAmount = .seconds(1)

    typealias PairConnection = FramedConnection<PairFraming>

    private let settings: PairLinkSettings
    private var tls: PinnedTLS
    /// The peer's certificate; while it changes it, both.
    private var pinned: [[UInt8]]
    private let node: NodeID
    private let eventLoop: any EventLoop
    private let returnAfter: TimeAmount
    private let log: (LogLine) -> Void
    private let handler: (Event) -> Void

    private var listeners: [Int: any Channel] = [:]
    private var opening: [ObjectIdentifier: PairConnection] = [:]
    private var current: PairConnection?
    private var openedAt = NIODeadline.uptimeNanoseconds(0)
    private var isDialling = false
    /// Those that carry heartbeats in both directions, as the node last said.
    private var working: [Bool] = []
    /// Waits for a path that is preferred to the link's.
    private var returning: (path: Int, at: Scheduled<Void>)?
    /// The paths in the order in which they are tried, and how far that has come.
    private var order: [Int] = []
    private var isStopped = false
    private var backoff = PairLink.backoffMin
    private var redial: Scheduled<Void>?
    private var redialAt = NIODeadline.uptimeNanoseconds(0)
    private var limiter = LogLimiter()
    /// By reason.
    private var counts: [String: UInt64] = [:]
    private var (framesSent, bytesSent): (UInt64, UInt64) = (0, 0)
    /// An acknowledgement that goes with the next flush, unless a later one takes its place.
    private var waitingAcknowledgement: UInt64?

    /// - Parameters:
    ///   - log: for what the node has no event for: refused strangers, paths that cannot be listened on.
    ///   - handler: called on the event loop, in order; it may call `send`, `flush` and `close`.
    /// - Throws: when certificate and key are of no use.
    public init(
        _ settings: PairLinkSettings, node: NodeID, eventLoop: any EventLoop, returnAfter: TimeAmount = PairLink.returnAfter,
        log: @escaping (LogLine) -> Void, handler: @escaping (Event) -> Void
    ) throws {
        eventLoop.preconditionInEventLoop()
        self.settings = settings
        tls = try PinnedTLS(certificatePEM: settings.certificatePEM, keyPEM: settings.keyPEM)
        pinned = try settings.peerCertificatePEMs.map { try certificateFingerprint(pem: $0) }
        self.node = node
        self.eventLoop = eventLoop
        self.returnAfter = returnAfter
        self.log = log
        self.handler = handler
    }

    public var isOpen: Bool { current != nil }

    /// What this node is known by from the next connection on; the one that stands stays.
    func identify(as identity: PinnedTLS) { tls = identity }

    /// Which certificates the peer may show from the next connection on.
    func pin(_ certificatePEMs: [String]) throws(CryptographyError) {
        pinned = try certificatePEMs.map { (pem) throws(CryptographyError) in try certificateFingerprint(pem: pem) }
    }

    public func start() {
        switch node {
        case .zero: for index in settings.paths.indices { listen(index) }
        case .one: dial(0)
        }
    }

    /// Puts a frame behind those that wait; without a link it goes nowhere.
    public func send(_ frame: PairFrame) {
        guard current != nil else { return }
        // It says that everything up to there is here: of several the last one is enough, and each is a record of TLS, a write, and work
        // for the peer.
        if case .acknowledge(let index) = frame { return waitingAcknowledgement = index }
        sendAcknowledgement()
        write(frame)
    }

    private func sendAcknowledgement() {
        guard let index = waitingAcknowledgement else { return }
        waitingAcknowledgement = nil
        write(.acknowledge(index: index))
    }

    private func write(_ frame: PairFrame) {
        guard let current else { return }
        do throws(PairWireError) {
            let framed = try FrameSplitter.framed(PairFrameCodec.encode(frame))
            guard current.send(framed) else { return }
            framesSent += 1
            bytesSent += UInt64(framed.count)
        } catch {
            current.close(.ordinary("cannot send: \(error.text)"))
        }
    }

    /// For metrics. Octets are those of frames, before TLS.
    public var counters: [String: UInt64] {
        counts.merging(["frames_sent": framesSent, "bytes_sent": bytesSent]) { own, _ in own }
    }

    public func flush() {
        guard let current, !current.isReading else { return }
        sendAcknowledgement()
        current.flush()
    }

    /// Ends the link; node 1 dials again.
    public func close(reason: String) { current?.close(.ordinary(reason)) }

    /// A heartbeat of the peer came: the next attempt need not wait.
    public func peerWasHeard() {
        guard node == .one, current == nil, !isDialling, !isStopped else { return }
        // Heartbeats come as fast as the shortest wait: one that is as near as that must not be put off by each of them.
        guard redialAt - .now() > PairLink.backoffMin else { return }
        backoff = PairLink.backoffMin
        dialLater()
    }

    /// TCP takes seconds to find out that its path is dead, in which nothing is replicated; heartbeats tell much sooner. Without another path
    /// that works the connection stays: what is lost may come back.
    public func pathsChanged(working: [Bool]) {
        self.working = working
        guard node == .one, let current, let path = current.index else { return }
        guard working.indices.contains(path), !working[path], working.contains(true) else { return considerReturn() }
        count("moved")
        backoff = PairLink.backoffMin
        log(LogLine(.notice, "the pair's link leaves a path on which nothing is heard", [.init("path", current.description)]))
        current.close(.ordinary("nothing is heard on its path"))
    }

    /// To a path with a lower `preference` than the link's, once it has worked for a while. The present one stands until the other is open.
    private func considerReturn() {
        let better = preferredPath()
        guard returning?.path != better else { return }
        returning?.at.cancel()
        returning = better.map { path in
            (path, eventLoop.assumeIsolated().scheduleTask(in: returnAfter) { self.returnTo(path) })
        }
    }

    private func returnTo(_ path: Int) {
        returning = nil
        guard preferredPath() == path else { return considerReturn() }
        count("returned")
        log(LogLine(.info, "the pair's link returns to a preferred path", [.init("path", "\(settings.paths[path].local)")]))
        connect(path) { self.considerReturn() }
    }

    private func preferredPath() -> Int? {
        guard let path = current?.index, !isStopped else { return nil }
        let best = orderedPaths().first { working.indices.contains($0) && working[$0] }
        return best.flatMap { settings.paths[$0].preference < settings.paths[path].preference ? $0 : nil }
    }

    /// Those that work first, then by preference, then as they were named.
    private func orderedPaths() -> [Int] {
        func rank(_ index: Int) -> (Int, Int, Int) {
            (working.indices.contains(index) && working[index] ? 0 : 1, settings.paths[index].preference, index)
        }
        return settings.paths.indices.sorted { rank($0) < rank($1) }
    }

    public func stop() {
        isStopped = true
        redial?.cancel()
        for channel in listeners.values { channel.close(promise: nil) }
        for connection in opening.values { connection.close(.ordinary("stopped")) }
        sendAcknowledgement()
        current?.flush()
        current?.close(.ordinary("stopped"))
    }

    private func count(_ name: String) { counts[name, default: 0] += 1 }

    // MARK: Node 0

    private func listen(_ index: Int) {
        guard !isStopped else { return }
        let local = settings.paths[index].local
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        ServerBootstrap(group: eventLoop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(PairLink.freebind(local.address), value: 1)
            .serverChannelOption(.backlog, value: 16)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try this.value.accept(channel, path: index) }
            }
            .bind(to: NIOCore.SocketAddress(local))
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    self.listeners[index] = channel
                    if self.isStopped { channel.close(promise: nil) }
                case .failure(let error):
                    self.count("listen_failed")
                    self.warn("cannot listen for the peer", [.init("local", "\(local)"), .init("reason", "\(error)")])
                    self.eventLoop.assumeIsolated().scheduleTask(in: PairLink.backoffMax) { self.listen(index) }
                }
            }
    }

    private func accept(_ channel: any Channel, path index: Int) throws {
        guard opening.count < PairLink.openingMax, !isStopped else {
            count("too_many_opening")
            throw ChannelError.operationUnsupported
        }
        let from = channel.remoteAddress?.description ?? "?"
        // The peer dials from its end of the path. Nobody else may take a place among those that are opening.
        let address = channel.remoteAddress?.withSockAddr { SocketAddress.read($0, length: socklen_t($1))?.address }
        guard address == settings.paths[index].remote.address else {
            count("stranger")
            warn("refused a connection that is not from the peer's address", [.init("from", from)])
            throw ChannelError.operationUnsupported
        }
        let connection = PairConnection(
            description: "\(settings.paths[index].local) from \(from)", isDialled: false, index: index, delegate: self)
        try add(channel, tls.serverHandler(pinned: pinned, shown: shown(connection, from)), connection)
        try channel.syncOptions?.setOption(.tcpOption(.tcp_nodelay), value: 1)
        try channel.syncOptions?.setOption(PairLink.userTimeout, value: PairLink.userTimeoutMilliseconds)
        try channel.syncOptions?.setOption(.socketOption(.so_keepalive), value: 1)
        try channel.syncOptions?.setOption(PairLink.keepAliveIdle, value: PairLink.keepAliveSeconds)
        try channel.syncOptions?.setOption(PairLink.keepAliveInterval, value: PairLink.keepAliveSeconds)
    }

    // MARK: Node 1

    /// Tries the paths from the `turn`-th on, in their order.
    private func dial(_ turn: Int) {
        guard node == .one, !isStopped, current == nil else { return }
        if turn == 0 { order = orderedPaths() }
        guard turn < order.count else {
            isDialling = false
            return dialLater()
        }
        isDialling = true
        connect(order[turn]) {
            // Unless there is a connection already, which will tell of its end.
            if self.isDialling, self.opening.isEmpty { self.dial(turn + 1) }
        }
    }

    /// - failed: nobody listens there.
    private func connect(_ index: Int, failed: @escaping () -> Void) {
        let path = settings.paths[index]
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        ClientBootstrap(group: eventLoop)
            .connectTimeout(PairLink.connectTimeout)
            .channelOption(.socketOption(.so_reuseaddr), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(PairLink.userTimeout, value: PairLink.userTimeoutMilliseconds)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(PairLink.keepAliveIdle, value: PairLink.keepAliveSeconds)
            .channelOption(PairLink.keepAliveInterval, value: PairLink.keepAliveSeconds)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let this = this.value
                    let connection = PairConnection(
                        description: "\(path.local) to \(path.remote)", isDialled: true, index: index, delegate: this)
                    let handler = try this.tls.clientHandler(pinned: this.pinned, shown: this.shown(connection, "\(path.remote)"))
                    try this.add(channel, handler, connection)
                }
            }
            .bind(to: NIOCore.SocketAddress(Endpoint(path.local.address, 0)))
            .connect(to: NIOCore.SocketAddress(path.remote))
            .assumeIsolated()
            .whenFailure { _ in
                self.count("connect_failed")
                failed()
            }
    }

    private func dialLater() {
        guard node == .one, !isStopped, current == nil else { return }
        redial?.cancel()
        redialAt = .now() + backoff
        redial = eventLoop.assumeIsolated().scheduleTask(deadline: redialAt) { self.dial(0) }
        backoff = min(backoff * 2, PairLink.backoffMax)
    }

    // MARK: Both

    private func add(_ channel: any Channel, _ handler: some ChannelHandler, _ connection: PairConnection) throws {
        try channel.syncOptions?.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: PairLink.readMax))
        try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(handler)
        try pipeline.addHandler(connection)
        opening[ObjectIdentifier(connection)] = connection
    }

    /// Remembers which certificate was shown, or says that it was none of the peer's.
    private func shown(_ connection: PairConnection, _ from: String) -> @Sendable (Int?) -> Void {
        let bound = NIOLoopBound((this: self, connection: connection, pinned: pinned), eventLoop: eventLoop)
        return { index in
            let (this, connection, pinned) = bound.value
            if let index { return connection.certificate = pinned[index] }
            this.count("wrong_certificate")
            this.warn("refused a certificate that is not the peer's", [.init("from", from)])
        }
    }

    /// At most one line a second, whoever knocks.
    private func warn(_ message: String, _ fields: [LogLine.Field]) {
        if let line = limiter.pass(LogLine(.warning, message, fields), wallMilliseconds: wallMilliseconds()) { log(line) }
    }

    /// Octets that are read before the loop looks at everything else, heartbeats above all: a few hundred entries, which are some
    /// milliseconds of work. The peer sends many thousands at once, after a takeover or while it fills a standby.
    static let readMax = 16_384

    static func freebind(_ address: IPAddress) -> ChannelOptions.Types.SocketOption {
        address.isIPv4
            ? ChannelOptions.Types.SocketOption(level: .ip, name: .init(rawValue: IP_FREEBIND))
            : ChannelOptions.Types.SocketOption(level: .ipv6, name: .init(rawValue: 78))  // IPV6_FREEBIND
    }

    static let keepAliveIdle = ChannelOptions.Types.SocketOption(level: .tcp, name: .init(rawValue: TCP_KEEPIDLE))
    static let keepAliveInterval = ChannelOptions.Types.SocketOption(level: .tcp, name: .init(rawValue: TCP_KEEPINTVL))
    static let userTimeout = ChannelOptions.Types.SocketOption(level: .tcp, name: .init(rawValue: TCP_USER_TIMEOUT))
}

extension PairLink: FramedConnectionDelegate {
    typealias Framing = PairFraming

    func connectionOpened(_ connection: PairConnection) {
        opening[ObjectIdentifier(connection)] = nil
        isDialling = false
        redial?.cancel()
        let former = current
        waitingAcknowledgement = nil
        current = connection
        leave(former)
        openedAt = .now()
        count("opened")
        handler(.opened(path: connection.index, description: connection.description, certificate: connection.certificate ?? []))
        if node == .one { considerReturn() }
    }

    /// Another connection has taken its place. The peer may still have to open that one: to it the former one must not end before.
    private func leave(_ former: PairConnection?) {
        guard let former else { return }
        eventLoop.assumeIsolated().scheduleTask(in: PairLink.leavingFor) { former.close(.ordinary("there is a newer connection")) }
    }

    func connection(_ connection: PairConnection, received frame: PairFrame) {
        if connection === current { handler(.frame(frame)) }
    }

    func connectionHasRead(_ connection: PairConnection) {
        if connection === current { flush() }
    }

    func connectionClosed(_ connection: PairConnection, wasOpen: Bool, reason: ConnectionClosing) {
        opening[ObjectIdentifier(connection)] = nil
        switch reason {
        case .ordinary: break
        case .notOpened(let text), .malformed(let text):
            count(wasOpen ? "malformed" : "handshake_failed")
            warn("a connection of the pair's link was refused", [.init("connection", connection.description), .init("reason", text)])
        }
        guard wasOpen else {
            if let path = connection.index, isDialling { dial((order.firstIndex(of: path) ?? order.count) + 1) }
            if node == .one { considerReturn() }
            return
        }
        guard connection === current else { return }
        current = nil
        waitingAcknowledgement = nil
        count("closed")
        if NIODeadline.now() - openedAt >= PairLink.provenAfter { backoff = PairLink.backoffMin }
        handler(.closed(reason: reason.text))
        dialLater()
    }
}

extension NIOCore.SocketAddress {
    /// Addresses of ours are four or sixteen octets, which NIO takes.
    init(_ endpoint: Endpoint) {
        self = try! NIOCore.SocketAddress(packedIPAddress: ByteBuffer(bytes: endpoint.address.bytes), port: Int(endpoint.port))
    }
}
