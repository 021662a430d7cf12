/// A summary lists its fields once; a coder writes them as a VICI message or as JSON, or reads them from a message.
///
/// Keys are VICI's (`remote-host`); JSON's are the same with underscores (`remote_host`).
protocol Summary: Hashable, Sendable {
    init()
    mutating func fields(_ coder: inout some FieldCoder)
}

/// What a summary's fields go through. `value` is `inout`, so that one list of fields both writes and reads.
///
/// A key that a message does not have leaves the field as it is: a command and a daemon of different versions understand each other.
protocol FieldCoder {
    /// Only what strongSwan's clients know, in their units.
    var isStock: Bool { get }
    /// The name of the section that the summary is: said by the section itself in VICI, a member of its own in JSON.
    mutating func title(_ key: String, _ value: inout String)
    mutating func text(_ key: String, _ value: inout String)
    /// Left out when `nil`; `null` in JSON.
    mutating func text(_ key: String, _ value: inout String?)
    mutating func number<Number: FixedWidthInteger & Sendable>(_ key: String, _ value: inout Number)
    mutating func number<Number: FixedWidthInteger & Sendable>(_ key: String, _ value: inout Number?)
    /// `yes`, or left out when false as in strongSwan; `stockTrue` is the word that strongSwan uses for this key.
    mutating func flag(_ key: String, _ value: inout Bool, stockTrue: String)
    /// Hexadecimal, without a prefix, of at least `digits` digits.
    mutating func hex(_ key: String, _ value: inout UInt64, digits: Int)
    /// A time span: whole seconds under `key` for strongSwan's clients, milliseconds under `key-ms` otherwise.
    mutating func span(_ key: String, milliseconds value: inout Int64)
    mutating func span(_ key: String, milliseconds value: inout Int64?)
    /// Milliseconds with three decimals, under `key-ms`.
    mutating func fine(_ key: String, microseconds value: inout Int64)
    mutating func list(_ key: String, _ value: inout [String], omitEmpty: Bool)
    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner)
    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner?)
    /// A section of sections in VICI, an array in JSON. `name` gives the inner section's name from the item and its index.
    mutating func sections<Inner: Summary>(_ key: String, _ value: inout [Inner], name: (Inner, Int) -> String)
    /// Names with numbers, in the order of their names.
    mutating func counters(_ key: String, _ value: inout [String: UInt64])
}

extension FieldCoder {
    mutating func flag(_ key: String, _ value: inout Bool) { flag(key, &value, stockTrue: "yes") }
    mutating func list(_ key: String, _ value: inout [String]) { list(key, &value, omitEmpty: false) }
    mutating func sections<Inner: Summary>(_ key: String, _ value: inout [Inner]) {
        sections(key, &value) { _, index in String(index) }
    }
}

extension Summary {
    func message(isStock: Bool = false) -> VICIMessage {
        var writer = VICIFieldWriter(isStock: isStock)
        var copy = self
        copy.fields(&writer)
        return writer.message
    }

    init(message: VICIMessage, title: String = "") throws(VICIError) {
        self.init()
        var reader = VICIFieldReader(message: message, title: title)
        fields(&reader)
        if let error = reader.error { throw error }
    }

    var jsonObject: JSON {
        var writer = JSONFieldWriter()
        var copy = self
        copy.fields(&writer)
        return .object(writer.members)
    }
}
