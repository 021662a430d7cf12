import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// The watch alone, in virtual time.
@Suite struct OverloadWatchTests {
    private static func watch(_ marks: [LoadKind: LoadMark] = [.cpu: LoadMark(high: 90, low: 70)]) -> OverloadWatch {
        OverloadWatch(OverloadConfiguration(marks: marks, target: .name("sg3")), now: Instant(nanoseconds: 0))
    }

    private static func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: 0) + .seconds(seconds) }

    /// What the watch says at each second.
    private static func run(_ watch: inout OverloadWatch, _ values: [Int], from second: Int64) -> [OverloadWatch.State?] {
        values.enumerated().map { watch.note([.cpu: $1], at: at(second + Int64($0))) }
    }

    @Test func load_atTheMarkForTheWholeTime_isOverload_andBelowTheLowMark_isCalm() {
        var watch = Self.watch()
        let up = Self.run(&watch, Array(repeating: 90, count: 11), from: 1)
        #expect(up.dropLast().allSatisfy { $0 == nil } && up.last == .overloaded(.cpu, value: 90))
        #expect(watch.since == Self.at(11) && watch.isPressed)
        // Between the marks nothing changes, however long.
        #expect(Self.run(&watch, Array(repeating: 71, count: 100), from: 12).allSatisfy { $0 == nil })
        #expect(watch.isOverloaded && watch.isPressed)
        let down = Self.run(&watch, Array(repeating: 70, count: 11), from: 112)
        #expect(down.dropLast().allSatisfy { $0 == nil } && down.last == .calm && !watch.isPressed)
    }

    @Test func load_thatDropsBeforeTheTimeIsOver_isNone() {
        var watch = Self.watch()
        let wave = (0..<10).flatMap { _ in Array(repeating: 99, count: 9) + [89] }
        #expect(Self.run(&watch, wave, from: 1).allSatisfy { $0 == nil } && !watch.isOverloaded)
    }

    @Test func kinds_eachHaveTheirOwnTime_andAllMustBeLowAgain() {
        var watch = Self.watch([.cpu: LoadMark(high: 90, low: 70), .halfOpen: LoadMark(high: 100, low: 50)])
        for second in 0..<40 {
            // Now one, now the other.
            let isEven = second / 5 % 2 == 0
            #expect(watch.note([.cpu: isEven ? 95 : 10, .halfOpen: isEven ? 0 : 200], at: Self.at(Int64(second))) == nil)
        }
        for second in 40..<60 { _ = watch.note([.cpu: 0, .halfOpen: 200], at: Self.at(Int64(second))) }
        #expect(watch.state == .overloaded(.halfOpen, value: 200))
        for second in 60..<90 { #expect(watch.note([.cpu: 75, .halfOpen: 0], at: Self.at(Int64(second))) == nil) }
    }

    /// A clock that jumps, and a loop that stood still, make no time.
    @Test func clock_thatJumps_beginsTheTimeAnew() {
        var watch = Self.watch()
        _ = Self.run(&watch, [99, 99, 99], from: 1)
        #expect(watch.note([.cpu: 99], at: Self.at(1000)) == nil)
        #expect(watch.note([.cpu: 99], at: Self.at(500)) == nil)
        #expect(Self.run(&watch, Array(repeating: 99, count: 9), from: 501).allSatisfy { $0 == nil })
        #expect(watch.note([.cpu: 99], at: Self.at(510)) == .overloaded(.cpu, value: 99))
    }

    @Test func kind_thatIsNotMeasured_countsForNothing() {
        var watch = Self.watch()
        for second in 0..<20 { #expect(watch.note([:], at: Self.at(Int64(second))) == nil) }
        #expect(!watch.isPressed)
    }
}

/// What a node does about it.
@Suite struct OverloadTests {
    private static let target = IPAddress("203.0.113.20")!

    private static func world(users count: Int = 0, announcing: PeerCapabilities = .redirect, rate: Int = 10) -> World {
        var overload = OverloadConfiguration(marks: [.cpu: LoadMark(high: 90, low: 70)], target: .address(target))
        overload.hold = .seconds(3)
        overload.movedPercent = 50
        overload.rate = rate
        var options = World.Options()
        options.overload = overload
        let world = World(options)
        world.startPair()
        for number in 0..<count { world.connect(World.EndUser(number, in: world, announces: announcing)) }
        return world
    }

    /// So many seconds with this load.
    private static func load(_ world: World, _ percent: Int, seconds: Int) {
        for _ in 0..<seconds {
            world.feed(0, .load(LoadSample(cpuPercent: percent, packetsPerSecond: 0)))
            world.run(for: 1000)
        }
    }

    private static func told(_ world: World) -> [Session] {
        (world.nodes[0]?.table.sessions.values.filter { $0.redirects.order != nil }) ?? []
    }

    @Test func newClient_whileOverloaded_isSentAway_andAfterwardsLetIn() throws {
        let world = Self.world()
        Self.load(world, 95, seconds: 5)
        #expect(world.nodes[0]?.isOverloaded == true && world.status(0).overload == "overloaded: cpu 95")
        let user = world.add(World.EndUser(0, in: world, announces: .redirect))
        world.act(user) { $0.start(context: $1) }
        world.run(for: 100)
        #expect(!user.isEstablished && world.nodes[0]?.ike.counters.newPeersRedirected == 1)
        // Who cannot follow is served.
        world.connect(World.EndUser(1, in: world))
        Self.load(world, 10, seconds: 5)
        #expect(world.nodes[0]?.isOverloaded == false && world.status(0).overload == "calm")
        world.connect(World.EndUser(2, in: world, announces: .redirect))
        #expect(world.nodes[0]?.counters.overloads == 1)
    }

    /// Two gateways that are both overloaded: whom the other one has sent stays.
    @Test func client_thatAnotherGatewaySent_isNotSentOn() throws {
        let world = Self.world()
        Self.load(world, 95, seconds: 5)
        // Not the one that we would send it to: a third is as bad.
        let user = World.EndUser(0, in: world, announces: .redirect, redirectedFrom: IPAddress("203.0.113.99")!)
        world.connect(user)
        #expect(world.nodes[0]?.ike.counters.newPeersRedirected == 0)
        Self.load(world, 10, seconds: 5)
        Self.load(world, 95, seconds: 10)
        #expect(world.nodes[0]?.counters.overloads == 2 && Self.told(world).isEmpty, "nor when it has a session")
    }

    @Test func share_isMovedAtTheRate_andNoMore() throws {
        let world = Self.world(users: 12, rate: 2)
        Self.load(world, 95, seconds: 4)
        // The overload was seen at the fourth sample: one second of two.
        #expect((1...3).contains(Self.told(world).count), "\(Self.told(world).count)")
        Self.load(world, 95, seconds: 20)
        #expect(Self.told(world).count == 6 && world.nodes[0]?.counters.overloadMoves == 6)
        #expect(Self.told(world).allSatisfy { $0.redirects.order?.target == .address(Self.target) })
    }

    @Test func moving_whenTheLoadHasGoneDown_stopsAtOnce() throws {
        let world = Self.world(users: 12, rate: 1)
        Self.load(world, 95, seconds: 5)
        let before = Self.told(world).count
        #expect(before >= 1 && before < 6)
        Self.load(world, 60, seconds: 1)
        let after = Self.told(world).count
        Self.load(world, 60, seconds: 1)
        #expect(world.nodes[0]?.isOverloaded == true, "it has not been low for long enough")
        Self.load(world, 60, seconds: 5)
        #expect(Self.told(world).count == after && after <= before + 1)
    }

    /// Those who know MOBIKE before the others; those who do not follow redirects never.
    @Test func order_ofThoseWhoGo_isByWhatTheyCan() throws {
        let world = Self.world(rate: 50)
        for number in 0..<4 { world.connect(World.EndUser(number, in: world)) }
        for number in 4..<6 { world.connect(World.EndUser(number, in: world, announces: .redirect)) }
        for number in 6..<8 { world.connect(World.EndUser(number, in: world, announces: [.redirect, .mobike])) }
        for number in 8..<9 { world.connect(World.EndUser(number, in: world, announces: [.redirect, .contextTransfer])) }
        Self.load(world, 95, seconds: 10)
        let names = Set(Self.told(world).map { "\($0.authorization.remoteIdentity)" })
        #expect(names.count == 5 && !names.contains { ["client0", "client1", "client2", "client3"].contains(String($0.prefix(7))) })
    }

    @Test func operatorsSwitch_isLeftAlone() throws {
        let world = Self.world()
        let own = NewPeerRedirect(to: .name("sg9.example.net"), phase: .ikeAuth)
        world.nodes[0]?.ike.redirectNew = own
        Self.load(world, 95, seconds: 5)
        Self.load(world, 10, seconds: 5)
        #expect(world.nodes[0]?.ike.redirectNew == own && world.nodes[0]?.counters.overloads == 1)
    }

    @Test func standby_doesNothingAboutLoad_andAFormerOwnerNothingMore() throws {
        let world = Self.world(users: 4)
        for _ in 0..<10 { world.feed(1, .load(LoadSample(cpuPercent: 99, packetsPerSecond: nil))) }
        #expect(world.nodes[1]?.isOverloaded == false)
        Self.load(world, 95, seconds: 4)
        _ = world.request(0, .switchover(force: false))
        world.run(for: 500)
        #expect(world.nodes[0]?.isOverloaded == false && world.nodes[0]?.ike.redirectNew == nil)
        #expect(world.nodes[0]?.overload.round == nil)
    }
}
