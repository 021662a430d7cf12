public import Session

/// What a node's state file says of the node itself; every record has the latest.
public struct StateHead: Hashable, Sendable {
    public var node: NodeID
    /// The ownership of which the sessions are: this node's own, or the one whose standby it was, in step. 0: none.
    public var epoch: Epoch
    /// Epochs up to here may have been used by this node: they are written before they are used (law 3).
    public var epochLimit: Epoch
    /// When it was written, by the node's wall clock.
    public var atWallMilliseconds: Int64

    public init(node: NodeID, epoch: Epoch, epochLimit: Epoch, atWallMilliseconds: Int64) {
        self.node = node
        self.epoch = epoch
        self.epochLimit = epochLimit
        self.atWallMilliseconds = atWallMilliseconds
    }
}

/// A session that went to another gateway: by our SPIs of its IKE SAs the epochs that were spent on handing their keys on. An older state
/// of it is never gone on with.
public struct StoredDeparture: Hashable, Sendable {
    public var spent: [UInt64: UInt16]

    public init(spent: [UInt64: UInt16]) { self.spent = spent }
}

/// What is written at once: whole sessions, so that a later record takes the place of an earlier one.
public struct StateBatch: Hashable, Sendable {
    public var head: StateHead
    public var sessions: [Session]
    /// Sessions that are no more.
    public var ended: [SessionID]
    /// Addresses that are kept for those who are away.
    public var reservations: [Reservation]
    public var departures: [StoredDeparture]

    /// Sessions in one batch: with the largest messages there are it is as long as a frame of the pair's link at most.
    public static let sessionsMax = PairProtocol.snapshotPageSessionsMax
    public static let endedMax = 4096
    public static let reservationsMax = PairProtocol.snapshotPageReservationsMax
    public static let departuresMax = StoredState.departuresMax

    public init(
        head: StateHead, sessions: [Session] = [], ended: [SessionID] = [], reservations: [Reservation] = [],
        departures: [StoredDeparture] = []
    ) {
        self.head = head
        self.sessions = sessions
        self.ended = ended
        self.reservations = reservations
        self.departures = departures
    }
}

/// All that a node's disk knows: its batches, one after the other.
public struct StoredState: Hashable, Sendable {
    public var head: StateHead?
    public var sessions: [SessionID: Session] = [:]
    public var reservations: [IPAddress: Reservation] = [:]
    /// The oldest first.
    public var departures: [StoredDeparture] = []

    /// As many as a running node remembers.
    public static let departuresMax = 4096
    /// Epochs that are written down ahead of their use: a pair in trouble changes its owner a few times a minute, and a disk is slow for
    /// seconds. Each start of the daemon leaves them behind; of an IV the epoch has 15 bits, so that a thousand starts fit under one key.
    /// Fewer than `EpochShift.afterDetached`, so that no life of the giver's comes to the taker's epochs.
    public static let epochReserve: Epoch = 32

    public init() {}

    /// The slice of each CHILD SA, by its inbound SPI.
    public var slices: [UInt32: UInt64] {
        let children = sessions.values.lazy.flatMap(\.children).map { ($0.inboundSPI, $0.lease.slice) }
        return Dictionary(children) { max($0, $1) }
    }

    public mutating func apply(_ batch: StateBatch) {
        head = batch.head
        for session in batch.sessions { sessions[session.id] = session }
        for id in batch.ended { sessions[id] = nil }
        for reservation in batch.reservations { reservations[reservation.address] = reservation }
        departures += batch.departures
        if departures.count > StoredState.departuresMax { departures.removeFirst(departures.count - StoredState.departuresMax) }
    }

    /// Goes past all that the lives before may have used after their last record, epochs and sequence numbers (law 3). To be on the disk
    /// before any of it is used; the life that begins goes on above it.
    ///
    /// - Parameter node: whose disk it is.
    public mutating func beginLife(of node: NodeID, at wallMilliseconds: Int64) {
        let former = head
        head = StateHead(
            node: node, epoch: former?.epoch ?? 0,
            epochLimit: min(former?.epochLimit ?? 0, PairWireLimits.epochMax - StoredState.epochReserve) + StoredState.epochReserve,
            atWallMilliseconds: wallMilliseconds)
        for id in sessions.keys {
            guard var session = sessions[id] else { continue }
            for index in session.children.indices {
                session.children[index].lease = StoredState.advanced(session.children[index].lease, for: node)
            }
            sessions[id] = session
        }
    }

    /// Where a life begins that follows one which had recorded this lease: a node goes on no further than to here before it has recorded
    /// where it is. Two gaps: what a takeover leaves behind, twice.
    public static func advanced(_ lease: Lease, for node: NodeID) -> Lease {
        lease.nextAfterGap(for: node).nextAfterGap(for: node)
    }

    /// All of it in batches, the first of them with the head alone, so that it is there before any session is.
    public func batches() -> [StateBatch] {
        guard let head else { return [] }
        var out = [StateBatch(head: head, departures: departures)]
        let addresses = reservations.keys.sorted()
        for start in stride(from: 0, to: addresses.count, by: StateBatch.reservationsMax) {
            let page = addresses[start..<min(start + StateBatch.reservationsMax, addresses.count)]
            out.append(StateBatch(head: head, reservations: page.compactMap { reservations[$0] }))
        }
        let ids = sessions.keys.sorted()
        for start in stride(from: 0, to: ids.count, by: StateBatch.sessionsMax) {
            let page = ids[start..<min(start + StateBatch.sessionsMax, ids.count)]
            out.append(StateBatch(head: head, sessions: page.compactMap { sessions[$0] }))
        }
        return out
    }
}
