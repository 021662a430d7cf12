/// What a node says of itself on the link, beside its role: whether it could serve well, and whether it is meant to.
public struct NodeCondition: Hashable, Sendable {
    /// What keeps it from serving well: nothing, when it is fit.
    public var faults: [NamedFault]
    public var maintenance: Maintenance
    /// What time of day it is there, in milliseconds since 1970, UTC.
    public var wallMilliseconds: Int64
    /// By what time of day it reckons the lifetimes of SAs, which does not jump with the host's; `nil` from an earlier version.
    public var lifetimeMilliseconds: Int64?

    public init(
        faults: [NamedFault] = [], maintenance: Maintenance = .none, wallMilliseconds: Int64, lifetimeMilliseconds: Int64? = nil
    ) {
        self.faults = faults
        self.maintenance = maintenance
        self.wallMilliseconds = wallMilliseconds
        self.lifetimeMilliseconds = lifetimeMilliseconds
    }

    public var isFit: Bool { faults.isEmpty }

    /// More than a configuration can name: 64 interfaces, 32 scripts, and what is looked at by itself.
    public static let faultsMax = 128
}

/// One thing that a gateway needs and that is not right.
public struct NamedFault: Hashable, Sendable, CustomStringConvertible {
    /// `interface eth0`, `script NAME`, `memory`, `descriptors`, `clock`, `data_plane`.
    public var name: String
    /// In a few words for people: `no carrier`.
    public var reason: String

    public init(name: String, reason: String) {
        self.name = name
        self.reason = reason
    }

    public var description: String { "\(name) (\(reason))" }
}

/// Whether an operator has taken a node out of service. It lasts until `tandem resume`, or until the daemon ends.
public enum Maintenance: UInt8, CaseIterable, Hashable, Sendable {
    case none = 0
    /// `tandem drain`: it hands over as soon as somebody can take it.
    case drain = 1
    /// `tandem standby`: it has handed over, or was standby.
    case standby = 2

    public var name: String {
        switch self {
        case .none: "none"
        case .drain: "drain"
        case .standby: "standby"
        }
    }
}

/// On what terms the active hands over.
public struct HandoverTerms: Hashable, Sendable {
    /// Why, for people; empty when an operator asked for it.
    public var reason: String
    /// The operator wants it though the standby is not fit, or out of service.
    public var isForced: Bool
    /// No operator asked for it: it counts for both nodes' damping.
    public var isAutomatic: Bool

    public init(reason: String = "", isForced: Bool = false, isAutomatic: Bool = false) {
        self.reason = reason
        self.isForced = isForced
        self.isAutomatic = isAutomatic
    }
}
