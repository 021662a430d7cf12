/// What the node tells a data plane. Every command is safe to repeat.
public enum DataPlaneCommand: Hashable, Sendable {
    /// Put both SAs and the policies of a CHILD SA in place, or bring what stands there up to date.
    case install(ChildInstallation)
    /// Take both SAs away, and the policies unless another CHILD SA with the same selectors sends through them.
    case remove(session: SessionID, child: ChildSA, local: Endpoint, remote: Endpoint)
    /// The outbound numbers that may be used. The next number is raised to `numbers.next` if it is lower, never lowered.
    case lease(inboundSPI: UInt32, numbers: LeasedNumbers)
    /// The replay window's top is raised to `top` if it is lower.
    case advanceInbound(inboundSPI: UInt32, top: UInt64)
    /// The one switch: closed, no SA of the node sends or receives, and nothing that a policy protects passes.
    /// `.inboundOnly` is the active's state while it hands over: it takes what is under way and sends nothing.
    case gate(GateState)
    /// Packets under these policies that no CHILD SA takes are told (`acquired`) and dropped. These are all: what is not among them any
    /// more goes. Behind a closed gate nothing is told.
    case traps([TrapPolicy])
}

public enum GateState: UInt8, Hashable, Sendable { case closed = 0, inboundOnly = 1, open = 2 }

/// A CHILD SA with what a data plane needs beside it.
public struct ChildInstallation: Hashable, Sendable {
    public var session: SessionID
    public var child: ChildSA
    public var local: Endpoint
    public var remote: Endpoint
    /// ESP inside UDP between `local` and `remote`.
    public var encapsulation: Bool
    public var numbers: LeasedNumbers

    public init(
        session: SessionID, child: ChildSA, local: Endpoint, remote: Endpoint, encapsulation: Bool, numbers: LeasedNumbers
    ) {
        self.session = session
        self.child = child
        self.local = local
        self.remote = remote
        self.encapsulation = encapsulation
        self.numbers = numbers
    }
}

/// What a data plane tells the node.
public enum DataPlaneEvent: Hashable, Sendable {
    /// Counters of SAs that moved since the last report.
    case counters([CounterReport])
    /// A valid packet came from another endpoint than the session's (RFC 3948, NAT rebinding).
    case endpointChanged(inboundSPI: UInt32, remote: Endpoint)
    /// A packet needs a CHILD SA that is not there. Told at most once a second for each trap.
    case acquired(ChildName, PacketSelector)
}

/// A child by its names in the configuration.
public struct ChildName: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var connection: String
    public var child: String

    public init(connection: String, child: String) {
        self.connection = connection
        self.child = child
    }

    public static func < (lhs: ChildName, rhs: ChildName) -> Bool { (lhs.connection, lhs.child) < (rhs.connection, rhs.child) }
    public var description: String { "\(connection).\(child)" }
}

/// The endpoints of one packet.
public struct PacketSelector: Hashable, Sendable {
    public var local: TrafficSelector
    public var remote: TrafficSelector

    public init(local: TrafficSelector, remote: TrafficSelector) {
        self.local = local
        self.remote = remote
    }
}

/// Traffic whose first packet makes a CHILD SA.
public struct TrapPolicy: Hashable, Sendable {
    public var name: ChildName
    public var mode: IPsecMode
    /// Between whom the CHILD SA would be.
    public var local: IPAddress
    public var remote: IPAddress
    public var localSelectors: [TrafficSelector]
    public var remoteSelectors: [TrafficSelector]

    public init(
        name: ChildName, mode: IPsecMode, local: IPAddress, remote: IPAddress, localSelectors: [TrafficSelector],
        remoteSelectors: [TrafficSelector]
    ) {
        self.name = name
        self.mode = mode
        self.local = local
        self.remote = remote
        self.localSelectors = localSelectors
        self.remoteSelectors = remoteSelectors
    }
}

public struct CounterReport: Hashable, Sendable {
    public var inboundSPI: UInt32
    /// The highest number accepted from the peer.
    public var inboundTop: UInt64
    /// The number that the next packet to the peer will have.
    public var outboundNext: UInt64
    public var inboundPackets: UInt64
    public var inboundBytes: UInt64
    public var outboundPackets: UInt64
    public var outboundBytes: UInt64

    public init(
        inboundSPI: UInt32, inboundTop: UInt64, outboundNext: UInt64, inboundPackets: UInt64, inboundBytes: UInt64,
        outboundPackets: UInt64, outboundBytes: UInt64
    ) {
        self.inboundSPI = inboundSPI
        self.inboundTop = inboundTop
        self.outboundNext = outboundNext
        self.inboundPackets = inboundPackets
        self.inboundBytes = inboundBytes
        self.outboundPackets = outboundPackets
        self.outboundBytes = outboundBytes
    }
}
