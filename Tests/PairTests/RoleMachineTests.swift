import Pair
import Session
import Testing

@Suite struct RoleMachineTests {
    static let timing = RoleTiming(heartbeatInterval: .milliseconds(50), deadAfter: 3)

    static func machine(_ node: NodeID = .one) -> RoleMachine { RoleMachine(node: node, timing: timing, now: at(0)) }

    static func heard(_ role: NodeRole, epoch: Epoch, wantsAnswer: Bool = false, boot: UInt64 = 1) -> Heartbeat {
        Heartbeat(node: .zero, role: role, isReady: true, wantsAnswer: wantsAnswer, boot: boot, echo: 1, sequence: 1, epoch: epoch)
    }

    /// Node 1 as standby of epoch 2, having heard the active at 10 ms.
    static func standby() -> RoleMachine {
        var machine = machine()
        _ = machine.heartbeat(heard(.active, epoch: 2), at: at(10))
        return machine
    }

    @Test func start_whenNobodyIsHeard_takesOverAfterTheGrace() {
        var zero = Self.machine(.zero)
        #expect(zero.deadline(at: at(999)) == [])
        #expect(zero.deadline(at: at(1000)) == [.takeOver(cause: .alone, epoch: 2)])
        var one = Self.machine(.one)
        #expect(one.deadline(at: at(1999)) == [])
        #expect(one.deadline(at: at(2000)) == [.takeOver(cause: .alone, epoch: 1)])
    }

    @Test func start_whileSomebodyCannotBeVerified_doesNotBecomeActive() {
        var machine = Self.machine(.zero)
        for time in stride(from: UInt64(50), through: 5000, by: 50) {
            let isHeldBack = machine.unverifiedHeard(at: at(time))
            #expect(isHeldBack)
            #expect(machine.deadline(at: at(time)) == [])
        }
        #expect(machine.deadline(at: at(5999)) == [])
        #expect(machine.deadline(at: at(6000)) == [.takeOver(cause: .alone, epoch: 2)])
    }

    @Test func silence_whenStandby_isNotBrokenByWhatCannotBeVerified() {
        var machine = Self.standby()
        let isHeldBack = machine.unverifiedHeard(at: at(100))
        #expect(!isHeldBack)
        #expect(machine.deadline(at: at(160)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
    }

    @Test func start_whenThePeerIsActive_standsBy() {
        var machine = Self.machine()
        #expect(machine.heartbeat(Self.heard(.active, epoch: 6), at: at(10)) == [.standBy(epoch: 6)])
        #expect(machine.role == .standby)
        #expect(machine.nextDeadline() == at(160))
    }

    @Test func start_whenBothAreNew_nodeZeroBegins() {
        var zero = Self.machine(.zero)
        var one = Self.machine(.one)
        #expect(zero.heartbeat(Self.heard(.starting, epoch: 0), at: at(20)) == [.takeOver(cause: .alone, epoch: 2)])
        #expect(one.heartbeat(Self.heard(.starting, epoch: 0), at: at(20)) == [])
        #expect(one.role == .starting)
    }

    @Test func silence_whenStandby_takesOverAfterThreeHeartbeats() {
        var machine = Self.standby()
        #expect(machine.deadline(at: at(159)) == [])
        #expect(machine.deadline(at: at(160)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
        #expect(machine.role == .active)
        #expect(machine.epoch == 3)
    }

    @Test func linkClosed_whenThePeerDoesNotAnswer_takesOverAfterHalfAnInterval() {
        var machine = Self.standby()
        #expect(machine.linkClosed(holdsEverything: true, at: at(20)) == [.probe])
        #expect(machine.nextDeadline() == at(45))
        #expect(machine.deadline(at: at(45)) == [.takeOver(cause: .linkClosed, epoch: 3)])
    }

    @Test func linkClosed_whenThePeerAnswers_changesNothing() {
        var machine = Self.standby()
        _ = machine.linkClosed(holdsEverything: true, at: at(20))
        #expect(machine.heartbeat(Self.heard(.active, epoch: 2), at: at(21)) == [])
        #expect(machine.deadline(at: at(45)) == [])
        #expect(machine.role == .standby)
    }

    @Test func heartbeat_thatSaysThePeerIsNotActive_takesOverAtOnce() {
        var machine = Self.standby()
        #expect(machine.heartbeat(Self.heard(.starting, epoch: 0, boot: 2), at: at(30)) == [.takeOver(cause: .peerNotActive, epoch: 3)])
    }

    @Test func heartbeat_ofAHigherEpoch_makesTheActiveStepDown() {
        var machine = Self.standby()
        _ = machine.deadline(at: at(160))
        #expect(machine.heartbeat(Self.heard(.active, epoch: 4), at: at(200)) == [.stepDown(cause: .higherEpoch, epoch: 4)])
        #expect(machine.role == .standby)
    }

    @Test func heartbeat_ofALowerEpoch_doesNotTouchTheActive() {
        var machine = Self.standby()
        _ = machine.deadline(at: at(160))
        #expect(machine.heartbeat(Self.heard(.active, epoch: 2), at: at(200)) == [])
        #expect(machine.role == .active)
        #expect(machine.epoch == 3)
    }

    @Test func heartbeat_ofAStandbyThatKnowsAHigherEpoch_isOutbidByTheActive() {
        var machine = Self.standby()
        _ = machine.deadline(at: at(160))
        #expect(machine.heartbeat(Self.heard(.standby, epoch: 8), at: at(200)) == [.outbid(epoch: 9)])
    }

    @Test func handover_toAStandbyThatKnowsAHigherEpoch_failsAtOnce() {
        var machine = Self.machine(.zero)
        _ = machine.deadline(at: at(1000))
        _ = machine.beginHandover(at: at(1100))
        let actions = machine.heartbeat(Self.heard(.standby, epoch: 7), at: at(1110))
        guard case .handoverFailed = actions.first else {
            Issue.record("the hand-over is not over")
            return
        }
        #expect(actions.last == .outbid(epoch: 8))
        #expect(!machine.isHandingOver)
        #expect(machine.nextDeadline() == nil)
    }

    /// The link is faster than heartbeats that left before the peer became active, and a starting node trusts it.
    @Test func link_toAnActivePeer_endsTheStartAndOutdatesItsEarlierHeartbeats() {
        var machine = Self.machine()
        #expect(machine.linked(to: .active, epoch: 2, life: 1, at: at(100)) == [.standBy(epoch: 2)])
        #expect(machine.heartbeat(Self.heard(.starting, epoch: 0), at: at(101)) == [])
        #expect(machine.linkClosed(holdsEverything: true, at: at(110)) == [.probe])
        // The peer cannot answer before it knows our life.
        #expect(machine.deadline(at: at(309)) == [])
        #expect(machine.deadline(at: at(310)) == [.takeOver(cause: .linkClosed, epoch: 3)])
    }

    @Test func linkClosed_onAStandbyThatIsStillFilled_waitsForTheHeartbeats() {
        var machine = Self.standby()
        #expect(machine.linkClosed(holdsEverything: false, at: at(20)) == [])
        #expect(machine.deadline(at: at(159)) == [])
        #expect(machine.deadline(at: at(160)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
    }

    /// The link is faster than a heartbeat that left before the peer accepted.
    @Test func heartbeat_fromBeforeTheHandOver_doesNotTakeItBack() {
        var machine = Self.machine(.zero)
        _ = machine.deadline(at: at(1000))
        _ = machine.beginHandover(at: at(1100))
        _ = machine.handoverAccepted(epoch: 5, at: at(1101))
        #expect(machine.heartbeat(Self.heard(.standby, epoch: 2), at: at(1102)) == [])
        #expect(machine.role == .standby)
    }

    @Test func handover_whenAccepted_stepsDownOnce() throws {
        var machine = Self.machine(.zero)
        _ = machine.deadline(at: at(1000))
        #expect(machine.beginHandover(at: at(1100)) == 5)
        #expect(machine.beginHandover(at: at(1100)) == nil)
        #expect(machine.handoverAccepted(epoch: 3, at: at(1101)) == [])
        #expect(machine.handoverAccepted(epoch: 5, at: at(1101)) == [.stepDown(cause: .switchover, epoch: 5)])
        #expect(machine.handoverAccepted(epoch: 5, at: at(1101)) == [])
        #expect(machine.role == .standby)
    }

    /// The standby had missed us, and was owner before we offered anything: it holds what it held then.
    @Test(arguments: [(Epoch(3), StepDownCause.higherEpoch), (Epoch(5), .switchover)])
    func heartbeatOfAnActivePeer_whenHandingOver_isAnAnswerOnlyInTheOfferedEpoch(epoch: Epoch, cause: StepDownCause) {
        var machine = Self.machine(.zero)
        _ = machine.deadline(at: at(1000))
        #expect(machine.beginHandover(at: at(1100)) == 5)
        #expect(machine.heartbeat(Self.heard(.active, epoch: epoch), at: at(1101)) == [.stepDown(cause: cause, epoch: epoch)])
    }

    @Test func handover_whenNobodyAnswers_carriesOn() {
        var machine = Self.machine(.zero)
        _ = machine.deadline(at: at(1000))
        _ = machine.beginHandover(at: at(1100))
        #expect(machine.deadline(at: at(1599)) == [])
        guard case .handoverFailed = machine.deadline(at: at(1600)).first else {
            Issue.record("the hand-over did not fail")
            return
        }
        #expect(machine.role == .active)
        #expect(machine.epoch == 2)
    }

    @Test func handover_ofAnEpochThatIsNotOurs_isRefused() {
        var machine = Self.standby()
        #expect(machine.takeHandover(epoch: 4, at: at(20)) == nil)
        #expect(machine.takeHandover(epoch: 1, at: at(20)) == nil)
        #expect(machine.takeHandover(epoch: 3, at: at(20)) == [.takeOver(cause: .switchover, epoch: 3)])
    }

    /// Whatever two nodes hear and miss, no epoch is ever made by both.
    @Test func epochs_overAnyHistory_areNeverMadeTwice() {
        var seed: UInt64 = 0x9E37_79B9_7F4A_7C15
        func random(_ bound: UInt64) -> UInt64 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (seed >> 33) % bound
        }
        for _ in 0..<200 {
            var machines = [Self.machine(.zero), Self.machine(.one)]
            var made: [Set<Epoch>] = [[], []]
            var now: UInt64 = 0
            for _ in 0..<60 {
                now += random(200)
                let index = Int(random(2))
                let actions: [RoleAction]
                if random(2) == 0 {
                    let peer = machines[1 - index]
                    let heartbeat = Heartbeat(
                        node: index == 0 ? .one : .zero, role: peer.role, isReady: true, wantsAnswer: false, boot: 1, echo: 1, sequence: 1,
                        epoch: peer.epoch)
                    actions = machines[index].heartbeat(heartbeat, at: at(now))
                } else {
                    actions = machines[index].deadline(at: at(now))
                }
                for case .takeOver(_, let epoch) in actions {
                    let isNew = made[index].insert(epoch).inserted
                    #expect(isNew)

                }
            }
            #expect(made[0].isDisjoint(with: made[1]))
        }
    }
}
