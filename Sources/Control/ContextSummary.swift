/// How a `tandem-get` or `tandem-put` ended, and for a get the document.
public struct ContextSummary: Hashable, Sendable {
    public var success = false
    /// A word for programs; `nil` on success.
    public var code: String?
    /// For people; `nil` on success.
    public var error: String?
    /// `detached` or `snapshot`.
    public var kind: String?
    public var connection: String?
    /// The session's number for people at the gateway that answers.
    public var uniqueID: UInt32?
    public var remoteID: String?
    public var local: String?
    public var remote: String?
    public var children: Int?
    /// The daemon's own time, from the request to this answer; 0 when it was not measured.
    public var tookMicroseconds: Int64 = 0
    /// Of a get: the document in parts, each short enough for a value of the protocol. Keys are in it.
    public var document: [String] = []

    public init() {}

    public static func failure(_ code: String, _ error: String) -> ContextSummary {
        var out = ContextSummary()
        (out.code, out.error) = (code, error)
        return out
    }

    /// Octets of one part.
    private static let partBytesMax = 60_000

    static func parts(of document: String) -> [String] {
        let bytes = Array(document.utf8)
        // Between scalars, so that each part is text.
        var parts: [String] = []
        var start = 0
        while start < bytes.count {
            var end = min(start + partBytesMax, bytes.count)
            while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end -= 1 }
            parts.append(String(decoding: bytes[start..<end], as: UTF8.self))
            start = end
        }
        return parts
    }

    /// The whole document; empty when there is none.
    public var text: String {
        get { document.joined() }
        set { document = ContextSummary.parts(of: newValue) }
    }
}

extension ContextSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        var word = success ? "yes" : "no"
        coder.text("success", &word)
        success = word == "yes"
        coder.text("code", &code)
        coder.text("errmsg", &error)
        coder.text("kind", &kind)
        coder.text("connection", &connection)
        coder.number("unique-id", &uniqueID)
        coder.text("remote-id", &remoteID)
        coder.text("local", &local)
        coder.text("remote", &remote)
        coder.number("children", &children)
        coder.fine("took", microseconds: &tookMicroseconds)
        coder.list("document", &document, omitEmpty: true)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }

    /// Without the document: keys are shown only where they were asked for.
    public var json: JSON {
        guard case .object(let members) = jsonObject else { return jsonObject }
        return .object(members.filter { $0.name != "document" })
    }
}
