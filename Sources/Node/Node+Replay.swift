import IKE
import Pair
import Session

/// How far windows are moved so that nothing that was accepted is accepted again.
enum ReplayMargin {
    /// Past what the owner accepts between two reports and until it is missed: 16 s at a million packets a second.
    static let standby: UInt64 = 1 << 24
    /// Past what an owner that was not heard may have accepted in addition, as `Lease.nextAfterGap` reckons.
    static let gap: UInt64 = 1 << 26

    /// The pair link may bring any number.
    static func past(_ child: ChildSA, by margin: UInt64) -> UInt64 {
        let (top, overflow) = child.inboundTop.addingReportingOverflow(margin)
        return overflow ? .max : top
    }
}

/// Windows that were moved by a takeover, until the table says so.
struct ReplayWork {
    /// By how much; 0: not at all.
    var margin: UInt64 = 0
    /// The former owner may have accepted more than this node heard of.
    var isPastGap = false
    /// CHILD SAs of which the data plane has told since: their tops lie past the margin already.
    private(set) var reported: Set<UInt32> = []
    /// CHILD SAs that could not be protected.
    var unprotected: UInt64 = 0

    mutating func noteReport(_ inboundSPI: UInt32) {
        if margin > 0 { reported.insert(inboundSPI) }
    }
}

/// Counters that a takeover leaves behind (RFC 6311): message IDs when something may have been missed, and inbound numbers when the
/// replay protection is strict.
extension Node {
    var isStrict: Bool { configuration.pair?.replayProtection == .strict }

    /// What the peers have to be asked after this takeover.
    func syncNeeds(cause: TakeoverCause, heldEverything: Bool, now: Now) -> SyncNeeds {
        // With a hand-over everything came, but not the last report of what was accepted.
        let missed =
            cause != .switchover && !(activeWasPaired && receiver.missedNothing(lastHeard: watch.lastHeard, at: now.instant))
        return SyncNeeds(
            messageIDs: missed && table.count > 0, replayIncrement: isStrict ? replayMargin(isPastGap: !heldEverything) : nil)
    }

    private func replayMargin(isPastGap: Bool) -> UInt64 { ReplayMargin.standby + (isPastGap ? ReplayMargin.gap : 0) }

    /// The standby's windows stand where they have to; past a gap they are set further ahead before the gate opens.
    ///
    /// - Parameter movesWindows: at once; else the pages in which leases are recorded move them.
    mutating func beginReplayWork(isPastGap: Bool, movesWindows: Bool) {
        replay = ReplayWork()
        guard isStrict else { return }
        replay.margin = replayMargin(isPastGap: isPastGap)
        replay.isPastGap = isPastGap
        guard isPastGap, movesWindows else { return }
        let commands = table.sessions.keys.sorted().compactMap { table[$0] }.flatMap(pastGapWindows)
        if !commands.isEmpty { effects.append(.dataPlane(commands)) }
    }

    /// Past a gap, where the windows of a session have to stand before anything is let in.
    func pastGapWindows(of session: Session) -> [DataPlaneCommand] {
        guard replay.isPastGap, session.raisesReplayCounters else { return [] }
        return session.children.map { .advanceInbound(inboundSPI: $0.inboundSPI, top: ReplayMargin.past($0, by: replay.margin)) }
    }

    /// The tops that the windows were moved to, so that the next standby goes past them.
    mutating func recordedTops(of session: Session) -> [SessionChange] {
        guard replay.margin > 0 else { return [] }
        guard session.raisesReplayCounters else {
            replay.unprotected += UInt64(session.children.count)
            return []
        }
        let margin = replay.margin
        return session.children.filter { !replay.reported.contains($0.inboundSPI) }.map {
            .inboundAdvanced(inboundSPI: $0.inboundSPI, top: ReplayMargin.past($0, by: margin))
        }
    }

    /// Every session was looked at: whom the strict protection does not cover is said aloud (law 8).
    mutating func endReplayWork(now: Now) {
        guard replay.margin > 0 else { return }
        counters.replayUnprotected += replay.unprotected
        if replay.unprotected > 0 {
            let text = "their peers cannot raise the numbers of their packets"
            log(.warning, "CHILD SAs without strict replay protection", [.init("count", "\(replay.unprotected)"), .init("reason", text)])
            note(.takeover, "\(replay.unprotected) CHILD SAs have no strict replay protection: \(text)", now: now)
        }
        replay = ReplayWork()
    }
}
