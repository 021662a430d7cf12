import Glibc
public import Netlink
public import Session
import Synchronization

/// ESP in the kernel, by XFRM.
///
/// For all configured traffic there are block policies, and they never go away while the process lives, nor when it dies: with the gate
/// open they stand behind every tunnel and catch what has none, with the gate closed before every tunnel. One request each moves them,
/// so that opening takes as long for one session as for a hundred thousand. IKE's own sockets must be exempt
/// (`XFRMSockets.bypassPolicies`), and the UDP socket of port 4500 must let the kernel decapsulate (`XFRMSockets.decapsulateESP`).
/// Forwarded packets need some route towards the peers' addresses, as the default route usually is, to get as far as the policies.
///
/// A lease is enforced by the kernel (see `KernelChild`): past its limit the outbound SA is gone, and a later `lease` makes it anew.
public final class KernelDataPlane: DataPlane {
    public let kind = "kernel"
    public let reason: String

    private let configuration: DataPlaneConfiguration
    private var interval: Duration { configuration.counterInterval }
    private let database: Mutex<KernelDatabase>
    private let thread = Mutex<KernelEventThread?>(nil)

    /// An SA reports at the latest after so many packets: a quarter of a thousandth of a lease.
    private static let reportPacketsMax: UInt32 = 4096

    /// - Parameter support: what `XFRM.supportsESP()` found.
    /// - Throws: `NetlinkError` when the kernel cannot be spoken to.
    public init(configuration: DataPlaneConfiguration, support: ESPSupport) throws(NetlinkError) {
        reason = support.reason
        self.configuration = configuration
        let ticks = configuration.counterInterval.inNanoseconds * Int64(support.ticksPerSecond ?? 250) / 1_000_000_000
        let xfrm = try XFRM()
        database = Mutex(
            KernelDatabase(
                xfrm: xfrm, protected: configuration.protected,
                thresholds: XFRMReportThresholds(packets: KernelDataPlane.reportPacketsMax, ticks: UInt32(clamping: max(ticks, 1)))))
    }

    public func start(events: @escaping @Sendable (DataPlaneEvent) -> Void) throws {
        try database.withLock { try $0.start() }
        // Now that the policies stand: a route that the user data plane left would keep packets from them.
        for prefix in configuration.protectedPrefixes {
            try configuration.routes.removeBlackhole(prefix, RouteInstaller.blackholeMetric)
        }
        let monitor = try XFRMMonitor()
        let reader = try XFRM()
        let thread = try KernelEventThread(monitor: monitor, coalescing: interval / 4) { [weak self] in
            guard let self else { return nil }
            return self.note($0, reader: reader, events: events)
        }
        self.thread.withLock { $0 = thread }
    }

    public func apply(_ commands: [DataPlaneCommand]) -> [DataPlaneFailure] { database.withLock { $0.apply(commands) } }

    public func statistics() -> DataPlaneStatistics { database.withLock { $0.statistics } }

    /// The block policies stay, closed: a gateway whose daemon has ended passes nothing in clear. `removeProtection` takes them away.
    public func stop() {
        thread.withLock { thread in
            thread?.stop()
            thread = nil
        }
        // What cannot be said to the kernel now was left closed or is taken away by the next `start`.
        try? database.withLock { try $0.stop() }
    }

    /// Shuts the gate and takes the SAs of a process that is dead or frozen away: for `tandem fence`. Needs nothing of that process.
    public static func fence() throws(NetlinkError) {
        let xfrm = try XFRM()
        let blocks = try xfrm.policies().filter { $0.id.tag == KernelPolicies.blockTag }
        let closed = blocks.map {
            XFRM.Request.setPolicy(XFRMPolicy(id: $0.id, priority: KernelPolicies.blockPriority($0.id.direction, .closed), action: .block))
        }
        for case .failed(let error) in try xfrm.perform(closed) { throw error }
        try KernelDatabase.removeTunnels(xfrm, keeping: nil)
    }

    /// Takes away everything of ours in the kernel, the blocks too: what was protected may pass in clear from then on, unless
    /// the user data plane stands in its place. Nothing is there to take on a kernel without XFRM.
    public static func removeProtection() throws(NetlinkError) {
        guard let xfrm = try? XFRM() else { return }
        try KernelDatabase.removeTunnels(xfrm, keeping: [])
    }

    // MARK: The kernel's events

    /// Notes events; reports what moved when it is time, or at once when a lease comes to its end.
    ///
    /// - Returns: whether something waits to be reported.
    private func note(_ round: KernelEventThread.Round, reader: XFRM, events: (DataPlaneEvent) -> Void) -> KernelEventThread.Wish {
        var urgent = false
        var others: [DataPlaneEvent] = []
        if round.events.contains(.overrun) { readAll(reader) }
        let wish = database.withLock { database in
            for event in round.events {
                switch event {
                case .counters(let counters): database.note(counters)
                case .expired(let counters, let isHard): if database.noteExpiry(counters, isHard: isHard) { urgent = true }
                case .moved(let id, let remote):
                    guard let spi = database.movedChild(id, remote: remote) else { continue }
                    others.append(.endpointChanged(inboundSPI: spi, remote: remote))
                case .acquired(let acquire):
                    if let event = database.trapped(acquire) { others.append(event) }
                case .overrun: database.noteOverrun()
                }
            }
            guard round.isDue || urgent else { return (reports: [CounterReport](), waiting: database.hasReports) }
            return (reports: database.takeReports(), waiting: false)
        }
        others.forEach(events)
        if !wish.reports.isEmpty { events(.counters(wish.reports)) }
        return wish.waiting ? .report : .nothing
    }

    /// Outside of the lock, since it may be long.
    private func readAll(_ reader: XFRM) {
        guard let states = try? reader.states() else { return }
        for part in stride(from: 0, to: states.count, by: 1024) {
            database.withLock { database in states[part..<min(part + 1024, states.count)].forEach { database.note($0) } }
        }
    }
}
