/// A JSON value whose members keep their order, so that the same summary is always the same text (RFC 8259).
public enum JSON: Hashable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    case unsigned(UInt64)
    /// Thousandths: 3,214 is written 3.214.
    case thousandths(Int64)
    case string(String)
    case array([JSON])
    case object([Member])

    public struct Member: Hashable, Sendable {
        public var name: String
        public var value: JSON

        public init(_ name: String, _ value: JSON) {
            self.name = name
            self.value = value
        }
    }

    /// The text, indented by two spaces a level.
    public var text: String {
        var out: [UInt8] = []
        write(to: &out, indent: "")
        return String(decoding: out, as: UTF8.self)
    }

    /// The text in one line, for streams of documents.
    public var line: String { String(decoding: lineBytes, as: UTF8.self) }

    /// The text in one line, in UTF-8.
    public var lineBytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(4096)
        write(to: &out, indent: nil)
        return out
    }

    /// `indent` is `nil` when all stands in one line.
    private func write(to out: inout [UInt8], indent: String?) {
        switch self {
        case .null: out += "null".utf8
        case .bool(let value): out += (value ? "true" : "false").utf8
        case .integer(let value): out += String(value).utf8
        case .unsigned(let value): out += String(value).utf8
        case .thousandths(let value): out += JSON.decimal(thousandths: value).utf8
        case .string(let value): JSON.write(value, to: &out)
        case .array(let items):
            JSON.write(items, "[", "]", to: &out, indent: indent) { $0.write(to: &$1, indent: $2) }
        case .object(let members):
            JSON.write(members, "{", "}", to: &out, indent: indent) {
                JSON.write($0.name, to: &$1)
                $1.append(UInt8(ascii: ":"))
                $1.append(UInt8(ascii: " "))
                $0.value.write(to: &$1, indent: $2)
            }
        }
    }

    private static func write<Item>(
        _ items: [Item], _ open: Unicode.Scalar, _ close: Unicode.Scalar, to out: inout [UInt8], indent: String?,
        _ item: (Item, inout [UInt8], String?) -> Void
    ) {
        out.append(UInt8(ascii: open))
        defer { out.append(UInt8(ascii: close)) }
        guard !items.isEmpty else { return }
        let inner = indent.map { $0 + "  " }
        for (index, element) in items.enumerated() {
            if index > 0 { out.append(UInt8(ascii: ",")) }
            if let inner { out += "\n\(inner)".utf8 } else if index > 0 { out.append(UInt8(ascii: " ")) }
            item(element, &out, inner)
        }
        if let indent { out += "\n\(indent)".utf8 }
    }

    /// RFC 8259 §7: quotation marks, reverse solidus and control characters are escaped.
    private static func write(_ value: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        var value = value
        value.withUTF8 { text in
            // What needs no escape, which is nearly all, in one piece.
            var start = 0
            for index in text.indices {
                guard needsEscape(text[index]) else { continue }
                out += UnsafeBufferPointer(rebasing: text[start..<index])
                out += escape(text[index]).utf8
                start = index + 1
            }
            out += UnsafeBufferPointer(rebasing: text[start...])
        }
        out.append(UInt8(ascii: "\""))
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F
    }

    private static func escape(_ byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "\""): "\\\""
        case UInt8(ascii: "\\"): "\\\\"
        case UInt8(ascii: "\n"): "\\n"
        case UInt8(ascii: "\r"): "\\r"
        case UInt8(ascii: "\t"): "\\t"
        default: "\\u00\(byte < 0x10 ? "0" : "")\(String(byte, radix: 16))"
        }
    }

    static func decimal(thousandths value: Int64) -> String {
        let magnitude = value.magnitude
        let fraction = String(magnitude % 1000)
        return (value < 0 ? "-" : "") + "\(magnitude / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
    }
}
