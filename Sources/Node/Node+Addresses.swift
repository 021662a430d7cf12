import IKE
import Session

/// Where this host can be reached, and the sessions that have to move because of it.
struct HostAddresses {
    /// `nil` until the runtime has told.
    var all: [IPAddress]?
    /// The sessions that are left to be looked at; `nil` until the list is made.
    var sessions: [SessionID]?
    var nextDeadline: Instant?

    /// Sessions in one page, and the pause between two, as with leases.
    static let page = 256
    static let pause: Duration = .milliseconds(1)
    /// A takeover and what hangs on it come first.
    static let delay: Duration = .milliseconds(20)
    /// Looked at again when the list is through: an address came or went meanwhile.
    var isAgainWanted = false
}

/// Sessions whose local address is not on this host: it was taken away, or it was the other node's own (RFC 4555 §3.5).
extension Node {
    mutating func localAddressesChanged(_ addresses: [IPAddress], now: Now) {
        host.all = addresses
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

    mutating func relocateSessions(now: Now) {
        guard isOwner, !isDraining, let due = host.nextDeadline, now.instant >= due else { return }
        var rest = host.sessions ?? table.sessions.keys.sorted()
        // Held once, so that a page costs a page and not a copy of all.
        host.sessions = nil
        for id in rest.suffix(HostAddresses.page) {
            guard let session = table[id], session.capabilities.contains(.mobike), !session.isArriving,
                let address = newLocalAddress(of: session)
            else {
                continue
            }
            let local = Endpoint(address, session.ikePath.local.port)
            commit(ike.localAddressChanged(session: id, local: local, table: table, context: context(now)), now: now)
        }
        rest.removeLast(min(rest.count, HostAddresses.page))
        host.sessions = rest.isEmpty ? nil : rest
        host.nextDeadline = rest.isEmpty && !host.isAgainWanted ? nil : now.instant + HostAddresses.pause
        if rest.isEmpty { host.isAgainWanted = false }
    }

    /// An address of the host that the session's connection may use, if it cannot use its own any more.
    func newLocalAddress(of session: Session) -> IPAddress? {
        let (local, remote) = (session.ikePath.local.address, session.ikePath.remote.address)
        // The shared addresses are the owner's, also in the moment in which they are being claimed.
        let shared = configuration.addresses.map(\.prefix.address)
        let own = shared + (host.all ?? [])
        guard !own.contains(local),
            let connection = configuration.ike.connections.first(where: { $0.name == session.authorization.connection })
        else { return nil }
        let usable = own.filter { $0.family == remote.family && !$0.isOfOneLink }
        // With shared addresses the others have no sockets, unless they are named.
        if connection.localAddresses.isEmpty { return shared.isEmpty ? usable.first : usable.first(where: shared.contains) }
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
