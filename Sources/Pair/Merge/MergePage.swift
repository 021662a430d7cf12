public import Session

/// What a node that was owner beside the other one hands over before it is filled anew: what is known to it alone.
public struct MergePage: Hashable, Sendable {
    /// A session that is here, as it is here.
    public struct Item: Hashable, Sendable {
        public var session: Session
        /// How long its peer had not been heard when the page left; `nil`: it was not, since both nodes held the same. By one clock alone,
        /// so that it can be compared with what another clock says.
        public var silence: Duration?
        /// It is not here any more, since its peer did not answer: only of use where it still is.
        public var hasEnded: Bool

        public init(_ session: Session, silence: Duration?, hasEnded: Bool = false) {
            self.session = session
            self.silence = silence
            self.hasEnded = hasEnded
        }
    }

    /// A session that is not here any more because somebody wanted it so: its peer, or an operator.
    public struct Ending: Hashable, Sendable {
        public var session: SessionID
        /// How long ago.
        public var silence: Duration
        /// Its context went to another gateway.
        public var wasDetached: Bool

        public init(session: SessionID, silence: Duration, wasDetached: Bool) {
            self.session = session
            self.silence = silence
            self.wasDetached = wasDetached
        }
    }

    /// How far in the outbound numbers of a CHILD SA former lives of the sender may have gone, which nobody will know when this one ends.
    public struct SpentSlice: Hashable, Sendable {
        public var inboundSPI: UInt32
        public var slice: UInt64

        public init(inboundSPI: UInt32, slice: UInt64) {
            self.inboundSPI = inboundSPI
            self.slice = slice
        }
    }

    public var sessions: [Item] = []
    public var ended: [Ending] = []
    /// CHILD SAs and IKE SAs that ended inside living sessions, by our SPIs.
    public var endedChildren: [UInt32] = []
    public var endedIKESAs: [UInt64] = []
    /// Addresses that are kept for who is away.
    public var reservations: [Reservation] = []
    public var spentSlices: [SpentSlice] = []

    public init() {}

    public init(sessions: [Item]) { self.sessions = sessions }

    /// Nothing in it is of what the sender did as owner.
    public var isEmpty: Bool { sessions.isEmpty && ended.isEmpty && endedChildren.isEmpty && endedIKESAs.isEmpty && reservations.isEmpty }

    /// Sessions in one page, as in one of a snapshot.
    public static let sessionsMax = PairProtocol.snapshotPageSessionsMax
    /// Endings of one kind in one page: some 70 KiB.
    public static let endingsMax = 4096
}
