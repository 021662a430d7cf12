import Control
import Cryptography
import Session

extension SessionContext {
    /// The document in one line: the form in which it goes from gateway to gateway. The same context is always the same bytes.
    public func encode() -> [UInt8] {
        // As `document` in one line, without a second walk through it: behind its members, in place of the end, stands their digest.
        var out = JSON.object(members).lineBytes
        let end = SessionContext.end(of: out)
        out.removeLast()
        return out + end
    }

    /// What stands in place of the last octet of a document in one line.
    private static func end(of line: [UInt8]) -> [UInt8] { Array(", \"sha256\": \"\(hexadecimal(sha256(line)))\"}".utf8) }

    /// The document for people and files, indented.
    public var text: String { document.text + "\n" }

    /// The members, and behind them the digest of all that stands before it.
    private var document: JSON {
        let members = self.members
        return .object(members + [JSON.Member("sha256", .string(SessionContext.digest(members)))])
    }

    private static func digest(_ members: [JSON.Member]) -> String { hexadecimal(sha256(JSON.object(members).lineBytes)) }

    /// Reads a document that is not sealed.
    public init(parsing bytes: [UInt8]) throws(ContextError) {
        var members = try JSON.members(of: bytes, limit: ContextFormat.bytesMax * 2)
        try self.init(checking: &members, isWhole: SessionContext.isWhole(bytes))
    }

    /// Of a document as `encode` makes it. One in another form has to be written once more before its digest can be looked at.
    private static func isWhole(_ bytes: [UInt8]) -> Bool {
        let count = endBytesCount
        guard bytes.count > count else { return false }
        return constantTimeEquals(Array(bytes.suffix(count)), end(of: bytes.dropLast(count) + [UInt8(ascii: "}")]))
    }

    private static let endBytesCount = end(of: []).count

    /// A document in one line, as it goes over a wire; members that are not known here stay.
    public static func compact(_ bytes: [UInt8]) throws(ContextError) -> [UInt8] {
        JSON.object(try JSON.members(of: bytes, limit: ContextFormat.bytesMax * 2)).lineBytes
    }

    /// A document as `text` makes it, of one in any form; members that are not known here stay, and nothing is verified.
    public static func indented(_ bytes: [UInt8]) throws(ContextError) -> String {
        JSON.object(try JSON.members(of: bytes, limit: ContextFormat.bytesMax * 2)).text + "\n"
    }

    private init(checking members: inout [JSON.Member], isWhole: Bool) throws(ContextError) {
        let all = ContextFields(members, path: "")
        switch try all.text("schema") {
        case ContextFormat.schema: break
        case ContextFormat.sealedSchema: throw .passphraseNeeded
        default: throw .malformed("another schema")
        }
        try ContextFormat.check(version: try all.text("version"))
        guard let last = members.popLast(), last.name == "sha256", case .string(let digest) = last.value else { throw .damaged }
        guard isWhole || constantTimeEquals(Array(digest.utf8), Array(SessionContext.digest(members).utf8)) else { throw .damaged }
        try self.init(ContextFields(members, path: ""))
    }
}

extension ContextFormat {
    static var version: String { "\(major).\(minor)" }

    /// Any minor version of ours is read.
    static func check(version: String) throws(ContextError) {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = UInt16(parts[0]), UInt16(parts[1]) != nil, version.utf8.count <= 11 else {
            throw .invalid("version")
        }
        guard major == self.major else { throw .unsupportedVersion(version) }
    }
}

extension JSON {
    /// The members of a document that is one object.
    static func members(of bytes: [UInt8], limit: Int) throws(ContextError) -> [JSON.Member] {
        let value: JSON
        do throws(JSONError) { value = try JSON(parsing: bytes, limit: limit) } catch { throw .malformed("\(error)") }
        guard case .object(let members) = value else { throw .malformed("not an object") }
        return members
    }
}

func hexadecimal(_ bytes: some Collection<UInt8>) -> String {
    String(unsafeUninitializedCapacity: 2 * bytes.count) { text in
        func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value }
        var count = 0
        for byte in bytes {
            (text[count], text[count + 1]) = (digit(byte >> 4), digit(byte & 15))
            count += 2
        }
        return count
    }
}

/// Lower case only, so that no octet has two forms.
func octets(hexadecimal text: String) -> [UInt8]? {
    func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
    // In place: keys are among what is read here, and a copy of their digits would stay behind.
    var text = text
    return text.withUTF8 { digits -> [UInt8]? in
        guard digits.count % 2 == 0 else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
            out.append(high << 4 | low)
        }
        return out
    }
}
