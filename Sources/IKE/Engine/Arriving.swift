import IKEWire
public import Session

/// Sessions whose context another gateway gave us.
extension IKEEngine {
    /// The peer of a session that was arriving is here: from now on it is watched and kept like any other. `table` has it so already.
    public mutating func arrived(session id: SessionID, table: SessionTable, context: IKEContext) {
        guard let session = table[id], !session.isArriving else { return }
        watch(session, from: context.now.instant)
        keepMapping(session, isOverdue: true, at: context.now.instant)
        schedule(session, context: context)
    }
}

extension IKEEngine {
    /// The session whose IKE SA a datagram names; nothing else of the datagram is believed.
    public func session(of datagram: Datagram, table: SessionTable) -> SessionID? {
        guard let header = try? IKEHeader(parsing: datagram.bytes) else { return nil }
        return table.session(localSPI: header.isInitiator ? header.responderSPI : header.initiatorSPI)?.id
    }

    /// The session in whose IKE SA we send a datagram.
    public func session(sending datagram: Datagram, table: SessionTable) -> SessionID? {
        guard let header = try? IKEHeader(parsing: datagram.bytes) else { return nil }
        return table.session(localSPI: header.isInitiator ? header.initiatorSPI : header.responderSPI)?.id
    }
}
