import CMNL
import Glibc

/// One netlink message to the kernel, ready but for its sequence number.
struct NetlinkMessage: Sendable {
    /// Names what is tried, for errors.
    let operation: String
    /// Header, family header and attributes, padded to 4 octets.
    private(set) var bytes: [UInt8]

    /// Fills a message in a scratch buffer of `capacity` octets, which is wiped afterwards: it may hold keys.
    init(_ type: some BinaryInteger, flags: Int32 = 0, operation: String, capacity: Int = 1024, _ fill: (borrowing NetlinkWriter) -> Void) {
        self.operation = operation
        bytes = withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 16) { buffer in
            buffer.initializeMemory(as: UInt8.self, repeating: 0)
            let header = mnl_nlmsg_put_header(buffer.baseAddress!)!
            header.pointee.nlmsg_type = UInt16(type)
            header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
            fill(NetlinkWriter(header: header, capacity: capacity))
            let count = Int(header.pointee.nlmsg_len)
            let bytes = Array(buffer[..<aligned(count)])
            explicit_bzero(buffer.baseAddress!, capacity)
            return bytes
        }
    }

    /// Overwrites the octets where they stand.
    mutating func wipe() {
        bytes.withUnsafeMutableBytes { explicit_bzero($0.baseAddress!, $0.count) }
    }
}

/// Appends to a message that is being built. A message that outgrows its capacity is our own fault, and traps.
struct NetlinkWriter: ~Copyable {
    fileprivate let header: UnsafeMutablePointer<nlmsghdr>
    fileprivate let capacity: Int

    /// Puts the family's fixed header; `fill` sees it zeroed, padding too.
    func header<T>(_ type: T.Type, _ fill: (inout T) -> Void) {
        precondition(Int(header.pointee.nlmsg_len) + MemoryLayout<T>.size + 4 <= capacity)
        let place = mnl_nlmsg_put_extra_header(header, MemoryLayout<T>.size)!
        fill(&place.assumingMemoryBound(to: T.self).pointee)
    }

    /// An attribute whose value is a C structure, filled in zeroed memory.
    func attribute<T>(_ attribute: some BinaryInteger, _ type: T.Type, _ fill: (inout T) -> Void) {
        self.attribute(attribute, count: MemoryLayout<T>.size) { fill(&$0.baseAddress!.assumingMemoryBound(to: T.self).pointee) }
    }

    func attribute(_ attribute: some BinaryInteger, uint32 value: UInt32) {
        precondition(mnl_attr_put_u32_check(header, capacity, UInt16(attribute), value))
    }

    func attribute(_ attribute: some BinaryInteger, string value: String) {
        precondition(mnl_attr_put_strz_check(header, capacity, UInt16(attribute), value))
    }

    func attribute(_ attribute: some BinaryInteger, bytes: [UInt8]) {
        precondition(mnl_attr_put_check(header, capacity, UInt16(attribute), bytes.count, bytes))
    }

    /// An attribute of `count` octets, filled in zeroed memory.
    func attribute(_ attribute: some BinaryInteger, count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) {
        let start = Int(header.pointee.nlmsg_len)
        let total = MemoryLayout<nlattr>.size + count
        precondition(start + aligned(total) <= capacity)
        let place = UnsafeMutableRawPointer(header) + start
        place.storeBytes(of: UInt16(total), as: UInt16.self)
        place.storeBytes(of: UInt16(attribute), toByteOffset: 2, as: UInt16.self)
        fill(UnsafeMutableRawBufferPointer(start: place + MemoryLayout<nlattr>.size, count: count))
        header.pointee.nlmsg_len += UInt32(aligned(total))
    }

    /// What a library appends by itself, which must know that at least `room` octets are left.
    func append(room: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
        precondition(Int(header.pointee.nlmsg_len) + room <= capacity)
        body(UnsafeMutableRawPointer(header))
        precondition(Int(header.pointee.nlmsg_len) <= capacity)
    }

    /// An attribute that holds others.
    func nested(_ attribute: some BinaryInteger, _ body: () -> Void) {
        guard let nest = mnl_attr_nest_start_check(header, capacity, UInt16(attribute)) else { preconditionFailure("message too long") }
        body()
        mnl_attr_nest_end(header, nest)
    }
}

/// One message from the kernel: its octets after the netlink header, every access checked against them.
struct NetlinkReply: Sendable {
    let type: UInt16
    let flags: UInt16
    let sequence: UInt32
    private(set) var payload: [UInt8]

    /// Overwrites the octets where they stand: a list of SAs comes with their keys.
    mutating func wipe() {
        payload.withUnsafeMutableBytes { if let start = $0.baseAddress { explicit_bzero(start, $0.count) } }
    }

    /// The family's fixed header, or `nil` when the message is too short for it.
    func header<T>(_ type: T.Type) -> T? { loadStructure(payload[...], as: type) }

    /// The attributes that follow a fixed header of `length` octets.
    func attributes(after length: Int) -> NetlinkAttributes {
        NetlinkAttributes(payload.dropFirst(aligned(length)))
    }
}

/// A list of attributes as the kernel sent it. Of several with one type the first is found; a malformed rest is left out.
struct NetlinkAttributes: Sendable {
    private var values: [UInt16: ArraySlice<UInt8>] = [:]

    init(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes
        while rest.count >= 4 {
            let start = rest.startIndex
            let length = Int(rest[start]) | Int(rest[start + 1]) << 8
            let type = (UInt16(rest[start + 2]) | UInt16(rest[start + 3]) << 8) & UInt16(NLA_TYPE_MASK)
            guard length >= 4, length <= rest.count else { return }
            if values[type] == nil { values[type] = rest[(start + 4)..<(start + length)] }
            rest = rest.dropFirst(aligned(length))
        }
    }

    subscript(type: some BinaryInteger) -> ArraySlice<UInt8>? { values[UInt16(type)] }

    func value<T>(_ attribute: some BinaryInteger, as type: T.Type) -> T? {
        self[attribute].flatMap { loadStructure($0, as: type) }
    }

    /// A zero-terminated text.
    func string(_ attribute: some BinaryInteger) -> String? {
        self[attribute].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// `count` rounded up to the 4 octets at which netlink's headers and attributes begin (NLMSG_ALIGNTO, NLA_ALIGNTO).
func aligned(_ count: Int) -> Int { (count + 3) & ~3 }

/// A C structure from the start of `bytes`; `nil` when they are too few.
///
/// C's structures with unions or flexible arrays are plain octets too, though Swift does not call them `BitwiseCopyable`.
private func loadStructure<T>(_ bytes: ArraySlice<UInt8>, as type: T.Type) -> T? {
    guard bytes.count >= MemoryLayout<T>.size else { return nil }
    return withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { place in
        _ = bytes.withUnsafeBytes { memcpy(place.baseAddress!, $0.baseAddress!, MemoryLayout<T>.size) }
        return place[0]
    }
}

/// NLA_F_NESTED and NLA_F_NET_BYTEORDER taken away (a macro with a cast, which Swift does not import).
let NLA_TYPE_MASK: UInt16 = 0x3FFF
