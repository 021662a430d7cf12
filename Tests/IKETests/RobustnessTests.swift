import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Bytes from the network stop nothing and change nothing (law 7); what an authenticated peer says wrongly has its answer.
@Suite struct RobustnessTests {
    private func established() -> World {
        var world = World()
        world.establish()
        return world
    }

    /// Each datagram that a client sends in a long life.
    private func recorded() -> World {
        var world = established()
        world.client { $0.addChild(group: .curve25519, context: $1) }
        world.client { $0.rekeyIKE(context: $1) }
        world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        world.client { $0.liveness(context: $1) }
        world.settle()
        return world
    }

    @Test func mutatedDatagrams_neverChangeAnEstablishedSession() throws {
        var world = recorded()
        let before = world.gateway.table.sessions
        let random = RandomSource.seeded(7)
        // What was taken already, and what would be taken next.
        let fresh = [
            try world.sealed([], exchange: .informational),
            try world.sealed([.delete(DeletePayload(protocolID: .ike))], exchange: .informational),
            try world.sealed([.nonce(random.bytes(32))] + world.client.childPayloads(spi: 4711, groups: nil), exchange: .createChildSA),
        ]
        let originals = world.fromClient.map { world.toGateway($0) } + fresh + fresh + fresh
        for round in 0..<6000 {
            var datagram = originals[round % originals.count]
            for _ in 0...(random.uint32() % 4) {
                guard !datagram.bytes.isEmpty else { break }
                let place = Int(random.uint32()) % datagram.bytes.count
                switch random.uint32() % 4 {
                case 0: datagram.bytes[place] ^= UInt8(1 << (random.uint32() % 8))
                case 1: datagram.bytes[place] = UInt8(truncatingIfNeeded: random.uint32())
                case 2: datagram.bytes.removeLast(datagram.bytes.count - place)
                default: datagram.bytes.insert(UInt8(truncatingIfNeeded: random.uint32()), at: place)
                }
            }
            // The length field is repaired now and then, so that more than the header is looked at.
            if round % 2 == 0, datagram.bytes.count >= 28 {
                datagram.bytes.replaceSubrange(24..<28, with: UInt32(datagram.bytes.count).networkBytes)
            }
            if !fresh.contains(datagram) { world.deliver(datagram) }
        }
        #expect(world.gateway.table.sessions == before)
        #expect(world.gateway.engine.counters.droppedTotal > 3000)
        #expect(world.gateway.engine.counters.dropped(.integrity) > 100)
    }

    /// Garbage in IKE_SA_INIT where every payload type is tried: at most an answer in clear.
    @Test func initRequests_ofGarbage_leaveNothingBehind() {
        var world = established()
        let before = world.gateway.table.sessions
        let random = RandomSource.seeded(11)
        for round in 0..<3000 {
            let type = UInt8(33 + round % 22)
            let body = random.bytes(Int(random.uint32() % 60))
            var bytes = IKEHeader(
                initiatorSPI: random.uint64() | 1, responderSPI: 0, nextPayload: type, exchangeType: .ikeSAInit, isInitiator: true,
                isResponse: false, messageID: 0, length: UInt32(28 + 4 + body.count)
            ).encode()
            bytes += [0, round % 3 == 0 ? 0x80 : 0, 0, UInt8(4 + body.count)] + body
            world.deliver(Datagram(local: Endpoint(World.gatewayAddress, 500), remote: Endpoint(World.clientAddress, 500), bytes: bytes))
        }
        #expect(world.gateway.table.sessions == before && world.gateway.engine.halfOpenCount == 0)
    }

    /// Every payload type with garbage inside an authenticated request: answered, or answered and closed; never a trap.
    @Test func authenticatedGarbage_inEveryPayload_isAnsweredOnce() throws {
        let world = established()
        let random = RandomSource.seeded(13)
        var closed = 0
        for round in 0..<3000 {
            var copy = world
            let type = UInt8(33 + round % 22)
            let body = random.bytes(Int(random.uint32() % 50))
            let inner = [0, 0, 0, UInt8(4 + body.count)] + body
            let exchange = round % 2 == 0 ? ExchangeType.informational : .createChildSA
            let answer = copy.deliver(try copy.sealed(inner: inner, first: type, exchange: exchange))
            #expect(answer.count == 1)
            if copy.gateway.table.count == 0 { closed += 1 }
        }
        #expect(closed > 100 && closed < 3000)
    }

    @Test func request_whenMalformed_isToldSoAndTheSessionEnds() throws {
        var world = established()
        // A payload that claims to be longer than the message.
        let datagram = try world.sealed(inner: [0, 0, 1, 0], first: PayloadType.notify, exchange: .informational)
        let answer = world.deliver(datagram)
        #expect(try world.opened(try #require(answer.first)) == [.notify(.invalidSyntax)])
        #expect(world.gateway.table.count == 0)
        #expect(world.deliver(datagram) == answer, "a peer that did not hear it is told again")
    }

    @Test func unknownPayload_whenCritical_isRefusedElseSkipped() throws {
        var world = established()
        let critical = try world.sealed([.unknown(type: 200, isCritical: true, body: [1])], exchange: .informational)
        let answer = try #require(world.deliver(critical).first)
        #expect(try world.opened(answer) == [.notify(.unsupportedCriticalPayload, [200])])
        #expect(world.gateway.table.count == 1)
        let next = try world.sealed([.unknown(type: 200, isCritical: false, body: [1])], exchange: .informational, messageID: 3)
        #expect(try world.opened(try #require(world.deliver(next).first)) == [])
    }

    @Test func unknownPayload_beforeTheEncryptedOne_isTreatedAsInside() throws {
        var world = established()
        let critical = try world.sealed([], exchange: .informational, outside: (type: 201, body: [1], isCritical: true))
        #expect(try world.opened(try #require(world.deliver(critical).first)) == [.notify(.unsupportedCriticalPayload, [201])])
        let harmless = try world.sealed([], exchange: .informational, messageID: 3, outside: (type: 201, body: [1], isCritical: false))
        #expect(try world.opened(try #require(world.deliver(harmless).first)) == [])
        var forged = try world.sealed([], exchange: .informational, messageID: 4, outside: (type: 201, body: [1], isCritical: true))
        forged.bytes[16] = 202
        #expect(world.deliver(forged).isEmpty, "what is outside is authenticated, too")
        #expect(world.gateway.engine.counters.dropped(.integrity) == 1)
    }

    /// RFC 7296 §2.21.3: fatal for the IKE SA that it came in; the successor and the CHILD SAs have nothing to do with it.
    @Test func malformedRequest_inTheRekeyedIKESA_endsOnlyThat() throws {
        var world = established()
        world.client { $0.rekeyIKE(context: $1) }
        world.deliver(world.toGateway(try #require(world.fromClient.last)))
        let before = try #require(world.session)
        #expect(before.otherIKESAs.count == 1)
        // The client still seals with the old keys.
        let malformed = try world.sealed(inner: [0, 0, 1, 0], first: PayloadType.notify, exchange: .informational)
        #expect(try world.opened(try #require(world.deliver(malformed).first)) == [.notify(.invalidSyntax)])
        let after = try #require(world.session)
        #expect(after.otherIKESAs.isEmpty && after.ikeSA == before.ikeSA && after.children == before.children)
    }

    /// RFC 7296 §2.21.3: no authenticated request stays without an answer, whatever it asks for.
    @Test(arguments: [ExchangeType.ikeAuth, ExchangeType(rawValue: 44)])
    func request_ofAnExchangeThatIsOutOfPlace_isToldSo(exchange: ExchangeType) throws {
        var world = established()
        let answer = try #require(world.deliver(try world.sealed([], exchange: exchange)).first)
        #expect(try world.opened(answer) == [.notify(.invalidSyntax)])
        #expect(world.gateway.table.count == 0)
    }

    /// RFC 7296 §2.21.3: whoever answers INVALID_SYNTAX has deleted the IKE SA.
    @Test func response_ofInvalidSyntax_endsTheSession() throws {
        var world = established()
        let session = try #require(world.session)
        world.gateway { $0.checkLiveness(session: session.id, table: $1, context: $2) }
        let answer = try world.sealed([.notify(.invalidSyntax)], exchange: .informational, messageID: 0, isResponse: true)
        #expect(world.deliver(answer).isEmpty)
        #expect(world.gateway.table.count == 0 && world.gateway.events.contains(.deletedByPeer(session: session.id)))
    }

    /// Law 3: after the last message ID the first would come again, and with it its IV.
    @Test func request_withTheLastMessageID_isNotAnswered() throws {
        var world = established()
        var session = try #require(world.session)
        session.ikeSA.nextReceiveID = .max
        let aged = session
        #expect(throws: Never.self) { try world.gateway.table.replace(with: aged) }
        #expect(world.deliver(try world.sealed([], exchange: .informational, messageID: .max)).isEmpty)
        #expect(world.session?.ikeSA.nextReceiveID == .max)
    }

    @Test func request_withTheSameIDAndOtherBytes_isDropped() throws {
        var world = established()
        world.client { $0.liveness(context: $1) }
        world.settle()
        let used = try #require(world.client.ikeSA).nextSendID - 1
        let before = world.session
        #expect(world.deliver(try world.sealed([], exchange: .informational, messageID: used)).isEmpty)
        #expect(world.gateway.engine.counters.dropped(.changedRequest) == 1)
        #expect(world.deliver(try world.sealed([], exchange: .informational, messageID: used + 2)).isEmpty)
        #expect(world.gateway.engine.counters.dropped(.futureRequest) == 1)
        #expect(world.session == before)
    }

    @Test func majorVersion_whenHigher_isToldOurs() throws {
        var world = established()
        var bytes = IKEHeader(
            initiatorSPI: 5, responderSPI: 0, majorVersion: 3, exchangeType: .ikeSAInit, isInitiator: true, isResponse: false, messageID: 0
        ).encode()
        let source = Datagram(local: Endpoint(World.gatewayAddress, 500), remote: Endpoint(World.clientAddress, 500), bytes: bytes)
        let answer = try #require(world.deliver(source).first)
        #expect(try IKEMessage(parsing: answer.bytes).payloads == [.notify(.invalidMajorVersion)])
        bytes[17] = 0x10
        #expect(world.deliver(Datagram(local: source.local, remote: source.remote, bytes: bytes)).isEmpty)
        #expect(world.gateway.engine.counters.dropped(.version) == 2)
    }

    @Test func unknownSPI_isAnsweredBySilence() throws {
        var world = established()
        var datagram = try world.sealed([], exchange: .informational)
        datagram.bytes[8] ^= 0x7F
        #expect(world.deliver(datagram).isEmpty)
        #expect(world.gateway.engine.counters.dropped(.unknownSPI) == 1)
    }

    /// No AUTH payload asks for EAP (RFC 7296 §2.16), which we do not do.
    @Test func authRequest_withoutAUTH_isRefused() throws {
        var world = World()
        world.client { $0.start(context: $1) }
        world.pass(.milliseconds(11))
        let half = world.client.phase
        #expect(half == .awaitingAuthResponse)
        let request = try world.sealed(
            [.identificationInitiator(Identity(text: "alice@example.net").payload)], exchange: .ikeAuth, messageID: 1)
        let answer = try #require(world.deliver(request).first)
        #expect(try world.opened(answer) == [.notify(.authenticationFailed)])
        #expect(world.gateway.table.count == 0 && world.gateway.engine.halfOpenCount == 0)
    }

    /// The initiator could not authenticate us (RFC 7296 §2.21.2).
    @Test func peer_whenItReportsAuthenticationFailed_isForgotten() throws {
        var world = established()
        let request = try world.sealed([.notify(.authenticationFailed)], exchange: .informational)
        #expect(world.deliver(request).count == 1)
        #expect(world.gateway.table.count == 0)
    }

    @Test func rekeyedIKESA_takesOnlyInformational() throws {
        var world = established()
        world.client { $0.rekeyIKE(context: $1) }
        let request = world.toGateway(try #require(world.fromClient.last))
        world.deliver(request)
        // The client has not seen the answer and asks in the old IKE SA for another CHILD SA.
        let child = world.client.childPayloads(spi: 0x1234_5678, groups: nil)
        let asked = try world.sealed([child[0], .nonce([UInt8](repeating: 1, count: 32))] + child[1...], exchange: .createChildSA)
        let answer = try #require(world.deliver(asked).first)
        #expect(try world.opened(answer) == [.notify(.temporaryFailure)])
        #expect(world.session?.children.count == 1)
    }

    /// RFC 7296 §1.4.1: both sides delete the same CHILD SA; the answer does not name it.
    @Test func crossingDelete_isAnsweredWithoutADeletePayload() throws {
        var world = established()
        world.client { $0.addChild(context: $1) }
        world.settle()
        let session = try #require(world.session)
        let spis = world.client.children.map { $0.inboundSPI.networkBytes }
        world.gateway { $0.terminate(child: session.children[0].inboundSPI, in: session.id, table: $1, context: $2) }
        let request = try world.sealed([.delete(DeletePayload(protocolID: .esp, spis: spis))], exchange: .informational)
        let answer = try world.opened(try #require(world.deliver(request).first))
        let named = session.children[1].inboundSPI.networkBytes
        #expect(answer == [.delete(DeletePayload(protocolID: .esp, spis: [named]))])
        #expect(world.session?.children == [])
    }

    @Test func deltas_ofUnusableKeys_dropInsteadOfTrapping() throws {
        var world = established()
        var session = try #require(world.session)
        session.ikeSA.keys.initiator.encryption = SecretBytes([1, 2, 3])
        let broken = session
        #expect(throws: Never.self) { try world.gateway.table.replace(with: broken) }
        #expect(world.deliver(try world.sealed([], exchange: .informational)).isEmpty)
        #expect(world.gateway.engine.counters.dropped(.unusableKeys) == 1)
    }
}
