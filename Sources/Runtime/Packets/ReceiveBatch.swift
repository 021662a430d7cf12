import CLinux
import Glibc
import Session

/// Room for one `recvmmsg`: everything is allocated once.
struct ReceiveBatch: ~Copyable {
    /// Messages a call: enough to make the call cheap, few enough that the other sockets wait under 0.2 ms.
    static let capacity = 64
    /// The largest UDP payload, and a raw IPv4 packet with its header.
    static let bufferLength = 65536
    /// Not a power of two, so that the packets' first lines do not all meet in the same cache set.
    private static let bufferStride = bufferLength + 27 * 64

    private let buffers: UnsafeMutableRawPointer
    private let names: UnsafeMutableRawPointer
    private let controls: UnsafeMutableRawPointer
    private let parts: UnsafeMutablePointer<iovec>
    private let messages: UnsafeMutablePointer<tandem_mmsghdr>

    init() {
        let capacity = ReceiveBatch.capacity
        buffers = .allocate(byteCount: capacity * ReceiveBatch.bufferStride, alignment: 64)
        names = .allocate(byteCount: capacity * SocketAddress.capacity, alignment: 8)
        controls = .allocate(byteCount: capacity * PacketInfo.capacity, alignment: 8)
        parts = .allocate(capacity: capacity)
        messages = .allocate(capacity: capacity)
        for index in 0..<capacity {
            let buffer = buffers + index * ReceiveBatch.bufferStride
            (parts + index).initialize(to: iovec(iov_base: buffer, iov_len: ReceiveBatch.bufferLength))
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
        buffers.deallocate()
    }

    /// Takes what is there, without waiting.
    ///
    /// - Returns: how many messages; -1 when the call failed.
    func receive(from socket: DatagramSocket) -> Int {
        for index in 0..<ReceiveBatch.capacity {
            messages[index].msg_hdr.msg_namelen = socklen_t(SocketAddress.capacity)
            messages[index].msg_hdr.msg_control = socket.isWildcard ? controls + index * PacketInfo.capacity : nil
            messages[index].msg_hdr.msg_controllen = socket.isWildcard ? PacketInfo.capacity : 0
        }
        let count = tandem_recvmmsg(
            socket.descriptor, messages, UInt32(ReceiveBatch.capacity), Int32(MSG_DONTWAIT))
        if count < 0 { return errno == EAGAIN || errno == EINTR ? 0 : -1 }
        return min(Int(count), ReceiveBatch.capacity)
    }

    /// The octets of message `index` of the last `receive`.
    @inline(__always)
    func bytes(_ index: Int) -> UnsafeMutableRawBufferPointer {
        precondition(index >= 0 && index < ReceiveBatch.capacity)
        let length = min(Int(messages[index].msg_len), ReceiveBatch.bufferLength)
        return UnsafeMutableRawBufferPointer(start: buffers + index * ReceiveBatch.bufferStride, count: length)
    }

    @inline(__always)
    func isTruncated(_ index: Int) -> Bool { messages[index].msg_hdr.msg_flags & Int32(MSG_TRUNC) != 0 }

    @inline(__always)
    func remote(_ index: Int) -> Endpoint? {
        SocketAddress.read(names + index * SocketAddress.capacity, length: messages[index].msg_hdr.msg_namelen)
    }

    /// Which of the socket's addresses message `index` came to.
    func local(_ index: Int, on socket: DatagramSocket) -> Endpoint {
        guard socket.isWildcard else { return Endpoint(socket.address, socket.port) }
        let length = Int(messages[index].msg_hdr.msg_controllen)
        let address = PacketInfo.read(controls + index * PacketInfo.capacity, length: min(length, PacketInfo.capacity))
        return Endpoint(address ?? socket.address, socket.port)
    }
}
