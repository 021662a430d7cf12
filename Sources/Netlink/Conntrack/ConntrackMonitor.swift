import CMNL
public import Session

/// A subscription to what happens to the kernel's connections. Belongs to one thread at a time.
///
/// A kernel that tells events only while somebody listens (`net.netfilter.nf_conntrack_events` = 2) tells them of those connections
/// only that began meanwhile: it is opened before it is needed.
public final class ConntrackMonitor {
    /// NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY.
    private static let groups = [1, 2, 3]

    private let socket: NetlinkSocket

    public init() throws(NetlinkError) { socket = try NetlinkSocket(.netfilter, groups: ConntrackMonitor.groups) }

    /// Readable when there are events.
    public var descriptor: Int32 { socket.descriptor }

    /// What waits now, at most `max` datagrams of it. Never blocks.
    ///
    /// - Parameter overrun: set when the kernel had to drop some: what was missed is in the table.
    public func read(max: Int = 256, overrun: inout Bool) throws(NetlinkError) -> [FlowChange] {
        var out: [FlowChange] = []
        for _ in 0..<max {
            let replies = try socket.events(overrun: &overrun)
            if replies.isEmpty { break }
            out += replies.compactMap(ConntrackDecoding.change)
        }
        return out
    }

    /// Throws away what waits.
    public func drain() throws(NetlinkError) {
        var overrun = false
        while try !socket.events(overrun: &overrun).isEmpty {}
    }
}
