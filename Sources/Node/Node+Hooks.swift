import IKE
import Session

/// Programs for all sessions at once, after a change of ownership: in pages, when all that is urgent is done.
struct HookWork {
    /// Sessions in one page.
    static let page = 64
    /// Between two pages, and between two looks whether something more urgent is done.
    static let pause: Duration = .milliseconds(2)
    /// Calls that have not come back, above which no further page is begun: a program takes milliseconds, and the calls for what
    /// happens meanwhile must not stand behind those for a hundred thousand sessions.
    static let outstandingMax = 256

    private(set) var task: (verb: HookCall.Verb, cause: HookCall.Cause)?
    /// What is left, in order; pages are taken from its end. `nil` until the list is made, at the first deadline and not in the
    /// takeover itself.
    private var sessions: [SessionID]?
    /// Sessions that have had their calls out of turn, or need none.
    private var settled: Set<SessionID> = []
    var nextDeadline: Instant?

    mutating func begin(_ verb: HookCall.Verb, _ cause: HookCall.Cause, at now: Instant) {
        task = (verb, cause)
        sessions = nil
        settled = []
        nextDeadline = now + HookWork.pause
    }

    func isPending(_ id: SessionID) -> Bool {
        guard task != nil, !settled.contains(id) else { return false }
        guard let sessions else { return true }
        return sessions.last.map { id <= $0 } ?? false
    }

    mutating func settle(_ id: SessionID) { if task != nil { settled.insert(id) } }

    mutating func takePage(table: SessionTable) -> [SessionID] {
        if sessions == nil { sessions = table.sessions.keys.sorted() }
        let page = sessions?.suffix(HookWork.page) ?? []
        let due = page.filter { !settled.contains($0) }
        sessions?.removeLast(page.count)
        if sessions?.isEmpty == true { self = HookWork() }
        return due
    }
}

extension Node {
    /// Programs are under way, or still to be run because of a change of ownership.
    public var isRunningHooks: Bool { hooksOutstanding > 0 || hookWork.task != nil }

    /// All of the sessions have come to this node, or have left it.
    mutating func runHooksForAll(_ verb: HookCall.Verb, _ cause: HookCall.Cause, now: Now) {
        guard !hooks.isEmpty else { return }
        hookWork.begin(verb, cause, at: now.instant)
    }

    mutating func workOnHooks(now: Now) {
        guard let due = hookWork.nextDeadline, now.instant >= due, let task = hookWork.task else { return }
        guard hooksOutstanding < HookWork.outstandingMax else {
            // Until one of them has ended.
            hookWork.nextDeadline = nil
            return
        }
        hookWork.nextDeadline = now.instant + HookWork.pause
        guard leases.isEmpty, !isHandoverOffered else { return }
        for id in hookWork.takePage(table: table) {
            if let session = table[id] { run(hooks.calls(task.verb, task.cause, for: session)) }
        }
        // All that stood here has been taken back.
        if task.verb == .down, hookWork.task == nil { hookLedger = HookLedger() }
    }

    /// What a change of ours asks for; to be run when the standby has it. What the session is still owed by a takeover comes first.
    mutating func hookCalls(for applied: AppliedDelta) -> [HookCall] {
        guard !hooks.isEmpty else { return [] }
        // Programs are for sessions that this gateway serves.
        let calls = hooks.calls(for: applied.withoutArrival)
        return calls.isEmpty ? [] : owedCalls(for: applied) + calls
    }

    /// A session changed on the standby before the calls for its leaving were made.
    mutating func settleHooks(for applied: AppliedDelta) {
        guard !hooks.isEmpty, hookWork.task != nil, !hooks.calls(for: applied).isEmpty else { return }
        run(owedCalls(for: applied))
    }

    private mutating func owedCalls(for applied: AppliedDelta) -> [HookCall] {
        let id = applied.delta.session
        defer { hookWork.settle(id) }
        guard let task = hookWork.task, hookWork.isPending(id), let session = applied.before else { return [] }
        return hooks.calls(task.verb, task.cause, for: session)
    }

    mutating func run(_ calls: [HookCall]) {
        let due = calls.filter { hookLedger.admits($0) }
        counters.hooksRun += UInt64(due.count)
        hooksOutstanding += due.count
        effects += due.map(Effect.hook)
    }

    mutating func hookEnded(_ call: HookCall, _ outcome: HookOutcome, now: Now) {
        hooksOutstanding = max(0, hooksOutstanding - 1)
        if hookWork.task != nil, hookWork.nextDeadline == nil { hookWork.nextDeadline = now.instant + HookWork.pause }
        acknowledgeMergePages(now: now)
        if case .notRun = outcome { hookLedger.wasNotRun(call) }
        guard let failure = outcome.failure else { return }
        counters.hooksFailed += 1
        log(
            .warning, "an updown program failed",
            [.init("program", call.program), .init("verb", call.verb.rawValue), .init("what", call.subject), .init("reason", failure)])
    }
}

extension AppliedDelta {
    /// As seen by who knows of no session before it is here.
    fileprivate var withoutArrival: AppliedDelta {
        func here(_ session: Session?) -> Session? { session.flatMap { $0.isArriving ? nil : $0 } }
        return AppliedDelta(delta: delta, before: here(before), after: here(after))
    }
}
