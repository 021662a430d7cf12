import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Long rows of moves: what the world checks at every step (no number, IV or message ID twice, nothing lost) holds over all of them.
@Suite struct MovesTests {
    enum Move: UInt64, CaseIterable {
        case kill
        case cut
        case switchover
    }

    /// Moves the end-user to the other node; returns which one that is. The pair is paired again afterwards.
    private static func perform(_ move: Move, from active: Int, in world: World, user: World.EndUser) -> Int {
        let other = 1 - active
        switch move {
        case .kill:
            world.kill(active)
            world.run(for: 200)
            exercise(user, at: other, in: world)
            world.start(active)
        case .cut:
            world.cut()
            world.run(for: 200)
            exercise(user, at: other, in: world)
            world.heal()
        case .switchover:
            _ = world.request(active, .switchover(force: false))
            world.run(for: 5)
            exercise(user, at: other, in: world)
        }
        world.run(for: 2_000)
        world.expect(world.role(other) == .active && world.pairState(other) == "paired", "not paired after \(move)")
        return other
    }

    /// Packets, a rekey of either kind or DPD, and packets again.
    private static func exercise(_ user: World.EndUser, at node: Int, in world: World) {
        let packets = { for _ in 0..<3 { world.expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: node), "no ESP") } }
        packets()
        switch world.random.uint64() % 4 {
        case 0: world.act(user) { $0.rekeyIKE(context: $1) }
        case 1: world.act(user) { ike, context in ike.rekeyChild(inboundSPI: ike.children[0].inboundSPI, context: context) }
        default: world.act(user) { $0.liveness(context: $1) }
        }
        world.settle(user)
        world.expect(user.initiator.lastResult == .succeeded, "the end-user's exchange failed")
        packets()
    }

    @Test(arguments: 0..<UInt64(5))
    func hundredMoves_inARow_reuseNothingAndAuthenticateNobody(seed: UInt64) throws {
        var options = World.Options()
        options.seed = 7_000 + seed
        let world = World(options)
        let user = World.EndUser(in: world)
        world.checks.label = "seed \(options.seed)"
        world.startPair()
        world.connect(user)
        world.run(for: 50)
        var active = 0
        for number in 0..<100 where !world.checks.hasFailed {
            let move = try #require(Move(rawValue: world.random.uint64() % UInt64(Move.allCases.count)))
            world.trace("move \(number): \(move)")
            active = Self.perform(move, from: active, in: world, user: user)
        }
        #expect(!world.checks.hasFailed)
        #expect(world.checks.ike.requests[34]?.count == 1, "one IKE_SA_INIT")
        #expect(world.checks.ike.requests[35]?.count == 1, "one IKE_AUTH")
    }
}
