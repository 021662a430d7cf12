public import Session

/// Who wants an address, and what decides on it besides the pool.
struct LeaseRequest {
    var holder: LeaseHolder
    /// What the peer asked for; given if it is free.
    var requested: IPAddress?
    /// Addresses of sessions of the same holder that end in the same breath; they are its to have again.
    var leaving: Set<IPAddress> = []
    var node: NodeID
    var isAlone: Bool
    var wallMilliseconds: Int64
}

/// Leases addresses from pools. What is leased is in the session table and nowhere else, so a new owner goes on without a gap;
/// the cursors kept here only say where to look first.
///
/// A pool has two halves, the addresses at even places and those at odd ones, and each node of a pair begins in the half of its
/// number. A node that is alone stays in it, for the other one may be alone too (see `Aloneness`).
struct PoolCursors: Sendable {
    /// Addresses tried behind the identity's own place before the cursor is used.
    private static let probes: UInt64 = 16
    /// Addresses looked at in one half for one lease: 2^15 look-ups take a few milliseconds, and a pool of a /16 is searched whole.
    /// In a larger one that is all but full the next search goes on where this one ended.
    static let lookupsMax: UInt64 = 1 << 15

    private struct Half: Hashable {
        var pool: String
        var parity: UInt64
    }

    private var cursors: [Half: UInt64] = [:]

    /// A lease from `pool`, or `nil` when no address is found (see `lookupsMax`).
    mutating func lease(
        from pool: PoolConfiguration, for request: LeaseRequest, table: SessionTable, aloneness: Aloneness
    ) -> VirtualAddress? {
        guard pool.first.family == pool.last.family, pool.first <= pool.last else { return nil }
        let view = PoolView(pool: pool, request: request, table: table, aloneness: aloneness)
        // As many identities as are kept have their addresses: a further one takes the place of another.
        let successor = view.needsPlace ? view.abandoned : nil
        guard let address = view.own ?? successor ?? view.wanted ?? firstFree(view) ?? view.abandoned else { return nil }
        return VirtualAddress(pool: pool.name, address: address, isPersistent: view.isPersistent(address))
    }

    private mutating func firstFree(_ view: PoolView) -> IPAddress? {
        let own = UInt64(view.request.node.rawValue)
        for parity in view.request.isAlone ? [own] : [own, 1 - own] {
            if let address = firstFree(view, parity: parity) { return address }
        }
        return nil
    }

    private mutating func firstFree(_ view: PoolView, parity: UInt64) -> IPAddress? {
        let pool = view.pool
        let count = pool.addressCount(parity: parity)
        guard count > 0 else { return nil }
        func free(_ place: UInt64) -> IPAddress? {
            pool.first.advanced(by: 2 * place + parity).flatMap { view.isFree($0) ? $0 : nil }
        }
        // The same peer finds the same address again: its place is a hash of its identity.
        let home = PoolCursors.place(of: view.request.holder.identity) % count
        for step in 0..<min(PoolCursors.probes, count) {
            if let address = free((home &+ step) % count) { return address }
        }
        let half = Half(pool: pool.name, parity: parity)
        var cursor = (cursors[half] ?? home) % count
        defer { cursors[half] = cursor }
        // Among one address more than there are leases and reservations, one is free.
        let taken = view.table.leasesAtMost + view.table.reservations.count(in: pool.name) + view.aloneness.keptCount
        for _ in 0..<min(count, UInt64(taken) + 1, PoolCursors.lookupsMax) {
            cursor = cursor + 1 < count ? cursor + 1 : 0
            if let address = free(cursor) { return address }
        }
        return nil
    }

    /// FNV-1a over kind and octets: the same on both nodes and in every run.
    private static func place(of identity: Identity) -> UInt64 {
        ([identity.kind.rawValue] + identity.data).reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}

/// A pool as one request sees it.
struct PoolView {
    let pool: PoolConfiguration
    let request: LeaseRequest
    let table: SessionTable
    let aloneness: Aloneness

    private var reservation: Reservation? { table.reservations.of(request.holder, in: pool.name) }

    /// What the holder has a right to: its reservation, or the address of the session that this one replaces.
    var own: IPAddress? {
        let kept = pool.isPersistent ? reservation.map(\.address) : nil
        if let kept, pool.contains(kept), !isHeld(kept) { return kept }
        return request.leaving.filter { pool.contains($0) && isFree($0) }.min()
    }

    /// The address that the peer asked for.
    var wanted: IPAddress? {
        guard let address = request.requested, pool.contains(address), isFree(address) else { return nil }
        guard !request.isAlone || pool.parity(of: address) == UInt64(request.node.rawValue) else { return nil }
        return address
    }

    /// Of identities that are away, the address of the one that has been so for longest. While this node is alone there is none: the
    /// other one may be giving it to whose it is.
    var abandoned: IPAddress? {
        // In a pool that is not persistent what is kept is on its way to another gateway, and is not abandoned.
        guard !request.isAlone, pool.isPersistent else { return nil }
        return table.reservations.longestOffline(in: pool.name, from: pool.first, through: pool.last)?.address
    }

    private var isPlaceLeft: Bool { table.reservations.count(in: pool.name) < Reservations.perPoolMax }
    var needsPlace: Bool { pool.isPersistent && reservation == nil && !isPlaceLeft }

    /// Whether a lease of this address becomes the identity's reservation. Of two sessions of one holder the first has it.
    func isPersistent(_ address: IPAddress) -> Bool {
        guard pool.isPersistent else { return false }
        if let reservation { return reservation.address == address || !isHeld(reservation.address) }
        return isPlaceLeft || table.reservations[address] != nil
    }

    func isFree(_ address: IPAddress) -> Bool {
        guard !isHeld(address), aloneness.permits(address, to: request.holder) else { return false }
        guard let reservation = table.reservations[address] else { return true }
        if reservation.pool == pool.name, reservation.holder == request.holder { return true }
        return hasExpired(reservation)
    }

    private func isHeld(_ address: IPAddress) -> Bool { table.isLeased(address) && !request.leaving.contains(address) }

    /// The two nodes' clocks may differ: while this one is alone, every reservation stands.
    private func hasExpired(_ reservation: Reservation) -> Bool {
        guard !request.isAlone, let since = reservation.offlineSince else { return false }
        return pool.hasExpired(offlineSince: since, at: request.wallMilliseconds)
    }
}

/// What a node remembers while it is alone, so that no address has two peers even if the other node is alone too.
///
/// Both nodes know what was leased when they lost each other. What one of them leases from then on, it takes from its own half and
/// not from that, except for an identity that had it; so neither can give an address to somebody while the other one has given it,
/// or still leaves it, to somebody else.
struct Aloneness: Sendable {
    /// Leased since then. The other node knows nothing of it: it may be leased again when it is given back.
    private var leased: Set<IPAddress> = []
    /// Given back since then, and whose it was. As many as there were sessions, at most.
    private var kept: [IPAddress: LeaseHolder] = [:]

    var keptCount: Int { kept.count }

    func permits(_ address: IPAddress, to holder: LeaseHolder) -> Bool { kept[address].map { $0 == holder } ?? true }

    mutating func noteLease(_ address: IPAddress) { if kept[address] == nil { leased.insert(address) } }

    mutating func noteEnd(of session: Session) {
        for lease in session.virtualAddresses where leased.remove(lease.address) == nil {
            kept[lease.address] = session.leaseHolder
        }
    }
}

extension IKEEngine {
    /// To be told of every session that ends while this node is alone.
    public mutating func sessionEndedAlone(_ session: Session) { aloneness.noteEnd(of: session) }

    /// The nodes hold the same again.
    public mutating func pairedAgain() { aloneness = Aloneness() }
}

extension SessionTable {
    /// A session has at most one address of each family.
    fileprivate var leasesAtMost: Int { 2 * count }
}

extension PoolConfiguration {
    /// At least 1; a pool of more than 2^63 IPv6 addresses counts as that many.
    public var addressCount: UInt64 {
        let (span, borrow) = last.low.subtractingReportingOverflow(first.low)
        let highSpan = last.high &- first.high &- (borrow ? 1 : 0)
        return highSpan > 0 || span >= 1 << 63 ? 1 << 63 : span + 1
    }

    /// Whether an identity that has been away since then has lost its address to whoever wants one.
    public func hasExpired(offlineSince: Int64, at wallMilliseconds: Int64) -> Bool {
        // Of another pool an address is kept only while its session is being carried elsewhere.
        guard let leaseTime = isPersistent ? leaseTime : Reservation.transferTime else { return false }
        return wallMilliseconds - offlineSince >= leaseTime.inNanoseconds / 1_000_000
    }

    fileprivate func contains(_ address: IPAddress) -> Bool { first <= address && address <= last }

    /// The addresses at even places (0) or at odd ones (1).
    fileprivate func addressCount(parity: UInt64) -> UInt64 { (addressCount - parity + 1) / 2 }

    /// Of an address of the pool.
    fileprivate func parity(of address: IPAddress) -> UInt64 { (address.low &- first.low) % 2 }
}
