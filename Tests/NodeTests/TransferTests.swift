import Context
import Control
import Cryptography
import IKE
import Pair
import Session
import Testing

@testable import Node
@testable import Simulator

/// The link between the two gateways, and what is wrong with it.
struct TransferWires {
    /// What went over it, in order.
    var carried: [CXTPMessage] = []
    /// Changes a message's bytes on the way; `nil`: it is lost.
    var change: (_ number: Int, _ bytes: [UInt8]) -> [UInt8]? = { $1 }

    mutating func carry(_ message: CXTPMessage, to gateway: String, _ three: Three) {
        carried.append(message)
        guard let bytes = try? message.encode(), let changed = change(carried.count, bytes) else { return }
        three.after(1_000_000) { three in
            guard let read = try? CXTPMessage(parsing: changed) else { return }
            three.feed(gateway == "old" ? Three.old : Three.new, .transferMessage(from: gateway == "old" ? "new" : "old", read))
        }
    }
}

extension Three {
    func transfer(_ name: String = "client.example.net", _ direction: TransferRequest.Direction = .to, _ gateway: String = "new")
        -> RequestToken
    {
        request(
            direction == .to ? Three.old : Three.new, .transfer(TransferRequest(name: name, direction: direction, gateway: gateway)))
    }

    func summary(_ token: RequestToken) -> TransferSummary? {
        guard case .transfer(let summary)? = answers[token]?.last else { return nil }
        return summary
    }

    func tell(_ address: IPAddress, _ message: CXTPMessage) {
        feed(address, .transferMessage(from: address == Three.old ? "new" : "old", message))
    }

    func counter(_ address: IPAddress, _ name: String) -> UInt64 { nodes[address]?.namedCounters[name] ?? 0 }

    /// The new gateway has another session whose CHILD SAs have the SPIs of the client's.
    func occupySPIs() throws {
        var other = try #require(session(Three.old))
        other.ikeSA.spis.initiator ^= 1
        other.ikeSA.spis.responder ^= 1
        try nodes[Three.new]!.table.apply(SessionDelta(session: other.id, changes: [.created(other)]))
    }

    func freeSPIs() throws {
        let other = try #require(session(Three.new))
        try nodes[Three.new]!.table.apply(SessionDelta(session: other.id, changes: [.removed(reason: "test", at: 0)]))
    }

    /// Both directions pass, between the client and the gateway that has its session, and it has no other.
    func checkGoesOn(at address: IPAddress) {
        let other = address == Three.old ? Three.new : Three.old
        #expect(session(other) == nil && session(address)?.isArriving == false && session(address)?.redirects.order == nil)
        #expect(session(Three.client)?.remote.address == address && nodes[Three.client]?.table.count == 1)
        let (before, back) = (fromClient, toClient)
        stream(for: 20)
        run(for: 50)
        #expect(fromClient.taken == before.taken + 10 && toClient.taken == back.taken + 10)
        let child = session(Three.client)?.children.first?.inboundSPI
        _ = request(address, .rekey(RekeyRequest(child: "net")))
        run(for: 200)
        #expect(session(Three.client)?.children.first?.inboundSPI != child, "the IKE SA does not work any more")
        #expect(nodes[Three.old]?.transfers.isEmpty == true && nodes[Three.new]?.transfers.isEmpty == true)
        run(for: 1_000)
        #expect(planes[other]?.sas.isEmpty == true, "what lingered is gone")
    }
}

/// The paper's section III.D, between three nodes.
@Suite struct TransferTests {
    static func connected(mobike: Bool = true, overload: OverloadConfiguration? = nil) throws -> Three {
        let three = Three(mobike: mobike, overload: overload)
        _ = three.request(Three.client, .initiate(InitiateRequest(child: "net", connection: "gate")))
        three.run(for: 100)
        try #require(three.session(Three.client) != nil && three.session(Three.old) != nil)
        return three
    }

    @Test(arguments: [false, true]) func transfer_underLoad_movesTheClientAndLosesNothing(mobike: Bool) throws {
        let three = try Self.connected(mobike: mobike)
        let first = three.firstMessages
        three.stream(for: 400)
        three.run(for: 50)
        let token = three.transfer()
        three.run(for: 400)
        let summary = try #require(three.summary(token))
        #expect(summary.outcome == .done && summary.reason.isEmpty && summary.method == .context)
        #expect(summary.contextBytes > 1000 && summary.installedMicroseconds == 2000 && summary.totalMicroseconds < 20_000)
        #expect(three.fromClient == Three.Stream(sent: 200, taken: 200, lost: 0))
        #expect(three.toClient == Three.Stream(sent: 200, taken: 200, lost: 0))
        // CTD, CTDR, the last word, CTDR.
        #expect(three.links.carried.count == 4)
        three.checkGoesOn(at: Three.new)
        #expect(three.firstMessages == first, "no IKE_SA_INIT and no IKE_AUTH")
        #expect(three.counter(Three.old, "transfers_given") == 1 && three.counter(Three.new, "transfers_taken") == 1)
    }

    /// A client that can goes with its context, and is not asked who it is.
    @Test func overload_withAGateway_movesTheClientWithoutAuthenticating() throws {
        var overload = OverloadConfiguration(marks: [.cpu: LoadMark(high: 90, low: 70)], target: .address(Three.new))
        overload.gateway = "new"
        overload.hold = .seconds(2)
        let three = try Self.connected(overload: overload)
        let first = three.firstMessages
        for _ in 0..<6 {
            three.feed(Three.old, .load(LoadSample(cpuPercent: 95, packetsPerSecond: nil)))
            three.run(for: 1_000)
        }
        #expect(three.session(Three.old) == nil && three.session(Three.new) != nil)
        #expect(three.counter(Three.old, "overload_moves") == 1 && three.counter(Three.old, "transfers_begun") == 1)
        // The path of a new client is closed, and nobody took it.
        #expect(three.firstMessages == first)
        three.checkGoesOn(at: Three.new)
    }

    /// Where the new gateway asks.
    @Test func fetch_ofASession_bringsItHere() throws {
        let three = try Self.connected()
        let token = three.transfer("198.51.100.7", .from, "old")
        three.run(for: 100)
        #expect(three.summary(token)?.outcome == .done)
        three.checkGoesOn(at: Three.new)
    }

    @Test func copy_untilTheLastWord_isSilent() throws {
        let three = try Self.connected()
        three.links.change = { number, bytes in number == 2 ? nil : bytes }
        _ = three.transfer()
        three.run(for: 10)
        let session = try #require(three.session(Three.new))
        let spi = session.children[0].inboundSPI
        #expect(session.isArriving && three.session(Three.old)?.isHeldStill == true)
        #expect(three.planes[Three.new]?.take(spi) == nil && three.planes[Three.old]?.take(spi) != nil)
        _ = three.request(Three.new, .rekey(RekeyRequest(connection: "road")))
        _ = three.request(Three.new, .terminate(TerminateRequest(connection: "road")))
        three.run(for: 100)
        #expect(three.session(Three.new)?.hasPendingRequest == false)
        three.run(for: 10_000)
        three.checkGoesOn(at: Three.old)
    }

    // MARK: - Failures at each step

    /// Every message lost in turn, and the link broken just then.
    @Test(arguments: [1, 2, 3, 4], [false, true]) func message_lost_leavesTheSessionAtOneGateway(number: Int, isBroken: Bool) throws {
        let three = try Self.connected()
        three.links.change = { $0 == number ? nil : $1 }
        let token = three.transfer()
        if isBroken {
            three.run(for: UInt64(number < 3 ? 5 : 20))
            for (address, peer) in [(Three.old, "new"), (Three.new, "old")] {
                three.feed(address, .transferLinkClosed(gateway: peer, reason: "test"))
            }
        }
        three.run(for: 30_000)
        let summary = try #require(three.summary(token))
        #expect(summary.outcome == (number < 3 ? .failed : .done))
        #expect(!summary.reason.isEmpty, "the operator is told that something is wrong")
        if number == 3, !isBroken { three.run(for: 60_000) }
        // Without the giver's word the client's own decides.
        if number == 3 {
            three.stream(for: 4)
            three.run(for: 100)
            let session = try #require(three.session(Three.new))
            let top = three.planes[Three.new]?.sas[session.children[0].inboundSPI]?.top ?? 0
            three.feed(
                Three.new,
                .dataPlane(
                    .counters([
                        CounterReport(
                            inboundSPI: session.children[0].inboundSPI, inboundTop: top, outboundNext: 1, inboundPackets: 1,
                            inboundBytes: 1,
                            outboundPackets: 0, outboundBytes: 0)
                    ])))
        }
        three.run(for: 20_000)
        three.checkGoesOn(at: number < 3 ? Three.old : Three.new)
    }

    @Test func anyBitOfTheContext_changed_isRefusedAndTheSessionStays() throws {
        let three = try Self.connected()
        // Behind the header, the elapsed time, the address, the key and the part's header.
        for position in stride(from: 90, to: 1900, by: 181) {
            three.links.carried = []
            three.links.change = { number, bytes in
                guard number == 1 else { return bytes }
                var changed = bytes
                changed[position] ^= 4
                return changed
            }
            let token = three.transfer()
            three.run(for: 50)
            #expect(three.summary(token)?.outcome == .failed && three.summary(token)?.reason == "new refused: the context arrived damaged")
        }
        three.checkGoesOn(at: Three.old)
    }

    @Test func taker_thatCannotInstall_saysWhyAndTheSessionStays() throws {
        let three = try Self.connected()
        try three.occupySPIs()
        let token = three.transfer()
        three.run(for: 50)
        #expect(three.summary(token)?.reason == "new refused: another session there has the SPI")
        try three.freeSPIs()
        three.checkGoesOn(at: Three.old)
    }

    @Test func failedTransfer_triedAgain_succeeds() throws {
        let three = try Self.connected()
        three.links.change = { number, bytes in number == 2 ? nil : bytes }
        let failed = three.transfer()
        three.run(for: 10_000)
        #expect(three.summary(failed)?.outcome == .failed)
        let token = three.transfer()
        three.run(for: 100)
        #expect(three.summary(token)?.outcome == .done)
        three.checkGoesOn(at: Three.new)
    }

    /// The client hears the REDIRECT, and its answer never gets back: the old gateway gives it up, the new one serves it.
    @Test func client_whoseAnswerIsLost_isServedByTheTaker() throws {
        let three = try Self.connected(mobike: false)
        _ = three.transfer()
        three.run(for: 4)
        let token = three.request(Three.old, .status)
        _ = token
        three.after(0) { $0.silenced.insert(Three.client) }
        three.run(for: 60_000)
        three.silenced = []
        three.run(for: 200_000)
        #expect(three.session(Three.client) != nil)
        let owners = [Three.old, Three.new].filter { three.session($0).map { !$0.isArriving } ?? false }
        #expect(owners.count == 1, "nobody serves the client, or two do")
        let remote = three.session(Three.client)?.remote.address
        #expect(remote == owners.first)
    }

    // MARK: - Who may

    @Test func request_withoutPermissionOrToken_isRefused() throws {
        let three = try Self.connected()
        let client = IPAddress("198.51.100.7")!
        let session = try #require(three.session(Three.old))
        // The old gateway's permission is for the new one alone: here the old asks the new, which has another session.
        three.tell(Three.new, .request(ContextRequest(mobileNode: client, sequenceNumber: 1, token: 0)))
        #expect(three.links.carried.last == .dataReply(Self.refused(client, .unauthorized)))
        // A token is checked, permission or not.
        let key = tokenKey(of: session.ikeSA, sequenceNumber: 7)
        let token = try TokenAlgorithm.hmacSHA256.token(key: key, mobileNode: client, sequenceNumber: 7, blocks: [])
        three.tell(Three.old, .request(ContextRequest(mobileNode: client, sequenceNumber: 7, token: token ^ 1)))
        #expect(three.links.carried.last == .dataReply(Self.refused(client, .unauthorized)))
        three.tell(Three.old, .request(ContextRequest(mobileNode: client, sequenceNumber: 8, token: token)))
        #expect(three.links.carried.last == .dataReply(Self.refused(client, .unauthorized)))
        #expect(three.session(Three.old)?.redirects.order == nil)
        three.run(for: 10)
        three.tell(Three.old, .request(ContextRequest(mobileNode: client, sequenceNumber: 7, token: token)))
        three.run(for: 100)
        three.checkGoesOn(at: Three.new)
    }

    private static func refused(_ client: IPAddress, _ status: TransferStatus) -> DataReply {
        DataReply(isSuccess: false, mobileNode: client, statuses: [ProfileStatus(.ipsecContext, status)])
    }

    @Test func transfer_ofNobodyOrToNobody_isRefused() throws {
        let three = try Self.connected()
        for (name, gateway, text) in [("nobody", "new", "no session"), ("client.example.net", "elsewhere", "[[gateway]]")] {
            let token = three.transfer(name, .to, gateway)
            #expect(three.summary(token)?.outcome == .refused && three.summary(token)?.reason.contains(text) == true)
        }
        #expect(three.summary(three.transfer("client.example.net", .from, "old"))?.outcome == .refused)
        // Twice at once.
        _ = three.transfer()
        #expect(three.summary(three.transfer())?.outcome == .refused)
        three.run(for: 200)
        three.checkGoesOn(at: Three.new)
    }

    @Test func messages_outOfPlaceOrRepeated_changeNothing() throws {
        let three = try Self.connected()
        let client = IPAddress("198.51.100.7")!
        let last = ContextCounters(transfer: 1, nextSendID: .max, nextReceiveID: .max, inbound: [])
        let strange: [CXTPMessage] = [
            .cancel(client), .dataReply(DataReply(isSuccess: true, mobileNode: client)),
            .data(ContextData(wantsReply: true, elapsedMilliseconds: 0, mobileNode: client, blocks: [last.block])),
            .data(ContextData(wantsReply: true, elapsedMilliseconds: 0, mobileNode: client, blocks: [])),
            .activateAcknowledge(ActivateAcknowledge(mobileNode: client)),
        ]
        for message in strange { for address in [Three.old, Three.new] { three.tell(address, message) } }
        three.checkGoesOn(at: Three.old)
        // Everything that a transfer says, said again at its end.
        let token = three.transfer()
        three.run(for: 100)
        #expect(three.summary(token)?.outcome == .done)
        for message in three.links.carried + strange {
            if case .data(let data) = message, data.tokenKey != nil {
                three.tell(Three.new, message)
                #expect(three.links.carried.last == .dataReply(Self.refused(client, .alreadyOwned)))
            } else {
                for address in [Three.old, Three.new] { three.tell(address, message) }
            }
        }
        three.checkGoesOn(at: Three.new)
    }

    /// First parts of contexts that never come: no more is kept than may be, and it goes in time.
    @Test func flood_ofFirstParts_isBounded() throws {
        let three = try Self.connected()
        let blocks = try ContextDataBlock.blocks(of: [UInt8](repeating: 1, count: 5000), transfer: 1)
        for number in 0..<1000 {
            let client = IPAddress(v4: 0x0A00_0000 + UInt32(number))
            let data = ContextData(wantsReply: true, elapsedMilliseconds: 0, mobileNode: client, blocks: [blocks[0]])
            three.tell(Three.new, .data(data))
            three.tell(Three.old, .request(ContextRequest(mobileNode: client, sequenceNumber: 1, token: 0)))
        }
        #expect(three.nodes[Three.new]?.transfers.arrivals.count == TransferWork.perGatewayMax)
        #expect(three.counter(Three.old, "transfers_refused") == 1000)
        three.run(for: 10_000)
        #expect(three.nodes[Three.new]?.transfers.isEmpty == true)
        let token = three.transfer()
        three.run(for: 100)
        #expect(three.summary(token)?.outcome == .done)
        three.checkGoesOn(at: Three.new)
    }

    // MARK: - A pair that takes

    /// The taker's other node goes on with a copy that is silent: it stays so until the client shows that it is here.
    @Test(arguments: [false, true]) func arrival_whenTheTakerDies_isSilentUntilTheClientComes(comes: Bool) throws {
        let three = try Self.connected()
        _ = three.transfer()
        let world = World()
        world.startPair()
        for message in three.links.carried { world.feed(0, .transferMessage(from: "old", message)) }
        world.run(for: 50)
        let session = try #require(world.nodes[0]?.table.sessions.values.first)
        let spi = session.children[0].inboundSPI
        #expect(session.isArriving && world.nodes[1]?.table[session.id] == session)
        world.kill(0)
        world.run(for: 1000)
        #expect(world.role(1) == .active && world.nodes[1]?.table[session.id]?.isArriving == true)
        #expect(!world.sendESP(inboundSPI: spi, from: 1))
        if comes {
            world.report(spi, next: 1, top: 5, index: 1)
            #expect(world.nodes[1]?.table[session.id]?.isArriving == false && world.sendESP(inboundSPI: spi, from: 1))
        } else {
            world.run(for: 130_000)
            #expect(world.nodes[1]?.table.count == 0 && world.planes[1].sas.isEmpty)
            #expect(world.nodes[1]?.transfers.isEmpty == true)
        }
    }
}
