/// Something that happened, with its place in the node's history.
public struct EventSummary: Hashable, Sendable {
    /// Counts from 1; never used again while the daemon runs.
    public var index: UInt64 = 0
    /// Milliseconds since 1970, UTC.
    public var atMilliseconds: Int64 = 0
    /// `info`, `notice`, `warning` or `error`.
    public var level: String = ""
    /// What kind of thing: `takeover`, `step_down`, `pair_state`, `fitness`, `handover`, `maintenance`, `ike`.
    public var kind: String = ""
    /// The connection, when a session is concerned.
    public var connection: String? = nil
    /// The session's number for people.
    public var uniqueID: UInt32? = nil
    /// One sentence for people; no secret in it.
    public var text: String = ""

    public init() {}

    public init(
        index: UInt64, atMilliseconds: Int64, level: String, kind: String, connection: String? = nil, uniqueID: UInt32? = nil, text: String
    ) {
        self.index = index
        self.atMilliseconds = atMilliseconds
        self.level = level
        self.kind = kind
        self.connection = connection
        self.uniqueID = uniqueID
        self.text = text
    }
}

extension EventSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.number("index", &index)
        coder.number("at-ms", &atMilliseconds)
        coder.text("level", &level)
        coder.text("kind", &kind)
        coder.text("connection", &connection)
        coder.number("uniqueid", &uniqueID)
        coder.text("text", &text)
    }

    /// A text that is longer is cut, so that `ControlRequest.eventsMax` of them always fit a packet.
    public static let textBytesMax = 1024

    public func vici() -> VICIMessage {
        var cut = self
        if text.utf8.count > EventSummary.textBytesMax {
            cut.text = String(decoding: text.utf8.prefix(EventSummary.textBytesMax), as: UTF8.self)
        }
        return cut.message()
    }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}

extension EventSummary {
    /// The answer to `tandem-events`: a section for each event, named by its index.
    public static func vici(_ events: [EventSummary]) -> VICIMessage {
        var message = VICIMessage()
        for event in events { message.add(String(event.index), section: event.vici()) }
        return message
    }

    /// Reads the answer to `tandem-events`.
    public static func events(vici message: VICIMessage) throws(VICIError) -> [EventSummary] {
        var events: [EventSummary] = []
        for section in message.sections { events.append(try EventSummary(vici: section.message)) }
        return events
    }
}
