import Pair
import Session
import Testing

@testable import Node

private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: 1_000_000_000_000) + .milliseconds(milliseconds) }

/// What makes a fault, each by itself.
@Suite struct FaultTrackTests {
    @Test func script_failsAndRecovers_onlyAfterSeveralInARow() {
        var track = ScriptTrack(rise: 2, fall: 3)
        for result in ["a", "b", nil, "c", "d"] { track.note(failure: result) }
        #expect(track.failure == nil, "never three in a row")
        track.note(failure: "e")
        #expect(track.failure == "e")
        track.note(failure: nil)
        track.note(failure: "f")
        #expect(track.failure == "f", "one success is not enough, and the reason is the latest")
        track.note(failure: nil)
        #expect(track.failure == "f")
        track.note(failure: nil)
        #expect(track.failure == nil)
    }

    @Test func level_hasTwoMarksAndSeveralSamples() {
        var track = LevelTrack(mark: 95)
        for value in [95, 96, nil, 94, 99, 99] { track.note(value) }
        #expect(!track.isBad, "two in a row")
        track.note(nil)
        track.note(95)
        #expect(track.isBad && track.value == 95, "what is not measured breaks no row")
        for value in [91, 91, 91, 91, 90, 90, 91, 90, 90] { track.note(value) }
        #expect(track.isBad, "not below the lower mark for three samples")
        track.note(12)
        #expect(!track.isBad)
    }

    @Test func failures_countWithinTheWindow_andAreOverWhenItIsQuiet() {
        var rate = FailureRate(mark: 3)
        for second in stride(from: Int64(0), to: 100, by: 6) { rate.note(at: at(second * 1000)) }
        #expect(!rate.isBad && rate.recovers == nil, "two within ten seconds, again and again")
        rate.note(at: at(100_000))
        rate.note(at: at(101_000))
        #expect(rate.isBad)
        rate.deadline(at: at(150_000))
        rate.note(at: at(160_000))
        #expect(rate.recovers == at(220_000))
        rate.deadline(at: at(219_999))
        #expect(rate.isBad)
        rate.deadline(at: at(220_000))
        #expect(!rate.isBad && rate.recovers == nil)
    }

    @Test func clockJump_thatMakesTheClocksDiffer_isAFault_andOneThatMendsThemIsNone() {
        var track = ClockTrack(threshold: .seconds(5))
        track.jump(byMilliseconds: 3_600_000)
        #expect(track.fault == nil, "with nobody to compare with, nobody knows")
        track.compare(own: 3_600_000, peer: 12)
        #expect(track.fault?.contains("+3600 s") == true)
        track.jump(byMilliseconds: -3_600_000)
        #expect(track.fault == nil)
        // A clock that was wrong all along is no fault of the other node's jump.
        track.compare(own: 50_000, peer: 0)
        #expect(track.fault == nil)
        // Its correction.
        track.jump(byMilliseconds: -49_000)
        #expect(track.fault == nil)
        // Both jump, one after the other.
        track.jump(byMilliseconds: 100_000)
        #expect(track.fault != nil)
        track.compare(own: 100_000, peer: 100_300)
        #expect(track.fault == nil && ClockTrack.text(-1_250) == "-1.250 s")
    }

    @Test func fitness_namesEveryFaultOnce_inAnOrderThatStays() {
        var configuration = TrackConfiguration()
        configuration.scripts = [TrackedScript(name: "a", command: ["/bin/true"])]
        var fitness = Fitness(configuration, now: at(0))
        let down = HealthReport.interfaces([
            .init(name: "eth0", state: .down), .init(name: "eth1", state: .up), .init(name: "tandem0", state: .missing, isDataPlane: true),
        ])
        #expect(fitness.note(down, at: at(5)).count == 2 && fitness.note(down, at: at(6)).isEmpty)
        for second in 1...3 { _ = fitness.note(.script(name: "a", failure: "exit status \(second)"), at: at(Int64(second) * 1000)) }
        _ = fitness.note(.script(name: "stranger", failure: "x"), at: at(4000))
        for _ in 0..<3 { _ = fitness.note(.resources(memory: 97, descriptors: 12), at: at(5000)) }
        #expect(fitness.named.map(\.name) == ["data_plane", "interface eth0", "memory", "script a"])
        #expect(fitness.named.map(\.reason) == ["tandem0: does not exist", "down", "97% used", "exit status 3"])
        #expect(fitness.faults[1].since == at(5) && fitness.since == at(5))
        let up = HealthReport.interfaces([
            .init(name: "eth0", state: .up), .init(name: "eth1", state: .up), .init(name: "tandem0", state: .up, isDataPlane: true),
        ])
        #expect(fitness.note(up, at: at(6000)) == [.ended(name: "data_plane"), .ended(name: "interface eth0")])
        #expect(fitness.since == at(5), "it is unfit still")
        for _ in 0..<3 { _ = fitness.note(.resources(memory: 20, descriptors: nil), at: at(7000)) }
        for _ in 0..<2 { _ = fitness.note(.script(name: "a", failure: nil), at: at(8000)) }
        #expect(fitness.isFit && fitness.since == at(8000))
    }
}

@Suite struct FlapDampingTests {
    private static let settings: DampingSettings = {
        var settings = DampingSettings()
        (settings.handovers, settings.window, settings.holdDown, settings.holdDownMax) = (3, .seconds(100), .seconds(10), .seconds(60))
        return settings
    }()

    @Test func handovers_afterTheFreeOnes_waitTwiceAsLongEachTime_upToTheLongest() {
        var damping = FlapDamping(Self.settings)
        var now: Int64 = 0
        var waits: [Int64] = []
        for _ in 0..<8 {
            damping.note(at: at(now))
            let until = damping.heldUntil.map { ($0 - at(now)).inNanoseconds / 1_000_000_000 } ?? 0
            waits.append(max(0, until))
            now += max(1000, until * 1000)
            #expect(!damping.isHolding(at: at(now)))
        }
        #expect(waits == [0, 0, 10, 20, 40, 60, 60, 60] && damping.count == 8)
    }

    @Test func handovers_farApart_areFree_andQuietEndsTheGrowth() {
        var damping = FlapDamping(Self.settings)
        for number in 0..<20 {
            damping.note(at: at(Int64(number) * 60_000))
            #expect(damping.heldUntil == nil)
        }
        for second in 0..<3 { damping.note(at: at(1_300_000 + Int64(second) * 1000)) }
        #expect(damping.heldUntil == at(1_312_000))
        damping.note(at: at(1_500_000))
        #expect(!damping.isHolding(at: at(1_500_000)))
        for second in 1..<3 { damping.note(at: at(1_500_000 + Int64(second) * 1000)) }
        #expect(damping.heldUntil == at(1_512_000), "it begins anew")
        damping.forget()
        #expect(damping.heldUntil == nil)
    }
}
