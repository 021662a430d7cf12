import FoundationEssentials
import Simulator
import Testing

/// Named runs with the traces that they leave (`Tests/Scenarios/*.txt`): whatever a change does to the order of things is seen here.
/// `TANDEM_REWRITE=1 swift test --filter ScenarioTests` writes the traces anew, to be read before they are committed.
struct ScenarioTests {
    private static let folder = String(#filePath.prefix(#filePath.count - "ScenarioTests.swift".count)) + "../Scenarios/"
    private static let separator = "\n---- trace\n"

    private static var names: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasSuffix(".txt") }.sorted()
    }

    private static var rewrites: Bool { ProcessInfo.processInfo.environment["TANDEM_REWRITE"] != nil }

    @Test func scenarios_areThere() { #expect(!Self.names.isEmpty) }

    @Test(arguments: Self.names) func scenario_run_leavesItsTraceAndFindsNothing(name: String) throws {
        let text = try String(contentsOfFile: Self.folder + name, encoding: .utf8)
        let parts = text.split(separator: Self.separator, maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let trace = try Scenario(parts[0]).run()
        #expect(!trace.contains("FOUND"), "\(trace.split(separator: "\n").last ?? "")")
        if Self.rewrites {
            try (parts[0] + Self.separator + trace).write(toFile: Self.folder + name, atomically: true, encoding: .utf8)
        } else {
            #expect(parts.count == 2 && trace == parts[1], "the trace of \(name) is another one")
        }
    }

    @Test(arguments: ["kill", "x 2", "10 ms fly 0", "10 ms rekey child of 3", "10 ms cut nothing"])
    func scenario_thatCannotBeRead_saysSo(text: String) {
        #expect(throws: Scenario.Problem.self) { try Scenario(text).run() }
    }
}
