import Control
import IKE
import Pair
import Session

extension Node {
    /// How long an operator's `terminate` waits for the peer's answer: past the retransmissions of one request.
    static let terminationPatience: Duration = .seconds(200)

    mutating func requested(_ request: ControlRequest, token: RequestToken, now: Now) {
        switch request {
        case .version: respond(token, .version(versionSummary))
        case .stats: respond(token, .stats(statsSummary(now)))
        case .findSessions(let filter): respond(token, .sessionIDs(find(filter)))
        case .describe(let ids): respond(token, .sas(describe(ids, now: now)))
        case .listConnections(let name): respond(token, .connections(connectionSummaries(named: name)))
        case .listPools(let name, let withLeases): respond(token, .pools(poolSummaries(named: name, withLeases: withLeases, now: now)))
        case .initiate(let request): initiate(request, token: token, now: now)
        case .terminate(let request): terminate(request, token: token, now: now)
        case .rekey(let request): rekey(request, token: token, now: now)
        case .get(let request): get(request, token: token, now: now)
        case .put(let request): put(request, token: token, now: now)
        case .redirect(let request): redirect(request, token: token, now: now)
        case .status: respond(token, .status(statusSummary(now)))
        case .switchover(let force): switchover(force: force, token: token, now: now)
        case .maintain(let request): maintain(request, token: token, now: now)
        case .transfer(let request): transfer(request, token: token, now: now)
        case .rotate(let days): rotateCertificate(days: days, token: token, now: now)
        case .events(let after): respond(token, .events(journal.events(after: after, limit: ControlRequest.eventsMax)))
        case .unknown: respond(token, .unknownCommand)
        }
    }

    mutating func respond(_ token: RequestToken, _ response: ControlResponse) { effects.append(.respond(token, response)) }

    // MARK: - Listings

    private func describe(_ ids: [UInt64], now: Now) -> [SASummary] {
        ids.prefix(ControlRequest.describedSessionsMax).compactMap { table[SessionID(rawValue: $0)] }.map { summary(of: $0, now: now) }
    }

    // MARK: - Terminate

    private mutating func terminate(_ request: TerminateRequest, token: RequestToken, now: Now) {
        guard isOwner, handover == nil else {
            return respond(token, .done(.failure("this node is \(roles.role.name); ask the active one")))
        }
        let filter = SessionFilter(
            connection: request.connection, uniqueID: request.uniqueID, child: request.child, childUniqueID: request.childUniqueID)
        let sessions = find(filter).map(SessionID.init(rawValue:))
        let matches =
            request.isForChildren ? terminateChildren(request, of: sessions, now: now) : terminateSessions(request, sessions, now: now)
        guard matches.count > 0 else {
            return respond(
                token, .done(DoneSummary(success: false, error: "no matching SAs to terminate found", matches: 0, terminated: 0)))
        }
        terminations.append(
            Termination(
                token: token, sessions: matches.sessions, children: matches.children, matches: matches.count,
                deadline: now.instant + Node.terminationPatience))
    }

    private typealias Matches = (sessions: Set<SessionID>, children: Set<UInt32>, count: Int)

    private mutating func terminateSessions(_ request: TerminateRequest, _ sessions: [SessionID], now: Now) -> Matches {
        for session in sessions.compactMap({ table[$0] }) { noteTerminated(session) }
        for id in sessions { commit(ike.terminate(session: id, force: request.force, table: table, context: context(now)), now: now) }
        return (Set(sessions), [], sessions.count)
    }

    private mutating func terminateChildren(_ request: TerminateRequest, of sessions: [SessionID], now: Now) -> Matches {
        var children: Set<UInt32> = []
        for session in sessions.compactMap({ table[$0] }) {
            for child in session.children {
                guard request.child == nil || child.name == request.child,
                    request.childUniqueID == nil || child.uniqueID == request.childUniqueID
                else { continue }
                children.insert(child.inboundSPI)
                noteTerminated(session, child: child.name)
                commit(ike.terminate(child: child.inboundSPI, in: session.id, table: table, context: context(now)), now: now)
            }
        }
        return ([], children, children.count)
    }

    // MARK: - Rekey

    private mutating func rekey(_ request: RekeyRequest, token: RequestToken, now: Now) {
        guard isOwner, handover == nil else {
            return respond(token, .done(.failure("this node is \(roles.role.name); ask the active one")))
        }
        let filter = SessionFilter(
            connection: request.connection, uniqueID: request.uniqueID, child: request.child, childUniqueID: request.childUniqueID)
        var wanted: [RekeyWork.Item] = []
        for session in find(filter).compactMap({ table[SessionID(rawValue: $0)] }) {
            guard request.isForChildren else {
                wanted.append((session.id, nil))
                continue
            }
            for child in session.children where !child.isRekeyed && request.matches(child) { wanted.append((session.id, child.inboundSPI)) }
        }
        let matches = wanted.count
        rekeys.add(wanted, at: now.instant)
        workOnRekeys(now: now)
        let error = matches == 0 ? "no matching SAs to rekey found" : ""
        respond(token, .done(DoneSummary(success: matches > 0, error: error, matches: matches, terminated: 0)))
    }

    /// Begins a page of what operators want rekeyed.
    mutating func workOnRekeys(now: Now) {
        guard isOwner, !isDraining, let due = rekeys.nextDeadline, now.instant >= due else { return }
        for item in rekeys.takePage(at: now.instant) {
            guard let child = item.child else {
                commit(ike.rekey(session: item.session, table: table, context: context(now)), now: now)
                continue
            }
            commit(ike.rekey(child: child, in: item.session, table: table, context: context(now)), now: now)
        }
    }

    /// Answers the operators whose SAs are gone, or who have waited long enough.
    mutating func finishTerminations(now: Now) {
        guard !terminations.isEmpty else { return }
        var waiting: [Termination] = []
        for termination in terminations {
            let left = termination.sessions.count { table[$0] != nil } + termination.children.count { table.isInUse(inboundSPI: $0) }
            let terminated = termination.matches - left
            if left == 0 {
                respond(
                    termination.token,
                    .done(DoneSummary(success: true, error: "", matches: termination.matches, terminated: terminated)))
            } else if now.instant >= termination.deadline || !isOwner {
                let error = isOwner ? "\(left) peers have not answered yet" : "the other node owns the sessions now"
                respond(
                    termination.token,
                    .done(DoneSummary(success: false, error: error, matches: termination.matches, terminated: terminated)))
            } else {
                waiting.append(termination)
            }
        }
        terminations = waiting
    }

    // MARK: - Switchover

    private mutating func switchover(force: Bool, token: RequestToken, now: Now) {
        if let reason = reasonAgainstSwitchover(force: force) { return respond(token, refusing: reason) }
        beginSwitchover(token: token, terms: HandoverTerms(isForced: force), now: now)
    }

    /// What `force` can do is wait for a standby that is late or still syncing, and mind neither its faults nor that it is out of service;
    /// nothing can hand over to one that does not hold the sessions, or is not there.
    func reasonAgainstSwitchover(force: Bool) -> String? {
        guard configuration.pair != nil else { return "this node has no pair" }
        guard isOwner else { return "this node is \(roles.role.name); ask the active one" }
        guard handover == nil else { return "a switchover is under way" }
        guard link.isUp, link.peer != nil else { return "there is no link to the standby" }
        if sender.pairState != .paired, !force {
            let reason = sender.pairState.reason.map { " (\($0))" } ?? ""
            return "the standby is not ready: the pair is \(sender.pairState.name)\(reason); --force waits for it"
        }
        if let objection = link.condition?.objection(name: peerName), !force { return "\(objection); --force does it all the same" }
        return nil
    }

    mutating func respond(_ token: RequestToken?, refusing reason: String) {
        guard let token else { return }
        let summary = SwitchoverSummary(
            outcome: .refused, reason: reason, epoch: roles.epoch, owner: ownerName, sessions: 0, totalMicroseconds: 0)
        respond(token, .switchover(summary))
    }

    mutating func respond(_ token: RequestToken?, switchedOverIn duration: Duration, epoch: Epoch) {
        guard let token else { return }
        let summary = SwitchoverSummary(
            outcome: .done, reason: "", epoch: epoch, owner: ownerName, sessions: table.count,
            totalMicroseconds: duration.inNanoseconds / 1000)
        respond(token, .switchover(summary))
    }
}

extension RekeyRequest {
    fileprivate func matches(_ summary: ChildSA) -> Bool {
        (child == nil || child == summary.name) && (childUniqueID == nil || childUniqueID == summary.uniqueID)
    }
}
