public import Context
import Cryptography
public import NIOCore
import NIOPosix
public import Node
import Session

/// The links to other gateways: TLS over TCP with pinned certificates, where RFC 4067 §3.1 has SCTP. A link is made when a message wants
/// to go, by whoever has one, and ends when it is idle. Belongs to the node's event loop.
public final class TransferLinks {
    public enum Event {
        case message(from: String, CXTPMessage)
        /// A link ended, or could not be made: what waited for it is gone.
        case closed(gateway: String, reason: String)
    }

    /// Connections in their handshake, of anybody who knocks.
    private static let openingMax = 16
    /// With one gateway at a time: each may have called the other.
    private static let openPerGatewayMax = 2
    private static let connectTimeout: TimeAmount = .seconds(2)
    /// How long the kernel repeats unacknowledged data (TCP_USER_TIMEOUT).
    private static let userTimeoutMilliseconds = 5000
    private static let listenAgainAfter: TimeAmount = .seconds(1)
    private static let unknownCertificate = "its certificate is none of those that are configured"

    typealias TransferConnection = FramedConnection<TransferFraming>

    private let settings: TransferLinkSettings
    private let tls: PinnedTLS
    /// Every certificate that may be shown, and whose it is.
    private let pinned: [(digest: [UInt8], gateway: Int)]
    private let eventLoop: any EventLoop
    private let log: (LogLine) -> Void
    private let handler: (Event) -> Void

    private var listener: (any Channel)?
    private var opening: [ObjectIdentifier: TransferConnection] = [:]
    /// By gateway, the newest last.
    private var open: [Int: [TransferConnection]] = [:]
    /// What waits for a link that is being made.
    private var waiting: [Int: [[UInt8]]] = [:]
    private var dialling: Set<Int> = []
    private var isStopped = false
    private var limiter = LogLimiter()
    /// By reason, for metrics.
    public private(set) var counters: [String: UInt64] = [:]

    /// - Throws: when certificates and key are of no use.
    public init(
        _ settings: TransferLinkSettings, eventLoop: any EventLoop, log: @escaping (LogLine) -> Void, handler: @escaping (Event) -> Void
    ) throws {
        eventLoop.preconditionInEventLoop()
        self.settings = settings
        tls = try PinnedTLS(certificatePEM: settings.certificatePEM, keyPEM: settings.keyPEM)
        pinned = try settings.gateways.enumerated().flatMap { index, gateway in
            try gateway.certificatePEMs.map { (try certificateFingerprint(pem: $0), index) }
        }
        self.eventLoop = eventLoop
        self.log = log
        self.handler = handler
    }

    public func start() { listen() }

    public func stop() {
        isStopped = true
        listener?.close(promise: nil)
        for connection in Array(opening.values) + open.values.flatMap({ $0 }) { connection.close(.ordinary("stopped")) }
    }

    /// Sends a message, on the link that is there or on one that is made for it.
    public func send(_ message: CXTPMessage, to name: String) {
        guard let gateway = settings.gateways.firstIndex(where: { $0.name == name }) else { return count("unknown_gateway") }
        let bytes: [UInt8]
        do throws(CXTPError) {
            bytes = try message.encode()
        } catch {
            count("unsendable")
            return warn("a message cannot be said", [.init("gateway", name), .init("error", "\(error)")])
        }
        count("sent")
        if let connection = open[gateway]?.last(where: \.isOpen) { return send(bytes, on: connection) }
        let queued = waiting[gateway, default: []].reduce(0) { $0 + $1.count }
        guard queued + bytes.count <= TransferFraming.waitingBytesMax else { return count("dropped") }
        waiting[gateway, default: []].append(bytes)
        dial(gateway)
    }

    private func send(_ bytes: [UInt8], on connection: TransferConnection) {
        connection.send(bytes)
        connection.flush()
    }

    private func count(_ name: String) { counters[name, default: 0] += 1 }

    /// At most one line a second, whoever knocks.
    private func warn(_ message: String, _ fields: [LogLine.Field]) {
        if let line = limiter.pass(LogLine(.warning, message, fields), wallMilliseconds: wallMilliseconds()) { log(line) }
    }

    // MARK: Who calls

    private func dial(_ gateway: Int) {
        guard !isStopped, dialling.insert(gateway).inserted else { return }
        let remote = settings.gateways[gateway].link
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        ClientBootstrap(group: eventLoop)
            .connectTimeout(TransferLinks.connectTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(PairLink.userTimeout, value: TransferLinks.userTimeoutMilliseconds)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try this.value.addDialled(channel, gateway) }
            }
            .connect(to: NIOCore.SocketAddress(remote))
            .assumeIsolated()
            .whenFailure { error in
                // One whose channel was made tells of its end itself.
                guard self.dialling.contains(gateway), !self.opening.values.contains(where: { $0.index == gateway }) else { return }
                self.dialFailed(gateway, "cannot connect: \(error)")
            }
    }

    private func addDialled(_ channel: any Channel, _ gateway: Int) throws {
        let own = pinned.filter { $0.gateway == gateway }.map(\.digest)
        let remote = settings.gateways[gateway].link
        let connection = TransferConnection(description: "to \(remote)", isDialled: true, index: gateway, delegate: self)
        let bound = NIOLoopBound((self, connection), eventLoop: eventLoop)
        let handler = try tls.clientHandler(pinned: own) { shown in
            if shown == nil { bound.value.0.refuse(bound.value.1) }
        }
        try add(channel, handler, connection)
    }

    private func dialFailed(_ gateway: Int, _ reason: String) {
        dialling.remove(gateway)
        count("connect_failed")
        waiting[gateway] = nil
        handler(.closed(gateway: settings.gateways[gateway].name, reason: reason))
    }

    // MARK: Who is called

    private func listen() {
        guard !isStopped, let local = settings.listen else { return }
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        ServerBootstrap(group: eventLoop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(PairLink.freebind(local.address), value: 1)
            .serverChannelOption(.backlog, value: 16)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try this.value.accept(channel) }
            }
            .bind(to: NIOCore.SocketAddress(local))
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    self.listener = channel
                    if self.isStopped { channel.close(promise: nil) }
                case .failure(let error):
                    self.count("listen_failed")
                    self.warn("cannot listen for other gateways", [.init("local", "\(local)"), .init("reason", "\(error)")])
                    self.eventLoop.assumeIsolated().scheduleTask(in: TransferLinks.listenAgainAfter) { self.listen() }
                }
            }
    }

    /// Where it listens, when it does: for whoever let the system choose the port.
    public var localPort: Int? { listener?.localAddress?.port }

    private func accept(_ channel: any Channel) throws {
        guard opening.count < TransferLinks.openingMax, !isStopped else {
            count("too_many_opening")
            throw ChannelError.operationUnsupported
        }
        let from = channel.remoteAddress?.description ?? "?"
        let connection = TransferConnection(description: "from \(from)", isDialled: false, index: nil, delegate: self)
        let bound = NIOLoopBound((self, connection), eventLoop: eventLoop)
        let handler = tls.serverHandler(pinned: pinned.map(\.digest)) { shown in
            let (this, connection) = bound.value
            guard let shown else { return this.refuse(connection) }
            connection.index = this.pinned[shown].gateway
        }
        try add(channel, handler, connection)
        try channel.syncOptions?.setOption(.tcpOption(.tcp_nodelay), value: 1)
        try channel.syncOptions?.setOption(PairLink.userTimeout, value: TransferLinks.userTimeoutMilliseconds)
    }

    // MARK: Both

    private func add(_ channel: any Channel, _ tls: some ChannelHandler, _ connection: TransferConnection) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(tls)
        try pipeline.addHandler(connection)
        opening[ObjectIdentifier(connection)] = connection
    }

    private func refuse(_ connection: TransferConnection) {
        count("wrong_certificate")
        warn("refused a certificate that is no configured gateway's", [.init("connection", connection.description)])
        connection.close(.notOpened(TransferLinks.unknownCertificate))
    }
}

extension TransferLinks: FramedConnectionDelegate {
    typealias Framing = TransferFraming

    func connectionOpened(_ connection: TransferConnection) {
        opening[ObjectIdentifier(connection)] = nil
        guard let gateway = connection.index else { return connection.close(.notOpened(TransferLinks.unknownCertificate)) }
        count("opened")
        dialling.remove(gateway)
        var connections = open[gateway] ?? []
        connections.append(connection)
        open[gateway] = connections
        if connections.count > TransferLinks.openPerGatewayMax { connections[0].close(.ordinary("there are newer connections")) }
        let messages = waiting.removeValue(forKey: gateway) ?? []
        for message in messages { send(message, on: connection) }
    }

    func connection(_ connection: TransferConnection, received message: CXTPMessage) {
        guard let gateway = connection.index else { return }
        count("received")
        handler(.message(from: settings.gateways[gateway].name, message))
    }

    func connectionClosed(_ connection: TransferConnection, wasOpen: Bool, reason: ConnectionClosing) {
        opening[ObjectIdentifier(connection)] = nil
        if case .malformed(let text) = reason {
            count("malformed")
            warn("a link of another gateway was closed", [.init("connection", connection.description), .init("reason", text)])
        }
        guard let gateway = connection.index else { return }
        guard wasOpen else {
            if dialling.contains(gateway), connection.isDialled { dialFailed(gateway, reason.text) }
            return
        }
        count("closed")
        open[gateway]?.removeAll { $0 === connection }
        // What the other of two connections carries goes on.
        guard open[gateway]?.isEmpty != false else { return }
        open[gateway] = nil
        handler(.closed(gateway: settings.gateways[gateway].name, reason: reason.text))
    }
}
