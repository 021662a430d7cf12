/// Writes a summary's fields as the members of a JSON object. Every field is there, so that keys are stable.
struct JSONFieldWriter: FieldCoder {
    let isStock = false
    var members: [JSON.Member] = []

    private mutating func add(_ key: String, _ value: JSON) {
        members.append(JSON.Member(String(key.map { $0 == "-" ? "_" : $0 }), value))
    }

    private static func json(_ value: some FixedWidthInteger) -> JSON {
        Int64(exactly: value).map(JSON.integer) ?? .unsigned(UInt64(truncatingIfNeeded: value))
    }

    mutating func title(_ key: String, _ value: inout String) { add(key, .string(value)) }
    mutating func text(_ key: String, _ value: inout String) { add(key, .string(value)) }
    mutating func text(_ key: String, _ value: inout String?) { add(key, value.map(JSON.string) ?? .null) }
    mutating func number<Number: FixedWidthInteger>(_ key: String, _ value: inout Number) { add(key, JSONFieldWriter.json(value)) }
    mutating func number<Number: FixedWidthInteger>(_ key: String, _ value: inout Number?) {
        add(key, value.map { JSONFieldWriter.json($0) } ?? .null)
    }
    mutating func flag(_ key: String, _ value: inout Bool, stockTrue: String) { add(key, .bool(value)) }
    mutating func hex(_ key: String, _ value: inout UInt64, digits: Int) { add(key, .string(hexadecimal(value, digits: digits))) }
    mutating func span(_ key: String, milliseconds value: inout Int64) { add(key + "-ms", .integer(value)) }
    mutating func span(_ key: String, milliseconds value: inout Int64?) { add(key + "-ms", value.map(JSON.integer) ?? .null) }
    mutating func fine(_ key: String, microseconds value: inout Int64) { add(key + "-ms", .thousandths(value)) }
    mutating func list(_ key: String, _ value: inout [String], omitEmpty: Bool) { add(key, .array(value.map(JSON.string))) }
    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner) { add(key, value.jsonObject) }
    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner?) { add(key, value?.jsonObject ?? .null) }
    mutating func sections<Inner: Summary>(_ key: String, _ value: inout [Inner], name: (Inner, Int) -> String) {
        add(key, .array(value.map(\.jsonObject)))
    }
    mutating func counters(_ key: String, _ value: inout [String: UInt64]) {
        add(key, .object(value.sorted { $0.key < $1.key }.map { JSON.Member($0.key, JSONFieldWriter.json($0.value)) }))
    }
}
