import Context
import Control
import IKE
import Session
import Testing

@testable import Node
@testable import Simulator

/// Transfers that the client asks for: RFC 4067 §2.5.1 and §2.5.2, inside the IKE SA.
@Suite struct ActivationTests {
    private static func ask(_ three: Three, _ address: IPAddress = Three.new) -> RequestToken {
        three.request(
            Three.client, .transfer(TransferRequest(name: "gate", direction: .to, gateway: "\(address)")))
    }

    /// As from a client that makes its own tokens.
    private static func forge(_ three: Three, change: (inout ActivateRequest) -> Void) throws {
        let session = try #require(three.session(Three.client))
        let key = tokenKey(of: session.ikeSA, sequenceNumber: 7)
        let token = try TokenAlgorithm.hmacSHA256.token(key: key, mobileNode: Three.client, sequenceNumber: 7, blocks: [])
        var request = ActivateRequest(
            wantsAcknowledgement: true, mobileNode: Three.client, otherGateway: Three.new, sequenceNumber: 7, token: token)
        change(&request)
        let message = try CXTPMessage.activateRequest(request).encode()
        send(three, message)
    }

    private static func send(_ three: Three, _ message: [UInt8]) {
        guard var node = three.nodes[Three.client], let id = node.table.sessions.keys.first else { return }
        if let outcome = node.ike.sendContextTransferMessage(message, session: id, table: node.table, context: node.context(three.time)) {
            node.commit(outcome, now: three.time)
        }
        three.nodes[Three.client] = node
        three.feed(Three.client, .deadline)
        three.run(for: 20)
    }

    @Test(arguments: [false, true]) func client_thatAsks_isMovedAndLosesNothing(mobike: Bool) throws {
        let three = try TransferTests.connected(mobike: mobike)
        let first = three.firstMessages
        three.stream(for: 400)
        three.run(for: 50)
        let token = Self.ask(three)
        three.run(for: 400)
        let summary = try #require(three.summary(token))
        #expect(summary.outcome == .done && summary.gateway == "203.0.113.20" && (1..<100_000).contains(summary.totalMicroseconds))
        #expect(three.fromClient == Three.Stream(sent: 200, taken: 200, lost: 0))
        #expect(three.toClient == Three.Stream(sent: 200, taken: 200, lost: 0))
        three.checkGoesOn(at: Three.new)
        #expect(three.firstMessages == first, "no IKE_SA_INIT and no IKE_AUTH")
        #expect(three.nodes[Three.client]?.transfers.isEmpty == true)
    }

    @Test func client_thatAsksForAStranger_isToldSo() throws {
        let three = try TransferTests.connected()
        let token = Self.ask(three, IPAddress("203.0.113.99")!)
        three.run(for: 100)
        #expect(three.summary(token)?.reason == "its gateway refused: it does not allow this")
        #expect(three.counter(Three.old, "transfers_refused") == 1)
        three.checkGoesOn(at: Three.old)
        let here = Self.ask(three, Three.old)
        #expect(three.summary(here)?.outcome == .refused)
    }

    @Test func taker_thatRefuses_isToldToTheClient() throws {
        let three = try TransferTests.connected()
        try three.occupySPIs()
        let token = Self.ask(three)
        three.run(for: 200)
        #expect(three.summary(token)?.outcome == .failed)
        #expect(three.summary(token)?.reason == "its gateway refused: another session there has the SPI")
        try three.freeSPIs()
        three.checkGoesOn(at: Three.old)
    }

    @Test func request_thatIsForged_movesNobody() throws {
        let three = try TransferTests.connected()
        try Self.forge(three) { $0.token ^= 1 }
        try Self.forge(three) { $0.token = 0 }
        try Self.forge(three) { $0.sequenceNumber += 1 }
        try Self.forge(three) { $0.mobileNode = IPAddress("198.51.100.8")! }
        #expect(three.counter(Three.old, "transfers_refused") == 4 && three.counter(Three.old, "transfers_begun") == 0)
        for message in [[], [1], [UInt8](repeating: 0xFF, count: IKEEngine.contextTransferMessageMax)] { Self.send(three, message) }
        #expect(three.counter(Three.old, "transfer_messages_malformed") == 3)
        // What only gateways say to each other.
        Self.send(three, try CXTPMessage.cancel(Three.client).encode())
        #expect(three.counter(Three.old, "transfer_messages_unexpected") == 1)
        three.checkGoesOn(at: Three.old)
        // The genuine one.
        try Self.forge(three) { _ in }
        three.run(for: 100)
        three.checkGoesOn(at: Three.new)
    }

    @Test func flood_ofRequests_isBounded() throws {
        let three = try TransferTests.connected()
        for _ in 0..<TransferWork.requestsPerSecond { try Self.forge(three) { $0.token ^= 1 } }
        let token = Self.ask(three)
        three.run(for: 50)
        #expect(three.summary(token)?.reason == "its gateway refused: it is busy with another transfer")
        // Other gateways are not kept out by it.
        let fetch = three.transfer("198.51.100.7", .from, "old")
        three.run(for: 100)
        #expect(three.summary(fetch)?.outcome == .done)
        three.run(for: 1_000)
        three.checkGoesOn(at: Three.new)
    }

    @Test func gateway_thatDoesNotAnswer_isGivenUp() throws {
        let three = try TransferTests.connected()
        three.silenced.insert(Three.old)
        let token = Self.ask(three)
        three.run(for: 31_000)
        #expect(three.summary(token)?.outcome == .failed)
        #expect(three.nodes[Three.client]?.transfers.isEmpty == true)
    }
}
