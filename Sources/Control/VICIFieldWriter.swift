/// Writes a summary's fields into a VICI message.
struct VICIFieldWriter: FieldCoder {
    let isStock: Bool
    var message = VICIMessage()

    init(isStock: Bool) { self.isStock = isStock }

    mutating func title(_ key: String, _ value: inout String) {}
    mutating func text(_ key: String, _ value: inout String) { message.add(key, value) }
    mutating func text(_ key: String, _ value: inout String?) { if let value { message.add(key, value) } }
    mutating func number<Number: FixedWidthInteger>(_ key: String, _ value: inout Number) { message.add(key, String(value)) }
    mutating func number<Number: FixedWidthInteger>(_ key: String, _ value: inout Number?) {
        if let value { message.add(key, String(value)) }
    }
    mutating func flag(_ key: String, _ value: inout Bool, stockTrue: String) { if value { message.add(key, stockTrue) } }

    mutating func hex(_ key: String, _ value: inout UInt64, digits: Int) { message.add(key, hexadecimal(value, digits: digits)) }

    mutating func span(_ key: String, milliseconds value: inout Int64) {
        if isStock { message.add(key, String(value / 1000)) } else { message.add(key + "-ms", String(value)) }
    }
    mutating func span(_ key: String, milliseconds value: inout Int64?) {
        guard var present = value else { return }
        span(key, milliseconds: &present)
    }
    mutating func fine(_ key: String, microseconds value: inout Int64) { message.add(key + "-ms", JSON.decimal(thousandths: value)) }

    mutating func list(_ key: String, _ value: inout [String], omitEmpty: Bool) {
        if !value.isEmpty || !omitEmpty { message.add(key, list: value) }
    }

    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner) {
        message.add(key, section: value.message(isStock: isStock))
    }
    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner?) {
        if let value { message.add(key, section: value.message(isStock: isStock)) }
    }
    mutating func sections<Inner: Summary>(_ key: String, _ value: inout [Inner], name: (Inner, Int) -> String) {
        var outer = VICIMessage()
        for (index, item) in value.enumerated() { outer.add(name(item, index), section: item.message(isStock: isStock)) }
        message.add(key, section: outer)
    }
    mutating func counters(_ key: String, _ value: inout [String: UInt64]) {
        var inner = VICIMessage()
        for (name, count) in value.sorted(by: { $0.key < $1.key }) { inner.add(name, String(count)) }
        message.add(key, section: inner)
    }
}

/// Lower-case hexadecimal of at least `digits` digits, as strongSwan prints SPIs.
func hexadecimal(_ value: UInt64, digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
