import IKE
import Pair
import Session

extension LeaseWork {
    /// Sessions in one page: a millisecond of work or so on either node, so that heartbeats and replies do not wait for it.
    static let page = 64

    /// Between two pages everything else gets its turn. A fraction of a page's work: a standby is filled when all of it is done.
    static let pause: Duration = .microseconds(200)

    /// Entries that the standby has not acknowledged, while which no further page is recorded: two pages, of which it takes in one in a fraction
    /// of the commit timeout. Without this a switchover of many sessions leaves it behind, and the pair is `solo` until it has caught up.
    static let lagMax: UInt64 = 128

    mutating func end() { self = LeaseWork() }

    mutating func takePage() -> [SessionID] {
        let page = Array(sessions?.suffix(LeaseWork.page) ?? [])
        sessions?.removeLast(page.count)
        return page
    }
}

extension Node {
    /// The share of a lease that is kept in reserve: when only a quarter is left the next one is taken. At 2^21 packets it
    /// outlasts many reports.
    static let leaseReserve = Lease.size / 4

    mutating func workOnLeases(now: Now) {
        // While a hand-over is offered nothing of ours changes.
        guard hasTurn, let due = leases.nextDeadline, now.instant >= due, let task = leases.task, !isHandoverOffered else { return }
        if leases.sessions == nil { leases.sessions = table.sessions.keys.sorted() }
        if leases.isRecording, sender.holdsReplies, sender.lag > LeaseWork.lagMax {
            leases.nextDeadline = now.instant + LeaseWork.pause
            return
        }
        let page = leases.takePage()
        switch task {
        case .record(let step): recordLeases(of: page, step, now: now)
        case .arm: armStandby(page)
        }
        guard leases.sessions?.isEmpty == true else {
            leases.nextDeadline = now.instant + LeaseWork.pause
            return
        }
        let opensGate = leases.opensGate
        leases.end()
        if opensGate { openGateAtLast(now: now) }
        endReplayWork(now: now)
        startReplication(now: now)
        offerHandover(now: now)
    }

    /// After a takeover: the slices that this node went to are written into the table and told to the standby, so that whoever
    /// comes next goes past them.
    private mutating func recordLeases(of page: [SessionID], _ step: LeaseStep, now: Now) {
        var commands: [DataPlaneCommand] = []
        for id in page {
            guard let session = table[id], !session.children.isEmpty else { continue }
            if session.isArriving { adoptArrival(session, now: now) }
            let plan = plan
            var changes = session.children.map { child in
                SessionChange.leased(inboundSPI: child.inboundSPI, lease: plan.lease(step, after: child))
            }
            changes += recordedTops(of: session)
            guard let applied = applyOwn(SessionDelta(session: id, changes: changes), now: now) else { continue }
            commands += plan.commands(for: applied)
            if leases.opensGate { commands += pastGapWindows(of: session) }
            if let leased = table[id] { ike.noteLeased(leased, context: context(now)) }
        }
        // Of a page together: what is released for each session by itself costs a write to the link each time.
        if !leases.opensGate { return release(commands: commands, datagrams: [], now: now) }
        // What would have been done in the takeover itself. Nothing is shown of it while the gate is shut.
        if !commands.isEmpty { effects.append(.dataPlane(commands)) }
    }

    private mutating func openGateAtLast(now: Now) {
        setGate(.open)
        let milliseconds = takeover.steps.first.map { (now.instant - $0.at).inMilliseconds } ?? 0
        log(.notice, "every SA is set ahead; sending", [.init("milliseconds", "\(milliseconds)")])
        note(.takeover, "every SA is set ahead, sending after \(milliseconds) ms", now: now)
    }

    /// After a hand-over: the SAs of the former owner are set to where it would go on.
    private mutating func armStandby(_ page: [SessionID]) {
        let commands = page.compactMap { table[$0] }.flatMap { session in session.children.flatMap { plan.standBy($0, of: session) } }
        if !commands.isEmpty { effects.append(.dataPlane(commands)) }
    }

    mutating func dataPlaneReported(_ event: DataPlaneEvent, now: Now) {
        switch event {
        case .counters(let reports): countersReported(reports, now: now)
        case .endpointChanged(let spi, let remote): endpointChanged(inboundSPI: spi, remote: remote, now: now)
        case .acquired(let name, let packet): acquired(name, packet: packet, now: now)
        }
    }

    private mutating func countersReported(_ reports: [CounterReport], now: Now) {
        var moved: [ReplayReport] = []
        for report in reports {
            guard let session = table.session(inboundSPI: report.inboundSPI), let child = session.child(inboundSPI: report.inboundSPI)
            else {
                continue
            }
            let before = traffic.updateValue(report, forKey: report.inboundSPI)
            guard isOwner, !isHandoverOffered else { continue }
            if report.outboundPackets != before?.outboundPackets ?? 0 {
                ike.noteOutboundTraffic(session: session.id, at: now.instant)
            }
            if !configuration.nodeAddresses.isEmpty { recentTraffic.note(session.id, at: now.instant) }
            noteVolume(report, since: before, of: child, now: now)
            if report.inboundTop > child.inboundTop {
                replay.noteReport(report.inboundSPI)
                noteTrafficHeard(session.id, now: now)
                moved.append(ReplayReport(inboundSPI: report.inboundSPI, top: report.inboundTop))
                ike.noteInboundTraffic(session: session.id, at: now.instant)
                if session.isArriving { trafficArrived(for: session, now: now) }
            }
            extendLease(of: child, in: session, next: report.outboundNext, now: now)
        }
        for start in stride(from: 0, to: moved.count, by: PairProtocol.replayReportsMax) {
            replicateReplay(Array(moved[start..<min(start + PairProtocol.replayReportsMax, moved.count)]), now: now)
        }
    }

    /// For limits on octets and packets; a data plane counts from when it got the SA.
    private mutating func noteVolume(_ report: CounterReport, since before: CounterReport?, of child: ChildSA, now: Now) {
        guard child.volumeLimits != .unlimited else { return }
        func added(_ value: (CounterReport) -> UInt64) -> UInt64 {
            let (known, current) = (before.map(value) ?? 0, value(report))
            return current > known ? current - known : 0
        }
        let volume = Volume(
            bytes: added(\.inboundBytes) + added(\.outboundBytes), packets: added(\.inboundPackets) + added(\.outboundPackets))
        commit(ike.noteVolume(volume, child: child.inboundSPI, table: table, context: context(now)), now: now)
    }

    private mutating func replicateReplay(_ reports: [ReplayReport], now: Now) {
        for report in reports {
            // Applied as on the standby.
            if let advance = table.advance(inboundSPI: report.inboundSPI, to: report.top) { noteAdvance(advance, now: now) }
        }
        replicate(.replay(reports), now: now)
    }

    /// Goes on to the next slice well before this one is used up (law 3).
    private mutating func extendLease(of child: ChildSA, in session: Session, next: UInt64, now: Now) {
        let numbers = plan.numbers(of: child, in: session)
        // Until they are recorded, the table's leases are those of the former owner.
        guard !leases.isRecording, !session.isArriving, numbers.next <= numbers.limit else { return }
        guard next >= numbers.next else { return extendAtLast(child, in: session, next: next, now: now) }
        guard isDue(next, limit: numbers.limit, now: now) else { return }
        // Used up, or left behind by what this node sent under a former ownership: above that too.
        let used = max(child.lease.slice, next > numbers.limit ? (next - 2) / Lease.size : 0)
        let lease = Lease(slice: used).next(for: configuration.id)
        let delta = SessionDelta(session: session.id, changes: [.leased(inboundSPI: child.inboundSPI, lease: lease)])
        guard let applied = applyOwn(delta, now: now) else { return }
        release(commands: plan.commands(for: applied), datagrams: [], isLease: true, now: now)
        if let leased = table[session.id] { ike.noteLeased(leased, context: context(now)) }
    }

    /// The table is a slice ahead of the data plane, which was not told because the standby had not heard of it.
    private mutating func extendAtLast(_ child: ChildSA, in session: Session, next: UInt64, now: Now) {
        guard !sender.holdsReplies || sender.lag == 0, next > 0 else { return }
        guard isDue(next, limit: ((next - 1) / Lease.size + 1) * Lease.size, now: now) else { return }
        unheardLeases.remove(child.inboundSPI)
        effects.append(.dataPlane([plan.arm(child, in: session)]))
    }

    /// Whether an SA whose slice ends at `limit` goes on to another one now.
    private func isDue(_ next: UInt64, limit: UInt64, now: Now) -> Bool {
        guard next > limit || limit - next < Node.leaseReserve else { return false }
        let isUrgent = next > limit || limit - next < Node.leaseReserve / 4
        return isUrgent || sender.mayRunAhead(at: now.instant)
    }

    /// A NAT gave the peer another port or address; a valid ESP packet proved it (RFC 7296 §2.23).
    private mutating func endpointChanged(inboundSPI: UInt32, remote: Endpoint, now: Now) {
        guard isOwner, !isHandoverOffered, let session = table.session(inboundSPI: inboundSPI), session.remoteBehindNAT,
            !session.isArriving,
            // A peer that says it has moved is followed when it has shown that it can be reached there.
            session.remote != remote, session.movingTo == nil
        else { return }
        let delta = SessionDelta(session: session.id, changes: [.moved(local: session.local, remote: remote)])
        guard let applied = applyOwn(delta, now: now) else { return }
        release(commands: plan.commands(for: applied), datagrams: [], now: now)
        log(.info, "a peer behind a NAT moved", [.init("session", "\(session.id)"), .init("remote", "\(remote)")])
    }
}
