extension ControlRequest {
    /// Reads a command with its arguments.
    ///
    /// - Throws: `.badValue` or `.missing` for an argument; an unknown command is a value, not an error.
    public init(command: String, arguments: VICIMessage) throws(VICIError) {
        switch command {
        case "version": self = .version
        case "stats": self = .stats
        case "list-sas": self = .findSessions(try SessionFilter(vici: arguments, includesHeld: false))
        case "tandem-sessions": self = .findSessions(try SessionFilter(vici: arguments, includesHeld: true))
        case "list-conns": self = .listConnections(name: arguments["ike"])
        case "get-pools": self = .listPools(name: arguments["name"], withLeases: try arguments.flag("leases"))
        case "initiate": self = .initiate(try InitiateRequest(vici: arguments))
        case "terminate": self = .terminate(try TerminateRequest(vici: arguments))
        case "rekey": self = .rekey(try RekeyRequest(vici: arguments))
        case "tandem-get": self = .get(try GetRequest(vici: arguments))
        case "tandem-put": self = .put(try PutRequest(vici: arguments))
        case "tandem-redirect": self = .redirect(try RedirectRequest(vici: arguments))
        case "tandem-status": self = .status
        case "tandem-switchover": self = .switchover(force: try arguments.flag("force"))
        case "tandem-drain": self = .maintain(try MaintenanceRequest(.drain, vici: arguments))
        case "tandem-standby": self = .maintain(try MaintenanceRequest(.standby, vici: arguments))
        case "tandem-resume": self = .maintain(try MaintenanceRequest(.resume, vici: arguments))
        case "tandem-transfer": self = .transfer(try TransferRequest(vici: arguments))
        case "tandem-pair-rotate": self = .rotate(days: try ControlRequest.rotationDays(arguments))
        case "tandem-events": self = .events(after: try arguments.number("after") ?? 0)
        default: self = .unknown(command)
        }
    }

    /// The command and its arguments; `nil` for what never goes over the socket.
    public func vici() -> (command: String, arguments: VICIMessage)? {
        var arguments = VICIMessage()
        switch self {
        case .version: return ("version", arguments)
        case .stats: return ("stats", arguments)
        case .findSessions(let filter): return (filter.includesHeld ? "tandem-sessions" : "list-sas", filter.vici())
        case .describe: return nil
        case .listConnections(let name):
            arguments.add("ike", ifPresent: name)
            return ("list-conns", arguments)
        case .listPools(let name, let withLeases):
            arguments.add("name", ifPresent: name)
            arguments.add("leases", ifTrue: withLeases)
            return ("get-pools", arguments)
        case .initiate(let request): return ("initiate", request.vici())
        case .terminate(let request): return ("terminate", request.vici())
        case .rekey(let request): return ("rekey", request.vici())
        case .get(let request): return ("tandem-get", request.vici())
        case .put(let request): return ("tandem-put", request.vici())
        case .redirect(let request): return ("tandem-redirect", request.vici())
        case .status: return ("tandem-status", arguments)
        case .switchover(let force):
            arguments.add("force", ifTrue: force)
            return ("tandem-switchover", arguments)
        case .maintain(let request): return request.vici()
        case .transfer(let request): return ("tandem-transfer", request.vici())
        case .rotate(let days):
            arguments.add("days", String(days))
            return ("tandem-pair-rotate", arguments)
        case .events(let after):
            arguments.add("after", String(after))
            return ("tandem-events", arguments)
        case .unknown(let command): return (command, arguments)
        }
    }
}

extension ControlRequest {
    /// Days for which a new certificate of the pair is valid: ten years unless it is said; a hundred are a slip of the finger.
    public static let rotationDaysDefault = 3650
    public static let rotationDaysMax = 36500

    private static func rotationDays(_ arguments: VICIMessage) throws(VICIError) -> Int {
        let days: Int = try arguments.number("days") ?? rotationDaysDefault
        guard (1...rotationDaysMax).contains(days) else { throw .badValue("days") }
        return days
    }
}

extension SessionFilter {
    init(vici arguments: VICIMessage, includesHeld: Bool) throws(VICIError) {
        self.init(
            includesHeld: includesHeld, connection: arguments["ike"], uniqueID: try arguments.number("ike-id"), child: arguments["child"],
            childUniqueID: try arguments.number("child-id"), name: includesHeld ? arguments["name"] : nil)
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        arguments.add("ike", ifPresent: connection)
        arguments.add("ike-id", ifPresent: uniqueID.map(String.init))
        arguments.add("child", ifPresent: child)
        arguments.add("child-id", ifPresent: childUniqueID.map(String.init))
        arguments.add("name", ifPresent: name)
        return arguments
    }
}

extension InitiateRequest {
    init(vici arguments: VICIMessage) throws(VICIError) {
        self.init(
            child: arguments["child"], connection: arguments["ike"], timeoutMilliseconds: try arguments.timeout(),
            logLevel: try arguments.number("loglevel") ?? 1)
        if child == nil, connection == nil { throw .missing("child") }
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        arguments.add("child", ifPresent: child)
        arguments.add("ike", ifPresent: connection)
        arguments.add(timeoutMilliseconds: timeoutMilliseconds)
        arguments.add("loglevel", String(logLevel))
        return arguments
    }
}

extension MaintenanceRequest {
    init(_ kind: Kind, vici arguments: VICIMessage) throws(VICIError) {
        self.init(kind)
        isForced = try arguments.flag("force")
        guard kind == .drain, let timeout: Int64 = try arguments.number("timeout") else { return }
        guard (0...MaintenanceRequest.timeoutMillisecondsMax).contains(timeout) else { throw .badValue("timeout") }
        timeoutMilliseconds = timeout
    }

    func vici() -> (command: String, arguments: VICIMessage) {
        var arguments = VICIMessage()
        arguments.add("force", ifTrue: isForced)
        if kind == .drain { arguments.add("timeout", String(timeoutMilliseconds)) }
        return ("tandem-\(kind.rawValue)", arguments)
    }
}

extension TransferRequest {
    init(vici arguments: VICIMessage) throws(VICIError) {
        guard let name = arguments["name"], !name.isEmpty else { throw .missing("name") }
        if let gateway = arguments["to"] {
            if arguments["from"] != nil { throw .badValue("from") }
            self.init(name: name, direction: .to, gateway: gateway)
        } else if let gateway = arguments["from"] {
            self.init(name: name, direction: .from, gateway: gateway)
        } else {
            throw .missing("to")
        }
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        arguments.add("name", name)
        arguments.add(direction.rawValue, gateway)
        return arguments
    }
}

extension RekeyRequest {
    init(vici arguments: VICIMessage) throws(VICIError) {
        if try arguments.flag("reauth") { throw .badValue("reauth") }
        self.init(
            child: arguments["child"], connection: arguments["ike"], childUniqueID: try arguments.number("child-id"),
            uniqueID: try arguments.number("ike-id"))
        // Nothing given would mean everything: never by accident.
        if !isForChildren, connection == nil, uniqueID == nil { throw .missing("ike") }
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        arguments.add("child", ifPresent: child)
        arguments.add("ike", ifPresent: connection)
        arguments.add("child-id", ifPresent: childUniqueID.map(String.init))
        arguments.add("ike-id", ifPresent: uniqueID.map(String.init))
        return arguments
    }
}

extension GetRequest {
    init(vici arguments: VICIMessage) throws(VICIError) {
        guard let name = arguments["name"], !name.isEmpty else { throw .missing("name") }
        self.init(name: name, detach: try arguments.flag("detach"))
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        arguments.add("name", name)
        arguments.add("detach", ifTrue: detach)
        return arguments
    }
}

extension PutRequest {
    init(vici arguments: VICIMessage) throws(VICIError) {
        guard let document = arguments.list("document")?.joined(), !document.isEmpty else { throw .missing("document") }
        self.init(document: document, local: arguments["local"])
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        arguments.add("document", list: ContextSummary.parts(of: document))
        arguments.add("local", ifPresent: local)
        return arguments
    }
}

extension TerminateRequest {
    init(vici arguments: VICIMessage) throws(VICIError) {
        self.init(
            child: arguments["child"], connection: arguments["ike"], childUniqueID: try arguments.number("child-id"),
            uniqueID: try arguments.number("ike-id"), force: try arguments.flag("force"), timeoutMilliseconds: try arguments.timeout(),
            logLevel: try arguments.number("loglevel") ?? 1)
        // Nothing given would mean everything: never by accident.
        if !isForChildren, connection == nil, uniqueID == nil { throw .missing("ike") }
    }

    func vici() -> VICIMessage {
        var arguments = VICIMessage()
        arguments.add("child", ifPresent: child)
        arguments.add("ike", ifPresent: connection)
        arguments.add("child-id", ifPresent: childUniqueID.map(String.init))
        arguments.add("ike-id", ifPresent: uniqueID.map(String.init))
        arguments.add("force", ifTrue: force)
        arguments.add(timeoutMilliseconds: timeoutMilliseconds)
        arguments.add("loglevel", String(logLevel))
        return arguments
    }
}

extension VICIMessage {
    func number<Number: FixedWidthInteger>(_ key: String) throws(VICIError) -> Number? {
        guard let text = self[key] else { return nil }
        guard let value = Number(text) else { throw .badValue(key) }
        return value
    }

    func flag(_ key: String) throws(VICIError) -> Bool {
        guard let text = self[key] else { return false }
        switch text {
        case "yes", "true", "1": return true
        case "no", "false", "0": return false
        default: throw .badValue(key)
        }
    }

    /// strongSwan: 0 waits without limit, a negative number not at all.
    fileprivate func timeout() throws(VICIError) -> Int64? {
        guard let value: Int64 = try number("timeout"), value != 0 else { return nil }
        return max(0, value)
    }

    fileprivate mutating func add(_ key: String, ifPresent value: String?) { if let value { add(key, value) } }
    fileprivate mutating func add(_ key: String, ifTrue value: Bool) { if value { add(key, "yes") } }
    fileprivate mutating func add(timeoutMilliseconds value: Int64?) {
        if let value { add("timeout", String(value == 0 ? -1 : value)) }
    }
}
