import ArgumentParser
import Control
import Cryptography

struct PairRotateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Give this node a new key and certificate, while the pair goes on.",
        discussion: """
            The daemon makes them, hands the certificate to the other node over the link, and puts both in the place of the present files on
            both nodes. The pair stays paired. Nothing changes when the other node does not take it: exit status 2 if it was refused at once.
            A key that somebody else may have is another matter: make a new one with tandem pair init, and carry the certificate by hand.
            """)

    @Option(help: "Days for which the certificate is valid.")
    var days = ControlRequest.rotationDaysDefault

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    /// Longer than the daemon waits for the other node.
    private static let patienceSeconds = 40

    func validate() throws {
        guard (1...ControlRequest.rotationDaysMax).contains(days) else {
            throw ValidationError("--days is between 1 and \(ControlRequest.rotationDaysMax)")
        }
    }

    func run() throws {
        try reportingErrors {
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: PairRotateCommand.patienceSeconds)
            let result = try RotationSummary(vici: try client.query(.rotate(days: days)))
            if format.json { print(result.json.text) }
            switch result.outcome {
            case .done: if !format.json { print(printable(text(result))) }
            case .refused: throw complaint("rotation refused: \(result.reason)", ExitStatus.refused)
            case .failed: throw complaint("rotation failed, the certificate stays as it was: \(result.reason)")
            }
        }
    }

    private func text(_ result: RotationSummary) -> String {
        var lines = [
            "new certificate \(result.certificateSHA256), valid until \(WallTime(milliseconds: result.notAfterMilliseconds)): "
                + milliseconds(result.totalMicroseconds)
        ]
        if !result.reason.isEmpty { lines.append(result.reason) }
        if !result.gateways.isEmpty {
            lines.append("unless [transfer] has a certificate of its own, give the new one to: \(result.gateways.joined(separator: ", "))")
        }
        return lines.joined(separator: "\n")
    }
}
