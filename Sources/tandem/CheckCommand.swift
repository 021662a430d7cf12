import ArgumentParser
import Runtime

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "check", abstract: "Check a configuration file and everything it names.")

    @Argument(help: "The configuration file.")
    var file: String

    func run() throws {
        do throws(ConfigurationError) {
            _ = try Configuration.load(path: file)
        } catch {
            throw complaint(error.description)
        }
        print("\(file): good")
    }
}
