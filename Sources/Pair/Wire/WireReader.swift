import Cryptography
import Session

/// The fields of a protobuf message, read where they lie: what `WireField` is for messages that SwiftProtobuf has made into objects.
///
/// Of a field that stands in its message once the last one counts. Groups are malformed: no version sends them.
struct WireReader {
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case octets(UnsafeRawBufferPointer)
    }

    struct Field {
        let number: UInt64
        let value: Value
        /// With its number: what is kept of a field that is not known.
        let whole: UnsafeRawBufferPointer
    }

    private let raw: UnsafeRawBufferPointer
    private var offset = 0

    init(_ raw: UnsafeRawBufferPointer) { self.raw = raw }

    /// - Returns: `nil` at the end.
    mutating func next() throws(PairWireError) -> Field? {
        let start = offset
        guard start < raw.count else { return nil }
        let tag = try varint()
        guard tag >> 3 > 0, tag >> 3 < 1 << 29 else { throw .malformed }
        let value: Value
        switch tag & 7 {
        case 0: value = .varint(try varint())
        case 1: value = .fixed64(UInt64(littleEndian: try take(8).loadUnaligned(as: UInt64.self)))
        case 2:
            guard let count = Int(exactly: try varint()) else { throw .malformed }
            value = .octets(try take(count))
        case 5: value = .fixed32(UInt32(littleEndian: try take(4).loadUnaligned(as: UInt32.self)))
        default: throw .malformed
        }
        return Field(number: tag >> 3, value: value, whole: UnsafeRawBufferPointer(rebasing: raw[start..<offset]))
    }

    private mutating func take(_ count: Int) throws(PairWireError) -> UnsafeRawBufferPointer {
        guard count <= raw.count - offset else { throw .malformed }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: raw[offset..<offset + count])
    }

    /// Seven bits an octet, the lowest first; ten octets at most.
    private mutating func varint() throws(PairWireError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard offset < raw.count else { throw .malformed }
            let octet = raw[offset]
            offset += 1
            value |= UInt64(octet & 0x7F) << shift
            if octet < 0x80 { return value }
        }
        throw .malformed
    }
}

extension WireField {
    static func octets(_ raw: UnsafeRawBufferPointer, max: Int, _ field: String) throws(PairWireError) -> [UInt8] {
        guard raw.count <= max else { throw .tooLong(field: field, count: raw.count, limit: max) }
        return Array(raw)
    }

    /// A key of exactly `count` octets.
    static func secret(_ raw: UnsafeRawBufferPointer, count: Int, _ field: String) throws(PairWireError) -> SecretBytes {
        guard raw.count == count else { throw .invalid(field) }
        return count == 0 ? .empty : SecretBytes(count: count) { $0.copyMemory(from: raw) }
    }

    static func address(_ raw: UnsafeRawBufferPointer, _ field: String) throws(PairWireError) -> IPAddress {
        guard let address = IPAddress(bytes: raw) else { throw .invalid(field) }
        return address
    }

    static func text(_ raw: UnsafeRawBufferPointer, max: Int, _ field: String) throws(PairWireError) -> String {
        guard let text = String(validating: raw, as: UTF8.self) else { throw .malformed }
        guard raw.count <= max else { throw .tooLong(field: field, count: raw.count, limit: max) }
        return text
    }

    static func present<Value>(_ value: Value?, _ field: String) throws(PairWireError) -> Value {
        guard let value else { throw .missing(field) }
        return value
    }

    /// The fields of a message that this version does not know.
    static func unknown(_ octets: [UInt8], _ field: String) throws(PairWireError) -> SecretBytes {
        guard octets.count <= PairWireLimits.unknownBytesMax else {
            throw .tooLong(field: field, count: octets.count, limit: PairWireLimits.unknownBytesMax)
        }
        return octets.isEmpty ? .empty : SecretBytes(octets)
    }
}

/// A repeated field as it comes, up to what the field may have; of what is beyond that only the number counts.
struct WireList<Element> {
    private(set) var elements: [Element] = []
    private var count = 0

    mutating func add(max: Int, _ element: () throws(PairWireError) -> Element) throws(PairWireError) {
        count += 1
        if count <= max { elements.append(try element()) }
    }

    func checked(max: Int, _ field: String) throws(PairWireError) -> [Element] {
        guard count <= max else { throw .tooLong(field: field, count: count, limit: max) }
        return elements
    }
}
