public import ArgumentParser
import Control
import Glibc
public import Runtime

/// `tandemd`: the gateway's daemon. Its operator's command is `tandem`.
@main
struct Tandemd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tandemd", abstract: "One of two IKEv2/IPsec gateways that act as one that does not fail.",
        discussion: """
            Runs in the foreground until SIGTERM or SIGINT; an active node with a ready standby hands over first.
            Exit status: 0 in good order, 1 failed, 64 wrong usage, 78 wrong configuration.
            """,
        version: TandemVersion.text)

    @Option(name: .long, help: ArgumentHelp("The configuration.", valueName: "file"))
    var config = "/etc/tandem/tandem.toml"

    @Flag(name: .long, help: "Check the configuration and everything it names, and end.")
    var check = false

    @Option(name: .long, help: ArgumentHelp("How much is logged, in place of the configuration's level.", valueName: "level"))
    var logLevel: Daemon.LogLevel?

    /// What `tandem check` and `tandem fence` become, and the guard. They are no subcommands: those would share the daemon's options.
    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        switch arguments.first {
        case "check": CheckCommand.main(Array(arguments.dropFirst()))
        case "fence": FenceCommand.main(Array(arguments.dropFirst()))
        default: main(nil)
        }
    }

    func run() throws {
        let loaded: Configuration
        do throws(ConfigurationError) {
            loaded = try Configuration.load(path: config)
        } catch {
            throw complaint("\(error)", Daemon.ExitStatus.configuration)
        }
        if check {
            for warning in loaded.warnings { print("warning: \(warning)") }
            print("\(config): good")
            return
        }
        throw ExitCode(Daemon.run(configuration: loaded, logLevel: logLevel))
    }
}

/// Says what went wrong, and gives the exit status for it.
func complaint(_ message: String, _ status: Int32 = 1) -> ExitCode {
    fflush(nil)
    let text = Array("\(message)\n".utf8)
    _ = write(STDERR_FILENO, text, text.count)
    return ExitCode(status)
}

extension Daemon.LogLevel: ExpressibleByArgument {}
