import IKE
import Node
import Pair
import Session

/// Deliberate faults, one for each law of `Docs/laws.md`: a checker that does not find its own fault checks nothing. Only the simulator
/// knows them; there is no such switch in a gateway.
public enum Break: String, CaseIterable, Sendable {
    /// Law 1: what the standby applies is not all that the active applied.
    case lostChange = "lost-change"
    /// Law 2: somebody acknowledges in the standby's place.
    case earlyAcknowledgement = "early-acknowledgement"
    /// Law 3: the data plane begins at the first number, whatever the lease says.
    case forgottenLease = "forgotten-lease"
    /// Law 4: who gives the sessions away goes on to speak for them.
    case openGate = "open-gate"
    /// Law 5: chance from outside the seed.
    case strangeChance = "strange-chance"
    /// Law 6: the standby installs nothing before it takes over.
    case coldStandby = "cold-standby"
    /// Law 7: a datagram that cannot be read stops the node.
    case fatalInput = "fatal-input"
    /// Law 8: the status never says that the pair is broken.
    case falseStatus = "false-status"

    public var law: Int { Break.allCases.firstIndex(of: self)! + 1 }
}

extension World {
    /// What goes onto the link instead of a frame.
    func broken(_ frame: PairFrame, from index: Int) -> PairFrame {
        guard options.broken == .lostChange, case .entry(let number, .delta(var delta)) = frame, delta.changes.count > 1 else {
            return frame
        }
        delta.changes.removeLast()
        return .entry(index: number, .delta(delta))
    }

    func breakAcknowledgement(of frame: PairFrame, from index: Int) {
        guard options.broken == .earlyAcknowledgement, case .entry(let number, _) = frame else { return }
        after(0) { $0.feed(index, .frame(.acknowledge(index: number))) }
    }

    /// - Returns: whether the command never reaches the data plane.
    func isSwallowed(_ command: DataPlaneCommand, of index: Int) -> Bool {
        switch command {
        case .gate(.closed): options.broken == .openGate
        case .install: options.broken == .coldStandby && nodes[index]?.isOwner == false
        default: false
        }
    }
}
