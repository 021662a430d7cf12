import Session

/// Traffic whose first packet calls for a CHILD SA, in the data plane in user space.
struct TrapTable {
    private struct Trap {
        let policy: TrapPolicy
        /// When it was last told.
        var told: Instant?
        /// A packet that is yet to be told.
        var waiting: PacketSelector?
    }

    private var traps: [Trap] = []
    private var byRemote: [IPPrefix: [Int]] = [:]
    /// Prefix lengths in use, the longest first.
    private var lengths: (ipv4: [Int], ipv6: [Int]) = ([], [])
    private var waiting: [Int] = []

    /// The same trap is told at most so often: a call takes longer than that.
    static let tellInterval: Duration = .seconds(1)

    init(_ policies: [TrapPolicy] = []) {
        traps = policies.map { Trap(policy: $0) }
        var used: (ipv4: Set<Int>, ipv6: Set<Int>) = ([], [])
        for (index, policy) in policies.enumerated() {
            for prefix in policy.remoteSelectors.prefixes(max: .max) ?? [] {
                byRemote[prefix, default: []].append(index)
                if prefix.address.isIPv4 { used.ipv4.insert(prefix.length) } else { used.ipv6.insert(prefix.length) }
            }
        }
        lengths = (used.ipv4.sorted(by: >), used.ipv6.sorted(by: >))
    }

    /// A packet that no CHILD SA takes.
    mutating func note(_ flow: PacketFlow) {
        guard !traps.isEmpty else { return }
        let packet = PacketSelector(flow)
        for length in flow.destination.isIPv4 ? lengths.ipv4 : lengths.ipv6 {
            guard let prefix = IPPrefix(flow.destination.masked(to: length), length), let found = byRemote[prefix] else { continue }
            for index in found where traps[index].policy.matches(packet) {
                if traps[index].waiting == nil { waiting.append(index) }
                traps[index].waiting = packet
                return
            }
        }
    }

    /// What is to be told now.
    mutating func take(at now: Instant) -> [DataPlaneEvent] {
        guard !waiting.isEmpty else { return [] }
        defer { waiting.removeAll(keepingCapacity: true) }
        return waiting.compactMap { index in
            defer { traps[index].waiting = nil }
            guard let packet = traps[index].waiting, traps[index].told.map({ now >= $0 + TrapTable.tellInterval }) ?? true else {
                return nil
            }
            traps[index].told = now
            return .acquired(traps[index].policy.name, packet)
        }
    }
}

extension TrapPolicy {
    fileprivate func matches(_ packet: PacketSelector) -> Bool {
        localSelectors.contains { $0.contains(packet.local) } && remoteSelectors.contains { $0.contains(packet.remote) }
    }
}

extension PacketSelector {
    fileprivate init(_ flow: PacketFlow) {
        func selector(_ address: IPAddress, _ port: UInt16) -> TrafficSelector {
            let ports = flow.hasPorts ? port...port : 0...UInt16.max
            return TrafficSelector(
                ipProtocol: flow.ipProtocol, startPort: ports.lowerBound, endPort: ports.upperBound, start: address, end: address)
        }
        self.init(local: selector(flow.source, flow.sourcePort), remote: selector(flow.destination, flow.destinationPort))
    }
}
