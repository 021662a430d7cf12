import Control
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// The time of day by which lifetimes are reckoned.
@Suite struct SteadyClockTests {
    private static let day: Int64 = 86_400_000

    private static func time(_ seconds: Int64, off: Int64 = 0) -> Now {
        Now(instant: Instant(nanoseconds: UInt64(seconds) * 1_000_000_000), wallMilliseconds: 1_700_000_000_000 + seconds * 1000 + off)
    }

    private static func read(_ clock: inout SteadyClock, _ now: Now, isOwner: Bool = true, isBound: Bool = true) -> Int64 {
        clock.read(now, isOwner: isOwner, isBound: isBound).wallMilliseconds - now.wallMilliseconds
    }

    @Test func clockThatIsDisciplined_isFollowed() {
        var clock = SteadyClock(Self.time(0))
        for second in Int64(1)...100 { #expect(Self.read(&clock, Self.time(second, off: second * 900)) == 0) }
    }

    @Test(arguments: [day, -day]) func clockThatJumps_isApproachedByATwentieth(_ jump: Int64) {
        var clock = SteadyClock(Self.time(0))
        #expect(Self.read(&clock, Self.time(0, off: jump)) == -jump)
        #expect(Self.read(&clock, Self.time(20, off: jump)) == -jump + (jump > 0 ? 1000 : -1000))
        #expect(Self.read(&clock, Self.time(2000, off: jump)) == -jump + (jump > 0 ? 100_000 : -100_000))
        #expect(clock.hostMilliseconds == Self.time(2000, off: jump).wallMilliseconds)
        // Back again: it is as near as the twentieth made it.
        #expect(abs(Self.read(&clock, Self.time(2001))) <= 101_000)
        #expect(Self.read(&clock, Self.time(4000)) == 0)
        #expect(Self.read(&clock, Self.time(Self.day / 1000 * 25, off: jump)) == 0, "a jump that stays is caught up with")
    }

    @Test func clockThatJumps_whenThereAreNoSessions_isFollowed() {
        var clock = SteadyClock(Self.time(0))
        #expect(Self.read(&clock, Self.time(1, off: Self.day), isBound: false) == 0)
    }

    @Test func standby_goesByTheOwners() {
        var clock = SteadyClock(Self.time(0, off: Self.day))
        clock.align(to: Self.time(1).wallMilliseconds, at: Self.time(1).instant)
        #expect(Self.read(&clock, Self.time(2, off: Self.day), isOwner: false, isBound: false) == -Self.day + 50)
        // And when it is the owner itself.
        #expect(Self.read(&clock, Self.time(3, off: Self.day), isBound: true) == -Self.day + 100)
    }

    @Test func bothClocksThatJump_ageNoSession_alsoAfterATakeover() throws {
        let world = World()
        world.startPair()
        let user = World.EndUser(in: world)
        world.connect(user)
        world.run(for: 100)
        for index in [0, 1] { world.clocks[index].wallOffset = Self.day }
        world.run(for: 1000)
        func age(_ index: Int) throws -> Int64 {
            let session = try #require(world.nodes[index]?.table.sessions.values.first)
            let node = try #require(world.nodes[index])
            var clock = node.clock
            let now = clock.read(world.time(of: index), isOwner: node.isOwner, isBound: true)
            return node.summary(of: session, now: now).establishedMilliseconds
        }
        #expect(try age(0) < 5000)
        world.kill(0)
        world.run(for: 500)
        #expect(world.role(1) == .active)
        #expect(try age(1) < 5000)
    }
}
