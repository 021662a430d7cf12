import ArgumentParser
import Control
import Runtime

/// `tandem check`: what reads the configuration for the daemon judges it.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tandem check", abstract: "Check a configuration file and everything it names.")

    @Argument(help: "The configuration file.")
    var file: String

    @Flag(name: .long, help: "Print JSON.")
    var json = false

    func run() throws {
        var problems: [ConfigurationError.Problem] = []
        var warnings: [ConfigurationError.Problem] = []
        do throws(ConfigurationError) {
            warnings = try Configuration.load(path: file).warnings
        } catch {
            guard json else { throw complaint(error.description) }
            problems = error.problems
        }
        if !json { for warning in warnings { print("warning: \(warning)") } }
        print(json ? CheckCommand.report(file, problems, warnings: warnings).text : "\(file): good")
        if !problems.isEmpty { throw ExitCode(1) }
    }

    private static func report(
        _ file: String, _ problems: [ConfigurationError.Problem], warnings: [ConfigurationError.Problem]
    ) -> JSON {
        .object([
            JSON.Member("file", .string(file)), JSON.Member("good", .bool(problems.isEmpty)),
            JSON.Member("problems", .array(problems.map(member))), JSON.Member("warnings", .array(warnings.map(member))),
        ])
    }

    private static func member(_ problem: ConfigurationError.Problem) -> JSON {
        .object([
            JSON.Member("line", problem.line > 0 ? .integer(Int64(problem.line)) : .null),
            JSON.Member("key", problem.key.isEmpty ? .null : .string(problem.key)),
            JSON.Member("what", .string(problem.what)), JSON.Member("remedy", .string(problem.remedy)),
        ])
    }
}
