import Cryptography
import Testing

@Suite struct RandomSourceTests {
    @Test(arguments: 0...17) func system_whenAsked_givesAsManyBytes(count: Int) {
        #expect(RandomSource.system.bytes(count).count == count)
    }

    /// Short draws come from a block: none may come twice, also where one block ends.
    @Test func system_whenShortDrawsAreMany_givesEachOnce() {
        var seen: Set<UInt64> = []
        for round in 0..<5000 {
            _ = RandomSource.system.bytes(round % 8)
            seen.insert(RandomSource.system.uint64())
        }
        #expect(seen.count == 5000)
    }

    @Test func system_whenThreadsDraw_givesEachOnce() async {
        let all = await withTaskGroup(of: [UInt64].self) { group in
            for _ in 0..<8 { group.addTask { (0..<1000).map { _ in RandomSource.system.uint64() } } }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(Set(all).count == 8000)
    }

    @Test func seed_whenTheSame_givesTheSame() {
        let (one, other) = (RandomSource.seeded(7), RandomSource.seeded(7))
        #expect((0..<20).map { one.bytes($0) } == (0..<20).map { other.bytes($0) })
    }
}
