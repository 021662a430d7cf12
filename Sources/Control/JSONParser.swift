/// Why bytes are not the JSON that is read here. Offsets count from 0.
public enum JSONError: Error, Hashable, Sendable {
    case tooLong(count: Int, limit: Int)
    case tooDeep(offset: Int)
    /// The text ends inside a value.
    case truncated
    case unexpected(offset: Int)
    /// A fraction, an exponent, or more than 64 bits: nothing that is read here has one.
    case number(offset: Int)
    /// Not UTF-8, an unknown escape, or half a surrogate pair.
    case text(offset: Int)
    /// A member stands twice in one object: which of them counts would be a guess.
    case repeated(member: String)
}

extension JSONError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .tooLong(let count, let limit): "\(count) bytes, \(limit) are allowed"
        case .tooDeep(let offset): "nested too deep at byte \(offset)"
        case .truncated: "the text ends too early"
        case .unexpected(let offset): "not JSON at byte \(offset)"
        case .number(let offset): "a number at byte \(offset) that is not an integer of 64 bits"
        case .text(let offset): "text at byte \(offset) that cannot be read"
        case .repeated(let member): "'\(member)' stands twice"
        }
    }
}

extension JSON {
    /// Arrays and objects inside each other: several times what any document of ours has, and no danger to the stack.
    public static let depthMax = 16

    /// Reads one document (RFC 8259), strictly: integers of 64 bits only, no member twice, nothing behind the value but white space.
    ///
    /// - Parameter limit: bytes that are taken.
    public init(parsing bytes: [UInt8], limit: Int) throws(JSONError) {
        guard bytes.count <= limit else { throw .tooLong(count: bytes.count, limit: limit) }
        var parser = JSONParser(bytes: bytes)
        self = try parser.document()
    }
}

private struct JSONParser {
    private static let fewMembers = 32

    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONError) -> JSON {
        let value = try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw .unexpected(offset: position) }
        return value
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSON {
        skipSpace()
        let first = try peek()
        guard depth < JSON.depthMax || (first != UInt8(ascii: "{") && first != UInt8(ascii: "[")) else { throw .tooDeep(offset: position) }
        switch first {
        case UInt8(ascii: "{"): return .object(try members(depth: depth))
        case UInt8(ascii: "["): return .array(try items(depth: depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw .unexpected(offset: position)
        }
    }

    private mutating func members(depth: Int) throws(JSONError) -> [JSON.Member] {
        var out: [JSON.Member] = []
        // Of objects with more members than can be looked through each time.
        var names: Set<String> = []
        try expect("{")
        if try isNext("}") { return out }
        repeat {
            skipSpace()
            let name = try string()
            if out.count == JSONParser.fewMembers { names = Set(out.lazy.map(\.name)) }
            let isNew = out.count < JSONParser.fewMembers ? !out.contains { $0.name == name } : names.insert(name).inserted
            guard isNew else { throw .repeated(member: name) }
            skipSpace()
            try expect(":")
            out.append(JSON.Member(name, try value(depth: depth + 1)))
        } while try isNext(",")
        try expect("}")
        return out
    }

    private mutating func items(depth: Int) throws(JSONError) -> [JSON] {
        var out: [JSON] = []
        try expect("[")
        if try isNext("]") { return out }
        repeat { out.append(try value(depth: depth + 1)) } while try isNext(",")
        try expect("]")
        return out
    }

    private mutating func number() throws(JSONError) -> JSON {
        let start = position
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        let digits = position
        while position < bytes.count, JSONParser.isDigit(bytes[position]) { position += 1 }
        let count = position - digits
        let isWhole = position == bytes.count || ![UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(bytes[position])
        guard count > 0, isWhole, count == 1 || bytes[digits] != UInt8(ascii: "0") else { throw .number(offset: start) }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        // "-0" would be written as "0".
        guard text != "-0" else { throw .number(offset: start) }
        if let value = Int64(text) { return .integer(value) }
        guard let value = UInt64(text) else { throw .number(offset: start) }
        return .unsigned(value)
    }

    private mutating func string() throws(JSONError) -> String {
        try expect("\"")
        let start = position
        var out: [UInt8] = []
        while true {
            // What needs no escape, which is nearly all, in one piece.
            let run = position
            while position < bytes.count, JSONParser.isPlain(bytes[position]) { position += 1 }
            let byte = try peek()
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                if run > start { out += bytes[run..<position - 1] }
                guard let text = run > start ? String(validating: out, as: UTF8.self) : text(run..<position - 1) else {
                    throw .text(offset: start)
                }
                return text
            case UInt8(ascii: "\\"):
                out += bytes[run..<position - 1]
                out += try escaped()
            default: throw .text(offset: position - 1)
            }
        }
    }

    private func text(_ range: Range<Int>) -> String? {
        bytes.withUnsafeBufferPointer { all in
            let part = UnsafeBufferPointer(rebasing: all[range])
            // ASCII, which nearly all is, cannot be wrong.
            if part.allSatisfy({ $0 < 0x80 }) { return String(decoding: part, as: UTF8.self) }
            return String(validating: part, as: UTF8.self)
        }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") && byte >= 0x20
    }

    private mutating func escaped() throws(JSONError) -> [UInt8] {
        let byte = try peek()
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [8]
        case UInt8(ascii: "t"): return [9]
        case UInt8(ascii: "n"): return [10]
        case UInt8(ascii: "f"): return [12]
        case UInt8(ascii: "r"): return [13]
        case UInt8(ascii: "u"): return Array(String(try scalar()).utf8)
        default: throw .text(offset: position - 1)
        }
    }

    private mutating func scalar() throws(JSONError) -> Unicode.Scalar {
        let start = position
        let first = try unit()
        var value = UInt32(first)
        if (0xD800..<0xDC00).contains(first) {
            try expect("\\")
            try expect("u")
            let second = try unit()
            guard (0xDC00..<0xE000).contains(second) else { throw .text(offset: start) }
            value = 0x10000 + (UInt32(first) - 0xD800) << 10 + (UInt32(second) - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(value) else { throw .text(offset: start) }
        return scalar
    }

    private mutating func unit() throws(JSONError) -> UInt16 {
        guard bytes.count - position >= 4 else { throw .truncated }
        let digits = bytes[position..<position + 4]
        guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let value = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw .text(offset: position) }
        position += 4
        return value
    }

    private mutating func word(_ text: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        try expect(text)
        return value
    }

    /// Passes over the character behind white space if it is this one.
    private mutating func isNext(_ character: StaticString) throws(JSONError) -> Bool {
        skipSpace()
        guard try peek() == character.utf8Start[0] else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ text: StaticString) throws(JSONError) {
        for index in 0..<text.utf8CodeUnitCount {
            guard try peek() == text.utf8Start[index] else { throw .unexpected(offset: position) }
            position += 1
        }
    }

    private func peek() throws(JSONError) -> UInt8 {
        guard position < bytes.count else { throw .truncated }
        return bytes[position]
    }

    private mutating func skipSpace() {
        while position < bytes.count, JSONParser.isSpace(bytes[position]) { position += 1 }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
