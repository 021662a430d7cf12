/// What is pushed to the clients that registered for it.
public enum ControlEvent: Hashable, Sendable {
    /// `log`: a line of the daemon's log, in strongSwan's form.
    case log(ControlLogLine)
    /// `ike-updown`: an IKE SA was established or is gone.
    case ikeUpDown(isUp: Bool, SASummary)
    /// `child-updown`: the CHILD SA in the summary was established or is gone.
    case childUpDown(isUp: Bool, SASummary)
    /// `tandem-event`.
    case happened(EventSummary)

    public var name: String {
        switch self {
        case .log: return ControlEventName.log
        case .ikeUpDown: return ControlEventName.ikeUpDown
        case .childUpDown: return ControlEventName.childUpDown
        case .happened: return ControlEventName.tandemEvent
        }
    }

    public func vici() -> VICIMessage {
        switch self {
        case .log(let line):
            return line.vici()
        case .ikeUpDown(let isUp, var summary):
            summary.children = []
            return ControlEvent.upDown(isUp, summary)
        case .childUpDown(let isUp, let summary):
            return ControlEvent.upDown(isUp, summary)
        case .happened(let event):
            return event.vici()
        }
    }

    /// strongSwan says `up` only when it is.
    private static func upDown(_ isUp: Bool, _ summary: SASummary) -> VICIMessage {
        var message = VICIMessage()
        if isUp { message.add("up", "yes") }
        message.elements += summary.vici().elements
        return message
    }
}

/// The events for which a client may register.
public enum ControlEventName {
    public static let log = "log"
    public static let controlLog = "control-log"
    public static let listSA = "list-sa"
    public static let listConnection = "list-conn"
    public static let ikeUpDown = "ike-updown"
    public static let childUpDown = "child-updown"
    public static let tandemSession = "tandem-session"
    public static let tandemEvent = "tandem-event"

    /// Those that exist here. strongSwan's other monitoring events are taken and never come, so that its clients, which register for all
    /// of them at once, can be used.
    public static let known: Set<String> = [
        log, controlLog, listSA, listConnection, ikeUpDown, childUpDown, tandemSession, tandemEvent, "ike-rekey", "ike-update",
        "child-rekey",
    ]
}

/// A line of the log, in strongSwan's form. No secret is in it.
public struct ControlLogLine: Hashable, Sendable {
    /// The subsystem in three letters as strongSwan names them: `IKE`, `CFG`, `KNL`, `NET`, `DMN`.
    public var group: String = ""
    /// 0 for what is always shown, 1 for the usual, up to 4 for the most detailed.
    public var level: Int = 0
    public var thread: Int = 0
    /// The connection, when a session is concerned.
    public var connection: String? = nil
    public var uniqueID: UInt32? = nil
    public var message: String = ""

    public init() {}

    public init(group: String, level: Int, thread: Int, connection: String? = nil, uniqueID: UInt32? = nil, message: String) {
        self.group = group
        self.level = level
        self.thread = thread
        self.connection = connection
        self.uniqueID = uniqueID
        self.message = message
    }
}

extension ControlLogLine: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("group", &group)
        coder.number("level", &level)
        coder.number("thread", &thread)
        coder.text("ikesa-name", &connection)
        coder.number("ikesa-uniqueid", &uniqueID)
        coder.text("msg", &message)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
