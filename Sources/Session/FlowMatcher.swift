/// Tells the connections that go through CHILD SAs from all others.
///
/// What a peer sends comes out of its CHILD SA before any translation here, so that the original tuple goes from the peer's side to
/// ours; what is sent to a peer enters its CHILD SA after all translation, so that the reply tuple comes from the peer's side to ours.
/// Protocols and ports of selectors are not looked at: a connection too many costs the other node nothing.
///
/// As with policies, each prefix length in use has a table of its own: a look-up costs one for each length, not one for each session.
public struct FlowMatcher: Sendable {
    /// Prefixes that the selectors of one CHILD SA may need; one that needs more is not followed.
    static let prefixCountMax = 4096

    /// A range of addresses on our side.
    private struct Range: Hashable, Sendable {
        let start: IPAddress
        let end: IPAddress

        func contains(_ address: IPAddress) -> Bool { address.family == start.family && start <= address && address <= end }
    }

    private struct Prefixes: Sendable {
        let length: Int
        /// By the first address of the prefix.
        var networks: GradualDictionary<IPAddress, Sides> = [:]
    }

    /// Our sides of the CHILD SAs that reach a prefix, and how many have the very same: mostly one, for which a dictionary would cost an
    /// allocation.
    private enum Sides: Sendable {
        case one([Range], count: Int)
        case several([[Range]: Int])

        static func add(_ count: Int, of ranges: [Range], to sides: inout Sides?) {
            switch sides {
            case nil: sides = count > 0 ? .one(ranges, count: count) : nil
            case .one(ranges, let known): sides = known + count > 0 ? .one(ranges, count: known + count) : nil
            case .one(let other, let known): if count > 0 { sides = .several([other: known, ranges: count]) }
            case .several(var all):
                sides = nil
                let total = (all[ranges] ?? 0) + count
                all[ranges] = total > 0 ? total : nil
                sides = all.count > 1 ? .several(all) : all.first.map { .one($0.key, count: $0.value) }
            }
        }

        func contains(_ address: IPAddress) -> Bool {
            switch self {
            case .one(let ranges, _): ranges.contains { $0.contains(address) }
            case .several(let all): all.keys.contains { $0.contains { $0.contains(address) } }
            }
        }
    }

    private var ipv4: [Prefixes] = []
    private var ipv6: [Prefixes] = []
    /// Of this host: connections that begin or end at them are the gateway's own, and mean nothing elsewhere.
    public var ownAddresses: Set<IPAddress> = []

    public init() {}

    public var isEmpty: Bool { ipv4.isEmpty && ipv6.isEmpty }

    /// Follows a session from what it was to what it is.
    public mutating func follow(from before: Session?, to after: Session?) {
        let (old, new) = (before?.children ?? [], after?.children ?? [])
        for child in old where !new.contains(where: { $0.hasSelectors(of: child) }) { change(child, by: -1) }
        for child in new where !old.contains(where: { $0.hasSelectors(of: child) }) { change(child, by: 1) }
    }

    private mutating func change(_ child: ChildSA, by count: Int) {
        guard child.mode == .tunnel else { return }
        let ranges = child.localSelectors.map { Range(start: $0.start, end: $0.end) }
        guard !ranges.isEmpty, let prefixes = child.remoteSelectors.prefixes(max: FlowMatcher.prefixCountMax) else { return }
        for prefix in prefixes {
            if prefix.address.isIPv4 {
                FlowMatcher.change(&ipv4, prefix, ranges, by: count)
            } else {
                FlowMatcher.change(&ipv6, prefix, ranges, by: count)
            }
        }
    }

    private static func change(_ tables: inout [Prefixes], _ prefix: IPPrefix, _ ranges: [Range], by count: Int) {
        let index = tables.firstIndex { $0.length == prefix.length } ?? tables.endIndex
        if index == tables.endIndex { tables.append(Prefixes(length: prefix.length)) }
        Sides.add(count, of: ranges, to: &tables[index].networks[prefix.first])
        if tables[index].networks.isEmpty { tables.remove(at: index) }
    }

    /// Whether the connection goes through one of the CHILD SAs.
    public func matches(_ entry: FlowEntry) -> Bool {
        // Whoever began it, or whoever answers, is this host itself.
        guard !isOwn(entry.original.source), !isOwn(entry.reply.source) else { return false }
        return isCarried(from: entry.original.source, to: entry.original.destination)
            || isCarried(from: entry.reply.source, to: entry.reply.destination)
    }

    private func isOwn(_ address: IPAddress) -> Bool { address.isLoopback || ownAddresses.contains(address) }

    private func isCarried(from remote: IPAddress, to local: IPAddress) -> Bool {
        for table in remote.isIPv4 ? ipv4 : ipv6 {
            if table.networks[remote.masked(to: table.length)]?.contains(local) == true { return true }
        }
        return false
    }
}

extension IPAddress {
    fileprivate var isLoopback: Bool { isIPv4 ? low >> 24 == 127 : high == 0 && low == 1 }
}

extension ChildSA {
    fileprivate func hasSelectors(of other: ChildSA) -> Bool {
        inboundSPI == other.inboundSPI && remoteSelectors == other.remoteSelectors && localSelectors == other.localSelectors
    }
}
