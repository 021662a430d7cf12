import Session
import Testing

@Suite struct LeaseTests {
    /// The numbers that were given out for one SA; giving one out again is the failure that law 3 forbids.
    private struct Given {
        private var slices: [UInt64: NodeID] = [:]
        private(set) var count = 0

        /// `nil`, or what is wrong.
        mutating func give(_ lease: Lease, to node: NodeID) -> String? {
            count += 1
            let numbers = lease.numbers(extended: true)
            guard numbers.limit - numbers.next + 1 == Lease.size, (numbers.next - 1) % Lease.size == 0 else { return "no whole slice" }
            let slice = (numbers.next - 1) / Lease.size
            if let holder = slices.updateValue(node, forKey: slice) { return "slice \(slice) of \(holder) again for \(node)" }
            return nil
        }
    }

    @Test func next_whenTaken_isAboveAndOfTheNodesParity() {
        for slice in UInt64(0)..<40 {
            for node in [NodeID.zero, .one] {
                for next in [Lease(slice: slice).next(for: node), Lease(slice: slice).nextAfterGap(for: node)] {
                    #expect(next.slice > slice && next.slice % 2 == UInt64(node.rawValue))
                }
                #expect(Lease(slice: slice).nextAfterGap(for: node).slice > slice + 16)
            }
        }
    }

    /// Takeovers, extensions that the standby learns of, extensions that are lost, crashes that leave a node blank until the
    /// owner's snapshot: no number is ever given out twice.
    @Test(arguments: 0..<40) func numbers_whenOwnersAndKnowledgeChangeAtRandom_neverOverlap(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var given = Given()
        var owner: NodeID = Bool.random(using: &generator) ? .zero : .one
        // What each node's table says; `nil` is a node that crashed and has no snapshot yet.
        var known: [NodeID: Lease] = [.zero: .initial, .one: .initial]
        var unheard = 0
        #expect(given.give(.initial, to: owner) == nil)
        for step in 0..<200 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<4:
                let lease = known[owner]!.next(for: owner)
                known[owner] = lease
                if let fault = given.give(lease, to: owner) { Issue.record("step \(step): \(fault)") }
                guard known[owner.peer] != nil else { continue }
                // Lost: the standby is behind until it is filled anew. Eight slices of one parity are what the gap is for.
                let isLost = unheard < 8 && (unheard > 0 || Int.random(in: 0..<3, using: &generator) == 0)
                unheard = isLost ? unheard + 1 : 0
                if !isLost { known[owner.peer] = lease }
            case 4..<6:
                (known[owner.peer], unheard) = (known[owner], 0)
            case 6:
                (known[owner.peer], unheard) = (nil, 0)
            default:
                guard let stale = known[owner.peer] else { continue }
                let former = owner
                owner = owner.peer
                let lease = unheard > 0 ? stale.nextAfterGap(for: owner) : stale.next(for: owner)
                if let fault = given.give(lease, to: owner) { Issue.record("step \(step), takeover: \(fault)") }
                known[owner] = lease
                // The former owner comes back blank, or was told at once.
                known[former] = Bool.random(using: &generator) ? nil : lease
                unheard = 0
            }
        }
        #expect(given.count > 50)
    }

    @Test(arguments: 0..<20) func numbers_whenBothNodesOwnUnseenByEachOther_neverOverlap(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(1000 + seed))
        var given = Given()
        // Whoever created the SA has slice 0; both knew it when they lost sight of each other.
        #expect(given.give(.initial, to: seed % 2 == 0 ? .zero : .one) == nil)
        var known: [NodeID: Lease] = [.zero: .initial, .one: .initial]
        for _ in 0..<200 {
            let node: NodeID = Bool.random(using: &generator) ? .zero : .one
            let lease = Int.random(in: 0..<8, using: &generator) == 0 ? known[node]!.nextAfterGap(for: node) : known[node]!.next(for: node)
            known[node] = lease
            if let fault = given.give(lease, to: node) { Issue.record("\(fault)") }
        }
    }

    @Test func numbers_whenFollowingSlices_leaveNoGap() {
        for slice in UInt64(0)..<10 {
            #expect(Lease(slice: slice + 1).numbers(extended: true).next == Lease(slice: slice).numbers(extended: true).limit + 1)
        }
        #expect(Lease.initial.numbers(extended: false) == LeasedNumbers(next: 1, limit: Lease.size))
    }

    @Test func numbers_whenWithoutESN_endWith32Bits() {
        let last = Lease(slice: 511).numbers(extended: false)
        #expect(last == LeasedNumbers(next: 511 << 23 | 1, limit: 0xFFFF_FFFF))
        let beyond = Lease(slice: 512).numbers(extended: false)
        #expect(beyond.next > beyond.limit)
        // Seventy takeovers, each with the return of the dead (seven slices at most), fit into the space.
        #expect(last.limit / Lease.size >= 70 * 7)
    }

    @Test(arguments: [UInt64.max, UInt64.max - 15, UInt64.max / Lease.size, UInt64.max / 2, Lease.sliceMax, Lease.sliceMax + 1])
    func lease_whenSliceIsFarOut_exhaustsTheSAAndDoesNotTrap(slice: UInt64) {
        let lease = Lease(slice: slice)
        for next in [lease.next(for: .zero), lease.next(for: .one), lease.nextAfterGap(for: .zero), lease.nextAfterGap(for: .one)] {
            #expect(next.numbers(extended: true).next > next.numbers(extended: true).limit)
            #expect(next.numbers(extended: false).next > next.numbers(extended: false).limit)
        }
    }
}
