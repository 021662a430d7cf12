/// All sessions of a node, and the indexes by which they are found. Changed only by `apply` (law 1), by
/// `advance`, which is `apply` for a data plane's counter, and, when a standby is filled anew, by `replace`.
public struct SessionTable: Sendable {
    /// One node holds at most a million sessions: about 10 GiB of state, past which an operator needs another pair.
    public static let sessionCountMax = 1 << 20

    public private(set) var sessions: GradualDictionary<SessionID, Session> = [:]
    private var byLocalSPI: GradualDictionary<UInt64, SessionID> = [:]
    private var byInboundSPI: GradualDictionary<UInt32, SessionID> = [:]
    /// Whose each address is: of two sessions with the same, the one that got it later.
    private var byVirtualAddress: GradualDictionary<IPAddress, SessionID> = [:]
    private var allByVirtualAddress = SessionIndex<IPAddress>()
    private var byRemoteIdentity = SessionIndex<Identity>()
    /// By what is shown of the identity, which several may have in common; those that are shown as the octets that they are need no index more.
    private var byRemoteIdentityText = SessionIndex<String>()
    private var byRemoteAddress = SessionIndex<IPAddress>()
    private var byConnection = SessionIndex<String>()
    private var byUniqueID = SessionIndex<UInt32>()
    private var byPredecessor: GradualDictionary<SessionID, SessionID> = [:]
    public private(set) var highestUniqueIDs = HighestUniqueIDs()
    /// Sessions with a request of ours in flight, or that owe one to a move: what a new owner has to go on with.
    public private(set) var withPendingRequest: Set<SessionID> = []
    public private(set) var childCount = 0
    /// Addresses that belong to holders, whether they have a session or not.
    public private(set) var reservations = Reservations()

    private let sessionCountMax: Int

    /// - Parameter sessionCountMax: sessions that the table takes, at most.
    public init(sessionCountMax: Int = SessionTable.sessionCountMax) { self.sessionCountMax = sessionCountMax }

    public var count: Int { sessions.count }
    public subscript(id: SessionID) -> Session? { sessions[id] }

    /// The session whose current or rekeyed IKE SA has this SPI of ours.
    public func session(localSPI: UInt64) -> Session? { byLocalSPI[localSPI].flatMap { sessions[$0] } }
    public func session(inboundSPI: UInt32) -> Session? { byInboundSPI[inboundSPI].flatMap { sessions[$0] } }
    public func session(virtualAddress: IPAddress) -> Session? { byVirtualAddress[virtualAddress].flatMap { sessions[$0] } }
    /// Whether a session has this virtual address. Copies no session: a search for a free address asks for many.
    public func isLeased(_ address: IPAddress) -> Bool { byVirtualAddress[address] != nil }
    public func sessions(remoteIdentity: Identity) -> [Session] { byRemoteIdentity[remoteIdentity].compactMap { sessions[$0] } }
    /// Of one connection of the configuration, in order of their identifiers.
    public func sessions(connection: String) -> [Session] { byConnection[connection].compactMap { sessions[$0] } }
    public func ids(remoteIdentityText text: String) -> [SessionID] {
        (Identity.named(text).flatMap { byRemoteIdentity[$0] } + byRemoteIdentityText[text]).sorted()
    }
    public func ids(remoteAddress: IPAddress) -> [SessionID] { byRemoteAddress[remoteAddress] }
    public func ids(connection: String) -> [SessionID] { byConnection[connection] }
    /// By the number for people.
    public func ids(uniqueID: UInt32) -> [SessionID] { byUniqueID[uniqueID] }
    public func ids(virtualAddress: IPAddress) -> [SessionID] { allByVirtualAddress[virtualAddress] }
    /// The session that replaces this one.
    public func successor(of id: SessionID) -> Session? { byPredecessor[id].flatMap { sessions[$0] } }
    public func isInUse(localSPI: UInt64) -> Bool { byLocalSPI[localSPI] != nil }
    public func isInUse(inboundSPI: UInt32) -> Bool { byInboundSPI[inboundSPI] != nil }

    /// So many sessions are about to come into an empty table. Most have a CHILD SA, an address and an identity; whatever else they have makes
    /// room as it comes.
    public mutating func makeRoomIfEmpty(for count: Int) {
        let count = min(count, sessionCountMax)
        sessions.makeRoomIfEmpty(for: count)
        byLocalSPI.makeRoomIfEmpty(for: count)
        byInboundSPI.makeRoomIfEmpty(for: count)
        byVirtualAddress.makeRoomIfEmpty(for: count)
        allByVirtualAddress.makeRoomIfEmpty(for: count)
        byRemoteIdentity.makeRoomIfEmpty(for: count)
        byUniqueID.makeRoomIfEmpty(for: count)
    }

    /// Applies a delta whole, or throws and leaves the table as it was.
    ///
    /// - Returns: the session before and after it.
    @discardableResult
    public mutating func apply(_ delta: SessionDelta) throws(ApplyError) -> AppliedDelta {
        let before = sessions[delta.session]
        var after = before
        for change in delta.changes {
            after = try SessionTable.apply(change, to: after, id: delta.session)
        }
        if let after, delta.changes.allSatisfy(\.leavesIndexesAsTheyAre) {
            sessions[delta.session] = after
        } else {
            try commit(before: before, after: after, at: delta.removalTime)
        }
        if delta.isDetachment, let before { keepLeases(of: before, at: delta.removalTime) }
        return AppliedDelta(delta: delta, before: before, after: after)
    }

    /// What a report of the data plane's changed.
    public struct Advance: Sendable {
        public var session: SessionID
        public var child: ChildSA
    }

    /// A data plane accepted more packets of an SA. What `.inboundAdvanced` does in a delta, on both nodes, but in place: tens of thousands
    /// of them come in a second, and a session is large.
    ///
    /// - Returns: `nil` if the SA is gone by now, or has come as far before.
    public mutating func advance(inboundSPI: UInt32, to top: UInt64) -> Advance? {
        guard let id = byInboundSPI[inboundSPI] else { return nil }
        return sessions[id]?.advance(inboundSPI: inboundSPI, to: top).map { Advance(session: id, child: $0) }
    }

    /// Puts a session of a snapshot in place of what is known under its identifier.
    ///
    /// - Returns: `nil` if it is that already.
    @discardableResult
    public mutating func replace(with session: Session) throws(ApplyError) -> AppliedDelta? {
        let before = sessions[session.id]
        if before == session { return nil }
        try commit(before: before, after: session, at: 0)
        return AppliedDelta(delta: SessionDelta(session: session.id, changes: [.created(session)]), before: before, after: session)
    }

    /// Puts a reservation of a snapshot in place of what is known of its owner and its address.
    public mutating func replace(with reservation: Reservation) throws(ApplyError) {
        let count = reservations.count(in: reservation.pool)
        // What was here before is dropped when the snapshot ends, so that there may be two sets of them until then.
        guard count <= 2 * Reservations.perPoolMax else { throw .tooManyReservations(count) }
        reservations.put(reservation)
    }

    /// Forgets the offline reservations that a snapshot did not name.
    public mutating func forgetReservations(except named: Set<IPAddress>) {
        for reservation in reservations.all where reservation.offlineSince != nil && !named.contains(reservation.address) {
            reservations.drop(reservation.address)
        }
    }

    fileprivate static func apply(_ change: SessionChange, to session: Session?, id: SessionID) throws(ApplyError) -> Session? {
        if case .created(let created) = change {
            guard session == nil else { throw .duplicateSession(id) }
            guard created.id == id else { throw .sessionMismatch(delta: id, created: created.id) }
            return created
        }
        guard var session else { throw .unknownSession(id) }
        switch change {
        case .created(let created):
            return created
        case .merged(let merged):
            guard merged.id == id else { throw .sessionMismatch(delta: id, created: merged.id) }
            return merged
        case .removed, .detached:
            return nil
        case .answered, .requested, .requestCompleted, .collided, .sendWindowSet, .ikeLifetimeSet, .ikeSARekeyed, .ikeSAAdded,
            .ikeSAAdopted, .ikeSARemoved, .syncRequested, .syncCompleted, .syncAnswered:
            try session.applyToIKESA(change)
        case .moved(let local, let remote):
            session.local = local
            session.remote = remote
        case .pathChanged(let path):
            session.path = path
        case .movingSet(let path):
            session.movingTo = path
        case .peerAddressesSet(let addresses):
            guard addresses.count <= Session.peerAddressesMax else { throw .tooMany(session: id) }
            session.peerAddresses = addresses
        case .reauthenticationSet(let at):
            session.reauthenticateAt = at
        case .redirected(let address):
            session.redirectedTo = address
        case .arrived(let nextSendID, let nextReceiveID):
            session.isArriving = false
            session.ikeSA.nextSendID = max(session.ikeSA.nextSendID, nextSendID)
            session.ikeSA.nextReceiveID = max(session.ikeSA.nextReceiveID, nextReceiveID)
        case .redirectsSet(let redirects):
            guard redirects.times.count <= Redirections.countMax else { throw .tooMany(session: id) }
            session.redirects = redirects
        case .childAdded(let child):
            session.children.append(child)
        case .childRekeyed(let spi):
            try session.withChild(spi) { $0.isRekeyed = true }
        case .childRemoved(let spi):
            guard let index = session.children.firstIndex(where: { $0.inboundSPI == spi }) else {
                throw .unknownChildSA(session: id, inboundSPI: spi)
            }
            session.children.remove(at: index)
        case .leased(let spi, let lease):
            guard let child = session.child(inboundSPI: spi) else { throw .unknownChildSA(session: id, inboundSPI: spi) }
            guard lease.slice >= child.lease.slice else {
                throw .wentBackwards(session: id, inboundSPI: spi)
            }
            try session.withChild(spi) { $0.lease = lease }
        case .inboundAdvanced(let spi, let top):
            guard let child = session.child(inboundSPI: spi) else { throw .unknownChildSA(session: id, inboundSPI: spi) }
            guard top >= child.inboundTop else { throw .wentBackwards(session: id, inboundSPI: spi) }
            try session.withChild(spi) { $0.inboundTop = top }
        case .volumeReached(let spi, let volume):
            try session.withChild(spi) { $0.volume = volume }
        case .childLifetimeSet(let spi, let lifetime):
            try session.withChild(spi) { $0.lifetime = lifetime }
        }
        return session
    }

    /// Moves the indexes from `before` to `after`; checks first, so that a throw leaves everything as it was.
    private mutating func commit(before: Session?, after: Session?, at wallMilliseconds: Int64) throws(ApplyError) {
        if let after {
            if before == nil, sessions.count >= sessionCountMax { throw .tooManySessions(sessions.count) }
            for spi in after.localSPIs {
                if let holder = byLocalSPI[spi], holder != after.id { throw .spiInUse(spi) }
            }
            for child in after.children {
                if let holder = byInboundSPI[child.inboundSPI], holder != after.id { throw .spiInUse(UInt64(child.inboundSPI)) }
            }
            if let spi = after.repeatedSPI { throw .spiInUse(spi) }
        }
        if before?.virtualAddresses != after?.virtualAddresses { reserve(before: before, after: after, at: wallMilliseconds) }
        index(after?.id ?? before?.id, from: before, to: after)
        if let id = after?.id ?? before?.id { sessions[id] = after }
    }

    private mutating func reserve(before: Session?, after: Session?, at wallMilliseconds: Int64) {
        if let before {
            // An address that another session took over meanwhile is that one's.
            for lease in before.virtualAddresses where lease.isPersistent && byVirtualAddress[lease.address] == before.id {
                reservations.wentOffline(lease, of: before.leaseHolder, at: wallMilliseconds)
            }
        }
        if let after {
            for lease in after.virtualAddresses {
                if lease.isPersistent {
                    reservations.cameOnline(lease, of: after.leaseHolder)
                } else {
                    // Whose it was before has lost it.
                    reservations.drop(lease.address)
                }
            }
        }
    }

    /// Nobody else gets the addresses while the context is under way.
    private mutating func keepLeases(of session: Session, at wallMilliseconds: Int64) {
        for lease in session.virtualAddresses where byVirtualAddress[lease.address] == nil && !lease.isPersistent {
            guard reservations.count(in: lease.pool) < Reservations.perPoolMax else { continue }
            reservations.put(
                Reservation(holder: session.leaseHolder, pool: lease.pool, address: lease.address, offlineSince: wallMilliseconds))
        }
    }

    /// Touches only what is another now: most deltas of a session change nothing by which it is found.
    private mutating func index(_ id: SessionID?, from before: Session?, to after: Session?) {
        guard let id else { return }
        if before?.localSPIs != after?.localSPIs {
            for spi in before?.localSPIs ?? [] { byLocalSPI[spi] = nil }
            for spi in after?.localSPIs ?? [] { byLocalSPI[spi] = id }
        }
        indexChildren(id, from: before?.children ?? [], to: after?.children ?? [])
        if before?.virtualAddresses != after?.virtualAddresses {
            for lease in before?.virtualAddresses ?? [] {
                if byVirtualAddress[lease.address] == id { byVirtualAddress[lease.address] = nil }
                allByVirtualAddress.remove(id, at: lease.address)
            }
            for lease in after?.virtualAddresses ?? [] {
                byVirtualAddress[lease.address] = id
                allByVirtualAddress.insert(id, at: lease.address)
            }
        }
        let (formerly, now) = (before?.authorization.remoteIdentity, after?.authorization.remoteIdentity)
        if formerly != now {
            byRemoteIdentity.move(id, from: formerly, to: now)
            byRemoteIdentityText.move(id, from: formerly?.unlikeText, to: now?.unlikeText)
        }
        byRemoteAddress.move(id, from: before?.remote.address, to: after?.remote.address)
        byConnection.move(id, from: before?.authorization.connection, to: after?.authorization.connection)
        byUniqueID.move(id, from: before?.uniqueID, to: after?.uniqueID)
        if before?.predecessor != after?.predecessor {
            if let predecessor = before?.predecessor, byPredecessor[predecessor] == id { byPredecessor[predecessor] = nil }
            if let predecessor = after?.predecessor { byPredecessor[predecessor] = id }
        }
        if after?.hasUnfinishedBusiness == true {
            withPendingRequest.insert(id)
        } else if !withPendingRequest.isEmpty {
            withPendingRequest.remove(id)
        }
        if let after { highestUniqueIDs.note(after) }
    }

    private mutating func indexChildren(_ id: SessionID, from old: [ChildSA], to new: [ChildSA]) {
        childCount += new.count - old.count
        guard !old.lazy.map(\.inboundSPI).elementsEqual(new.lazy.map(\.inboundSPI)) else { return }
        for child in old { byInboundSPI[child.inboundSPI] = nil }
        for child in new { byInboundSPI[child.inboundSPI] = id }
    }
}

/// What a delta did: enough to derive every effect from, by the same function on both nodes.
public struct AppliedDelta: Hashable, Sendable {
    public let delta: SessionDelta
    public let before: Session?
    public let after: Session?

    public init(delta: SessionDelta, before: Session?, after: Session?) {
        self.delta = delta
        self.before = before
        self.after = after
    }
}

extension SessionDelta {
    /// The session was given away.
    public var isDetachment: Bool {
        for case .detached in changes { return true }
        return false
    }

    /// When it says that the session ended.
    fileprivate var removalTime: Int64 {
        for change in changes {
            switch change {
            case .removed(_, let at), .detached(let at): return at
            default: continue
            }
        }
        return 0
    }
}

extension IKESA {
    fileprivate var hasPendingRequest: Bool { !pendingRequests.isEmpty || counterSync.pending != nil }
}

extension Session {
    /// The SPIs of ours under which IKE messages for this session arrive.
    public var localSPIs: [UInt64] { [ikeSA.localSPI] + otherIKESAs.map(\.localSPI) }
    public var hasPendingRequest: Bool { ikeSA.hasPendingRequest || otherIKESAs.contains(where: \.hasPendingRequest) }
    fileprivate var hasUnfinishedBusiness: Bool { hasPendingRequest || movingTo != nil || redirects.order?.stage == .prepared }

    /// A rekey leaves one behind, and two rekeys at once leave two; a third is one more than RFC 7296 §2.8.2 knows of.
    public static let otherIKESAsMax = 3

    /// An SPI of ours that two IKE SAs or two CHILD SAs of the session share: no index could tell them apart.
    fileprivate var repeatedSPI: UInt64? {
        if !otherIKESAs.isEmpty {
            var seen: Set<UInt64> = []
            if let spi = localSPIs.first(where: { !seen.insert($0).inserted }) { return spi }
        }
        guard children.count > 1 else { return nil }
        var seen: Set<UInt32> = []
        return children.first { !seen.insert($0.inboundSPI).inserted }.map { UInt64($0.inboundSPI) }
    }

    /// The session as it will be with these changes; `nil` when they end it. For whoever has to go on before they are applied.
    public func applying(_ changes: [SessionChange]) throws(ApplyError) -> Session? {
        var session: Session? = self
        for change in changes { session = try SessionTable.apply(change, to: session, id: id) }
        return session
    }

    fileprivate mutating func applyToIKESA(_ change: SessionChange) throws(ApplyError) {
        switch change {
        case .answered(let localSPI, let response):
            try withIKESA(localSPI) { $0.note(response) }
        case .requested(let localSPI, let request):
            if let sa = ikeSA(localSPI: localSPI), sa.freeWindow == 0 { throw .tooMany(session: id) }
            try withIKESA(localSPI) { $0.note(request) }
        case .requestCompleted(let localSPI, let messageID):
            try withIKESA(localSPI) { sa in sa.pendingRequests.removeAll { $0.messageID == messageID } }
        case .collided(let localSPI, let messageID, let collision):
            try withIKESA(localSPI) { sa in
                for index in sa.pendingRequests.indices where sa.pendingRequests[index].messageID == messageID {
                    sa.pendingRequests[index].collision = collision
                }
            }
        case .sendWindowSet(let localSPI, let size):
            try withIKESA(localSPI) { $0.sendWindow = size }
        case .ikeLifetimeSet(let localSPI, let lifetime):
            try withIKESA(localSPI) { $0.lifetime = lifetime }
        case .syncRequested(let localSPI, let request):
            try withIKESA(localSPI) { sa in
                sa.counterSync.pending = request
                sa.counterSync.knownSince = request.epoch
                sa.raise(to: request.ids)
            }
        case .syncCompleted(let localSPI, let ids):
            try withIKESA(localSPI) { sa in
                sa.counterSync.pending = nil
                sa.raise(to: ids)
                sa.pendingRequests.removeAll { $0.messageID < ids.send }
            }
        case .syncAnswered(let localSPI, let answer, let ids):
            try withIKESA(localSPI) { sa in
                sa.counterSync.answered = answer
                sa.raise(to: ids)
                sa.pendingRequests = []
            }
        case .ikeSARekeyed(let successor):
            keepBeside(ikeSA)
            ikeSA = successor
        case .ikeSAAdded(let other):
            keepBeside(other)
        case .ikeSAAdopted(let localSPI):
            guard let index = otherIKESAs.firstIndex(where: { $0.localSPI == localSPI }) else {
                throw .unknownIKESA(session: id, localSPI: localSPI)
            }
            let replaced = ikeSA
            ikeSA = otherIKESAs[index]
            otherIKESAs[index] = replaced
        case .ikeSARemoved(let localSPI):
            guard let index = otherIKESAs.firstIndex(where: { $0.localSPI == localSPI }) else {
                throw .unknownIKESA(session: id, localSPI: localSPI)
            }
            otherIKESAs.remove(at: index)
        default: break
        }
    }

    fileprivate mutating func advance(inboundSPI: UInt32, to top: UInt64) -> ChildSA? {
        guard let index = children.firstIndex(where: { $0.inboundSPI == inboundSPI }), children[index].inboundTop < top else { return nil }
        children[index].inboundTop = top
        return children[index]
    }

    /// A peer that rekeys again and again and deletes nothing loses the oldest.
    private mutating func keepBeside(_ other: IKESA) {
        if otherIKESAs.count >= Session.otherIKESAsMax { otherIKESAs.removeFirst() }
        otherIKESAs.append(other)
    }

    fileprivate mutating func withIKESA(_ localSPI: UInt64, _ body: (inout IKESA) -> Void) throws(ApplyError) {
        if ikeSA.localSPI == localSPI {
            body(&ikeSA)
        } else if let index = otherIKESAs.firstIndex(where: { $0.localSPI == localSPI }) {
            body(&otherIKESAs[index])
        } else {
            throw .unknownIKESA(session: id, localSPI: localSPI)
        }
    }

    fileprivate mutating func withChild(_ inboundSPI: UInt32, _ body: (inout ChildSA) -> Void) throws(ApplyError) {
        guard let index = children.firstIndex(where: { $0.inboundSPI == inboundSPI }) else {
            throw .unknownChildSA(session: id, inboundSPI: inboundSPI)
        }
        body(&children[index])
    }
}
