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
        let document = try JSONValue(context: bytes, limit: ContextFormat.bytesMax * 2)
        let fields = ContextFields(document)
        switch try fields.text("schema") {
        case ContextFormat.schema: break
        case ContextFormat.sealedSchema: throw .passphraseNeeded
        default: throw .malformed("another schema")
        }
        try ContextFormat.check(version: try fields.text("version"))
        guard SessionContext.isWhole(bytes) || SessionContext.isWhole(document) else { throw .damaged }
        try self.init(fields)
    }

    private static func isWhole(_ document: JSONValue) -> Bool {
        guard case .object(var members) = JSON(document), let last = members.popLast() else { return false }
        guard last.name == "sha256", case .string(let digest) = last.value else { return false }
        return constantTimeEquals(Array(digest.utf8), Array(SessionContext.digest(members).utf8))
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
        JSON(try JSONValue(context: bytes, limit: ContextFormat.bytesMax * 2)).lineBytes
    }

    /// A document as `text` makes it, of one in any form; members that are not known here stay, and nothing is verified.
    public static func indented(_ bytes: [UInt8]) throws(ContextError) -> String {
        JSON(try JSONValue(context: bytes, limit: ContextFormat.bytesMax * 2)).text + "\n"
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

extension JSONValue {
    /// A document that is one object.
    init(context bytes: [UInt8], limit: Int) throws(ContextError) {
        do throws(JSONError) { try self.init(parsing: bytes, limit: limit) } catch { throw .malformed("\(error)") }
        guard isObject else { throw .malformed("not an object") }
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
///
/// - Parameter octets: half as many as there are digits.
/// - Returns: whether these are digits.
func read(hexadecimal digits: UnsafeBufferPointer<UInt8>, into octets: UnsafeMutableRawBufferPointer) -> Bool {
    let noDigit: UInt8 = 0x80
    func value(_ digit: UInt8) -> UInt8 {
        let (number, letter) = (digit &- UInt8(ascii: "0"), digit &- UInt8(ascii: "a"))
        return number < 10 ? number : letter < 6 ? letter &+ 10 : noDigit
    }
    guard digits.count == 2 * octets.count else { return false }
    // Looked at once, at the end: a branch for each digit takes longer than all else.
    var all: UInt8 = 0
    for index in octets.indices {
        let (high, low) = (value(digits[2 * index]), value(digits[2 * index + 1]))
        all |= high | low
        octets[index] = high << 4 | low & 15
    }
    return all & noDigit == 0
}

func octets(hexadecimal digits: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    var isRead = false
    let octets = [UInt8](unsafeUninitializedCapacity: digits.count / 2) { target, count in
        isRead = read(hexadecimal: digits, into: UnsafeMutableRawBufferPointer(start: target.baseAddress, count: digits.count / 2))
        count = isRead ? digits.count / 2 : 0
    }
    return isRead ? octets : nil
}
