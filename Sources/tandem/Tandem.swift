import ArgumentParser
import Control

/// The operator's command.
@main
struct Tandem: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tandem",
        abstract: "Shows and steers a Tandem gateway.",
        discussion: "Exit status: 0 done, 1 failed, 2 refused because something is not ready, 64 wrong usage. See tandem(8).",
        version: "tandem \(TandemVersion.text)",
        subcommands: [
            StatusCommand.self, SessionsCommand.self, SwitchoverCommand.self, DrainCommand.self, StandbyCommand.self,
            ResumeCommand.self, EventsCommand.self, InitiateCommand.self,
            TerminateCommand.self, TransferCommand.self, RekeyCommand.self, RedirectCommand.self, GetCommand.self, PutCommand.self,
            PairCommand.self, FenceCommand.self, CheckCommand.self,
        ])
}
