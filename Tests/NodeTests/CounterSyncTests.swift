import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

extension World {
    /// One exchange more in the only session, which a node has the peer answer.
    func askForLife(at index: Int) {
        let node = nodes[index]!
        let id = node.table.sessions.keys.first!
        nodes[index]!.commit(
            nodes[index]!.ike.checkLiveness(session: id, table: node.table, context: node.context(time)), now: time)
        feed(index, .deadline)
    }
}

/// RFC 6311 in a pair: when it is begun, and what becomes of the windows.
@Suite struct CounterSyncTests {
    private func counter(_ world: World, _ index: Int, _ name: String) -> UInt64 { world.status(index).counters[name] ?? 0 }

    private func connected(_ protection: ReplayProtection = .window) -> (World, World.Site) {
        let (world, site) = InitiateTests.pair(replayProtection: protection)
        _ = world.initiate("link")
        world.run(for: 500)
        world.expect(site.table.count == 1, "the site is not connected")
        return (world, site)
    }

    private func rekey(_ world: World, _ index: Int) -> RequestToken {
        world.request(index, .rekey(RekeyRequest(connection: "site")))
    }

    @Test func takeover_thatMissedNothing_asksNothing() {
        let (world, site) = connected()
        world.kill(0)
        world.run(for: 2_000)
        #expect(world.role(1) == .active && counter(world, 1, "ike_syncs_requested") == 0)
        let before = site.table.sessions.values.first
        _ = rekey(world, 1)
        world.run(for: 1_000)
        #expect(site.table.sessions.values.first?.ikeSA.spis != before?.ikeSA.spis)
        #expect(counter(world, 1, "ike_syncs_requested") == 0)
    }

    @Test func takeover_afterALinkThatWasCut_synchronizesBeforeItAsks() {
        let (world, site) = connected()
        // Only the link is cut: the active goes on alone, and the standby hears its heartbeats.
        world.wires.lost.formUnion([.link(from: 0), .link(from: 1)])
        world.closeLink(reason: "cut")
        world.run(for: 3_000)
        #expect(world.role(0) == .active && world.role(1) == .standby && world.pairState(0) == "solo")
        let spi = world.nodes[0]!.table.sessions.values.first!.children[0].inboundSPI
        let known = world.nodes[1]!.table.sessions.values.first!.ikeSA.nextSendID
        for _ in 0..<3 {
            world.askForLife(at: 0)
            world.run(for: 100)
        }
        #expect(site.table.sessions.values.first!.ikeSA.nextReceiveID == known + 3)
        world.kill(0)
        world.run(for: 1_000)
        #expect(world.role(1) == .active && counter(world, 1, "ike_syncs_requested") == 0, "lazily")
        world.report(spi, next: 0, top: 50, index: 1)
        world.run(for: 500)
        #expect(counter(world, 1, "ike_syncs_requested") == 1 && counter(world, 1, "ike_syncs_completed") == 1)
        _ = rekey(world, 1)
        world.run(for: 1_000)
        #expect(
            site.table.count == 1 && world.nodes[1]!.table.sessions.values.first?.ikeSA.keys == site.table.sessions.values.first?.ikeSA.keys
        )
        #expect(counter(world, 1, "ike_requests_retransmitted") == 0)
    }

    @Test func strict_windows_standPastWhatTheOwnerMayHaveAccepted() {
        let (world, site) = connected(.strict)
        let spi = world.nodes[0]!.table.sessions.values.first!.children[0].inboundSPI
        world.report(spi, next: 0, top: 1000, index: 0)
        world.run(for: 50)
        #expect(world.planes[0].sas[spi]?.top == 1000)
        #expect(world.planes[1].sas[spi]?.top == 1000 + ReplayMargin.standby, "before anything happens")
        let before = site.table.sessions.values.first!.children[0].lease
        world.kill(0)
        world.run(for: 1_000)
        #expect(world.planes[1].sas[spi]?.top == 1000 + ReplayMargin.standby)
        #expect(world.nodes[1]!.table.sessions.values.first!.children[0].inboundTop == 1000 + ReplayMargin.standby)
        let after = site.table.sessions.values.first!.children[0].lease
        #expect((after.slice - before.slice) * Lease.size >= ReplayMargin.standby)
        #expect(counter(world, 1, "replay_unprotected") == 0)
        // The next standby stands past that, and so on.
        world.start(0)
        world.run(for: 3_000)
        #expect(world.planes[0].sas[spi]?.top == 1000 + 2 * ReplayMargin.standby)
    }

    @Test func strict_withAReportBeforeTheRecord_countsTheMarginOnce() {
        let (world, _) = connected(.strict)
        let spi = world.nodes[0]!.table.sessions.values.first!.children[0].inboundSPI
        world.report(spi, next: 0, top: 1000, index: 0)
        world.run(for: 50)
        world.kill(0)
        while world.role(1) != .active { world.run(until: world.now + 100_000) }
        world.report(spi, next: 0, top: 1000 + ReplayMargin.standby + 7, index: 1)
        world.run(for: 1_000)
        #expect(world.nodes[1]!.table.sessions.values.first!.children[0].inboundTop == 1000 + ReplayMargin.standby + 7)
    }

    @Test func strict_withAPeerThatCannot_leavesItsWindowAndSaysSo() {
        var options = World.Options()
        options.replayProtection = .strict
        let world = World(options)
        let user = World.EndUser(in: world)
        world.startPair()
        world.connect(user)
        world.run(for: 50)
        let spi = user.inboundSPIAtGateway
        world.report(spi, next: 0, top: 1000, index: 0)
        world.run(for: 50)
        #expect(world.planes[1].sas[spi]?.top == 1000)
        world.kill(0)
        world.run(for: 1_000)
        #expect(world.planes[1].sas[spi]?.top == 1000 && counter(world, 1, "replay_unprotected") == 1)
        #expect(world.logs[1].contains { $0.level == .warning && $0.message.contains("strict replay protection") })
    }
}
