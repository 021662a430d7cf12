import CLinux
import Glibc
import Session

/// Packets on their way to `sendmmsg`, kept in their order: a packet for another socket sends those before it.
///
/// Holds pointers to the packets' buffers, which must stand until `flush`.
struct SendBatch: ~Copyable {
    static let capacity = 64

    private let names: UnsafeMutableRawPointer
    private let controls: UnsafeMutableRawPointer
    private let parts: UnsafeMutablePointer<iovec>
    private let messages: UnsafeMutablePointer<tandem_mmsghdr>
    private let counters: PacketCounters
    private var socket: DatagramSocket?
    private var count = 0

    init(counters: PacketCounters) {
        self.counters = counters
        let capacity = SendBatch.capacity
        names = .allocate(byteCount: capacity * SocketAddress.capacity, alignment: 8)
        controls = .allocate(byteCount: capacity * PacketInfo.capacity, alignment: 8)
        parts = .allocate(capacity: capacity)
        messages = .allocate(capacity: capacity)
        for index in 0..<capacity {
            (parts + index).initialize(to: iovec())
            var message = tandem_mmsghdr()
            message.msg_hdr.msg_name = names + index * SocketAddress.capacity
            message.msg_hdr.msg_iov = parts + index
            message.msg_hdr.msg_iovlen = 1
            (messages + index).initialize(to: message)
        }
    }

    deinit {
        messages.deallocate()
        parts.deallocate()
        controls.deallocate()
        names.deallocate()
    }

    /// - Parameter source: the address that it leaves from, if the socket is for all.
    @inline(__always)
    mutating func append(
        _ packet: UnsafeMutableRawBufferPointer, to remote: Endpoint, from source: IPAddress, through socket: DatagramSocket
    ) {
        if count == SendBatch.capacity || (count > 0 && self.socket !== socket) { flush() }
        self.socket = socket
        parts[count] = iovec(iov_base: packet.baseAddress, iov_len: packet.count)
        // A raw socket has no port: Linux wants 0 there for IPv6.
        let port = socket.port == 0 ? 0 : remote.port
        messages[count].msg_hdr.msg_namelen = SocketAddress.write(remote.address, port: port, to: names + count * SocketAddress.capacity)
        let control = controls + count * PacketInfo.capacity
        messages[count].msg_hdr.msg_control = socket.isWildcard ? control : nil
        messages[count].msg_hdr.msg_controllen = socket.isWildcard ? PacketInfo.write(source: source, to: control) : 0
        count += 1
    }

    /// Sends what was appended. What the system does not take now is dropped and counted: the loop waits for nobody.
    mutating func flush() {
        guard let socket, count > 0 else { return }
        var done = 0
        var sent = 0
        while done < count {
            let result = tandem_sendmmsg(
                socket.descriptor, messages + done, UInt32(count - done), Int32(MSG_DONTWAIT))
            if result > 0 {
                sent += Int(result)
                done += Int(result)
            } else if errno == EAGAIN || errno == ENOBUFS {
                break
            } else if errno != EINTR {
                // This one cannot go (no route, say); the next may.
                done += 1
            }
        }
        counters.add(.espSent, sent)
        counters.add(.espSendFailed, count - sent)
        count = 0
        self.socket = nil
    }
}
