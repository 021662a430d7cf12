import Session

/// A traffic selector, laid out for one comparison per packet.
struct SelectorMatcher {
    private let family: IPAddress.Family
    private let startHigh, startLow, endHigh, endLow: UInt64
    private let startPort, endPort: UInt16
    private let ipProtocol: UInt8

    init(_ selector: TrafficSelector) {
        family = selector.start.family
        startHigh = selector.start.high
        startLow = selector.start.low
        endHigh = selector.end.high
        endLow = selector.end.low
        startPort = selector.startPort
        endPort = selector.endPort
        ipProtocol = selector.ipProtocol
    }

    @inline(__always)
    func matches(_ address: IPAddress, port: UInt16, flow: PacketFlow) -> Bool {
        guard address.family == family, ipProtocol == 0 || ipProtocol == flow.ipProtocol else { return false }
        let notBelow = address.high > startHigh || (address.high == startHigh && address.low >= startLow)
        let notAbove = address.high < endHigh || (address.high == endHigh && address.low <= endLow)
        guard notBelow, notAbove else { return false }
        // RFC 4301 §4.4.1.1: a packet without accessible ports fits only a selector of all ports.
        return flow.hasPorts ? startPort <= port && port <= endPort : startPort == 0 && endPort == 65535
    }
}

/// The selectors of one CHILD SA, both sides.
struct ChildSelectors {
    let local: [SelectorMatcher]
    let remote: [SelectorMatcher]

    init(_ child: ChildSA) {
        local = child.localSelectors.map(SelectorMatcher.init)
        remote = child.remoteSelectors.map(SelectorMatcher.init)
    }

    /// From behind the peer to behind us.
    func matchInbound(_ flow: PacketFlow) -> Bool {
        ChildSelectors.any(of: remote, flow.source, flow.sourcePort, flow)
            && ChildSelectors.any(of: local, flow.destination, flow.destinationPort, flow)
    }

    /// From behind us to behind the peer.
    func matchOutbound(_ flow: PacketFlow) -> Bool {
        ChildSelectors.any(of: remote, flow.destination, flow.destinationPort, flow)
            && ChildSelectors.any(of: local, flow.source, flow.sourcePort, flow)
    }

    @inline(__always)
    private static func any(
        of matchers: [SelectorMatcher], _ address: IPAddress, _ port: UInt16, _ flow: PacketFlow
    ) -> Bool {
        for matcher in matchers where matcher.matches(address, port: port, flow: flow) { return true }
        return false
    }
}
