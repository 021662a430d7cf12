import Cryptography
import FoundationEssentials
import Session

/// Protobuf's scalars to values that cannot be wrong, and back. Only here does the codec touch `Data`, which protobuf's
/// Swift code has for octets. It is not wiped: what is encoded goes into TLS buffers at once, which are not wiped either.
enum WireField {
    static func bytes(_ bytes: [UInt8]) -> Data { Data(bytes) }

    static func bytes(_ secret: SecretBytes) -> Data { secret.withUnsafeBytes { Data($0) } }

    static func bytes(_ address: IPAddress) -> Data { Data(address.bytes) }

    static func octets(_ data: Data, max: Int, _ field: String) throws(PairWireError) -> [UInt8] {
        guard data.count <= max else { throw .tooLong(field: field, count: data.count, limit: max) }
        return Array(data)
    }

    /// A key of exactly `count` octets.
    static func secret(_ data: Data, count: Int, _ field: String) throws(PairWireError) -> SecretBytes {
        guard data.count == count else { throw .invalid(field) }
        // At once: octet by octet takes ten times as long, and a snapshot has a million keys.
        return SecretBytes(count: count) { target in data.withUnsafeBytes { target.copyMemory(from: $0) } }
    }

    static func address(_ data: Data, _ field: String) throws(PairWireError) -> IPAddress {
        guard let address = data.withUnsafeBytes({ IPAddress(bytes: $0) }) else { throw .invalid(field) }
        return address
    }

    static func text(_ string: String, max: Int, _ field: String) throws(PairWireError) -> String {
        let count = string.utf8.count
        guard count <= max else { throw .tooLong(field: field, count: count, limit: max) }
        return string
    }

    /// A reason, cut to what the other node takes.
    static func shortened(_ reason: String) -> String {
        guard reason.utf8.count > PairWireLimits.reasonBytesMax else { return reason }
        var out = ""
        var count = 0
        for character in reason {
            count += character.utf8.count
            if count > PairWireLimits.reasonBytesMax { break }
            out.append(character)
        }
        return out
    }

    static func narrow<Number: FixedWidthInteger>(_ value: UInt32, to type: Number.Type, _ field: String) throws(PairWireError) -> Number {
        guard let number = Number(exactly: value) else { throw .invalid(field) }
        return number
    }

    static func enumeration<Value: RawRepresentable>(
        _ value: UInt32, _ type: Value.Type, _ field: String
    ) throws(PairWireError) -> Value where Value.RawValue: FixedWidthInteger {
        guard let raw = Value.RawValue(exactly: value), let result = Value(rawValue: raw) else { throw .invalid(field) }
        return result
    }

    static func bounded<Number: Comparable>(_ value: Number, _ range: ClosedRange<Number>, _ field: String) throws(PairWireError) -> Number
    {
        guard range.contains(value) else { throw .invalid(field) }
        return value
    }

    static func epoch(_ value: UInt64, _ field: String) throws(PairWireError) -> Epoch {
        try bounded(value, 0...PairWireLimits.epochMax, field)
    }

    static func wallMilliseconds(_ value: Int64, _ field: String) throws(PairWireError) -> Int64 {
        try bounded(value, -PairWireLimits.wallMillisecondsMax...PairWireLimits.wallMillisecondsMax, field)
    }

    static func wallMilliseconds(_ value: Int64?, _ field: String) throws(PairWireError) -> Int64? {
        guard let value else { return nil }
        return try bounded(value, -PairWireLimits.wallMillisecondsMax...PairWireLimits.wallMillisecondsMax, field)
    }

    static func list<Wire, Value>(
        _ elements: [Wire], max: Int, _ field: String, _ decode: (Wire) throws(PairWireError) -> Value
    ) throws(PairWireError) -> [Value] {
        guard elements.count <= max else { throw .tooLong(field: field, count: elements.count, limit: max) }
        var out: [Value] = []
        out.reserveCapacity(elements.count)
        for element in elements { out.append(try decode(element)) }
        return out
    }

    /// A message field that has to be there.
    static func present<Wire>(_ isPresent: Bool, _ value: @autoclosure () -> Wire, _ field: String) throws(PairWireError) -> Wire {
        guard isPresent else { throw .missing(field) }
        return value()
    }
}
