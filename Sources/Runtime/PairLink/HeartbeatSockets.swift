import Glibc
public import NIOCore
import NIOPosix
public import Node
import Session

/// One UDP socket for each path. Loss and errors are what heartbeats are for: they are counted and nothing else.
///
/// Sends with `sendto` on the descriptor itself, because a channel closes on an error such as ENETUNREACH, and because a
/// heartbeat should not wait in a queue. Belongs to the node's event loop.
public final class HeartbeatSockets {
    /// Heartbeats are some 60 octets; longer ones are not ours.
    public static let bytesMax = 256
    private static let reopenDelay: TimeAmount = .milliseconds(100)

    private final class Socket {
        let path: HeartbeatPath
        var descriptor: Int32 = -1
        var channel: (any Channel)?
        init(_ path: HeartbeatPath) { self.path = path }
    }

    private let sockets: [Socket]
    private let eventLoop: any EventLoop
    private let log: (LogLine) -> Void
    private let handler: (_ path: Int, _ bytes: [UInt8]) -> Void
    private var isStopped = false
    private var limiter = LogLimiter()
    public private(set) var counters: [String: UInt64] = [:]

    public init(
        _ paths: [HeartbeatPath], eventLoop: any EventLoop, log: @escaping (LogLine) -> Void,
        handler: @escaping (_ path: Int, _ bytes: [UInt8]) -> Void
    ) {
        eventLoop.preconditionInEventLoop()
        sockets = paths.map(Socket.init)
        self.eventLoop = eventLoop
        self.log = log
        self.handler = handler
    }

    public func start() { for index in sockets.indices { open(index) } }

    public func stop() {
        isStopped = true
        for socket in sockets { close(socket) }
    }

    public func send(path index: Int, _ bytes: [UInt8]) {
        guard sockets.indices.contains(index), sockets[index].descriptor >= 0 else { return count("no_socket") }
        let socket = sockets[index]
        let sent = withUnsafeTemporaryAllocation(byteCount: SocketAddress.capacity, alignment: 8) { address in
            let length = SocketAddress.write(socket.path.remote.address, port: socket.path.remote.port, to: address.baseAddress!)
            let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
            return sendto(
                socket.descriptor, bytes, bytes.count, flags, address.baseAddress!.assumingMemoryBound(to: sockaddr.self), length)
        }
        count(sent == bytes.count ? "sent" : "send_failed")
    }

    private func count(_ name: String) { counters[name, default: 0] += 1 }

    private func open(_ index: Int) {
        guard !isStopped else { return }
        let socket = sockets[index]
        guard let descriptor = HeartbeatSockets.bind(socket.path) else { return failed(index, errorText()) }
        // The channel owns one descriptor of the socket and reads, the other is for sending.
        let sending = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        DatagramBootstrap(group: eventLoop)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 512))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(HeartbeatReader(path: index, sockets: this.value))
                }
            }
            .withBoundSocket(descriptor)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    socket.channel = channel
                    socket.descriptor = sending
                    channel.closeFuture.assumeIsolated().whenComplete { _ in self.reopen(index, "the socket was closed") }
                    if self.isStopped { self.close(socket) }
                case .failure(let error):
                    Glibc.close(sending)
                    self.failed(index, "\(error)")
                }
            }
    }

    private func failed(_ index: Int, _ reason: String) {
        count("open_failed")
        let fields = [LogLine.Field("local", "\(sockets[index].path.local)"), .init("reason", reason)]
        let line = LogLine(.error, "cannot open a heartbeat path", fields)
        if let line = limiter.pass(line, wallMilliseconds: wallMilliseconds()) { log(line) }
        reopen(index, reason)
    }

    private func reopen(_ index: Int, _ reason: String) {
        close(sockets[index])
        guard !isStopped else { return }
        count("reopened")
        eventLoop.assumeIsolated().scheduleTask(in: HeartbeatSockets.reopenDelay) { self.open(index) }
    }

    private func close(_ socket: Socket) {
        if socket.descriptor >= 0 { Glibc.close(socket.descriptor) }
        socket.descriptor = -1
        socket.channel?.close(promise: nil)
        socket.channel = nil
    }

    /// Bound to the path's local endpoint, whether or not the address is there yet.
    private static func bind(_ path: HeartbeatPath) -> Int32? {
        let address = path.local.address
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(address.isIPv4 ? AF_INET : AF_INET6, type, 0)
        guard descriptor >= 0 else { return nil }
        var one: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        // IPV6_FREEBIND is 78.
        let level = Int32(address.isIPv4 ? IPPROTO_IP : IPPROTO_IPV6)
        setsockopt(descriptor, level, address.isIPv4 ? IP_FREEBIND : 78, &one, size)
        if !address.isIPv4 { setsockopt(descriptor, level, IPV6_V6ONLY, &one, size) }
        // Before bulk traffic in every queue that looks at it (CS6, network control).
        var trafficClass: Int32 = 0xC0
        setsockopt(descriptor, level, address.isIPv4 ? IP_TOS : IPV6_TCLASS, &trafficClass, size)
        let bound = withUnsafeTemporaryAllocation(byteCount: SocketAddress.capacity, alignment: 8) { storage in
            let length = SocketAddress.write(address, port: path.local.port, to: storage.baseAddress!)
            return Glibc.bind(descriptor, storage.baseAddress!.assumingMemoryBound(to: sockaddr.self), length) == 0
        }
        guard bound else {
            let reason = errno
            Glibc.close(descriptor)
            errno = reason
            return nil
        }
        return descriptor
    }

    fileprivate func received(_ envelope: AddressedEnvelope<ByteBuffer>, path index: Int) {
        guard envelope.data.readableBytes <= HeartbeatSockets.bytesMax else { return count("too_long") }
        let from = envelope.remoteAddress.withSockAddr { SocketAddress.read($0, length: socklen_t($1)) }
        guard from?.address == sockets[index].path.remote.address else { return count("stranger") }
        count("received")
        handler(index, Array(envelope.data.readableBytesView))
    }

    fileprivate func readFailed() { count("read_failed") }
}

private final class HeartbeatReader: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let path: Int
    private weak var sockets: HeartbeatSockets?

    init(path: Int, sockets: HeartbeatSockets) {
        self.path = path
        self.sockets = sockets
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { sockets?.received(unwrapInboundIn(data), path: path) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { sockets?.readFailed() }
}
