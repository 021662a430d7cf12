import Session

/// Sessions that went to another gateway with their client, whose packets from behind us still come here for a while: the routes to the
/// client are turned by programs, or by routers, and none of that is done in no time.
///
/// The CHILD SAs stay in the data plane, sending with the numbers that were theirs already; the taker's lie far above (law 3). The client
/// takes these packets until the taker's first one comes, as it takes those that are under way. Nothing is received any more: the client
/// is elsewhere, and what was captured on its way here would be let in a second time.
struct Lingering {
    /// Longer than a program needs to turn a route. Numbers for it are there in any case: a lease's slice has eight million.
    static let time: Duration = .seconds(1)
    /// As many as can be on their way out at a time.
    static let countMax = TransferWork.countMax

    struct Entry {
        var until: Instant
        var mobileNode: IPAddress
        var inboundSPIs: [UInt32]
        /// What takes the SAs out of the data plane.
        var removals: [DataPlaneCommand]
        /// What tells programs that the session is gone.
        var hooks: [HookCall]
    }

    private(set) var entries: [Entry] = []

    var nextDeadline: Instant? { entries.first?.until }

    /// - Returns: the entry that has to go for it.
    mutating func append(_ entry: Entry) -> Entry? {
        entries.append(entry)
        return entries.count > Lingering.countMax ? entries.removeFirst() : nil
    }

    mutating func takeDue(at now: Instant) -> [Entry] { take { $0.until <= now } }

    mutating func takeAll() -> [Entry] { take { _ in true } }

    /// Those that a new session would meet in the data plane: the same coming back, or another for the same client.
    mutating func take(before session: Session) -> [Entry] {
        take { entry in
            entry.mobileNode == session.mobileNode || entry.inboundSPIs.contains { session.child(inboundSPI: $0) != nil }
        }
    }

    private mutating func take(where isGone: (Entry) -> Bool) -> [Entry] {
        let gone = entries.filter(isGone)
        if !gone.isEmpty { entries.removeAll(where: isGone) }
        return gone
    }
}

extension Node {
    /// The session is out of the table; its SAs stay for a moment, and only send. That they receive nothing waits for nobody: to refuse
    /// shows nothing (law 2).
    mutating func linger(_ session: Session, removals: [DataPlaneCommand], hooks: [HookCall], now: Now) {
        let closed = session.children.map { child in
            DataPlaneCommand.advanceInbound(
                inboundSPI: child.inboundSPI, top: child.algorithms.extendedSequenceNumbers ? UInt64.max >> 1 : 0xFFFF_FFFF)
        }
        if !closed.isEmpty { effects.append(.dataPlane(closed)) }
        let entry = Lingering.Entry(
            until: now.instant + Lingering.time, mobileNode: session.mobileNode, inboundSPIs: session.children.map(\.inboundSPI),
            removals: removals, hooks: hooks)
        if let first = lingering.append(entry) { end([first]) }
    }

    mutating func workOnLingering(now: Now) {
        guard let deadline = lingering.nextDeadline, now.instant >= deadline else { return }
        end(lingering.takeDue(at: now.instant))
    }

    /// Another session takes the place of what lingers.
    mutating func endLingering(before session: Session) { end(lingering.take(before: session)) }

    /// We are not the owner any more: nothing of ours may be sent.
    mutating func endLingering() { end(lingering.takeAll()) }

    private mutating func end(_ entries: [Lingering.Entry]) {
        for entry in entries {
            if !entry.removals.isEmpty { effects.append(.dataPlane(entry.removals)) }
            run(entry.hooks)
        }
    }
}
