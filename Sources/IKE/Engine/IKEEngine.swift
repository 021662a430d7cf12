public import Cryptography
public import Session

/// The IKEv2 machine of one gateway: responder of every exchange, requester of INFORMATIONAL, and initiator of IKE SAs when an
/// operator wants one (RFC 7296).
///
/// Deterministic and without I/O: bytes, time and randomness are arguments; results are values. What is known of established
/// sessions is in the caller's `SessionTable`. The engine itself holds half-open IKE SAs, of which the standby is told (`Handshakes.swift`),
/// and calls, timers and hints, which a new owner can do without.
public struct IKEEngine: Sendable {
    var configuration: IKEConfiguration
    let node: NodeID
    let cookies: CookieJar
    /// What was counted since the engine was made.
    public internal(set) var counters = IKECounters()

    var halfOpen = HalfOpenTable()
    /// IKE SAs that we began, until they are established; by our SPI.
    var initiations = InitiationTable()
    var fragments = FragmentTable()
    var farewells = Farewells()
    /// Of the active, on a standby.
    var recentAnswers = RecentAnswers()
    var refusals = RefusalBudget()
    var pools = PoolCursors()
    var redirects = RedirectLedger()
    /// Those that we redirected before they had a session.
    var redirected = RedirectBook()
    /// Peers without a session are sent there, if they announced that they follow; `nil`: they are let in. For who knows the node's load,
    /// or an operator; local to one node.
    public var redirectNew: NewPeerRedirect?
    /// Addresses of ours from which peers may be called where the connection names none.
    public var ownAddresses: [IPAddress] = []
    /// Addresses of either node that never move: what would leave from the other node's leaves from ours.
    public var nodeAddresses = NodeAddresses.none
    var aloneness = Aloneness()
    var synchronization = SyncWork()
    var deadlines = DeadlineQueue()
    /// When each session whose liveness is watched was last heard of.
    var lastHeard: GradualDictionary<SessionID, Instant> = [:]
    /// What we want to ask a peer as soon as it has answered the requests before.
    var waiting: [SessionID: [Wish]] = [:]
    /// When each session is next looked at because an SA of it may be due to be replaced or to end.
    var appointments: GradualDictionary<SessionID, Instant> = [:]
    /// What went through CHILD SAs since it was last recorded.
    var unrecorded: GradualDictionary<UInt32, Volume> = [:]
    /// When something last went out to each peer whose NAT mapping of us is kept alive.
    var lastSent: GradualDictionary<SessionID, Instant> = [:]
    /// Where each gateway saw us, as a hash, when we are behind a NAT (RFC 4555 §3.8); the hash holds the SPIs of one IKE SA.
    var mappings: GradualDictionary<SessionID, (localSPI: UInt64, hash: [UInt8])> = [:]
    /// How often a change of addresses was refused because of a NAT (RFC 4555 §3.9).
    var addressTries: [SessionID: Int] = [:]
    /// The newest request that said something of addresses.
    var addressRequests: [SessionID: (localSPI: UInt64, messageID: UInt32)] = [:]
    /// When what a session asks was asked anew: where it was before it moved, or when its peer could hear us again.
    var startedOver: [SessionID: Instant] = [:]
    /// Sessions found when this node became owner, whose liveness timers are not yet set.
    var unswept: [SessionID]?
    private var uniqueIDs: UniqueIDs?

    /// - Parameter cookieSecret: the same on both nodes of a pair, so that each takes the other's cookies.
    /// Where the numbers of a CHILD SA begin. An exchange that the other node began may have been finished there as well, with the same keys:
    /// the first slice of all is that node's (law 3).
    ///
    /// - Parameter bit: the node's of the SPI under which the exchange began.
    func firstLease(begunBy bit: UInt64) -> Lease { bit == UInt64(node.rawValue) ? .initial : Lease.initial.next(for: node) }

    public init(configuration: IKEConfiguration, node: NodeID, cookieSecret: SecretBytes) {
        self.configuration = configuration
        self.node = node
        cookies = CookieJar(secret: cookieSecret)
    }

    /// IKE SAs between IKE_SA_INIT and IKE_AUTH.
    public var halfOpenCount: Int { halfOpen.count }

    /// Takes a new configuration; established sessions keep what was negotiated.
    public mutating func reconfigure(_ configuration: IKEConfiguration) { self.configuration = configuration }

    /// Does ahead of time what has to look at every session once; without it, the first new session does. To be called after a
    /// snapshot was taken over, never needed a second time.
    public mutating func prepare(table: SessionTable) { uniqueIDs = UniqueIDs(node: node, table: table) }

    mutating func withUniqueIDs<R>(table: SessionTable, _ body: (inout UniqueIDs) -> R) -> R {
        var ids = uniqueIDs ?? UniqueIDs(node: node, table: table)
        defer { uniqueIDs = ids }
        return body(&ids)
    }

    // MARK: SPIs (law 3: the top bit is the node's)

    func newIKESPI(table: SessionTable, context: IKEContext) -> UInt64 {
        let top = UInt64(node.rawValue) << 63
        func withNodeBit(_ value: UInt64) -> UInt64 { value & ~(1 << 63) | top }
        var spi = withNodeBit(context.random.uint64())
        while spi == 0 || table.isInUse(localSPI: spi) || halfOpen[spi] != nil || initiations[spi] != nil || farewells.knows(spi)
            || table[SessionID(rawValue: spi)] != nil
        {
            spi = withNodeBit(spi &+ 1)
        }
        return spi
    }

    /// RFC 4303 §2.1: 0 to 255 are reserved.
    func newESPSPI(table: SessionTable, context: IKEContext) -> UInt32 {
        let top = UInt32(node.rawValue) << 31
        func withNodeBit(_ value: UInt32) -> UInt32 { value & ~(1 << 31) | top }
        var spi = withNodeBit(context.random.uint32())
        while spi <= 255 || table.isInUse(inboundSPI: spi) || initiations.isInUse(childSPI: spi) { spi = withNodeBit(spi &+ 1) }
        return spi
    }

    // MARK: Counting

    mutating func drop(_ reason: IKEDropReason, _ datagram: Datagram, session: SessionID? = nil) -> IKEOutcome {
        counters.dropped[reason, default: 0] += 1
        return IKEOutcome(events: [.dropped(reason: reason, remote: datagram.remote)], session: session)
    }

    /// A datagram back to where one came from.
    mutating func reply(_ bytes: [UInt8], to datagram: Datagram) -> Datagram {
        counters.datagramsSent += 1
        return Datagram(local: datagram.local, remote: datagram.remote, bytes: bytes)
    }

    mutating func reply(_ messages: [[UInt8]], to datagram: Datagram) -> [Datagram] { messages.map { reply($0, to: datagram) } }
}
