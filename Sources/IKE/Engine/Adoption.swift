public import Session

/// Sessions that come from another gateway whole, or go to one.
extension IKEEngine {
    /// Goes on with a session that another gateway gave: under a name of ours, with the requests that wait for their answers.
    ///
    /// - Parameter session: as `SessionContext.adopted` makes it; its SPIs are free here.
    /// - Returns: the delta that creates it, and what goes to the peer.
    public mutating func adopt(
        _ session: Session, mayBeBehind: Bool = false, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        let now = context.now.instant
        var session = session
        session.id = SessionID(rawValue: newIKESPI(table: table, context: context))
        session.uniqueID = withUniqueIDs(table: table) { $0.nextSession() }
        for index in session.children.indices { session.children[index].uniqueID = withUniqueIDs(table: table) { $0.nextChild() } }
        var outcome = IKEOutcome(deltas: [SessionDelta(session: session.id, changes: [.created(session)])], session: session.id)
        // Of one that is arriving nothing is to be said or asked yet.
        guard !session.isArriving else { return outcome }
        watch(session, from: now)
        keepMapping(session, isOverdue: true, at: now)
        schedule(session, context: context)
        keepMoving(session, at: now)
        if mayBeBehind {
            synchronization.noteBehind(session.id)
            noteSyncDue(session.id, at: now)
        }
        outcome.datagrams = askAgain(session, at: now)
        return outcome
    }

    /// The session goes on at another gateway: nothing of ours is to be sent for it any more.
    public mutating func release(session: SessionID) { forget(session) }

    /// Whether an IKE SA that is not established yet has this SPI of ours.
    public func isBeginning(localSPI: UInt64) -> Bool { halfOpen[localSPI] != nil || initiations[localSPI] != nil }

    /// Whether a call of ours has this SPI.
    public func isCalling(localSPI: UInt64) -> Bool { initiations[localSPI] != nil }

    /// Whether a CHILD SA that is not established yet has this SPI of ours.
    public func isBeginning(inboundSPI: UInt32) -> Bool { initiations.isInUse(childSPI: inboundSPI) }
}

extension ConnectionConfiguration {
    /// What speaks against a peer that another gateway authenticated, in an operator's words; `nil`: it would be admitted here too.
    public func objection(to authorization: PeerAuthorization, at remote: IPAddress) -> String? {
        if let remoteIdentity, !remoteIdentity.isSame(as: authorization.remoteIdentity) {
            return "'\(authorization.remoteIdentity)' is not '\(remoteIdentity)'"
        }
        if let localIdentity, !localIdentity.isSame(as: authorization.localIdentity) {
            return "it was told that it speaks to '\(authorization.localIdentity)', and this gateway is '\(localIdentity)'"
        }
        let isShared = authorization.method == .preSharedKey
        switch remoteAuthentication {
        case .preSharedKey where !isShared: return "it showed a certificate, and the connection asks for a pre-shared key"
        case .publicKey where isShared: return "it showed a pre-shared key, and the connection asks for a certificate"
        case .preSharedKey, .publicKey: break
        }
        guard remoteAddresses.isEmpty || remoteAddresses.contains(where: { $0.contains(remote) }) else {
            return "it may not come from \(remote)"
        }
        return nil
    }
}
