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

    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        do {
            if try isMove(arguments) { return }
            guard var command = namedAlone(arguments) else { return main(nil) }
            try command.run()
        } catch { exit(withError: error) }
    }

    /// Of the two commands that scripts call for one session after the other; done, if it was one in its plain form.
    private static func isMove(_ arguments: ArraySlice<String>) throws -> Bool {
        switch arguments.first {
        case "get": try ContextGet(plain: arguments.dropFirst()).map { try $0.run() } != nil
        case "put": try ContextPut(plain: arguments.dropFirst()).map { try $0.run() } != nil
        default: false
        }
    }

    /// The command that is named, parsed without its siblings: the whole tree is a third of the time that a short command takes.
    ///
    /// Whatever is not a command with all that it needs (help, a mistake, a command with commands of its own) is left to the tree,
    /// which says `tandem` before the command's name.
    private static func namedAlone(_ arguments: ArraySlice<String>) -> (any ParsableCommand)? {
        guard let name = arguments.first else { return nil }
        let named = configuration.subcommands.first { $0.configuration.commandName == name }
        guard let named, named.configuration.subcommands.isEmpty else { return nil }
        guard let command = try? named.parseAsRoot(Array(arguments.dropFirst())), type(of: command) == named else { return nil }
        return command
    }
}
