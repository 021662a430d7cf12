/// An address that belongs to an identity, also while that one is away: a lease of a pool that is `persistent`.
public struct Reservation: Hashable, Sendable {
    public var identity: Identity
    public var pool: String
    public var address: IPAddress
    /// When the session that had it ended, in milliseconds since 1970, as the delta said; `nil`: a session has it.
    public var offlineSince: Int64?

    /// How long an address of a pool that is not `persistent` is kept for the peer of a session that was given away: whoever carries
    /// the context to another gateway is done by then, or comes too late.
    public static let transferTime: Duration = .seconds(600)

    public init(identity: Identity, pool: String, address: IPAddress, offlineSince: Int64?) {
        self.identity = identity
        self.pool = pool
        self.address = address
        self.offlineSince = offlineSince
    }
}

/// The reservations of a table: at most one of each identity in each pool, and at most one of each address.
///
/// They change with the sessions alone: one comes into being, or changes its address, with a session that has a persistent lease, and
/// is offline from the moment that the session's removal names. What one table does with a delta, every table does.
public struct Reservations: Hashable, Sendable {
    /// Reservations of one pool, which whoever leases keeps to. A /16 is covered whole, and the search for the one that is offline
    /// longest takes a few milliseconds.
    public static let perPoolMax = 1 << 16

    private struct Owner: Hashable {
        var pool: String
        var identity: Identity
    }

    private var byPool: [String: [Identity: Reservation]] = [:]
    private var owners: [IPAddress: Owner] = [:]

    public init() {}

    public var count: Int { owners.count }
    public func count(in pool: String) -> Int { byPool[pool]?.count ?? 0 }
    /// All of them, in no order.
    public var all: [Reservation] { byPool.values.flatMap(\.values) }
    public func all(in pool: String) -> [Reservation] { byPool[pool].map { Array($0.values) } ?? [] }

    public subscript(address: IPAddress) -> Reservation? { owners[address].flatMap { byPool[$0.pool]?[$0.identity] } }
    public func of(_ identity: Identity, in pool: String) -> Reservation? { byPool[pool]?[identity] }

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

    /// A session of this identity has the address now: whatever stood for either of them before is void.
    mutating func cameOnline(_ lease: VirtualAddress, of identity: Identity) {
        put(Reservation(identity: identity, pool: lease.pool, address: lease.address, offlineSince: nil))
    }

    /// The session is over. A reservation that is offline already stays so since then.
    mutating func wentOffline(_ lease: VirtualAddress, of identity: Identity, at wallMilliseconds: Int64) {
        guard byPool[lease.pool]?[identity]?.address == lease.address, byPool[lease.pool]?[identity]?.offlineSince == nil else { return }
        byPool[lease.pool]?[identity]?.offlineSince = wallMilliseconds
    }

    mutating func put(_ reservation: Reservation) {
        if let former = byPool[reservation.pool]?[reservation.identity] { drop(former.address) }
        drop(reservation.address)
        byPool[reservation.pool, default: [:]][reservation.identity] = reservation
        owners[reservation.address] = Owner(pool: reservation.pool, identity: reservation.identity)
    }

    mutating func drop(_ address: IPAddress) {
        guard let owner = owners.removeValue(forKey: address) else { return }
        byPool[owner.pool]?[owner.identity] = nil
        if byPool[owner.pool]?.isEmpty == true { byPool[owner.pool] = nil }
    }
}
