import Glibc

/// A JSON document (RFC 8259) whose values are read where they lie: of a large one nothing is copied but what somebody asks for, keys
/// least of all.
@usableFromInline final class JSONDocument: Sendable {
    /// A value, or the name of a member. What is inside an array or an object stands behind it: items, or names and values in turn.
    struct Node: Sendable {
        enum Kind: Sendable {
            case null, no, yes
            /// `first` and `second` are the halves of its bits; of a negative one in two's complement.
            case number(isNegative: Bool)
            /// From `first` to before `second`, without quotation marks: of the document, or, of one that has escapes, of `unescaped`.
            case string(isUnescaped: Bool)
            case array, object
        }

        var kind: Kind
        var first: UInt32 = 0
        var second: UInt32 = 0
        /// Behind it and all that is inside.
        var next = 0
    }

    @usableFromInline let bytes: [UInt8]
    /// The texts of strings that stand in `bytes` otherwise.
    @usableFromInline let unescaped: [UInt8]
    let nodes: [Node]

    init(parsing bytes: [UInt8]) throws(JSONError) {
        self.bytes = bytes
        (nodes, unescaped) = try JSONParser.read(bytes)
    }
}

/// A value of a document that was read, strictly: integers of 64 bits only, no member twice, nothing behind the document but white space.
public struct JSONValue: Sendable {
    @usableFromInline let document: JSONDocument
    private let index: Int

    /// Arrays and objects inside each other: several times what any document of ours has, and no danger to the stack.
    public static let depthMax = 16

    /// - Parameter limit: bytes that are taken.
    public init(parsing bytes: [UInt8], limit: Int) throws(JSONError) {
        guard bytes.count <= min(limit, Int(UInt32.max)) else { throw .tooLong(count: bytes.count, limit: limit) }
        document = try JSONDocument(parsing: bytes)
        index = 0
    }

    private init(_ document: JSONDocument, _ index: Int) {
        self.document = document
        self.index = index
    }

    private var node: JSONDocument.Node { document.nodes[index] }

    public var isNull: Bool { if case .null = node.kind { true } else { false } }
    public var isObject: Bool { if case .object = node.kind { true } else { false } }

    public var bool: Bool? {
        switch node.kind {
        case .yes: true
        case .no: false
        default: nil
        }
    }

    /// `nil` also for a number that the type does not hold.
    @inlinable public func number<Number: FixedWidthInteger>(_ type: Number.Type = Number.self) -> Number? {
        guard let (bits, isNegative) = integer else { return nil }
        return isNegative ? Number(exactly: Int64(bitPattern: bits)) : Number(exactly: bits)
    }

    @usableFromInline var integer: (bits: UInt64, isNegative: Bool)? {
        let node = node
        guard case .number(let isNegative) = node.kind else { return nil }
        return (UInt64(node.first) << 32 | UInt64(node.second), isNegative)
    }

    public var text: String? { withText { String(decoding: $0, as: UTF8.self) } }

    /// A string's text in UTF-8, where it lies. Not to be kept.
    @inlinable public func withText<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result? {
        guard let (range, isUnescaped) = string else { return nil }
        return (isUnescaped ? document.unescaped : document.bytes).withUnsafeBufferPointer {
            body(UnsafeBufferPointer(rebasing: $0[range]))
        }
    }

    @usableFromInline var string: (range: Range<Int>, isUnescaped: Bool)? {
        let node = node
        guard case .string(let isUnescaped) = node.kind else { return nil }
        return (Int(node.first)..<Int(node.second), isUnescaped)
    }

    /// An array's items.
    public var items: [JSONValue]? {
        guard case .array = node.kind else { return nil }
        var out: [JSONValue] = []
        var at = index + 1
        while at < node.next {
            out.append(JSONValue(document, at))
            at = document.nodes[at].next
        }
        return out
    }

    /// An object's member; of any other value there are none.
    public subscript(name: StaticString) -> JSONValue? {
        guard case .object = node.kind else { return nil }
        return document.nodes.withUnsafeBufferPointer { nodes -> JSONValue? in
            var at = index + 1
            while at < nodes[index].next {
                if document.isString(nodes[at], name) { return JSONValue(document, at + 1) }
                at = nodes[at + 1].next
            }
            return nil
        }
    }

    /// The value at this index, by itself.
    private func tree(at index: Int) -> JSON {
        let node = document.nodes[index]
        switch node.kind {
        case .null: return .null
        case .no: return .bool(false)
        case .yes: return .bool(true)
        case .number:
            let value = JSONValue(document, index)
            return value.number().map(JSON.integer) ?? .unsigned(value.number() ?? 0)
        case .string: return .string(JSONValue(document, index).text ?? "")
        case .array: return .array((JSONValue(document, index).items ?? []).map { tree(at: $0.index) })
        case .object:
            var members: [JSON.Member] = []
            var at = index + 1
            while at < node.next {
                members.append(JSON.Member(JSONValue(document, at).text ?? "", tree(at: at + 1)))
                at = document.nodes[at + 1].next
            }
            return .object(members)
        }
    }

    fileprivate var tree: JSON { tree(at: index) }
}

extension JSONDocument {
    fileprivate func isString(_ node: Node, _ text: StaticString) -> Bool {
        guard case .string(let isUnescaped) = node.kind else { return false }
        // Of most names the length is another already.
        let count = Int(node.second - node.first)
        guard count == text.utf8CodeUnitCount, count > 0 else { return count == text.utf8CodeUnitCount }
        return (isUnescaped ? unescaped : bytes).withUnsafeBytes {
            memcmp($0.baseAddress! + Int(node.first), text.utf8Start, count) == 0
        }
    }
}

extension JSON {
    /// Reads one document.
    ///
    /// - Parameter limit: bytes that are taken.
    public init(parsing bytes: [UInt8], limit: Int) throws(JSONError) { self = JSON(try JSONValue(parsing: bytes, limit: limit)) }

    /// A value of its own.
    public init(_ value: JSONValue) { self = value.tree }
}
