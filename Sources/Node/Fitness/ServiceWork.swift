import Pair
import Session

/// Whether this node is to serve: how fit it is, what an operator has decided, and what follows from both.
struct ServiceWork {
    /// How long a node that is not fit listens whether the other one is worse: what both depend on fails for both at once.
    static let settleTime: Duration = .milliseconds(100)
    /// How long the other node has to have been fit before sessions go there by themselves.
    static let peerFitTime: Duration = .seconds(1)
    /// Before a hand-over that came to nothing is tried again by itself.
    static let retryTime: Duration = .seconds(5)
    /// How often the other node is told what has not changed: it compares the clocks.
    static let tellInterval: Duration = .seconds(10)
    /// Operators who wait at once.
    static let waitersMax = 64

    /// An operator who waits for this node to have handed over.
    struct Waiter {
        var token: RequestToken
        var began: Instant
        /// When the answer is that it goes on without them; `nil`: with the end of the hand-over that is under way.
        var deadline: Instant?
    }

    var fitness: Fitness
    var damping: FlapDamping
    private(set) var maintenance = Maintenance.none
    private(set) var maintenanceSince: Instant?
    /// Also to a node that is not fit, or out of service.
    private(set) var isForced = false
    /// What follows the operator's command is done: when it has to be done again, it is by itself.
    var hasHandedOver = false
    var waiters: [Waiter] = []
    var retryAt: Instant?
    /// An operator gave this node the sessions though it is not fit (`--force`): it keeps them until a fault comes or goes, or the link does.
    var isOverruled = false
    /// On what terms sessions are just being taken over.
    var taking: HandoverTerms?

    init(_ configuration: TrackConfiguration, now: Instant) {
        fitness = Fitness(configuration, now: now)
        damping = FlapDamping(configuration.damping)
    }

    mutating func set(_ maintenance: Maintenance, isForced: Bool = false, at now: Instant) {
        if maintenance != self.maintenance { maintenanceSince = maintenance == .none ? nil : now }
        self.maintenance = maintenance
        self.isForced = isForced
        hasHandedOver = false
        retryAt = nil
    }

    /// Looked at when there is nothing to be waited for but time.
    var nextDeadline: Instant? { [fitness.nextDeadline, waiters.compactMap(\.deadline).min()].compactMap { $0 }.min() }
}

/// How the other node is, by its own word on this link.
struct PeerCondition {
    var condition: NodeCondition
    /// Since when it has been fit and in service; `nil`: it is not.
    var readySince: Instant?

    /// What it is said to be, by what it says now.
    mutating func become(_ condition: NodeCondition, at now: Instant) {
        let isReady = condition.isFit && condition.maintenance == .none
        readySince = isReady ? readySince ?? now : nil
        self.condition = condition
    }

    /// Why it should not be made active by plan; `nil`: nothing.
    func objection(name: String) -> String? {
        if condition.maintenance != .none {
            return "\(name) is out of service (\(condition.maintenance.name)): tandem resume there brings it back"
        }
        return condition.isFit ? nil : "\(name) is not fit: \(condition.faults.text)"
    }
}

extension [NamedFault] {
    /// For one line.
    var text: String { map(\.description).joined(separator: ", ") }
}
