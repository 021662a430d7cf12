import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Rekeys that this gateway begins, with its death at any moment of them.
@Suite struct RekeyTests {
    private static func pair() throws -> (World, World.Site, Session) {
        let (world, site) = InitiateTests.pair()
        let token = world.initiate("link")
        world.run(for: 20)
        #expect(world.answer(token) == .success)
        return (world, site, try #require(world.nodes[0]?.table.sessions.values.first))
    }

    private static func agreement(_ world: World, _ site: World.Site, node: Int) -> Session? {
        guard let ours = world.nodes[node]?.table.sessions.values.first, let theirs = site.table.sessions.values.first else { return nil }
        let isSame =
            ours.ikeSA.keys == theirs.ikeSA.keys && ours.children.count == 1 && theirs.children.count == 1
            && ours.children[0].inboundKeys == theirs.children[0].outboundKeys && ours.otherIKESAs.isEmpty
            && theirs.otherIKESAs.isEmpty && !ours.hasPendingRequest && !theirs.hasPendingRequest
        return isSame ? ours : nil
    }

    @Test func rekey_byAnOperator_isDoneOnBothNodes() throws {
        let (world, site, before) = try Self.pair()
        let ike = world.request(0, .rekey(RekeyRequest(connection: "site")))
        world.run(for: 50)
        let child = world.request(0, .rekey(RekeyRequest(child: "link")))
        world.run(for: 50)
        #expect(world.answer(ike)?.success == true && world.answer(child)?.matches == 1)
        let after = try #require(Self.agreement(world, site, node: 0))
        #expect(after.ikeSA.keys != before.ikeSA.keys && after.children[0].inboundSPI != before.children[0].inboundSPI)
        #expect(world.nodes[1]?.table[after.id] == after)
        #expect(world.sendESP(inboundSPI: after.children[0].inboundSPI, from: 0))
        #expect(!world.sendESP(inboundSPI: before.children[0].inboundSPI, from: 0), "the old one is gone")
        #expect(world.answer(world.request(1, .rekey(RekeyRequest(connection: "site"))))?.success == false)
        #expect(world.answer(world.request(0, .rekey(RekeyRequest(connection: "nobody"))))?.matches == 0)
    }

    /// The active dies so many microseconds after it was told to rekey; the other node ends with the peer what was begun, or never was.
    @Test(arguments: Array(stride(from: UInt64(0), through: 6000, by: 250)), [false, true])
    func activeThatDies_duringARekey_leavesAWorkingTunnel(microseconds: UInt64, isIKE: Bool) throws {
        let (world, site, before) = try Self.pair()
        _ = world.request(0, .rekey(isIKE ? RekeyRequest(connection: "site") : RekeyRequest(child: "link")))
        world.run(until: world.now + microseconds * 1000)
        world.kill(0)
        world.run(for: 3_000)
        #expect(world.role(1) == .active)
        let after = try #require(Self.agreement(world, site, node: 1))
        #expect(world.sendESP(inboundSPI: after.children[0].inboundSPI, from: 1))
        // What the peer saw of the rekey is what became of it.
        let isRekeyed = isIKE ? after.ikeSA.keys != before.ikeSA.keys : after.children[0].inboundSPI != before.children[0].inboundSPI
        let peerSaw = isIKE ? site.engine.counters.ikeSAsRekeyed > 0 : site.engine.counters.childrenRekeyed > 0
        #expect(isRekeyed == peerSaw)
        _ = world.request(1, .rekey(isIKE ? RekeyRequest(child: "link") : RekeyRequest(connection: "site")))
        world.run(for: 100)
        #expect(Self.agreement(world, site, node: 1) != nil)
    }

    /// Octets are counted on from where the dead had counted, less than one step of it lost.
    @Test func volume_isCountedOnByTheOtherNode() throws {
        let (world, site) = InitiateTests.pair(rekeyPackets: 1000)
        let token = world.initiate("link")
        world.run(for: 20)
        #expect(world.answer(token) == .success)
        let spi = try #require(world.nodes[0]?.table.sessions.values.first?.children.first?.inboundSPI)
        world.report(spi, next: 1, packets: 600)
        world.run(for: 20)
        #expect(world.nodes[1]?.table.sessions.values.first?.children.first?.volume.packets == 600)
        world.kill(0)
        world.run(for: 300)
        // The other data plane counts from nothing.
        world.report(spi, next: 1, packets: 300, index: 1)
        world.run(for: 20)
        #expect(world.nodes[1]?.table.sessions.values.first?.children.map(\.inboundSPI) == [spi])
        world.report(spi, next: 1, packets: 420, index: 1)
        world.run(for: 100)
        let after = try #require(Self.agreement(world, site, node: 1))
        #expect(after.children[0].inboundSPI != spi && after.children[0].volume == Volume())
    }
}
