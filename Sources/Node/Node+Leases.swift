import IKE
import Pair
import Session

extension LeaseWork {
    /// Sessions in one page: well under a millisecond of work, so that heartbeats and replies never wait for it.
    static let page = 256

    mutating func beginRecording(afterGap gap: Bool, at now: Instant) {
        afterGap = gap
        toRecord = []
        isRecordingDue = true
        nextDeadline = now
    }

    mutating func beginArming(_ sessions: [SessionID], at now: Instant) {
        toRecord = []
        isRecordingDue = false
        toArm = sessions
        nextDeadline = sessions.isEmpty ? nil : now
    }
}

extension Node {
    /// The share of a lease that is kept in reserve: when only a quarter is left the next one is taken. At 2^22 packets it
    /// outlasts many reports.
    static let leaseReserve = Lease.size / 4

    mutating func workOnLeases(now: Now) {
        guard let due = leases.nextDeadline, now.instant >= due else { return }
        if leases.isRecordingDue {
            leases.isRecordingDue = false
            leases.toRecord = Array(table.sessions.keys)
        }
        if isOwner { recordLeases(now: now) } else { armStandby() }
        let isDone = leases.isEmpty
        leases.nextDeadline = isDone ? nil : now.instant
        guard isDone, isOwner else { return }
        leases.afterGap = false
        startReplication(now: now)
        offerHandover(now: now)
    }

    /// After a takeover: the slices that this node went to are written into the table and told to the standby, so that whoever
    /// comes next goes past them.
    private mutating func recordLeases(now: Now) {
        for id in leases.toRecord.suffix(LeaseWork.page) {
            guard let session = table[id], !session.children.isEmpty else { continue }
            let changes = session.children.map { child in
                let lease = leases.afterGap ? child.lease.nextAfterGap(for: configuration.id) : child.lease.next(for: configuration.id)
                return SessionChange.leased(inboundSPI: child.inboundSPI, lease: lease)
            }
            guard let applied = applyOwn(SessionDelta(session: id, changes: changes)) else { continue }
            release(commands: plan.commands(for: applied), datagrams: [], now: now)
        }
        leases.toRecord.removeLast(min(LeaseWork.page, leases.toRecord.count))
    }

    /// After a hand-over: the SAs of the former owner are set to where it would go on.
    private mutating func armStandby() {
        let commands = leases.toArm.suffix(LeaseWork.page).compactMap { table[$0] }.flatMap { session in session.children.map(plan.arm) }
        leases.toArm.removeLast(min(LeaseWork.page, leases.toArm.count))
        if !commands.isEmpty { effects.append(.dataPlane(commands)) }
    }

    mutating func dataPlaneReported(_ event: DataPlaneEvent, now: Now) {
        switch event {
        case .counters(let reports): countersReported(reports, now: now)
        case .endpointChanged(let spi, let remote): endpointChanged(inboundSPI: spi, remote: remote, now: now)
        }
    }

    private mutating func countersReported(_ reports: [CounterReport], now: Now) {
        var moved: [ReplayReport] = []
        for report in reports {
            guard let session = table.session(inboundSPI: report.inboundSPI), let child = session.child(inboundSPI: report.inboundSPI) else {
                continue
            }
            traffic[report.inboundSPI] = report
            guard isOwner, handover == nil else { continue }
            if report.inboundTop > child.inboundTop {
                moved.append(ReplayReport(inboundSPI: report.inboundSPI, top: report.inboundTop))
                ike.noteInboundTraffic(session: session.id, at: now.instant)
            }
            extendLease(of: child, in: session, next: report.outboundNext, now: now)
        }
        for start in stride(from: 0, to: moved.count, by: PairProtocol.replayReportsMax) {
            replicateReplay(Array(moved[start..<min(start + PairProtocol.replayReportsMax, moved.count)]))
        }
    }

    private mutating func replicateReplay(_ reports: [ReplayReport]) {
        for report in reports {
            guard let session = table.session(inboundSPI: report.inboundSPI) else { continue }
            let change = SessionChange.inboundAdvanced(inboundSPI: report.inboundSPI, top: report.top)
            // Applied as on the standby; a report that does not fit any more needs no counter there either.
            guard (try? table.apply(SessionDelta(session: session.id, changes: [change]))) != nil else {
                counters.applyErrors += 1
                continue
            }
        }
        replicate(.replay(reports))
    }

    /// Goes on to the next slice well before this one is used up (law 3).
    private mutating func extendLease(of child: ChildSA, in session: Session, next: UInt64, now: Now) {
        let numbers = plan.numbers(of: child)
        guard next <= numbers.limit, next >= numbers.next, numbers.limit - next < Node.leaseReserve else { return }
        let lease = child.lease.next(for: configuration.id)
        let delta = SessionDelta(session: session.id, changes: [.leased(inboundSPI: child.inboundSPI, lease: lease)])
        guard let applied = applyOwn(delta) else { return }
        release(commands: plan.commands(for: applied), datagrams: [], now: now)
    }

    /// A NAT gave the peer another port or address; a valid ESP packet proved it (RFC 7296 §2.23).
    private mutating func endpointChanged(inboundSPI: UInt32, remote: Endpoint, now: Now) {
        guard isOwner, handover == nil, let session = table.session(inboundSPI: inboundSPI), session.remoteBehindNAT,
            session.remote != remote
        else { return }
        let delta = SessionDelta(session: session.id, changes: [.moved(local: session.local, remote: remote)])
        guard let applied = applyOwn(delta) else { return }
        release(commands: plan.commands(for: applied), datagrams: [], now: now)
        log(.info, "a peer behind a NAT moved", [.init("session", "\(session.id)"), .init("remote", "\(remote)")])
    }
}
