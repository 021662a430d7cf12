/// How fit a node is, how fit it knows the other one to be, and what operators want of them: a part of `StatusSummary`.
public struct ConditionSummary: Hashable, Sendable {
    /// `fit` or `unfit`.
    public var fitness: String = ""
    /// Milliseconds since 1970, UTC, as all times here.
    public var fitnessSinceMilliseconds: Int64 = 0
    public var faults: [FaultSummary] = []
    /// What is looked at and how it is, a text for each.
    public var tracked: [String] = []
    /// `none`, `draining`, `drained` or `standby`.
    public var maintenance: String = ""
    public var maintenanceSinceMilliseconds: Int64? = nil
    /// `fit`, `unfit`, or `unknown` while the other node has not said.
    public var peerFitness: String = "unknown"
    public var peerFaults: [String] = []
    /// `none`, `drain`, `standby`, or empty while the other node has not said.
    public var peerMaintenance: String = ""
    /// The node that takes back; empty when none does.
    public var preferred: String = ""
    /// Hand-overs that nobody asked for, since the daemon started, in both directions.
    public var automaticHandovers: UInt64 = 0
    /// There were too many: until then none is made by itself.
    public var heldUntilMilliseconds: Int64? = nil
    /// When the sessions leave by themselves, as things are.
    public var nextHandoverMilliseconds: Int64? = nil

    public init() {}
}

/// Something that keeps a node from being fit.
public struct FaultSummary: Hashable, Sendable {
    public var name: String = ""
    public var reason: String = ""
    public var sinceMilliseconds: Int64 = 0

    public init() {}

    public init(name: String, reason: String, sinceMilliseconds: Int64) {
        self.name = name
        self.reason = reason
        self.sinceMilliseconds = sinceMilliseconds
    }
}

extension ConditionSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("fitness", &fitness)
        coder.number("fitness-since-ms", &fitnessSinceMilliseconds)
        coder.sections("faults", &faults)
        coder.list("tracked", &tracked)
        coder.text("maintenance", &maintenance)
        coder.number("maintenance-since-ms", &maintenanceSinceMilliseconds)
        coder.text("peer-fitness", &peerFitness)
        coder.list("peer-faults", &peerFaults)
        coder.text("peer-maintenance", &peerMaintenance)
        coder.text("preferred", &preferred)
        coder.number("automatic-handovers", &automaticHandovers)
        coder.number("held-until-ms", &heldUntilMilliseconds)
        coder.number("next-handover-ms", &nextHandoverMilliseconds)
    }
}

extension FaultSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("name", &name)
        coder.text("reason", &reason)
        coder.number("since-ms", &sinceMilliseconds)
    }
}
