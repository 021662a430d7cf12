import ArgumentParser
import Control

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the role, the pair and the last takeover.")

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reportingErrors {
            let client = try ControlClient(path: socketOptions.socket)
            let status = try StatusSummary(vici: try client.query(.status))
            print(format.json ? status.json.text : StatusText(status: status, nowMilliseconds: wallMilliseconds()).text)
        }
    }
}

/// `tandem status` for people.
struct StatusText {
    let status: StatusSummary
    let nowMilliseconds: Int64

    var text: String {
        var rows: [(String, String)] = []
        rows.append(("pair", pair))
        if !status.peer.isEmpty { rows.append(("link", link)) }
        rows += labelled("heartbeat", status.heartbeatPaths.map(path))
        rows += labelled("certificates", status.certificates.map(certificate))
        if let arbitration = status.arbitration { rows += labelled("arbitration", lines(arbitration)) }
        rows.append(("sessions", sessions))
        rows += labelled("addresses", status.addresses.map { "\($0.address) on \($0.interface): \($0.isHeld ? "held" : "not here")" })
        if let roaming = status.roaming { rows += labelled("roaming", lines(roaming)) }
        rows.append(("data plane", "\(status.dataPlane) (\(status.dataPlaneReason)), gate \(status.gate)"))
        if status.keepsState { rows.append(("state", state)) }
        if !status.overload.isEmpty { rows.append(("load", status.overload)) }
        if let condition = status.condition { rows += rowsOf(condition) }
        rows += labelled("takeover", status.lastTakeover.map(takeover) ?? ["none since the daemon started"])
        let counters = status.counters.filter { $0.value > 0 }.sorted { $0.key < $1.key }
        rows += labelled("counters", counters.map { "\($0.key) \($0.value)" })
        let body = rows.map { label, value in "  " + label + String(repeating: " ", count: max(1, 12 - label.count)) + value }
        return printable(([headline] + body).joined(separator: "\n"))
    }

    private var headline: String {
        "\(status.node) (node \(status.nodeID), tandemd \(status.version)): \(status.role), epoch \(status.epoch), "
            + since(status.roleSinceMilliseconds)
    }

    private var pair: String {
        guard !status.peer.isEmpty else { return "none: this node stands alone" }
        let reason = status.pairReason.isEmpty ? "" : ": \(status.pairReason)"
        return "\(status.pairState) with \(status.peer), \(since(status.pairSinceMilliseconds))\(reason)"
    }

    private var link: String {
        guard status.isLinkUp else { return "down" }
        guard status.lagDeltas > 0 else { return "up, nothing unacknowledged" }
        return "up, \(status.lagDeltas) delta\(status.lagDeltas == 1 ? "" : "s") unacknowledged"
    }

    private var sessions: String {
        "\(status.sessionsOwned) owned, \(status.sessionsHeld) held for the peer; "
            + "CHILD SAs \(status.childrenOwned) owned, \(status.childrenHeld) held; \(status.halfOpen) half-open"
    }

    private var state: String {
        guard status.stateError.isEmpty else { return "NOT WRITTEN: \(status.stateError)" }
        let restored = status.stateRestored == 0 ? "" : ", \(status.stateRestored) sessions came from there"
        return (status.stateUnwritten == 0 ? "on disk" : "on disk but for \(status.stateUnwritten) sessions") + restored
    }

    private func lines(_ roaming: RoamingSummary) -> [String] {
        let addresses = "here \(roaming.own.joined(separator: ", ")), \(status.peer) \(roaming.peer.joined(separator: ", "))"
        let sessions = "\(roaming.movable) movable, \(roaming.behindNAT) behind a NAT, \(roaming.unable) without MOBIKE"
        guard roaming.moving + roaming.waiting + roaming.unanswered > 0 else { return [addresses, sessions] }
        return [addresses, sessions, "\(roaming.moving) to be moved, \(roaming.unanswered) not answered, \(roaming.waiting) waited for"]
    }

    private func rowsOf(_ condition: ConditionSummary) -> [(String, String)] {
        let own = condition.faults.map { "\($0.name): \($0.reason), \(since($0.sinceMilliseconds))" }
        var fitness = own.isEmpty ? [condition.fitness] : ["unfit: " + own[0]] + own.dropFirst()
        if !status.peer.isEmpty {
            let faults = condition.peerFaults.isEmpty ? "" : ": " + condition.peerFaults.joined(separator: ", ")
            fitness.append("\(status.peer) \(condition.peerFitness)\(faults)")
        }
        var rows = labelled("fitness", fitness)
        var maintenance =
            condition.maintenance == "none"
            ? [] : [condition.maintenance + (condition.maintenanceSinceMilliseconds.map { ", " + since($0) } ?? "")]
        if condition.peerMaintenance != "none", !condition.peerMaintenance.isEmpty {
            maintenance.append("\(status.peer) is out of service: \(condition.peerMaintenance)")
        }
        rows += labelled("maintenance", maintenance)
        var handovers: [String] = []
        if !condition.preferred.isEmpty { handovers.append("\(condition.preferred) is preferred") }
        if let next = condition.nextHandoverMilliseconds { handovers.append("due at \(WallTime(milliseconds: next))") }
        if let until = condition.heldUntilMilliseconds {
            handovers.append("too many by themselves, none before \(WallTime(milliseconds: until))")
        }
        return rows + labelled("hand-overs", handovers)
    }

    private func path(_ path: HeartbeatPathSummary) -> String {
        let heard = path.lastHeardMilliseconds.map { "heard \(WallTime.span(milliseconds: $0)) ago" } ?? "never heard"
        let directions = path.toPeer == "down" ? ", to the peer lost \(since(path.toPeerSinceMilliseconds))" : ""
        return "\(path.local) - \(path.remote): \(path.isUp ? "up" : "down"), \(heard)\(directions)\(path.carriesLink ? ", the link" : "")"
    }

    private func lines(_ arbitration: ArbitrationSummary) -> [String] {
        var parts: [String] = []
        if arbitration.reachability { parts.append("reachability check") }
        if !arbitration.witness.isEmpty {
            let at = arbitration.witnessAtMilliseconds == 0 ? "" : ", \(since(arbitration.witnessAtMilliseconds))"
            parts.append("witness \(arbitration.witness)\(at)")
        }
        if arbitration.fencing { parts.append("fencing") }
        return [parts.joined(separator: "; ")] + (arbitration.trouble.isEmpty ? [] : [arbitration.trouble])
    }

    private func certificate(_ certificate: CertificateSummary) -> String {
        let end = WallTime(milliseconds: certificate.notAfterMilliseconds)
        let left = certificate.daysLeft < 0 ? "EXPIRED" : "\(certificate.daysLeft) day\(certificate.daysLeft == 1 ? "" : "s") left"
        let use = certificate.isInUse ? "" : ", not in use yet"
        return "\(certificate.node) \(certificate.sha256.prefix(16)), until \(end): \(left)\(use)"
    }

    private func takeover(_ takeover: TakeoverSummary) -> [String] {
        let head =
            "\(takeover.cause), epoch \(takeover.epoch), \(WallTime(milliseconds: takeover.atMilliseconds)): "
            + milliseconds(takeover.totalMicroseconds)
        return [head] + stepLines(takeover.steps)
    }

    private func since(_ milliseconds: Int64) -> String {
        "since \(WallTime(milliseconds: milliseconds)) (\(WallTime.span(milliseconds: nowMilliseconds &- milliseconds)))"
    }

    /// The label beside the first line only.
    private func labelled(_ label: String, _ lines: [String]) -> [(String, String)] {
        lines.enumerated().map { ($0.offset == 0 ? label : "", $0.element) }
    }
}

/// `3.214 ms`.
func milliseconds(_ microseconds: Int64) -> String { JSON.thousandths(microseconds).line + " ms" }

/// A line for each step, the times in a column.
func stepLines(_ steps: [StepSummary]) -> [String] {
    let width = steps.map(\.name.count).max() ?? 0
    return steps.map { "  " + $0.name + String(repeating: " ", count: width - $0.name.count + 2) + milliseconds($0.microseconds) }
}
