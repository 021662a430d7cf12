import Cryptography
import Glibc
import IKE
import Session

/// The initiators of all sessions, at one socket.
struct Generator {
    /// How a task that concerns all sessions ended.
    struct Result {
        /// Sessions with which it went well.
        var count: Int
        /// How many it concerned.
        var total: Int
        var milliseconds: Int64
        /// What went wrong, and how often.
        var failures: [String: Int]
        /// Of sessions that were set up one after the other, how long each took.
        var microseconds: [Int64] = []
    }

    private var initiators: [IKEInitiator] = []
    private var bySPI: [UInt64: Int] = [:]
    /// Sessions of which an answer is awaited.
    private var inFlight: Set<Int> = []
    private let local: Endpoint
    private let remote: Endpoint
    private let options: SessionGenerator
    private let network: IPPrefix
    private let socket: ClientSocket

    /// How long to wait for a datagram before looking at the clock and at standard input again.
    private static let pollMilliseconds: Int32 = 50

    init(local: Endpoint, remote: Endpoint, options: SessionGenerator, network: IPPrefix) throws {
        self.local = local
        self.remote = remote
        self.options = options
        self.network = network
        socket = try ClientSocket(local)
    }

    private func initiator(_ number: Int) -> IKEInitiator {
        let gcm = IKEProposal(
            ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519, .ecp256])
        let esp = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        var configuration = InitiatorConfiguration(
            local: local, remote: remote, localIdentity: Identity(text: "generated\(number).example.net"),
            remoteIdentity: Identity(text: options.gateway), secret: SecretBytes(Array(options.secret.utf8)), proposals: [gcm],
            childProposals: [esp], localSelectors: [TrafficSelector(IPPrefix("0.0.0.0/0")!)],
            remoteSelectors: [TrafficSelector(network)])
        configuration.requestsAddresses = [.ipv4]
        return IKEInitiator(configuration: configuration)
    }

    // MARK: Tasks

    /// IKE_SA_INIT and IKE_AUTH of so many more; a session counts when its CHILD SA and its address came with it.
    mutating func establish(_ count: Int) -> Result {
        let first = initiators.count
        for number in first..<first + count { initiators.append(initiator(number)) }
        return run(first..<first + count, { $0.start(context: $1) }, until: Generator.isUp, failure: Generator.whyNotUp)
    }

    /// The same, one after the other.
    mutating func establishInTurn(_ count: Int) -> Result {
        var all = Result(count: 0, total: 0, milliseconds: 0, failures: [:])
        for _ in 0..<count {
            let began = Clock.now().instant
            let one = establish(1)
            all.microseconds.append((Clock.now().instant - began).inNanoseconds / 1000)
            all.count += one.count
            all.total += 1
            all.milliseconds += one.milliseconds
            all.failures.merge(one.failures, uniquingKeysWith: +)
        }
        return all
    }

    private static func isUp(_ initiator: IKEInitiator) -> Bool {
        initiator.phase != .awaitingInitResponse && initiator.phase != .awaitingAuthResponse
    }

    private static func whyNotUp(_ initiator: IKEInitiator) -> String? {
        guard initiator.phase == .established else { return "\(initiator.phase)" }
        return initiator.children.count == 1 && initiator.virtualAddresses.count == 1 ? nil : "no CHILD SA or no address"
    }

    /// An empty INFORMATIONAL on every session; one counts when the gateway answered it.
    mutating func check() -> Result {
        run(initiators.indices, { $0.liveness(context: $1) }, until: { $0.isQuiet }) { initiator in
            guard initiator.phase == .established else { return "\(initiator.phase)" }
            return initiator.isQuiet ? nil : "no answer"
        }
    }

    /// Answers the gateway until there is a line on standard input; `nil` when it has ended.
    mutating func nextCommand(from input: inout CommandInput) -> String? {
        while true {
            switch input.read() {
            case .line(let line): return line
            case .end: return nil
            case .nothing: receive()
            }
        }
    }

    /// Begins an exchange on each of some sessions, `--parallel` at a time, and waits for all.
    ///
    /// - Parameters:
    ///   - isDone: of a session's exchange, however it ended.
    ///   - failure: what went wrong with a session; `nil` when nothing did.
    private mutating func run(
        _ range: Range<Int>, _ begin: (inout IKEInitiator, IKEContext) -> [Datagram], until isDone: (IKEInitiator) -> Bool,
        failure: (IKEInitiator) -> String?
    ) -> Result {
        let started = Clock.now().instant
        var next = range.lowerBound
        while next < range.upperBound || !inFlight.isEmpty, Clock.now().instant < started + .seconds(options.timeout) {
            while next < range.upperBound, inFlight.count < options.parallel {
                let datagrams = begin(&initiators[next], Generator.context())
                if let bytes = datagrams.first?.bytes, let spi = Generator.initiatorSPI(bytes) { bySPI[spi] = next }
                inFlight.insert(next)
                socket.send(datagrams)
                next += 1
            }
            receive()
            repeatWhatIsDue()
            for position in inFlight where isDone(initiators[position]) { inFlight.remove(position) }
        }
        let milliseconds = Int64((Clock.now().instant - started).inMilliseconds)
        inFlight = []
        let failures = initiators[range].compactMap(failure)
        return Result(
            count: range.count - failures.count, total: range.count, milliseconds: milliseconds,
            failures: Dictionary(failures.map { ($0, 1) }, uniquingKeysWith: +))
    }

    // MARK: Datagrams

    private mutating func repeatWhatIsDue() {
        let now = Clock.now().instant
        for position in inFlight {
            guard let due = initiators[position].nextDeadline(), due <= now else { continue }
            socket.send(initiators[position].advance(context: Generator.context()))
        }
    }

    /// Waits for a datagram and takes all that are there.
    private mutating func receive() {
        for bytes in socket.receive(waitingMilliseconds: Generator.pollMilliseconds) {
            guard let spi = Generator.initiatorSPI(bytes), let position = bySPI[spi] else { continue }
            let datagram = Datagram(local: local, remote: remote, bytes: bytes)
            socket.send(initiators[position].receive(datagram, context: Generator.context()))
        }
    }

    /// The first eight octets of every message of an IKE SA that is never rekeyed name its session.
    private static func initiatorSPI(_ bytes: [UInt8]) -> UInt64? {
        bytes.count < 28 ? nil : bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }

    private static func context() -> IKEContext { IKEContext(now: Clock.now(), epoch: 0, random: .system) }
}

private enum Clock {
    static func now() -> Now {
        Now(
            instant: Instant(nanoseconds: nanoseconds(CLOCK_MONOTONIC)), wallMilliseconds: Int64(nanoseconds(CLOCK_REALTIME) / 1_000_000))
    }

    private static func nanoseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
