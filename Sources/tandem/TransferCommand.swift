import ArgumentParser
import Control

struct TransferCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer", abstract: "Move one session to another gateway, or fetch it from there.",
        discussion: """
            The other gateway is a [[gateway]] of the configuration. A client that knows context transfer goes on inside its SAs; one that \
            only follows redirects authenticates anew there. Whatever fails, the session stays where it was. On a node that called, --to \
            takes the address of another gateway, and asks the session's own to move it there.
            """)

    @Argument(help: "The session: its connection, its peer's identity or address, a leased address, or its number. With --from an address.")
    var name: String

    @Option(help: "Give the session to this gateway; at a client its address.")
    var to: String?

    @Option(help: "Fetch the session from this gateway.")
    var from: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    /// Longer than the daemon waits for a client that does not answer.
    private static let patienceSeconds = 300

    func validate() throws {
        guard !name.isEmpty else { throw ValidationError("NAME is empty") }
        guard (to == nil) != (from == nil) else { throw ValidationError("give one of --to and --from") }
    }

    func run() throws {
        try reportingErrors {
            let request = TransferRequest(name: name, direction: to == nil ? .from : .to, gateway: to ?? from ?? "")
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: TransferCommand.patienceSeconds)
            let result = try TransferSummary(vici: try client.query(.transfer(request)))
            if format.json { print(result.json.text) }
            try report(result, request)
        }
    }

    private func report(_ result: TransferSummary, _ request: TransferRequest) throws {
        switch result.outcome {
        case .done:
            guard !format.json else { return }
            let what =
                switch result.method {
                case .context, .mobike: request.direction == .to ? "is at \(result.gateway)" : "came from \(result.gateway)"
                case .redirect: "was redirected to \(result.gateway), where the client authenticates anew"
                }
            print(printable("\(request.name) \(what): \(milliseconds(result.totalMicroseconds))"))
        case .refused: throw complaint("transfer refused: \(result.reason)", ExitStatus.refused)
        case .failed: throw complaint("transfer failed: \(result.reason)")
        }
    }
}
