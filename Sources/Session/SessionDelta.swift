/// One change of a session: the only way in which a session changes, on both nodes (law 1).
public enum SessionChange: Hashable, Sendable {
    /// A peer was authenticated (IKE_AUTH), or a context was installed whole.
    case created(Session)
    /// The session ended; the text says why, for people.
    case removed(reason: String)
    /// The peer's request was accepted and answered. `localSPI` names the IKE SA (current or rekeyed).
    case answered(localSPI: UInt64, nextReceiveID: UInt32, response: CachedResponse)
    /// We sent a request.
    case requested(localSPI: UInt64, request: PendingRequest)
    /// Our request was answered, or given up.
    case requestCompleted(localSPI: UInt64, messageID: UInt32)
    /// The peer's address or port is another now, or ours.
    case moved(local: Endpoint, remote: Endpoint)
    case childAdded(ChildSA)
    /// The CHILD SA was replaced: it sends no more.
    case childRekeyed(inboundSPI: UInt32)
    case childRemoved(inboundSPI: UInt32)
    /// A new IKE SA takes over the children; the old one stays in `rekeyedIKESA` until it is deleted.
    case ikeSARekeyed(IKESA)
    case rekeyedIKESARemoved
    case leased(inboundSPI: UInt32, lease: Lease)
    /// The data plane's report of what was accepted from the peer.
    case inboundAdvanced(inboundSPI: UInt32, top: UInt64)
}

/// What happened to one session at once: all changes are applied, or none.
public struct SessionDelta: Hashable, Sendable {
    public var session: SessionID
    public var changes: [SessionChange]

    public init(session: SessionID, changes: [SessionChange]) {
        self.session = session
        self.changes = changes
    }
}

/// A delta that does not fit the table: always our own or the other node's fault, never a peer's.
public enum ApplyError: Error, Hashable, Sendable {
    case unknownSession(SessionID)
    case duplicateSession(SessionID)
    /// A delta for one session creates another.
    case sessionMismatch(delta: SessionID, created: SessionID)
    case unknownIKESA(session: SessionID, localSPI: UInt64)
    case unknownChildSA(session: SessionID, inboundSPI: UInt32)
    case spiInUse(UInt64)
    /// A lease or a replay counter would go backwards.
    case wentBackwards(session: SessionID, inboundSPI: UInt32)
    case tooManySessions(Int)
}
