import Control
public import Cryptography
import DequeModule
import IKE
package import Pair
public import Session

/// A gateway of a pair, whole and pure: what happens goes in, what is to be done comes out.
///
/// The map of it: `Node+IKE` answers peers and holds replies until the standby has them; `Node+Roles` listens for the peer's
/// life; `Node+Arbitration` asks others when it hears nothing, `Node+Paths` knows which paths work; `Node+Takeover` becomes owner or
/// stops being it; `Node+Replication` fills the standby; `Node+Handshakes` has it know what is no session yet; `Node+Leases` keeps
/// sequence numbers ahead; `Node+Addresses` moves sessions off addresses that are gone; `Node+Hooks` has programs run; `Node+Flows` lets the
/// standby's kernel know the peers' connections; `Node+Control` answers the operator; `Node+Context` takes contexts out and puts them
/// in; `Node+Merge` puts together what two owners did; `Node+Transfer` does so with other gateways; `Node+Wanted` makes by itself what
/// is to be there; `Node+Rotation` changes the certificate by which the peer knows this node; `Fitness/` finds out whether this node should
/// serve, and hands over when it should not; `Node+State` keeps sessions on disk and goes on with them.
public struct Node: Sendable {
    let configuration: NodeConfiguration
    let boot: UInt64
    let random: RandomSource

    package internal(set) var table = SessionTable()
    var ike: IKEEngine
    package internal(set) var roles: RoleMachine
    package internal(set) var sender: ReplicationSender
    package internal(set) var receiver = ReplicationReceiver()
    var watch: PeerWatch
    var heartbeats: HeartbeatKeys
    var paths: PathStates
    var judgement = Judgement()
    let hooks: HookPlan

    var link = LinkState()
    /// Why the link closed last, until the pair is paired again.
    var lastEndOfLink = ""
    var hold = HoldQueue()
    /// Inbound SPIs of CHILD SAs whose next slice the data plane was not told of, since the standby had not heard of it. No more than there
    /// are CHILD SAs.
    var unheardLeases: Set<UInt32> = []
    /// IKE datagrams that came while a hand-over was under way.
    var parked: Deque<Datagram> = []
    var handover: Handover?
    /// What may still be passed on to the new owner.
    var passingOn = PassingOn()
    var leases = LeaseWork()
    var host = HostAddresses()
    var roads = RoadCounts()
    var recentTraffic = RecentTraffic()
    var rekeys = RekeyWork()
    var repairs = RepairWork()
    var replay = ReplayWork()
    var redirects = RedirectWork()
    var overload = OverloadWork()
    var service: ServiceWork
    var hookWork = HookWork()
    var hookLedger = HookLedger()
    var departures = Departures()
    var flows: FlowWork
    /// Calls that have not come back.
    var hooksOutstanding = 0
    /// When addresses are announced again.
    var announcements: Deque<Instant> = []
    /// The announcement that is due waits for an answer of the other node.
    var hasAskedBeforeAnnouncing = false
    var beat = HeartbeatClock()

    var certificates: CertificateWork
    var contact: Contact?
    /// What this node did since the other one held the same, and when peers were last heard here.
    var divergence = Divergence()
    var heard: GradualDictionary<SessionID, Instant> = [:]
    var merge = MergeWork()
    var attention = Attention()
    /// What the peer's last heartbeat as active said of its standby.
    var activeWasPaired = false
    var takeover = TakeoverRecord()
    var traffic: GradualDictionary<UInt32, CounterReport> = [:]
    var terminations: [Termination] = []
    var calls: [Call] = []
    var wanted: Wanted
    var transfers = TransferWork()
    var lingering = Lingering()
    /// What is kept on disk.
    var state = StateWork()
    var journal = Journal()
    var counters = NodeCounters()
    var dataPlaneKind = ""
    var dataPlaneReason = ""
    var gate = GateState.closed
    var isStarted = false
    let startedWallMilliseconds: Int64
    var clock: SteadyClock

    /// This call is a deadline's, in which work on all sessions may go on by a page. Were it done beside everything that comes, a read of
    /// hundreds of frames would be hundreds of pages, and the peer would go unheard meanwhile.
    var hasTurn = false

    /// What this call wants done so far.
    var effects: [Effect] = []

    /// - Parameters:
    ///   - boot: a random number that names this life of the daemon; not 0.
    ///   - random: for nonces, keys and SPIs.
    public init(configuration: NodeConfiguration, boot: UInt64, random: RandomSource, now: Now) {
        self.configuration = configuration
        self.boot = boot
        self.random = random
        flows = FlowWork(limit: configuration.pair == nil ? nil : configuration.flowLimit)
        hooks = HookPlan(node: configuration.name, configuration.ike)
        startedWallMilliseconds = now.wallMilliseconds
        clock = SteadyClock(now)
        service = ServiceWork(configuration.track, now: now.instant)
        let pair = configuration.pair
        let secret = pair?.secret ?? SecretBytes(random.bytes(32))
        ike = IKEEngine(
            configuration: configuration.ike, node: configuration.id,
            cookieSecret: hkdfSHA256(secret: secret, salt: [], info: Array("tandem cookie v1".utf8), count: 32))
        ike.ownAddresses = configuration.addresses.map(\.prefix.address) + configuration.nodeAddresses.own
        ike.nodeAddresses = configuration.nodeAddresses
        wanted = Wanted(configuration.ike)
        let timing = RoleTiming(heartbeatInterval: pair?.heartbeatInterval ?? .milliseconds(50), deadAfter: pair?.deadAfter ?? 3)
        roles = RoleMachine(node: configuration.id, timing: timing, arbitration: pair?.arbitration ?? .none, now: now.instant)
        paths = PathStates(pair?.paths ?? [], node: configuration.id, deadTime: timing.deadTime, now: now.instant)
        sender = ReplicationSender(now: now.instant)
        watch = PeerWatch(node: configuration.id, boot: boot, pathCount: pair?.paths.count ?? 0, freshFor: timing.deadTime)
        certificates = CertificateWork(pair?.certificates)
        heartbeats = certificates.heartbeatKeys(secret: secret)
        ownAddressesChanged()
    }

    /// Takes in one thing that happened.
    ///
    /// - Returns: what is to be done, in this order.
    public mutating func handle(_ input: Input, now: Now) -> [Effect] {
        let now = clock.read(now, isOwner: isOwner, isBound: table.count > 0)
        attention.run(at: now.instant, tolerance: roles.timing.deadTime)
        switch input {
        case .started(let kind, let reason): started(dataPlane: kind, reason: reason, now: now)
        case .datagram(let datagram): received(datagram, now: now)
        case .heartbeat(let path, let bytes): heartbeatReceived(bytes, path: path, now: now)
        case .linkOpened(let path): linkOpened(path: path, now: now)
        case .linkClosed(let reason): linkClosed(reason: reason, now: now)
        case .frame(let frame): frameReceived(frame, now: now)
        case .transferMessage(let gateway, let message): transferMessageReceived(message, from: gateway, now: now)
        case .transferLinkClosed(let gateway, let reason): transferLinkClosed(gateway, reason: reason, now: now)
        case .certificate(let event): certificateHappened(event, now: now)
        case .dataPlane(let event): dataPlaneReported(event, now: now)
        case .dataPlaneFailed(let text): dataPlaneFailed(text, now: now)
        case .health(let report): healthReported(report, now: now)
        case .load(let sample): loadSampled(sample, now: now)
        case .revocationLists(let lists): revocationListsRead(lists)
        case .localAddressesChanged(let addresses): localAddressesChanged(addresses, now: now)
        case .request(let token, let request): requested(request, token: token, now: now)
        case .hookEnded(let call, let outcome): hookEnded(call, outcome, now: now)
        case .milestonePassed(let step, let instant): milestonePassed(step, at: instant, now: now)
        case .flows(let generation, let report): flowsReported(report, generation: generation, now: now)
        case .flowsInjected(let result): flowsInjected(result)
        case .arbitration(let number, let answer): arbiterAnswered(number, answer, now: now)
        case .state(let event): stateReported(event, now: now)
        case .deadline: hasTurn = true
        }
        if isStarted { runDeadlines(now: now) }
        hasTurn = false
        defer { effects = [] }
        return effects
    }

    /// When `handle(.deadline)` is due; `nil`: nothing is waited for.
    public func nextDeadline() -> Instant? {
        guard isStarted else { return nil }
        let candidates: [Instant?] = [
            nextRepair,
            beat.next, configuration.pair == nil || state.isRestoring ? nil : roles.nextDeadline(), hold.nextDeadline, announcements.first,
            state.nextDeadline,
            // An offered hand-over ends by the roles' deadline, and all else waits for that.
            isHandoverOffered ? nil : leases.nextDeadline, isHandoverOffered ? nil : handover?.deadline, hookWork.nextDeadline,
            departures.nextDeadline, lingering.nextDeadline,
            terminations.map(\.deadline).min(), calls.map(\.deadline).min(), isOwner && !isDraining ? ike.nextDeadline() : nil,
            isOwner ? nil : ike.handshakeDeadline, mayInitiate ? wanted.nextDeadline : nil, isOwner ? transfers.nextDeadline : nil,
            isOwner && !isDraining ? host.nextDeadline : nil, isOwner && !isDraining ? rekeys.nextDeadline : nil,
            nextFlowDeadline, nextMergeDeadline, nextServiceDeadline, certificates.deadline, certificates.nextLook,
            isDraining ? nil : redirects.nextDeadline, isOwner && !isDraining ? overload.nextDeadline : nil,
        ]
        return candidates.compactMap { $0 }.min()
    }

    private mutating func started(dataPlane kind: String, reason: String, now: Now) {
        guard !isStarted else { return }
        isStarted = true
        dataPlaneKind = kind
        dataPlaneReason = reason
        log(.notice, "data plane chosen", [.init("kind", kind), .init("reason", reason)])
        setGate(.closed)
        effects.append(.releaseAddresses)
        let traps = trapPolicies
        if !traps.isEmpty { effects.append(.dataPlane([.traps(traps)])) }
        if configuration.pair == nil {
            sender.goSolo(.noPair, at: now.instant)
            // With sessions of a former life when all of them stand ready.
            if !state.isRestoring { perform(roles.ownAlone(at: now.instant), now: now) }
        } else {
            sender.goSolo(.noLink, at: now.instant)
            beat.next = now.instant
            tellRole(now: now)
        }
        lookAtCertificates(now: now)
    }

    private mutating func runDeadlines(now: Now) {
        beatIfDue(now: now)
        workOnRestoring(now: now)
        if configuration.pair != nil, !state.isRestoring { perform(roles.deadline(at: now.instant), now: now) }
        releaseOverdue(now: now)
        announceIfDue(now: now)
        workOnLeases(now: now)
        workOnRepairs(now: now)
        workOnHooks(now: now)
        forgetDepartures(now: now)
        workOnFlows(now: now)
        workOnMerge(now: now)
        handoverDeadline(now: now)
        workOnService(now: now)
        relocateSessions(now: now)
        workOnRekeys(now: now)
        workOnOverload(now: now)
        workOnRedirects(now: now)
        advanceIKE(now: now)
        forgetHandshakes(now: now)
        workOnTransfers(now: now)
        workOnLingering(now: now)
        pursueWanted(now: now)
        finishTerminations(now: now)
        finishCalls(now: now)
        workOnCertificates(now: now)
        workOnState(now: now)
    }

    // MARK: - Small things that every part uses

    package var isOwner: Bool { roles.role == .active }
    var plan: DataPlanePlan {
        DataPlanePlan(
            node: configuration.id, isOwner: isOwner, addresses: configuration.nodeAddresses, isStrict: isStrict,
            spentSlices: state.spentSlices)
    }

    mutating func setGate(_ state: GateState) {
        gate = state
        effects.append(.dataPlane([.gate(state)]))
    }

    mutating func log(_ level: LogLine.Level, _ message: String, _ fields: [LogLine.Field] = []) {
        effects.append(.log(LogLine(level, message, fields)))
    }
}
