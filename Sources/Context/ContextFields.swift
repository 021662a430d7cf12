import Control
import Cryptography
import Session

/// The members of one object of the document, read by their names. Members that nobody asks for are passed over.
struct ContextFields {
    /// Where the object is, for whoever is told that something is wrong with it: put together then, and not before.
    private indirect enum Path {
        case root
        case member(StaticString, of: Path)

        func name(_ key: StaticString) -> String {
            switch self {
            case .root: "\(key)"
            case .member(let name, let outer): "\(outer.name(name)).\(key)"
            }
        }
    }

    private let object: JSONValue
    private let path: Path

    /// - Parameter object: anything else has no members.
    init(_ object: JSONValue) { self.init(object, .root) }

    private init(_ object: JSONValue, _ path: Path) {
        self.object = object
        self.path = path
    }

    func name(_ key: StaticString) -> String { path.name(key) }
    func has(_ key: StaticString) -> Bool { object[key].map { !$0.isNull } ?? false }

    private func value(_ key: StaticString) throws(ContextError) -> JSONValue {
        guard let value = object[key] else { throw .missing(name(key)) }
        return value
    }

    func text(_ key: StaticString, max: Int = ContextFormat.textBytesMax) throws(ContextError) -> String {
        guard let text = try value(key).text else { throw .invalid(name(key)) }
        guard text.utf8.count <= max else { throw .tooLong(field: name(key), count: text.utf8.count, limit: max) }
        return text
    }

    func flag(_ key: StaticString) throws(ContextError) -> Bool {
        guard let flag = try value(key).bool else { throw .invalid(name(key)) }
        return flag
    }

    func number<Number: FixedWidthInteger>(_ key: StaticString, _ type: Number.Type = Number.self) throws(ContextError) -> Number {
        guard let number: Number = try value(key).number() else { throw .invalid(name(key)) }
        return number
    }

    func number<Number: FixedWidthInteger>(
        ifPresent key: StaticString, _ type: Number.Type = Number.self
    ) throws(ContextError) -> Number? {
        has(key) ? try number(key) : nil
    }

    func milliseconds(_ key: StaticString) throws(ContextError) -> Int64 {
        let value: Int64 = try number(key)
        guard value.magnitude <= UInt64(ContextFormat.wallMillisecondsMax) else { throw .invalid(name(key)) }
        return value
    }

    func milliseconds(ifPresent key: StaticString) throws(ContextError) -> Int64? { has(key) ? try milliseconds(key) : nil }

    func enumeration<Value: RawRepresentable>(_ key: StaticString, _ type: Value.Type = Value.self) throws(ContextError) -> Value
    where Value.RawValue: FixedWidthInteger {
        let raw: Value.RawValue = try number(key)
        guard let value = Value(rawValue: raw) else { throw .invalid(name(key)) }
        return value
    }

    /// Hands over the digits of octets, of which there are at most `max`.
    private func octets<Result>(
        _ key: StaticString, max: Int, _ read: (UnsafeBufferPointer<UInt8>) -> Result?
    ) throws(ContextError) -> Result {
        let value = try value(key)
        guard let count = value.withText(\.count) else { throw .invalid(name(key)) }
        guard count <= 2 * max else { throw .tooLong(field: name(key), count: count, limit: 2 * max) }
        guard let result = value.withText(read) ?? nil else { throw .invalid(name(key)) }
        return result
    }

    func octets(_ key: StaticString, max: Int) throws(ContextError) -> [UInt8] {
        try octets(key, max: max) { Context.octets(hexadecimal: $0) }
    }

    /// A key of exactly `count` octets.
    func secret(_ key: StaticString, count: Int) throws(ContextError) -> SecretBytes {
        let secret = try secret(key, max: count)
        guard secret.count == count else { throw .invalid(name(key)) }
        return secret
    }

    /// Read where it lies: beside the document no copy of it stays behind.
    func secret(_ key: StaticString, max: Int) throws(ContextError) -> SecretBytes {
        try octets(key, max: max) { digits in
            var isRead = false
            let secret = SecretBytes(count: digits.count / 2) { isRead = read(hexadecimal: digits, into: $0) }
            return isRead ? secret : nil
        }
    }

    /// All digits of the number, also zeros in front.
    func spi<Number: FixedWidthInteger & UnsignedInteger>(_ key: StaticString) throws(ContextError) -> Number {
        let count = Number.bitWidth / 8
        let octets = try octets(key, max: count)
        guard octets.count == count else { throw .invalid(name(key)) }
        return octets.reduce(Number(0)) { $0 << 8 | Number($1) }
    }

    func address(_ key: StaticString) throws(ContextError) -> IPAddress { try address(try text(key), key) }

    /// Addresses have one form only.
    private func address(_ text: String, _ key: StaticString) throws(ContextError) -> IPAddress {
        // IPv4 is read in that form only.
        guard let address = IPAddress(text), address.isIPv4 || "\(address)" == text else { throw .invalid(name(key)) }
        return address
    }

    func endpoint(_ key: StaticString) throws(ContextError) -> Endpoint {
        let text = try text(key)
        guard let endpoint = Endpoint(text), "\(endpoint)" == text else { throw .invalid(name(key)) }
        return endpoint
    }

    func fields(_ key: StaticString) throws(ContextError) -> ContextFields {
        let value = try value(key)
        guard value.isObject else { throw .invalid(name(key)) }
        return ContextFields(value, .member(key, of: path))
    }

    func fields(ifPresent key: StaticString) throws(ContextError) -> ContextFields? { has(key) ? try fields(key) : nil }

    private func items(_ key: StaticString, max: Int) throws(ContextError) -> [JSONValue] {
        guard let items = try value(key).items else { throw .invalid(name(key)) }
        guard items.count <= max else { throw .tooLong(field: name(key), count: items.count, limit: max) }
        return items
    }

    func list<Value>(
        _ key: StaticString, max: Int, _ read: (ContextFields) throws(ContextError) -> Value
    ) throws(ContextError) -> [Value] {
        var out: [Value] = []
        for (index, item) in try items(key, max: max).enumerated() {
            guard item.isObject else { throw .invalid(name(key)) }
            do throws(ContextError) { out.append(try read(ContextFields(item))) } catch {
                throw error.inside("\(name(key))[\(index)]")
            }
        }
        return out
    }

    func addresses(_ key: StaticString, max: Int) throws(ContextError) -> [IPAddress] {
        var out: [IPAddress] = []
        for item in try items(key, max: max) {
            guard let text = item.text else { throw .invalid(name(key)) }
            out.append(try address(text, key))
        }
        return out
    }

    /// One datagram, or the fragments of a message.
    func datagrams(_ key: StaticString) throws(ContextError) -> [[UInt8]] {
        var out: [[UInt8]] = []
        var total = 0
        for item in try items(key, max: ContextFormat.fragmentsMax) {
            guard let octets = item.withText({ Context.octets(hexadecimal: $0) }) ?? nil else { throw .invalid(name(key)) }
            out.append(octets)
            total += octets.count
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
