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

/// Finds the values of a document, and that it is well-formed.
struct JSONParser {
    private static let fewMembers = 32

    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var nodes: [JSONDocument.Node] = []
    private var unescaped: [UInt8] = []

    private init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// - Returns: the values, and the texts of strings that have escapes.
    static func read(_ bytes: [UInt8]) throws(JSONError) -> (nodes: [JSONDocument.Node], unescaped: [UInt8]) {
        // `withUnsafeBufferPointer` does not tell of typed errors that pass through it.
        let result = bytes.withUnsafeBufferPointer { (all) -> Result<JSONParser, JSONError> in
            Result { () throws(JSONError) in
                var parser = JSONParser(bytes: all)
                // A value, its name, and what separates them are seldom less.
                parser.nodes.reserveCapacity(all.count / 16)
                try parser.document()
                return parser
            }
        }
        let parser = try result.get()
        return (parser.nodes, parser.unescaped)
    }

    private mutating func document() throws(JSONError) {
        try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw .unexpected(offset: position) }
    }

    private mutating func value(depth: Int) throws(JSONError) {
        skipSpace()
        let first = try peek()
        guard depth < JSONValue.depthMax || (first != UInt8(ascii: "{") && first != UInt8(ascii: "[")) else {
            throw .tooDeep(offset: position)
        }
        switch first {
        case UInt8(ascii: "{"): try members(depth: depth)
        case UInt8(ascii: "["): try items(depth: depth)
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try word("true", .yes)
        case UInt8(ascii: "f"): try word("false", .no)
        case UInt8(ascii: "n"): try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
        default: throw .unexpected(offset: position)
        }
    }

    private mutating func add(_ kind: JSONDocument.Node.Kind, _ first: UInt32 = 0, _ second: UInt32 = 0) {
        nodes.append(JSONDocument.Node(kind: kind, first: first, second: second, next: nodes.count + 1))
    }

    private mutating func members(depth: Int) throws(JSONError) {
        let object = nodes.count
        add(.object)
        // Of objects with more members than can be looked through each time.
        var known: Set<[UInt8]> = []
        var count = 0
        try expect("{")
        if try isNext("}") { return }
        repeat {
            skipSpace()
            let name = nodes.count
            try string()
            var isNew = true
            if count < JSONParser.fewMembers {
                forEachName(of: object, before: name) { if isSame($0, name) { isNew = false } }
            } else {
                if known.isEmpty { forEachName(of: object, before: name) { known.insert(Array(text(of: $0))) } }
                isNew = known.insert(Array(text(of: name))).inserted
            }
            guard isNew else { throw .repeated(member: String(decoding: text(of: name), as: UTF8.self)) }
            count += 1
            skipSpace()
            try expect(":")
            try value(depth: depth + 1)
        } while try isNext(",")
        try expect("}")
        nodes[object].next = nodes.count
    }

    /// Where the names of an object's members are.
    private func forEachName(of object: Int, before end: Int, _ body: (Int) -> Void) {
        var name = object + 1
        while name < end {
            body(name)
            name = nodes[name + 1].next
        }
    }

    private func isSame(_ one: Int, _ other: Int) -> Bool {
        guard nodes[one].second - nodes[one].first == nodes[other].second - nodes[other].first else { return false }
        guard case .string(false) = nodes[one].kind, case .string(false) = nodes[other].kind else {
            return text(of: one) == text(of: other)
        }
        return bytes[range(of: one)].elementsEqual(bytes[range(of: other)])
    }

    private func range(of string: Int) -> Range<Int> { Int(nodes[string].first)..<Int(nodes[string].second) }

    private func text(of string: Int) -> ArraySlice<UInt8> {
        if case .string(true) = nodes[string].kind { return unescaped[range(of: string)] }
        return ArraySlice(bytes[range(of: string)])
    }

    private mutating func items(depth: Int) throws(JSONError) {
        let array = nodes.count
        add(.array)
        try expect("[")
        if try isNext("]") { return }
        repeat { try value(depth: depth + 1) } while try isNext(",")
        try expect("]")
        nodes[array].next = nodes.count
    }

    private mutating func number() throws(JSONError) {
        let start = position
        let isNegative = bytes[position] == UInt8(ascii: "-")
        if isNegative { position += 1 }
        let digits = position
        var magnitude: UInt64 = 0
        while position < bytes.count, JSONParser.isDigit(bytes[position]) {
            let (tens, isTooMuch) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, isTooMuchNow) = tens.addingReportingOverflow(UInt64(bytes[position] - UInt8(ascii: "0")))
            guard !isTooMuch, !isTooMuchNow else { throw .number(offset: start) }
            magnitude = sum
            position += 1
        }
        let count = position - digits
        let isWhole = position == bytes.count || ![UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(bytes[position])
        // "-0" would be written as "0".
        guard count > 0, isWhole, count == 1 || bytes[digits] != UInt8(ascii: "0"), !isNegative || magnitude > 0 else {
            throw .number(offset: start)
        }
        guard !isNegative || magnitude <= Int64.min.magnitude else { throw .number(offset: start) }
        let bits = isNegative ? 0 &- magnitude : magnitude
        add(.number(isNegative: isNegative), UInt32(bits >> 32), UInt32(truncatingIfNeeded: bits))
    }

    private mutating func string() throws(JSONError) {
        try expect("\"")
        let (start, first) = (position, unescaped.count)
        // Of the text so far as much as is not in `unescaped` yet begins here.
        var rest = position
        var (hasEscapes, isASCII) = (false, true)
        while true {
            skipPlain()
            guard position < bytes.count else { throw .truncated }
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                let end = position - 1
                // What is escaped is text by itself.
                guard isASCII || String(validating: bytes[start..<end], as: UTF8.self) != nil else { throw .text(offset: start) }
                guard hasEscapes else { return add(.string(isUnescaped: false), UInt32(start), UInt32(end)) }
                unescaped += bytes[rest..<end]
                return add(.string(isUnescaped: true), UInt32(first), UInt32(unescaped.count))
            case UInt8(ascii: "\\"):
                hasEscapes = true
                unescaped += bytes[rest..<position - 1]
                unescaped += try escaped()
                rest = position
            case 0..<0x20: throw .text(offset: position - 1)
            case 0x80...: isASCII = false
            default: continue
            }
        }
    }

    /// Passes over ASCII that needs no escape, eight at a time: keys and datagrams are most of what is read here.
    private mutating func skipPlain() {
        let (ones, tops): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        // The top bit of an octet of the result is set where `word` has zero there; above such a one possibly by mistake.
        func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word }
        while bytes.count - position >= 8 {
            let word = UnsafeRawPointer(bytes.baseAddress! + position).loadUnaligned(as: UInt64.self)
            let quotes = zeros(word ^ (ones &* UInt64(UInt8(ascii: "\"")))), escapes = zeros(word ^ (ones &* UInt64(UInt8(ascii: "\\"))))
            let controls = (word &- ones &* 0x20) & ~word
            guard (word | quotes | escapes | controls) & tops == 0 else { return }
            position += 8
        }
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

    private mutating func word(_ text: StaticString, _ kind: JSONDocument.Node.Kind) throws(JSONError) {
        try expect(text)
        add(kind)
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
