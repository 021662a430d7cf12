import CMNL
import Glibc
public import Session

/// A route of the main table.
public struct Route: Hashable, Sendable {
    public enum Target: Hashable, Sendable {
        /// Out of an interface, to the destination itself or by way of a gateway.
        case device(String, gateway: IPAddress? = nil)
        /// Dropped silently.
        case blackhole
        /// Refused with an ICMP error.
        case unreachable
    }

    public var destination: IPPrefix
    public var target: Target
    /// The lower wins; 0 is the kernel's default, which for IPv6 is 1024.
    public var metric: UInt32

    public init(_ destination: IPPrefix, _ target: Target, metric: UInt32 = 0) {
        self.destination = destination.network
        self.target = target
        self.metric = metric
    }
}

/// Routes.
public enum Routes {
    /// Puts the route in place of one with the same destination and metric, or adds it.
    public static func replace(_ route: Route) throws(NetlinkError) {
        let message = try message(
            RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_REPLACE, route, operation: "set route to \(route.destination)")
        _ = try NetlinkSocket(.route).request(message)
    }

    /// Adds the route; fails with EEXIST when there is one with the same destination and metric.
    public static func add(_ route: Route) throws(NetlinkError) {
        let message = try message(RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_EXCL, route, operation: "add route to \(route.destination)")
        _ = try NetlinkSocket(.route).request(message)
    }

    /// Takes the route away; no error when it, or its interface, is not there.
    public static func remove(_ route: Route) throws(NetlinkError) {
        do {
            let message = try message(RTM_DELROUTE, flags: 0, route, operation: "remove route to \(route.destination)")
            _ = try NetlinkSocket(.route).request(message)
        } catch  where error.isNotThere {}
    }

    private static func message(_ type: Int, flags: Int32, _ route: Route, operation: String) throws(NetlinkError) -> NetlinkMessage {
        var index: Int32?
        if case .device(let name, _) = route.target { index = try Links.index(of: name) }
        return encode(type, flags: flags, route, index: index, operation: operation)
    }

    static func encode(_ type: Int, flags: Int32, _ route: Route, index: Int32?, operation: String) -> NetlinkMessage {
        NetlinkMessage(type, flags: flags, operation: operation) { writer in
            var gateway: IPAddress?
            if case .device(_, let address) = route.target { gateway = address }
            writer.header(rtmsg.self) {
                $0.rtm_family = UInt8(XFRMEncoding.family(route.destination.address))
                $0.rtm_dst_len = UInt8(route.destination.length)
                $0.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
                $0.rtm_protocol = UInt8(RTPROT_STATIC)
                $0.rtm_scope = UInt8(index != nil && gateway == nil ? RT_SCOPE_LINK.rawValue : RT_SCOPE_UNIVERSE.rawValue)
                $0.rtm_type = UInt8(kernelType(route.target))
            }
            writer.attribute(RTA_DST.rawValue, bytes: route.destination.address.bytes)
            if let gateway { writer.attribute(RTA_GATEWAY.rawValue, bytes: gateway.bytes) }
            if let index { writer.attribute(RTA_OIF.rawValue, uint32: UInt32(index)) }
            if route.metric != 0 { writer.attribute(RTA_PRIORITY.rawValue, uint32: route.metric) }
        }
    }

    private static func kernelType(_ target: Route.Target) -> Int {
        switch target {
        case .device: Int(RTN_UNICAST)
        case .blackhole: Int(RTN_BLACKHOLE)
        case .unreachable: Int(RTN_UNREACHABLE)
        }
    }
}
