public import Session

/// NAT keepalives (RFC 3948 §4): whoever is behind a NAT keeps its mapping alive with one octet, whenever nothing else has gone out
/// for a while. Local to one node; a new owner begins anew.
extension IKEEngine {
    /// What a keepalive is made of; it goes without the non-ESP marker (RFC 3948 §2.3).
    public static let keepAlive: [UInt8] = [0xFF]

    /// Something went out to the peer, IKE or ESP: no keepalive is needed for a while.
    public mutating func noteOutboundTraffic(session: SessionID, at instant: Instant) {
        if let last = lastSent[session], last < instant { lastSent[session] = instant }
        noteSyncSign(session, at: instant)
    }

    /// Begins to keep the mapping of a session alive, if it needs that and is not known yet.
    ///
    /// - Parameter isOverdue: nobody knows when something went out last.
    mutating func keepMapping(_ session: Session, isOverdue: Bool = false, at now: Instant) {
        guard session.needsKeepAlives, let interval = configuration.limits.keepAliveInterval, lastSent[session.id] == nil else { return }
        lastSent[session.id] = isOverdue ? now + (.zero - interval) : now
        deadlines.insert(.keepAlive(session.id), at: isOverdue ? now : now + interval)
    }

    mutating func keepAliveDue(_ id: SessionID, table: SessionTable, at now: Instant) -> IKEOutcome {
        guard let last = lastSent[id] else { return .nothing }
        guard let session = table[id], session.needsKeepAlives, let interval = configuration.limits.keepAliveInterval else {
            lastSent[id] = nil
            return .nothing
        }
        guard last + interval <= now else {
            deadlines.insert(.keepAlive(id), at: last + interval)
            return .nothing
        }
        deadlines.insert(.keepAlive(id), at: now + interval)
        counters.keepAlivesSent += 1
        // It shows nothing of the session: it need not wait for the standby.
        return IKEOutcome(datagrams: send([IKEEngine.keepAlive], in: session))
    }
}

extension Session {
    fileprivate var needsKeepAlives: Bool { ikePath.localBehindNAT && ikePath.encapsulation }
}
