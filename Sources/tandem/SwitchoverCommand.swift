import ArgumentParser
import Control

struct SwitchoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switchover", abstract: "Hand every session over to the other node, now.",
        discussion: "Waits until the other node owns everything. Refuses when it is not ready, with exit status 2.")

    @Flag(help: "Also when the standby is late or syncing (wait until it has caught up), not fit, or out of service.")
    var force = false

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    /// Longer than the daemon's own patience with a standby.
    private static let patienceSeconds = 60

    func run() throws {
        try reportingErrors {
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: SwitchoverCommand.patienceSeconds)
            let result = try SwitchoverSummary(vici: try client.query(.switchover(force: force)))
            if format.json { print(result.json.text) }
            try report(result)
        }
    }

    private func report(_ result: SwitchoverSummary) throws {
        switch result.outcome {
        case .done:
            guard !format.json else { return }
            let head =
                "\(result.owner) owns \(result.sessions) session\(result.sessions == 1 ? "" : "s") at epoch \(result.epoch): "
                + milliseconds(result.totalMicroseconds)
            print(printable(head))
        case .refused:
            throw complaint("switchover refused: \(result.reason)", ExitStatus.refused)
        case .failed:
            throw complaint("switchover failed: \(result.reason)")
        }
    }
}
