import CMNL
import Glibc
public import Session

/// The addresses of interfaces.
public enum Addresses {
    /// Puts the address on the interface; no error when it is there already.
    ///
    /// An IPv6 address is usable at once (IFA_F_NODAD): the pair itself decides who has it, and a takeover cannot wait a second
    /// for duplicate address detection.
    public static func add(_ prefix: IPPrefix, to interface: String) throws(NetlinkError) {
        let message = try message(
            RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL, prefix, interface, operation: "add address \(prefix) to \(interface)")
        do { _ = try NetlinkSocket(.route).request(message) } catch  where error.isAlreadyThere {}
    }

    /// Takes the address away; no error when it, or the interface, is not there.
    public static func remove(_ prefix: IPPrefix, from interface: String) throws(NetlinkError) {
        do {
            let message = try message(RTM_DELADDR, flags: 0, prefix, interface, operation: "remove address \(prefix) from \(interface)")
            _ = try NetlinkSocket(.route).request(message)
        } catch  where error.isNotThere {}
    }

    public static func list(of interface: String) throws(NetlinkError) -> [IPPrefix] {
        let index = try Links.index(of: interface)
        let message = NetlinkMessage(RTM_GETADDR, operation: "list addresses of \(interface)") { writer in
            writer.header(ifaddrmsg.self) { _ in }
        }
        return try NetlinkSocket(.route).dump(message).compactMap { decode($0, index: UInt32(index)) }
    }

    /// The addresses of all interfaces that can be spoken from now: none of which it is still being found out whether it is another's.
    public static func all() throws(NetlinkError) -> [IPAddress] {
        let message = NetlinkMessage(RTM_GETADDR, operation: "list addresses") { writer in
            writer.header(ifaddrmsg.self) { _ in }
        }
        let unusable = UInt8(IFA_F_TENTATIVE | IFA_F_DADFAILED)
        return try NetlinkSocket(.route).dump(message).compactMap { reply in
            guard let header = reply.header(ifaddrmsg.self), header.ifa_flags & unusable == 0 else { return nil }
            return decode(reply, index: header.ifa_index)?.address
        }
    }

    private static func message(
        _ type: Int, flags: Int32, _ prefix: IPPrefix, _ interface: String, operation: String
    ) throws(NetlinkError) -> NetlinkMessage {
        encode(type, flags: flags, prefix, index: UInt32(try Links.index(of: interface)), operation: operation)
    }

    static func encode(_ type: Int, flags: Int32, _ prefix: IPPrefix, index: UInt32, operation: String) -> NetlinkMessage {
        NetlinkMessage(type, flags: flags, operation: operation) { writer in
            writer.header(ifaddrmsg.self) {
                $0.ifa_family = UInt8(XFRMEncoding.family(prefix.address))
                $0.ifa_prefixlen = UInt8(prefix.length)
                $0.ifa_flags = prefix.address.isIPv4 ? 0 : UInt8(IFA_F_NODAD)
                $0.ifa_index = index
            }
            writer.attribute(IFA_LOCAL, bytes: prefix.address.bytes)
            writer.attribute(IFA_ADDRESS, bytes: prefix.address.bytes)
        }
    }

    private static func decode(_ reply: NetlinkReply, index: UInt32) -> IPPrefix? {
        guard reply.type == UInt16(RTM_NEWADDR), let header = reply.header(ifaddrmsg.self), header.ifa_index == index else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<ifaddrmsg>.size)
        // On a point-to-point link IFA_ADDRESS is the other end's; IPv6 has no IFA_LOCAL elsewhere.
        guard let bytes = attributes[IFA_LOCAL] ?? attributes[IFA_ADDRESS], let address = IPAddress(bytes: bytes) else {
            return nil
        }
        return IPPrefix(address, Int(header.ifa_prefixlen))
    }
}
