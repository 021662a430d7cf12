/// `tandem-drain`, `tandem-standby`, `tandem-resume`: take this node out of service, or back into it.
public struct MaintenanceRequest: Hashable, Sendable {
    public enum Kind: String, CaseIterable, Hashable, Sendable {
        /// Hand everything over as soon as the other node can take it, and take nothing by plan.
        case drain
        /// Hand everything over now, or not at all, and take nothing by plan.
        case standby
        case resume
    }

    public var kind: Kind
    /// Also to a node that is not fit, or out of service itself.
    public var isForced: Bool
    /// How long `drain` waits for the hand-over before it answers that it goes on without the operator.
    public var timeoutMilliseconds: Int64

    public static let timeoutMillisecondsDefault: Int64 = 30_000
    /// A day.
    public static let timeoutMillisecondsMax: Int64 = 86_400_000

    public init(_ kind: Kind, isForced: Bool = false, timeoutMilliseconds: Int64 = MaintenanceRequest.timeoutMillisecondsDefault) {
        self.kind = kind
        self.isForced = isForced
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

/// How such a command ended.
public struct MaintenanceSummary: Hashable, Sendable {
    public enum Outcome: String, CaseIterable, Hashable, Sendable {
        case done
        /// It is remembered, and done as soon as the other node can take the sessions; `reason` says what it waits for.
        case waiting
        /// Nothing was changed.
        case refused
    }

    public var outcome: Outcome = .refused
    public var reason: String = ""
    /// `none`, `draining`, `drained` or `standby`: what the node is now.
    public var maintenance: String = ""
    public var role: String = ""
    /// The node that owns the sessions now.
    public var owner: String = ""
    public var epoch: UInt64 = 0
    public var sessions: Int = 0
    /// Until they were handed over.
    public var totalMicroseconds: Int64 = 0

    public init() {}
}

extension MaintenanceSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        var word = outcome.rawValue
        coder.text("outcome", &word)
        outcome = Outcome(rawValue: word) ?? .refused
        coder.text("reason", &reason)
        coder.text("maintenance", &maintenance)
        coder.text("role", &role)
        coder.text("owner", &owner)
        coder.number("epoch", &epoch)
        coder.number("sessions", &sessions)
        coder.fine("total", microseconds: &totalMicroseconds)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
