/// How a `tandem switchover` ended.
public struct SwitchoverSummary: Hashable, Sendable {
    public enum Outcome: String, Hashable, Sendable {
        /// The other node owns everything.
        case done
        /// Nothing was changed: the other node is not ready, or this one has nothing to hand over.
        case refused
        /// It was begun and did not come to its end; `reason` says where things stand.
        case failed
    }

    public var outcome: Outcome = .failed
    /// Why it was refused or failed; empty when done.
    public var reason: String = ""
    /// The epoch that the new owner has.
    public var epoch: UInt64 = 0
    /// The name of the node that owns the sessions now.
    public var owner: String = ""
    /// Sessions that were handed over.
    public var sessions: Int = 0
    public var totalMicroseconds: Int64 = 0

    public init() {}

    public init(
        outcome: Outcome, reason: String, epoch: UInt64, owner: String, sessions: Int, totalMicroseconds: Int64
    ) {
        self.outcome = outcome
        self.reason = reason
        self.epoch = epoch
        self.owner = owner
        self.sessions = sessions
        self.totalMicroseconds = totalMicroseconds
    }
}

extension SwitchoverSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        var word = outcome.rawValue
        coder.text("outcome", &word)
        outcome = Outcome(rawValue: word) ?? .failed
        coder.text("reason", &reason)
        coder.number("epoch", &epoch)
        coder.text("owner", &owner)
        coder.number("sessions", &sessions)
        coder.fine("total", microseconds: &totalMicroseconds)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
