import NIOCore
import NIOPosix
import Node
import Session

/// Runs the scripts of `[track]`, each every so often, on threads of their own; the event loop never waits for one.
///
/// Belongs to the node's event loop.
final class ScriptTracker {
    /// Programs at once. With all of them hanging, a script is late by the others' timeouts, and never counted as failed for it.
    static let concurrencyMax = 4
    /// What a script says is shown up to here.
    static let textMax = 120

    private let scripts: [TrackedScript]
    private let eventLoop: any EventLoop
    private let variables: () -> [HookCall.Variable]
    private let report: (HealthReport) -> Void
    private let threads: NIOThreadPool
    private var isStopped = false

    /// - Parameters:
    ///   - variables: what a script finds in its environment beside `PATH`; asked before each run.
    ///   - report: called once for each run.
    init(
        _ scripts: [TrackedScript], eventLoop: any EventLoop, variables: @escaping () -> [HookCall.Variable],
        report: @escaping (HealthReport) -> Void
    ) {
        self.scripts = scripts
        self.eventLoop = eventLoop
        self.variables = variables
        self.report = report
        threads = NIOThreadPool(numberOfThreads: min(ScriptTracker.concurrencyMax, max(1, scripts.count)))
        threads.start()
    }

    deinit { threads.shutdownGracefully { _ in } }

    func start() { for script in scripts { run(script) } }

    /// What runs now ends by its timeout, and is not heard any more.
    func stop() { isStopped = true }

    private func run(_ script: TrackedScript) {
        guard !isStopped else { return }
        let began = NIODeadline.now()
        let variables = variables() + [HookCall.Variable("TANDEM_SCRIPT", script.name)]
        let future = threads.runIfActive(eventLoop: eventLoop) {
            HookProcess.run(
                script.command, environment: variables.map { "\($0.name)=\($0.value)" }, timeout: script.timeout)
        }
        future.assumeIsolated().whenComplete { [weak self] result in
            guard let self, !self.isStopped else { return }
            let failure: String?
            switch result {
            case .success(let run): failure = ScriptTracker.failure(run.outcome, output: run.output)
            case .failure(let error): failure = "\(error)"
            }
            self.report(.script(name: script.name, failure: failure))
            let next = began + .nanoseconds(script.interval.inNanoseconds)
            self.eventLoop.assumeIsolated().scheduleTask(deadline: max(next, .now())) { [weak self] in self?.run(script) }
        }
    }

    /// The exit status, and the first line that it said.
    static func failure(_ outcome: HookOutcome, output: [UInt8]) -> String? {
        guard let failure = outcome.failure else { return nil }
        let line = String(decoding: output, as: UTF8.self).split(whereSeparator: \.isNewline).first.map(trimmed) ?? ""
        let said = String(
            line.unicodeScalars.filter { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) }.prefix(textMax).map(Character.init))
        return said.isEmpty ? failure : "\(failure): \(said)"
    }
}
