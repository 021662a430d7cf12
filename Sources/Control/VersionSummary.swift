/// The answer to strongSwan's `version`.
public struct VersionSummary: Hashable, Sendable {
    /// `tandemd`.
    public var daemon: String = ""
    public var version: String = ""
    public var systemName: String = ""
    public var release: String = ""
    public var machine: String = ""

    public init() {}

    public init(daemon: String, version: String, systemName: String, release: String, machine: String) {
        self.daemon = daemon
        self.version = version
        self.systemName = systemName
        self.release = release
        self.machine = machine
    }
}

extension VersionSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("daemon", &daemon)
        coder.text("version", &version)
        coder.text("sysname", &systemName)
        coder.text("release", &release)
        coder.text("machine", &machine)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
