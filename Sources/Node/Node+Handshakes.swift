import IKE
import Pair
import Session

/// What the standby is told beside sessions: half-open IKE SAs, fragments, last answers. In the log, so that the same
/// acknowledgements count; in the engine, because none of it is a session's.
extension Node {
    /// A standby takes it.
    var tellsHandshakes: Bool { sender.isRunning && link.peer?.takesHandshakes == true }

    mutating func tellHandshakes(_ changes: [HandshakeChange], now: Now) {
        guard tellsHandshakes else { return }
        for change in changes {
            counters.handshakeEntriesSent += 1
            replicate(.handshake(change), now: now)
        }
    }

    /// A standby has just been given the beginning of a snapshot: what is half-open follows at once.
    mutating func tellAllHandshakes(now: Now) { tellHandshakes(ike.handshakes(), now: now) }

    /// As `RoleTiming.introductionTime` has it, in heartbeat intervals.
    private static let introductionIntervals = 4

    /// On the standby.
    mutating func standBy(_ frame: PairFrame, applied: [AppliedDelta], now: Now) {
        switch frame {
        case .snapshotBegin: ike.forgetHandshakes()
        case .entry(_, .handshake(let change)): ike.standBy(change, at: now.instant)
        case .entry: for change in applied { ike.standBy(change, at: now.instant) }
        default: break
        }
    }

    /// The active does not say what has expired.
    mutating func forgetHandshakes(now: Now) { if !isOwner { ike.expireHandshakes(at: now.instant) } }

    /// What the former owner said last may have died with it. It lived when it was last heard, and nothing waits for longer than the
    /// commit timeout; a heartbeat's interval more makes sure.
    mutating func repeatAnswers(cause: TakeoverCause, now: Now) {
        guard cause != .switchover, let pair = configuration.pair else { return }
        // Nodes that have just met may not have heard each other yet: then it was on the link that they spoke.
        let heard = watch.lastHeard ?? now.instant + (.zero - pair.heartbeatInterval * Node.introductionIntervals)
        ike.repeatAnswers(since: heard + (.zero - pair.commitTimeout - pair.heartbeatInterval), at: now.instant)
    }
}

extension HandshakeChange {
    /// Our SPI of an IKE SA that begins.
    var opened: UInt64? {
        guard case .opened(let half) = self else { return nil }
        return half.spis.responder
    }
}
