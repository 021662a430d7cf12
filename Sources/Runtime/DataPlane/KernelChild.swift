import Netlink
import Session

/// A CHILD SA as it stands in the kernel, and what is known of its numbers.
///
/// The outbound SA's packet counter is kept equal to its sequence number: it starts at the number before the first one, and each
/// packet raises both by one. So the kernel's packet limit is a limit on sequence numbers, and the kernel itself stops an SA at the end
/// of its lease (law 3).
struct KernelChild {
    /// Inbound numbers that may be late and are still taken: 12 ms at a gigabit's 85,000 packets a second.
    private static let inboundWindow: UInt32 = 1024
    /// Only a form: an outbound SA has no window, but the kernel wants one beside extended numbers.
    private static let outboundWindow: UInt32 = 32
    /// Numbers left out when an SA is made anew at another address. What is sent between reading the number and deleting the SA,
    /// which is one system call, is far less.
    static let moveGap: UInt64 = 1 << 16

    /// Numbers end here, so that none can overflow: an SA that comes to it sends nothing more. `Lease.sliceMax` leaves more room.
    private static let numberMax = UInt64.max - (1 << 29)

    var installation: ChildInstallation
    /// One for the CHILD SAs of a session with the same selectors, so that what comes on the old SA of a rekey is still let in.
    let requestID: UInt32
    /// Of the outward direction.
    let selectors: [XFRMSelector]
    /// Each installed CHILD SA has a higher one than those before it.
    let order: UInt64
    /// No number up to this one may be used.
    private(set) var lastSent: UInt64
    private(set) var limit: UInt64
    private(set) var top: UInt64
    /// The outbound SA is there: it has not come to the end of its lease.
    var isSending = true
    private(set) var inbound = Account()
    private(set) var outbound = Account()

    /// Packets and octets from what the kernel's counter was and is, whatever it was set to in between.
    struct Account {
        private(set) var packets: UInt64 = 0
        private(set) var bytes: UInt64 = 0
        fileprivate(set) var seen: XFRM.UseCounters = XFRM.UseCounters(packets: 0, bytes: 0)

        /// - Returns: how many packets and octets are new.
        fileprivate mutating func observe(packets: UInt64, bytes: UInt64) -> XFRM.UseCounters {
            let new = XFRM.UseCounters(
                packets: packets > seen.packets ? packets - seen.packets : 0, bytes: bytes > seen.bytes ? bytes - seen.bytes : 0)
            seen = XFRM.UseCounters(packets: max(packets, seen.packets), bytes: max(bytes, seen.bytes))
            self.packets += new.packets
            self.bytes += new.bytes
            return new
        }
    }

    init(_ installation: ChildInstallation, requestID: UInt32, selectors: [XFRMSelector], order: UInt64) {
        self.installation = installation
        self.requestID = requestID
        self.selectors = selectors
        self.order = order
        lastSent = min(max(installation.numbers.next, 1) - 1, KernelChild.numberMax)
        limit = min(installation.numbers.limit, KernelChild.numberMax)
        top = installation.child.inboundTop
        outbound.seen.packets = lastSent
    }

    // MARK: Numbers

    /// The number before the next one is raised, not lowered.
    ///
    /// - Returns: whether it was lower.
    mutating func raise(next: UInt64) -> Bool {
        guard next > lastSent + 1, lastSent < KernelChild.numberMax else { return false }
        lastSent = min(next - 1, KernelChild.numberMax)
        outbound.seen.packets = max(outbound.seen.packets, lastSent)
        return true
    }

    mutating func raise(limit: UInt64) -> Bool {
        guard min(limit, KernelChild.numberMax) > self.limit else { return false }
        self.limit = min(limit, KernelChild.numberMax)
        return true
    }

    mutating func raise(top: UInt64) -> Bool {
        guard top > self.top else { return false }
        self.top = top
        return true
    }

    /// What the kernel says of the outbound SA.
    mutating func observeOutbound(_ counters: XFRMCounters) -> XFRM.UseCounters {
        let new = outbound.observe(packets: counters.packets, bytes: counters.bytes)
        lastSent = min(max(lastSent, counters.lastSent, counters.packets), KernelChild.numberMax)
        return new
    }

    mutating func observeInbound(_ counters: XFRMCounters) -> XFRM.UseCounters {
        top = max(top, counters.top)
        return inbound.observe(packets: counters.packets, bytes: counters.bytes)
    }

    /// The kernel deleted the outbound SA at the end of its lease: no number of it is left.
    mutating func outboundExpired() {
        isSending = false
        lastSent = max(lastSent, limit)
    }

    /// Numbers that are left of the lease.
    var left: UInt64 { limit > lastSent ? limit - lastSent : 0 }

    /// Both SAs are made anew elsewhere.
    mutating func move(to installation: ChildInstallation, wasSending: Bool) {
        self.installation = installation
        // The new SA's counter starts at `lastSent`, its octets at 0; the inbound one's both at 0.
        if wasSending { lastSent = min(lastSent + KernelChild.moveGap, KernelChild.numberMax) }
        outbound.seen = XFRM.UseCounters(packets: lastSent, bytes: 0)
        inbound.seen = XFRM.UseCounters(packets: 0, bytes: 0)
    }

    /// The outbound SA alone is made anew, after it ended.
    mutating func restartOutbound() {
        isSending = true
        outbound.seen = XFRM.UseCounters(packets: lastSent, bytes: 0)
    }

    var report: CounterReport {
        CounterReport(
            inboundSPI: installation.child.inboundSPI, inboundTop: top, outboundNext: lastSent + 1, inboundPackets: inbound.packets,
            inboundBytes: inbound.bytes, outboundPackets: outbound.packets, outboundBytes: outbound.bytes)
    }

    // MARK: What the kernel is given

    var inboundID: XFRMStateID {
        XFRMStateID(destination: installation.local.address, spi: installation.child.inboundSPI)
    }

    var outboundID: XFRMStateID {
        XFRMStateID(destination: installation.remote.address, spi: installation.child.outboundSPI)
    }

    private var isExtended: Bool { installation.child.algorithms.extendedSequenceNumbers }

    var inboundReplay: XFRMReplay { XFRMReplay(window: KernelChild.inboundWindow, isExtended: isExtended, top: top) }

    var outboundReplay: XFRMReplay { XFRMReplay(window: KernelChild.outboundWindow, isExtended: isExtended, lastSent: lastSent) }

    func inboundState(thresholds: XFRMReportThresholds) -> XFRMState {
        let (child, local, remote) = (installation.child, installation.local, installation.remote)
        return XFRMState(
            id: inboundID, source: remote.address, requestID: requestID, mode: child.mode, cipher: child.algorithms.cipher,
            integrity: child.algorithms.integrity, keys: child.inboundKeys,
            encapsulation: installation.encapsulation
                ? XFRMEncapsulation(sourcePort: remote.port, destinationPort: local.port) : nil, replay: inboundReplay,
            thresholds: thresholds)
    }

    /// The soft limit, half way, makes the kernel speak up long before the end, even should every report be lost.
    func outboundState(thresholds: XFRMReportThresholds) -> XFRMState {
        let (child, local, remote) = (installation.child, installation.local, installation.remote)
        return XFRMState(
            id: outboundID, source: local.address, requestID: requestID, mode: child.mode, cipher: child.algorithms.cipher,
            integrity: child.algorithms.integrity, keys: child.outboundKeys,
            encapsulation: installation.encapsulation
                ? XFRMEncapsulation(sourcePort: local.port, destinationPort: remote.port) : nil, replay: outboundReplay,
            packets: lastSent, limits: XFRMPacketLimits(soft: lastSent + left / 2, hard: max(limit, lastSent)), thresholds: thresholds)
    }

    /// The outbound template names the SPI, so that the newest SA sends, whichever the kernel would pick of those with the same request
    /// id; the inbound one only the request id.
    var claim: KernelPolicies.Claim {
        let (child, local, remote) = (installation.child, installation.local.address, installation.remote.address)
        return KernelPolicies.Claim(
            inboundSPI: child.inboundSPI, order: order, isRekeyed: child.isRekeyed,
            out: XFRMTemplate(source: local, destination: remote, requestID: requestID, spi: child.outboundSPI, mode: child.mode),
            into: XFRMTemplate(source: remote, destination: local, requestID: requestID, mode: child.mode))
    }
}
