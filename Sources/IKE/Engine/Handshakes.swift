import IKEWire
public import Session

/// What the other node is told beside sessions (`HandshakeChange`), and what it does with it.
///
/// A half-open IKE SA is replicated as long as no cookies are asked for: a flood then costs the link nothing, and what is lost with the
/// node is begun anew by peers that are real. There are fewer of them than `IKELimits.cookieThreshold` at any time.
extension IKEEngine {
    /// Takes in a change: ours as it is made, the other node's as it comes.
    ///
    /// - Parameter isShared: both nodes know of it.
    public mutating func apply(_ change: HandshakeChange, isShared: Bool = true, at now: Instant) {
        switch change {
        case .opened(let half):
            _ = halfOpen.expire(at: now, limit: IKEEngine.deadlinesPerAdvance)
            guard halfOpen.count < configuration.limits.halfOpenMax else { return }
            halfOpen.insert(half, isReplicated: isShared, expiresAt: now + configuration.limits.halfOpenTimeout)
        case .fragmentTaken(let part):
            fragments.take(part, at: now)
        case .ended(let farewell):
            halfOpen.remove(farewell.localSPI)
            fragments.forget(request: IKEEngine.authMessageID, of: farewell.localSPI)
            farewells.insert(farewell, at: now)
        }
    }

    /// The active's change came from the log; `apply` and what a takeover in the next moment has to know of it.
    public mutating func standBy(_ change: HandshakeChange, at now: Instant) {
        apply(change, at: now)
        switch change {
        case .opened(let half): recentAnswers.note(.halfOpen(half.spis.responder), at: now)
        case .ended(let farewell): recentAnswers.note(.farewell(farewell.localSPI), at: now)
        case .fragmentTaken: break
        }
    }

    /// The active's change of a session came from the log.
    public mutating func standBy(_ applied: AppliedDelta, at now: Instant) {
        for change in applied.delta.changes {
            switch change {
            case .created(let session):
                halfOpen.remove(session.id.rawValue)
                fragments.forget(request: IKEEngine.authMessageID, of: session.ikeSA.localSPI)
                guard !session.isArriving, let last = session.ikeSA.responses.last else { break }
                note(last.messageID, of: session.ikeSA.localSPI, at: now)
            case .answered(let localSPI, let response):
                fragments.forget(request: response.messageID, of: localSPI)
                // Of an IKE SA that ends with it the farewell tells.
                if applied.after?.ikeSA(localSPI: localSPI) != nil { note(response.messageID, of: localSPI, at: now) }
            default: break
            }
        }
    }

    private mutating func note(_ messageID: UInt32, of localSPI: UInt64, at now: Instant) {
        recentAnswers.note(.response(localSPI: localSPI, messageID: messageID), at: now)
    }

    /// What a standby that begins with nothing has to be told of what is half-open.
    public mutating func handshakes() -> [HandshakeChange] {
        let known = asksForCookies ? [] : halfOpen.all.filter(isOfUseElsewhere)
        halfOpen.setReplicated(known.map(\.spis.responder))
        return known.map { .opened($0) }
    }

    /// Everything that was known of half-open IKE SAs is told anew.
    public mutating func forgetHandshakes() {
        halfOpen = HalfOpenTable()
        fragments = FragmentTable()
    }

    /// The other node was told of this half-open IKE SA.
    public func isShared(halfOpen spi: UInt64) -> Bool { halfOpen.isReplicated(spi) }
    /// It was shown to its peer, and the other node may not know of it.
    public mutating func unshare(halfOpen spi: UInt64) { halfOpen.unshare(spi) }
    /// Its last answer is still known.
    public func hasEnded(localSPI: UInt64) -> Bool { farewells.knows(localSPI) }

    /// When a standby has to forget something.
    public var handshakeDeadline: Instant? { halfOpen.nextDeadline }

    /// Forgets, on a standby, what would have expired: the active does not say so.
    public mutating func expireHandshakes(at now: Instant) { _ = halfOpen.expire(at: now, limit: IKEEngine.deadlinesPerAdvance) }

    private static let authMessageID: UInt32 = 1

    // MARK: - The active

    /// IKE_SA_INIT is answered. The answer shows our SPI, our nonce and our public value: if it left before the standby has them, a peer
    /// that goes on with them would wait in vain for a new owner.
    mutating func begin(_ half: HalfOpenSA, answer: Datagram, context: IKEContext) -> IKEOutcome {
        let isReplicated = context.hasStandby && !asksForCookies && isOfUseElsewhere(half)
        apply(.opened(half), isShared: isReplicated, at: context.now.instant)
        return IKEOutcome(
            datagrams: [answer], session: isReplicated ? half.session : nil, handshakes: isReplicated ? [.opened(half)] : [])
    }

    /// So many are half-open that the next one has to show that it is there.
    var asksForCookies: Bool { halfOpen.pressure >= configuration.limits.cookieThreshold }

    /// A peer that began with an address which only this node has cannot reach the other one.
    private func isOfUseElsewhere(_ half: HalfOpenSA) -> Bool { !nodeAddresses.own.contains(half.local.address) }

    /// Of what an answer of this half-open IKE SA tells: something that the standby has to have, or nothing.
    func revealing(_ spi: UInt64) -> SessionID? { halfOpen.isReplicated(spi) ? SessionID(rawValue: spi) : nil }

    /// A request is not here whole: what came of it is told to the standby. Nothing waits for that.
    mutating func partOutcome(isReplicated: Bool) -> IKEOutcome {
        guard let part = fragments.takeNews(), isReplicated else { return .nothing }
        return IKEOutcome(handshakes: [.fragmentTaken(part)])
    }
}
