public import Context
public import Control
public import Cryptography
public import IKE
public import Pair
public import Session

/// What the node has to know beforehand.
public struct NodeConfiguration: Sendable {
    public var name: String
    public var id: NodeID
    /// `nil`: the node stands alone, and is always active.
    public var pair: PairConfiguration?
    /// The addresses that move together.
    public var addresses: [SharedAddress]
    /// The addresses that do not move.
    public var nodeAddresses: NodeAddresses
    public var ike: IKEConfiguration
    /// `nil`: load is not looked at.
    public var overload: OverloadConfiguration?
    /// The version of the software, for `swanctl --version`.
    public var version: String
    /// How many connections of the peers are followed, at most; `nil`: none.
    public var flowLimit: Int?
    /// The gateways beside the pair that contexts may go to and come from.
    public var gateways: [GatewayConfiguration]
    /// What the node looks at to know whether it could serve well.
    public var track = TrackConfiguration()
    /// `nil`: whoever is active stays so.
    public var preferred: PreferredNode?

    public init(
        name: String, id: NodeID, pair: PairConfiguration?, addresses: [SharedAddress], nodeAddresses: NodeAddresses = .none,
        ike: IKEConfiguration, version: String, flowLimit: Int? = nil, gateways: [GatewayConfiguration] = []
    ) {
        self.nodeAddresses = nodeAddresses
        self.name = name
        self.id = id
        self.pair = pair
        self.addresses = addresses
        self.ike = ike
        self.version = version
        self.flowLimit = flowLimit
        self.gateways = gateways
    }
}

/// `[[gateway]]`.
public struct GatewayConfiguration: Hashable, Sendable {
    public var name: String
    /// Where clients are sent that are to move there.
    public var redirectTo: GatewayIdentity
    /// It may take sessions of ours by itself, by CT-Req.
    public var mayRequest: Bool
    public var mobike: MobikeMoves

    public init(name: String, redirectTo: GatewayIdentity, mayRequest: Bool = false, mobike: MobikeMoves = .auto) {
        self.name = name
        self.redirectTo = redirectTo
        self.mayRequest = mayRequest
        self.mobike = mobike
    }

    /// Whether clients that know MOBIKE and no context transfer are moved there with their contexts.
    public enum MobikeMoves: String, CaseIterable, Hashable, Sendable {
        /// Those that are not behind a NAT.
        case auto
        /// Those behind a NAT too: it has to let in what comes from an address to which nothing was sent.
        case always
        /// None: they are redirected.
        case never
    }
}

/// `[pair]`.
public struct PairConfiguration: Sendable {
    public var peerName: String
    /// Known to both nodes and nobody else: from it come the keys of heartbeats and cookies.
    public var secret: SecretBytes
    public var heartbeatInterval: Duration
    /// Missed heartbeats after which the peer is dead.
    public var deadAfter: Int
    /// How long a reply waits for the standby's acknowledgement before the pair is `solo`.
    public var commitTimeout: Duration
    public var replayProtection: ReplayProtection
    /// What is asked when the nodes do not hear each other.
    public var arbitration: ArbitrationPlan
    /// The heartbeat paths, as text for people: `local` and `remote` endpoints; their index names them in inputs and effects.
    public var paths: [HeartbeatPath]
    /// `nil` where there are none that could be changed.
    public var certificates: PairCertificates?

    public init(
        peerName: String, secret: SecretBytes, heartbeatInterval: Duration = .milliseconds(50), deadAfter: Int = 3,
        commitTimeout: Duration = .milliseconds(20), replayProtection: ReplayProtection = .window, arbitration: ArbitrationPlan = .none,
        paths: [HeartbeatPath], certificates: PairCertificates? = nil
    ) {
        self.arbitration = arbitration
        self.peerName = peerName
        self.secret = secret
        self.heartbeatInterval = heartbeatInterval
        self.deadAfter = deadAfter
        self.commitTimeout = commitTimeout
        self.replayProtection = replayProtection
        self.paths = paths
        self.certificates = certificates
    }
}

/// What becomes of packets that the former owner accepted after its last report, when they come again after a takeover.
public enum ReplayProtection: String, CaseIterable, Hashable, Sendable {
    /// Each is taken once more at most: the windows stand where the last report left them.
    case window
    /// None is taken: the windows stand past all of them, and peers that can (RFC 6311) are asked to send with higher numbers.
    case strict
}

/// `[[pair.path]]`.
public struct HeartbeatPath: Hashable, Sendable {
    public var local: Endpoint
    public var remote: Endpoint
    /// The link is made on the path with the lowest that works; of equals on the one that was named first.
    public var preference: Int

    public init(local: Endpoint, remote: Endpoint, preference: Int = 0) {
        self.preference = preference
        self.local = local
        self.remote = remote
    }
}

/// `[[address]]`: an address of the group, on an interface of this host.
public struct SharedAddress: Hashable, Sendable {
    public var prefix: IPPrefix
    public var interface: String

    public init(prefix: IPPrefix, interface: String) {
        self.prefix = prefix
        self.interface = interface
    }
}

/// Names an operator's request until it is answered.
public struct RequestToken: Hashable, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Everything that can happen to a node.
public enum Input: Sendable {
    /// The runtime is up: data plane ready, sockets open. `dataPlane` is its kind and the reason, for `status`.
    case started(dataPlane: String, reason: String)
    /// IKE from port 500 or 4500.
    case datagram(Datagram)
    case heartbeat(path: Int, bytes: [UInt8])
    /// The TLS link is up and the peer's certificate is the pinned one.
    /// - path: the heartbeat path that it runs on.
    case linkOpened(path: Int?)
    case linkClosed(reason: String)
    case frame(PairFrame)
    /// A message of another gateway, whose certificate is the configured one.
    case transferMessage(from: String, CXTPMessage)
    /// The link to another gateway ended, or could not be made.
    case transferLinkClosed(gateway: String, reason: String)
    /// What became of the last `.certificate` effect, or what the other node showed.
    case certificate(CertificateEvent)
    case dataPlane(DataPlaneEvent)
    /// A data plane command failed; the text names what and why.
    case dataPlaneFailed(String)
    /// How much there was to do, every `OverloadConfiguration.sampleInterval`.
    case load(LoadSample)
    /// What was found out about the host.
    case health(HealthReport)
    /// All revocation lists of the configuration, read anew.
    case revocationLists([RevocationList])
    /// All addresses of this host's interfaces, as they are now.
    case localAddressesChanged([IPAddress])
    case request(RequestToken, ControlRequest)
    /// A program ended, or could not be run: once for every `.hook`.
    case hookEnded(HookCall, HookOutcome)
    /// The runner's answer to `.milestone`: when it was passed.
    case milestonePassed(TakeoverStep, at: Instant)
    /// What the watch of the kernel's connections saw that `.watchFlows` with this generation began.
    case flows(generation: UInt64, FlowReport)
    /// The answer to every `.injectFlows`, in their order.
    case flowsInjected(FlowInjectionResult)
    /// The answer to `.arbitrate` with this number. One that comes too late is not looked at.
    case arbitration(QuestionNumber, ArbiterAnswer)
    /// What became of the state on disk. A node that keeps none never hears of it.
    case state(StateEvent)
    /// A deadline that `nextDeadline()` named may be over. Late or spurious calls are harmless.
    case deadline
}

/// Everything that a node wants done, to be carried out in this order.
public enum Effect: Hashable, Sendable {
    case send(Datagram)
    case heartbeat(path: Int, bytes: [UInt8])
    case frame(PairFrame)
    /// A message to another gateway; a link is made for it if there is none.
    case transfer(to: String, CXTPMessage)
    /// Close the link; the runtime connects again by itself.
    case closeLink(reason: String)
    case dataPlane([DataPlaneCommand])
    /// Put the group's addresses on this host's interfaces.
    case claimAddresses
    /// Take them away.
    case releaseAddresses
    /// Gratuitous ARP and unsolicited neighbour advertisements for all of them.
    case announceAddresses
    case respond(RequestToken, ControlResponse)
    /// Without waiting for it: files are written.
    case certificate(CertificateStep)
    /// For registered VICI clients: logs and events.
    case control(ControlEvent)
    case log(LogLine)
    /// Run a program, without waiting for it.
    case hook(HookCall)
    /// Tell the kernel's connections: all there are, then every change. What an earlier one would still say is not wanted any more.
    case watchFlows(generation: UInt64)
    case unwatchFlows
    /// Without waiting for it.
    case injectFlows(FlowInjection)
    /// Find out without waiting for it, in the order of their numbers, and answer with `.arbitration`.
    case arbitrate(QuestionNumber, ArbiterQuestion)
    /// Which paths carry heartbeats in both directions now: for the link, which does not find out by itself that its path is dead.
    case pathsChanged(working: [Bool])
    /// Write it to disk, without waiting for it: answered by one `StateEvent`. There is one at a time.
    case state(StateOrder)
    /// Take the time here and hand it back as `.milestonePassed`.
    case milestone(TakeoverStep)
    /// Who this node is now: for the guard's patience, the notify status and the metrics.
    case roleChanged(role: NodeRole, epoch: Epoch, paired: Bool)
}

/// A structured log line; never holds a secret.
public struct LogLine: Hashable, Sendable {
    public enum Level: UInt8, CaseIterable, Hashable, Sendable {
        case debug, info, notice, warning, error

        /// As in the configuration and in `tandem events`.
        public var name: String {
            switch self {
            case .debug: "debug"
            case .info: "info"
            case .notice: "notice"
            case .warning: "warning"
            case .error: "error"
            }
        }
    }

    public var level: Level
    public var message: String
    /// Names and values, in order.
    public var fields: [Field]

    public struct Field: Hashable, Sendable {
        public var name: String
        public var value: String
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    public init(_ level: Level, _ message: String, _ fields: [Field] = []) {
        self.level = level
        self.message = message
        self.fields = fields
    }
}
