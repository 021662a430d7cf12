/// What `tandem status` shows: who this node is, what it does, and how far the other one could take over.
public struct StatusSummary: Hashable, Sendable {
    /// The program's version.
    public var version: String = ""
    public var node: String = ""
    /// 0 or 1.
    public var nodeID: UInt8 = 0
    /// `starting`, `standby` or `active`.
    public var role: String = ""
    /// When the role began, in milliseconds since 1970, UTC.
    public var roleSinceMilliseconds: Int64 = 0
    public var epoch: UInt64 = 0
    /// When the daemon started, in milliseconds since 1970, UTC.
    public var startedMilliseconds: Int64 = 0
    public var peer: String = ""
    /// `solo`, `syncing` or `paired`.
    public var pairState: String = ""
    public var pairSinceMilliseconds: Int64 = 0
    /// Why the pair is in that state.
    public var pairReason: String = ""
    /// The TLS link to the peer stands.
    public var isLinkUp: Bool = false
    /// What the standby has not acknowledged.
    public var lagDeltas: UInt64 = 0
    public var sessionsOwned: Int = 0
    /// Sessions that are held for the other node.
    public var sessionsHeld: Int = 0
    public var childrenOwned: Int = 0
    public var childrenHeld: Int = 0
    /// IKE SAs that are being set up.
    public var halfOpen: Int = 0
    /// `calm`, or `overloaded:` with the kind of load and how much of it there was; empty when load is not looked at.
    public var overload: String = ""
    /// Since when, in milliseconds since 1970, UTC; 0 before the first sample.
    public var overloadSinceMilliseconds: Int64 = 0
    public var addresses: [AddressSummary] = []
    /// Where the nodes serve at addresses of their own.
    public var roaming: RoamingSummary? = nil
    /// `kernel` or `user`.
    public var dataPlane: String = ""
    /// Why that data plane.
    public var dataPlaneReason: String = ""
    /// `closed`, `inbound-only` or `open`.
    public var gate: String = ""
    public var heartbeatPaths: [HeartbeatPathSummary] = []
    /// This node's, then the other's; empty without a pair.
    public var certificates: [CertificateSummary] = []
    /// Where others are asked before a node owns that hears nobody.
    public var arbitration: ArbitrationSummary? = nil
    /// Sessions are kept on disk.
    public var keepsState: Bool = false
    /// Why they are not, at the moment; empty when they are.
    public var stateError: String = ""
    /// Sessions that are not on the disk as they are now.
    public var stateUnwritten: Int = 0
    /// Sessions that were on the disk when the daemon started, and went on.
    public var stateRestored: Int = 0
    public var lastTakeover: TakeoverSummary? = nil
    /// `nil` from a daemon that does not know of it.
    public var condition: ConditionSummary? = nil
    public var counters: [String: UInt64] = [:]

    public init() {}

    public init(
        version: String, node: String, nodeID: UInt8, role: String, roleSinceMilliseconds: Int64, epoch: UInt64, startedMilliseconds: Int64,
        peer: String, pairState: String, pairSinceMilliseconds: Int64, pairReason: String, isLinkUp: Bool, lagDeltas: UInt64,
        sessionsOwned: Int, sessionsHeld: Int, childrenOwned: Int, childrenHeld: Int, halfOpen: Int,
        addresses: [AddressSummary], dataPlane: String, dataPlaneReason: String, gate: String, heartbeatPaths: [HeartbeatPathSummary],
        lastTakeover: TakeoverSummary? = nil, counters: [String: UInt64]
    ) {
        self.version = version
        self.node = node
        self.nodeID = nodeID
        self.role = role
        self.roleSinceMilliseconds = roleSinceMilliseconds
        self.epoch = epoch
        self.startedMilliseconds = startedMilliseconds
        self.peer = peer
        self.pairState = pairState
        self.pairSinceMilliseconds = pairSinceMilliseconds
        self.pairReason = pairReason
        self.isLinkUp = isLinkUp
        self.lagDeltas = lagDeltas
        self.sessionsOwned = sessionsOwned
        self.sessionsHeld = sessionsHeld
        self.childrenOwned = childrenOwned
        self.childrenHeld = childrenHeld
        self.halfOpen = halfOpen
        self.addresses = addresses
        self.dataPlane = dataPlane
        self.dataPlaneReason = dataPlaneReason
        self.gate = gate
        self.heartbeatPaths = heartbeatPaths
        self.lastTakeover = lastTakeover
        self.counters = counters
    }
}

/// An address that moves with the pair.
public struct AddressSummary: Hashable, Sendable {
    /// With its prefix length.
    public var address: String = ""
    public var interface: String = ""
    /// It is on this node.
    public var isHeld: Bool = false

    public init() {}

    public init(address: String, interface: String, isHeld: Bool) {
        self.address = address
        self.interface = interface
        self.isHeld = isHeld
    }
}

/// Addresses that never move, and the sessions there.
public struct RoamingSummary: Hashable, Sendable {
    /// This node's.
    public var own: [String] = []
    public var peer: [String] = []
    /// Sessions that go to the other node's address when it takes over.
    public var movable: Int = 0
    /// Sessions whose peers may have to begin: they are told, but what comes from another address rarely gets through their NAT.
    public var behindNAT: Int = 0
    /// Sessions whose peers have to begin, or to call anew: they do not speak MOBIKE, or have an SA in transport mode.
    public var unable: Int = 0
    /// Sessions that are owned here and are yet to leave the other node's address.
    public var moving: Int = 0
    /// Sessions that are owned here and whose peers speak to the other node's address until they come by themselves; of those behind a
    /// NAT, the ones that have not answered.
    public var waiting: Int = 0
    /// Other peers that were told and have not answered.
    public var unanswered: Int = 0

    public init() {}
}

/// A path on which the nodes hear each other.
public struct HeartbeatPathSummary: Hashable, Sendable {
    public var local: String = ""
    public var remote: String = ""
    /// `nil` when the peer was never heard on it.
    public var lastHeardMilliseconds: Int64? = nil
    public var isUp: Bool = false
    public var preference: Int = 0
    /// The link runs on it.
    public var carriesLink: Bool = false
    /// `up`, `down` or `unknown`, and since when, in milliseconds since 1970, UTC.
    public var fromPeer: String = ""
    public var fromPeerSinceMilliseconds: Int64 = 0
    /// As the peer says.
    public var toPeer: String = ""
    public var toPeerSinceMilliseconds: Int64 = 0

    public init() {}

    public init(local: String, remote: String, lastHeardMilliseconds: Int64? = nil, isUp: Bool) {
        self.local = local
        self.remote = remote
        self.lastHeardMilliseconds = lastHeardMilliseconds
        self.isUp = isUp
    }
}

/// What is asked outside of the pair, and what was answered last.
public struct ArbitrationSummary: Hashable, Sendable {
    /// A reachability check is configured.
    public var reachability: Bool = false
    /// What the witness said last: `unasked`, `granted`, `released`, `refused: HOLDER` or `unanswered: REASON`; empty without one.
    public var witness: String = ""
    /// When, in milliseconds since 1970, UTC; 0 before it was asked.
    public var witnessAtMilliseconds: Int64 = 0
    /// A fencing program is configured.
    public var fencing: Bool = false
    /// Why this node does not take over, or is not sure to be the only owner; empty when it has no such trouble.
    public var trouble: String = ""

    public init() {}
}

/// A takeover and how long each of its steps took.
public struct TakeoverSummary: Hashable, Sendable {
    /// `alone`, `heartbeat_lost`, `link_closed`, `peer_not_active`, `switchover`: what made the node take over. Of a hand-over that the
    /// active decided on: `unfit:` and its faults, `preferred:` and the node, `drain`, `standby`.
    public var cause: String = ""
    public var epoch: UInt64 = 0
    /// When it began, in milliseconds since 1970, UTC.
    public var atMilliseconds: Int64 = 0
    public var totalMicroseconds: Int64 = 0
    public var steps: [StepSummary] = []

    public init() {}

    public init(cause: String, epoch: UInt64, atMilliseconds: Int64, totalMicroseconds: Int64, steps: [StepSummary]) {
        self.cause = cause
        self.epoch = epoch
        self.atMilliseconds = atMilliseconds
        self.totalMicroseconds = totalMicroseconds
        self.steps = steps
    }
}

public struct StepSummary: Hashable, Sendable {
    public var name: String = ""
    public var microseconds: Int64 = 0

    public init() {}

    public init(name: String, microseconds: Int64) {
        self.name = name
        self.microseconds = microseconds
    }
}

extension StatusSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("version", &version)
        coder.text("node", &node)
        coder.number("node-id", &nodeID)
        coder.text("role", &role)
        coder.number("role-since-ms", &roleSinceMilliseconds)
        coder.number("epoch", &epoch)
        coder.number("started-ms", &startedMilliseconds)
        pairFields(&coder)
        holdingFields(&coder)
        coder.section("last-takeover", &lastTakeover)
        coder.section("condition", &condition)
        coder.counters("counters", &counters)
    }

    private mutating func pairFields(_ coder: inout some FieldCoder) {
        coder.text("peer", &peer)
        coder.text("pair-state", &pairState)
        coder.number("pair-since-ms", &pairSinceMilliseconds)
        coder.text("pair-reason", &pairReason)
        coder.flag("link-up", &isLinkUp)
        coder.number("lag-deltas", &lagDeltas)
        coder.sections("heartbeat-paths", &heartbeatPaths)
        coder.sections("certificates", &certificates)
        coder.section("arbitration", &arbitration)
    }

    private mutating func holdingFields(_ coder: inout some FieldCoder) {
        coder.number("sessions-owned", &sessionsOwned)
        coder.number("sessions-held", &sessionsHeld)
        coder.number("children-owned", &childrenOwned)
        coder.number("children-held", &childrenHeld)
        coder.number("half-open", &halfOpen)
        coder.text("overload", &overload)
        coder.number("overload-since-ms", &overloadSinceMilliseconds)
        coder.sections("addresses", &addresses)
        coder.section("roaming", &roaming)
        coder.text("data-plane", &dataPlane)
        coder.text("data-plane-reason", &dataPlaneReason)
        coder.text("gate", &gate)
        coder.flag("state", &keepsState)
        coder.text("state-error", &stateError)
        coder.number("state-unwritten", &stateUnwritten)
        coder.number("state-restored", &stateRestored)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}

extension AddressSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("address", &address)
        coder.text("interface", &interface)
        coder.flag("held", &isHeld)
    }
}

extension RoamingSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.list("own", &own)
        coder.list("peer", &peer)
        coder.number("movable", &movable)
        coder.number("behind-nat", &behindNAT)
        coder.number("unable", &unable)
        coder.number("moving", &moving)
        coder.number("waiting", &waiting)
        coder.number("unanswered", &unanswered)
    }
}

extension HeartbeatPathSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("local", &local)
        coder.text("remote", &remote)
        coder.span("last-heard", milliseconds: &lastHeardMilliseconds)
        coder.flag("up", &isUp)
        coder.number("preference", &preference)
        coder.flag("carries-link", &carriesLink)
        coder.text("from-peer", &fromPeer)
        coder.number("from-peer-since-ms", &fromPeerSinceMilliseconds)
        coder.text("to-peer", &toPeer)
        coder.number("to-peer-since-ms", &toPeerSinceMilliseconds)
    }
}

extension ArbitrationSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.flag("reachability", &reachability)
        coder.text("witness", &witness)
        coder.number("witness-at-ms", &witnessAtMilliseconds)
        coder.flag("fencing", &fencing)
        coder.text("trouble", &trouble)
    }
}

extension TakeoverSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("cause", &cause)
        coder.number("epoch", &epoch)
        coder.number("at-ms", &atMilliseconds)
        coder.fine("total", microseconds: &totalMicroseconds)
        coder.sections("steps", &steps)
    }
}

extension StepSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("name", &name)
        coder.fine("took", microseconds: &microseconds)
    }
}
