/// What the node answers. `ControlRequest` says which case belongs to which request.
public enum ControlResponse: Hashable, Sendable {
    case version(VersionSummary)
    case stats(StatsSummary)
    /// The sessions that match, in the order in which they are shown.
    case sessionIDs([UInt64])
    case sas([SASummary])
    case connections([ConnectionSummary])
    case pools([PoolSummary])
    case status(StatusSummary)
    case switchover(SwitchoverSummary)
    case maintenance(MaintenanceSummary)
    case transfer(TransferSummary)
    case rotation(RotationSummary)
    case redirect(RedirectSummary)
    case events([EventSummary])
    case context(ContextSummary)
    /// A log line of a command that is under way; more answers follow.
    case progress(ControlLogLine)
    case done(DoneSummary)
    case unknownCommand

    /// No further answer follows.
    public var isFinal: Bool {
        if case .progress = self { return false }
        return true
    }
}

/// How a command that changes something ended.
public struct DoneSummary: Hashable, Sendable {
    public var success: Bool = false
    /// Empty on success.
    public var error: String = ""
    /// The SAs that a `terminate` was meant for.
    public var matches: Int? = nil
    /// Those of them that it closed.
    public var terminated: Int? = nil

    public init() {}

    public init(success: Bool, error: String, matches: Int? = nil, terminated: Int? = nil) {
        self.success = success
        self.error = error
        self.matches = matches
        self.terminated = terminated
    }

    public static let success = DoneSummary(success: true, error: "")
    public static func failure(_ error: String) -> DoneSummary { DoneSummary(success: false, error: error) }
}

extension DoneSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        var word = success ? "yes" : "no"
        coder.text("success", &word)
        success = word == "yes"
        var message = error.isEmpty ? nil : error
        coder.text("errmsg", &message)
        error = message ?? ""
        coder.number("matches", &matches)
        coder.number("terminated", &terminated)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
