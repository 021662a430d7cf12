import Session

/// Leases addresses from pools. What is leased is in the session table and nowhere else, so a new owner goes on without a gap;
/// the cursors kept here only say where to look first.
struct PoolCursors: Sendable {
    /// Addresses tried behind the identity's own place before the cursor is used.
    private static let probes: UInt64 = 16
    /// Addresses looked at for one lease: 2^16 look-ups take a few milliseconds, and a pool of a /16 is searched whole. In a
    /// larger one that is all but full the next search goes on where this one ended.
    static let lookupsMax: UInt64 = 1 << 16

    private var cursors: [String: UInt64] = [:]

    /// A free address of `pool`, or `nil` when none is found (see `lookupsMax`).
    ///
    /// - Parameters:
    ///   - requested: what the peer asked for; given if it is free.
    ///   - leaving: addresses of sessions that end in the same breath; they count as free.
    mutating func lease(
        from pool: PoolConfiguration, for identity: Identity, requested: IPAddress?, table: SessionTable, leaving: Set<IPAddress>
    ) -> IPAddress? {
        func isFree(_ address: IPAddress) -> Bool { !table.isLeased(address) || leaving.contains(address) }
        guard pool.first.family == pool.last.family, pool.first <= pool.last else { return nil }
        if let requested, requested >= pool.first, requested <= pool.last, isFree(requested) { return requested }
        // The same peer finds the same address again: its place is a hash of its identity.
        let count = pool.addressCount
        let home = PoolCursors.place(of: identity) % count
        for step in 0..<min(PoolCursors.probes, count) {
            if let address = pool.address((home &+ step) % count), isFree(address) { return address }
        }
        // Among one address more than there are leases, one is free.
        var cursor = (cursors[pool.name] ?? home) % count
        defer { cursors[pool.name] = cursor }
        for _ in 0..<min(count, UInt64(table.leasesAtMost) + 1, PoolCursors.lookupsMax) {
            cursor = cursor + 1 < count ? cursor + 1 : 0
            if let address = pool.address(cursor), isFree(address) { return address }
        }
        return nil
    }

    /// FNV-1a over kind and octets: the same on both nodes and in every run.
    private static func place(of identity: Identity) -> UInt64 {
        ([identity.kind.rawValue] + identity.data).reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}

extension SessionTable {
    /// A session has at most one address of each family.
    fileprivate var leasesAtMost: Int { 2 * count }
}

extension PoolConfiguration {
    /// At least 1; a pool of more than 2^63 IPv6 addresses counts as that many.
    fileprivate var addressCount: UInt64 {
        let (span, borrow) = last.low.subtractingReportingOverflow(first.low)
        let highSpan = last.high &- first.high &- (borrow ? 1 : 0)
        return highSpan > 0 || span >= 1 << 63 ? 1 << 63 : span + 1
    }

    fileprivate func address(_ index: UInt64) -> IPAddress? { first.advanced(by: index) }
}
