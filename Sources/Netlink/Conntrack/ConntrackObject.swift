import CNetfilterConntrack
import Session

/// One owner of libnetfilter_conntrack's object: attributes by name, each with its type. For what is sent only: of what it reads the
/// library is so sure that it ends the process where an attribute has another length than it knows.
struct ConntrackObject: ~Copyable {
    let handle: OpaquePointer

    init() {
        guard let handle = nfct_new() else { preconditionFailure("out of memory") }
        self.handle = handle
    }

    deinit { nfct_destroy(handle) }

    func set(_ attribute: nf_conntrack_attr, _ value: UInt8) { nfct_set_attr_u8(handle, attribute, value) }
    func set(_ attribute: nf_conntrack_attr, _ value: UInt16) { nfct_set_attr_u16(handle, attribute, value) }
    func set(_ attribute: nf_conntrack_attr, _ value: UInt32) { nfct_set_attr_u32(handle, attribute, value) }
    /// In network order, as in a packet.
    func set(_ attribute: nf_conntrack_attr, port: UInt16) { nfct_set_attr_u16(handle, attribute, port.bigEndian) }

    func set(_ ipv4: nf_conntrack_attr, _ ipv6: nf_conntrack_attr, _ address: IPAddress) {
        address.bytes.withUnsafeBytes { nfct_set_attr(handle, address.isIPv4 ? ipv4 : ipv6, $0.baseAddress!) }
    }
}
