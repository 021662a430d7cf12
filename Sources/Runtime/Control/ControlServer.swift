public import Control
import Glibc
public import Logging
public import NIOCore
import NIOPosix

/// The control socket: VICI for strongSwan's clients and for `tandem`.
///
/// Everything runs on one event loop, which may be the node's.
public final class ControlServer: Sendable {
    /// Hands a request to the node. `respond` may be called from any thread, at once or later: with any number of answers that
    /// are not final, then with one that is. Calls after that do nothing.
    public typealias Requests =
        @Sendable (_ request: ControlRequest, _ respond: @escaping @Sendable (ControlResponse) -> Void) -> Void

    /// Clients at once. Operators and monitoring need a few; more is a script that does not close.
    public static let connectionsMax = 64

    /// Where the socket stands.
    public let path: String
    private let channel: any Channel
    private let inode: UInt64?
    private let connections: NIOLoopBound<ControlConnections>

    private init(path: String, channel: any Channel, inode: UInt64?, connections: NIOLoopBound<ControlConnections>) {
        self.path = path
        self.channel = channel
        self.inode = inode
        self.connections = connections
    }

    /// Listens at `path`.
    ///
    /// - Parameter group: its members may look, and nothing else; without it nobody but the daemon's own user may connect.
    /// - Throws: `ControlSocketError`, or what NIO makes of the socket.
    public static func start(
        path: String, group: UInt32? = nil, on eventLoop: any EventLoop, logger: Logger, requests: @escaping Requests
    ) -> EventLoopFuture<ControlServer> {
        eventLoop.submit { NIOLoopBound(ControlConnections(), eventLoop: eventLoop) }.flatMap { connections in
            let descriptor: Int32
            do {
                descriptor = try ControlSocket.bind(path: path, group: group)
            } catch {
                return eventLoop.makeFailedFuture(error)
            }
            let inode = ControlSocket.inode(of: path)
            return ServerBootstrap(group: eventLoop)
                .serverChannelOption(.backlog, value: 16)
                .childChannelOption(.writeBufferWaterMark, value: .init(low: 64 * 1024, high: 256 * 1024))
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        guard connections.value.count < connectionsMax else { throw ChannelError.operationUnsupported }
                        let connection = ControlConnection(connections: connections.value, logger: logger, requests: requests)
                        try channel.pipeline.syncOperations.addHandlers(
                            ByteToMessageHandler(VICIFrameDecoder(), maximumBufferSize: VICILimits.packetBytesMax * 2), connection)
                    }
                }
                .withBoundSocket(descriptor)
                .map { ControlServer(path: path, channel: $0, inode: inode, connections: connections) }
        }
    }

    /// Sends an event to every client that registered for it. From any thread.
    public func broadcast(_ event: ControlEvent) {
        let connections = connections
        if channel.eventLoop.inEventLoop {
            connections.value.broadcast(event)
        } else {
            channel.eventLoop.execute { connections.value.broadcast(event) }
        }
    }

    /// By name, for `tandem status`. On the event loop only.
    public var counters: [String: UInt64] { ["clients_rejected": connections.value.rejected] }

    /// Closes the socket and every connection, and removes the socket's file if it is still this server's.
    public func stop() -> EventLoopFuture<Void> {
        let (path, inode, connections) = (path, inode, connections)
        if let inode, ControlSocket.inode(of: path) == inode { unlink(path) }
        return channel.eventLoop.submit { connections.value.closeAll() }.flatMap { self.channel.close() }
    }
}

/// The clients that are connected. Lives on the server's event loop.
final class ControlConnections {
    private var byIdentifier: [ObjectIdentifier: ControlConnection] = [:]
    /// Clients that were let go: they sent what is no packet, or did not read.
    var rejected: UInt64 = 0

    var count: Int { byIdentifier.count }

    func insert(_ connection: ControlConnection) { byIdentifier[ObjectIdentifier(connection)] = connection }
    func remove(_ connection: ControlConnection) { byIdentifier[ObjectIdentifier(connection)] = nil }

    /// Encoded only if anybody listens, and once.
    func broadcast(_ event: ControlEvent) {
        let listeners = byIdentifier.values.filter { $0.isRegistered(for: event.name) }
        guard !listeners.isEmpty, let bytes = try? VICIPacket.event(name: event.name, event.vici()).encode() else { return }
        for listener in listeners { listener.send(bytes) }
    }

    func closeAll() {
        for connection in byIdentifier.values { connection.close() }
    }
}
