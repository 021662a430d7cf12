import IKE
import Pair
public import Session

/// Connections of the peers for the kernel's conntrack.
public struct FlowInjection: Hashable, Sendable {
    public var commands: [FlowCommand]
    /// It came from the active, which may send more when this is done.
    public var isFromPeer: Bool

    public init(commands: [FlowCommand], isFromPeer: Bool) {
        self.commands = commands
        self.isFromPeer = isFromPeer
    }
}

/// What became of a `FlowInjection`.
public struct FlowInjectionResult: Hashable, Sendable {
    public var isFromPeer: Bool
    /// Commands that were carried out.
    public var done: Int
    /// Commands that the kernel refused.
    public var failed: Int

    public init(isFromPeer: Bool, done: Int, failed: Int) {
        self.isFromPeer = isFromPeer
        self.done = done
        self.failed = failed
    }
}

/// Both halves of following connections, of which a node is one at a time.
struct FlowWork {
    /// Batches of the active that are not in the kernel yet, at most: twice what it may have on the way.
    static let unansweredMax = 4

    let isEnabled: Bool
    var matcher = FlowMatcher()
    var sender: FlowSender
    var receiver: FlowReceiver
    /// Batches of the active that the kernel is being given.
    var unanswered = 0
    /// A page of entries that get more time is being given to the kernel.
    var isRenewing = false
    /// Connections in batches that came faster than the kernel takes them, against what was agreed.
    var overrun: UInt64 = 0
    var injected: UInt64 = 0
    var failed: UInt64 = 0

    init(limit: Int?) {
        isEnabled = limit != nil
        sender = FlowSender(limit: limit ?? 0)
        receiver = FlowReceiver(limit: limit ?? 0)
    }

    var named: [(String, UInt64)] {
        [
            ("flows_tracked", UInt64(sender.trackedCount)), ("flows_waiting", UInt64(sender.waitingCount)),
            ("flows_held", UInt64(receiver.count)), ("flows_streamed", sender.sent), ("flows_injected", injected),
            ("flows_foreign", sender.foreign), ("flows_dropped", sender.dropped + receiver.dropped + overrun), ("flow_failures", failed),
        ]
    }
}

/// The connections that go through the sessions' CHILD SAs are known to the standby's kernel before it needs them (law 6), so that its
/// firewall and its NAT go on with them. They are no part of a session: nothing waits for them, and what is lost of them is counted.
extension Node {
    /// Follows what a delta did to the sessions' selectors; on both nodes, so that a new owner knows them.
    mutating func followSelectors(of applied: AppliedDelta) {
        guard flows.isEnabled else { return }
        flows.matcher.follow(from: applied.before, to: applied.after)
    }

    mutating func ownAddressesChanged() {
        flows.matcher.ownAddresses = Set(
            (host.all ?? []) + configuration.addresses.map(\.prefix.address) + (configuration.pair?.paths.map(\.local.address) ?? []))
    }

    // MARK: - The active

    /// The kernel's table is watched while a standby listens that has the sessions: all of it at first, then what changes.
    private var areFlowsWanted: Bool {
        guard flows.isEnabled, isOwner, link.peer?.takesFlows == true, !link.isClosing, sender.isRunning else { return false }
        return sender.pairState != .syncing
    }

    mutating func workOnFlows(now: Now) {
        guard flows.isEnabled else { return }
        if areFlowsWanted != flows.sender.isFollowing {
            if areFlowsWanted {
                flows.sender.start()
                effects.append(.watchFlows(generation: flows.sender.generation))
            } else {
                flows.sender.stop()
                effects.append(.unwatchFlows)
            }
        }
        sendFlows(now: now)
        renewFlows(now: now)
    }

    /// - Parameter isUrgent: a hand-over follows, and with it the end of what this node may tell.
    mutating func sendFlows(isUrgent: Bool = false, now: Now) {
        effects += flows.sender.batches(isUrgent: isUrgent, at: now.instant).map { .frame(.flows($0)) }
    }

    mutating func flowsReported(_ report: FlowReport, generation: UInt64, now: Now) {
        flows.sender.note(report, generation: generation, matcher: flows.matcher, at: now.instant)
    }

    mutating func flowsTaken() {
        guard isOwner else { return }
        flows.sender.batchTaken()
    }

    // MARK: - The standby

    mutating func flowsReceived(_ batch: FlowBatch, now: Now) {
        guard !isOwner else { return }
        guard flows.isEnabled else { return effects.append(.frame(.flowsTaken)) }
        // Without an answer nothing more comes: a kernel that is stuck costs neither memory nor the link.
        guard flows.unanswered < FlowWork.unansweredMax else { return flows.overrun += UInt64(batch.count) }
        let commands = flows.receiver.take(batch, at: now.instant)
        guard !commands.isEmpty else { return effects.append(.frame(.flowsTaken)) }
        flows.unanswered += 1
        effects.append(.injectFlows(FlowInjection(commands: commands, isFromPeer: true)))
    }

    mutating func flowsInjected(_ result: FlowInjectionResult) {
        flows.injected += UInt64(result.done)
        flows.failed += UInt64(result.failed)
        guard result.isFromPeer else {
            flows.isRenewing = false
            return
        }
        flows.unanswered = max(0, flows.unanswered - 1)
        guard !isOwner, link.isUp, !link.isClosing, link.peer != nil else { return }
        effects.append(.frame(.flowsTaken))
    }

    private mutating func renewFlows(now: Now) {
        guard !isOwner, !flows.isRenewing else { return }
        let commands = flows.receiver.renew(at: now.instant)
        guard !commands.isEmpty else { return }
        flows.isRenewing = true
        effects.append(.injectFlows(FlowInjection(commands: commands, isFromPeer: false)))
    }

    /// When something of flows is due.
    var nextFlowDeadline: Instant? {
        guard flows.isEnabled else { return nil }
        return isOwner ? flows.sender.nextDeadline : flows.isRenewing ? nil : flows.receiver.nextDeadline
    }
}
