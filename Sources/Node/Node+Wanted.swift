import Cryptography
import IKE
import Pair
import Session

/// What the node makes by itself: children that are to be there, that a packet wants, and successors of sessions.
extension Node {
    /// A takeover has more urgent things to do first.
    static let wantedDelay: Duration = .milliseconds(500)
    /// Children and successors looked at in one go; the rest is due a moment later. Each may cost a key exchange, of up to 20 ms.
    static let wantedPage = 4
    static let wantedTurn: Duration = .milliseconds(1)
    /// Packets of one child that are taken for a wish: one in so long.
    static let acquirePause: Duration = .seconds(1)
    /// When a child whose call is under way is looked at again, should nothing be heard of it.
    static let wantedPatience: Duration = .seconds(5)

    /// Begins what is due.
    mutating func pursueWanted(now: Now) {
        guard mayInitiate else { return }
        if let begin = wanted.beginsAt, begin <= now.instant {
            wanted.beginsAt = nil
            wanted.keepAll(at: now.instant)
        }
        if let resumes = wanted.resumesAt, resumes > now.instant { return }
        wanted.resumesAt = nil
        for _ in 0..<Node.wantedPage {
            if let event = wanted.takeSuccession() {
                pursue(event, now: now)
            } else if let name = wanted.popDue(at: now.instant) {
                pursue(name, now: now)
            } else {
                return
            }
        }
        wanted.resumesAt = now.instant + Node.wantedTurn
    }

    var mayInitiate: Bool { isOwner && handover == nil }

    /// Compares what is wanted with what there is.
    private mutating func pursue(_ name: ChildName, now: Now) {
        guard let entry = wanted[name], let connection = configuration.ike.connections.first(where: { $0.name == name.connection }),
            entry.isKept || entry.trigger != nil
        else { return }
        let sessions = openSessions(of: name.connection)
        if sessions.contains(where: { $0.satisfies(entry) }) { return settle(name, now: now) }
        if ike.initiation(connection: name.connection) != nil {
            return wanted.look(at: name, now.instant + Node.wantedPatience)
        }
        if let session = sessions.last {
            addWanted(name, entry, to: session, now: now)
        } else {
            callWanted(name, entry, connection, now: now)
        }
    }

    /// It is there. What only a packet wanted may be wanted for good as well.
    private mutating func settle(_ name: ChildName, now: Now) {
        let wasForPacket = wanted[name]?.trigger != nil
        wanted[name]?.trigger = nil
        if wasForPacket { return wanted.look(at: name, now.instant) }
        wanted[name]?.pause.noteUp(at: now.instant)
    }

    /// A further CHILD SA of a session that stands.
    private mutating func addWanted(_ name: ChildName, _ entry: Wanted.Entry, to session: Session, now: Now) {
        if ike.isAdding(name.child, in: session) { return wanted.look(at: name, now.instant + Node.wantedPatience) }
        var pause = entry.trigger == nil ? entry.pause : entry.packetPause
        guard pause.isOver(at: now.instant), session.children.count < configuration.ike.limits.childrenPerSessionMax else {
            return wait(name, entry, for: pause, now: now)
        }
        pause.begin(at: now.instant, random: random)
        if entry.trigger == nil { wanted[name]?.pause = pause } else { wanted[name]?.packetPause = pause }
        wait(name, entry, for: pause, now: now)
        commit(
            ike.addChild(named: name.child, trigger: entry.trigger, in: session.id, table: table, context: context(now)), now: now)
    }

    private mutating func callWanted(_ name: ChildName, _ entry: Wanted.Entry, _ connection: ConnectionConfiguration, now: Now) {
        var pause = wanted.calls[name.connection] ?? Backoff()
        guard pause.isOver(at: now.instant) else { return wait(name, entry, for: pause, now: now) }
        do {
            let (local, remote) = try endpoints(of: connection, now: now)
            let begun = try ike.initiate(
                connection: connection, child: entry.child, local: local, remote: remote, trigger: entry.trigger, table: table,
                context: context(now))
            pause.begin(at: now.instant, random: random)
            wanted.calls[name.connection] = pause
            wait(name, entry, for: pause, now: now)
            commit(begun.outcome, now: now)
        } catch InitiationRefusal.tooMany {
            // Its turn comes when others are through.
            wanted.look(at: name, now.instant + .milliseconds(500 + Int64(random.uint64() % 1000)))
        } catch {
            pause.begin(at: now.instant, random: random)
            wanted.calls[name.connection] = pause
            wait(name, entry, for: pause, now: now)
            let reason = (error as? InitiationRefusal)?.rawValue ?? "\(error)"
            log(.warning, "a child cannot be begun", [.init("child", "\(name)"), .init("reason", reason)])
        }
    }

    /// Looks again when there may be another attempt. A packet's wish does not wait: the next packet wishes anew.
    private mutating func wait(_ name: ChildName, _ entry: Wanted.Entry, for pause: Backoff, now: Now) {
        wanted[name]?.trigger = nil
        guard entry.isKept else { return }
        wanted.look(at: name, max(pause.until ?? now.instant, now.instant + Backoff.waitMin))
    }

    /// Those that are not about to end, the one to which something can be added last.
    func openSessions(of connection: String) -> [Session] {
        let open = table.sessions(connection: connection).filter { !$0.isClosing }
        guard open.count > 1 else { return open }
        func rank(_ session: Session) -> (Int, Int64, UInt32) {
            (table.successor(of: session.id) == nil ? 1 : 0, session.establishedWallMilliseconds, session.uniqueID)
        }
        return open.sorted { rank($0) < rank($1) }
    }

    // MARK: - Packets

    /// The policies under which packets call for a CHILD SA. They stand on both nodes, behind the gate.
    var trapPolicies: [TrapPolicy] {
        configuration.ike.connections.flatMap { connection -> [TrapPolicy] in
            guard let remote = connection.remoteAddresses.hosts.first(where: { ike.localAddress(for: $0, connection: connection) != nil }),
                let local = ike.localAddress(for: remote, connection: connection)
            else { return [] }
            return connection.children.filter(\.isTrapped).compactMap { child in
                child.trap(of: connection.name, local: local, remote: remote)
            }
        }
    }

    /// A packet met a trap. The data plane limits how often it says so; the node does not rely on it.
    mutating func acquired(_ name: ChildName, packet: PacketSelector, now: Now) {
        guard mayInitiate, gate == .open, let entry = wanted[name], entry.child.isTrapped else { return }
        if let last = entry.triggeredAt, now.instant < last + Node.acquirePause { return }
        counters.packetsAcquired += 1
        wanted[name]?.triggeredAt = now.instant
        wanted[name]?.trigger = packet
        wanted.look(at: name, now.instant)
    }

    // MARK: - What happened

    /// What a delta took away or brought, of connections that concern us.
    struct WantedChange {
        var session: SessionID
        var connection: String
        /// Children that are gone, with whether we deleted them ourselves.
        var lost: [(child: String, byUs: Bool)]
        var isRemoved: Bool
        /// It has a CHILD SA.
        var isUp: Bool
    }

    func wantedChange(_ applied: AppliedDelta) -> WantedChange? {
        guard !wanted.isEmpty, let session = applied.after ?? applied.before,
            case let connection = session.authorization.connection, !wanted.children(of: connection).isEmpty
        else { return nil }
        let before = applied.before?.children.filter { !$0.isRekeyed } ?? []
        let after = Set(applied.after?.children.filter { !$0.isRekeyed }.map(\.name) ?? [])
        let requests = applied.before?.ikeSAs.flatMap(\.pendingRequests).map(\.purpose) ?? []
        let lost = before.filter { !after.contains($0.name) }.map { child in
            (child: child.name, byUs: requests.contains(.deleteIKESA) || requests.contains(.deleteChildSA(child.inboundSPI)))
        }
        let isRemoved = applied.after == nil
        let isNew = applied.before == nil || !after.isSubset(of: before.map(\.name))
        guard !lost.isEmpty || isRemoved || isNew else { return nil }
        return WantedChange(session: session.id, connection: connection, lost: lost, isRemoved: isRemoved, isUp: !after.isEmpty)
    }

    /// `close_action` and `dpd_action`: whether what is gone is wanted again.
    mutating func note(_ change: WantedChange, events: [IKEEvent], now: Now) {
        let isDead = change.isRemoved && events.contains(.peerDead(session: change.session))
        let isDeleted = change.isRemoved && events.contains(.deletedByPeer(session: change.session))
        for (child, byUs) in change.lost {
            let name = ChildName(connection: change.connection, child: child)
            guard let entry = wanted[name] else { continue }
            let action: LossAction?
            switch (isDead, isDeleted) {
            case (true, _): action = entry.child.deadPeerAction
            case (_, true): action = entry.child.closeAction
            // What we ended or replaced ourselves is wanted as before.
            case (false, false): action = change.isRemoved || byUs ? nil : entry.child.closeAction
            }
            if let action { wanted[name]?.isKept = action == .restart }
        }
        if change.isUp { wanted.calls[change.connection]?.noteUp(at: now.instant) }
        wanted.look(atAllOf: change.connection, now.instant)
    }

    mutating func noteWanted(_ event: IKEEvent, now: Now) {
        switch event {
        case .successorWanted, .successorIncomplete: wanted.ask(event)
        case .initiationFailed(_, let connection, _, _):
            wanted.calls[connection]?.postpone(at: now.instant, random: random)
            wanted.look(atAllOf: connection, now.instant)
        case .requestRefused(let session, .childSA(let child, isRekey: false), let notify):
            guard let connection = table[session]?.authorization.connection else { return }
            let name = ChildName(connection: connection, child: child)
            // RFC 7296 §1.3: it takes no more of them, and will not in a second either.
            let isFull = notify == RefusedRequest.noAdditionalSAs
            wanted[name]?.pause.postpone(at: now.instant, longest: isFull, random: random)
        default: break
        }
    }

    /// An operator ended it: it comes again when he says so, or with the next takeover.
    mutating func noteTerminated(_ session: Session, child: String? = nil) {
        for name in wanted.children(of: session.authorization.connection) where child == nil || child == name.child {
            wanted[name]?.isKept = false
            wanted[name]?.trigger = nil
        }
    }

    // MARK: - Successors

    private mutating func pursue(_ event: IKEEvent, now: Now) {
        switch event {
        case .successorWanted(let session): succeed(session, now: now)
        case .successorIncomplete(let session, let child):
            guard let successor = table[session], !successor.hasChild(child), !ike.isAdding(child, in: successor) else { return }
            commit(ike.addChild(named: child, in: session, table: table, context: context(now)), now: now)
        default: break
        }
    }

    /// Calls the peer of a session, or the gateway that it named, for a session from scratch. Should it fail, the engine asks again.
    private mutating func succeed(_ id: SessionID, now: Now) {
        guard let session = table[id], !session.isClosing, table.successor(of: id) == nil, !ike.isSucceeding(id),
            let connection = configuration.ike.connections.first(where: { $0.name == session.authorization.connection })
        else { return }
        let active = session.children.filter { !$0.isRekeyed }.map(\.name)
        let remote = session.redirectedTo ?? session.remote.address
        let isSameFamily = remote.family == session.local.address.family
        guard let child = connection.children.first(where: { active.contains($0.name) }) ?? connection.children.first,
            let local = isSameFamily ? session.local.address : ike.localAddress(for: remote, connection: connection)
        else { return }
        do throws(InitiationRefusal) {
            let begun = try ike.initiate(
                connection: connection, child: child, local: Endpoint(local, 500), remote: Endpoint(remote, 500), replacing: id,
                table: table, context: context(now))
            commit(begun.outcome, now: now)
        } catch {
            log(.warning, "a session cannot be replaced yet", [.init("session", "\(id)"), .init("reason", error.rawValue)])
        }
    }
}

extension Session {
    /// What is wanted is there; for a packet, a CHILD SA that takes it.
    fileprivate func satisfies(_ entry: Wanted.Entry) -> Bool {
        guard let packet = entry.trigger else { return hasChild(entry.child.name) }
        return children.contains { child in
            child.name == entry.child.name && !child.isRekeyed && child.localSelectors.contains { $0.contains(packet.local) }
                && child.remoteSelectors.contains { $0.contains(packet.remote) }
        }
    }
}
