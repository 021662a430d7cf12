import IKE
import Session

/// Where this host can be reached, and the sessions that have to move because of it.
struct HostAddresses {
    /// `nil` until the runtime has told.
    var all: [IPAddress]?
    /// The sessions that are left to be looked at; `nil` until the list is made.
    var sessions: [SessionID]?
    var nextDeadline: Instant?
    /// Sessions that went to our own addresses since the list was made.
    var moved = 0
    var movedBehindNAT = 0

    /// Sessions looked at in one page, and the pause between two, as with leases.
    static let page = 256
    static let pause: Duration = .milliseconds(1)
    /// Sessions that are moved in one page: each costs a sealed request, of which so many take a millisecond or two. 30,000 a second are
    /// less than a gigabit's burst, and no more than peers answer.
    static let movesPerPage = 32
    /// A takeover and what hangs on it come first.
    static let delay: Duration = .milliseconds(20)
    /// Looked at again when the list is through: an address came or went meanwhile.
    var isAgainWanted = false

    mutating func stop() {
        sessions = nil
        nextDeadline = nil
        isAgainWanted = false
        moved = 0
        movedBehindNAT = 0
    }
}

/// Sessions whose local address is not on this host: it was taken away, or it is the other node's own (RFC 4555 §3.5).
extension Node {
    mutating func localAddressesChanged(_ addresses: [IPAddress], now: Now) {
        host.all = addresses
        ownAddressesChanged()
        lookAtAddresses(now: now)
    }

    /// Looks at every session, in pages, as soon as there is time.
    mutating func lookAtAddresses(now: Now) {
        guard isOwner, host.all != nil else { return }
        if host.sessions != nil {
            // A list that begins anew with every change would never come to its end.
            host.isAgainWanted = true
        } else {
            host.nextDeadline = now.instant + HostAddresses.delay
        }
    }

    /// After a takeover: peers that speak to the other node's own address are told where they are served now, those with traffic first.
    /// Their SAs stand at our address already.
    mutating func moveToOwnAddresses(now: Now) {
        guard !configuration.nodeAddresses.isEmpty else { return lookAtAddresses(now: now) }
        host.stop()
        let first = recentTraffic.sessions
        if !first.isEmpty {
            host.sessions = first
            host.isAgainWanted = true
        }
        host.nextDeadline = now.instant + HostAddresses.pause
    }

    mutating func relocateSessions(now: Now) {
        guard hasTurn, isOwner, !isDraining, let due = host.nextDeadline, now.instant >= due else { return }
        var rest = host.sessions ?? table.sessions.keys.sorted()
        // Held once, so that a page costs a page and not a copy of all.
        host.sessions = nil
        var moves = 0
        for _ in 0..<HostAddresses.page where moves < HostAddresses.movesPerPage {
            guard let id = rest.popLast() else { break }
            if let session = table[id], relocate(session, now: now) { moves += 1 }
        }
        host.sessions = rest.isEmpty ? nil : rest
        host.nextDeadline = rest.isEmpty && !host.isAgainWanted ? nil : now.instant + HostAddresses.pause
        guard rest.isEmpty else { return }
        if !host.isAgainWanted { reportMoves(now: now) }
        host.isAgainWanted = false
    }

    /// - Returns: whether it goes to another address now.
    private mutating func relocate(_ session: Session, now: Now) -> Bool {
        guard session.capabilities.contains(.mobike), !session.isArriving, let address = newLocalAddress(of: session) else { return false }
        let isOthers = configuration.nodeAddresses.counterpart(of: session.ikePath.local.address) != nil
        // Whoever does not follow stays where it is, and is answered when it comes. Behind a NAT it may hear us, and may not: it is told all
        // the same (RFC 4555 §2.3).
        if isOthers, session.mobility == .unable { return false }
        // What the host has is not known yet: the session's address may well be there.
        if !isOthers, host.all == nil { return false }
        let local = Endpoint(address, session.ikePath.local.port)
        let outcome = ike.localAddressChanged(session: session.id, local: local, table: table, context: context(now))
        guard !outcome.deltas.isEmpty else { return false }
        commit(outcome, now: now)
        if isOthers {
            counters.sessionsRelocated += 1
            host.moved += 1
            if session.mobility == .behindNAT { host.movedBehindNAT += 1 }
        }
        return true
    }

    private mutating func reportMoves(now: Now) {
        let (told, unable) = (host.moved, roads.there(.unable))
        let hidden = host.movedBehindNAT
        (host.moved, host.movedBehindNAT) = (0, 0)
        guard told > 0 || unable > 0 else { return }
        log(
            .notice, "peers were told this node's address",
            [.init("told", "\(told)"), .init("behind_nat", "\(hidden)"), .init("unable", "\(unable)")])
        note(
            .takeover,
            "\(told) peers were told this node's address, \(hidden) of them behind a NAT that may keep it from them; "
                + "\(unable) cannot follow and are waited for", now: now)
    }

    /// An address of the host that the session's connection may use, if it cannot use its own any more.
    func newLocalAddress(of session: Session) -> IPAddress? {
        let (local, remote) = (session.ikePath.local.address, session.ikePath.remote.address)
        if let address = configuration.nodeAddresses.counterpart(of: local) { return address }
        // The shared addresses are the owner's, also in the moment in which they are being claimed; those that never move are here.
        let served = configuration.addresses.map(\.prefix.address) + configuration.nodeAddresses.own
        let own = served + (host.all ?? [])
        guard !own.contains(local),
            let connection = configuration.ike.connections.first(where: { $0.name == session.authorization.connection })
        else { return nil }
        let usable = own.filter { $0.family == remote.family && !$0.isOfOneLink }
        // With addresses that are configured the others have no sockets, unless they are named.
        if connection.localAddresses.isEmpty { return served.isEmpty ? usable.first : usable.first(where: served.contains) }
        for prefix in connection.localAddresses {
            if let address = usable.first(where: { prefix.contains($0) }) { return address }
        }
        return nil
    }
}

extension IPAddress {
    /// 127.0.0.0/8, 169.254.0.0/16, ::1 and fe80::/10: no way to a peer begins there.
    fileprivate var isOfOneLink: Bool {
        isIPv4 ? low >> 24 == 127 || low >> 16 == 0xA9FE : (high == 0 && low == 1) || high >> 54 == 0x3FA
    }
}
