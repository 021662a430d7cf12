import ArgumentParser
import Control

struct DrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Take this node out of service: hand everything over as soon as the other node can take it.",
        discussion: """
            Waits until the other node owns everything. Until it can take it this node serves on; exit status 2 says that it still does. \
            A drained node becomes active only when nobody else is. It lasts until tandem resume, or until the daemon ends.
            """)

    @Flag(help: "Also hand over to a node that is not fit, or out of service itself.")
    var force = false

    @Option(help: "Seconds to wait; 0 does not wait at all.")
    var timeout: Int = 30

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard (0...86_400).contains(timeout) else { throw ValidationError("--timeout is between 0 and 86400 seconds") }
    }

    func run() throws {
        let request = MaintenanceRequest(.drain, isForced: force, timeoutMilliseconds: Int64(timeout) * 1000)
        try carryOut(request, socket: socketOptions.socket, patience: timeout + 10, json: format.json)
    }
}

struct StandbyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "standby", abstract: "Take this node out of service now: hand everything over, and stay standby.",
        discussion: """
            Refuses, with exit status 2 and everything as it was, when the other node is not ready or not fit. Otherwise as tandem drain.
            """)

    @Flag(help: "Also to a node that is late, not fit, or out of service itself.")
    var force = false

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try carryOut(MaintenanceRequest(.standby, isForced: force), socket: socketOptions.socket, patience: 60, json: format.json)
    }
}

struct ResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Bring this node back into service after tandem drain or tandem standby.",
        discussion: "It does not take the sessions back by itself, unless [pair] prefer names it. Ends a hold-down, too.")

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws { try carryOut(MaintenanceRequest(.resume), socket: socketOptions.socket, patience: 10, json: format.json) }
}

private func carryOut(_ request: MaintenanceRequest, socket: String, patience: Int, json: Bool) throws {
    try reportingErrors {
        let client = try ControlClient(path: socket, patienceSeconds: patience)
        let result = try MaintenanceSummary(vici: try client.query(.maintain(request)))
        if json { print(result.json.text) }
        let name = request.kind.rawValue
        switch result.outcome {
        case .done:
            guard !json else { return }
            print(printable(result.text))
        case .waiting:
            throw complaint("\(name): still waits to hand over, and does so as soon as it can: \(result.reason)", ExitStatus.refused)
        case .refused: throw complaint("\(name) refused: \(result.reason)", ExitStatus.refused)
        }
    }
}

extension MaintenanceSummary {
    fileprivate var text: String {
        guard maintenance != "none" else { return "in service: this node is \(role)" }
        let owned = "\(owner) owns \(sessions) session\(sessions == 1 ? "" : "s") at epoch \(epoch)"
        return "\(maintenance): \(owned)" + (totalMicroseconds > 0 ? ": \(milliseconds(totalMicroseconds))" : "")
    }
}
