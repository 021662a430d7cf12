import CMNL
import Glibc

/// The one owner of one netlink socket: requests with their answers in order, or a subscription to groups.
///
/// The kernel handles a request inside `sendmsg`, so that every answer waits in the receive queue when it returns.
/// Belongs to one thread at a time.
final class NetlinkSocket {
    enum Family: Int32 {
        case route = 0  // NETLINK_ROUTE
        case xfrm = 6  // NETLINK_XFRM
        case netfilter = 12  // NETLINK_NETFILTER
    }

    /// As many messages in one `sendmsg` as their answers fit the receive queue, should every one fail: 128 KiB of answers.
    static let batchCountMax = 128
    /// The kernel refuses more than its send buffer (208 KiB by default) at once.
    static let batchBytesMax = 65_536
    /// Answers and events that the kernel keeps for us: some 4,000 events, 4 s of a thousand SAs each reporting.
    static let receiveBufferBytes: Int32 = 4 << 20
    /// The kernel answers at once. Longer than this, and something is broken.
    static let answerTimeoutMs: Int32 = 2000

    private let handle: OpaquePointer
    private var sequence: UInt32 = UInt32(truncatingIfNeeded: time(nil))
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    /// A request was given up, or answers were lost: some may still come, and the kernel may have an overrun to tell.
    private var mayHoldStale = false

    /// The file descriptor, for `poll` and `epoll` only.
    var descriptor: Int32 { mnl_socket_get_fd(handle) }

    init(_ family: Family, groups: [Int] = []) throws(NetlinkError) {
        guard let handle = mnl_socket_open2(family.rawValue, Int32(SOCK_CLOEXEC.rawValue)) else {
            throw NetlinkError(operation: "open netlink socket", code: errno)
        }
        self.handle = handle
        guard mnl_socket_bind(handle, 0, 0) == 0 else { throw NetlinkError(operation: "bind netlink socket", code: errno) }
        var size = NetlinkSocket.receiveBufferBytes
        if setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, 4) != 0 { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4) }
        // Short errors with the kernel's own words; kernels that know neither answer as they always did.
        var on: Int32 = 1
        mnl_socket_setsockopt(handle, Int32(NETLINK_CAP_ACK), &on, 4)
        mnl_socket_setsockopt(handle, Int32(NETLINK_EXT_ACK), &on, 4)
        for group in groups {
            var value = Int32(group)
            guard mnl_socket_setsockopt(handle, Int32(NETLINK_ADD_MEMBERSHIP), &value, 4) == 0 else {
                throw NetlinkError(operation: "join netlink group \(group)", code: errno)
            }
        }
    }

    deinit { mnl_socket_close(handle) }

    /// What one message of a batch came to.
    struct Outcome: Sendable {
        var replies: [NetlinkReply] = []
        var error: NetlinkError?
    }

    /// Sends the messages in as few system calls as possible and collects what each came to, in their order.
    ///
    /// A refused message does not keep the others from being done. Key material in `messages` is wiped.
    /// - Throws: only when the socket itself fails.
    func perform(_ messages: consuming [NetlinkMessage]) throws(NetlinkError) -> [Outcome] {
        var outcomes: [Outcome] = []
        outcomes.reserveCapacity(messages.count)
        var start = 0
        while start < messages.count {
            var end = start
            var bytes = 0
            while end < messages.count, end - start < NetlinkSocket.batchCountMax,
                end == start || bytes + messages[end].bytes.count <= NetlinkSocket.batchBytesMax
            {
                bytes += messages[end].bytes.count
                end += 1
            }
            outcomes += try performBatch(messages[start..<end], bytes: bytes)
            start = end
        }
        for index in messages.indices { messages[index].wipe() }
        return outcomes
    }

    /// One message; its replies.
    func request(_ message: NetlinkMessage) throws(NetlinkError) -> [NetlinkReply] {
        let outcome = try perform([message])[0]
        if let error = outcome.error { throw error }
        return outcome.replies
    }

    private func performBatch(_ messages: ArraySlice<NetlinkMessage>, bytes: Int) throws(NetlinkError) -> [Outcome] {
        let first = sequence &+ 1
        sequence &+= UInt32(messages.count)
        drainStale()
        mayHoldStale = true
        try sendBatch(messages, bytes: bytes, firstSequence: first)
        var outcomes = messages.map { _ in Outcome() }
        var overrun = false
        var done = false
        while !done {
            guard let replies = try receive(expecting: true, overrun: &overrun) else { break }
            for reply in replies {
                let index = Int(reply.sequence &- first)
                guard index < outcomes.count else { continue }
                if reply.type == UInt16(NLMSG_ERROR) {
                    let (code, text) = NetlinkSocket.errorCode(reply)
                    if code != 0 {
                        outcomes[index].error = NetlinkError(
                            operation: messages[messages.startIndex + index].operation, code: code, detail: text)
                    }
                    done = index == outcomes.count - 1
                } else {
                    outcomes[index].replies.append(reply)
                }
            }
        }
        mayHoldStale = overrun || !done
        if mayHoldStale {
            // Some answers were lost, so success is not known of any message without an answer.
            for (index, message) in messages.enumerated() where outcomes[index].error == nil && outcomes[index].replies.isEmpty {
                outcomes[index].error = NetlinkError(operation: message.operation, code: ENOBUFS, detail: "the kernel's answer was lost")
            }
        }
        return outcomes
    }

    /// Only the last message asks for an acknowledgement: errors come unasked, and the kernel works in order.
    private func sendBatch(_ messages: ArraySlice<NetlinkMessage>, bytes: Int, firstSequence: UInt32) throws(NetlinkError) {
        var sequence = firstSequence
        var batch: [UInt8] = []
        batch.reserveCapacity(bytes)
        for (index, message) in zip(messages.indices, messages) {
            let start = batch.count
            batch += message.bytes
            batch.withUnsafeMutableBytes { raw in
                raw.storeBytes(of: sequence, toByteOffset: start + 8, as: UInt32.self)
                guard index == messages.endIndex - 1 else { return }
                let flags = raw.loadUnaligned(fromByteOffset: start + 6, as: UInt16.self)
                raw.storeBytes(of: flags | UInt16(NLM_F_ACK), toByteOffset: start + 6, as: UInt16.self)
            }
            sequence &+= 1
        }
        let sent = mnl_socket_sendto(handle, batch, batch.count)
        let code = errno
        batch.withUnsafeMutableBytes { explicit_bzero($0.baseAddress!, $0.count) }
        guard sent == bytes else {
            throw NetlinkError(operation: messages[messages.startIndex].operation, code: sent < 0 ? code : EMSGSIZE, detail: "sending")
        }
    }

    /// A dump: all messages up to NLMSG_DONE. When the kernel says that the dump was interrupted by a change it is taken again.
    func dump(_ message: NetlinkMessage) throws(NetlinkError) -> [NetlinkReply] {
        defer { buffer.withUnsafeMutableBytes { explicit_bzero($0.baseAddress!, $0.count) } }
        for _ in 0..<4 {
            if let replies = try dumpOnce(message) { return replies }
        }
        throw NetlinkError(operation: message.operation, code: EINTR, detail: "changed while it was read")
    }

    private func dumpOnce(_ message: NetlinkMessage) throws(NetlinkError) -> [NetlinkReply]? {
        try beginDump(message)
        var found: [NetlinkReply] = []
        var overrun = false
        var interrupted = false
        while let replies = try receive(expecting: true, overrun: &overrun) {
            for reply in replies where reply.sequence == sequence {
                if Int32(reply.flags) & NLM_F_DUMP_INTR != 0 { interrupted = true }
                if try isEnd(reply, of: message) {
                    mayHoldStale = overrun
                    return interrupted || overrun ? nil : found
                }
                found.append(reply)
            }
        }
        throw NetlinkError(operation: message.operation, code: ETIMEDOUT, detail: "no end of the list")
    }

    /// A dump that is too long to be held at once: a datagram's messages at a time, as they are while it goes on.
    ///
    /// - Parameter take: whether to go on.
    /// - Returns: whether it came to its end.
    func dump(_ message: NetlinkMessage, take: ([NetlinkReply]) -> Bool) throws(NetlinkError) -> Bool {
        try beginDump(message)
        var overrun = false
        while let replies = try receive(expecting: true, overrun: &overrun) {
            var page: [NetlinkReply] = []
            for reply in replies where reply.sequence == sequence {
                guard try !isEnd(reply, of: message) else {
                    mayHoldStale = overrun
                    return take(page) && !overrun
                }
                page.append(reply)
            }
            guard take(page) else { return false }
        }
        throw NetlinkError(operation: message.operation, code: ETIMEDOUT, detail: "no end of the list")
    }

    /// Whether a dump's message is its last.
    private func isEnd(_ reply: NetlinkReply, of message: NetlinkMessage) throws(NetlinkError) -> Bool {
        if reply.type == UInt16(NLMSG_DONE) { return true }
        guard reply.type == UInt16(NLMSG_ERROR) else { return false }
        let (code, text) = NetlinkSocket.errorCode(reply)
        throw NetlinkError(operation: message.operation, code: code, detail: text)
    }

    private func beginDump(_ message: NetlinkMessage) throws(NetlinkError) {
        sequence &+= 1
        drainStale()
        mayHoldStale = true
        var bytes = message.bytes
        bytes.withUnsafeMutableBytes { raw in
            raw.storeBytes(of: UInt16(NLM_F_REQUEST | NLM_F_DUMP), toByteOffset: 6, as: UInt16.self)
            raw.storeBytes(of: sequence, toByteOffset: 8, as: UInt32.self)
        }
        guard mnl_socket_sendto(handle, bytes, bytes.count) == bytes.count else {
            throw NetlinkError(operation: message.operation, code: errno, detail: "sending")
        }
    }

    /// Events that wait now, without blocking. `overrun` is set when the kernel had to drop some.
    func events(overrun: inout Bool) throws(NetlinkError) -> [NetlinkReply] {
        try receive(expecting: false, overrun: &overrun) ?? []
    }

    /// The messages of one datagram; `nil` when none comes: at once, or after `answerTimeoutMs` when one is expected.
    private func receive(expecting: Bool, overrun: inout Bool) throws(NetlinkError) -> [NetlinkReply]? {
        while true {
            var sender = sockaddr_nl()
            var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
            let count = buffer.withUnsafeMutableBytes { raw in
                withUnsafeMutablePointer(to: &sender) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(descriptor, raw.baseAddress!, raw.count, Int32(MSG_DONTWAIT) | Int32(MSG_TRUNC), $0, &length)
                    }
                }
            }
            if count >= 0 {
                // Only the kernel has port 0; another process could send to us too.
                guard sender.nl_pid == 0 else { continue }
                guard count <= buffer.count else { throw NetlinkError(operation: "receive", code: EMSGSIZE, detail: "\(count) octets") }
                return NetlinkSocket.split(buffer[..<count])
            }
            switch errno {
            case EINTR: continue
            case ENOBUFS: overrun = true
            case EAGAIN:
                guard expecting else { return nil }
                var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                let ready = poll(&waiting, 1, NetlinkSocket.answerTimeoutMs)
                if ready == 0 || (ready < 0 && errno != EINTR) { return nil }
            default: throw NetlinkError(operation: "receive from netlink", code: errno)
            }
        }
    }

    /// Answers to a request that was given up before they came. Where every answer has come there is nothing to look for.
    private func drainStale() {
        guard mayHoldStale else { return }
        while recv(descriptor, &buffer, 1, Int32(MSG_DONTWAIT)) >= 0 || errno == ENOBUFS {}
    }

    /// A datagram's messages; a malformed rest is left out.
    static func split(_ bytes: ArraySlice<UInt8>) -> [NetlinkReply] {
        var out: [NetlinkReply] = []
        var rest = bytes
        while rest.count >= MemoryLayout<nlmsghdr>.size {
            let header = rest.withUnsafeBytes { $0.loadUnaligned(as: nlmsghdr.self) }
            let length = Int(header.nlmsg_len)
            guard length >= MemoryLayout<nlmsghdr>.size, length <= rest.count else { break }
            out.append(
                NetlinkReply(
                    type: header.nlmsg_type, flags: header.nlmsg_flags, sequence: header.nlmsg_seq,
                    payload: Array(rest[(rest.startIndex + MemoryLayout<nlmsghdr>.size)..<(rest.startIndex + length)])))
            rest = rest.dropFirst(aligned(length))
        }
        return out
    }

    /// The errno of an NLMSG_ERROR, 0 for an acknowledgement, and the kernel's words about it.
    static func errorCode(_ reply: NetlinkReply) -> (Int32, String) {
        guard let code = reply.header(Int32.self) else { return (EBADMSG, "short answer") }
        // The least number has no counterpart above zero, and is no errno either.
        guard code != 0, Int32(reply.flags) & NLM_F_ACK_TLVS != 0, let error = reply.header(nlmsgerr.self) else { return (0 &- code, "") }
        // With NLM_F_CAPPED only the header of our message is repeated, else all of it.
        let repeated = Int32(reply.flags) & NLM_F_CAPPED != 0 ? 0 : Int(error.msg.nlmsg_len) - MemoryLayout<nlmsghdr>.size
        let attributes = reply.attributes(after: MemoryLayout<nlmsgerr>.size + max(repeated, 0))
        return (0 &- code, attributes.string(NLMSGERR_ATTR_MSG.rawValue) ?? "")
    }
}
