import Control
import Cryptography
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Session

/// Requests to an etcd of one or several members: one at a time, to the member that answered last, else to the next in turn.
///
/// Belongs to the node's event loop.
final class EtcdGateway {
    typealias Completion = EtcdConnection.Completion

    private struct Request {
        var path: String
        var body: JSON
        var completion: Completion
        /// Members that may still be tried.
        var tries: Int
        var isAuthentication = false
    }

    private let settings: WitnessSettings
    private let tls: NIOSSLContext?
    private let eventLoop: any EventLoop
    private var connection: EtcdConnection?
    private var endpoint = 0
    private var token: String?
    private var queue: [Request] = []
    private var current: Request?
    private var timeout: Scheduled<Void>?
    private var isStopped = false

    /// - Throws: when certificates or the key are of no use.
    init(_ settings: WitnessSettings, eventLoop: any EventLoop) throws {
        self.settings = settings
        self.eventLoop = eventLoop
        tls = settings.endpoints.contains(where: \.isTLS) ? try EtcdGateway.tls(settings) : nil
    }

    static func tls(_ settings: WitnessSettings) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        if let pem = settings.authoritiesPEM {
            configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)))
        }
        if let certificate = settings.certificatePEM, let key = settings.keyPEM {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8)).map { .certificate($0) }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: key.copyBytes(), format: .pem))
        }
        configuration.shutdownTimeout = .milliseconds(50)
        return try NIOSSLContext(configuration: configuration)
    }

    /// How long one member has, so that a second one can be asked within the time that all of it may take.
    private var patience: TimeAmount {
        .nanoseconds((settings.timeout / min(2, settings.endpoints.count)).inNanoseconds)
    }

    /// An etcd that checks a password by bcrypt, as it does, takes a tenth of a second, or several when it is busy.
    static let authenticationPatience: TimeAmount = .seconds(2)

    /// - Parameter completion: called once, later.
    func post(_ path: String, _ body: JSON, _ completion: @escaping Completion) {
        queue.append(Request(path: path, body: body, completion: completion, tries: min(2, settings.endpoints.count)))
        startNext()
    }

    /// Somebody waits for what is behind the request that is under way: a member that hangs is left soon.
    func hurry() {
        guard let current, !current.isAuthentication else { return }
        arm(.nanoseconds(patience.nanoseconds / 4))
    }

    func stop() {
        isStopped = true
        timeout?.cancel()
        connection?.close("stopped")
    }

    private func startNext() {
        guard current == nil, !isStopped, !queue.isEmpty else { return }
        if settings.username != nil, token == nil, !queue[0].isAuthentication { return authenticate() }
        let request = queue.removeFirst()
        current = request
        arm(request.isAuthentication ? EtcdGateway.authenticationPatience : patience)
        let connection = usable()
        connection.post(request.path, request.body, token: request.isAuthentication ? nil : token) { result in
            self.completed(result, of: connection)
        }
    }

    private func authenticate() {
        let body = EtcdMessages.authenticate(
            settings.username ?? "", String(decoding: settings.password?.copyBytes() ?? [], as: UTF8.self))
        let request = Request(
            path: "/v3/auth/authenticate", body: body,
            completion: { result in
                switch result {
                case .success(let answer) where answer["token"]?.text != nil: self.token = answer["token"]?.text
                case .success: self.failFirst(.unreachable("it gave no token"))
                case .failure(let failure): self.failFirst(failure)
                }
            }, tries: min(2, settings.endpoints.count), isAuthentication: true)
        queue.insert(request, at: 0)
        startNext()
    }

    /// Whoever waited for the token.
    private func failFirst(_ failure: EtcdConnection.Failure) {
        guard !queue.isEmpty else { return }
        queue.removeFirst().completion(.failure(failure))
    }

    private func arm(_ patience: TimeAmount) {
        timeout?.cancel()
        timeout = eventLoop.assumeIsolated().scheduleTask(in: patience) {
            self.connection?.close("no answer within \(patience.nanoseconds / 1_000_000) ms")
        }
    }

    private func completed(_ result: Result<JSON, EtcdConnection.Failure>, of connection: EtcdConnection) {
        guard var request = current else { return }
        timeout?.cancel()
        current = nil
        if case .failure(.unreachable) = result {
            endpoint = (endpoint + 1) % settings.endpoints.count
            request.tries -= 1
            if request.tries > 0, !isStopped {
                queue.insert(request, at: 0)
                return startNext()
            }
        }
        // 400 also says that users have changed since ("auth store revision is old"). Whoever asks again is authenticated first; what was
        // refused is not repeated here.
        if case .failure(.refused(let status, _)) = result, settings.username != nil, [400, 401, 403].contains(status) { token = nil }
        request.completion(result)
        startNext()
    }

    // MARK: The connection

    private func usable() -> EtcdConnection {
        if let connection, connection.isFree { return connection }
        let target = settings.endpoints[endpoint]
        let made = EtcdConnection(host: "\(target.host.contains(":") ? "[\(target.host)]" : target.host):\(target.port)")
        connection = made
        let this = NIOLoopBound((made, target.isTLS ? tls : nil), eventLoop: eventLoop)
        // An address for a name: the certificate is looked at for the address then.
        let name = IPAddress(target.host) == nil ? target.host : nil
        ClientBootstrap(group: eventLoop)
            .connectTimeout(patience)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (connection, tls) = this.value
                    let pipeline = channel.pipeline.syncOperations
                    if let tls { try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name)) }
                    try pipeline.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
                    try pipeline.addHandler(NIOHTTPClientResponseAggregator(maxContentLength: EtcdConnection.bodyBytesMax))
                    try pipeline.addHandler(connection)
                }
            }
            .connect(host: target.host, port: target.port)
            .assumeIsolated()
            .whenFailure { made.close("cannot connect to \(target): \($0)") }
        return made
    }
}
