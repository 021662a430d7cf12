/// One change of a session: the only way in which a session changes, on both nodes (law 1).
public enum SessionChange: Hashable, Sendable {
    /// A peer was authenticated (IKE_AUTH), or a context was installed whole.
    case created(Session)
    /// Two owners that could not hear each other have put together what each knew of the session (`SessionMerge`).
    case merged(Session)
    /// The session ended; the text says why, for people. `at`: when, in milliseconds since 1970 by the owner's wall clock; from then
    /// on its persistent leases are offline, on both nodes.
    case removed(reason: String, at: Int64)
    /// The session leaves these gateways, and the peer is not told: its context goes to another one. Its leases stay its peer's for a
    /// while (`Reservation.transferTime`). `at`: as in `removed`.
    case detached(at: Int64)
    /// The peer's request was accepted and answered. `localSPI` names one of the session's IKE SAs.
    case answered(localSPI: UInt64, response: CachedResponse)
    /// We sent a request.
    case requested(localSPI: UInt64, request: PendingRequest)
    /// Our request was answered, or given up.
    case requestCompleted(localSPI: UInt64, messageID: UInt32)
    /// The peer began to rekey what our request with this message ID rekeys.
    case collided(localSPI: UInt64, messageID: UInt32, collision: RekeyCollision)
    /// The peer takes so many requests at once.
    case sendWindowSet(localSPI: UInt64, size: UInt32)
    /// The peer's address or port is another now, or ours.
    case moved(local: Endpoint, remote: Endpoint)
    /// As `moved`, with what was found out about NATs (RFC 4555 §3.5).
    case pathChanged(SessionPath)
    /// The session is moving there, or not any more (RFC 4555 §3.5).
    case movingSet(SessionPath?)
    /// The peer's further addresses, all of them (RFC 4555 §3.6).
    case peerAddressesSet([IPAddress])
    /// By when the peers have to have authenticated anew (RFC 4478).
    case reauthenticationSet(at: Int64?)
    /// The gateway told us to go to another one (RFC 5685 §5).
    case redirected(to: IPAddress)
    /// What we tell the peer of other gateways.
    case redirectsSet(Redirections)
    /// A session that was arriving is here. The next message IDs are at least these: the giver's last word, or our own.
    case arrived(nextSendID: UInt32, nextReceiveID: UInt32)
    case childAdded(ChildSA)
    /// The CHILD SA was replaced: it sends no more.
    case childRekeyed(inboundSPI: UInt32)
    case childRemoved(inboundSPI: UInt32)
    /// A new IKE SA takes over the children; the old one stays in `otherIKESAs` until it is deleted.
    case ikeSARekeyed(IKESA)
    /// The peer's successor for an IKE SA that we are rekeying ourselves: which of the two lives on is not known yet.
    case ikeSAAdded(IKESA)
    /// One of the other IKE SAs becomes the current one.
    case ikeSAAdopted(localSPI: UInt64)
    /// One of the other IKE SAs is gone.
    case ikeSARemoved(localSPI: UInt64)
    case leased(inboundSPI: UInt32, lease: Lease)
    /// The data plane's report of what was accepted from the peer.
    case inboundAdvanced(inboundSPI: UInt32, top: UInt64)
    /// How much has gone through the CHILD SA by now.
    case volumeReached(inboundSPI: UInt32, volume: Volume)
    /// When the CHILD SA is to be replaced, put off after a rekey that failed.
    case childLifetimeSet(inboundSPI: UInt32, lifetime: Lifetime)
    /// When the IKE SA is to be replaced, put off after a rekey that failed.
    case ikeLifetimeSet(localSPI: UInt64, lifetime: Lifetime)
    /// We asked the peer to synchronize its counters with ours (RFC 6311): both windows go on to what we said.
    case syncRequested(localSPI: UInt64, request: SyncRequest)
    /// The peer answered: both windows go on to what it said, and requests below are given up.
    case syncCompleted(localSPI: UInt64, ids: MessageIDs)
    /// We were asked, and answered: both windows go on to `ids`, and all our requests that are not answered are given up.
    case syncAnswered(localSPI: UInt64, answer: SyncAnswer, ids: MessageIDs)
}

extension SessionChange {
    /// What comes thousands of times a second and changes nothing by which a session is found.
    var leavesIndexesAsTheyAre: Bool {
        switch self {
        case .leased, .inboundAdvanced, .volumeReached, .childLifetimeSet, .ikeLifetimeSet: true
        default: false
        }
    }
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
    /// More requests or addresses in one session than RFC 7296 gives a reason for.
    case tooMany(session: SessionID)
    /// More than twice `Reservations.perPoolMax` of one pool.
    case tooManyReservations(Int)
}
