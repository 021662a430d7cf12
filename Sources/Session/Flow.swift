/// One direction of a connection as the kernel's conntrack names it.
public struct FlowTuple: Hashable, Sendable {
    public var source: IPAddress
    public var destination: IPAddress
    /// The number of the protocol above IP.
    public var ipProtocol: UInt8
    /// The source port; the identifier of an ICMP or ICMPv6 exchange.
    public var sourcePort: UInt16
    /// The destination port; of ICMP and ICMPv6 the type (upper octet) and the code.
    public var destinationPort: UInt16

    public init(source: IPAddress, destination: IPAddress, ipProtocol: UInt8, sourcePort: UInt16, destinationPort: UInt16) {
        self.source = source
        self.destination = destination
        self.ipProtocol = ipProtocol
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    public var isICMP: Bool { ipProtocol == FlowProtocol.icmp || ipProtocol == FlowProtocol.icmpv6 }
}

/// The protocols of which the state can be taken elsewhere. SCTP, DCCP and GRE would need more than is kept here.
public enum FlowProtocol {
    public static let icmp: UInt8 = 1
    public static let tcp: UInt8 = 6
    public static let udp: UInt8 = 17
    public static let icmpv6: UInt8 = 58
    public static let udpLite: UInt8 = 136

    public static let all: Set<UInt8> = [icmp, tcp, udp, icmpv6, udpLite]
}

/// Names a connection: the direction of its first packet, before any translation, and the conntrack zone.
public struct FlowKey: Hashable, Sendable {
    public var original: FlowTuple
    public var zone: UInt16

    public init(original: FlowTuple, zone: UInt16 = 0) {
        self.original = original
        self.zone = zone
    }
}

/// The bits of conntrack's status that are the connection's own; the rest is the kernel's bookkeeping on one host.
public struct FlowStatus: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Packets went in both directions (IPS_SEEN_REPLY).
    public static let seenReply = FlowStatus(rawValue: 1 << 1)
    /// Not to be dropped early when the table is full (IPS_ASSURED).
    public static let assured = FlowStatus(rawValue: 1 << 2)
    /// Its source is translated (IPS_SRC_NAT): `reply.destination` says into what.
    public static let sourceNAT = FlowStatus(rawValue: 1 << 4)
    /// Its destination is translated (IPS_DST_NAT): `reply.source` says into what.
    public static let destinationNAT = FlowStatus(rawValue: 1 << 5)

    public static let known: FlowStatus = [.seenReply, .assured, .sourceNAT, .destinationNAT]
}

/// What conntrack knows of a TCP connection.
public struct FlowTCP: Hashable, Sendable {
    /// The kernel's number (`enum tcp_conntrack`): 1 SYN_SENT to 9 SYN_SENT2.
    public var state: UInt8
    /// IP_CT_TCP_FLAG_* of each direction.
    public var originalFlags: UInt8
    public var replyFlags: UInt8
    /// Shifts of the window (RFC 7323 §2.2).
    public var originalScale: UInt8
    public var replyScale: UInt8

    /// States are below this (TCP_CONNTRACK_MAX).
    public static let stateEnd: UInt8 = 10
    /// RFC 7323 §2.3.
    public static let scaleMax: UInt8 = 14

    public init(state: UInt8, originalFlags: UInt8 = 0, replyFlags: UInt8 = 0, originalScale: UInt8 = 0, replyScale: UInt8 = 0) {
        self.state = state
        self.originalFlags = originalFlags
        self.replyFlags = replyFlags
        self.originalScale = originalScale
        self.replyScale = replyScale
    }
}

/// A connection of a peer through the gateway, as its firewall and its NAT know it: what the other node's kernel needs so that the
/// connection goes on there. Nothing but numbers, so that a quarter of a million of them are let go of at once.
public struct FlowEntry: Hashable, Sendable {
    public var original: FlowTuple
    /// What an answer looks like when it comes in: the reverse of `original`, or of what translation made of it.
    public var reply: FlowTuple
    public var zone: UInt16
    public var status: FlowStatus
    /// How long it stays without a packet, in seconds.
    public var timeout: UInt32
    public var mark: UInt32
    /// `nil` for other protocols, and in a report of a change that did not concern it.
    public var tcp: FlowTCP?

    public init(
        original: FlowTuple, reply: FlowTuple, zone: UInt16 = 0, status: FlowStatus = [], timeout: UInt32 = 0, mark: UInt32 = 0,
        tcp: FlowTCP? = nil
    ) {
        self.original = original
        self.reply = reply
        self.zone = zone
        self.status = status
        self.timeout = timeout
        self.mark = mark
        self.tcp = tcp
    }

    public var key: FlowKey { FlowKey(original: original, zone: zone) }

    /// The same connection later, with what the later report left out.
    public func followed(by later: FlowEntry) -> FlowEntry {
        var entry = later
        if entry.tcp == nil, reply == later.reply { entry.tcp = tcp }
        return entry
    }
}

/// What happened to a connection.
public enum FlowChange: Hashable, Sendable {
    /// It is there, and this is how it stands.
    case put(FlowEntry)
    case remove(FlowKey)

    public var key: FlowKey {
        switch self {
        case .put(let entry): entry.key
        case .remove(let key): key
        }
    }
}

/// What whoever watches the kernel's table says, in order.
public enum FlowReport: Hashable, Sendable {
    case changes([FlowChange])
    /// The whole table follows, beginning from nothing: at first, and whenever changes were missed.
    case tableBegins
    case table([FlowEntry])
    case tableEnds
}

/// What is to be done to the kernel's table. Every command is safe to repeat.
public enum FlowCommand: Hashable, Sendable {
    /// Make it as it stands here, in place of whatever has its name.
    case create(FlowEntry)
    /// Bring it up to date; make it if it is not there.
    case update(FlowEntry)
    case remove(FlowKey)
}
