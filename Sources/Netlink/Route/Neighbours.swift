import CMNL
import Glibc
public import Session

/// Tells the neighbours on a link where an address now is, from the network namespace in which it was made.
public final class Announcer: Sendable {
    /// Open as long as this stands: closing a packet socket waits for an RCU grace period, some 10 ms of a takeover.
    private let descriptor = socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)

    public init() {}

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Sends the announcements for one address out of an interface, once.
    ///
    /// For IPv4 a gratuitous ARP in both its forms (some hosts believe only the one, some only the other), for IPv6 an unsolicited
    /// neighbour advertisement with the override flag. Frames may be lost: call it again a little later.
    ///
    /// - Returns: how many frames left; 0 on an interface without hardware addresses, which has no neighbours.
    @discardableResult
    public func announce(_ address: IPAddress, on interface: String) throws(NetlinkError) -> Int {
        let link = try Links.link(named: interface)
        guard link.hardwareAddress.count == 6 else { return 0 }
        let operation = "announce \(address) on \(interface)"
        guard descriptor >= 0 else { throw NetlinkError(operation: operation, code: EACCES) }
        let frames = Neighbours.announcements(of: address, hardwareAddress: link.hardwareAddress)
        for frame in frames {
            var to = sockaddr_ll()
            to.sll_family = UInt16(AF_PACKET)
            to.sll_ifindex = link.index
            to.sll_halen = 6
            let sent = withUnsafePointer(to: &to) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    // A full queue must not hold up a takeover.
                    sendto(
                        descriptor, frame, frame.count, Int32(MSG_DONTWAIT), $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
                }
            }
            guard sent == frame.count else { throw NetlinkError(operation: operation, code: errno) }
        }
        return frames.count
    }
}

/// What is known of neighbours, and what they are told.
public enum Neighbours {
    /// Drops what waits on an interface for a neighbour that has not answered yet.
    ///
    /// When a host's links come back, the kernel would send those packets with the numbers of an owner that is none any more.
    public static func dropWaiting(on interface: String) throws(NetlinkError) {
        let index = try Links.index(of: interface)
        let operation = "read neighbours on \(interface)"
        let list = NetlinkMessage(RTM_GETNEIGH, operation: operation) { writer in
            writer.header(ndmsg.self) { _ in }
            // The kernel filters by the attribute; the header's index it does not look at.
            writer.attribute(NDA_IFINDEX, uint32: UInt32(index))
        }
        let socket = try NetlinkSocket(.route)
        for entry in try socket.dump(list) {
            guard let neighbour = entry.header(ndmsg.self), neighbour.ndm_ifindex == index,
                Int32(neighbour.ndm_state) & (NUD_INCOMPLETE | NUD_FAILED) != 0,
                let address = entry.attributes(after: MemoryLayout<ndmsg>.size)[NDA_DST]
            else { continue }
            let delete = NetlinkMessage(RTM_DELNEIGH, operation: "forget a neighbour on \(interface)") { writer in
                writer.header(ndmsg.self) {
                    $0.ndm_family = neighbour.ndm_family
                    $0.ndm_ifindex = index
                }
                writer.attribute(NDA_DST, bytes: Array(address))
            }
            do { _ = try socket.request(delete) } catch  where error.isNotThere {}
        }
    }

    static func announcements(of address: IPAddress, hardwareAddress: [UInt8]) -> [[UInt8]] {
        switch address.family {
        case .ipv4:
            [
                gratuitousARP(of: address, hardwareAddress: hardwareAddress, isReply: false),
                gratuitousARP(of: address, hardwareAddress: hardwareAddress, isReply: true),
            ]
        case .ipv6: [unsolicitedAdvertisement(of: address, hardwareAddress: hardwareAddress)]
        }
    }

    /// An Ethernet frame: ARP announcement (RFC 5227 §2.3) as a request, or the same as a reply.
    static func gratuitousARP(of address: IPAddress, hardwareAddress: [UInt8], isReply: Bool) -> [UInt8] {
        let broadcast = [UInt8](repeating: 0xFF, count: 6)
        var frame = broadcast + hardwareAddress + [0x08, 0x06]
        frame += [0, 1, 0x08, 0, 6, 4, 0, isReply ? 2 : 1]
        frame += hardwareAddress + address.bytes
        // RFC 5227 §1.1: in a request the target's hardware address is not looked at, and is 0.
        frame += (isReply ? broadcast : [UInt8](repeating: 0, count: 6)) + address.bytes
        return frame
    }

    /// An Ethernet frame: neighbour advertisement to all nodes with the override flag (RFC 4861 §4.4, §7.2.6).
    static func unsolicitedAdvertisement(of address: IPAddress, hardwareAddress: [UInt8]) -> [UInt8] {
        let allNodes = IPAddress(family: .ipv6, high: 0xFF02_0000_0000_0000, low: 1)
        // Router and override: who speaks for a gateway's address is a router; override replaces what neighbours remember.
        var message: [UInt8] = [136, 0, 0, 0, 0xA0, 0, 0, 0] + address.bytes + [2, 1] + hardwareAddress
        let sum = checksum(
            address.bytes + allNodes.bytes + [0, 0, 0, UInt8(message.count), 0, 0, 0, 58] + message)
        message[2] = UInt8(sum >> 8)
        message[3] = UInt8(sum & 0xFF)
        // RFC 4861 §7.1.2: hop limit 255 shows that no router forwarded it.
        let header: [UInt8] = [0x60, 0, 0, 0, 0, UInt8(message.count), 58, 255] + address.bytes + allNodes.bytes
        return [0x33, 0x33, 0, 0, 0, 1] + hardwareAddress + [0x86, 0xDD] + header + message
    }

    /// RFC 1071, over an even count of octets.
    static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count - 1, by: 2) { sum += UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1]) }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        return ~UInt16(sum)
    }
}
