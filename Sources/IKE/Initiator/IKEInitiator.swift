public import Cryptography
import IKEWire
public import Session

/// An IKEv2 initiator: the engine calls peers with it as far as IKE_AUTH, and it is the other side in tests and
/// in the session generator. It shares codec, key derivation and protection with the engine, and is as pure: datagrams and time in,
/// datagrams out.
///
/// Rekeys are finished as RFC 7296 §2.8 wants it: after a rekey the old SA is deleted by a further exchange at once.
public struct IKEInitiator: Sendable {
    public let configuration: InitiatorConfiguration
    public internal(set) var phase = InitiatorPhase.idle
    /// What came of the last exchange after IKE_AUTH, or of its CHILD SA.
    public internal(set) var lastResult: InitiatorResult?
    public internal(set) var local: Endpoint
    public internal(set) var remote: Endpoint
    /// ESP goes inside UDP.
    public internal(set) var encapsulation = false
    /// Who the gateway showed to be.
    public internal(set) var authenticatedIdentity: Identity?
    /// How it showed that.
    public internal(set) var authenticatedMethod: PeerAuthorization.Method?
    /// What IKE_SA_INIT said of NATs.
    var nat: NATDetection?
    /// From CFG_REPLY.
    public internal(set) var virtualAddresses: [IPAddress] = []
    public internal(set) var dnsServers: [IPAddress] = []
    /// `inbound` and `outbound`, `local` and `remote` are seen from the initiator.
    public internal(set) var children: [ChildSA] = []
    public internal(set) var ikeSA: IKESA?
    /// Replaced, and about to be deleted.
    public internal(set) var rekeyedIKESA: IKESA?
    public internal(set) var counters = Counters()

    public struct Counters: Hashable, Sendable {
        public internal(set) var requestsSent: UInt64 = 0
        public internal(set) var retransmissions: UInt64 = 0
        public internal(set) var responsesTaken: UInt64 = 0
        public internal(set) var requestsAnswered: UInt64 = 0
        public internal(set) var dropped: UInt64 = 0
    }

    /// Both sides announced RFC 7383.
    var usesFragments = false
    var fragments = FragmentTable()
    /// What both sides announced.
    var agreed: PeerCapabilities { usesFragments ? [.fragmentation] : [] }
    var handshake: Handshake?
    var outstanding: OutstandingRequest?
    /// Exchanges that wait for the one under way.
    var queue: [InitiatorTask] = []

    public init(configuration: InitiatorConfiguration) {
        self.configuration = configuration
        local = configuration.local
        remote = configuration.remote
    }

    /// Nothing is under way and nothing waits.
    public var isQuiet: Bool { outstanding == nil && queue.isEmpty }

    // MARK: What can be asked for

    /// Sends IKE_SA_INIT.
    public mutating func start(context: IKEContext) -> [Datagram] {
        guard phase == .idle, let group = configuration.proposals.first?.groups.first else { return [] }
        return sendInit(group: group, cookie: nil, spi: configuration.ikeSPI ?? context.random.uint64() | 1, nonce: nil, context: context)
    }

    /// A liveness check.
    public mutating func liveness(context: IKEContext) -> [Datagram] { perform(.liveness, context: context) }

    /// A further CHILD SA, with PFS if a group is given.
    public mutating func addChild(group: KeyExchangeGroup? = nil, context: IKEContext) -> [Datagram] {
        perform(.createChild(replacing: nil, group: group), context: context)
    }

    /// Rekeys the CHILD SA with this inbound SPI of ours, and deletes it then.
    public mutating func rekeyChild(inboundSPI: UInt32, group: KeyExchangeGroup? = nil, context: IKEContext) -> [Datagram] {
        perform(.createChild(replacing: inboundSPI, group: group), context: context)
    }

    /// Rekeys the IKE SA with its own algorithms or another group, and deletes the old one then.
    public mutating func rekeyIKE(group: KeyExchangeGroup? = nil, context: IKEContext) -> [Datagram] {
        guard let ikeSA else { return [] }
        return perform(.rekeyIKESA(group: group ?? ikeSA.algorithms.keyExchangeGroup), context: context)
    }

    public mutating func deleteChild(inboundSPI: UInt32, context: IKEContext) -> [Datagram] {
        perform(.deleteChild(inboundSPI), context: context)
    }

    /// Deletes the IKE SA and everything in it.
    public mutating func delete(context: IKEContext) -> [Datagram] { perform(.deleteIKESA, context: context) }

    // MARK: Time

    public func nextDeadline() -> Instant? { outstanding?.deadline }

    /// Repeats the request under way when it is due, to the bit; gives up after the configured tries.
    public mutating func advance(context: IKEContext) -> [Datagram] {
        guard var request = outstanding, request.deadline <= context.now.instant else { return [] }
        guard request.repeats < configuration.limits.retransmitTries else {
            outstanding = nil
            queue = []
            phase = .failed(.timedOut)
            return []
        }
        request.repeats += 1
        request.wait = configuration.limits.wait(repeats: request.repeats)
        request.deadline = context.now.instant + request.wait
        outstanding = request
        counters.retransmissions += 1
        return request.datagrams.map { datagram($0) }
    }

    // MARK: What comes in

    /// Takes a datagram; what does not belong here is counted and dropped.
    public mutating func receive(_ datagram: Datagram, context: IKEContext) -> [Datagram] {
        guard let header = try? IKEHeader(parsing: datagram.bytes), header.majorVersion == 2 else { return drop() }
        if header.exchangeType == .ikeSAInit { return receiveInitResponse(datagram, header: header, context: context) }
        guard phase != .closed, let sa = sa(of: header) else { return drop() }
        return header.isResponse
            ? receiveResponse(datagram, header: header, sa: sa, context: context)
            : receiveRequest(datagram, header: header, sa: sa, context: context)
    }

    private func sa(of header: IKEHeader) -> IKESA? {
        [ikeSA, rekeyedIKESA].compactMap { $0 }.first { sa in
            sa.spis.initiator == header.initiatorSPI && sa.spis.responder == header.responderSPI
                && header.isInitiator == (sa.role == .responder)
        }
    }

    mutating func drop() -> [Datagram] {
        counters.dropped += 1
        return []
    }

    // MARK: Sending

    func datagram(_ bytes: [UInt8]) -> Datagram { Datagram(local: local, remote: remote, bytes: bytes) }

    mutating func perform(_ task: InitiatorTask, context: IKEContext) -> [Datagram] {
        guard phase == .established else { return [] }
        queue.append(task)
        return sendNext(context: context)
    }

    /// One request at a time over both IKE SAs.
    mutating func sendNext(context: IKEContext) -> [Datagram] {
        while outstanding == nil, !queue.isEmpty {
            let task = queue.removeFirst()
            if let sent = send(task, context: context) { return sent }
        }
        return []
    }

    mutating func track(_ request: OutstandingRequest, context: IKEContext) -> [Datagram] {
        var request = request
        request.wait = configuration.limits.retransmitTimeout
        request.deadline = context.now.instant + request.wait
        outstanding = request
        counters.requestsSent += 1
        return request.datagrams.map { datagram($0) }
    }

    /// Changes the IKE SA with this SPI of ours, wherever it stands.
    mutating func withSA(_ localSPI: UInt64, _ body: (inout IKESA) -> Void) {
        if ikeSA?.localSPI == localSPI { body(&ikeSA!) }
        if rekeyedIKESA?.localSPI == localSPI { body(&rekeyedIKESA!) }
    }
}

/// An exchange to be begun when the window is free.
enum InitiatorTask: Hashable {
    case liveness
    case createChild(replacing: UInt32?, group: KeyExchangeGroup?)
    case rekeyIKESA(group: KeyExchangeGroup)
    case deleteChild(UInt32)
    case deleteIKESA
    case deleteRekeyedIKESA
}

/// What is remembered of a request until its answer comes.
struct OutstandingRequest {
    enum Purpose {
        case initialize
        case authenticate
        case liveness
        case createChild(PendingChild)
        case rekeyIKESA(PendingRekey)
        case deleteChild(UInt32)
        case deleteIKESA
        case deleteRekeyedIKESA
    }

    var localSPI: UInt64
    var messageID: UInt32
    var purpose: Purpose
    var datagrams: [[UInt8]]
    var wait: Duration = .zero
    var deadline = Instant(nanoseconds: 0)
    var repeats = 0
}

struct PendingChild {
    var replacing: UInt32?
    var inboundSPI: UInt32
    var nonce: [UInt8]
    var keyExchange: KeyExchange?
}

struct PendingRekey {
    var spi: UInt64
    var nonce: [UInt8]
    var keyExchange: KeyExchange
}

/// Between IKE_SA_INIT and IKE_AUTH.
struct Handshake {
    var spi: UInt64
    var keyExchange: KeyExchange
    var nonce: [UInt8]
    var cookie: [UInt8]?
    var request: [UInt8]
    var response: [UInt8] = []
    var responderNonce: [UInt8] = []
    var derived: DerivedIKEKeys?
    /// The hashes that the gateway takes in signatures; `nil` if it does not know RFC 7427.
    var peerHashes: Set<SignatureHash>?
    var isAskedForCertificate = false
    var childSPI: UInt32 = 0
    /// Answers that only lead to another try: cookie and group, each once or twice, or somebody plays with us.
    var restarts = 0
}
