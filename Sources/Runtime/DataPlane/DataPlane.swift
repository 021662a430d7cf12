public import Session

/// What encrypts and decrypts packets: the kernel's XFRM, or ESP in user space. The node cannot tell them apart.
///
/// All functions may be called from any thread.
public protocol DataPlane: AnyObject, Sendable {
    /// `kernel` or `user`.
    var kind: String { get }
    /// Why this one was taken, for `status`.
    var reason: String { get }

    /// Puts what must never pass in clear in place and begins, with the gate closed.
    ///
    /// - Parameter events: called on a thread of the data plane's; must not wait.
    /// - Throws: when the host cannot do it, with words for the operator.
    func start(events: @escaping @Sendable (DataPlaneEvent) -> Void) throws

    /// Carries out commands in order; one that fails does not stop the others.
    func apply(_ commands: [DataPlaneCommand]) -> [DataPlaneFailure]

    func statistics() -> DataPlaneStatistics

    /// Ends packet work. Protection from clear traffic stays.
    func stop()
}

/// A command that was not carried out.
public struct DataPlaneFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Which command, with the SPI of its CHILD SA: `install c1a2b3c4`.
    public var command: String
    public var reason: String

    public init(command: String, reason: String) {
        self.command = command
        self.reason = reason
    }

    /// The failure of `command`.
    public init(_ command: DataPlaneCommand, reason: String) { self.init(command: command.summary, reason: reason) }

    public var description: String { "\(command): \(reason)" }
}

extension DataPlaneCommand {
    /// The command and what it is for, without a secret.
    public var summary: String {
        switch self {
        case .install(let installation): "install \(String(installation.child.inboundSPI, radix: 16))"
        case .remove(_, let child, _, _): "remove \(String(child.inboundSPI, radix: 16))"
        case .lease(let spi, let numbers): "lease \(String(spi, radix: 16)) \(numbers.next)...\(numbers.limit)"
        case .advanceInbound(let spi, let top): "advance \(String(spi, radix: 16)) to \(top)"
        case .gate(let state): "gate \(state)"
        case .traps(let list): "traps \(list.count)"
        }
    }
}

/// Numbers for `status` and metrics; all counts since `start`.
public struct DataPlaneStatistics: Hashable, Sendable {
    public var childSAs: Int
    public var gate: GateState
    public var inboundPackets: UInt64
    /// Octets of inner packets.
    public var inboundBytes: UInt64
    public var outboundPackets: UInt64
    public var outboundBytes: UInt64
    /// Everything else that is counted, one for each reason to drop a packet among it; the names are stable.
    public var counters: [String: UInt64]

    public init(
        childSAs: Int = 0, gate: GateState = .closed, inboundPackets: UInt64 = 0, inboundBytes: UInt64 = 0,
        outboundPackets: UInt64 = 0, outboundBytes: UInt64 = 0, counters: [String: UInt64] = [:]
    ) {
        self.childSAs = childSAs
        self.gate = gate
        self.inboundPackets = inboundPackets
        self.inboundBytes = inboundBytes
        self.outboundPackets = outboundPackets
        self.outboundBytes = outboundBytes
        self.counters = counters
    }
}

/// Traffic that must never pass in clear: from behind us (a child's `local_ts`) to behind peers (its `remote_ts` or pool).
public struct ProtectedTraffic: Hashable, Sendable {
    public var local: TrafficSelector
    public var remote: TrafficSelector

    public init(local: TrafficSelector, remote: TrafficSelector) {
        self.local = local
        self.remote = remote
    }
}

/// What a data plane is made with.
public struct DataPlaneConfiguration: Sendable {
    public var protected: [ProtectedTraffic]
    /// User data plane: the TUN device's name, at most 15 octets.
    public var tunName: String
    /// User data plane: octets of the largest inner packet.
    public var mtu: Int
    /// How often SAs that moved are reported.
    public var counterInterval: Duration
    /// User data plane: how routes are made.
    public var routes: RouteInstaller

    public init(
        protected: [ProtectedTraffic] = [], tunName: String = "tandem0", mtu: Int = 1400,
        counterInterval: Duration = .milliseconds(200), routes: RouteInstaller = .none
    ) {
        self.protected = protected
        self.tunName = tunName
        self.mtu = mtu
        self.counterInterval = counterInterval
        self.routes = routes
    }

    /// The peers' prefixes, each once, in order.
    public var protectedPrefixes: [IPPrefix] {
        var seen: Set<IPPrefix> = []
        return protected.flatMap(\.remote.prefixes).filter { seen.insert($0).inserted }
    }
}

/// The routes that the user data plane needs, made by whoever speaks to the kernel. Each function is safe to repeat: what is
/// there already, or gone already, is no error.
public struct RouteInstaller: Sendable {
    /// A unicast route for a prefix into an interface, at the default metric.
    public var addUnicast: @Sendable (_ prefix: IPPrefix, _ interface: String) throws -> Void
    public var removeUnicast: @Sendable (_ prefix: IPPrefix, _ interface: String) throws -> Void
    /// A blackhole route for a prefix. It is not removed when the data plane stops or its process dies.
    public var addBlackhole: @Sendable (_ prefix: IPPrefix, _ metric: UInt32) throws -> Void
    /// For the other data plane, whose packets such a route would stop.
    public var removeBlackhole: @Sendable (_ prefix: IPPrefix, _ metric: UInt32) throws -> Void

    public init(
        addUnicast: @escaping @Sendable (_ prefix: IPPrefix, _ interface: String) throws -> Void,
        removeUnicast: @escaping @Sendable (_ prefix: IPPrefix, _ interface: String) throws -> Void,
        addBlackhole: @escaping @Sendable (_ prefix: IPPrefix, _ metric: UInt32) throws -> Void,
        removeBlackhole: @escaping @Sendable (_ prefix: IPPrefix, _ metric: UInt32) throws -> Void = { _, _ in }
    ) {
        self.addUnicast = addUnicast
        self.removeUnicast = removeUnicast
        self.addBlackhole = addBlackhole
        self.removeBlackhole = removeBlackhole
    }

    /// Leaves the routes to the operator.
    public static let none = RouteInstaller(addUnicast: { _, _ in }, removeUnicast: { _, _ in }, addBlackhole: { _, _ in })

    /// Above any metric that a route of real use has, so that a blackhole is only taken when nothing else is left.
    public static let blackholeMetric: UInt32 = 4_278_198_272
}
