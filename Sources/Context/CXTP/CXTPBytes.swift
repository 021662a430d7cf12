/// A cursor that cannot leave its bytes.
struct CXTPReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }
    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var remaining: Int { rest.count }

    mutating func take(_ count: Int) throws(CXTPError) -> ArraySlice<UInt8> {
        guard count >= 0, rest.count >= count else { throw .truncated }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    mutating func integer<Number: FixedWidthInteger & UnsignedInteger>(_: Number.Type = Number.self) throws(CXTPError) -> Number {
        try take(Number.bitWidth / 8).reduce(0) { Number(truncatingIfNeeded: UInt64($0) << 8) | Number($1) }
    }

    func requireEnd() throws(CXTPError) {
        guard rest.isEmpty else { throw .trailingBytes(rest.count) }
    }
}

extension [UInt8] {
    /// Appends an integer in network order.
    mutating func append(bigEndian value: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}
