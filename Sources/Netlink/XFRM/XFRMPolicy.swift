public import Session

/// What a policy applies to: prefixes and, for protocols that have them, ports under a mask.
public struct XFRMSelector: Hashable, Sendable {
    public var source: IPPrefix
    public var destination: IPPrefix
    /// 0 means any.
    public var ipProtocol: UInt8
    /// For ICMP the type.
    public var sourcePort: MaskedPort
    /// For ICMP the code.
    public var destinationPort: MaskedPort

    public init(
        source: IPPrefix, destination: IPPrefix, ipProtocol: UInt8 = 0, sourcePort: MaskedPort = .any, destinationPort: MaskedPort = .any
    ) {
        self.source = source.network
        self.destination = destination.network
        self.ipProtocol = ipProtocol
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    /// The same traffic in the other direction.
    public var reversed: XFRMSelector {
        XFRMSelector(
            source: destination, destination: source, ipProtocol: ipProtocol, sourcePort: destinationPort, destinationPort: sourcePort)
    }
}

/// Ports that agree with `value` in the bits of `mask`.
public struct MaskedPort: Hashable, Sendable {
    public var value: UInt16
    public var mask: UInt16

    public static let any = MaskedPort(value: 0, mask: 0)

    public init(value: UInt16, mask: UInt16) {
        self.value = value & mask
        self.mask = mask
    }

    /// The masks that cover a range exactly, in ascending order; at most 30.
    static func covering(_ range: ClosedRange<UInt16>) -> [MaskedPort] {
        var out: [MaskedPort] = []
        var cursor = UInt32(range.lowerBound)
        let end = UInt32(range.upperBound)
        while cursor <= end {
            var size: UInt32 = 1
            while size < 65536, cursor & (size * 2 - 1) == 0, cursor + size * 2 - 1 <= end { size *= 2 }
            out.append(MaskedPort(value: UInt16(cursor), mask: UInt16(truncatingIfNeeded: ~(size - 1))))
            cursor += size
        }
        return out
    }
}

/// Traffic selectors that the kernel's policies cannot say within the limits of this program.
public enum XFRMSelectorError: Error, Hashable, Sendable, CustomStringConvertible {
    /// More than `XFRMSelector.countMax` policies for one direction of a CHILD SA.
    case tooMany
    /// An ICMP type and code range that is neither everything, one type, nor one type and code (RFC 7296 §3.13.1).
    case icmpRange(TrafficSelector)

    public var description: String {
        switch self {
        case .tooMany: "more than \(XFRMSelector.countMax) policies for one CHILD SA"
        case .icmpRange(let selector): "ICMP range \(selector) cannot be a policy"
        }
    }
}

extension XFRMSelector {
    /// Policies of one direction of one CHILD SA. Two awkward ranges make 60 × 60 prefixes; nobody configures that on purpose.
    public static let countMax = 256

    /// Every pair of what lies at the two ends, as the kernel says it.
    public static func selectors(
        source: [TrafficSelector], destination: [TrafficSelector]
    ) throws(XFRMSelectorError) -> [XFRMSelector] {
        var out: [XFRMSelector] = []
        var seen: Set<XFRMSelector> = []
        for from in source {
            for to in destination {
                guard from.start.family == to.start.family else { continue }
                guard from.ipProtocol == to.ipProtocol || from.ipProtocol == 0 || to.ipProtocol == 0 else { continue }
                for selector in try pairs(from, to) where seen.insert(selector).inserted {
                    guard out.count < countMax else { throw .tooMany }
                    out.append(selector)
                }
            }
        }
        return out
    }

    private static func pairs(_ from: TrafficSelector, _ to: TrafficSelector) throws(XFRMSelectorError) -> [XFRMSelector] {
        let ipProtocol = max(from.ipProtocol, to.ipProtocol)
        let ports = try portPairs(from, to, ipProtocol: ipProtocol)
        let sources = from.prefixes
        let destinations = to.prefixes
        guard sources.count * destinations.count * ports.count <= countMax else { throw .tooMany }
        return sources.flatMap { source in
            destinations.flatMap { destination in
                ports.map {
                    XFRMSelector(
                        source: source, destination: destination, ipProtocol: ipProtocol, sourcePort: $0.0, destinationPort: $0.1)
                }
            }
        }
    }

    private static func portPairs(
        _ from: TrafficSelector, _ to: TrafficSelector, ipProtocol: UInt8
    ) throws(XFRMSelectorError) -> [(MaskedPort, MaskedPort)] {
        guard ipProtocol != 0 else { return [(.any, .any)] }
        guard ipProtocol != 1, ipProtocol != 58 else { return [try icmp(from.coversAllPorts ? to : from)] }
        // RFC 7296 §3.13.1: start above end means OPAQUE; the kernel has no word for it, and a packet without ports has ports 0.
        guard from.startPort <= from.endPort, to.startPort <= to.endPort else { return [] }
        let sources = MaskedPort.covering(from.startPort...from.endPort)
        let destinations = MaskedPort.covering(to.startPort...to.endPort)
        return sources.flatMap { source in destinations.map { (source, $0) } }
    }

    /// RFC 7296 §3.13.1: the type is the upper octet of the port, the code the lower one.
    private static func icmp(_ selector: TrafficSelector) throws(XFRMSelectorError) -> (MaskedPort, MaskedPort) {
        if selector.coversAllPorts { return (.any, .any) }
        let (type, code) = (selector.startPort >> 8, selector.startPort & 0xFF)
        guard selector.endPort >> 8 == type else { throw .icmpRange(selector) }
        if code == 0, selector.endPort & 0xFF == 0xFF { return (MaskedPort(value: type, mask: .max), .any) }
        guard selector.startPort == selector.endPort else { throw .icmpRange(selector) }
        return (MaskedPort(value: type, mask: .max), MaskedPort(value: code, mask: .max))
    }
}

extension TrafficSelector {
    fileprivate var coversAllPorts: Bool { startPort == 0 && endPort == 65535 }
}

/// `out` for what this host sends, its own or forwarded; `in` for what it receives itself; `forward` for what it passes on inwards.
public enum XFRMDirection: UInt8, Hashable, Sendable, CaseIterable { case `in` = 0, out = 1, forward = 2 }

/// What names a policy.
///
/// The kernel takes two policies with the same selector for the same one, whatever their priorities, unless a mark or an interface
/// tells them apart. `tag` is the selector's `user`, which the kernel compares when it looks for a policy by name, and which no
/// packet is ever compared with: so a block and a tunnel for the same traffic stand side by side, and our own policies can be told
/// from everyone else's.
public struct XFRMPolicyID: Hashable, Sendable {
    public var selector: XFRMSelector
    public var direction: XFRMDirection
    public var tag: UInt32

    public init(selector: XFRMSelector, direction: XFRMDirection, tag: UInt32 = 0) {
        self.selector = selector
        self.direction = direction
        self.tag = tag
    }
}

/// What a policy does with what it matches.
public enum XFRMAction: Hashable, Sendable {
    case allow
    case block
    /// Through (or from) an ESP SA.
    case protect(XFRMTemplate)
}

/// Which SA a policy sends through, or what a packet must have come through.
public struct XFRMTemplate: Hashable, Sendable {
    public var source: IPAddress
    public var destination: IPAddress
    public var requestID: UInt32
    /// 0 means any with the other properties.
    public var spi: UInt32
    public var mode: IPsecMode

    public init(source: IPAddress, destination: IPAddress, requestID: UInt32, spi: UInt32 = 0, mode: IPsecMode = .tunnel) {
        self.source = source
        self.destination = destination
        self.requestID = requestID
        self.spi = spi
        self.mode = mode
    }
}

public struct XFRMPolicy: Hashable, Sendable {
    public var id: XFRMPolicyID
    /// The lower number wins.
    public var priority: UInt32
    public var action: XFRMAction

    public init(id: XFRMPolicyID, priority: UInt32, action: XFRMAction) {
        self.id = id
        self.priority = priority
        self.action = action
    }
}
