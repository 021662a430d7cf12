import Control
import Pair
import Session

/// `tandem drain`, `tandem standby`, `tandem resume`.
extension Node {
    mutating func maintain(_ request: MaintenanceRequest, token: RequestToken, now: Now) {
        if let reason = reasonAgainstMaintenance(request) { return respond(token, maintenance: .refused, reason: reason) }
        switch request.kind {
        case .drain: drain(request, token: token, now: now)
        case .standby: standAside(request, token: token, now: now)
        case .resume: resume(token: token, now: now)
        }
    }

    private func reasonAgainstMaintenance(_ request: MaintenanceRequest) -> String? {
        if request.kind == .resume { return nil }
        guard configuration.pair != nil else { return "this node has no pair: nobody can take its sessions" }
        guard roles.role != .starting else { return "this node is starting" }
        guard service.waiters.count < ServiceWork.waitersMax else { return "too many wait for this node already" }
        guard let peer = link.condition, peer.condition.maintenance != .none, !request.isForced else { return nil }
        return "\(peerName) is out of service itself (\(peer.condition.maintenance.name)): nobody would be left; tandem resume there first"
    }

    private mutating func drain(_ request: MaintenanceRequest, token: RequestToken, now: Now) {
        // Said again it changes nothing, but whoever says it may wait.
        if service.maintenance != .drain || service.isForced != request.isForced {
            service.set(.drain, isForced: request.isForced, at: now.instant)
            say(maintenance: isOwner ? "drains: it hands over as soon as \(peerName) can take it" : "is drained", now: now)
        }
        guard isOwner else { return respond(token, maintenance: .done) }
        let patience = min(max(0, request.timeoutMilliseconds), MaintenanceRequest.timeoutMillisecondsMax)
        service.waiters.append(.init(token: token, began: now.instant, deadline: now.instant + .milliseconds(patience)))
    }

    private mutating func standAside(_ request: MaintenanceRequest, token: RequestToken, now: Now) {
        guard isOwner else {
            service.set(.standby, at: now.instant)
            say(maintenance: "stays standby", now: now)
            return respond(token, maintenance: .done)
        }
        if let reason = reasonAgainstSwitchover(force: request.isForced) { return respond(token, maintenance: .refused, reason: reason) }
        service.waiters.append(.init(token: token, began: now.instant, deadline: nil))
        let terms = HandoverTerms(reason: Maintenance.standby.name, isForced: request.isForced)
        beginSwitchover(token: nil, terms: terms, then: .standby, now: now)
    }

    private mutating func resume(token: RequestToken, now: Now) {
        if service.maintenance != .none {
            service.set(.none, at: now.instant)
            say(maintenance: "is in service again", now: now)
        }
        service.damping.forget()
        answerWaiters(.refused, reason: "the node was told to resume", now: now) { $0.deadline != nil }
        respond(token, maintenance: .done)
    }

    private mutating func say(maintenance text: String, now: Now) {
        log(.notice, "maintenance", [.init("what", text)])
        note(.maintenance, "\(configuration.name) \(text)", now: now)
    }

    // MARK: - Answers

    /// This node is owner no more, by plan or because the other one took over.
    mutating func ownershipWentAway(_ done: Handover?, now: Now) {
        if let then = done?.then, then != .none {
            service.set(then, isForced: false, at: now.instant)
            say(maintenance: "stays standby", now: now)
        }
        if service.maintenance != .none { service.hasHandedOver = true }
        answerWaiters(.done, reason: "", now: now) { _ in true }
    }

    mutating func answerOverdueWaiters(now: Now) {
        guard let first = service.waiters.compactMap(\.deadline).min(), now.instant >= first else { return }
        answerWaiters(.waiting, reason: reasonForWaiting, now: now) { $0.deadline.map { now.instant >= $0 } ?? false }
    }

    private var reasonForWaiting: String {
        if let objection = link.condition?.objection(name: peerName) { return objection }
        guard sender.pairState != .paired else { return "the hand-over is under way" }
        return "the pair is \(sender.pairState.name)" + (sender.pairState.reason.map { " (\($0))" } ?? "")
    }

    mutating func answerWaiters(
        _ outcome: MaintenanceSummary.Outcome, reason: String, now: Now, where isMeant: (ServiceWork.Waiter) -> Bool
    ) {
        let meant = service.waiters.filter(isMeant)
        guard !meant.isEmpty else { return }
        service.waiters.removeAll(where: isMeant)
        for waiter in meant { respond(waiter.token, maintenance: outcome, reason: reason, took: now.instant - waiter.began) }
    }

    private mutating func respond(
        _ token: RequestToken, maintenance outcome: MaintenanceSummary.Outcome, reason: String = "", took: Duration = .zero
    ) {
        var summary = MaintenanceSummary()
        (summary.outcome, summary.reason) = (outcome, reason)
        summary.maintenance = maintenanceText
        (summary.role, summary.owner) = (roles.role.name, ownerName)
        (summary.epoch, summary.sessions) = (roles.epoch, table.count)
        summary.totalMicroseconds = took.inNanoseconds / 1000
        respond(token, .maintenance(summary))
    }

    // MARK: - What is shown

    /// `none`, `draining`, `drained` or `standby`.
    var maintenanceText: String {
        switch service.maintenance {
        case .none: "none"
        case .drain: isOwner ? "draining" : "drained"
        case .standby: "standby"
        }
    }

    func conditionSummary(_ now: Now) -> ConditionSummary {
        func wall(_ instant: Instant) -> Int64 { now.wallMilliseconds - Int64((now.instant - instant).inMilliseconds) }
        var summary = ConditionSummary()
        summary.fitness = service.fitness.isFit ? "fit" : "unfit"
        summary.fitnessSinceMilliseconds = wall(service.fitness.since)
        summary.faults = service.fitness.faults.map {
            FaultSummary(name: $0.fault.name, reason: $0.fault.reason, sinceMilliseconds: wall($0.since))
        }
        summary.tracked = service.fitness.shown
        summary.maintenance = maintenanceText
        summary.maintenanceSinceMilliseconds = service.maintenanceSince.map(wall)
        summary.preferred = configuration.preferred?.name ?? ""
        summary.automaticHandovers = service.damping.count
        if let until = service.damping.heldUntil, service.damping.isHolding(at: now.instant) { summary.heldUntilMilliseconds = wall(until) }
        summary.nextHandoverMilliseconds = nextHandoverByItself.map(wall)
        guard let peer = link.condition?.condition else { return summary }
        summary.peerFitness = peer.isFit ? "fit" : "unfit"
        summary.peerFaults = peer.faults.map(\.description)
        summary.peerMaintenance = peer.maintenance.name
        return summary
    }
}
