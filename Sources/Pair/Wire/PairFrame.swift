public import Session

/// The version of the frames. A node refuses a peer of another major version; minor additions are new fields and kinds.
public enum PairProtocol {
    public static let version: UInt32 = 2
    /// A frame's protobuf payload at most: a page of `snapshotPageSessionsMax` sessions whose four kept messages are all of the
    /// largest size (64 KiB) fits.
    public static let frameBytesMax = 32 << 20
    /// Sessions in one page of a snapshot: some 45 KiB of ordinary sessions, a millisecond or two of either node's time.
    public static let snapshotPageSessionsMax = 64
    /// Reservations in one page: some 50 KiB.
    public static let snapshotPageReservationsMax = 512
    /// Counter reports in one frame.
    public static let replayReportsMax = 4096
    /// IKE datagrams that the former owner passes on at once.
    public static let passedOnMax = 256
    /// Connections in one batch: some 25 KiB, and two or three milliseconds of the standby's kernel.
    public static let flowBatchMax = 256
}

/// What the two nodes say to each other on the link, in order.
public enum PairFrame: Hashable, Sendable {
    /// The first frame in both directions; nothing else is said before it.
    case hello(PairHello)
    /// A change of a session, counters that moved, or a step of a handshake. Indexes count up by one from `SnapshotBegin.nextIndex`.
    case entry(index: UInt64, LogEntry)
    /// The standby holds and has installed everything up to here.
    case acknowledge(index: UInt64)
    /// Everything the active knows follows in pages, with entries between them.
    case snapshotBegin(SnapshotBegin)
    /// First the sessions, page by page, then the reservations of those who are away.
    case snapshotPage([Session], reservations: [Reservation] = [])
    case snapshotEnd
    /// The standby has taken in a page, and may be sent another.
    case snapshotPageTaken
    /// The active asks the standby to own everything from `epoch` on. It has stopped sending and changes nothing any more.
    case handover(epoch: Epoch, HandoverTerms = HandoverTerms())
    /// The standby owns everything; its own entries begin at index 1, without a snapshot: both hold the same.
    case handoverAccepted(epoch: Epoch)
    case handoverRefused(epoch: Epoch, reason: String)
    /// Connections through CHILD SAs, beside the numbered entries and behind them. Only to a node whose hello takes them.
    case flows(FlowBatch)
    /// The standby's kernel has a batch, and may be sent another.
    case flowsTaken
    /// The sender wants to be known by this certificate (PEM) from now on. Only to a node whose hello takes them.
    case certificateOffer([UInt8])
    /// It has been written down, and is taken beside the present one; or why not. `digest`: SHA-256 of what was offered.
    case certificateAnswer(digest: [UInt8], refusal: String?)
    /// The owner asks a node that was owner beside it for what it alone knows, before it fills it anew. Only of one whose hello owes that.
    case mergeRequest(epoch: Epoch, wantsAll: Bool)
    case mergePage(MergePage)
    /// The owner has taken in a page, and may be sent another.
    case mergePageTaken
    /// There is no more.
    case mergeEnd
    /// What peers sent to the node that has just handed over: the new owner answers. Only to a node whose hello takes handshakes.
    case passedOn([Datagram])
    /// How the sender is, after its hello and whenever that changes. Only to a node whose hello takes it.
    case condition(NodeCondition)
}

public struct PairHello: Hashable, Sendable {
    public var version: UInt32
    public var node: NodeID
    public var name: String
    /// A random number chosen at start: tells one life of a daemon from the next.
    public var boot: UInt64
    public var role: NodeRole
    public var epoch: Epoch
    /// It gives its kernel the connections of the other node.
    public var takesFlows: Bool
    /// It listens to how the other node is.
    public var takesCondition: Bool
    /// It takes a new certificate of the other node over the link.
    public var takesCertificates: Bool
    /// As owner it takes over what the other one did as owner beside it.
    public var takesMerge: Bool
    /// It was owner, and may know what the present one does not.
    public var owesMerge: Bool
    /// It knows entries about handshakes.
    public var takesHandshakes: Bool
    /// SHA-256 of the certificate by which the other node is to know it, and by no other; empty: it is changing it, or has none.
    public var certificate: [UInt8]

    public init(
        version: UInt32, node: NodeID, name: String, boot: UInt64, role: NodeRole, epoch: Epoch, takesFlows: Bool = false,
        takesCondition: Bool = false, takesCertificates: Bool = false, takesMerge: Bool = false, owesMerge: Bool = false,
        takesHandshakes: Bool = false, certificate: [UInt8] = []
    ) {
        self.version = version
        self.node = node
        self.name = name
        self.boot = boot
        self.role = role
        self.epoch = epoch
        self.takesFlows = takesFlows
        self.takesCertificates = takesCertificates
        self.takesMerge = takesMerge
        self.owesMerge = owesMerge
        self.takesHandshakes = takesHandshakes
        self.takesCondition = takesCondition
        self.certificate = certificate
    }
}

public struct SnapshotBegin: Hashable, Sendable {
    public var epoch: Epoch
    public var sessionCount: UInt64
    /// The index that the next entry will have.
    public var nextIndex: UInt64
    /// What the receiver did as owner is not waited for any more.
    public var overrules: Bool

    public init(epoch: Epoch, sessionCount: UInt64, nextIndex: UInt64, overrules: Bool = false) {
        self.overrules = overrules
        self.epoch = epoch
        self.sessionCount = sessionCount
        self.nextIndex = nextIndex
    }
}

/// One entry of the replication log.
public enum LogEntry: Hashable, Sendable {
    case delta(SessionDelta)
    /// What data planes accepted from peers, many SAs at once.
    case replay([ReplayReport])
    /// What is known beside sessions. Only to a node whose hello takes it.
    case handshake(HandshakeChange)
}

/// The highest number accepted on an inbound SA.
public struct ReplayReport: Hashable, Sendable {
    public var inboundSPI: UInt32
    public var top: UInt64

    public init(inboundSPI: UInt32, top: UInt64) {
        self.inboundSPI = inboundSPI
        self.top = top
    }
}

/// What a node is at this moment.
public enum NodeRole: UInt8, Hashable, Sendable, CaseIterable {
    /// Up, and not yet sure whether somebody else is active.
    case starting = 0
    case standby = 1
    case active = 2

    public var name: String {
        switch self {
        case .starting: "starting"
        case .standby: "standby"
        case .active: "active"
        }
    }
}
