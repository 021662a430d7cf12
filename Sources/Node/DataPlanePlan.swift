import IKE
import Session

/// What the data plane is told of a change, derived from the session before and after it by the same function on both nodes.
///
/// The owner's SAs get the numbers of their lease; the standby's stand armed with those that it would use as owner (law 6), and, where
/// the nodes have addresses of their own, at the address at which it would serve: the peer's packets come there only when it owns.
struct DataPlanePlan {
    let node: NodeID
    let isOwner: Bool
    let addresses: NodeAddresses
    /// The standby's windows stand past what the owner may accept unheard (`ReplayProtection.strict`).
    var isStrict = false
    /// Slices of CHILD SAs that a former life of this node came to, as its disk says: whoever fills us may not know of them.
    var spentSlices: [UInt32: UInt64] = [:]

    /// Where this node goes on, above all that it may have used.
    func lease(_ step: LeaseStep, after child: ChildSA) -> Lease {
        let lease = step.lease(after: child, for: node)
        guard !spentSlices.isEmpty, let spent = spentSlices[child.inboundSPI], lease.slice <= spent else { return lease }
        return Lease(slice: spent).next(for: node)
    }

    func numbers(of child: ChildSA, in session: Session) -> LeasedNumbers {
        // The slice that the disk says was come to is a former life's, also while the table has it for the owner's.
        let isSpent = spentSlices[child.inboundSPI].map { child.lease.slice <= $0 } ?? false
        let lease = isOwner && !isSpent ? child.lease : lease(.next, after: child)
        var numbers = lease.numbers(extended: child.algorithms.extendedSequenceNumbers)
        // Another gateway sends for it still: this one may not, and stands where it will begin.
        if session.isArriving { numbers.limit = min(numbers.limit, numbers.next - 1) }
        return numbers
    }

    func install(_ child: ChildSA, of session: Session) -> DataPlaneCommand {
        var child = child
        child.inboundTop = inboundTop(of: child, in: session)
        return .install(
            ChildInstallation(
                session: session.id, child: child, local: addresses.here(session.local), remote: session.remote,
                encapsulation: session.encapsulation, numbers: numbers(of: child, in: session)))
    }

    /// Where the window of the SA stands.
    func inboundTop(of child: ChildSA, in session: Session) -> UInt64 {
        isStrict && !isOwner && session.raisesReplayCounters ? ReplayMargin.past(child, by: ReplayMargin.standby) : child.inboundTop
    }

    /// What a node that has just become standby sets its SA to.
    func standBy(_ child: ChildSA, of session: Session) -> [DataPlaneCommand] {
        let top = inboundTop(of: child, in: session)
        return [arm(child, in: session)] + (top > child.inboundTop ? [.advanceInbound(inboundSPI: child.inboundSPI, top: top)] : [])
    }

    func arm(_ child: ChildSA, in session: Session) -> DataPlaneCommand {
        .lease(inboundSPI: child.inboundSPI, numbers: numbers(of: child, in: session))
    }

    func commands(for applied: AppliedDelta) -> [DataPlaneCommand] {
        let before = applied.before
        guard let after = applied.after else {
            return before.map { session in session.children.map { removal(of: $0, in: session) } } ?? []
        }
        let hasMoved =
            before.map {
                addresses.here($0.local) != addresses.here(after.local) || $0.remote != after.remote
                    || $0.encapsulation != after.encapsulation
            } ?? true
        var out: [DataPlaneCommand] = []
        for child in after.children {
            guard let known = before?.child(inboundSPI: child.inboundSPI), !hasMoved, known.isSameSA(as: child) else {
                out.append(install(child, of: after))
                continue
            }
            if known.lease != child.lease || before?.isArriving != after.isArriving { out.append(arm(child, in: after)) }
            if !isOwner, known.inboundTop != child.inboundTop {
                out.append(.advanceInbound(inboundSPI: child.inboundSPI, top: inboundTop(of: child, in: after)))
            }
        }
        for child in before?.children ?? [] where after.child(inboundSPI: child.inboundSPI) == nil {
            out.append(removal(of: child, in: after))
        }
        return out
    }

    private func removal(of child: ChildSA, in session: Session) -> DataPlaneCommand {
        .remove(session: session.id, child: child, local: addresses.here(session.local), remote: session.remote)
    }
}

extension ChildSA {
    /// Whether all but the counters is the same: then nothing has to be installed anew.
    fileprivate func isSameSA(as other: ChildSA) -> Bool {
        var copy = self
        copy.lease = other.lease
        copy.inboundTop = other.inboundTop
        return copy == other
    }
}
