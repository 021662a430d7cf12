/// A cursor over a part of a byte array that cannot leave it: every read checks what is left and throws `truncated`.
struct ByteReader {
    let bytes: [UInt8]
    /// Where the next read starts, counted from the start of `bytes`.
    private(set) var offset: Int
    let end: Int

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        self.offset = 0
        self.end = bytes.count
    }

    private init(bytes: [UInt8], offset: Int, end: Int) {
        self.bytes = bytes
        self.offset = offset
        self.end = end
    }

    var remaining: Int { end - offset }
    var isAtEnd: Bool { offset == end }

    mutating func uint8() throws(IKEWireError) -> UInt8 {
        guard remaining >= 1 else { throw .truncated }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func uint16() throws(IKEWireError) -> UInt16 { UInt16(truncatingIfNeeded: try integer(octets: 2)) }
    mutating func uint32() throws(IKEWireError) -> UInt32 { UInt32(truncatingIfNeeded: try integer(octets: 4)) }
    mutating func uint64() throws(IKEWireError) -> UInt64 { try integer(octets: 8) }

    private mutating func integer(octets: Int) throws(IKEWireError) -> UInt64 {
        guard remaining >= octets else { throw .truncated }
        defer { offset += octets }
        return bytes[offset..<offset + octets].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The next `count` octets.
    mutating func take(_ count: Int) throws(IKEWireError) -> [UInt8] {
        guard count >= 0, remaining >= count else { throw .truncated }
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    mutating func skip(_ count: Int) throws(IKEWireError) {
        guard count >= 0, remaining >= count else { throw .truncated }
        offset += count
    }

    /// Everything that is left.
    mutating func takeRest() -> [UInt8] {
        defer { offset = end }
        return Array(bytes[offset..<end])
    }

    /// A reader of the next `count` octets, which this one has then passed.
    mutating func part(_ count: Int) throws(IKEWireError) -> ByteReader {
        guard count >= 0, remaining >= count else { throw .truncated }
        defer { offset += count }
        return ByteReader(bytes: bytes, offset: offset, end: offset + count)
    }

    func requireEnd() throws(IKEWireError) {
        guard isAtEnd else { throw .trailingBytes(remaining) }
    }
}

extension [UInt8] {
    /// Appends an integer in network order.
    mutating func append(bigEndian value: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// Writes `count - start` into the two octets at `position`: a length that is known only after what it counts is written.
    ///
    /// More than 65,535 octets cannot be said on the wire; that is the caller's mistake, never a peer's, and traps.
    mutating func setLength(at position: Int, from start: Int) {
        let length = count - start
        precondition(length <= Int(UInt16.max), "an IKE structure of \(length) octets")
        self[position] = UInt8(length >> 8)
        self[position + 1] = UInt8(length & 0xFF)
    }
}
