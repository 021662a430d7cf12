import Control
import Glibc
import Logging
import NIOCore

/// One client: its registrations, and its commands one after the other.
final class ControlConnection: ChannelInboundHandler {
    typealias InboundIn = VICIPacket
    typealias OutboundOut = ByteBuffer

    /// Commands that wait for the one under way. The protocol wants one at a time; a few are forgiven.
    static let waitingCommandsMax = 16
    /// Bytes that a client may leave unread: eight of the largest packets. Who reads slower is let go.
    static let unsentBytesMax = 4 << 20
    /// How long a client may leave a listing unread.
    static let stalledMax = TimeAmount.seconds(30)

    private let connections: ControlConnections
    private let logger: Logger
    private let requests: ControlServer.Requests
    private var context: ChannelHandlerContext?
    private var registrations: Set<String> = []
    private var waiting: [(command: String, arguments: VICIMessage)] = []
    private var active: ActiveCommand?
    private var commandCount: UInt64 = 0
    /// It was connected by root, or by the user of the daemon: all others are members of the socket's group, and may look.
    private var mayChange = false
    private var unsentBytes = 0
    private var stalled: Scheduled<Void>?

    init(connections: ControlConnections, logger: Logger, requests: @escaping ControlServer.Requests) {
        self.connections = connections
        self.logger = logger
        self.requests = requests
    }

    /// The command that is being carried out.
    private struct ActiveCommand {
        /// Answers to an earlier command are told by it.
        let number: UInt64
        let request: ControlRequest
        /// What a listing has still to show.
        var remaining: ArraySlice<UInt64> = []
        /// A page was asked for and has not come.
        var awaitsPage = false
        var timeout: Scheduled<Void>?
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        connections.insert(self)
        askWhoConnected(context)
    }

    /// What SO_PEERCRED tells of the process that connected (unix(7)).
    private struct PeerCredentials: Sendable {
        var (process, user, group): (UInt32, UInt32, UInt32)
    }

    private func askWhoConnected(_ context: ChannelHandlerContext) {
        guard let provider = context.channel as? any SocketOptionProvider else { return }
        let name = NIOBSDSocket.Option(rawValue: SO_PEERCRED)
        let credentials: EventLoopFuture<PeerCredentials> = provider.unsafeGetSocketOption(level: .socket, name: name)
        credentials.assumeIsolated().whenSuccess { self.mayChange = $0.user == 0 || $0.user == geteuid() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        active?.timeout?.cancel()
        active = nil
        waiting = []
        stalled?.cancel()
        connections.remove(self)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .request(let command, let arguments):
            guard waiting.count < ControlConnection.waitingCommandsMax else { return fail("sends commands without awaiting answers") }
            waiting.append((command, arguments))
            startNext()
        case .register(let event):
            let known = ControlEventName.known.contains(event)
            if known { registrations.insert(event) }
            send(known ? .confirmed : .unknownEvent)
        case .unregister(let event):
            send(registrations.remove(event) == nil ? .unknownEvent : .confirmed)
        case .response, .unknownCommand, .confirmed, .unknownEvent, .event:
            fail("sent a packet that only a server sends")
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stalled?.cancel()
        stalled = nil
        if context.channel.isWritable {
            continueListing()
        } else {
            stalled = context.eventLoop.assumeIsolated().scheduleTask(in: ControlConnection.stalledMax) { [weak self] in
                self?.fail("does not read")
            }
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail("\(error)") }

    private func fail(_ reason: String) {
        connections.rejected += 1
        logger.debug("control client is let go", metadata: ["reason": "\(reason)"])
        close()
    }

    func close() { context?.close(promise: nil) }

    // MARK: Commands

    private func startNext() {
        guard active == nil, let context, !waiting.isEmpty else { return }
        let (command, arguments) = waiting.removeFirst()
        let request: ControlRequest
        do {
            request = try ControlRequest(command: command, arguments: arguments)
        } catch {
            reply(.done(.failure("\(command): \(error)")))
            return startNext()
        }
        guard mayChange || request.isHarmless else {
            reply(.done(.failure("\(command): only root may; the members of the control socket's group may look")))
            return startNext()
        }
        commandCount += 1
        active = ActiveCommand(number: commandCount, request: request)
        armTimeout(request, context)
        ask(request)
    }

    private func ask(_ request: ControlRequest) {
        guard let context, let number = active?.number else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        // Always in a later turn of the loop: an answer that is given at once must not nest pages inside each other.
        requests(request) { response in eventLoop.execute { bound.value.answer(response, to: number) } }
    }

    /// strongSwan's clients may give a time after which they want an answer, whatever has become of the command.
    private func armTimeout(_ request: ControlRequest, _ context: ChannelHandlerContext) {
        let limit: Int64?
        switch request {
        case .initiate(let initiate): limit = initiate.timeoutMilliseconds
        case .terminate(let terminate): limit = terminate.timeoutMilliseconds
        default: limit = nil
        }
        guard let limit, let number = active?.number else { return }
        // An hour is longer than any client waits, and keeps the clock's arithmetic in its range.
        let delay = TimeAmount.milliseconds(min(limit, 3_600_000))
        active?.timeout = context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            self?.answer(.done(limit == 0 ? .success : .failure("not finished after \(limit) ms")), to: number)
        }
    }

    private func answer(_ response: ControlResponse, to number: UInt64) {
        guard active?.number == number, context != nil else { return }
        switch response {
        case .progress(let line): showProgress(line)
        case .sessionIDs(let identifiers): startListing(identifiers)
        case .sas(let summaries): showPage(summaries)
        case .connections(let connections): showConnections(connections)
        case .version, .stats, .pools, .status, .switchover, .maintenance, .redirect, .transfer, .rotation, .events, .context, .done,
            .unknownCommand:
            finish(response)
        }
    }

    private func finish(_ response: ControlResponse) {
        active?.timeout?.cancel()
        active = nil
        reply(response)
        startNext()
    }

    private func reply(_ response: ControlResponse) { send(response.packet) }

    private func showProgress(_ line: ControlLogLine) {
        let level: Int
        switch active?.request {
        case .initiate(let initiate): level = initiate.logLevel
        case .terminate(let terminate): level = terminate.logLevel
        default: level = 1
        }
        if line.level <= level { sendEvent(ControlEventName.controlLog, line.vici()) }
    }

    private func showConnections(_ connections: [ConnectionSummary]) {
        for connection in connections { sendEvent(ControlEventName.listConnection, connection.vici()) }
        finish(.connections([]))
    }
}

// MARK: Listings

extension ControlConnection {
    private var listsHeld: Bool {
        if case .findSessions(let filter) = active?.request { return filter.includesHeld }
        return false
    }

    private func startListing(_ identifiers: [UInt64]) {
        active?.remaining = identifiers[...]
        continueListing()
    }

    /// Asks for the next page when the client has read the ones before.
    private func continueListing() {
        guard let context, let current = active, case .findSessions = current.request, !current.awaitsPage else { return }
        let event = listsHeld ? ControlEventName.tandemSession : ControlEventName.listSA
        guard !current.remaining.isEmpty, isRegistered(for: event) else { return finish(.sas([])) }
        guard context.channel.isWritable else { return }
        let page = current.remaining.prefix(ControlRequest.describedSessionsMax)
        active?.remaining = current.remaining.dropFirst(page.count)
        active?.awaitsPage = true
        ask(.describe(Array(page)))
    }

    private func showPage(_ summaries: [SASummary]) {
        active?.awaitsPage = false
        for summary in summaries {
            if listsHeld {
                sendEvent(ControlEventName.tandemSession, summary.tandemVICI())
            } else {
                sendEvent(ControlEventName.listSA, summary.vici())
            }
        }
        continueListing()
    }
}

// MARK: Sending

extension ControlConnection {
    func isRegistered(for event: String) -> Bool { registrations.contains(event) }

    private func sendEvent(_ name: String, _ message: VICIMessage) {
        if isRegistered(for: name) { send(.event(name: name, message)) }
    }

    private func send(_ packet: VICIPacket) {
        do {
            send(try packet.encode())
        } catch {
            logger.warning("control answer left out", metadata: ["reason": "\(error)"])
            // A client that awaits an answer gets one; an event that is too long is left out.
            if case .response = packet, let bytes = try? ControlResponse.done(.failure("\(error)")).packet.encode() { send(bytes) }
        }
    }

    /// Sends a packet's bytes, or lets the client go when it leaves too much unread.
    func send(_ bytes: [UInt8]) {
        guard let context else { return }
        guard unsentBytes + bytes.count <= ControlConnection.unsentBytesMax else { return fail("does not read") }
        unsentBytes += bytes.count
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [weak self] _ in self?.unsentBytes -= bytes.count }
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: bytes)), promise: promise)
    }
}

extension ControlResponse {
    /// The packet that ends a command.
    fileprivate var packet: VICIPacket {
        switch self {
        case .version(let summary): return .response(summary.withHost().vici())
        case .stats(let summary): return .response(summary.vici())
        case .pools(let pools): return .response(PoolSummary.vici(pools))
        case .status(let summary): return .response(summary.vici())
        case .switchover(let summary): return .response(summary.vici())
        case .maintenance(let summary): return .response(summary.vici())
        case .transfer(let summary): return .response(summary.vici())
        case .rotation(let summary): return .response(summary.vici())
        case .redirect(let summary): return .response(summary.vici())
        case .events(let events): return .response(EventSummary.vici(events))
        case .context(let summary): return .response(summary.vici())
        case .done(let summary): return .response(summary.vici())
        case .unknownCommand: return .unknownCommand
        // Streamed before; the answer itself is empty.
        case .sessionIDs, .sas, .connections, .progress: return .response(VICIMessage())
        }
    }
}

extension VersionSummary {
    /// The node, which does not know what it runs on, leaves that open.
    fileprivate func withHost() -> VersionSummary {
        var host = utsname()
        guard release.isEmpty, machine.isEmpty, uname(&host) == 0 else { return self }
        var filled = self
        filled.release = withUnsafeBytes(of: host.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        filled.machine = withUnsafeBytes(of: host.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return filled
    }
}
