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
        do throws(ConfigurationError) {
            _ = try Configuration.load(path: file)
        } catch {
            guard format.json else { throw complaint(error.description) }
            problems = error.problems
        }
        print(format.json ? CheckCommand.json(file: file, problems).text : "\(file): good")
        if !problems.isEmpty { throw ExitStatus.failed }
    }

    private static func json(file: String, _ problems: [ConfigurationError.Problem]) -> JSON {
        let list = problems.map { problem in
            JSON.object([
                JSON.Member("line", problem.line > 0 ? .integer(Int64(problem.line)) : .null),
                JSON.Member("key", problem.key.isEmpty ? .null : .string(problem.key)),
                JSON.Member("what", .string(problem.what)), JSON.Member("remedy", .string(problem.remedy)),
            ])
        }
        return .object([
            JSON.Member("file", .string(file)), JSON.Member("good", .bool(problems.isEmpty)), JSON.Member("problems", .array(list)),
        ])
    }
}
