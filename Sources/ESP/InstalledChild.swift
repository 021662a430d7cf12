import Session

/// A CHILD SA as it stands in the database.
final class InstalledChild {
    private(set) var installation: ChildInstallation
    let outbound: OutboundSA
    let inbound: InboundSA
    private(set) var selectors: ChildSelectors
    /// Past this number half of the lease is used, and the node should hear of it at once.
    private(set) var halfway: UInt64
    /// Waits in the database's list of SAs that moved since the last report.
    var isListed = false
    /// When the last `endpointChanged` left, so that a peer cannot make more of them than one a second.
    var endpointReported: Instant?

    init(_ installation: ChildInstallation, pool: RandomPool) throws(SADatabaseError) {
        self.installation = installation
        outbound = try OutboundSA(installation: installation, pool: pool)
        inbound = try InboundSA(installation: installation)
        selectors = ChildSelectors(installation.child)
        halfway = InstalledChild.middle(of: outbound)
    }

    var child: ChildSA { installation.child }

    /// The same SA: only then do its counters and keys live on.
    func isSame(as other: ChildSA) -> Bool {
        child.outboundSPI == other.outboundSPI && child.algorithms.cipher == other.algorithms.cipher
            && child.algorithms.integrity == other.algorithms.integrity
            && child.algorithms.extendedSequenceNumbers == other.algorithms.extendedSequenceNumbers
            && child.outboundKeys == other.outboundKeys && child.inboundKeys == other.inboundKeys
    }

    /// Endpoints, selectors, lease and replay window from a repeated installation.
    func update(_ installation: ChildInstallation) {
        self.installation = installation
        selectors = ChildSelectors(installation.child)
        inbound.selectors = selectors
        inbound.advance(to: installation.child.inboundTop)
        lease(installation.numbers)
    }

    func lease(_ numbers: LeasedNumbers) {
        let before = (outbound.next, outbound.limit)
        outbound.lease(numbers)
        if (outbound.next, outbound.limit) != before { halfway = InstalledChild.middle(of: outbound) }
    }

    private static func middle(of outbound: OutboundSA) -> UInt64 {
        outbound.limit > outbound.next ? outbound.next + (outbound.limit - outbound.next) / 2 : outbound.limit
    }

    /// Said once for each lease: the mark is moved out of reach.
    func crossesHalfway() -> Bool {
        guard outbound.next > halfway else { return false }
        halfway = .max
        return true
    }

    /// Of two that fit a packet, which sends: the newer. The same on both nodes, whatever order they installed them in.
    func isNewer(than other: InstalledChild) -> Bool {
        (child.establishedWallMilliseconds, child.uniqueID, child.inboundSPI)
            > (other.child.establishedWallMilliseconds, other.child.uniqueID, other.child.inboundSPI)
    }

    var report: CounterReport {
        CounterReport(
            inboundSPI: child.inboundSPI, inboundTop: inbound.top, outboundNext: outbound.next, inboundPackets: inbound.packets,
            inboundBytes: inbound.bytes, outboundPackets: outbound.packets, outboundBytes: outbound.bytes)
    }
}
