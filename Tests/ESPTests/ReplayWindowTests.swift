import ESP
import Testing

/// RFC 4303 §3.4.3 and Appendix A, RFC 6479.
@Suite struct ReplayWindowTests {
    /// What a window must say, remembered number by number.
    private struct Model {
        let size: UInt64
        var top: UInt64 = 0
        var seen: Set<UInt64> = []

        func check(_ sequence: UInt64) -> ReplayWindow.Verdict {
            if sequence == 0 || sequence + size <= top { return .tooOld }
            return seen.contains(sequence) ? .duplicate : .fresh
        }

        mutating func accept(_ sequence: UInt64) {
            seen.insert(sequence)
            top = max(top, sequence)
        }
    }

    @Test func check_ofZero_isTooOld() {
        #expect(ReplayWindow().check(0) == .tooOld)
    }

    @Test func accept_inAnyOrder_agreesWithASetOfNumbers() {
        var random = SystemRandomNumberGenerator()
        for size in [32, 64, 1000, 1024, ReplayWindow.sizeMax] {
            var window = ReplayWindow(size: size)
            var model = Model(size: UInt64(size))
            for _ in 0..<20_000 {
                // Mostly near the top, sometimes far above it.
                let reach = UInt64.random(in: 0..<100, using: &random) == 0 ? UInt64(5000) : 40
                let low = model.top > UInt64(size) + 100 ? model.top - UInt64(size) - 100 : 0
                let sequence = UInt64.random(in: low...model.top + reach, using: &random)
                let verdict = window.check(sequence)
                #expect(verdict == model.check(sequence), "\(sequence) at \(model.top), size \(size)")
                if verdict == .fresh {
                    window.accept(sequence)
                    model.accept(sequence)
                }
                #expect(window.top == model.top)
            }
        }
    }

    @Test func check_atTheWindowsEdges_followsItsSize() {
        var window = ReplayWindow(size: 1024)
        window.accept(2000)
        #expect(window.check(2000) == .duplicate)
        #expect(window.check(2000 - 1023) == .fresh)
        #expect(window.check(2000 - 1024) == .tooOld)
        window.accept(2000 - 1023)
        #expect(window.check(2000 - 1023) == .duplicate)
    }

    @Test func accept_farAboveTheTop_forgetsTheRing() {
        var window = ReplayWindow()
        for sequence in 1...3000 as ClosedRange<UInt64> { window.accept(sequence) }
        window.accept(1 << 40)
        #expect(window.check((1 << 40) - 1) == .fresh)
        #expect(window.check((1 << 40) - 1023) == .fresh)
        #expect(window.check(3000) == .tooOld)
    }

    @Test(arguments: [1, 63, 64, 65, 1023, 1024, 5000] as [UInt64])
    func advance_toWhatAnotherNodeAccepted_refusesAllUpToIt(top: UInt64) {
        var advanced = ReplayWindow()
        advanced.accept(1)
        advanced.advance(to: top)
        let started = ReplayWindow(top: top)
        for window in [advanced, started] {
            #expect(window.top == top)
            for sequence in 1...top { #expect(window.check(sequence) != .fresh, "\(sequence) of \(top)") }
            for sequence in top + 1...top + 3000 { #expect(window.check(sequence) == .fresh, "\(sequence) of \(top)") }
        }
    }

    @Test func advance_belowTheTop_changesNothing() {
        var window = ReplayWindow()
        window.accept(500)
        window.advance(to: 400)
        #expect(window.top == 500)
        #expect(window.check(399) == .fresh)
    }

    /// RFC 4303 §A2.2: case A (window in one subspace) and case B (in two).
    @Test func inferred_atTheEdgesOfSubspaces_followsAppendixA() {
        let subspace: UInt64 = 1 << 32
        let early = ReplayWindow(size: 1024, top: 10)
        #expect(early.inferred(low: 11) == 11)
        #expect(early.inferred(low: 0xFFFF_FFFF) == nil)
        let caseA = ReplayWindow(size: 1024, top: 5 * subspace + 5000)
        #expect(caseA.inferred(low: 5000 - 1023) == 5 * subspace + 5000 - 1023)
        #expect(caseA.inferred(low: 5000 - 1024) == 6 * subspace + 5000 - 1024)
        #expect(caseA.inferred(low: 0xFFFF_FFFF) == 5 * subspace + 0xFFFF_FFFF)
        let caseB = ReplayWindow(size: 1024, top: 5 * subspace + 100)
        #expect(caseB.inferred(low: 0xFFFF_FFFF) == 5 * subspace - 1)
        #expect(caseB.inferred(low: 0) == 5 * subspace)
        #expect(caseB.inferred(low: 100_000) == 5 * subspace + 100_000)
        let last = ReplayWindow(size: 1024, top: UInt64.max - 5)
        #expect(last.inferred(low: 7) == nil)
    }
}
