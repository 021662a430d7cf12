import NIOCore
import NIOSSL

/// One TCP connection between gateways, above TLS: the preamble, then messages.
///
/// A node opens with the preamble, which is also how it learns that the other side has accepted its certificate: with TLS 1.3
/// a client may write before the server has looked at it. Lives on the node's event loop.
final class FramedConnection<Framing: ConnectionFraming>: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Where it goes, for logs.
    let description: String
    let isDialled: Bool
    /// What its owner knows it by: the path that was dialled, or the gateway that it is with.
    var index: Int?
    /// The digest of the certificate that the other side showed.
    var certificate: [UInt8]?
    private weak var delegate: (any FramedConnectionDelegate<Framing>)?
    private var state = ConnectionState.awaitingPreamble([])
    private var framing = Framing()
    private var context: ChannelHandlerContext?
    /// Of the preamble, then of idleness.
    private var timeout: Scheduled<Void>?
    private var outgoing = ByteBuffer()
    private var bytesInFlight = 0
    private var lastUsed = NIODeadline.now()
    /// Messages of one read are being handed over: what is said to them can go together, when they are through.
    private(set) var isReading = false

    /// Messages that are handed over before what was said to them goes, at most: a few milliseconds of work, and so much is the other side
    /// kept waiting.
    private static var messagesPerTurn: Int { 32 }

    init(description: String, isDialled: Bool, index: Int?, delegate: any FramedConnectionDelegate<Framing>) {
        self.description = description
        self.isDialled = isDialled
        self.index = index
        self.delegate = delegate
    }

    var isOpen: Bool { if case .open = state { true } else { false } }

    // MARK: Sending

    /// Puts a message's octets behind those that wait; `flush` sends them.
    ///
    /// - Returns: whether they can go.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        guard isOpen else { return false }
        outgoing.writeBytes(bytes)
        lastUsed = .now()
        guard outgoing.readableBytes + bytesInFlight <= Framing.waitingBytesMax else {
            close(.ordinary("the peer takes nothing: \(Framing.waitingBytesMax >> 20) MiB wait for it"))
            return false
        }
        return true
    }

    func flush() {
        guard isOpen, outgoing.readableBytes > 0, let context else { return }
        let count = outgoing.readableBytes
        bytesInFlight += count
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.bytesInFlight -= count }
        context.writeAndFlush(wrapOutboundOut(outgoing), promise: written)
        outgoing = ByteBuffer()
    }

    func close(_ reason: ConnectionClosing) {
        guard let wasOpen = end() else { return }
        context?.close(promise: nil)
        delegate?.connectionClosed(self, wasOpen: wasOpen, reason: reason)
    }

    /// Whether it was open; `nil` when it was over already.
    private func end() -> Bool? {
        let wasOpen: Bool
        switch state {
        case .awaitingPreamble: wasOpen = false
        case .open: wasOpen = true
        case .closed: return nil
        }
        state = .closed
        timeout?.cancel()
        outgoing = ByteBuffer()
        return wasOpen
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    /// Comes without `channelInactive` when there was never a TCP connection.
    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        close(.ordinary("cannot connect"))
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard timeout == nil else { return }
        timeout = context.eventLoop.assumeIsolated().scheduleTask(in: ConnectionState.openingTimeout) {
            self.close(.notOpened("no preamble within \(ConnectionState.openingTimeout.nanoseconds / 1_000_000_000) s"))
        }
        // Waits inside the TLS handler until the handshake is over.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: Framing.preamble)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data).readableBytesView
        switch state {
        case .awaitingPreamble(let start): readPreamble(start, bytes)
        case .open:
            framing.append(bytes)
            readMessages()
        case .closed: break
        }
    }

    private func readPreamble(_ start: [UInt8], _ bytes: ByteBufferView) {
        let missing = Framing.preamble.count - start.count
        let preamble = start + bytes.prefix(missing)
        guard Framing.preamble.starts(with: preamble) else { return close(.malformed("it speaks another protocol")) }
        guard preamble.count == Framing.preamble.count else {
            state = .awaitingPreamble(preamble)
            return
        }
        timeout?.cancel()
        framing.append(bytes.dropFirst(missing))
        state = .open
        lastUsed = .now()
        watchIdleness()
        delegate?.connectionOpened(self)
        readMessages()
    }

    /// Hands over every whole message, unless the connection is closed in between.
    private func readMessages() {
        while isOpen, readTurn() {}
    }

    /// - Returns: whether there may be more.
    private func readTurn() -> Bool {
        isReading = true
        defer {
            isReading = false
            delegate?.connectionHasRead(self)
        }
        for _ in 0..<Self.messagesPerTurn where isOpen {
            do throws(FramingError) {
                guard let message = try framing.next() else { return false }
                lastUsed = .now()
                delegate?.connection(self, received: message)
            } catch {
                close(.malformed(error.text))
                return false
            }
        }
        return true
    }

    private func watchIdleness() {
        guard let limit = Framing.idleTimeout, let context else { return }
        timeout = context.eventLoop.assumeIsolated().scheduleTask(deadline: lastUsed + limit) {
            guard self.isOpen else { return }
            if NIODeadline.now() >= self.lastUsed + limit { return self.close(.ordinary("idle")) }
            self.watchIdleness()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        close(.ordinary("the peer closed the connection"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? NIOSSLError, case .uncleanShutdown = error {
            close(.ordinary("the connection ended without TLS's farewell"))
        } else if error is NIOSSLError || error is BoringSSLError {
            close(.notOpened("TLS: \(error)"))
        } else {
            close(.ordinary("\(error)"))
        }
    }
}

/// What a connection tells its owner.
protocol FramedConnectionDelegate<Framing>: AnyObject {
    associatedtype Framing: ConnectionFraming

    func connectionOpened(_ connection: FramedConnection<Framing>)
    func connection(_ connection: FramedConnection<Framing>, received message: Framing.Message)
    /// Some messages were handed over, and `isReading` is over: what was said to them can go.
    func connectionHasRead(_ connection: FramedConnection<Framing>)
    /// At most once, whether or not it was ever open.
    func connectionClosed(_ connection: FramedConnection<Framing>, wasOpen: Bool, reason: ConnectionClosing)
}

extension FramedConnectionDelegate {
    func connectionHasRead(_ connection: FramedConnection<Framing>) {}
}

private enum ConnectionState {
    case awaitingPreamble([UInt8])
    case open
    case closed

    /// From the TCP connection to the preamble: a few round trips, and the other side's patience with a busy host.
    static let openingTimeout: TimeAmount = .seconds(3)
}

/// Why a connection is over.
enum ConnectionClosing: Hashable {
    /// Within our own decisions, or the other side went away.
    case ordinary(String)
    /// TLS failed, or nothing was said above it: whoever is there is not who was expected, or not well.
    case notOpened(String)
    /// It does not speak this protocol.
    case malformed(String)

    var text: String {
        switch self {
        case .ordinary(let text), .notOpened(let text), .malformed(let text): text
        }
    }
}
