import CMNL
import Glibc

/// A network interface as the kernel shows it.
public struct Link: Hashable, Sendable {
    public var index: Int32
    public var name: String
    /// Octets.
    public var mtu: Int
    /// An operator or a program wants it up.
    public var isUp: Bool
    /// A cable, or the other end of a veth, is there.
    public var hasCarrier: Bool
    /// It can be used (RFC 2863: operational state up, or unknown to its driver).
    public var isRunning: Bool
    /// 6 octets on Ethernet, none on a TUN device.
    public var hardwareAddress: [UInt8]
}

/// Network interfaces.
public enum Links {
    /// - Throws: `NetlinkError` with ENODEV when there is none of that name.
    public static func index(of name: String) throws(NetlinkError) -> Int32 {
        let index = if_nametoindex(name)
        guard index != 0 else { throw NetlinkError(operation: "find interface \(name)", code: ENODEV) }
        return Int32(index)
    }

    public static func link(named name: String) throws(NetlinkError) -> Link {
        let index = try index(of: name)
        let message = NetlinkMessage(RTM_GETLINK, operation: "read interface \(name)") { writer in
            writer.header(ifinfomsg.self) { $0.ifi_index = index }
        }
        guard let link = try NetlinkSocket(.route).request(message).lazy.compactMap(Links.decode).first else {
            throw NetlinkError(operation: message.operation, code: 0, detail: "no answer")
        }
        return link
    }

    public static func all() throws(NetlinkError) -> [Link] {
        let message = NetlinkMessage(RTM_GETLINK, operation: "list interfaces") { writer in writer.header(ifinfomsg.self) { _ in } }
        return try NetlinkSocket(.route).dump(message).compactMap(Links.decode)
    }

    public static func setUp(_ isUp: Bool, _ name: String) throws(NetlinkError) {
        let index = try index(of: name)
        try change(index, operation: "set interface \(name) \(isUp ? "up" : "down")", flags: isUp ? UInt32(IFF_UP) : 0) { _ in }
    }

    /// - Parameter mtu: octets.
    public static func setMTU(_ mtu: Int, _ name: String) throws(NetlinkError) {
        let index = try index(of: name)
        try change(index, operation: "set MTU \(mtu) of interface \(name)", flags: nil) { writer in
            writer.attribute(IFLA_MTU, uint32: UInt32(mtu))
        }
    }

    private static func change(
        _ index: Int32, operation: String, flags: UInt32?, _ fill: (borrowing NetlinkWriter) -> Void
    ) throws(NetlinkError) {
        let message = NetlinkMessage(RTM_NEWLINK, operation: operation) { writer in
            writer.header(ifinfomsg.self) {
                $0.ifi_index = index
                guard let flags else { return }
                $0.ifi_flags = flags
                $0.ifi_change = UInt32(IFF_UP)
            }
            fill(writer)
        }
        _ = try NetlinkSocket(.route).request(message)
    }

    static func decode(_ reply: NetlinkReply) -> Link? {
        guard reply.type == UInt16(RTM_NEWLINK) || reply.type == UInt16(RTM_DELLINK), let info = reply.header(ifinfomsg.self) else {
            return nil
        }
        let attributes = reply.attributes(after: MemoryLayout<ifinfomsg>.size)
        // IFF_LOWER_UP is in linux/if.h, which glibc's net/if.h forbids.
        return Link(
            index: info.ifi_index, name: attributes.string(IFLA_IFNAME) ?? "",
            mtu: Int(attributes.value(IFLA_MTU, as: UInt32.self) ?? 0), isUp: info.ifi_flags & UInt32(IFF_UP) != 0,
            hasCarrier: info.ifi_flags & 0x10000 != 0, isRunning: info.ifi_flags & UInt32(IFF_RUNNING) != 0,
            hardwareAddress: attributes[IFLA_ADDRESS].map(Array.init) ?? [])
    }
}

/// What happened to an interface.
public enum LinkEvent: Hashable, Sendable {
    /// It is new or changed.
    case changed(Link)
    case removed(Link)
    /// The kernel had to drop events: `Links.all()` says what is.
    case overrun
}

/// A subscription to changes of interfaces. Belongs to one thread at a time.
public final class LinkMonitor {
    private let socket: NetlinkSocket

    public init() throws(NetlinkError) { socket = try NetlinkSocket(.route, groups: [Int(RTNLGRP_LINK.rawValue)]) }

    /// Readable when there are events.
    public var descriptor: Int32 { socket.descriptor }

    /// What waits now, at most `max` datagrams of it. Never blocks.
    public func read(max: Int = 64) throws(NetlinkError) -> [LinkEvent] {
        var out: [LinkEvent] = []
        for _ in 0..<max {
            var overrun = false
            let replies = try socket.events(overrun: &overrun)
            if overrun { out.append(.overrun) }
            if replies.isEmpty { break }
            for reply in replies {
                guard let link = Links.decode(reply) else { continue }
                out.append(reply.type == UInt16(RTM_DELLINK) ? .removed(link) : .changed(link))
            }
        }
        return out
    }
}
