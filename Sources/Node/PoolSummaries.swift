import Control
import IKE
import Session

/// What `swanctl --list-pools` shows: who has an address, and for whom one is kept.
extension Node {
    func poolSummaries(named name: String?, withLeases: Bool, now: Now) -> [PoolSummary] {
        var online: [String: [(IPAddress, Identity)]] = [:]
        for session in table.sessions.values {
            for lease in session.virtualAddresses {
                online[lease.pool, default: []].append((lease.address, session.authorization.remoteIdentity))
            }
        }
        return configuration.ike.pools.filter { name == nil || $0.name == name }.map { pool in
            let present = online[pool.name] ?? []
            let away = table.reservations.all(in: pool.name).filter { reservation in
                guard let since = reservation.offlineSince else { return false }
                return !pool.hasExpired(offlineSince: since, at: now.wallMilliseconds)
            }
            let leases =
                !withLeases
                ? [] : present.map { ($0.0, $0.1, true) } + away.map { ($0.address, $0.holder.identity, false) }
            return PoolSummary(
                name: pool.name, base: "\(pool.first)", size: pool.addressCount, online: UInt64(present.count), offline: UInt64(away.count),
                leases: leases.sorted { $0.0 < $1.0 }.map { LeaseSummary(address: "\($0)", identity: "\($1)", isOnline: $2) })
        }
    }
}
