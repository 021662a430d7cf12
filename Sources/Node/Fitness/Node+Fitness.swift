import Control
import Pair
import Session

/// How fit the two nodes are, what an operator wants of this one, and the hand-overs that follow.
///
/// An active node hands over by itself, to a standby that holds everything, is fit and in service: when it is drained, when it is not fit
/// (for `settleTime`, and the other one is), or when the other one is preferred and has been ready for long enough. When both are not
/// fit nothing moves: most of what fails for both at once has one cause, which a hand-over does not mend.
extension Node {
    // MARK: - What is found out

    mutating func healthReported(_ report: HealthReport, now: Now) {
        if case .clockJumped(let milliseconds) = report {
            counters.clockJumps += 1
            let text = ClockTrack.text(milliseconds)
            log(.warning, "the time of day jumped", [.init("by", text)])
            note(.fitness, "the time of day jumped by \(text)", now: now)
        }
        say(service.fitness.note(report, at: now.instant), now: now)
    }

    mutating func noteDataPlaneFailure(now: Now) { say(service.fitness.noteDataPlaneFailure(at: now.instant), now: now) }

    private mutating func say(_ changes: [Fitness.Change], now: Now) {
        if !changes.isEmpty { service.isOverruled = false }
        for change in changes {
            switch change {
            case .began(let fault):
                counters.faults += 1
                log(.warning, "not fit", [.init("fault", fault.name), .init("reason", fault.reason)])
                note(.fitness, "unfit: \(fault)", now: now)
            case .ended(let name):
                log(.notice, "a fault is over", [.init("fault", name)])
                note(.fitness, "\(name) is good again" + (service.fitness.isFit ? "; the node is fit" : ""), now: now)
            }
        }
    }

    // MARK: - What the nodes tell each other

    /// After a hello, when it changes, and every now and then for the clocks' sake. A node of an older version is told nothing.
    private mutating func tellCondition(now: Now) {
        guard link.isUp, !link.isClosing, link.peer?.takesCondition == true else { return }
        let condition = NodeCondition(
            faults: service.fitness.named, maintenance: service.maintenance, wallMilliseconds: clock.hostMilliseconds,
            lifetimeMilliseconds: now.wallMilliseconds)
        if let told = link.told, told.condition.saysTheSame(as: condition), now.instant - told.at < ServiceWork.tellInterval { return }
        link.told = (condition, now.instant)
        effects.append(.frame(.condition(condition)))
    }

    mutating func conditionReceived(_ condition: NodeCondition, now: Now) {
        let before = link.condition
        var after = before ?? PeerCondition(condition: condition)
        after.become(condition, at: now.instant)
        link.condition = after
        if !isOwner, let lifetime = condition.lifetimeMilliseconds { clock.align(to: lifetime, at: now.instant) }
        say(
            service.fitness.compareClocks(own: clock.hostMilliseconds, peer: condition.wallMilliseconds, at: now.instant), now: now)
        guard before.map({ !$0.condition.isAlike(condition) }) ?? (after.readySince == nil) else { return }
        let text = after.objection(name: peerName) ?? "\(peerName) is fit and in service"
        log(.notice, "how the other node is", [.init("what", text)])
        note(.fitness, text, now: now)
    }

    var peerName: String { configuration.pair?.peerName ?? "" }

    /// Why this node should not be made active by plan.
    func objectionToTaking(_ terms: HandoverTerms) -> String? {
        guard !terms.isForced else { return nil }
        let own = NodeCondition(faults: service.fitness.named, maintenance: service.maintenance, wallMilliseconds: 0)
        return PeerCondition(condition: own).objection(name: configuration.name)
    }

    // MARK: - Hand-overs that nobody asks for

    private enum Wish {
        case drained
        case unfit
        case preferred
    }

    /// What moves the sessions away from here, and not before when; `nil`: nothing does, or it cannot as things are.
    private var wish: (wish: Wish, at: Instant)? {
        guard isOwner, handover == nil, !roles.isHandingOver, sender.pairState == .paired, link.isUp, !link.isClosing, let peer = link.peer
        else { return nil }
        let begin = service.retryAt ?? Instant(nanoseconds: 0)
        let free = max(begin, service.damping.heldUntil ?? begin)
        if service.maintenance != .none {
            let known = link.condition
            guard service.isForced || !peer.takesCondition || known?.readySince != nil else { return nil }
            guard service.hasHandedOver else { return (.drained, begin) }
            return (.drained, max(free, (known?.readySince ?? begin) + ServiceWork.peerFitTime))
        }
        guard let ready = link.condition?.readySince else { return nil }
        if !service.fitness.isFit, !service.isOverruled {
            return (.unfit, max(free, max(service.fitness.since + ServiceWork.settleTime, ready + ServiceWork.peerFitTime)))
        }
        guard let preferred = configuration.preferred, !preferred.isOwn else { return nil }
        return (.preferred, max(free, max(ready, sender.since) + preferred.delay))
    }

    /// When the sessions leave by themselves, as things are.
    var nextHandoverByItself: Instant? { wish?.at }

    var nextServiceDeadline: Instant? {
        let tells =
            link.isUp && !link.isClosing && link.peer?.takesCondition == true ? link.told.map { $0.at + ServiceWork.tellInterval } : nil
        return [service.nextDeadline, tells, wish?.at].compactMap { $0 }.min()
    }

    mutating func workOnService(now: Now) {
        say(service.fitness.deadline(at: now.instant), now: now)
        tellCondition(now: now)
        if let (wish, at) = wish, now.instant >= at { pursue(wish, now: now) }
        answerOverdueWaiters(now: now)
    }

    private mutating func pursue(_ wish: Wish, now: Now) {
        let terms: HandoverTerms
        switch wish {
        case .drained:
            terms = HandoverTerms(
                reason: service.maintenance.name, isForced: service.isForced, isAutomatic: service.hasHandedOver)
        case .unfit: terms = HandoverTerms(reason: "unfit: \(service.fitness.named.text)", isAutomatic: true)
        case .preferred: terms = HandoverTerms(reason: "preferred: \(peerName)", isAutomatic: true)
        }
        log(.notice, "hands over", [.init("reason", terms.reason)])
        note(.handover, "hands over to \(peerName): \(terms.reason)", now: now)
        beginSwitchover(token: nil, terms: terms, now: now)
    }

    /// A hand-over has been, seen from either node.
    mutating func noteHandover(_ terms: HandoverTerms, now: Now) {
        guard terms.isAutomatic else { return service.damping.forget() }
        counters.automaticHandovers += 1
        service.damping.note(at: now.instant)
        guard let until = service.damping.heldUntil, service.damping.isHolding(at: now.instant) else { return }
        let seconds = (until - now.instant).components.seconds
        log(.warning, "no more hand-overs by themselves for a while", [.init("seconds", "\(seconds)")])
        note(.handover, "too many hand-overs that nobody asked for: none by itself for \(seconds) s", now: now)
    }

    /// The hand-over came to nothing.
    mutating func handoverCameToNothing(_ failed: Handover, reason: String, now: Now) {
        service.retryAt = now.instant + ServiceWork.retryTime
        if !failed.terms.reason.isEmpty { note(.handover, "the hand-over came to nothing: \(reason)", now: now) }
        answerWaiters(.refused, reason: reason, now: now) { $0.deadline == nil }
    }

    /// Nobody else was there: a node that should not serve does so, and says it aloud.
    mutating func complainOfTakeover(now: Now) {
        if service.maintenance != .none {
            log(.error, "serves although it is out of service: nobody else does", [.init("maintenance", service.maintenance.name)])
            note(
                .maintenance,
                "serves although it is out of service (\(service.maintenance.name)): nobody else does; it hands back when it can",
                now: now)
        }
        if !service.fitness.isFit {
            log(.error, "serves although it is not fit: nobody else does", [.init("faults", service.fitness.named.text)])
            note(.fitness, "serves although it is not fit: nobody else does: \(service.fitness.named.text)", now: now)
        }
    }
}

extension NodeCondition {
    /// Apart from the time.
    func saysTheSame(as other: NodeCondition) -> Bool { faults == other.faults && maintenance == other.maintenance }

    /// Apart from what is said of each fault: a script may say something else with every run.
    func isAlike(_ other: NodeCondition) -> Bool {
        faults.map(\.name) == other.faults.map(\.name) && maintenance == other.maintenance
    }
}
