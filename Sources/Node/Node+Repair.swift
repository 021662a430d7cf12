import Session

/// After the data plane refused something: everything that it should have is given to it again, in pages. It takes an SA that it has
/// already as it is.
struct RepairWork {
    /// Sessions in one page: as much as a busy moment brings by itself.
    static let page = 64
    static let pause: Duration = .milliseconds(1)
    /// The first attempt follows soon, for a cause that passes; each that is refused again waits twice as long as the one before it.
    static let delayMin: Duration = .milliseconds(100)
    static let delayMax: Duration = .seconds(60)

    fileprivate var sessions: [SessionID]?
    private(set) var nextDeadline: Instant?
    private var delay = RepairWork.delayMin
    private var endedAt: Instant?

    mutating func refused(at now: Instant) {
        guard nextDeadline == nil || sessions != nil else { return }
        // A cause that was mended is another one when it comes again.
        if let endedAt, now - endedAt > delay { delay = RepairWork.delayMin }
        sessions = nil
        nextDeadline = now + delay
        delay = min(delay * 2, RepairWork.delayMax)
    }

    /// - Returns: whether it is about the first page.
    fileprivate mutating func begins(with all: @autoclosure () -> [SessionID]) -> Bool {
        guard sessions == nil else { return false }
        sessions = all()
        return true
    }

    fileprivate mutating func takePage(at now: Instant) -> [SessionID] {
        let page = Array(sessions?.suffix(RepairWork.page) ?? [])
        sessions?.removeLast(page.count)
        let isDone = sessions?.isEmpty ?? true
        nextDeadline = isDone ? nil : now + RepairWork.pause
        if isDone { (sessions, endedAt) = (nil, now) }
        return page
    }
}

extension Node {
    mutating func dataPlaneFailed(_ text: String, now: Now) {
        counters.dataPlaneFailures += 1
        log(.error, "the data plane refused a command; everything is given to it again", [.init("what", text)])
        repairs.refused(at: now.instant)
        noteDataPlaneFailure(now: now)
    }

    /// When the next page is due. Until they are recorded the table's leases are those of the former owner, and an SA that came back with
    /// one would send its numbers again (law 3).
    var nextRepair: Instant? { isHandoverOffered || leases.isRecording ? nil : repairs.nextDeadline }

    mutating func workOnRepairs(now: Now) {
        guard hasTurn, let due = nextRepair, now.instant >= due else { return }
        var commands: [DataPlaneCommand] = repairs.begins(with: table.sessions.keys.sorted()) ? [.gate(gate)] : []
        for session in repairs.takePage(at: now.instant).compactMap({ table[$0] }) {
            commands += session.children.map { plan.install($0, of: session) }
        }
        effects.append(.dataPlane(commands))
    }
}
