import ArgumentParser
import Control
import Runtime

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "check", abstract: "Check a configuration file and everything it names.")

    @Argument(help: "The configuration file.")
    var file: String

    @OptionGroup var format: FormatOptions

    func run() throws {
        var problems: [ConfigurationError.Problem] = []
        var warnings: [ConfigurationError.Problem] = []
        do throws(ConfigurationError) {
            warnings = try Configuration.load(path: file).warnings
        } catch {
            guard format.json else { throw complaint(error.description) }
            problems = error.problems
        }
        if !format.json { for warning in warnings { print("warning: \(warning)") } }
        print(format.json ? CheckCommand.json(file: file, problems, warnings: warnings).text : "\(file): good")
        if !problems.isEmpty { throw ExitStatus.failed }
    }

    private static func json(
        file: String, _ problems: [ConfigurationError.Problem], warnings: [ConfigurationError.Problem]
    ) -> JSON {
        .object([
            JSON.Member("file", .string(file)), JSON.Member("good", .bool(problems.isEmpty)),
            JSON.Member("problems", .array(problems.map(json))), JSON.Member("warnings", .array(warnings.map(json))),
        ])
    }

    private static func json(_ problem: ConfigurationError.Problem) -> JSON {
        .object([
            JSON.Member("line", problem.line > 0 ? .integer(Int64(problem.line)) : .null),
            JSON.Member("key", problem.key.isEmpty ? .null : .string(problem.key)),
            JSON.Member("what", .string(problem.what)), JSON.Member("remedy", .string(problem.remedy)),
        ])
    }
}
