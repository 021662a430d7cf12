import Control
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Addresses of a pair: kept for who is away, and never given to two.
@Suite struct PoolTests {
    private static func world(_ change: (inout World.Options) -> Void = { _ in }) -> World {
        var options = World.Options()
        change(&options)
        let world = World(options)
        world.startPair()
        return world
    }

    private static func leases(_ world: World, _ index: Int) -> [IPAddress: Identity] {
        let sessions = world.nodes[index].map { Array($0.table.sessions.values) } ?? []
        let leases = sessions.flatMap { session in
            session.virtualAddresses.map { ($0.address, session.authorization.remoteIdentity) }
        }
        return Dictionary(leases) { first, _ in first }
    }

    private static func pools(_ world: World, _ index: Int) throws -> PoolSummary {
        let token = world.request(index, .listPools(name: nil, withLeases: true))
        guard case .pools(let pools)? = world.responses[token]?.last else { throw Missing() }
        return try #require(pools.first)
    }

    private struct Missing: Error {}

    private static func leave(_ user: World.EndUser, _ world: World) {
        world.act(user) { $0.delete(context: $1) }
        world.settle(user)
        world.run(for: 20)
    }

    @Test func identity_thatComesBackAfterATakeover_hasItsAddressAgain() throws {
        let world = PoolTests.world { $0.persistent = true }
        let user = World.EndUser(in: world)
        world.connect(user)
        let address = try #require(user.initiator.virtualAddresses.first)
        PoolTests.leave(user, world)
        #expect(world.nodes[1]?.table.reservations[address]?.offlineSince != nil)
        #expect(world.nodes[1]?.table.reservations == world.nodes[0]?.table.reservations)
        let pool = try PoolTests.pools(world, 1)
        #expect(pool.online == 0 && pool.offline == 1)
        #expect(pool.leases == [LeaseSummary(address: "\(address)", identity: "client0.example.net", isOnline: false)])

        world.kill(0)
        world.run(for: 300)
        let again = World.EndUser(in: world)
        world.connect(again)
        #expect(again.initiator.virtualAddresses == [address], "in the other node's half, and its own all the same")
        #expect(try PoolTests.pools(world, 1).leases.map(\.isOnline) == [true])
        PoolTests.leave(again, world)

        // The dead node comes back with nothing, and learns of it from the snapshot.
        world.start(0)
        world.run(for: 1500)
        #expect(world.pairState(1) == "paired")
        #expect(world.nodes[0]?.table.reservations == world.nodes[1]?.table.reservations)
        world.kill(1)
        world.run(for: 300)
        let third = World.EndUser(in: world)
        world.connect(third)
        #expect(third.initiator.virtualAddresses == [address])
    }

    @Test(arguments: [false, true]) func split_inWhichBothLease_givesNoAddressTwice(persistent: Bool) throws {
        let world = PoolTests.world {
            $0.persistent = persistent
            $0.lastAddress = "10.20.0.12"
        }
        var users = (0..<3).map { World.EndUser($0, in: world) }
        for user in users { world.connect(user) }
        let before = PoolTests.leases(world, 0)
        world.cut()
        world.run(for: 500)
        #expect(world.role(0) == .active && world.role(1) == .active)
        for number in 3..<7 {
            world.addressee = number % 2
            let user = World.EndUser(number, in: world)
            world.connect(user)
            users.append(user)
        }
        // One of before ends where it is not known to live on, and others come until there is no more.
        world.addressee = 1
        PoolTests.leave(users[0], world)
        for node in [1, 0] {
            for number in 10 + 10 * node..<18 + 10 * node {
                world.addressee = node
                let user = world.add(World.EndUser(number, in: world))
                world.act(user) { $0.start(context: $1) }
                world.settle(user)
            }
        }
        let (zero, one) = (PoolTests.leases(world, 0), PoolTests.leases(world, 1))
        for (address, owner) in zero { #expect(one[address] ?? owner == owner, "\(address) has two owners") }
        for (address, owner) in before { #expect((zero[address] ?? owner, one[address] ?? owner) == (owner, owner)) }
        let exhausted = try [0, 1].map { node in try #require(world.status(node).counters["ike_pools_exhausted"]) }
        #expect(exhausted.allSatisfy { $0 > 0 })
        #expect(world.logs[0].contains { $0.message.contains("leases only its own half") })
    }

    @Test func paired_afterItsHalfIsUsedUp_leasesTheOther() {
        let world = PoolTests.world { $0.lastAddress = "10.20.0.6" }
        for number in 0..<6 { world.connect(World.EndUser(number, in: world)) }
        #expect(PoolTests.leases(world, 0).count == 6)
        let late = world.add(World.EndUser(6, in: world))
        world.act(late) { $0.start(context: $1) }
        world.settle(late)
        #expect(late.initiator.lastResult == .refused(notify: 36))
        #expect(!world.logs[0].contains { $0.message.contains("leases only its own half") })
    }
}
