import CMNL

/// A subscription to changes of the addresses of this host's interfaces. Belongs to one thread at a time.
public final class AddressMonitor {
    private let socket: NetlinkSocket

    public init() throws(NetlinkError) {
        socket = try NetlinkSocket(.route, groups: [Int(RTNLGRP_IPV4_IFADDR.rawValue), Int(RTNLGRP_IPV6_IFADDR.rawValue)])
    }

    /// Readable when something changed.
    public var descriptor: Int32 { socket.descriptor }

    /// Takes what waits, without blocking: what changed is asked of `Addresses.all`, which cannot be out of date.
    public func drain() throws(NetlinkError) {
        var overrun = false
        while try !socket.events(overrun: &overrun).isEmpty {}
    }
}
