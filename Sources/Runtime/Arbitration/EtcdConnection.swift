import Control
import NIOCore
import NIOHTTP1
import NIOSSL

/// One HTTP/1.1 connection to an etcd, one request at a time. Lives on the node's event loop.
final class EtcdConnection: ChannelInboundHandler {
    typealias InboundIn = NIOHTTPClientResponseFull
    typealias OutboundOut = HTTPClientRequestPart

    /// Our key has one value; an answer is some 300 octets.
    static let bodyBytesMax = 64 << 10

    enum Failure: Error, Hashable {
        /// The endpoint did not answer as it should: another one may.
        case unreachable(String)
        /// An answer that says no.
        case refused(status: UInt, String)

        var text: String {
            switch self {
            case .unreachable(let text): text
            case .refused(let status, let text): "\(status): \(text)"
            }
        }
    }

    typealias Completion = (Result<JSON, Failure>) -> Void

    private let host: String
    private var context: ChannelHandlerContext?
    private var waiting: Completion?
    private var queued: (head: HTTPRequestHead, body: [UInt8])?
    private var ended: String?

    /// - Parameter host: with its port, for the header.
    init(host: String) { self.host = host }

    /// Nothing is under way, and the connection stands.
    var isFree: Bool { waiting == nil && ended == nil }
    var hasEnded: Bool { ended != nil }

    func post(_ path: String, _ body: JSON, token: String?, _ completion: @escaping Completion) {
        if let ended { return completion(.failure(.unreachable(ended))) }
        let bytes = Array(body.line.utf8)
        var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: path)
        head.headers.add(name: "Host", value: host)
        head.headers.add(name: "Content-Type", value: "application/json")
        head.headers.add(name: "Content-Length", value: "\(bytes.count)")
        if let token { head.headers.add(name: "Authorization", value: token) }
        waiting = completion
        queued = (head, bytes)
        sendIfConnected()
    }

    private func sendIfConnected() {
        guard let context, context.channel.isActive, let (head, body) = queued else { return }
        queued = nil
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func close(_ reason: String) {
        guard ended == nil else { return }
        ended = reason
        context?.close(promise: nil)
        finish(.failure(.unreachable(reason)))
    }

    private func finish(_ result: Result<JSON, Failure>) {
        let completion = waiting
        waiting = nil
        completion?(result)
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if ended != nil { context.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        close("cannot connect")
    }

    func channelActive(context: ChannelHandlerContext) {
        sendIfConnected()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let response = unwrapInboundIn(data)
        guard waiting != nil else { return close("it answers what was not asked") }
        let bytes = response.body.map { Array($0.readableBytesView) } ?? []
        let parsed: JSON
        do throws(JSONError) {
            parsed = try JSON(parsing: bytes, limit: EtcdConnection.bodyBytesMax)
        } catch {
            return close("its answer (\(response.head.status.code)) is not JSON: \(error)")
        }
        if !response.head.isKeepAlive { ended = "the connection was for one request" }
        let status = response.head.status.code
        if status == 200, parsed["error"] == nil {
            finish(.success(parsed))
        } else if status >= 500 {
            // Without a leader, for instance: another member may do better.
            close("\(status): \(EtcdMessages.problem(parsed) ?? "an error")")
        } else {
            finish(.failure(.refused(status: status, EtcdMessages.problem(parsed) ?? "an error")))
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is NIOHTTPObjectAggregatorEvent { close("its answer is longer than \(EtcdConnection.bodyBytesMax >> 10) KiB") }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        close("the connection was closed")
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { close("\(error)") }
}
