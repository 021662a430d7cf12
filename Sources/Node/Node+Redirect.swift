import Control
import DequeModule
import IKE
import Pair
import Session

/// What an operator wants redirected, in pages: one command may name every session, and each of them authenticates anew at the other
/// gateway.
struct RedirectWork {
    /// 200 sessions a second: what one gateway authenticates beside its other work.
    static let page = 4
    static let pause: Duration = .milliseconds(20)

    struct Command {
        var token: RequestToken
        var target: GatewayIdentity
        var sessions: Deque<SessionID>
        var matched: Int
        /// As many are told; of a share, others take the place of those that cannot be.
        var quota: Int
        var sent = 0
        var refused: [RedirectObjection: (count: Int, example: UInt32)] = [:]

        var isDone: Bool { sessions.isEmpty || sent >= quota }
    }

    /// One at a time: two of them would send the same clients here and there.
    var command: Command?
    var nextDeadline: Instant?
}

extension Node {
    mutating func redirect(_ request: RedirectRequest, token: RequestToken, now: Now) {
        guard isOwner, handover == nil else {
            return respond(token, .done(.failure("this node is \(roles.role.name); ask the active one")))
        }
        if request.selection == .newPeersOff { return redirectNew(nil, token: token) }
        guard let text = request.target, let target = GatewayIdentity(text: text) else {
            return respond(token, .done(.failure("'\(request.target ?? "")' is neither an address nor a name")))
        }
        if case .newPeers(let phase) = request.selection {
            return redirectNew(NewPeerRedirect(to: target, phase: phase == .initial ? .ikeSAInit : .ikeAuth), token: token)
        }
        guard redirects.command == nil else { return respond(token, .done(.failure("another redirect is under way"))) }
        let sessions = selected(request.selection, now: now)
        guard !sessions.ids.isEmpty else { return respond(token, .done(.failure("no matching sessions found"))) }
        redirects.command = RedirectWork.Command(
            token: token, target: target, sessions: Deque(sessions.ids), matched: sessions.quota, quota: sessions.quota)
        redirects.nextDeadline = now.instant
        workOnRedirects(now: now)
    }

    private mutating func redirectNew(_ redirect: NewPeerRedirect?, token: RequestToken) {
        ike.redirectNew = redirect
        let text = redirect.map { "\($0.target) (\($0.phase.rawValue))" }
        log(.notice, "new peers", [.init("redirected_to", text ?? "nowhere")])
        respond(token, .redirect(RedirectSummary(matched: 0, sent: 0, refused: [], newPeersTo: redirect.map { "\($0.target)" })))
    }

    private func selected(_ selection: RedirectRequest.Selection, now: Now) -> (ids: [SessionID], quota: Int) {
        switch selection {
        case .name(let name):
            let ids = find(SessionFilter(name: name)).map(SessionID.init(rawValue:))
            return (ids, ids.count)
        case .all:
            let ids = table.sessions.keys.sorted()
            return (ids, ids.count)
        case .share(let percent):
            // Identifiers are random: in their order, whoever came first is not always meant.
            let ids = table.sessions.keys.sorted { ($0.rawValue &* 0x9E37_79B9_7F4A_7C15) < ($1.rawValue &* 0x9E37_79B9_7F4A_7C15) }
            return (ids, (ids.count * percent + 99) / 100)
        case .newPeers, .newPeersOff: return ([], 0)
        }
    }

    /// Tells a page of what an operator wants redirected, and answers when it is the last.
    mutating func workOnRedirects(now: Now) {
        guard let due = redirects.nextDeadline, var command = redirects.command else { return }
        guard isOwner else { return finish(command, error: "the other node owns the sessions now") }
        guard !isDraining, now.instant >= due else { return }
        for _ in 0..<RedirectWork.page where !command.isDone {
            let id = command.sessions.removeFirst()
            do throws(RedirectObjection) {
                let outcome = try ike.redirect(
                    session: id, to: command.target, contextTransmitted: false, table: table, context: context(now))
                commit(outcome, now: now)
                command.sent += 1
            } catch {
                let known = command.refused[error]
                command.refused[error] = ((known?.count ?? 0) + 1, known?.example ?? table[id]?.uniqueID ?? 0)
            }
        }
        if command.isDone { return finish(command) }
        redirects.command = command
        redirects.nextDeadline = now.instant + RedirectWork.pause
    }

    private mutating func finish(_ command: RedirectWork.Command, error: String = "") {
        redirects = RedirectWork()
        let refused = command.refused.sorted { $0.key.rawValue < $1.key.rawValue }
            .map { RefusedRedirect(reason: $0.key.rawValue, count: $0.value.count, example: $0.value.example) }
        let summary = RedirectSummary(
            matched: command.matched, sent: command.sent, refused: refused, newPeersTo: ike.redirectNew.map { "\($0.target)" },
            error: error)
        log(
            .notice, "sessions redirected",
            [
                .init("to", "\(command.target)"), .init("sent", "\(command.sent)"),
                .init("refused", "\(refused.reduce(0) { $0 + $1.count })"),
            ])
        respond(command.token, .redirect(summary))
    }

    /// Another gateway goes on with the session: it is forgotten here, and its peer is told nothing.
    mutating func forgetMoved(_ session: SessionID, now: Now) {
        commit(ike.forgetMoved(session: session, table: table, context: context(now)), now: now)
    }
}
