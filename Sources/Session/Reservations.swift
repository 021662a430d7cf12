/// Whose a lease is. The same name in another connection is somebody else: that connection trusts other credentials.
public struct LeaseHolder: Hashable, Sendable {
    public var connection: String
    public var identity: Identity

    public init(connection: String, identity: Identity) {
        self.connection = connection
        self.identity = identity
    }
}

extension Session {
    public var leaseHolder: LeaseHolder { LeaseHolder(connection: authorization.connection, identity: authorization.remoteIdentity) }
}

/// An address that belongs to an identity, also while that one is away: a lease of a pool that is `persistent`.
public struct Reservation: Hashable, Sendable {
    public var holder: LeaseHolder
    public var pool: String
    public var address: IPAddress
    /// When the session that had it ended, in milliseconds since 1970, as the delta said; `nil`: a session has it.
    public var offlineSince: Int64?

    /// How long an address of a pool that is not `persistent` is kept for the peer of a session that was given away: whoever carries
    /// the context to another gateway is done by then, or comes too late.
    public static let transferTime: Duration = .seconds(600)

    public init(holder: LeaseHolder, pool: String, address: IPAddress, offlineSince: Int64?) {
        self.holder = holder
        self.pool = pool
        self.address = address
        self.offlineSince = offlineSince
    }
}

/// The reservations of a table: at most one of each holder in each pool, and at most one of each address.
///
/// They change with the sessions alone: one comes into being, or changes its address, with a session that has a persistent lease, and
/// is offline from the moment that the session's removal names. What one table does with a delta, every table does.
public struct Reservations: Hashable, Sendable {
    /// Reservations of one pool, which whoever leases keeps to. A /16 is covered whole, and the search for the one that is offline
    /// longest takes a few milliseconds.
    public static let perPoolMax = 1 << 16

    private struct Owner: Hashable {
        var pool: String
        var holder: LeaseHolder
    }

    private var byPool: [String: [LeaseHolder: Reservation]] = [:]
    private var owners: [IPAddress: Owner] = [:]

    public init() {}

    public var count: Int { owners.count }
    public func count(in pool: String) -> Int { byPool[pool]?.count ?? 0 }
    /// All of them, in no order.
    public var all: [Reservation] { byPool.values.flatMap(\.values) }
    public func all(in pool: String) -> [Reservation] { byPool[pool].map { Array($0.values) } ?? [] }

    public subscript(address: IPAddress) -> Reservation? { owners[address].flatMap { byPool[$0.pool]?[$0.holder] } }
    public func of(_ holder: LeaseHolder, in pool: String) -> Reservation? { byPool[pool]?[holder] }

    /// Of those in the range whose owner is away, the one that has been so for longest; of equals the lowest address.
    public func longestOffline(in pool: String, from first: IPAddress, through last: IPAddress) -> Reservation? {
        guard let candidates = byPool[pool]?.values else { return nil }
        var oldest: (since: Int64, reservation: Reservation)?
        for reservation in candidates {
            guard let since = reservation.offlineSince, first <= reservation.address, reservation.address <= last else { continue }
            if let oldest, (oldest.since, oldest.reservation.address) <= (since, reservation.address) { continue }
            oldest = (since, reservation)
        }
        return oldest?.reservation
    }

    /// A session of this holder has the address now: whatever stood for either of them before is void.
    mutating func cameOnline(_ lease: VirtualAddress, of holder: LeaseHolder) {
        put(Reservation(holder: holder, pool: lease.pool, address: lease.address, offlineSince: nil))
    }

    /// The session is over. A reservation that is offline already stays so since then.
    mutating func wentOffline(_ lease: VirtualAddress, of holder: LeaseHolder, at wallMilliseconds: Int64) {
        guard byPool[lease.pool]?[holder]?.address == lease.address, byPool[lease.pool]?[holder]?.offlineSince == nil else { return }
        byPool[lease.pool]?[holder]?.offlineSince = wallMilliseconds
    }

    mutating func put(_ reservation: Reservation) {
        if let former = byPool[reservation.pool]?[reservation.holder] { drop(former.address) }
        drop(reservation.address)
        byPool[reservation.pool, default: [:]][reservation.holder] = reservation
        owners[reservation.address] = Owner(pool: reservation.pool, holder: reservation.holder)
    }

    mutating func drop(_ address: IPAddress) {
        guard let owner = owners.removeValue(forKey: address) else { return }
        byPool[owner.pool]?[owner.holder] = nil
        if byPool[owner.pool]?.isEmpty == true { byPool[owner.pool] = nil }
    }
}
