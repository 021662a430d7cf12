import Netlink
import Session

/// Which CHILD SA each tunnel policy stands for. Several may claim the same traffic: a rekey in progress, or a peer that came
/// again before its old session was gone. The policy is the newest one's that still sends.
struct KernelPolicies {
    /// Tells our policies from everyone else's, and a tunnel from the block for the same traffic (`XFRMPolicyID.tag`).
    static let tunnelTag: UInt32 = 0x7A6E_0002
    static let blockTag: UInt32 = 0x7A6E_0001

    /// Lower wins: a closed gate before every tunnel, every tunnel before the block under an open one.
    static let closedPriority: UInt32 = 1_000
    static let openPriority: UInt32 = 100_000
    private static let tunnelPriority: UInt32 = 20_000

    struct Claim {
        var inboundSPI: UInt32
        /// The later installed, the higher.
        var order: UInt64
        var isRekeyed: Bool
        var out: XFRMTemplate
        var into: XFRMTemplate
    }

    /// By the selector of the outward direction.
    private var claims: GradualDictionary<XFRMSelector, [Claim]> = [:]

    var count: Int { claims.count }

    /// Enters the claim, or brings one that stands up to date.
    ///
    /// - Returns: what the kernel has to be told.
    mutating func put(_ claim: Claim, for selectors: [XFRMSelector]) -> [XFRM.Request] {
        change(selectors) { list in
            list.removeAll { $0.inboundSPI == claim.inboundSPI }
            list.append(claim)
        }
    }

    mutating func remove(inboundSPI: UInt32, from selectors: [XFRMSelector]) -> [XFRM.Request] {
        change(selectors) { list in list.removeAll { $0.inboundSPI == inboundSPI } }
    }

    private mutating func change(_ selectors: [XFRMSelector], _ body: (inout [Claim]) -> Void) -> [XFRM.Request] {
        selectors.flatMap { selector -> [XFRM.Request] in
            let before = KernelPolicies.holder(claims[selector] ?? [])
            body(&claims[selector, default: []])
            let after = KernelPolicies.holder(claims[selector] ?? [])
            guard let after else {
                claims[selector] = nil
                guard let before else { return [] }
                return KernelPolicies.directions(before.out.mode).map { .deletePolicy(KernelPolicies.id(selector, $0)) }
            }
            if before?.out == after.out, before?.into == after.into { return [] }
            return KernelPolicies.policies(selector, after).map { .setPolicy($0) }
        }
    }

    private static func holder(_ claims: [Claim]) -> Claim? {
        claims.max { ($0.isRekeyed ? 0 : 1, $0.order) < ($1.isRekeyed ? 0 : 1, $1.order) }
    }

    private static func policies(_ selector: XFRMSelector, _ claim: Claim) -> [XFRMPolicy] {
        directions(claim.out.mode).map { direction in
            XFRMPolicy(
                id: id(selector, direction), priority: priority(selector), action: .protect(direction == .out ? claim.out : claim.into))
        }
    }

    /// RFC 4301 §5.2: what came through a tunnel may go on; transport mode is for the host itself.
    private static func directions(_ mode: IPsecMode) -> [XFRMDirection] {
        switch mode {
        case .tunnel: [.out, .in, .forward]
        case .transport: [.out, .in]
        }
    }

    private static func id(_ selector: XFRMSelector, _ direction: XFRMDirection) -> XFRMPolicyID {
        XFRMPolicyID(selector: direction == .out ? selector : selector.reversed, direction: direction, tag: tunnelTag)
    }

    /// The more a policy says the sooner it is asked: a host within a network that has a tunnel of its own.
    private static func priority(_ selector: XFRMSelector) -> UInt32 {
        tunnelPriority - detail(of: selector)
    }

    static func detail(of selector: XFRMSelector) -> UInt32 {
        let ports = (selector.sourcePort == .any ? 0 : 1) + (selector.destinationPort == .any ? 0 : 1)
        return UInt32((selector.source.length + selector.destination.length) * 4 + (selector.ipProtocol == 0 ? 0 : 1) + ports)
    }

    /// The blocks for what must not pass in clear, for a state of the gate: their number is that of what is configured, and one
    /// request each moves them before or behind every tunnel.
    static func blocks(_ protected: [ProtectedTraffic], gate: GateState) throws(XFRMSelectorError) -> [XFRMPolicy] {
        var seen: Set<XFRMPolicyID> = []
        var out: [XFRMPolicy] = []
        for traffic in protected {
            for selector in try XFRMSelector.selectors(source: [traffic.local], destination: [traffic.remote]) {
                for direction in XFRMDirection.allCases {
                    let id = XFRMPolicyID(
                        selector: direction == .out ? selector : selector.reversed, direction: direction, tag: blockTag)
                    guard seen.insert(id).inserted else { continue }
                    out.append(XFRMPolicy(id: id, priority: blockPriority(direction, gate), action: .block))
                }
            }
        }
        return out
    }

    static func blockPriority(_ direction: XFRMDirection, _ gate: GateState) -> UInt32 {
        switch gate {
        case .closed: closedPriority
        case .inboundOnly: direction == .out ? closedPriority : openPriority
        case .open: openPriority
        }
    }
}
