import Control
import IKE
import Node
import Pair
import Session
import Testing

@testable import Simulator

@Suite struct FlowTests {
    /// A pair with one connected client, that follows connections.
    static func connected(limit: Int? = 1000) -> (World, World.EndUser) {
        let world = World(World.Options(lastAddress: "10.20.0.1", flowLimit: limit))
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 50)
        return (world, user)
    }

    /// From the first end-user's leased address to a server, translated.
    static func entry(
        _ port: UInt16 = 40_000, from client: String = "10.20.0.1", to server: String = "10.10.0.80", state: UInt8 = 3
    ) -> FlowEntry {
        let (client, server) = (IPAddress(client)!, IPAddress(server)!)
        return FlowEntry(
            original: FlowTuple(source: client, destination: server, ipProtocol: 6, sourcePort: port, destinationPort: 80),
            reply: FlowTuple(
                source: server, destination: IPAddress("10.10.0.1")!, ipProtocol: 6, sourcePort: 80, destinationPort: port),
            status: state == 1 ? [.sourceNAT] : [.seenReply, .assured, .sourceNAT], timeout: 120, tcp: FlowTCP(state: state))
    }

    private func counter(_ world: World, _ index: Int, _ name: String) -> UInt64 { world.status(index).counters[name] ?? .max }

    @Test func connection_ofAnEndUser_isInTheStandbysKernelBeforeATakeover() {
        let (world, _) = Self.connected()
        let entry = Self.entry()
        world.flow(0, .put(entry))
        world.run(for: 200)
        // Time enough until it is renewed, whatever conntrack gives it.
        #expect(world.flowTables[1].entries[entry.key]?.timeout == 600)
        #expect(world.flowTables[1].entries[entry.key]?.reply == entry.reply)
        let commands = world.flowTables[1].commands.count
        world.kill(0)
        world.run(for: 60)
        #expect(world.role(1) == .active)
        // Nothing is left to do: the kernel has it.
        #expect(world.flowTables[1].commands.count == commands)
        #expect(counter(world, 1, "flows_injected") == 1)
    }

    @Test func connection_thatEnded_isTakenAway() {
        let (world, _) = Self.connected()
        let entry = Self.entry()
        world.flow(0, .put(entry))
        world.run(for: 200)
        world.flow(0, .remove(entry.key))
        world.run(for: 200)
        #expect(world.flowTables[1].entries.isEmpty)
        #expect(counter(world, 0, "flows_tracked") == 0 && counter(world, 1, "flows_held") == 0)
    }

    @Test func changes_inOneRound_areToldOnceAsTheyEnded() {
        let (world, _) = Self.connected()
        world.flow(0, .put(Self.entry(1)))
        world.run(for: 10)
        for state in 1...3 {
            world.flow(0, .put(Self.entry(state: UInt8(state))))
            world.run(for: 10)
        }
        // What changed without its state keeps it.
        var brief = Self.entry()
        brief.tcp = nil
        brief.mark = 5
        world.flow(0, .put(brief))
        world.run(for: 200)
        #expect(world.flowTables[1].commands.count == 2)
        #expect(world.flowTables[1].entries[brief.key]?.tcp?.state == 3)
        #expect(world.flowTables[1].entries[brief.key]?.mark == 5)
        #expect(counter(world, 0, "flows_streamed") == 2)
    }

    @Test func connections_thatAreNoEndUsers_areNotTold() {
        let (world, _) = Self.connected()
        world.flow(
            0, .put(Self.entry(1, from: "10.21.0.1")), .put(Self.entry(2, to: "203.0.113.1")),
            // The gateway's own: it is who answers.
            .put(Self.entry(3, to: "192.0.2.10")), .put(Self.entry(4, from: "10.1.0.1", to: "10.1.0.2")))
        world.run(for: 300)
        #expect(world.flowTables[1].commands.isEmpty)
        #expect(counter(world, 0, "flows_foreign") == 4)
    }

    @Test func connections_aboveTheLimit_areCountedAndTheOthersStay() {
        let (world, _) = Self.connected(limit: 10)
        for port in 1...15 { world.flow(0, .put(Self.entry(UInt16(port)))) }
        world.run(for: 300)
        #expect(world.flowTables[1].entries.count == 10)
        #expect(counter(world, 0, "flows_dropped") == 5)
        // One goes, another may come.
        world.flow(0, .remove(Self.entry(1).key), .put(Self.entry(20)))
        world.run(for: 300)
        #expect(world.flowTables[1].entries[Self.entry(20).key] != nil)
        #expect(world.flowTables[1].entries.count == 10)
    }

    @Test func standby_thatJoins_getsAllAndLosesWhatIsGone() {
        let (world, _) = Self.connected()
        for port in 1...900 { world.flow(0, .put(Self.entry(UInt16(port)))) }
        world.run(for: 500)
        #expect(world.flowTables[1].entries.count == 900)
        world.cutLink()
        world.closeLink(reason: "test")
        world.run(for: 20)
        // What happens now nobody tells.
        world.flow(0, .remove(Self.entry(1).key), .put(Self.entry(2000)))
        world.run(for: 100)
        #expect(world.flowTables[1].entries[Self.entry(1).key] != nil)
        world.heal()
        world.run(for: 3000)
        #expect(world.pairState(0) == "paired")
        #expect(Set(world.flowTables[1].entries.keys) == Set(world.flowTables[0].entries.keys))
        #expect(world.flowTables[0].watches == 2)
    }

    @Test func newOwner_streamsItsOwnToTheOneThatCameBack() {
        let (world, _) = Self.connected()
        world.flow(0, .put(Self.entry(1)), .put(Self.entry(2)))
        world.run(for: 200)
        world.kill(0)
        world.run(for: 60)
        // Went on there, and ended there.
        world.flow(1, .remove(Self.entry(2).key), .put(Self.entry(3)))
        world.start(0)
        world.run(for: 3000)
        #expect(world.role(0) == .standby)
        // The kernel of the host that came back still had the first two; a new beginning does not know of the second.
        let kept = Set(world.flowTables[0].entries.keys)
        #expect(kept.isSuperset(of: [Self.entry(1).key, Self.entry(3).key]))
        #expect(counter(world, 0, "flows_held") == 2)
        #expect(world.flowTables[0].generation == nil && world.flowTables[1].generation != nil)
    }

    @Test func switchover_tellsWhatWaitsAndChangesSides() {
        let (world, _) = Self.connected()
        world.flow(0, .put(Self.entry(1)))
        world.run(for: 105)
        // Waits for the next round when the hand-over comes.
        world.flow(0, .put(Self.entry(2)))
        world.flow(0, .put(Self.entry(3)))
        _ = world.request(0, .switchover(force: false))
        world.run(for: 50)
        #expect(world.role(1) == .active)
        #expect(world.flowTables[1].entries.count == 3)
        world.flow(1, .put(Self.entry(4)))
        world.run(for: 300)
        #expect(world.flowTables[0].entries.count == 4)
        #expect(world.flowTables[0].generation == nil)
    }

    @Test func entries_onTheStandby_areRenewedBeforeTheirTimeIsUp() {
        let (world, _) = Self.connected()
        world.flow(0, .put(Self.entry()))
        world.run(for: 200)
        let first = world.flowTables[1].commands.count
        world.run(for: 362_000)
        #expect(world.flowTables[1].commands.count == first + 1)
        #expect(counter(world, 1, "flows_injected") == 2)
    }

    @Test func kernel_thatIsStuck_costsTheSessionsNothing() {
        let (world, user) = Self.connected()
        world.flowTables[1].isStuck = true
        for port in 1...600 { world.flow(0, .put(Self.entry(UInt16(port)))) }
        world.run(for: 1000)
        // Two batches are on their way, the rest waits and is not sent.
        #expect(counter(world, 0, "flows_streamed") <= UInt64(2 * PairProtocol.flowBatchMax))
        #expect(counter(world, 0, "flows_waiting") >= 88)
        world.act(user) { $0.liveness(context: $1) }
        world.settle(user)
        #expect(user.initiator.lastResult == .succeeded)
        #expect(world.pairState(0) == "paired")
    }

    @Test func peer_thatTakesNone_isSentNone() {
        let world = World(World.Options(flowLimit: nil))
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 200)
        #expect(world.flowTables[0].watches == 0)
        // Whatever the peer says: answered, so that it does not wait for ever, and nothing is done.
        world.feed(1, .frame(.flows(FlowBatch(puts: [Self.entry()]))))
        world.feed(0, .frame(.flowsTaken))
        world.run(for: 200)
        #expect(world.flowTables[1].commands.isEmpty)
        #expect(world.pairState(0) == "paired")
    }

    @Test func endUser_thatLeft_isNotFollowedAnyMore() {
        let (world, user) = Self.connected()
        world.flow(0, .put(Self.entry(1)))
        world.run(for: 200)
        world.act(user) { $0.delete(context: $1) }
        world.run(for: 200)
        #expect(world.status(0).sessionsOwned == 0)
        world.flow(0, .put(Self.entry(2)))
        // What was told before is still followed to its end.
        world.flow(0, .remove(Self.entry(1).key))
        world.run(for: 300)
        #expect(world.flowTables[1].entries.isEmpty)
    }
}
