import ArgumentParser
import Runtime

/// `tandem fence`, and the guard: it shares the daemon's reading of the configuration, and nothing else with it.
struct FenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tandem fence", abstract: "Give up this host's shared addresses and outbound SAs, without the daemon.",
        discussion: "Needs nothing of tandemd: the guard and the unit's ExecStopPost run it when the daemon ends or freezes.")

    @Option(name: .long, help: ArgumentHelp("The daemon's configuration.", valueName: "file"))
    var config = "/etc/tandem/tandem.toml"

    /// How `tandemd` starts its guard: fence when the pipe with this number closes, or stays silent for too long.
    @Option(help: .hidden)
    var watch: Int32?

    func run() throws {
        if let watch { throw ExitCode(GuardWatch.run(descriptor: watch, configurationPath: config)) }
        do {
            try Fence.run(configurationPath: config)
        } catch {
            throw complaint("fence: \(error)")
        }
    }
}
