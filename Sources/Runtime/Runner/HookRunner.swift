import NIOCore
import NIOPosix
import Node
import Session

/// Runs the programs of `updown`, a few at a time; the event loop never waits for one.
///
/// Belongs to the node's event loop.
final class HookRunner {
    /// Programs at once: they are short, and the host has other things to do.
    static let concurrencyMax = 4
    /// Programs that wait: some 30 MB of environments. The node asks for no more than a few hundred at once, except for what
    /// peers do. Past it what came is not told; what goes is, for what its `up` did would stay for ever.
    static let waitingMax = 16_384
    /// Each `down` that waits belongs to an `up` that has run: as many as a node has sessions.
    static let downsMax = 1 << 20
    /// How long a program has.
    static let timeout: Duration = .seconds(10)

    private let eventLoop: any EventLoop
    private let timeout: Duration
    private let waitingMax: Int
    private let log: (LogLine) -> Void
    private let ended: (HookCall, HookOutcome) -> Void
    private let threads = NIOThreadPool(numberOfThreads: HookRunner.concurrencyMax)
    /// Those that go as soon as a thread is free, and how many of them have gone.
    private var ready: [HookCall] = []
    private var gone = 0
    /// For each subject with a program under way or ready, what has to wait for it.
    private var behind: [String: [HookCall]] = [:]
    /// Subjects whose program runs now.
    private var running: Set<String> = []
    private(set) var count = 0

    /// - Parameter ended: called once for each call, later.
    init(
        eventLoop: any EventLoop, timeout: Duration = HookRunner.timeout, waitingMax: Int = HookRunner.waitingMax,
        log: @escaping (LogLine) -> Void, ended: @escaping (HookCall, HookOutcome) -> Void
    ) {
        self.eventLoop = eventLoop
        self.timeout = timeout
        self.waitingMax = waitingMax
        self.log = log
        self.ended = ended
        threads.start()
    }

    deinit { threads.shutdownGracefully { _ in } }

    func run(_ call: HookCall) {
        if count >= waitingMax {
            if call.verb == .down, let up = takeWaitingUp(before: call) {
                ended(up, .cancelledOut)
                return ended(call, .cancelledOut)
            }
            guard call.verb == .down, count < HookRunner.downsMax else {
                return ended(call, .notRun(reason: "too many programs wait"))
            }
        }
        count += 1
        if behind[call.subject] != nil {
            behind[call.subject]?.append(call)
        } else {
            behind[call.subject] = []
            ready.append(call)
            startNext()
        }
    }

    /// The call that this one would follow, if it is the `up` that this one takes back and has not been started.
    private func takeWaitingUp(before down: HookCall) -> HookCall? {
        func isTakenBack(_ call: HookCall) -> Bool { call.subject == down.subject && call.verb == .up && call.program == down.program }
        guard let line = behind[down.subject] else { return nil }
        if let last = line.last {
            guard isTakenBack(last) else { return nil }
            behind[down.subject]?.removeLast()
            count -= 1
            return last
        }
        guard !running.contains(down.subject), let index = ready[gone...].lastIndex(where: isTakenBack) else { return nil }
        behind[down.subject] = nil
        count -= 1
        return ready.remove(at: index)
    }

    private func startNext() {
        while running.count < HookRunner.concurrencyMax, gone < ready.count {
            let call = ready[gone]
            gone += 1
            if gone >= 256 || gone == ready.count {
                ready.removeFirst(gone)
                gone = 0
            }
            start(call)
        }
    }

    private func start(_ call: HookCall) {
        running.insert(call.subject)
        let timeout = timeout
        let future = threads.runIfActive(eventLoop: eventLoop) { HookProcess.run(call, timeout: timeout) }
        future.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let run): self.finished(call, run.outcome, output: run.output)
            case .failure(let error): self.finished(call, .notRun(reason: "\(error)"), output: [])
            }
        }
    }

    private func finished(_ call: HookCall, _ outcome: HookOutcome, output: [UInt8]) {
        running.remove(call.subject)
        count -= 1
        for line in String(decoding: output, as: UTF8.self).split(whereSeparator: \.isNewline) {
            log(LogLine(.info, "an updown program says", [.init("program", call.program), .init("text", String(line))]))
        }
        if var next = behind[call.subject], !next.isEmpty {
            ready.append(next.removeFirst())
            behind[call.subject] = next
        } else {
            behind[call.subject] = nil
        }
        startNext()
        ended(call, outcome)
    }
}
