import IKE
import Session

/// A program that is to be run because a CHILD SA came or went: the child's `updown`.
public struct HookCall: Hashable, Sendable {
    public enum Verb: String, Hashable, Sendable { case up, down }

    public enum Cause: String, Hashable, Sendable {
        case established
        case deleted
        /// This node owns the session now.
        case takeover
        /// This node does not own it any more.
        case stepDown = "step-down"
    }

    /// A variable of the program's environment. Never a secret.
    public struct Variable: Hashable, Sendable {
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    public var program: String
    public var verb: Verb
    /// What the call is about. Calls about the same are made one after the other, in their order.
    public var subject: String
    public var variables: [Variable]

    /// Pairs of traffic selectors for which the program is run, of one CHILD SA: more than anybody configures, and no burst.
    static let perChildMax = 32

    public init(program: String, verb: Verb, subject: String, variables: [Variable]) {
        self.program = program
        self.verb = verb
        self.subject = subject
        self.variables = variables
    }
}

/// What became of a call.
public enum HookOutcome: Hashable, Sendable {
    case exited(status: Int32)
    case killed(signal: Int32)
    case timedOut
    /// It could not be started.
    case notRun(reason: String)
    /// Too many waited: what it would have done was undone by another one that waited too. Neither was run.
    case cancelledOut
    /// It has ended, and somebody else was told how.
    case statusLost

    /// Why it did not do what it was to do; `nil`: it did.
    public var failure: String? {
        switch self {
        case .exited(let status): status == 0 ? nil : "exit status \(status)"
        case .killed(let signal): "signal \(signal)"
        case .timedOut: "timed out and was killed"
        case .notRun(let reason): reason
        case .cancelledOut: nil
        case .statusLost: "ended, and how is not known"
        }
    }
}

/// For what an `up` was asked for and no `down` yet, so that a takeover that is undone before it has told of all sessions takes back
/// what it told, and nothing else. As large as what stands.
struct HookLedger {
    private struct Key: Hashable {
        var program: String
        var subject: String

        init(_ call: HookCall) {
            program = call.program
            subject = call.subject
        }
    }

    private var standing: [Key: Int] = [:]

    /// Whether the call has a meaning: a `down` has one after an `up`.
    mutating func admits(_ call: HookCall) -> Bool {
        let count = standing[Key(call)] ?? 0
        switch call.verb {
        case .up: standing[Key(call)] = count + 1
        case .down where count == 0: return false
        case .down: standing[Key(call)] = count > 1 ? count - 1 : nil
        }
        return true
    }

    /// What could not be run needs no `down`.
    mutating func wasNotRun(_ call: HookCall) {
        guard call.verb == .up, let count = standing[Key(call)] else { return }
        standing[Key(call)] = count > 1 ? count - 1 : nil
    }
}

/// Which programs are configured, and what they are told.
struct HookPlan: Sendable {
    let node: String
    /// By connection and child.
    private let programs: [String: [String: String]]

    init(node: String, _ configuration: IKEConfiguration) {
        self.node = node
        var programs: [String: [String: String]] = [:]
        for connection in configuration.connections {
            for child in connection.children { programs[connection.name, default: [:]][child.name] = child.hook }
        }
        self.programs = programs.filter { !$0.value.isEmpty }
    }

    var isEmpty: Bool { programs.isEmpty }

    /// A rekey changes SPIs and keys, and nothing that a program is told.
    private struct Traffic: Hashable {
        var name: String
        var local: [TrafficSelector]
        var remote: [TrafficSelector]

        init(_ child: ChildSA) {
            name = child.name
            local = child.localSelectors
            remote = child.remoteSelectors
        }
    }

    /// What a change of a session that this node owns asks for: first what went, then what came.
    func calls(for applied: AppliedDelta) -> [HookCall] {
        let (before, after) = (standing(applied.before), standing(applied.after))
        let (known, left) = (Set(before.map(Traffic.init)), Set(after.map(Traffic.init)))
        var out: [HookCall] = []
        if let session = applied.before {
            for child in before where !left.contains(Traffic(child)) { out += calls(.down, .deleted, child, of: session) }
        }
        if let session = applied.after {
            for child in after where !known.contains(Traffic(child)) { out += calls(.up, .established, child, of: session) }
        }
        return out
    }

    /// All of a session.
    func calls(_ verb: HookCall.Verb, _ cause: HookCall.Cause, for session: Session) -> [HookCall] {
        standing(session).flatMap { calls(verb, cause, $0, of: session) }
    }

    /// The CHILD SAs that have a program, each once while it is rekeyed.
    private func standing(_ session: Session?) -> [ChildSA] {
        guard let session, let programs = programs[session.authorization.connection] else { return [] }
        var seen: Set<Traffic> = []
        return session.children.filter { programs[$0.name] != nil && seen.insert(Traffic($0)).inserted }
    }

    private func calls(_ verb: HookCall.Verb, _ cause: HookCall.Cause, _ child: ChildSA, of session: Session) -> [HookCall] {
        guard let program = programs[session.authorization.connection]?[child.name] else { return [] }
        let pairs = child.localSelectors.flatMap { local in
            child.remoteSelectors.filter { $0.start.family == local.start.family }.map { (local, $0) }
        }
        return pairs.prefix(HookCall.perChildMax).map { local, remote in
            HookCall(
                program: program, verb: verb, subject: "\(local) \(remote)",
                variables: variables(verb, cause, child, of: session, local: local, remote: remote))
        }
    }

    /// The names of strongSwan's updown script, and Tandem's own.
    private func variables(
        _ verb: HookCall.Verb, _ cause: HookCall.Cause, _ child: ChildSA, of session: Session, local: TrafficSelector,
        remote: TrafficSelector
    ) -> [HookCall.Variable] {
        let isHost = local.start == session.local.address && local.end == local.start
        let family = local.start.isIPv4 ? "" : "-v6"
        var out: [HookCall.Variable] = [
            .init("PLUTO_VERSION", "1.1"), .init("PLUTO_VERB", "\(verb.rawValue)-\(isHost ? "host" : "client")\(family)"),
            .init("PLUTO_CONNECTION", child.name), .init("PLUTO_REQID", "\(child.uniqueID)"), .init("PLUTO_PROTO", "esp"),
            .init("PLUTO_UNIQUEID", "\(session.uniqueID)"), .init("PLUTO_ME", "\(session.local.address)"),
            .init("PLUTO_MY_ID", "\(session.authorization.localIdentity)"), .init("PLUTO_MY_CLIENT", "\(local.coveringPrefix)"),
            .init("PLUTO_MY_PORT", "\(local.startPort)"), .init("PLUTO_MY_PROTOCOL", "\(local.ipProtocol)"),
            .init("PLUTO_PEER", "\(session.remote.address)"), .init("PLUTO_PEER_ID", "\(session.authorization.remoteIdentity)"),
            .init("PLUTO_PEER_CLIENT", "\(remote.coveringPrefix)"), .init("PLUTO_PEER_PORT", "\(remote.startPort)"),
            .init("PLUTO_PEER_PROTOCOL", "\(remote.ipProtocol)"),
        ]
        if session.encapsulation { out.append(.init("PLUTO_UDP_ENC", "\(session.remote.port)")) }
        if let first = session.virtualAddresses.first { out.append(.init("PLUTO_PEER_SOURCEIP", "\(first.address)")) }
        for family in [IPAddress.Family.ipv4, .ipv6] {
            for (index, lease) in session.virtualAddresses.filter({ $0.address.family == family }).enumerated() {
                out.append(.init("PLUTO_PEER_SOURCEIP\(family.rawValue)_\(index + 1)", "\(lease.address)"))
            }
        }
        return out + [
            .init("TANDEM_NODE", node), .init("TANDEM_CAUSE", cause.rawValue),
            .init("TANDEM_CONNECTION", session.authorization.connection),
        ]
    }
}

extension TrafficSelector {
    /// The smallest prefix with the whole range in it.
    fileprivate var coveringPrefix: IPPrefix {
        var length = start.bitWidth
        while length > 0, start.masked(to: length) != end.masked(to: length) { length -= 1 }
        return IPPrefix(start.masked(to: length), length) ?? IPPrefix(host: start)
    }
}
