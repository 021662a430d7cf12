/// `tandem-redirect`: send peers to another gateway (RFC 5685).
public struct RedirectRequest: Hashable, Sendable {
    /// Whom.
    public enum Selection: Hashable, Sendable {
        /// Sessions that an operator calls so, as in `SessionFilter.name`.
        case name(String)
        case all
        /// So many of a hundred sessions, 1 to 100; spread over all of them.
        case share(Int)
        /// Peers that have no session yet, from now on.
        case newPeers(Phase)
        /// They are let in again.
        case newPeersOff
    }

    /// When new peers are told.
    public enum Phase: String, Hashable, Sendable, CaseIterable {
        case initial = "init"
        case authenticated = "auth"
    }

    public var selection: Selection
    /// An address or a name; `nil` with `newPeersOff` only.
    public var target: String?

    public init(_ selection: Selection, to target: String? = nil) {
        self.selection = selection
        self.target = target
    }
}

extension RedirectRequest {
    init(vici arguments: VICIMessage) throws(VICIError) {
        var found: [Selection] = []
        if let name = arguments["name"] {
            guard !name.isEmpty else { throw .badValue("name") }
            found.append(.name(name))
        }
        if try arguments.flag("all") { found.append(.all) }
        if let share: Int = try arguments.number("share") {
            guard (1...100).contains(share) else { throw .badValue("share") }
            found.append(.share(share))
        }
        if let word = arguments["new"] {
            if word == "off" {
                found.append(.newPeersOff)
            } else {
                guard let phase = Phase(rawValue: word) else { throw .badValue("new") }
                found.append(.newPeers(phase))
            }
        }
        // Nothing given would mean everything, and two things nobody knows what: never by accident.
        guard let selection = found.first else { throw .missing("name") }
        guard found.count == 1 else { throw .badValue("name") }
        let target = arguments["to"]
        guard selection == .newPeersOff || target?.isEmpty == false else { throw .missing("to") }
        self.init(selection, to: target)
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        switch selection {
        case .name(let name): arguments.add("name", name)
        case .all: arguments.add("all", "yes")
        case .share(let percent): arguments.add("share", String(percent))
        case .newPeers(let phase): arguments.add("new", phase.rawValue)
        case .newPeersOff: arguments.add("new", "off")
        }
        if let target { arguments.add("to", target) }
        return arguments
    }
}

/// How a `tandem redirect` went.
public struct RedirectSummary: Hashable, Sendable {
    /// Sessions that were meant.
    public var matched: Int = 0
    /// Those that are told, at once or as soon as they have answered what they were asked before.
    public var sent: Int = 0
    /// Those that are not, by reason.
    public var refused: [RefusedRedirect] = []
    /// Where new peers are sent from now on; `nil`: they are let in.
    public var newPeersTo: String? = nil
    /// Why not all of them were looked at; empty when they were.
    public var error: String = ""

    public init() {}

    public init(matched: Int, sent: Int, refused: [RefusedRedirect], newPeersTo: String?, error: String = "") {
        self.matched = matched
        self.sent = sent
        self.refused = refused
        self.newPeersTo = newPeersTo
        self.error = error
    }
}

/// Sessions that are not redirected for one reason.
public struct RefusedRedirect: Hashable, Sendable {
    public var reason: String = ""
    public var count: Int = 0
    /// The number for people of one of them.
    public var example: UInt32 = 0

    public init() {}

    public init(reason: String, count: Int, example: UInt32) {
        self.reason = reason
        self.count = count
        self.example = example
    }
}

extension RefusedRedirect: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("reason", &reason)
        coder.number("count", &count)
        coder.number("example", &example)
    }
}

extension RedirectSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.number("matched", &matched)
        coder.number("sent", &sent)
        coder.sections("refused", &refused)
        coder.text("new-peers-to", &newPeersTo)
        coder.text("error", &error)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
