import Control
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization

@testable import Runtime

/// Answers as a node would, from another thread.
final class CannedNode: Sendable {
    typealias Respond = @Sendable (ControlResponse) -> Void

    let sessions: UInt64
    let described = SharedCounter()
    let largestPage = SharedCounter()
    private let unanswered = Mutex<[Respond]>([])
    private let started = Mutex<ControlServer?>(nil)

    init(sessions: UInt64 = 2) { self.sessions = sessions }

    var server: ControlServer? { started.withLock { $0 } }

    func serve(at path: String) async throws -> ControlServer {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = try await ControlServer.start(path: path, on: loop, logger: logger) { self.answer($0, $1) }.get()
        started.withLock { $0 = server }
        return server
    }

    func answerLate() {
        for respond in unanswered.withLock({ $0 }) { respond(.done(.success)) }
    }

    private func answer(_ request: ControlRequest, _ respond: @escaping Respond) {
        switch request {
        case .version: respond(.version(VersionSummary(daemon: "tandemd", version: "1", systemName: "Linux", release: "", machine: "")))
        case .stats: respond(.stats(StatsSummary()))
        case .status: respond(.status(StatusSummary()))
        case .findSessions: respond(.sessionIDs(Array(1...sessions)))
        case .describe(let identifiers):
            described.update { $0 + identifiers.count }
            largestPage.update { max($0, identifiers.count) }
            respond(.sas(identifiers.map(session)))
        case .terminate(let request) where request.connection == "never":
            unanswered.withLock { $0.append(respond) }
        case .terminate:
            respond(.progress(ControlLogLine(group: "IKE", level: 2, thread: 0, message: "level 2")))
            respond(.progress(ControlLogLine(group: "IKE", level: 1, thread: 0, message: "level 1")))
            respond(.done(DoneSummary(success: true, error: "", matches: 1, terminated: 1)))
            respond(.done(.failure("twice")))
        case .get(let request):
            var summary = ContextSummary()
            summary.success = true
            summary.text = String(repeating: "0123456789", count: Int(request.name) ?? 0)
            respond(.context(summary))
        case .put(let request): respond(.context(.failure("told", "\(request.document.utf8.count)")))
        case .listConnections, .listPools, .initiate, .rekey, .switchover, .maintain, .redirect, .transfer, .rotate, .events, .unknown:
            respond(.unknownCommand)
        }
    }

    private func session(_ identifier: UInt64) -> SASummary {
        var summary = SASummary()
        summary.name = "road"
        summary.uniqueID = UInt32(identifier)
        return summary
    }
}

/// A number that several threads change.
final class SharedCounter: Sendable {
    private let box = Mutex(0)
    var value: Int { box.withLock { $0 } }
    func update(_ change: (Int) -> Int) { box.withLock { $0 = change($0) } }
}

/// A blocking client which waits at most five seconds for anything.
final class TestClient {
    enum Failure: Error, Equatable { case cannotConnect, closed, timedOut, unexpected }

    private let descriptor: Int32

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw Failure.cannotConnect }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) throws {
        let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count != bytes.count { throw Failure.closed }
    }

    func send(_ packet: VICIPacket) throws { try send(try packet.encode()) }

    func receive() throws -> VICIPacket {
        let length = try VICIPacket.length(of: try receive(4))
        return try VICIPacket(parsing: try receive(length))
    }

    private func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let more = bytes[received...].withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            if more < 0, errno == EAGAIN { throw Failure.timedOut }
            if more <= 0 { throw Failure.closed }
            received += more
        }
        return bytes
    }

    func register(_ event: String) throws {
        try send(.register(event: event))
        guard try receive() == .confirmed else { throw Failure.unexpected }
    }

    func request(_ command: String, _ arguments: VICIMessage = VICIMessage()) throws -> VICIMessage {
        try send(.request(command: command, arguments))
        guard case .response(let message) = try receive() else { throw Failure.unexpected }
        return message
    }
}
