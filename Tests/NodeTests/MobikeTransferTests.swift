import Control
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// Context transfer of clients that know MOBIKE and nothing of Tandem: the taker speaks first, and they follow (RFC 4555 §3.5).
@Suite struct MobikeTransferTests {
    static func connected(moves: GatewayConfiguration.MobikeMoves = .auto) throws -> Three {
        let three = Three(mobike: true, isStock: true, moves: moves)
        _ = three.request(Three.client, .initiate(InitiateRequest(child: "net", connection: "gate")))
        three.run(for: 100)
        let session = try #require(three.session(Three.old))
        try #require(!session.capabilities.contains(.contextTransfer) && !session.capabilities.contains(.redirect))
        return three
    }

    @Test func transfer_ofAStockClient_movesItWithoutAuthenticating() throws {
        let three = try Self.connected()
        let first = three.firstMessages
        three.stream(for: 400)
        three.run(for: 50)
        let token = three.transfer()
        three.run(for: 400)
        let summary = try #require(three.summary(token))
        #expect(summary.outcome == .done && summary.method == .mobike && summary.reason.isEmpty)
        // What was under way to the giver at its last word (5 ms), and what the client sends there until it has heard the taker (6 ms) and
        // been answered at its address (10 ms): a packet each 2 ms.
        #expect(three.fromClient.sent == 200 && three.fromClient.lost <= 11)
        #expect(three.toClient == Three.Stream(sent: 200, taken: 200, lost: 0))
        three.checkGoesOn(at: Three.new)
        #expect(three.firstMessages == first, "no IKE_SA_INIT and no IKE_AUTH")
    }

    @Test func transfer_thereAndBack_isOneSession() throws {
        let three = try Self.connected()
        let first = three.firstMessages
        for (from, to) in [(Three.old, "new"), (Three.new, "old"), (Three.old, "new")] {
            let token = three.request(from, .transfer(TransferRequest(name: "client.example.net", direction: .to, gateway: to)))
            three.run(for: 300)
            #expect(three.summary(token)?.outcome == .done)
            three.checkGoesOn(at: to == "new" ? Three.new : Three.old)
        }
        #expect(three.firstMessages == first)
    }

    /// Nobody may speak before the giver has let go, and the client hears of nobody before somebody speaks.
    @Test(arguments: [3, 4]) func lastWord_whenItIsLost_isRepeated(lost: Int) throws {
        let three = try Self.connected()
        three.links.change = { number, bytes in number == lost ? nil : bytes }
        let token = three.transfer()
        three.run(for: 2_000)
        #expect(three.session(Three.old) == nil)
        three.run(for: 3_000)
        #expect(three.summary(token)?.outcome == .done)
        three.checkGoesOn(at: Three.new)
    }

    @Test func link_thatBreaksAfterTheLastWord_costsNothing() throws {
        let three = try Self.connected()
        three.links.change = { number, bytes in number == 3 ? nil : bytes }
        let token = three.transfer()
        three.run(for: 20)
        three.feed(Three.old, .transferLinkClosed(gateway: "new", reason: "test"))
        three.feed(Three.new, .transferLinkClosed(gateway: "old", reason: "test"))
        three.run(for: 4_000)
        #expect(three.summary(token)?.outcome == .done)
        three.checkGoesOn(at: Three.new)
    }

    @Test func taker_thatRefuses_leavesTheClientWhereItIs() throws {
        let three = try Self.connected()
        try three.occupySPIs()
        let token = three.transfer()
        three.run(for: 200)
        #expect(three.summary(token)?.outcome == .failed)
        try three.freeSPIs()
        three.checkGoesOn(at: Three.old)
    }

    @Test func gateway_withoutMobikeMoves_getsNoStockClient() throws {
        let three = try Self.connected(moves: .never)
        let token = three.transfer()
        three.run(for: 200)
        #expect(three.summary(token)?.outcome == .refused, "it does not follow redirects either")
        three.checkGoesOn(at: Three.old)
    }

    @Test(arguments: [(GatewayConfiguration.MobikeMoves.auto, false), (.always, true), (.never, false)])
    func client_behindANAT_isMovedOnlyWhereThatIsSaid(moves: GatewayConfiguration.MobikeMoves, isMoved: Bool) throws {
        let three = try Self.connected()
        var session = try #require(three.session(Three.old))
        session.path.remoteBehindNAT = true
        let gateway = GatewayConfiguration(name: "new", redirectTo: .address(Three.new), mobike: moves)
        #expect((session.move(to: gateway) == .mobike) == isMoved)
    }
}
