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
        var out = ""
        write(to: &out, indent: "")
        return out
    }

    /// The text in one line, for streams of documents.
    public var line: String {
        var out = ""
        write(to: &out, indent: nil)
        return out
    }

    /// `indent` is `nil` when all stands in one line.
    private func write(to out: inout String, indent: String?) {
        switch self {
        case .null: out += "null"
        case .bool(let value): out += value ? "true" : "false"
        case .integer(let value): out += String(value)
        case .unsigned(let value): out += String(value)
        case .thousandths(let value): out += JSON.decimal(thousandths: value)
        case .string(let value): JSON.write(value, to: &out)
        case .array(let items):
            JSON.write(items, "[", "]", to: &out, indent: indent) { $0.write(to: &$1, indent: $2) }
        case .object(let members):
            JSON.write(members, "{", "}", to: &out, indent: indent) {
                JSON.write($0.name, to: &$1)
                $1 += ": "
                $0.value.write(to: &$1, indent: $2)
            }
        }
    }

    private static func write<Item>(
        _ items: [Item], _ open: String, _ close: String, to out: inout String, indent: String?,
        _ item: (Item, inout String, String?) -> Void
    ) {
        guard !items.isEmpty else {
            out += open + close
            return
        }
        let inner = indent.map { $0 + "  " }
        out += open
        for (index, element) in items.enumerated() {
            if index > 0 { out += inner == nil ? ", " : "," }
            if let inner { out += "\n" + inner }
            item(element, &out, inner)
        }
        if let indent { out += "\n" + indent }
        out += close
    }

    /// RFC 8259 §7: quotation marks, reverse solidus and control characters are escaped.
    private static func write(_ value: String, to out: inout String) {
        out += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        out += "\""
    }

    static func decimal(thousandths value: Int64) -> String {
        let magnitude = value.magnitude
        let fraction = String(magnitude % 1000)
        return (value < 0 ? "-" : "") + "\(magnitude / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
    }
}
