import Simulator
import Testing

/// A few seeds of what `make simulate` runs many of.
@Suite struct SwarmTests {
    @Test(arguments: Swarm.Kind.allCases) func everything_atRandom_keepsTheLawsAndRecovers(kind: Swarm.Kind) {
        for seed in UInt64(0)..<40 {
            let result = Swarm(seed: seed, kind: kind).run()
            #expect(result.failure == nil)
        }
    }

    @Test func seed_runTwice_isTheSameRun() {
        #expect(Swarm(seed: 5, kind: .rough).run().digest == Swarm(seed: 5, kind: .rough).run().digest)
        #expect(Swarm(seed: 5, kind: .rough).run().digest != Swarm(seed: 6, kind: .rough).run().digest)
    }
}
