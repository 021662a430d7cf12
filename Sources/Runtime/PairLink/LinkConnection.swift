import NIOCore
import NIOSSL
import Pair

/// One TCP connection of the link, above TLS: the preamble, then frames.
///
/// A node opens with the preamble, which is also how it learns that the other side has accepted its certificate: with TLS 1.3
/// a client may write before the server has looked at it. Lives on the node's event loop.
final class LinkConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What comes first in both directions. Another protocol, or another future of this one, says something else.
    static let preamble = Array("tandem-pair/1\n".utf8)
    /// From the TCP connection to the preamble: a few round trips, and the peer's patience with a busy host.
    static let openingTimeout: TimeAmount = .seconds(3)
    /// What may wait for the peer: eight of the largest frames. A peer that is further behind is not a standby.
    static let waitingBytesMax = 64 << 20

    private enum State {
        case awaitingPreamble([UInt8])
        case open(FrameSplitter)
        case closed
    }

    /// What a connection tells its link.
    protocol Delegate: AnyObject {
        func connectionOpened(_ connection: LinkConnection)
        func connection(_ connection: LinkConnection, received frame: PairFrame)
        /// At most once, whether or not it was ever open.
        func connectionClosed(_ connection: LinkConnection, wasOpen: Bool, reason: Closing)
    }

    /// Why a connection is over.
    enum Closing: Equatable {
        /// Within our own decisions, or the peer went away.
        case ordinary(String)
        /// Whoever is there does not speak this protocol or is not the peer.
        case refused(String)

        var text: String {
            switch self {
            case .ordinary(let text), .refused(let text): text
            }
        }
    }

    let description: String
    /// The index of the path that was dialled; `nil` for a connection that came in.
    var path: Int?
    private weak var delegate: (any Delegate)?
    private var state = State.awaitingPreamble([])
    private var context: ChannelHandlerContext?
    private var timeout: Scheduled<Void>?
    private var outgoing = ByteBuffer()
    private var bytesInFlight = 0

    /// - Parameter description: where it goes, for logs.
    init(description: String, delegate: any Delegate) {
        self.description = description
        self.delegate = delegate
    }

    // MARK: Sending

    /// Puts a frame behind those that wait; `flush` sends them.
    ///
    /// - Returns: its octets; `nil` if it cannot go.
    func send(_ frame: PairFrame) -> Int? {
        guard case .open = state else { return nil }
        let framed: [UInt8]
        do throws(PairWireError) {
            framed = try FrameSplitter.framed(PairFrameCodec.encode(frame))
        } catch {
            close(.ordinary("cannot send: \(error.text)"))
            return nil
        }
        outgoing.writeBytes(framed)
        if outgoing.readableBytes + bytesInFlight > LinkConnection.waitingBytesMax {
            close(.ordinary("the peer takes nothing: \(LinkConnection.waitingBytesMax >> 20) MiB wait for it"))
        }
        return framed.count
    }

    func flush() {
        guard case .open = state, outgoing.readableBytes > 0, let context else { return }
        let count = outgoing.readableBytes
        bytesInFlight += count
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.bytesInFlight -= count }
        context.writeAndFlush(wrapOutboundOut(outgoing), promise: written)
        outgoing = ByteBuffer()
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
        timeout = context.eventLoop.assumeIsolated().scheduleTask(in: LinkConnection.openingTimeout) {
            self.close(.refused("no preamble within \(LinkConnection.openingTimeout.nanoseconds / 1_000_000_000) s"))
        }
        // Waits inside the TLS handler until the handshake is over.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: LinkConnection.preamble)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data).readableBytesView
        switch state {
        case .awaitingPreamble(let start): readPreamble(start, bytes)
        case .open(var splitter):
            splitter.append(bytes)
            readFrames(splitter)
        case .closed: break
        }
    }

    private func readPreamble(_ start: [UInt8], _ bytes: ByteBufferView) {
        let missing = LinkConnection.preamble.count - start.count
        let preamble = start + bytes.prefix(missing)
        guard LinkConnection.preamble.starts(with: preamble) else { return close(.refused("it speaks another protocol")) }
        guard preamble.count == LinkConnection.preamble.count else {
            state = .awaitingPreamble(preamble)
            return
        }
        timeout?.cancel()
        var splitter = FrameSplitter()
        splitter.append(bytes.dropFirst(missing))
        state = .open(splitter)
        delegate?.connectionOpened(self)
        guard case .open = state else { return }
        readFrames(splitter)
    }

    /// Hands over every whole frame, unless the connection is closed in between.
    private func readFrames(_ unread: FrameSplitter) {
        var splitter = unread
        // No second copy: the buffer must be uniquely referenced while it is cut.
        state = .open(FrameSplitter())
        while case .open = state {
            do throws(PairWireError) {
                guard let payload = try splitter.next() else {
                    state = .open(splitter)
                    return
                }
                delegate?.connection(self, received: try PairFrameCodec.decode(payload))
            } catch {
                return close(.refused(error.text))
            }
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let wasOpen = end() {
            delegate?.connectionClosed(self, wasOpen: wasOpen, reason: .ordinary("the peer closed the connection"))
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? NIOSSLError, case .uncleanShutdown = error {
            close(.ordinary("the connection ended without TLS's farewell"))
        } else if error is NIOSSLError || error is BoringSSLError {
            close(.refused("TLS: \(error)"))
        } else {
            close(.ordinary("\(error)"))
        }
    }
}
