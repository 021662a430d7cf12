import CMNL
import CNetfilterConntrack
import Glibc
import Session

/// What is asked of ctnetlink.
enum ConntrackEncoding {
    /// More than the library appends for an entry of ours: two tuples, translations, state.
    private static let room = 1024

    /// A new entry. Fails with EEXIST when its name or its reply's is taken.
    static func create(_ entry: FlowEntry) -> NetlinkMessage {
        let object = ConntrackObject()
        // The reply as it is before translation: the kernel makes the translated one of it, by what it is told to translate into.
        put(entry.original, in: object)
        nfct_setobjopt(object.handle, UInt32(NFCT_SOPT_SETUP_REPLY))
        putState(entry, tcp: entry.tcp ?? assumedTCP(entry), in: object)
        if entry.status.contains(.sourceNAT) {
            object.set(ATTR_SNAT_IPV4, ATTR_SNAT_IPV6, entry.reply.destination)
            object.set(ATTR_SNAT_PORT, port: entry.original.isICMP ? entry.reply.sourcePort : entry.reply.destinationPort)
        }
        if entry.status.contains(.destinationNAT) {
            object.set(ATTR_DNAT_IPV4, ATTR_DNAT_IPV6, entry.reply.source)
            if !entry.original.isICMP { object.set(ATTR_DNAT_PORT, port: entry.reply.sourcePort) }
        }
        return message(ConntrackDecoding.new, flags: NLM_F_CREATE | NLM_F_EXCL, "add", entry.key, object)
    }

    /// Brings an entry up to date. Fails with ENOENT when it is not there. Translations never change.
    static func update(_ entry: FlowEntry) -> NetlinkMessage {
        let object = ConntrackObject()
        put(entry.original, in: object)
        putState(entry, tcp: entry.tcp, in: object)
        return message(ConntrackDecoding.new, flags: 0, "change", entry.key, object)
    }

    static func delete(_ key: FlowKey) -> NetlinkMessage {
        let object = ConntrackObject()
        put(key.original, in: object)
        if key.zone != 0 { object.set(ATTR_ZONE, key.zone) }
        return message(ConntrackDecoding.delete, flags: 0, "delete", key, object)
    }

    static func dump(isIPv6: Bool) -> NetlinkMessage {
        NetlinkMessage(type(1), operation: "list connections") { header($0, isIPv6: isIPv6) }  // IPCTNL_MSG_CT_GET
    }

    /// How many entries there are: what tells whether the kernel has conntrack.
    static func statistics() -> NetlinkMessage {
        NetlinkMessage(type(5), operation: "count connections") { header($0, isIPv6: false) }  // IPCTNL_MSG_CT_GET_STATS
    }

    private static func type(_ kind: UInt16) -> UInt16 { ConntrackDecoding.subsystem << 8 | kind }

    private static func header(_ writer: borrowing NetlinkWriter, isIPv6: Bool) {
        writer.header(tandem_nfgenmsg.self) { $0.family = UInt8(isIPv6 ? AF_INET6 : AF_INET) }
    }

    private static func message(
        _ kind: UInt16, flags: Int32, _ verb: String, _ key: FlowKey, _ object: borrowing ConntrackObject
    ) -> NetlinkMessage {
        let original = key.original
        let handle = object.handle
        return NetlinkMessage(
            type(kind), flags: flags, operation: "\(verb) connection \(original.ipProtocol) \(original.source) to \(original.destination)",
            capacity: 2 * room
        ) { writer in
            header(writer, isIPv6: !original.source.isIPv4)
            // Without a tuple a deletion would be one of everything: the object always has it.
            writer.append(room: room) { precondition(tandem_conntrack_append($0, handle) == 0) }
        }
    }

    private static func put(_ tuple: FlowTuple, in object: borrowing ConntrackObject) {
        object.set(ATTR_ORIG_L3PROTO, UInt8(tuple.source.isIPv4 ? AF_INET : AF_INET6))
        object.set(ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, tuple.source)
        object.set(ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, tuple.destination)
        object.set(ATTR_ORIG_L4PROTO, tuple.ipProtocol)
        if tuple.isICMP {
            object.set(ATTR_ICMP_TYPE, UInt8(tuple.destinationPort >> 8))
            object.set(ATTR_ICMP_CODE, UInt8(tuple.destinationPort & 0xFF))
            object.set(ATTR_ICMP_ID, port: tuple.sourcePort)
        } else {
            object.set(ATTR_ORIG_PORT_SRC, port: tuple.sourcePort)
            object.set(ATTR_ORIG_PORT_DST, port: tuple.destinationPort)
        }
    }

    private static func putState(_ entry: FlowEntry, tcp: FlowTCP?, in object: borrowing ConntrackObject) {
        if entry.zone != 0 { object.set(ATTR_ZONE, entry.zone) }
        // The kernel takes care of the bits of translation, and wants every entry confirmed (IPS_CONFIRMED).
        object.set(ATTR_STATUS, entry.status.intersection([.seenReply, .assured]).rawValue | 1 << 3)
        object.set(ATTR_TIMEOUT, entry.timeout)
        object.set(ATTR_MARK, entry.mark)
        guard let tcp else { return }
        object.set(ATTR_TCP_STATE, tcp.state)
        for (flags, mask, value) in [
            (ATTR_TCP_FLAGS_ORIG, ATTR_TCP_MASK_ORIG, tcp.originalFlags), (ATTR_TCP_FLAGS_REPL, ATTR_TCP_MASK_REPL, tcp.replyFlags),
        ] {
            object.set(flags, value & TCPFlags.kept | TCPFlags.liberal)
            object.set(mask, TCPFlags.kept | TCPFlags.liberal)
        }
        object.set(ATTR_TCP_WSCALE_ORIG, tcp.originalScale)
        object.set(ATTR_TCP_WSCALE_REPL, tcp.replyScale)
    }

    /// IP_CT_TCP_FLAG_*.
    private enum TCPFlags {
        /// Window scale, SACK, who closes first: what was negotiated.
        static let kept: UInt8 = 0x07
        /// The windows of a connection cannot be told to another kernel, so its packets must not be dropped for them.
        static let liberal: UInt8 = 0x08
    }

    /// Of a connection of which only a change was heard that did not concern its state.
    private static func assumedTCP(_ entry: FlowEntry) -> FlowTCP? {
        guard entry.original.ipProtocol == FlowProtocol.tcp else { return nil }
        // ESTABLISHED, SYN_RECV, SYN_SENT.
        return FlowTCP(state: entry.status.contains(.assured) ? 3 : entry.status.contains(.seenReply) ? 2 : 1)
    }
}
