import Cryptography
import DequeModule
import IKE
import Session

/// What is done about too much load, besides watching it.
struct OverloadWork {
    /// Sessions that are looked at in one go, to learn in which order they go.
    static let page = 1024
    static let pause: Duration = .milliseconds(20)
    /// Until the next share goes, if the first was not enough: those who were told need their time to leave
    /// (`IKELimits.redirectDeleteDelay`), and count until then.
    static let roundPause: Duration = .seconds(180)

    /// The share that goes now.
    struct Round {
        /// What has not been looked at; `nil` until the first go.
        var unseen: [SessionID]
        /// In the order in which they go: those who need not authenticate anew where the gateways hand contexts on, those who know
        /// MOBIKE, the others that follow redirects.
        var ranked: [Deque<SessionID>] = [[], [], []]
        /// How many may still go.
        var left: Int

        mutating func take() -> SessionID? {
            for rank in ranked.indices { if let next = ranked[rank].popFirst() { return next } }
            return nil
        }
    }

    var watch: OverloadWatch?
    var round: Round?
    /// When the last round was over.
    var roundEnded: Instant?
    /// Those who were told and are still here: they are as good as gone.
    var told: Set<SessionID> = []
    /// What we have put into the engine's switch; an operator's is left alone.
    var newPeers: NewPeerRedirect?
    var nextDeadline: Instant?
}

extension Node {
    var isOverloaded: Bool { overload.watch?.isOverloaded ?? false }

    /// Looks at the load, once a second.
    mutating func loadSampled(_ sample: LoadSample, now: Now) {
        guard let settings = configuration.overload, isOwner else { return }
        overload.told = overload.told.filter { table[$0] != nil }
        var watch = overload.watch ?? OverloadWatch(settings, now: now.instant)
        // Who is on the way to another gateway is told when its context is there.
        let leaving = overload.told.union(transfers.departures.values.map(\.session)).count
        var measured: [LoadKind: Int] = [.sessions: table.count - leaving, .halfOpen: ike.halfOpenCount]
        measured[.cpu] = sample.cpuPercent
        measured[.packetsPerSecond] = sample.packetsPerSecond
        let change = watch.note(measured, at: now.instant)
        overload.watch = watch
        switch change {
        case .overloaded(let kind, let value)?: beginOverload(settings, kind, value: value, now: now)
        case .calm?: endOverload(now: now)
        case nil: break
        }
        if isOverloaded, overload.round == nil, let ended = overload.roundEnded, now.instant >= ended + OverloadWork.roundPause,
            watch.isHigh(at: now.instant)
        {
            beginRound(settings, now: now)
        }
    }

    private mutating func beginOverload(_ settings: OverloadConfiguration, _ kind: LoadKind, value: Int, now: Now) {
        counters.overloads += 1
        log(
            .warning, "overloaded",
            [.init("kind", kind.rawValue), .init("value", "\(value)"), .init("mark", "\(settings.marks[kind]?.high ?? 0)")])
        note(.overload, "overloaded: \(kind.rawValue) \(value)", now: now)
        if settings.redirectsNew, ike.redirectNew == nil {
            var redirect = NewPeerRedirect(to: settings.target, phase: .ikeSAInit)
            redirect.sparesRedirected = true
            ike.redirectNew = redirect
            overload.newPeers = redirect
        }
        beginRound(settings, now: now)
    }

    private mutating func beginRound(_ settings: OverloadConfiguration, now: Now) {
        let quota = (table.count * settings.movedPercent + 99) / 100
        guard quota > 0 else { return }
        overload.round = OverloadWork.Round(unseen: Array(table.sessions.keys), left: quota)
        overload.nextDeadline = now.instant
    }

    private mutating func endOverload(now: Now) {
        log(.notice, "no longer overloaded")
        note(.overload, "no longer overloaded", now: now)
        stopShedding()
        overload.roundEnded = nil
    }

    private mutating func stopShedding() {
        if let ours = overload.newPeers, ike.redirectNew == ours { ike.redirectNew = nil }
        overload.newPeers = nil
        overload.round = nil
        overload.nextDeadline = nil
    }

    /// Another node owns the sessions now: what its load is, it knows.
    mutating func forgetLoad() {
        stopShedding()
        overload = OverloadWork()
    }

    // MARK: - Moving

    /// Moves what is due of the share, and nothing more when the load has gone down meanwhile.
    mutating func workOnOverload(now: Now) {
        guard let settings = configuration.overload, var round = overload.round, let due = overload.nextDeadline, now.instant >= due,
            isOwner, !isDraining
        else { return }
        guard overload.watch?.isPressed == true else { return endRound(now: now) }
        overload.nextDeadline = now.instant + OverloadWork.pause
        guard round.unseen.isEmpty else {
            rank(&round, now: now)
            overload.round = round
            return
        }
        // Above fifty in a second several at once, below one and a longer pause.
        let perSecond = Int(1000 / OverloadWork.pause.inMilliseconds)
        let page = max(1, settings.rate / perSecond)
        overload.nextDeadline = now.instant + max(OverloadWork.pause, .seconds(1) * page / max(1, settings.rate))
        for _ in 0..<page {
            while let id = round.take(), !move(id, settings, now: now) {}
            round.left -= 1
        }
        guard round.left > 0, round.ranked.contains(where: { !$0.isEmpty }) else { return endRound(now: now) }
        overload.round = round
    }

    private mutating func endRound(now: Now) {
        overload.round = nil
        overload.nextDeadline = nil
        overload.roundEnded = now.instant
    }

    private func rank(_ round: inout OverloadWork.Round, now: Now) {
        let page = round.unseen.suffix(OverloadWork.page)
        round.unseen.removeLast(page.count)
        for id in page {
            guard let session = table[id], mayGo(session, now: now) else { continue }
            let rank = contextMove(of: session) != nil ? 0 : session.capabilities.contains(.mobike) ? 1 : 2
            round.ranked[rank].append(id)
        }
    }

    /// Who follows redirects and was not sent here a moment ago: two gateways that are both overloaded would play ball with it
    /// (RFC 5685 §7).
    private func mayGo(_ session: Session, now: Now) -> Bool {
        guard session.capabilities.contains(.redirect) || contextMove(of: session) != nil, session.originalRole == .responder,
            session.redirects.order == nil
        else { return false }
        let period = Redirections.period.inNanoseconds / 1_000_000
        return session.redirects.from == nil || session.establishedWallMilliseconds + period <= now.wallMilliseconds
    }

    /// - Returns: whether it goes.
    private mutating func move(_ id: SessionID, _ settings: OverloadConfiguration, now: Now) -> Bool {
        let goes = moveWithContext(id, settings, now: now) ?? redirect(id, to: settings.target, now: now)
        if goes { counters.overloadMoves += 1 } else { counters.overloadMovesRefused += 1 }
        return goes
    }

    /// To a gateway to which contexts are handed on, without authenticating anew.
    ///
    /// - Returns: `nil` if the client or the gateway cannot.
    private mutating func moveWithContext(_ id: SessionID, _ settings: OverloadConfiguration, now: Now) -> Bool? {
        guard let session = table[id], contextMove(of: session) != nil, let gateway = overloadGateway else { return nil }
        do throws(TransferRefusal) {
            try depart(session, to: gateway, transfer: random.uint32(), token: nil, now: now)
            return true
        } catch {
            return false
        }
    }

    /// To which contexts are handed on.
    private var overloadGateway: GatewayConfiguration? {
        configuration.gateways.first { $0.name == configuration.overload?.gateway }
    }

    private func contextMove(of session: Session) -> ContextMove? { overloadGateway.flatMap { session.move(to: $0) } }

    private mutating func redirect(_ id: SessionID, to target: GatewayIdentity, now: Now) -> Bool {
        do throws(RedirectObjection) {
            let outcome = try ike.redirect(session: id, to: target, contextTransmitted: false, table: table, context: context(now))
            commit(outcome, now: now)
            overload.told.insert(id)
            return true
        } catch {
            return false
        }
    }

    // MARK: - What is shown

    var overloadText: String {
        guard configuration.overload != nil else { return "" }
        switch overload.watch?.state {
        case .overloaded(let kind, let value): return "overloaded: \(kind.rawValue) \(value)"
        case .calm, nil: return "calm"
        }
    }
}
