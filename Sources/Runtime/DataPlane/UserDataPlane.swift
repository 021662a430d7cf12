public import Cryptography
import ESP
public import Session
import Synchronization

/// ESP in user space over a TUN device: for kernels without ESP, for containers and for tests.
///
/// What is for a peer is routed into the TUN device and comes out of the gateway as ESP, or not at all; behind the unicast routes
/// stand blackholes, which outlive the process.
public final class UserDataPlane: DataPlane {
    public let kind = "user"
    public let reason: String

    private let configuration: DataPlaneConfiguration
    private let loop: PacketLoop
    private let database: SharedDatabase
    private let running = Mutex<Running?>(nil)

    private struct Running {
        let tun: TunDevice
        let processor: UserPacketProcessor
    }

    /// Commands that are carried out before packets get their turn again: some 0.2 ms.
    private static let commandCountMax = 32

    /// - Parameters:
    ///   - loop: owns the UDP sockets; its addresses get raw ESP sockets as well.
    ///   - random: of the IVs of AES-CBC.
    public init(configuration: DataPlaneConfiguration, reason: String, loop: PacketLoop, random: RandomSource = .system) {
        self.configuration = configuration
        self.reason = reason
        self.loop = loop
        database = SharedDatabase(SecurityAssociationDatabase(random: random))
    }

    /// Blackholes first, then the TUN device, then the routes into it: at no moment is there a way in clear. (A default route
    /// would catch the gateway's own ESP packets; it is refused.)
    public func start(events: @escaping @Sendable (DataPlaneEvent) -> Void) throws {
        let prefixes = configuration.protectedPrefixes
        if let prefix = prefixes.first(where: { $0.length == 0 }) { throw UserDataPlaneError.defaultRoute(prefix) }
        for prefix in prefixes { try configuration.routes.addBlackhole(prefix, RouteInstaller.blackholeMetric) }
        let raw = try loop.boundAddresses.map { address throws(PacketIOError) in
            try DatagramSocket.open(.rawESP, address: address, port: 0)
        }
        let tun = try TunDevice(name: configuration.tunName, mtu: configuration.mtu)
        for prefix in prefixes { try configuration.routes.addUnicast(prefix, tun.name) }
        let processor = UserPacketProcessor(
            tun: tun, rawSockets: SocketTable(sockets: raw), encapsulationSockets: loop.encapsulationSockets, database: database,
            counters: loop.counters, counterInterval: configuration.counterInterval, events: events)
        running.withLock { $0 = Running(tun: tun, processor: processor) }
        loop.attach(processor)
    }

    public func apply(_ commands: [DataPlaneCommand]) -> [DataPlaneFailure] {
        var failures: [DataPlaneFailure] = []
        var rest = commands[...]
        while !rest.isEmpty {
            failures += database.withLock { database in
                rest.prefix(UserDataPlane.commandCountMax).compactMap { UserDataPlane.apply($0, to: database) }
            }
            rest = rest.dropFirst(UserDataPlane.commandCountMax)
        }
        if commands.contains(where: \.stopsSending) { database.waitForSender() }
        return failures
    }

    private static func apply(_ command: DataPlaneCommand, to database: SecurityAssociationDatabase) -> DataPlaneFailure? {
        do {
            try database.apply(command)
            return nil
        } catch {
            return DataPlaneFailure(command, reason: String(describing: error))
        }
    }

    /// The counters of one CHILD SA as they are now; `nil` when it is not installed.
    public func report(inboundSPI: UInt32) -> CounterReport? { database.withLock { $0.report(inboundSPI: inboundSPI) } }

    public func statistics() -> DataPlaneStatistics {
        var statistics = database.withLock { database in
            DataPlaneStatistics(
                childSAs: database.count, gate: database.gate, inboundPackets: database.inboundPackets,
                inboundBytes: database.inboundBytes, outboundPackets: database.outboundPackets,
                outboundBytes: database.outboundBytes,
                counters: Dictionary(uniqueKeysWithValues: ESPError.allCases.map { ($0.name, database.drops($0)) }))
        }
        statistics.counters.merge(loop.statistics()) { own, _ in own }
        return statistics
    }

    /// The TUN device and the routes into it go; the blackholes stay.
    public func stop() {
        let ended = running.withLock { running in
            defer { running = nil }
            return running
        }
        guard let running = ended else { return }
        loop.detach(running.processor)
        for prefix in configuration.protectedPrefixes {
            // It goes with the device in any case.
            try? configuration.routes.removeUnicast(prefix, running.tun.name)
        }
    }
}

extension DataPlaneCommand {
    /// After it nothing leaves that could leave before.
    fileprivate var stopsSending: Bool {
        switch self {
        case .gate(let state): state != .open
        case .remove: true
        case .install, .lease, .advanceInbound, .traps: false
        }
    }
}

/// Why the user data plane cannot do what is configured.
public enum UserDataPlaneError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Peers' traffic selectors that cover every address.
    case defaultRoute(IPPrefix)

    public var description: String {
        switch self {
        case .defaultRoute(let prefix):
            "remote_ts \(prefix) covers the peers' own addresses: the user data plane cannot route it, use the kernel's"
        }
    }
}
