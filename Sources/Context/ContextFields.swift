import Control
import Cryptography
import Session

/// The members of one object of the document, read by their names. Members that nobody asks for are passed over.
struct ContextFields {
    /// So few that looking through them is faster than a dictionary.
    private let members: [JSON.Member]
    private let path: String

    init(_ members: [JSON.Member], path: String) {
        self.members = members
        self.path = path
    }

    func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
    func has(_ key: String) -> Bool {
        guard let member = members.first(where: { $0.name == key }) else { return false }
        if case .null = member.value { return false }
        return true
    }

    private func value(_ key: String) throws(ContextError) -> JSON {
        guard let member = members.first(where: { $0.name == key }) else { throw .missing(name(key)) }
        return member.value
    }

    func text(_ key: String, max: Int = ContextFormat.textBytesMax) throws(ContextError) -> String {
        guard case .string(let text) = try value(key) else { throw .invalid(name(key)) }
        guard text.utf8.count <= max else { throw .tooLong(field: name(key), count: text.utf8.count, limit: max) }
        return text
    }

    func flag(_ key: String) throws(ContextError) -> Bool {
        guard case .bool(let flag) = try value(key) else { throw .invalid(name(key)) }
        return flag
    }

    func number<Number: FixedWidthInteger>(_ key: String, _ type: Number.Type = Number.self) throws(ContextError) -> Number {
        let number: Number?
        switch try value(key) {
        case .integer(let value): number = Number(exactly: value)
        case .unsigned(let value): number = Number(exactly: value)
        default: number = nil
        }
        guard let number else { throw .invalid(name(key)) }
        return number
    }

    func number<Number: FixedWidthInteger>(ifPresent key: String, _ type: Number.Type = Number.self) throws(ContextError) -> Number? {
        has(key) ? try number(key) : nil
    }

    func milliseconds(_ key: String) throws(ContextError) -> Int64 {
        let value: Int64 = try number(key)
        guard value.magnitude <= UInt64(ContextFormat.wallMillisecondsMax) else { throw .invalid(name(key)) }
        return value
    }

    func milliseconds(ifPresent key: String) throws(ContextError) -> Int64? { has(key) ? try milliseconds(key) : nil }

    func enumeration<Value: RawRepresentable>(_ key: String, _ type: Value.Type = Value.self) throws(ContextError) -> Value
    where Value.RawValue: FixedWidthInteger {
        let raw: Value.RawValue = try number(key)
        guard let value = Value(rawValue: raw) else { throw .invalid(name(key)) }
        return value
    }

    func octets(_ key: String, max: Int) throws(ContextError) -> [UInt8] {
        try octets(try text(key, max: 2 * max), name(key))
    }

    private func octets(_ text: String, _ field: String) throws(ContextError) -> [UInt8] {
        guard let octets = Context.octets(hexadecimal: text) else { throw .invalid(field) }
        return octets
    }

    /// A key of exactly `count` octets.
    func secret(_ key: String, count: Int) throws(ContextError) -> SecretBytes {
        let octets = try octets(key, max: count)
        guard octets.count == count else { throw .invalid(name(key)) }
        return SecretBytes(octets)
    }

    func secret(_ key: String, max: Int) throws(ContextError) -> SecretBytes { SecretBytes(try octets(key, max: max)) }

    /// All digits of the number, also zeros in front.
    func spi<Number: FixedWidthInteger & UnsignedInteger>(_ key: String) throws(ContextError) -> Number {
        let count = Number.bitWidth / 8
        let octets = try octets(key, max: count)
        guard octets.count == count else { throw .invalid(name(key)) }
        return octets.reduce(Number(0)) { $0 << 8 | Number($1) }
    }

    func address(_ key: String) throws(ContextError) -> IPAddress { try address(try text(key), name(key)) }

    /// Addresses have one form only.
    private func address(_ text: String, _ field: String) throws(ContextError) -> IPAddress {
        // IPv4 is read in that form only.
        guard let address = IPAddress(text), address.isIPv4 || "\(address)" == text else { throw .invalid(field) }
        return address
    }

    func endpoint(_ key: String) throws(ContextError) -> Endpoint {
        let text = try text(key)
        guard let endpoint = Endpoint(text), "\(endpoint)" == text else { throw .invalid(name(key)) }
        return endpoint
    }

    func fields(_ key: String) throws(ContextError) -> ContextFields {
        guard case .object(let members) = try value(key) else { throw .invalid(name(key)) }
        return ContextFields(members, path: name(key))
    }

    func fields(ifPresent key: String) throws(ContextError) -> ContextFields? { has(key) ? try fields(key) : nil }

    private func items(_ key: String, max: Int) throws(ContextError) -> [JSON] {
        guard case .array(let items) = try value(key) else { throw .invalid(name(key)) }
        guard items.count <= max else { throw .tooLong(field: name(key), count: items.count, limit: max) }
        return items
    }

    func list<Value>(
        _ key: String, max: Int, _ read: (ContextFields) throws(ContextError) -> Value
    ) throws(ContextError) -> [Value] {
        var out: [Value] = []
        for (index, item) in try items(key, max: max).enumerated() {
            guard case .object(let members) = item else { throw .invalid(name(key)) }
            do throws(ContextError) { out.append(try read(ContextFields(members, path: ""))) } catch {
                throw error.inside("\(name(key))[\(index)]")
            }
        }
        return out
    }

    private func texts(_ key: String, max: Int) throws(ContextError) -> [String] {
        var out: [String] = []
        for item in try items(key, max: max) {
            guard case .string(let text) = item else { throw .invalid(name(key)) }
            out.append(text)
        }
        return out
    }

    func addresses(_ key: String, max: Int) throws(ContextError) -> [IPAddress] {
        var out: [IPAddress] = []
        for text in try texts(key, max: max) { out.append(try address(text, name(key))) }
        return out
    }

    /// One datagram, or the fragments of a message.
    func datagrams(_ key: String) throws(ContextError) -> [[UInt8]] {
        var out: [[UInt8]] = []
        var total = 0
        for text in try texts(key, max: ContextFormat.fragmentsMax) {
            out.append(try octets(text, name(key)))
            total += text.utf8.count / 2
        }
        let limit = 2 * ContextFormat.datagramBytesMax
        guard total <= limit else { throw .tooLong(field: name(key), count: total, limit: limit) }
        return out
    }
}

/// Puts the members of one object down, in order; what is `nil` is left out.
struct ContextMembers {
    private(set) var members: [JSON.Member] = []
    var json: JSON { .object(members) }

    mutating func add(_ key: String, _ value: JSON) { members.append(JSON.Member(key, value)) }
    mutating func add(_ key: String, _ value: String) { add(key, .string(value)) }
    mutating func add(_ key: String, _ value: Bool) { add(key, .bool(value)) }
    mutating func add<Number: FixedWidthInteger>(_ key: String, _ value: Number) {
        add(key, Int64(exactly: value).map(JSON.integer) ?? .unsigned(UInt64(truncatingIfNeeded: value)))
    }
    mutating func add<Number: FixedWidthInteger>(_ key: String, ifPresent value: Number?) { if let value { add(key, value) } }
    mutating func add(_ key: String, ifPresent value: JSON?) { if let value { add(key, value) } }
    mutating func add(_ key: String, octets: some Collection<UInt8>) { add(key, hexadecimal(octets)) }
    mutating func add(_ key: String, secret: SecretBytes) { add(key, secret.withUnsafeBytes { hexadecimal($0) }) }
    mutating func add<Number: FixedWidthInteger & UnsignedInteger>(_ key: String, spi: Number) {
        let text = String(spi, radix: 16)
        add(key, String(repeating: "0", count: Number.bitWidth / 4 - text.count) + text)
    }
    mutating func add(_ key: String, datagrams: [[UInt8]]) { add(key, .array(datagrams.map { .string(hexadecimal($0)) })) }
    mutating func add(_ key: String, addresses: [IPAddress]) { add(key, .array(addresses.map { .string("\($0)") })) }

    static func json(_ build: (inout ContextMembers) -> Void) -> JSON {
        var members = ContextMembers()
        members.members.reserveCapacity(16)
        build(&members)
        return members.json
    }
}
