import CMNL
import Glibc

/// What IKE's own UDP sockets need beside an XFRM data plane.
public enum XFRMSockets {
    /// Takes the socket's packets out of every policy, in both directions: IKE must pass where nothing else may.
    public static func bypassPolicies(of descriptor: Int32, isIPv6: Bool) throws(NetlinkError) {
        for direction in [XFRM_POLICY_IN, XFRM_POLICY_OUT] {
            var policy = xfrm_userpolicy_info()
            policy.sel.family = UInt16(isIPv6 ? AF_INET6 : AF_INET)
            policy.lft.soft_byte_limit = .max
            policy.lft.hard_byte_limit = .max
            policy.lft.soft_packet_limit = .max
            policy.lft.hard_packet_limit = .max
            policy.dir = UInt8(direction)
            policy.action = UInt8(XFRM_POLICY_ALLOW)
            // IP_XFRM_POLICY, IPV6_XFRM_POLICY: not in glibc's headers that Swift sees.
            let (level, option): (Int32, Int32) = isIPv6 ? (41, 35) : (0, 17)
            guard setsockopt(descriptor, level, option, &policy, socklen_t(MemoryLayout<xfrm_userpolicy_info>.size)) == 0 else {
                throw NetlinkError(operation: "set the socket's bypass policy", code: errno)
            }
        }
    }

    /// Lets the kernel take ESP in UDP (RFC 3948) from the socket of port 4500; what has the non-ESP marker still comes through it.
    public static func decapsulateESP(on descriptor: Int32) throws(NetlinkError) {
        var kind: Int32 = 2  // UDP_ENCAP_ESPINUDP
        // SOL_UDP, UDP_ENCAP
        guard setsockopt(descriptor, 17, 100, &kind, 4) == 0 else {
            throw NetlinkError(operation: "let the kernel decapsulate ESP in UDP", code: errno)
        }
    }
}
