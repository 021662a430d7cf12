import Pair
import Session

/// Whether this node could serve well: what is not right, and since when. Made of what the runtime reports; holds no clock.
struct Fitness {
    /// A fault that stands.
    struct Fault: Hashable {
        var fault: NamedFault
        var since: Instant
    }

    /// What changed with a report, for the log and the journal.
    enum Change: Hashable {
        case began(NamedFault)
        case ended(name: String)
    }

    /// In order of their names, so that both nodes and every list show the same.
    private(set) var faults: [Fault] = []
    /// Since when the node has been fit, or unfit.
    private(set) var since: Instant

    private var interfaces: [InterfaceHealth] = []
    private let scriptNames: [String]
    private var scripts: [String: ScriptTrack]
    private var memory: LevelTrack?
    private var descriptors: LevelTrack?
    private var dataPlane: FailureRate?
    private var clock: ClockTrack?

    init(_ configuration: TrackConfiguration, now: Instant) {
        since = now
        scriptNames = configuration.scripts.map(\.name)
        scripts = Dictionary(
            configuration.scripts.map { ($0.name, ScriptTrack(rise: $0.rise, fall: $0.fall)) }, uniquingKeysWith: { first, _ in first })
        memory = configuration.memoryPercent.map(LevelTrack.init)
        descriptors = configuration.descriptorsPercent.map(LevelTrack.init)
        dataPlane = configuration.dataPlaneFailures.map(FailureRate.init)
        clock = configuration.clockJump.map(ClockTrack.init)
    }

    var isFit: Bool { faults.isEmpty }
    var named: [NamedFault] { faults.map(\.fault) }

    /// When a fault ends by itself.
    var nextDeadline: Instant? { dataPlane?.recovers }

    /// Takes what the runtime found.
    mutating func note(_ report: HealthReport, at now: Instant) -> [Change] {
        switch report {
        case .interfaces(let list): interfaces = list
        case .script(let name, let failure): scripts[name]?.note(failure: failure)
        case .resources(let memoryPercent, let descriptorsPercent):
            memory?.note(memoryPercent)
            descriptors?.note(descriptorsPercent)
        case .clockJumped(let milliseconds): clock?.jump(byMilliseconds: milliseconds)
        }
        return settle(at: now)
    }

    mutating func noteDataPlaneFailure(at now: Instant) -> [Change] {
        dataPlane?.note(at: now)
        return settle(at: now)
    }

    mutating func compareClocks(own: Int64, peer: Int64, at now: Instant) -> [Change] {
        clock?.compare(own: own, peer: peer)
        return settle(at: now)
    }

    mutating func deadline(at now: Instant) -> [Change] {
        guard let due = nextDeadline, now >= due else { return [] }
        dataPlane?.deadline(at: now)
        return settle(at: now)
    }

    private var present: [NamedFault] {
        var all: [NamedFault] = []
        if let reason = clock?.fault { all.append(NamedFault(name: "clock", reason: reason)) }
        if let device = interfaces.first(where: { $0.isDataPlane && $0.state != .up }) {
            all.append(NamedFault(name: "data_plane", reason: "\(device.name): \(device.state.rawValue)"))
        } else if dataPlane?.isBad == true {
            all.append(NamedFault(name: "data_plane", reason: "refuses commands"))
        }
        if descriptors?.isBad == true {
            all.append(NamedFault(name: "descriptors", reason: "\(descriptors?.value ?? 0)% of what the process may have"))
        }
        for interface in interfaces where !interface.isDataPlane && interface.state != .up {
            all.append(NamedFault(name: "interface \(interface.name)", reason: interface.state.rawValue))
        }
        if memory?.isBad == true { all.append(NamedFault(name: "memory", reason: "\(memory?.value ?? 0)% used")) }
        for name in scriptNames {
            if let failure = scripts[name]?.failure { all.append(NamedFault(name: "script \(name)", reason: failure)) }
        }
        return all
    }

    private mutating func settle(at now: Instant) -> [Change] {
        let next = present
        let wasFit = isFit
        var changes: [Change] = []
        for known in faults where !next.contains(where: { $0.name == known.fault.name }) { changes.append(.ended(name: known.fault.name)) }
        faults = next.map { fault in
            // Its reason may change while it stands.
            if let known = faults.first(where: { $0.fault.name == fault.name }) { return Fault(fault: fault, since: known.since) }
            changes.append(.began(fault))
            return Fault(fault: fault, since: now)
        }
        if isFit != wasFit { since = now }
        return changes
    }

    /// Everything that is looked at and how it is, for `tandem status`.
    var shown: [String] {
        var lines = interfaces.map { "\($0.isDataPlane ? "data plane's device" : "interface") \($0.name): \($0.state.rawValue)" }
        for name in scriptNames {
            guard let script = scripts[name] else { continue }
            lines.append("script \(name): \(script.failure ?? (script.hasRun ? "good" : "has not run yet"))")
        }
        if let value = memory?.value { lines.append("memory: \(value)% used") }
        if let value = descriptors?.value { lines.append("descriptors: \(value)% used") }
        if let difference = clock?.difference { lines.append("clock: \(ClockTrack.text(difference)) to the other node's") }
        return lines
    }
}
