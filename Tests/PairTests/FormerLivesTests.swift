import Session
import Testing

@testable import Pair

/// Two nodes that start, with sessions on their disks or without.
@Suite struct FormerLivesTests {
    private static let timing = RoleTiming(heartbeatInterval: .milliseconds(50), deadAfter: 3)
    private static let start = Instant(nanoseconds: 1_000_000_000)

    private func machine(_ node: NodeID, _ lives: FormerLives?) -> RoleMachine {
        var machine = RoleMachine(node: node, timing: Self.timing, now: Self.start)
        if let lives { machine.remember(lives) }
        return machine
    }

    private func heartbeat(of machine: RoleMachine, _ node: NodeID) -> Heartbeat {
        Heartbeat(
            node: node, role: machine.role, isReady: false, wantsAnswer: false, boot: 7, echo: 8, sequence: 1, epoch: machine.announcedEpoch
        )
    }

    /// Who becomes owner when both hear each other.
    private func owner(_ zero: FormerLives?, _ one: FormerLives?) -> NodeID? {
        var machines = [machine(.zero, zero), machine(.one, one)]
        var owners: Set<NodeID> = []
        for round in 1...5 {
            let now = Self.start + .milliseconds(50 * round)
            let beats = [heartbeat(of: machines[0], .zero), heartbeat(of: machines[1], .one)]
            for index in [0, 1] { _ = machines[index].heartbeat(beats[1 - index], at: now) }
            for index in [0, 1] where machines[index].role == .active { owners.insert(index == 0 ? .zero : .one) }
        }
        return owners.count == 1 ? owners.first : nil
    }

    @Test func start_ofBoth_isBegunByWhoKnowsMore() {
        #expect(owner(nil, nil) == .zero)
        #expect(owner(FormerLives(epoch: 0, spent: 40), FormerLives(epoch: 0, spent: 80)) == .zero, "neither has sessions")
        #expect(owner(FormerLives(epoch: 6, spent: 40), FormerLives(epoch: 7, spent: 40)) == .one)
        #expect(owner(FormerLives(epoch: 8, spent: 40), FormerLives(epoch: 7, spent: 90)) == .zero)
        #expect(owner(FormerLives(epoch: 0, spent: 40), FormerLives(epoch: 2, spent: 40)) == .one)
        #expect(owner(nil, FormerLives(epoch: 2, spent: 40)) == .one, "a node without a directory waits for one with sessions")
        #expect(owner(FormerLives(epoch: 6, spent: 40), FormerLives(epoch: 6, spent: 40)) == .zero, "the owner of 6 knows more")
        #expect(owner(FormerLives(epoch: 7, spent: 40), FormerLives(epoch: 7, spent: 40)) == .one, "the owner of 7 knows more")
    }

    @Test func ownership_neverHasAnEpochThatWasSpent() {
        var alone = machine(.zero, FormerLives(epoch: 6, spent: 41))
        guard case .takeOver(.alone, let epoch) = alone.ownAlone(at: Self.start) else { return #expect(Bool(false)) }
        #expect(epoch == 42)
    }

    @Test func standby_tellsWhatWasSpent_andTheActiveGoesPastItWhenThatIsWritten() {
        var standby = machine(.one, FormerLives(epoch: 0, spent: 70))
        var active = machine(.zero, nil)
        active.mayUse(upTo: 34)
        _ = active.ownAlone(at: Self.start)
        #expect(active.epoch == 2)
        _ = standby.heartbeat(heartbeat(of: active, .zero), at: Self.start)
        #expect(standby.role == .standby && standby.announcedEpoch == 70)
        #expect(active.heartbeat(heartbeat(of: standby, .one), at: Self.start).isEmpty, "70 is past what is written")
        active.mayUse(upTo: 102)
        #expect(active.heartbeat(heartbeat(of: standby, .one), at: Self.start) == [.outbid(epoch: 72)])
        // An offer below what was spent is not taken.
        #expect(standby.takeHandover(epoch: 3, at: Self.start) == nil)
        _ = standby.heartbeat(heartbeat(of: active, .zero), at: Self.start)
        #expect(standby.takeHandover(epoch: 73, at: Self.start) == [.takeOver(cause: .switchover, epoch: 73)])
    }

    /// Its own disk does not let it outbid what the standby has spent; it can hand over all the same.
    @Test func activeWhoseDiskFails_handsOverAboveWhatTheStandbySpent() throws {
        var standby = machine(.one, FormerLives(epoch: 0, spent: 70))
        var active = machine(.zero, nil)
        active.mayUse(upTo: 34)
        _ = active.ownAlone(at: Self.start)
        _ = standby.heartbeat(heartbeat(of: active, .zero), at: Self.start)
        _ = active.heartbeat(heartbeat(of: standby, .one), at: Self.start)
        let offer = active.beginHandover(at: Self.start)
        let offered = try #require(offer)
        #expect(offered > 70 && active.epoch == 2)
        #expect(standby.takeHandover(epoch: offered, at: Self.start) == [.takeOver(cause: .switchover, epoch: offered)])
        #expect(active.handoverAccepted(epoch: offered, at: Self.start) == [.stepDown(cause: .switchover, epoch: offered)])
    }

    @Test func start_thatCannotBeDecidedYet_isNotEndedBySilence() {
        var waiting = machine(.zero, FormerLives(epoch: 6, spent: 40))
        for tenth in 1...30 { waiting.wait(at: Self.start + .milliseconds(100 * tenth)) }
        #expect(waiting.deadline(at: Self.start + .milliseconds(3_999)).isEmpty)
        #expect(waiting.deadline(at: Self.start + .milliseconds(4_000)) == [.takeOver(cause: .alone, epoch: 42)])
    }
}
