public import Cryptography
public import Session

/// All CHILD SAs of a node, those that it owns and those that stand armed behind the gate: what RFC 4301 §4.4 calls SAD and SPD,
/// for the data plane in user space.
///
/// Not for two threads at once: its user holds a lock, taken once for a batch of packets.
public final class SecurityAssociationDatabase {
    private let pool: RandomPool
    private var bySPI: GradualDictionary<UInt32, InstalledChild> = [:]
    private var policies = PolicyTable()
    private var traps = TrapTable()
    private var moved: [InstalledChild] = []
    private var endpointChanges: [DataPlaneEvent] = []
    private var drops = [UInt64](repeating: 0, count: ESPError.allCases.count)
    private var wantsReportNow = false

    /// Closed until the node says otherwise.
    public private(set) var gate: GateState = .closed
    /// Octets are those of inner packets.
    public private(set) var inboundPackets: UInt64 = 0
    public private(set) var inboundBytes: UInt64 = 0
    public private(set) var outboundPackets: UInt64 = 0
    public private(set) var outboundBytes: UInt64 = 0

    /// Changes of endpoint that wait to be told; further ones come again with the peer's next packet.
    public static let endpointChangesMax = 256
    /// A peer's change of endpoint is told at most this often.
    public static let endpointReportInterval: Duration = .seconds(1)

    /// - Parameter random: of the IVs of AES-CBC.
    public init(random: RandomSource = .system) { pool = RandomPool(source: random) }

    /// CHILD SAs in place.
    public var count: Int { bySPI.count }

    // MARK: Commands

    /// Carries out one command; repeating it changes nothing.
    public func apply(_ command: DataPlaneCommand) throws(SADatabaseError) {
        switch command {
        case .install(let installation): try install(installation)
        case .remove(_, let child, _, _): remove(child.inboundSPI)
        case .lease(let spi, let numbers): try entry(spi).lease(numbers)
        case .advanceInbound(let spi, let top): try entry(spi).inbound.advance(to: top)
        case .gate(let state): gate = state
        case .traps(let list): traps = TrapTable(list)
        }
    }

    private func entry(_ spi: UInt32) throws(SADatabaseError) -> InstalledChild {
        guard let entry = bySPI[spi] else { throw .unknownChildSA(inboundSPI: spi) }
        return entry
    }

    private func install(_ installation: ChildInstallation) throws(SADatabaseError) {
        let child = installation.child
        guard PolicyTable.prefixes(of: child) != nil else { throw .badSelectors }
        if let standing = bySPI[child.inboundSPI], standing.isSame(as: child) {
            let policyStays =
                standing.child.remoteSelectors == child.remoteSelectors && standing.child.isRekeyed == child.isRekeyed
            if !policyStays { policies.remove(standing) }
            standing.update(installation)
            if !policyStays && !child.isRekeyed { policies.insert(standing) }
            return
        }
        let entry = try InstalledChild(installation, pool: pool)
        remove(child.inboundSPI)
        bySPI[child.inboundSPI] = entry
        // A rekeyed CHILD SA only receives: its successor is the one that sends (RFC 7296 §2.8).
        if !child.isRekeyed { policies.insert(entry) }
    }

    private func remove(_ spi: UInt32) {
        guard let entry = bySPI.removeValue(forKey: spi) else { return }
        if !entry.child.isRekeyed { policies.remove(entry) }
    }

    // MARK: Packets

    /// Opens an ESP packet in place.
    ///
    /// - Parameters:
    ///   - packet: from the SPI to the ICV.
    ///   - origin: where it came from in UDP; `nil` for ESP that came without.
    /// - Returns: where in `packet` the inner IP packet lies.
    /// - Throws: why it was dropped; it is counted already.
    public func open(
        _ packet: UnsafeMutableRawBufferPointer, from origin: Endpoint?, now: Instant
    ) throws(ESPError) -> Range<Int> {
        do throws(ESPError) {
            guard gate != .closed else { throw .inboundGateClosed }
            guard packet.count >= 8 else { throw .badLength }
            guard let entry = bySPI[UnsafeRawBufferPointer(packet).bigEndian32(at: 0)] else { throw .unknownSPI }
            let before = entry.inbound.top
            defer {
                if entry.inbound.top != before { noteInbound(entry, from: origin, now: now) }
            }
            let inner = try entry.inbound.open(packet)
            list(entry)
            inboundPackets &+= 1
            inboundBytes &+= UInt64(inner.count)
            return inner
        } catch {
            drops[Int(error.rawValue)] &+= 1
            throw error
        }
    }

    /// An ESP packet, and the way it goes.
    public struct Sealed {
        /// Where it lies in the buffer.
        public let packet: Range<Int>
        public let local: Endpoint
        public let remote: Endpoint
        /// In UDP between `local` and `remote`, else right over IP between their addresses.
        public let encapsulation: Bool
    }

    /// Makes an ESP packet, in place, of an inner packet if it belongs to a CHILD SA.
    ///
    /// - Parameters:
    ///   - buffer: with `OutboundSA.headerLengthMax` octets before the inner packet and the rest of `OutboundSA.overheadMax` after.
    ///   - payload: where in `buffer` the inner packet lies.
    /// - Throws: why it was dropped; it is counted already.
    public func seal(in buffer: UnsafeMutableRawBufferPointer, payload: Range<Int>) throws(ESPError) -> Sealed {
        do throws(ESPError) {
            guard gate == .open else { throw .outboundGateClosed }
            guard payload.lowerBound >= 0, payload.upperBound <= buffer.count else { throw .tooLong }
            guard let flow = PacketFlow(UnsafeRawBufferPointer(rebasing: buffer[payload])), flow.length == payload.count else {
                throw .malformedOutboundPacket
            }
            guard let entry = policies.lookup(flow) else {
                traps.note(flow)
                throw .noPolicy
            }
            return try seal(entry, in: buffer, payload: payload)
        } catch {
            drops[Int(error.rawValue)] &+= 1
            throw error
        }
    }

    private func seal(
        _ entry: InstalledChild, in buffer: UnsafeMutableRawBufferPointer, payload: Range<Int>
    ) throws(ESPError) -> Sealed {
        // Also when the lease is exhausted: the node has to be told again, and again.
        list(entry)
        let packet = try entry.outbound.seal(in: buffer, payload: payload)
        if entry.crossesHalfway() { wantsReportNow = true }
        outboundPackets &+= 1
        outboundBytes &+= UInt64(payload.count)
        return Sealed(
            packet: packet, local: entry.installation.local, remote: entry.installation.remote,
            encapsulation: entry.installation.encapsulation)
    }

    @inline(__always)
    private func list(_ entry: InstalledChild) {
        guard !entry.isListed else { return }
        entry.isListed = true
        moved.append(entry)
    }

    /// An authentic packet, newer than all before it, shows where the peer is now (RFC 7296 §2.23). We say so and go on as before
    /// until the node decides.
    private func noteInbound(_ entry: InstalledChild, from origin: Endpoint?, now: Instant) {
        list(entry)
        guard let origin, entry.installation.encapsulation, origin != entry.installation.remote else { return }
        if let last = entry.endpointReported, now < last + SecurityAssociationDatabase.endpointReportInterval { return }
        guard endpointChanges.count < SecurityAssociationDatabase.endpointChangesMax else { return }
        entry.endpointReported = now
        endpointChanges.append(.endpointChanged(inboundSPI: entry.child.inboundSPI, remote: origin))
    }

    // MARK: Reports

    /// Reports of SAs that moved since they were last reported, at most `limit`; call again while it is full.
    public func collectReports(limit: Int) -> [CounterReport] {
        var reports: [CounterReport] = []
        reports.reserveCapacity(min(limit, moved.count))
        while reports.count < limit, let entry = moved.popLast() {
            entry.isListed = false
            // One that was removed since is still in the list.
            if bySPI[entry.child.inboundSPI] === entry { reports.append(entry.report) }
        }
        return reports
    }

    /// The counters of one CHILD SA; `nil` when it is not installed.
    public func report(inboundSPI: UInt32) -> CounterReport? { bySPI[inboundSPI]?.report }

    /// True once after an SA has used half of its lease: report now, not at the end of the interval.
    public func takeWantsReportNow() -> Bool {
        defer { wantsReportNow = false }
        return wantsReportNow
    }

    /// Peers that were seen at another endpoint since the last call.
    public func takeEndpointChanges() -> [DataPlaneEvent] {
        guard !endpointChanges.isEmpty else { return [] }
        defer { endpointChanges.removeAll(keepingCapacity: true) }
        return endpointChanges
    }

    /// Packets that called for a CHILD SA since the last call.
    public func takeAcquisitions(at now: Instant) -> [DataPlaneEvent] { traps.take(at: now) }

    /// Packets dropped for this reason.
    public func drops(_ reason: ESPError) -> UInt64 { drops[Int(reason.rawValue)] }
}
