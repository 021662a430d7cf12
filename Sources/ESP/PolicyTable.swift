import Session

/// Finds the CHILD SA that an outbound packet belongs to: the longest prefix of the peer's side first, among equals the newest
/// CHILD SA whose selectors fit.
///
/// Each prefix length in use has a hash table of its own, so that a packet costs one look-up for each length in use (one for a
/// gateway of road warriors), not one for each session.
struct PolicyTable {
    /// Prefixes that the selectors of one CHILD SA may need: a range costs at most 254, and 16 such ranges are more than
    /// anyone configures.
    static let prefixCountMax = 4096

    private var ipv4: [PrefixTable] = []
    private var ipv6: [PrefixTable] = []

    /// The prefixes under which a CHILD SA is found, each once; `nil` when there are none or too many.
    static func prefixes(of child: ChildSA) -> [IPPrefix]? {
        guard !child.localSelectors.isEmpty, !child.remoteSelectors.isEmpty else { return nil }
        return child.remoteSelectors.prefixes(max: prefixCountMax)
    }

    mutating func insert(_ entry: InstalledChild) {
        for prefix in PolicyTable.prefixes(of: entry.child) ?? [] {
            if prefix.address.isIPv4 {
                PolicyTable.table(length: prefix.length, width: 32, in: &ipv4).insert(entry, at: prefix)
            } else {
                PolicyTable.table(length: prefix.length, width: 128, in: &ipv6).insert(entry, at: prefix)
            }
        }
    }

    mutating func remove(_ entry: InstalledChild) {
        for prefix in PolicyTable.prefixes(of: entry.child) ?? [] {
            let tables = prefix.address.isIPv4 ? ipv4 : ipv6
            for table in tables where table.length == prefix.length { table.remove(entry, at: prefix) }
        }
        ipv4.removeAll { $0.entries.isEmpty }
        ipv6.removeAll { $0.entries.isEmpty }
    }

    /// - Returns: `nil` when nothing is for this packet.
    func lookup(_ flow: PacketFlow) -> InstalledChild? {
        let destination = flow.destination
        for table in destination.isIPv4 ? ipv4 : ipv6 {
            guard let entries = table.entries[table.key(destination)] else { continue }
            for entry in entries where entry.selectors.matchOutbound(flow) { return entry }
        }
        return nil
    }

    /// The table of a prefix length, made if need be; `tables` stays ordered, the longest first.
    private static func table(length: Int, width: Int, in tables: inout [PrefixTable]) -> PrefixTable {
        let index = tables.firstIndex { $0.length <= length } ?? tables.endIndex
        if index < tables.endIndex, tables[index].length == length { return tables[index] }
        let table = PrefixTable(length: length, width: width)
        tables.insert(table, at: index)
        return table
    }
}

/// Everything that is reached through prefixes of one length.
private final class PrefixTable {
    struct Key: Hashable {
        let high: UInt64
        let low: UInt64
    }

    let length: Int
    private let highMask: UInt64
    private let lowMask: UInt64
    /// Newest first.
    private(set) var entries: GradualDictionary<Key, [InstalledChild]> = [:]

    init(length: Int, width: Int) {
        self.length = length
        // IPv4 addresses live in the low 32 bits, so that a /n of theirs masks the last 32 - n bits.
        let hostBits = UInt64(width - length)
        lowMask = hostBits >= 64 ? 0 : UInt64.max << hostBits
        highMask = hostBits <= 64 ? .max : (hostBits == 128 ? 0 : UInt64.max << (hostBits - 64))
    }

    @inline(__always)
    func key(_ address: IPAddress) -> Key { Key(high: address.high & highMask, low: address.low & lowMask) }

    func insert(_ entry: InstalledChild, at prefix: IPPrefix) {
        let key = key(prefix.address)
        let index = entries[key]?.firstIndex { entry.isNewer(than: $0) } ?? entries[key]?.endIndex ?? 0
        entries[key, default: []].insert(entry, at: index)
    }

    func remove(_ entry: InstalledChild, at prefix: IPPrefix) {
        let key = key(prefix.address)
        entries[key]?.removeAll { $0 === entry }
        if entries[key]?.isEmpty == true { entries[key] = nil }
    }
}
