import ArgumentParser
import Control

struct RedirectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "redirect", abstract: "Send clients to another gateway (RFC 5685).",
        discussion: """
            The client authenticates there, and its session here is deleted. Clients that did not announce that they follow redirects stay. \
            With --new, clients that come from now on are sent there; what was said last counts, until this node is not the active one any more.
            """)

    @Argument(help: "A connection, an identity, an address or a session's number.")
    var name: String?

    @Flag(help: "Every session.")
    var all = false

    @Option(help: "So many percent of the sessions, spread over all of them.")
    var share: String?

    @Flag(help: "Clients that have no session yet.")
    var new = false

    @Option(help: "With --new: tell clients in the answer to IKE_SA_INIT (init), or when they have authenticated (auth).")
    var phase = "init"

    @Flag(help: "With --new: let them in again.")
    var off = false

    @Option(help: "The other gateway: an address, or a name that the clients resolve.")
    var to: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    /// A million sessions at the daemon's pace.
    private static let patienceSeconds = 2 * 3600

    func validate() throws { _ = try request() }

    private func request() throws -> RedirectRequest {
        guard [name != nil, all, share != nil, new].count(where: { $0 }) == 1 else {
            throw ValidationError("give one of NAME, --all, --share or --new")
        }
        guard new || !off else { throw ValidationError("--off belongs to --new") }
        if off { return RedirectRequest(.newPeersOff) }
        guard let to, !to.isEmpty else { throw ValidationError("--to is missing") }
        if new {
            guard let phase = RedirectRequest.Phase(rawValue: phase) else { throw ValidationError("--phase is init or auth") }
            return RedirectRequest(.newPeers(phase), to: to)
        }
        if let name { return RedirectRequest(.name(name), to: to) }
        guard let share else { return RedirectRequest(.all, to: to) }
        let digits = share.hasSuffix("%") ? String(share.dropLast()) : share
        guard let percent = Int(digits), (1...100).contains(percent) else { throw ValidationError("--share is between 1% and 100%") }
        return RedirectRequest(.share(percent), to: to)
    }

    func run() throws {
        try reportingErrors {
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: RedirectCommand.patienceSeconds)
            let summary = try RedirectSummary(vici: try client.query(.redirect(try request())))
            if format.json { print(summary.json.text) } else { show(summary) }
            guard summary.error.isEmpty else { throw complaint("redirect ended early: \(summary.error)") }
            guard new || summary.sent > 0 else { throw complaint("no session was redirected", ExitStatus.refused) }
        }
    }

    private func show(_ summary: RedirectSummary) {
        if new {
            return print(printable(summary.newPeersTo.map { "new clients are sent to \($0)" } ?? "new clients are let in"))
        }
        print("redirected \(summary.sent) of \(summary.matched)")
        for refused in summary.refused { print(printable("  \(refused.count) not (as #\(refused.example)): \(refused.reason)")) }
    }
}
