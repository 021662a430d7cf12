import NIOCore
import NIOPosix
import Node
import Pair
import Session

/// Answers the node's questions to the world outside of the pair: the witness, and the operator's two programs.
///
/// Belongs to the node's event loop, which never waits for a program.
final class Arbiter {
    private let settings: ArbitrationSettings
    private let names: (node: String, peer: String)
    private let witness: WitnessClient?
    private let eventLoop: any EventLoop
    private let log: (LogLine) -> Void
    private let answered: (QuestionNumber, ArbiterAnswer) -> Void
    /// One for each program: a check must not wait for a fencing that hangs.
    private let threads = NIOThreadPool(numberOfThreads: 2)
    private var runs: [String: UInt64] = [:]

    /// - Throws: when the witness's certificates or key are of no use.
    init(
        _ settings: ArbitrationSettings, id: NodeID, node: String, peer: String, eventLoop: any EventLoop, log: @escaping (LogLine) -> Void,
        answered: @escaping (QuestionNumber, ArbiterAnswer) -> Void
    ) throws {
        self.settings = settings
        names = (node, peer)
        self.eventLoop = eventLoop
        self.log = log
        self.answered = answered
        witness = try settings.witness.map { try WitnessClient($0, id: id, name: node, eventLoop: eventLoop, log: log) }
    }

    func start() {
        witness?.start()
        threads.start()
    }

    func stop() {
        witness?.stop()
        threads.shutdownGracefully { _ in }
    }

    var counters: [String: UInt64] { runs.merging(witness?.counters ?? [:]) { own, _ in own } }

    func ask(_ number: QuestionNumber, _ question: ArbiterQuestion) {
        switch question {
        case .claim(let epoch): witness?.claim(epoch: epoch) { self.answered(number, $0) }
        case .release: witness?.release()
        case .check:
            run(settings.check, "a reachability check", ["TANDEM_QUESTION": "reachability"]) { problem in
                self.answered(number, problem.map { .notReachable(reason: $0) } ?? .reachable)
            }
        case .fence(let cause):
            run(settings.fencing, "fencing", ["TANDEM_QUESTION": "fencing", "TANDEM_CAUSE": cause.name]) { problem in
                self.answered(number, problem.map { .notFenced(reason: $0) } ?? .fenced)
            }
        }
    }

    /// - Parameter ended: with what went wrong; `nil`: exit status 0.
    private func run(
        _ program: ArbitrationSettings.Program?, _ what: String, _ variables: [String: String], _ ended: @escaping (String?) -> Void
    ) {
        guard let program else { return ended("no program is configured") }
        runs["programs", default: 0] += 1
        let all = variables.merging(["TANDEM_NODE": names.node, "TANDEM_PEER": names.peer]) { own, _ in own }
        let environment = all.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let future = threads.runIfActive(eventLoop: eventLoop) {
            HookProcess.run(program.arguments, environment: environment, timeout: program.timeout)
        }
        future.assumeIsolated().whenComplete { result in
            guard case .success(let run) = result else { return ended("it could not be started") }
            for line in String(decoding: run.output, as: UTF8.self).split(whereSeparator: \.isNewline) {
                self.log(LogLine(.info, "\(what) says", [.init("program", program.arguments[0]), .init("text", String(line))]))
            }
            if run.outcome != .exited(status: 0) { self.runs["programs_failed", default: 0] += 1 }
            ended(run.outcome == .exited(status: 0) ? nil : run.outcome.problem)
        }
    }
}

extension HookOutcome {
    /// What is wrong, for people.
    fileprivate var problem: String {
        switch self {
        case .exited(let status): "exit status \(status)"
        case .killed(let signal): "ended by signal \(signal)"
        case .timedOut: "it took too long"
        case .notRun(let reason): reason
        case .cancelledOut, .statusLost: "how it ended is not known"
        }
    }
}
