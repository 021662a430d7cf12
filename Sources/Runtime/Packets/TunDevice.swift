import Glibc
import Session

/// Owner of a TUN device: the host's routes lead inner packets into it, and out of it come the opened ones. It disappears with
/// its descriptor.
final class TunDevice: Sendable {
    let descriptor: Int32
    let name: String
    let mtu: Int

    /// Packets that wait for the loop: some 3 ms at a million a second.
    private static let queueLength: Int32 = 4096
    /// `ifreq`: a name of 16 octets, then a union.
    private static let requestLength = 40
    private static let nameCountMax = 15

    /// Makes the device, sets its MTU and brings it up. Needs CAP_NET_ADMIN.
    init(name: String, mtu: Int) throws(PacketIOError) {
        guard (1...TunDevice.nameCountMax).contains(name.utf8.count), (1280...65535).contains(mtu) else {
            throw PacketIOError(operation: "TUN device \(name) with MTU \(mtu)", code: EINVAL)
        }
        let descriptor = open("/dev/net/tun", O_RDWR | Linux.nonBlocking | Linux.closeOnExec)
        guard descriptor >= 0 else { throw PacketIOError("open /dev/net/tun") }
        do throws(PacketIOError) {
            try TunDevice.request(tunSetInterface, on: descriptor, name: name, value: UInt16(tunMode), "TUNSETIFF \(name)")
            try TunDevice.configure(name: name, mtu: mtu)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.name = name
        self.mtu = mtu
    }

    deinit { close(descriptor) }

    private static func configure(name: String, mtu: Int) throws(PacketIOError) {
        let control = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Linux.closeOnExec, 0)
        guard control >= 0 else { throw PacketIOError("socket for \(name)") }
        defer { close(control) }
        suppressLinkLocal(name: name)
        try request(setMTU, on: control, name: name, value: Int32(mtu), "MTU of \(name)")
        try request(setQueueLength, on: control, name: name, value: queueLength, "queue of \(name)")
        try request(setFlags, on: control, name: name, value: UInt16(IFF_UP | IFF_RUNNING | IFF_NOARP | IFF_POINTOPOINT), "\(name) up")
    }

    /// Without this the kernel sends router solicitations into the tunnel, where nothing is for them. A host without IPv6 has no
    /// such file.
    private static func suppressLinkLocal(name: String) {
        let file = open("/proc/sys/net/ipv6/conf/\(name)/addr_gen_mode", O_WRONLY | Linux.closeOnExec)
        guard file >= 0 else { return }
        _ = write(file, "1", 1)
        close(file)
    }

    /// An ioctl with an `ifreq` that holds a name and one number.
    private static func request(
        _ code: UInt, on descriptor: Int32, name: String, value: some FixedWidthInteger, _ what: String
    ) throws(PacketIOError) {
        let result = withUnsafeTemporaryAllocation(byteCount: requestLength, alignment: 8) { request in
            request.initializeMemory(as: UInt8.self, repeating: 0)
            request.copyBytes(from: name.utf8.prefix(nameCountMax))
            request.storeBytes(of: value, toByteOffset: 16, as: type(of: value))
            return ioctl(descriptor, code, request.baseAddress!)
        }
        guard result == 0 else { throw PacketIOError(what) }
    }
}

/// linux/if_tun.h and linux/sockios.h.
private let tunSetInterface: UInt = 0x4004_54CA
/// IFF_TUN | IFF_NO_PI: packets as they are.
private let tunMode: Int32 = 0x0001 | 0x1000
private let setFlags: UInt = 0x8914
private let setMTU: UInt = 0x8922
private let setQueueLength: UInt = 0x8943
private let IFF_UP: Int32 = 0x1
private let IFF_POINTOPOINT: Int32 = 0x10
private let IFF_RUNNING: Int32 = 0x40
private let IFF_NOARP: Int32 = 0x80
