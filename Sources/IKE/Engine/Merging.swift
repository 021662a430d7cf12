public import Session

/// Sessions that the other node of the pair served while neither heard the other.
extension IKEEngine {
    /// Goes on with a session as both nodes' copies make it, or with one that only the other node had.
    ///
    /// - Parameters:
    ///   - givenUp: requests in its current IKE SA that nobody will answer: what they were for is asked anew.
    ///   - mayBeBehind: both nodes spoke in the IKE SA, and a peer that can is asked for its message IDs (RFC 6311).
    /// - Returns: the delta that makes it so, and what goes to the peer.
    public mutating func merge(
        _ session: Session, givenUp: [PendingRequest], mayBeBehind: Bool, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        let (id, now) = (session.id, context.now.instant)
        // Its handshake was known here too, and has ended at the other node.
        for spi in session.localSPIs { halfOpen.remove(spi) }
        var changes: [SessionChange] = [table[id] == nil ? .created(session) : .merged(session)]
        changes += giveUp(givenUp, of: session, at: now)
        var outcome = IKEOutcome(deltas: [SessionDelta(session: id, changes: changes)], session: id)
        guard !session.isArriving else { return outcome }
        appointments[id] = nil
        watch(session, from: now)
        keepMapping(session, isOverdue: true, at: now)
        schedule(session, context: context)
        keepMoving(session, at: now)
        keepRedirecting(session, at: now)
        synchronization.forget(id)
        if mayBeBehind || session.ikeSA.counterSync.pending != nil {
            synchronization.noteBehind(id)
            noteSyncDue(id, at: now)
        } else if synchronization.needs.replayIncrement != nil {
            noteSyncDue(id, at: now)
        }
        outcome.datagrams += askAgain(session, at: now)
        return outcome
    }

    /// Sessions of the same peer that cannot stand beside this one, as `unique` has it when the peer authenticates anew.
    public func rivals(of session: Session, table: SessionTable) -> [Session] {
        guard let unique = connection(of: session)?.unique, unique == .replace || unique == .keep else { return [] }
        return table.sessions(remoteIdentity: session.authorization.remoteIdentity).filter {
            $0.id != session.id && $0.authorization.connection == session.authorization.connection
                && $0.authorization.localIdentity == session.authorization.localIdentity
        }
    }

    /// Numbers for people that nobody has yet, for a session that comes with those of another one.
    public mutating func renumber(_ session: inout Session, table: SessionTable) {
        session.uniqueID = withUniqueIDs(table: table) { $0.nextSession() }
        for index in session.children.indices { session.children[index].uniqueID = withUniqueIDs(table: table) { $0.nextChild() } }
    }
}
