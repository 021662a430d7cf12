import Session
import Testing

@testable import Pair

/// The role machine with others to ask. Times are in milliseconds; heartbeats every 50, dead after 150.
@Suite struct ArbitrationTests {
    static let witness = ArbitrationPlan.Witness(timeout: .milliseconds(100), ttl: .seconds(3))
    static let staying = ArbitrationPlan.Witness(timeout: .milliseconds(100), ttl: .seconds(3), whenUnreachable: .stay)

    static func machine(_ plan: ArbitrationPlan, _ node: NodeID = .one) -> RoleMachine {
        RoleMachine(node: node, timing: RoleMachineTests.timing, arbitration: plan, now: at(0))
    }

    /// Node 1 as standby of epoch 2, having heard the active at 10 ms.
    static func standby(_ plan: ArbitrationPlan) -> RoleMachine {
        var machine = machine(plan)
        _ = machine.heartbeat(RoleMachineTests.heard(.active, epoch: 2), at: at(10))
        return machine
    }

    /// The number of the only question in `actions`.
    static func number(_ actions: [RoleAction], _ question: ArbiterQuestion) throws -> QuestionNumber {
        let numbers = actions.compactMap { action -> QuestionNumber? in
            if case .ask(let number, question) = action { number } else { nil }
        }
        return try #require(numbers.count == 1 ? numbers[0] : nil, "\(actions)")
    }

    /// Node 1 as owner of epoch 3 by a claim that was granted at 160 ms, until 3,160.
    static func alone(_ witness: ArbitrationPlan.Witness) throws -> RoleMachine {
        var machine = standby(ArbitrationPlan(witness: witness))
        let asked = try number(machine.deadline(at: at(160)), .claim(epoch: 3))
        #expect(machine.answered(asked, .granted(until: at(3160)), at: at(162)) == [])
        #expect(machine.deadline(at: at(310)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
        return machine
    }

    // MARK: - Who would own

    @Test func silence_withAWitness_ownsOnlyWhenAnOwnerThatLivesHasLetGo() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        let asked = try Self.number(machine.deadline(at: at(160)), .claim(epoch: 3))
        #expect(machine.role == .standby && machine.isSeeking)
        #expect(machine.answered(asked, .granted(until: at(3160)), at: at(163)) == [])
        // 10 + 150 dead + 100 for its own claim + 50 of margin.
        #expect(machine.nextDeadline() == at(310))
        #expect(machine.deadline(at: at(309)) == [])
        #expect(machine.deadline(at: at(310)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
        #expect(!machine.isSeeking)
    }

    @Test func closedLink_withAWitness_ownsWithItsAnswer() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        #expect(machine.linkClosed(holdsEverything: true, at: at(20)) == [.probe])
        let asked = try Self.number(machine.deadline(at: at(45)), .claim(epoch: 3))
        #expect(machine.answered(asked, .granted(until: at(3045)), at: at(47)) == [.takeOver(cause: .linkClosed, epoch: 3)])
    }

    @Test func claimOfTheOther_keepsTheStandbyBackUntilItIsGone() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        let first = try Self.number(machine.deadline(at: at(160)), .claim(epoch: 3))
        let reason = "the witness has a claim of sg1"
        #expect(machine.answered(first, .refused(holder: "sg1"), at: at(162)) == [.withheld(cause: .heartbeatLost, reason: reason)])
        #expect(machine.nextDeadline() == at(662))
        let second = try Self.number(machine.deadline(at: at(662)), .claim(epoch: 3))
        // Said once, not with every try.
        #expect(machine.answered(second, .refused(holder: "sg1"), at: at(664)) == [])
        let third = try Self.number(machine.deadline(at: at(1164)), .claim(epoch: 3))
        #expect(machine.answered(third, .granted(until: at(4164)), at: at(1166)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
    }

    @Test func witnessThatIsNotReached_letsNobodyTakeOver() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        var now: UInt64 = 160
        for _ in 0..<20 {
            for action in machine.deadline(at: at(now)) {
                if case .takeOver = action { Issue.record("owns without leave") }
                if case .ask(let number, .claim) = action, now % 2 == 0 {
                    _ = machine.answered(number, .unanswered(reason: "refused"), at: at(now))
                }
            }
            now = max(now + 1, machine.nextDeadline()!.nanoseconds / 1_000_000)
        }
        #expect(machine.role == .standby && now > 3000)
    }

    @Test func ownerThatIsHeardAgain_endsTheSearchAndTakesTheClaimBack() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        let asked = try Self.number(machine.deadline(at: at(160)), .claim(epoch: 3))
        let actions = machine.heartbeat(RoleMachineTests.heard(.active, epoch: 2), at: at(161))
        _ = try Self.number(actions, .release)
        // The answer comes too late to count.
        #expect(machine.answered(asked, .granted(until: at(3160)), at: at(163)) == [])
        #expect(machine.deadline(at: at(310)) == [] || machine.role == .standby)
        #expect(machine.role == .standby)
    }

    @Test func everything_isAskedInItsOrder() throws {
        let plan = ArbitrationPlan(
            check: .init(timeout: .milliseconds(500)), witness: Self.witness, fencing: .init(timeout: .seconds(5)))
        var machine = Self.standby(plan)
        let check = try Self.number(machine.deadline(at: at(160)), .check)
        let claim = try Self.number(machine.answered(check, .reachable, at: at(165)), .claim(epoch: 3))
        let fence = try Self.number(machine.answered(claim, .granted(until: at(3165)), at: at(167)), .fence(cause: .heartbeatLost))
        // What is fenced does not have to be waited for.
        #expect(machine.answered(fence, .fenced, at: at(170)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
    }

    @Test func nodeThatReachesNothing_doesNotTakeOver() throws {
        var machine = Self.standby(ArbitrationPlan(check: .init(timeout: .milliseconds(500))))
        let first = try Self.number(machine.deadline(at: at(160)), .check)
        let reason = "the reachability check failed: exit status 1"
        #expect(
            machine.answered(first, .notReachable(reason: "exit status 1"), at: at(165)) == [
                .withheld(cause: .heartbeatLost, reason: reason)
            ])
        let second = try Self.number(machine.deadline(at: at(665)), .check)
        #expect(machine.answered(second, .reachable, at: at(670)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
    }

    @Test func fencingThatFails_isAReasonNotToOwn_unlessTheOperatorSaysOtherwise() throws {
        for goesOn in [false, true] {
            let fencing = ArbitrationPlan.Fencing(timeout: .seconds(5), goesOnAfterFailure: goesOn)
            var machine = Self.standby(ArbitrationPlan(fencing: fencing))
            let asked = try Self.number(machine.deadline(at: at(160)), .fence(cause: .heartbeatLost))
            let actions = machine.answered(asked, .notFenced(reason: "exit status 1"), at: at(200))
            if goesOn {
                #expect(actions == [.takeOver(cause: .heartbeatLost, epoch: 3)])
            } else {
                #expect(actions == [.withheld(cause: .heartbeatLost, reason: "fencing failed: exit status 1")])
                #expect(machine.role == .standby)
            }
        }
    }

    @Test func fencingThatHangs_isGivenUp() throws {
        var machine = Self.standby(ArbitrationPlan(fencing: .init(timeout: .seconds(5))))
        _ = try Self.number(machine.deadline(at: at(160)), .fence(cause: .heartbeatLost))
        #expect(machine.nextDeadline() == at(6160))
        #expect(machine.deadline(at: at(6160)) == [.withheld(cause: .heartbeatLost, reason: "fencing failed: the program did not end")])
    }

    @Test func claimThatGotOldWhileFencing_isAskedForAgain() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness, fencing: .init(timeout: .seconds(5))))
        let claim = try Self.number(machine.deadline(at: at(160)), .claim(epoch: 3))
        let fence = try Self.number(machine.answered(claim, .granted(until: at(3160)), at: at(162)), .fence(cause: .heartbeatLost))
        let again = try Self.number(machine.answered(fence, .fenced, at: at(4000)), .claim(epoch: 3))
        #expect(machine.answered(again, .granted(until: at(6000)), at: at(4002)) == [.takeOver(cause: .heartbeatLost, epoch: 3)])
    }

    @Test func start_whenNobodyIsHeard_asksTheWitness() throws {
        var machine = Self.machine(ArbitrationPlan(witness: Self.witness), .zero)
        let asked = try Self.number(machine.deadline(at: at(1000)), .claim(epoch: 2))
        #expect(machine.role == .starting)
        #expect(machine.answered(asked, .granted(until: at(4000)), at: at(1002)) == [.takeOver(cause: .alone, epoch: 2)])
    }

    /// Whoever is told needs nobody else: the witness is for those who hear nothing.
    @Test func peerThatSaysSo_isTakenOverWithoutAWitness() throws {
        var machine = Self.standby(
            ArbitrationPlan(check: .init(timeout: .seconds(1)), witness: Self.witness, fencing: .init(timeout: .seconds(5))))
        let starting = RoleMachineTests.heard(.starting, epoch: 0, boot: 2)
        machine.heartbeatsSent(upTo: 4, at: at(28))
        _ = machine.wasHeard(upTo: 4, at: at(30))
        #expect(machine.heartbeat(starting, at: at(30)) == [.takeOver(cause: .peerNotActive, epoch: 3)])
        // One that may not hear us could ask the witness itself.
        var unheard = Self.standby(ArbitrationPlan(witness: Self.witness))
        let asked = try Self.number(unheard.heartbeat(starting, at: at(30)), .claim(epoch: 3))
        #expect(unheard.answered(asked, .granted(until: at(3030)), at: at(32)) == [.takeOver(cause: .peerNotActive, epoch: 3)])
        var other = Self.standby(ArbitrationPlan(witness: Self.witness))
        #expect(other.takeHandover(epoch: 3, at: at(30)) == [.takeOver(cause: .switchover, epoch: 3)])
    }

    // MARK: - Who owns

    @Test func ownerThatIsHeard_asksNobody() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        _ = machine.takeHandover(epoch: 3, at: at(30))
        for time in stride(from: UInt64(50), through: 5000, by: 50) {
            machine.heartbeatsSent(upTo: time, at: at(time))
            #expect(machine.wasHeard(upTo: time, at: at(time + 1)) == [])
            #expect(machine.deadline(at: at(time + 1)) == [])
        }
    }

    /// The peer goes on speaking, and does not hear us any more: it is as if nobody were heard.
    @Test func ownerThatHearsButIsNotHeard_claims() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        _ = machine.takeHandover(epoch: 3, at: at(30))
        for time in stride(from: UInt64(50), through: 150, by: 50) { machine.heartbeatsSent(upTo: time, at: at(time)) }
        #expect(machine.wasHeard(upTo: 50, at: at(60)) == [])
        #expect(machine.wasHeard(upTo: 50, at: at(150)) == [])
        // What was sent at 50 is the last that is known to have been heard.
        #expect(machine.nextDeadline() == at(200))
        _ = try Self.number(machine.deadline(at: at(200)), .claim(epoch: 3))
    }

    @Test func ownerWithoutAnswer_letsGoBeforeTheOtherMayOwn() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        _ = machine.takeHandover(epoch: 3, at: at(30))
        let asked = try Self.number(machine.deadline(at: at(180)), .claim(epoch: 3))
        _ = machine.answered(asked, .unanswered(reason: "refused"), at: at(182))
        #expect(machine.deadline(at: at(279)) == [])
        #expect(machine.role == .active)
        let actions = machine.deadline(at: at(280))
        #expect(actions.first == .stepDown(cause: .notConfirmed(reason: "the witness: refused"), epoch: 3))
        #expect(machine.role == .standby)
        // From there on it asks as a standby does.
        _ = try Self.number(machine.deadline(at: at(281)), .claim(epoch: 5))
    }

    @Test func ownerWithoutAnswer_whenToldToStay_staysUntilTheOtherHasAClaim() throws {
        var machine = Self.standby(ArbitrationPlan(witness: Self.staying))
        _ = machine.takeHandover(epoch: 3, at: at(30))
        let first = try Self.number(machine.deadline(at: at(180)), .claim(epoch: 3))
        _ = machine.answered(first, .unanswered(reason: "refused"), at: at(182))
        #expect(machine.deadline(at: at(280)) == [.unconfirmed(reason: "the witness: refused")])
        #expect(machine.role == .active)
        let second = try Self.number(machine.deadline(at: at(682)), .claim(epoch: 3))
        let actions = machine.answered(second, .refused(holder: "sg1"), at: at(684))
        #expect(actions.first == .stepDown(cause: .notConfirmed(reason: "the witness has a claim of sg1"), epoch: 3))
    }

    @Test func ownerWhoseClaimIsNotConfirmed_letsGoBeforeItRunsOut() throws {
        var machine = try Self.alone(Self.witness)
        var now: UInt64 = 311
        var left: UInt64?
        while now < 4000, left == nil {
            for action in machine.deadline(at: at(now)) {
                switch action {
                case .ask(let number, .claim): _ = machine.answered(number, .unanswered(reason: "refused"), at: at(now))
                case .stepDown: left = now
                default: break
                }
            }
            now += 1
        }
        // A fifth of the lease before 3,160.
        #expect(left == 2560)
    }

    @Test func ownerWhoseClaimIsConfirmed_staysForEver() throws {
        var machine = try Self.alone(Self.witness)
        var questions = 0
        for now in UInt64(311)..<20_000 {
            for action in machine.deadline(at: at(now)) {
                guard case .ask(let number, .claim(epoch: 3)) = action else {
                    Issue.record("\(action)")
                    continue
                }
                questions += 1
                _ = machine.answered(number, .granted(until: at(now + 3000)), at: at(now))
            }
        }
        #expect(machine.role == .active)
        // A quarter of the lease apart.
        #expect((20...30).contains(questions))
    }

    @Test func ownerThatIsHeardAgain_givesItsClaimBack() throws {
        var machine = try Self.alone(Self.witness)
        machine.heartbeatsSent(upTo: 7, at: at(400))
        _ = try Self.number(machine.wasHeard(upTo: 7, at: at(402)), .release)
        #expect(machine.nextDeadline() == at(550))
    }

    @Test func ownerThatReachesNothing_letsGo() throws {
        var machine = Self.standby(ArbitrationPlan(check: .init(timeout: .milliseconds(500))))
        _ = machine.takeHandover(epoch: 3, at: at(30))
        let asked = try Self.number(machine.deadline(at: at(180)), .check)
        #expect(machine.answered(asked, .reachable, at: at(185)) == [])
        let again = try Self.number(machine.deadline(at: at(685)), .check)
        let actions = machine.answered(again, .notReachable(reason: "exit status 1"), at: at(690))
        #expect(actions.first == .stepDown(cause: .notConfirmed(reason: "the reachability check failed: exit status 1"), epoch: 3))
    }

    /// A process that was stopped for long finds that its time is over before it does anything else.
    @Test func ownerThatWasStopped_letsGoBeforeItAsks() {
        var machine = Self.standby(ArbitrationPlan(witness: Self.witness))
        _ = machine.takeHandover(epoch: 3, at: at(30))
        guard case .stepDown? = machine.deadline(at: at(5000)).first else {
            Issue.record("it goes on")
            return
        }
    }

    // MARK: - Nobody owns

    /// Both had let go; the one that owned last begins again, without a witness, once each hears the other.
    @Test func twoThatLetGo_whenTheyHearEachOther_theLastOwnerBegins() throws {
        var last = Self.standby(ArbitrationPlan(witness: Self.witness))
        _ = last.takeHandover(epoch: 3, at: at(30))
        _ = last.deadline(at: at(180))
        _ = last.deadline(at: at(280))
        #expect(last.role == .standby)
        last.heartbeatsSent(upTo: 9, at: at(500))
        _ = last.wasHeard(upTo: 9, at: at(501))
        let actions = last.heartbeat(RoleMachineTests.heard(.standby, epoch: 3), at: at(501))
        #expect(actions.last == .takeOver(cause: .peerNotActive, epoch: 5))

        var other = Self.standby(ArbitrationPlan(witness: Self.witness))
        _ = other.heartbeat(RoleMachineTests.heard(.active, epoch: 2), at: at(20))
        let waiting = other.heartbeat(RoleMachineTests.heard(.standby, epoch: 2), at: at(501))
        #expect(waiting == [] && other.role == .standby && !other.isSeeking)
    }
}
