import ArgumentParser
import Cryptography
import Glibc
import IKE
import Session

/// Sets up many sessions with a gateway, keeps them alive, and ends them when its standard input ends.
///
/// One UDP socket, Tandem's own initiator, a pre-shared key; it sends no ESP.
@main
struct SessionGenerator: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session-generator", abstract: "Establish many IKE sessions with a gateway, for measurements.")

    @Option(help: "The address to send from.") var local: String
    @Option(help: "The gateway's address.") var remote: String
    @Option(help: "How many sessions.") var count = 100
    @Option(help: "How many handshakes at once.") var parallel = 8
    @Option(help: "The pre-shared key.") var secret: String
    @Option(help: "The gateway's identity.") var gateway = "gw.example.net"
    @Option(help: "What is behind the gateway.") var network = "10.10.0.0/16"
    @Option(help: "Seconds for all of them.") var timeout = 120

    func run() throws {
        guard let local = IPAddress(local), let remote = IPAddress(remote), let network = IPPrefix(network) else {
            throw ValidationError("--local and --remote take an address, --network a prefix")
        }
        var generator = try Generator(local: Endpoint(local, 500), remote: Endpoint(remote, 500), options: self, network: network)
        try generator.establish()
        print("established \(generator.establishedCount) of \(count) in \(generator.milliseconds) ms")
        fflush(nil)
        guard generator.establishedCount == count else { throw ExitCode.failure }
        generator.keepAliveUntilInputEnds()
    }
}

/// The initiators and their socket.
struct Generator {
    private var initiators: [IKEInitiator] = []
    private var bySPI: [UInt64: Int] = [:]
    private let socket: Int32
    private let options: SessionGenerator
    private var started = 0
    private(set) var milliseconds: Int64 = 0

    init(local: Endpoint, remote: Endpoint, options: SessionGenerator, network: IPPrefix) throws {
        self.options = options
        socket = try Generator.bind(local)
        let gcm = IKEProposal(
            ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519, .ecp256])
        let esp = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        for number in 0..<options.count {
            var configuration = InitiatorConfiguration(
                local: local, remote: remote, localIdentity: Identity(text: "generated\(number).example.net"),
                remoteIdentity: Identity(text: options.gateway), secret: SecretBytes(Array(options.secret.utf8)), proposals: [gcm],
                childProposals: [esp], localSelectors: [TrafficSelector(IPPrefix("0.0.0.0/0")!)], remoteSelectors: [TrafficSelector(network)])
            configuration.requestsAddresses = [.ipv4]
            initiators.append(IKEInitiator(configuration: configuration))
        }
    }

    var establishedCount: Int { initiators.count { $0.phase == .established } }

    mutating func establish() throws {
        let begin = now()
        let end = begin.instant + .seconds(options.timeout)
        while now().instant < end {
            let open = initiators[..<started].count { $0.phase == .awaitingInitResponse || $0.phase == .awaitingAuthResponse }
            if started == options.count, open == 0 { break }
            var room = options.parallel - open
            while room > 0, started < options.count {
                let first = initiators[started].start(context: context())
                if let bytes = first.first?.bytes { bySPI[Generator.initiatorSPI(bytes)] = started }
                send(first)
                started += 1
                room -= 1
            }
            receive(waiting: 50)
            repeatWhatIsDue()
        }
        milliseconds = Int64((now().instant - begin.instant).inMilliseconds)
    }

    mutating func keepAliveUntilInputEnds() {
        while true {
            var input = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
            if poll(&input, 1, 0) > 0 {
                var byte: UInt8 = 0
                if read(0, &byte, 1) <= 0 { return }
            }
            receive(waiting: 50)
            repeatWhatIsDue()
        }
    }

    private mutating func repeatWhatIsDue() {
        let instant = now().instant
        for position in initiators[..<started].indices {
            guard let due = initiators[position].nextDeadline(), due <= instant else { continue }
            send(initiators[position].advance(context: context()))
        }
    }

    private mutating func receive(waiting milliseconds: Int32) {
        var ready = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, milliseconds) > 0 else { return }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count >= 28 else { return }
            let bytes = Array(buffer.prefix(count))
            guard let position = bySPI[Generator.initiatorSPI(bytes)] else { continue }
            let configuration = initiators[position].configuration
            let datagram = Datagram(local: configuration.local, remote: configuration.remote, bytes: bytes)
            send(initiators[position].receive(datagram, context: context()))
        }
    }

    /// The first eight octets of every IKE message of a session that is never rekeyed name its initiator.
    private static func initiatorSPI(_ bytes: [UInt8]) -> UInt64 { bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }

    private mutating func send(_ datagrams: [Datagram]) {
        for datagram in datagrams {
            var address = Generator.socketAddress(datagram.remote)
            _ = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(socket, datagram.bytes, datagram.bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }

    private func context() -> IKEContext { IKEContext(now: now(), epoch: 0, random: .system) }

    private func now() -> Now {
        func nanoseconds(_ clock: clockid_t) -> UInt64 {
            var time = timespec()
            clock_gettime(clock, &time)
            return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        }
        return Now(
            instant: Instant(nanoseconds: nanoseconds(CLOCK_MONOTONIC)), wallMilliseconds: Int64(nanoseconds(CLOCK_REALTIME) / 1_000_000))
    }

    private static func socketAddress(_ endpoint: Endpoint) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = endpoint.port.bigEndian
        address.sin_addr.s_addr = UInt32(truncatingIfNeeded: endpoint.address.low).bigEndian
        return address
    }

    private static func bind(_ local: Endpoint) throws -> Int32 {
        guard local.address.isIPv4 else { throw ValidationError("--local takes an IPv4 address") }
        let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var size: Int32 = 8 << 20
        setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        var address = socketAddress(local)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard socket >= 0, result == 0 else { throw ValidationError("cannot bind \(local): \(String(cString: strerror(errno)))") }
        return socket
    }
}
