import Control
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Programs of `updown`: on the node that owns the session, once for what came and once for what went.
@Suite struct HookTests {
    private static func connected(users count: Int = 1) -> (World, [World.EndUser]) {
        var options = World.Options()
        options.hook = "/usr/libexec/updown"
        let world = World(options)
        world.startPair()
        let users = (0..<count).map { World.EndUser($0, in: world) }
        for user in users { world.connect(user) }
        world.run(for: 50)
        return (world, users)
    }

    private func verbs(_ world: World, _ index: Int) -> [String] { world.hooks[index].map { "\($0.verb) \($0["TANDEM_CAUSE"])" } }

    @Test func child_whenItComesIsRekeyedAndGoes_runsTwice() throws {
        let (world, users) = HookTests.connected()
        let user = users[0]
        let up = try #require(world.hooks[0].first)
        #expect(up.program == "/usr/libexec/updown" && up.verb == .up)
        let address = try #require(user.initiator.virtualAddresses.first)
        let expected = [
            "PLUTO_VERB": "up-client", "PLUTO_CONNECTION": "net", "PLUTO_ME": "192.0.2.10", "PLUTO_PEER": "192.0.2.100",
            "PLUTO_MY_ID": "gw.example.net", "PLUTO_PEER_ID": "client0.example.net", "PLUTO_MY_CLIENT": "10.10.0.0/16",
            "PLUTO_PEER_CLIENT": "\(address)/32", "PLUTO_PEER_SOURCEIP": "\(address)", "PLUTO_PEER_SOURCEIP4_1": "\(address)",
            "TANDEM_NODE": "sg1", "TANDEM_CAUSE": "established", "TANDEM_CONNECTION": "road", "PLUTO_UDP_ENC": "",
        ]
        for (name, value) in expected { #expect(up[name] == value, "\(name)") }
        let spi = user.initiator.children[0].inboundSPI
        world.act(user) { $0.rekeyChild(inboundSPI: spi, context: $1) }
        world.settle(user)
        world.act(user) { $0.rekeyIKE(context: $1) }
        world.settle(user)
        world.run(for: 50)
        #expect(verbs(world, 0) == ["up established"])
        world.act(user) { $0.delete(context: $1) }
        world.settle(user)
        world.run(for: 50)
        #expect(verbs(world, 0) == ["up established", "down deleted"])
        #expect(verbs(world, 1) == [], "the standby runs nothing")
    }

    /// Law 2 for programs: nobody is told of what a takeover could undo.
    @Test func program_waitsForTheStandby() {
        let (world, _) = HookTests.connected()
        world.wires.latency = 3_000_000
        let user = world.add(World.EndUser(1, in: world))
        world.act(user) { $0.start(context: $1) }
        while world.nodes[0]?.table.count == 1 { world.run(for: 1) }
        #expect(world.hooks[0].count == 1)
        world.run(for: 10)
        #expect(world.hooks[0].count == 2)
    }

    @Test func takeover_runsUpForAllOnTheNewOwner_afterItsSteps() throws {
        let (world, _) = HookTests.connected(users: 5)
        world.kill(0)
        world.run(for: 150)
        #expect(verbs(world, 1) == Array(repeating: "up takeover", count: 5))
        #expect(Set(world.hooks[1].map { $0["PLUTO_PEER_ID"] }).count == 5)
        #expect(world.hooks[1].allSatisfy { $0["TANDEM_NODE"] == "sg2" })
        #expect(world.nodes[1]?.isRunningHooks == false)
    }

    @Test func switchover_runsDownOnTheOldOwnerAndUpOnTheNew() {
        let (world, users) = HookTests.connected(users: 3)
        _ = world.request(0, .switchover(force: false))
        world.run(for: 100)
        #expect(verbs(world, 0).suffix(3) == Array(repeating: "down step-down", count: 3)[...])
        #expect(verbs(world, 1) == Array(repeating: "up takeover", count: 3))
        // Whoever leaves now leaves the new owner.
        world.act(users[0]) { $0.delete(context: $1) }
        world.settle(users[0])
        world.run(for: 50)
        #expect(verbs(world, 1).last == "down deleted" && world.hooks[0].count == 6)
    }

    /// A session that changes before its turn in the pages has its calls first, and none of them twice.
    @Test func session_thatChangesBeforeItsPage_isCaughtUpInOrder() {
        let (world, users) = HookTests.connected(users: 3)
        // The old owner still has other things to do: its pages wait.
        world.kill(0)
        while world.role(1) != .active { world.run(for: 1) }
        world.act(users[1]) { $0.delete(context: $1) }
        world.settle(users[1])
        world.run(for: 200)
        let about = world.hooks[1].filter { $0["PLUTO_PEER_ID"] == "client1.example.net" }
        #expect(about.map { $0["TANDEM_CAUSE"] } == ["takeover", "deleted"])
        #expect(world.hooks[1].count == 4)
    }

    /// A takeover that is undone while its pages run takes back what it told, and nothing else.
    @Test func stepDown_beforeAllWereToldOfTheTakeover_runsDownForThoseAlone() throws {
        let (world, users) = HookTests.connected(users: 3)
        world.kill(0)
        while world.role(1) != .active { world.run(for: 1) }
        var node = try #require(world.nodes[1])
        let (told, untold) = (node.table.sessions.keys.min()!, node.table.sessions.keys.max()!)
        let now = Now(instant: world.time.instant + .milliseconds(1), wallMilliseconds: 0)
        node.effects = []
        node.run(node.hooks.calls(.up, .takeover, for: node.table[told]!))
        node.hookWork.settle(told)
        node.runHooksForAll(.down, .stepDown, now: now)
        node.leases = LeaseWork()
        for step in 1...10 { node.workOnHooks(now: Now(instant: now.instant + .milliseconds(10 * Int64(step)), wallMilliseconds: 0)) }
        let calls = node.effects.compactMap { if case .hook(let call) = $0 { call } else { nil } }
        #expect(users.count == 3 && told != untold && node.hookWork.task == nil)
        #expect(calls.map(\.verb) == [.up, .down] && Set(calls.map(\.subject)).count == 1)
    }

    /// What could not be run has nothing to take back.
    @Test func down_afterAnUpThatWasNotRun_isNotRun() {
        var node = HookTests.standingAlone()
        let now = Now(instant: Instant(nanoseconds: 2_000_000_000), wallMilliseconds: 0)
        let (up, down) = (
            HookCall(program: "/p", verb: .up, subject: "a", variables: []),
            HookCall(program: "/p", verb: .down, subject: "a", variables: [])
        )
        node.run([up])
        node.hookEnded(up, .notRun(reason: "too many"), now: now)
        node.run([down])
        #expect(node.counters.hooksRun == 1)
        node.run([up])
        node.hookEnded(up, .exited(status: 1), now: now)
        node.run([down, down])
        #expect(node.counters.hooksRun == 3, "once for the one that ran")
    }

    @Test func pages_waitForProgramsThatHaveNotEnded() {
        var node = HookTests.standingAlone()
        let now = Now(instant: Instant(nanoseconds: 2_000_000_000), wallMilliseconds: 0)
        node.hooksOutstanding = HookWork.outstandingMax
        node.runHooksForAll(.up, .takeover, now: now)
        let later = Now(instant: now.instant + .seconds(1), wallMilliseconds: 0)
        node.workOnHooks(now: later)
        #expect(node.hookWork.nextDeadline == nil && node.hookWork.task != nil)
        let call = HookCall(program: "/p", verb: .up, subject: "", variables: [])
        node.hookEnded(call, .timedOut, now: later)
        #expect(node.hookWork.nextDeadline != nil && node.counters.hooksFailed == 1)
        #expect(node.effects.contains { if case .log(let line) = $0 { line.level == .warning } else { false } })
    }

    private static func standingAlone() -> Node {
        var options = World.Options()
        options.hook = "/p"
        let world = World(options)
        return Node(
            configuration: world.configuration(.zero, alone: true), boot: 1, random: world.random, now: world.time)
    }
}

extension HookCall {
    /// A variable; empty when there is none.
    fileprivate subscript(name: String) -> String { variables.first { $0.name == name }?.value ?? "" }
}
