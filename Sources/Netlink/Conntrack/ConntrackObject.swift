import CMNL
import CNetfilterConntrack
import Glibc
import Session

/// One owner of libnetfilter_conntrack's object: attributes by name, each with its type.
struct ConntrackObject: ~Copyable {
    let handle: OpaquePointer

    init() {
        guard let handle = nfct_new() else { preconditionFailure("out of memory") }
        self.handle = handle
    }

    deinit { nfct_destroy(handle) }

    func has(_ attribute: nf_conntrack_attr) -> Bool { nfct_attr_is_set(handle, attribute) > 0 }

    func uint8(_ attribute: nf_conntrack_attr) -> UInt8? { has(attribute) ? nfct_get_attr_u8(handle, attribute) : nil }
    func uint16(_ attribute: nf_conntrack_attr) -> UInt16? { has(attribute) ? nfct_get_attr_u16(handle, attribute) : nil }
    func uint32(_ attribute: nf_conntrack_attr) -> UInt32? { has(attribute) ? nfct_get_attr_u32(handle, attribute) : nil }
    /// In network order in the object, as ports are.
    func port(_ attribute: nf_conntrack_attr) -> UInt16? { uint16(attribute).map(UInt16.init(bigEndian:)) }

    func address(_ ipv4: nf_conntrack_attr, _ ipv6: nf_conntrack_attr) -> IPAddress? {
        let (attribute, count) = has(ipv4) ? (ipv4, 4) : (ipv6, 16)
        guard has(attribute), let octets = nfct_get_attr(handle, attribute) else { return nil }
        return IPAddress(bytes: UnsafeRawBufferPointer(start: octets, count: count))
    }

    func set(_ attribute: nf_conntrack_attr, _ value: UInt8) { nfct_set_attr_u8(handle, attribute, value) }
    func set(_ attribute: nf_conntrack_attr, _ value: UInt16) { nfct_set_attr_u16(handle, attribute, value) }
    func set(_ attribute: nf_conntrack_attr, _ value: UInt32) { nfct_set_attr_u32(handle, attribute, value) }
    func set(_ attribute: nf_conntrack_attr, port: UInt16) { nfct_set_attr_u16(handle, attribute, port.bigEndian) }

    func set(_ ipv4: nf_conntrack_attr, _ ipv6: nf_conntrack_attr, _ address: IPAddress) {
        address.bytes.withUnsafeBytes { nfct_set_attr(handle, address.isIPv4 ? ipv4 : ipv6, $0.baseAddress!) }
    }
}
