import CMNL
public import Session

/// What the kernel says unasked of its SAs.
public enum XFRMEvent: Hashable, Sendable {
    /// An SA's numbers moved (XFRM_MSG_NEWAE), and not because of a request.
    case counters(XFRMCounters)
    /// The packet limit was reached. Only `packets` and `bytes` of the counters are known. After a hard limit the SA is gone.
    case expired(XFRMCounters, isHard: Bool)
    /// A valid packet to the SA came from another endpoint.
    case moved(XFRMStateID, remote: Endpoint)
    /// A packet matched a policy whose SA is not there.
    case acquired(XFRMAcquire)
    /// The kernel had to drop events: what was missed is in `XFRM.states()`.
    case overrun
}

/// The kernel's question for an SA (XFRM_MSG_ACQUIRE).
public struct XFRMAcquire: Hashable, Sendable {
    /// Of the policy's template.
    public var requestID: UInt32
    /// Of the packet.
    public var source: TrafficSelector
    public var destination: TrafficSelector
}

/// A subscription to the kernel's events about SAs. Belongs to one thread at a time.
public final class XFRMMonitor {
    private let socket: NetlinkSocket

    /// - Throws: `NetlinkError`, for instance EPERM without CAP_NET_ADMIN.
    public init() throws(NetlinkError) {
        socket = try NetlinkSocket(
            .xfrm, groups: [XFRMNLGRP_AEVENTS, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_ACQUIRE].map { Int($0.rawValue) })
    }

    /// Readable when there are events.
    public var descriptor: Int32 { socket.descriptor }

    /// What waits now, at most `max` datagrams of it; empty when nothing does. Never blocks.
    public func read(max: Int = 256) throws(NetlinkError) -> [XFRMEvent] {
        var out: [XFRMEvent] = []
        for _ in 0..<max {
            var overrun = false
            let replies = try socket.events(overrun: &overrun)
            if overrun { out.append(.overrun) }
            if replies.isEmpty { break }
            out += replies.compactMap(XFRMMonitor.event)
        }
        return out
    }

    private static func event(_ reply: NetlinkReply) -> XFRMEvent? {
        if let (counters, causedByUs) = XFRMDecoding.counters(event: reply) { return causedByUs ? nil : .counters(counters) }
        if let (counters, isHard) = XFRMDecoding.expiry(reply) { return .expired(counters, isHard: isHard) }
        if let acquire = XFRMDecoding.acquire(reply) { return .acquired(acquire) }
        return XFRMDecoding.mapping(reply).map { .moved($0.id, remote: $0.remote) }
    }
}
