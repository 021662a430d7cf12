import Context
import NIOCore
import NIOSSL

/// One TCP connection to another gateway, above TLS: the preamble, then CXTP messages, whose headers say how long they are.
///
/// Lives on the node's event loop. The other gateway is known once it has shown its certificate, which is before its preamble.
final class TransferConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    static let preamble = Array("tandem-cxtp/1\n".utf8)
    /// From the TCP connection to the preamble.
    static let openingTimeout: TimeAmount = .seconds(3)
    /// Without a message in either direction: far longer than a transfer takes.
    static let idleTimeout: TimeAmount = .seconds(120)
    /// What may wait for the other gateway: eight of the largest contexts.
    static let waitingBytesMax = 8 * CXTPLimits.contextBytesMax

    private enum State {
        case awaitingPreamble
        case open
        case closed
    }

    protocol Delegate: AnyObject {
        func connectionOpened(_ connection: TransferConnection)
        func connection(_ connection: TransferConnection, received message: CXTPMessage)
        /// At most once, whether or not it was ever open.
        func connectionClosed(_ connection: TransferConnection, wasOpen: Bool, reason: Closing)
    }

    enum Closing: Hashable {
        /// Within our own decisions, or the other side went away.
        case ordinary(String)
        /// It showed no certificate that is known.
        case stranger
        /// It does not speak this protocol.
        case malformed(String)

        var text: String {
            switch self {
            case .ordinary(let text), .malformed(let text): text
            case .stranger: "its certificate is none of those that are configured"
            }
        }
    }

    /// Where it goes, for logs.
    let description: String
    /// The index of the gateway that it is with; for one that came in, once the certificate was seen.
    var gateway: Int?
    private weak var delegate: (any Delegate)?
    private var state = State.awaitingPreamble
    private var buffer: [UInt8] = []
    private var context: ChannelHandlerContext?
    private var timeout: Scheduled<Void>?
    private var bytesInFlight = 0
    private var lastUsed = NIODeadline.now()

    init(description: String, gateway: Int?, delegate: any Delegate) {
        self.description = description
        self.gateway = gateway
        self.delegate = delegate
    }

    var isOpen: Bool { if case .open = state { true } else { false } }

    // MARK: Sending

    func send(_ bytes: [UInt8]) {
        guard case .open = state, let context else { return }
        guard bytesInFlight + bytes.count <= TransferConnection.waitingBytesMax else {
            return close(.ordinary("it takes nothing: \(bytesInFlight) octets wait"))
        }
        bytesInFlight += bytes.count
        lastUsed = .now()
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.bytesInFlight -= bytes.count }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: written)
    }

    func close(_ reason: Closing) {
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
        buffer = []
        return wasOpen
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

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
        timeout = context.eventLoop.assumeIsolated().scheduleTask(in: TransferConnection.openingTimeout) {
            self.close(.ordinary("no preamble within \(TransferConnection.openingTimeout.nanoseconds / 1_000_000_000) s"))
        }
        // Waits inside the TLS handler until the handshake is over.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: TransferConnection.preamble)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        buffer += unwrapInboundIn(data).readableBytesView
        if case .awaitingPreamble = state { readPreamble() }
        readMessages()
    }

    private func readPreamble() {
        let preamble = TransferConnection.preamble
        guard buffer.starts(with: preamble.prefix(buffer.count)) else { return close(.malformed("it speaks another protocol")) }
        guard buffer.count >= preamble.count else { return }
        buffer.removeFirst(preamble.count)
        timeout?.cancel()
        state = .open
        lastUsed = .now()
        watchIdleness()
        delegate?.connectionOpened(self)
    }

    /// Hands over every whole message, unless the connection is closed in between.
    private func readMessages() {
        var start = 0
        while case .open = state {
            do throws(CXTPError) {
                guard let length = try CXTPMessage.length(of: buffer[start...].prefix(CXTPLimits.headerBytes)),
                    buffer.count - start >= length
                else { break }
                let message = try CXTPMessage(parsing: Array(buffer[start..<start + length]))
                start += length
                lastUsed = .now()
                delegate?.connection(self, received: message)
            } catch {
                return close(.malformed("a message is malformed: \(error)"))
            }
        }
        if start > 0, !buffer.isEmpty { buffer.removeFirst(start) }
    }

    private func watchIdleness() {
        guard let context else { return }
        timeout = context.eventLoop.assumeIsolated().scheduleTask(deadline: lastUsed + TransferConnection.idleTimeout) {
            guard self.isOpen else { return }
            if NIODeadline.now() >= self.lastUsed + TransferConnection.idleTimeout { return self.close(.ordinary("idle")) }
            self.watchIdleness()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let wasOpen = end() {
            delegate?.connectionClosed(self, wasOpen: wasOpen, reason: .ordinary("the other gateway closed the connection"))
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? NIOSSLError, case .uncleanShutdown = error {
            close(.ordinary("the connection ended without TLS's farewell"))
        } else if error is NIOSSLError || error is BoringSSLError {
            close(.ordinary("TLS: \(error)"))
        } else {
            close(.ordinary("\(error)"))
        }
    }
}
