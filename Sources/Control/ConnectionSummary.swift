/// A connection of the configuration, as strongSwan's `list-conn` event has it. No secret is in it.
public struct ConnectionSummary: Hashable, Sendable {
    public var name: String = ""
    public var localAddresses: [String] = []
    public var remoteAddresses: [String] = []
    /// 0: never.
    public var rekeySeconds: Int64 = 0
    /// 0: never.
    public var dpdSeconds: Int64 = 0
    public var local: AuthenticationSummary = AuthenticationSummary()
    public var remote: AuthenticationSummary = AuthenticationSummary()
    public var children: [ChildConfigurationSummary] = []

    public init() {}

    public init(
        name: String, localAddresses: [String], remoteAddresses: [String], rekeySeconds: Int64, dpdSeconds: Int64,
        local: AuthenticationSummary, remote: AuthenticationSummary, children: [ChildConfigurationSummary]
    ) {
        self.name = name
        self.localAddresses = localAddresses
        self.remoteAddresses = remoteAddresses
        self.rekeySeconds = rekeySeconds
        self.dpdSeconds = dpdSeconds
        self.local = local
        self.remote = remote
        self.children = children
    }
}

/// How one side of a connection proves who it is.
public struct AuthenticationSummary: Hashable, Sendable {
    /// strongSwan's words: `pre-shared key`, `public key`.
    public var method: String = ""
    /// The identity; `nil` when any is taken.
    public var identity: String? = nil

    public init() {}

    public init(method: String, identity: String? = nil) {
        self.method = method
        self.identity = identity
    }
}

/// A child of a connection.
public struct ChildConfigurationSummary: Hashable, Sendable {
    public var name: String = ""
    /// `TUNNEL` or `TRANSPORT`.
    public var mode: String = ""
    /// 0: never.
    public var rekeySeconds: Int64 = 0
    public var localSelectors: [String] = []
    public var remoteSelectors: [String] = []

    public init() {}

    public init(name: String, mode: String, rekeySeconds: Int64, localSelectors: [String], remoteSelectors: [String]) {
        self.name = name
        self.mode = mode
        self.rekeySeconds = rekeySeconds
        self.localSelectors = localSelectors
        self.remoteSelectors = remoteSelectors
    }
}

extension ConnectionSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.title("name", &name)
        coder.list("local_addrs", &localAddresses)
        coder.list("remote_addrs", &remoteAddresses)
        var version = "IKEv2"
        coder.text("version", &version)
        var reauthSeconds = 0
        coder.number("reauth_time", &reauthSeconds)
        coder.number("rekey_time", &rekeySeconds)
        coder.number("dpd_delay", &dpdSeconds)
        coder.section("local-1", &local)
        coder.section("remote-1", &remote)
        coder.sections("children", &children) { child, _ in child.name }
    }

    /// The message of a `list-conn` event: one section, named as the connection.
    public func vici() -> VICIMessage { VICIMessage([.section(name: name, message(isStock: true))]) }

    public init(vici message: VICIMessage) throws(VICIError) {
        guard let section = message.sections.first else { throw .missing("connection") }
        try self.init(message: section.message, title: section.name)
    }

    public var json: JSON { jsonObject }
}

extension AuthenticationSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("class", &method)
        coder.text("id", &identity)
    }
}

extension ChildConfigurationSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.title("name", &name)
        coder.text("mode", &mode)
        coder.number("rekey_time", &rekeySeconds)
        // swanctl takes a missing one for a limit.
        var none = 0
        coder.number("rekey_bytes", &none)
        none = 0
        coder.number("rekey_packets", &none)
        var action = "none"
        coder.text("dpd_action", &action)
        action = "none"
        coder.text("close_action", &action)
        coder.list("local-ts", &localSelectors)
        coder.list("remote-ts", &remoteSelectors)
    }
}
