import Cryptography
import FoundationEssentials
import Session
import SwiftProtobuf
import Testing

@testable import Pair

struct WireTests {
    @Test(arguments: Sample.frames) func decode_ofEveryKindOfFrame_givesItBack(frame: PairFrame) throws {
        #expect(try PairFrameCodec.decode(PairFrameCodec.encode(frame)) == frame)
    }

    @Test(arguments: Sample.frames) func encode_ofAPagePutTogether_isToTheOctetWhatProtobufMakesOfIt(frame: PairFrame) {
        #expect(PairFrameCodec.encode(frame) == PairFrameCodec.encodeAtOnce(frame))
        let many = PairFrame.snapshotPage([Sample.session, Sample.session] + Array(repeating: Sample.session, count: 30))
        #expect(PairFrameCodec.encode(many) == PairFrameCodec.encodeAtOnce(many))
    }

    /// Two read it: what is made for pages of a snapshot, and SwiftProtobuf. A session with everything, and what becomes of it by a flipped bit.
    @Test func decode_ofAPage_isWhatProtobufReads() throws {
        for sessions in [[Sample.session, Sample.bareSession], [Sample.session]] {
            var bytes = PairFrameCodec.encode(.snapshotPage(sessions))
            #expect(try PairFrameCodec.decode(bytes) == PairFrameCodec.decodeAtOnce(bytes))
            for position in stride(from: 0, to: bytes.count * 8, by: 3) {
                bytes[position / 8] ^= 1 << (position % 8)
                defer { bytes[position / 8] ^= 1 << (position % 8) }
                let (own, protobuf) = (try? PairFrameCodec.decode(bytes), try? PairFrameCodec.decodeAtOnce(bytes))
                #expect(own == protobuf, "bit \(position)")
            }
        }
    }

    /// The keys in particular: comparing sessions compares them, and they are the given ones.
    @Test func decode_ofASession_givesTheKeysBack() throws {
        let frame = try PairFrameCodec.decode(PairFrameCodec.encode(.snapshotPage([Sample.session])))
        guard case .snapshotPage(let page, _) = frame, let session = page.first else {
            Issue.record("not a page")
            return
        }
        #expect(session.ikeSA.keys.derivation.copyBytes() == [UInt8](repeating: 0xD0, count: 48))
        #expect(session.children[0].outboundKeys.encryption.copyBytes() == [UInt8](repeating: 0xC2, count: 36))
        #expect(session == Sample.session)
    }

    /// Each with keys of its own lengths, as an IKE SA's and as a CHILD SA's.
    @Test(arguments: Cipher.Kind.allCases, PRF.allCases)
    func decode_ofASessionWithAnyAlgorithms_givesItBack(kind: Cipher.Kind, prf: PRF) throws {
        for (bits, group) in zip(kind.keyLengths + kind.keyLengths + kind.keyLengths, KeyExchangeGroup.allCases) {
            for integrity in IntegrityAlgorithm.allCases {
                let session = Sample.session(Cipher(kind, keyBits: bits), integrity, prf: prf, group: group)
                let frame = try PairFrameCodec.decode(PairFrameCodec.encode(.snapshotPage([session])))
                #expect(frame == .snapshotPage([session]))
            }
        }
    }

    @Test(arguments: Sample.frames) func decode_ofATruncatedFrame_isRefused(frame: PairFrame) {
        let bytes = PairFrameCodec.encode(frame)
        for count in bytes.indices {
            #expect(throws: PairWireError.self) { try PairFrameCodec.decode(Array(bytes.prefix(count))) }
        }
    }

    @Test(arguments: Sample.frames) func decode_ofFlippedBits_endsInAFrameOrAnError(frame: PairFrame) throws {
        var bytes = PairFrameCodec.encode(frame)
        // Snapshot pages are long: every seventh bit reaches every octet all the same.
        for position in stride(from: 0, to: bytes.count * 8, by: bytes.count > 1000 ? 7 : 1) {
            bytes[position / 8] ^= 1 << (position % 8)
            defer { bytes[position / 8] ^= 1 << (position % 8) }
            guard let other = try? PairFrameCodec.decode(bytes) else { continue }
            // What was taken can be said again.
            #expect(try PairFrameCodec.decode(PairFrameCodec.encode(other)) == other)
        }
    }

    @Test func decode_ofGarbage_neverTraps() {
        let random = RandomSource.seeded(42)
        var refused = 0
        for round in 0..<20_000 {
            var bytes = random.bytes(Int(random.uint32() % 96))
            // Half of them begin like a frame with content.
            if round.isMultiple(of: 2), bytes.count > 2 {
                bytes[0] = UInt8(1 + round / 2 % 10) << 3 | 2
                bytes[1] = UInt8(bytes.count - 2)
            }
            if (try? PairFrameCodec.decode(bytes)) == nil { refused += 1 }
        }
        #expect(refused > 10_000)
        #expect(throws: PairWireError.unknownKind("frame")) { try PairFrameCodec.decode([]) }
        let tooLong = [UInt8](repeating: 0, count: PairProtocol.frameBytesMax + 1)
        #expect(throws: PairWireError.frameTooLarge(tooLong.count)) { try PairFrameCodec.decode(tooLong) }
    }

    @Test func hello_ofAnotherVersion_isRefusedWhateverElseItSays() throws {
        var wire = Sample.hello.wire
        wire.hello.version = PairProtocol.version + 1
        wire.hello.node = 77
        #expect(throws: PairWireError.unsupportedVersion(PairProtocol.version + 1)) { try PairFrame(wire) }
        #expect(PairWireError.unsupportedVersion(2).text.contains("version 2"))
        wire.hello.version = 0
        #expect(throws: PairWireError.unsupportedVersion(0)) { try PairFrame(wire) }
    }

    @Test func frame_ofAKindThatIsNotKnown_isRefused() {
        // Field 99 with no content, as a newer node might send it.
        #expect(throws: PairWireError.unknownKind("frame")) { try PairFrameCodec.decode([0x9A, 0x06, 0x00]) }
        var wire = WireFrame()
        wire.entry.index = 1
        #expect(throws: PairWireError.unknownKind("entry")) { try PairFrame(wire) }
        wire.entry.delta.changes = [WireChange()]
        #expect(throws: PairWireError.unknownKind("change")) { try PairFrame(wire) }
    }

    @Test func field_thatIsNotKnown_isPassedOver() throws {
        // A hello with field 15 added at its end, as a newer node of the same version might send it.
        var bytes = PairFrameCodec.encode(Sample.hello) + [0x78, 0x01]
        bytes[1] += 2
        #expect(try PairFrameCodec.decode(bytes) == Sample.hello)
    }

    @Test func counterReports_inABatch_costLittle() {
        let count = PairProtocol.replayReportsMax
        let reports = (0..<count).map { ReplayReport(inboundSPI: 0x8000_0000 + UInt32($0), top: 0xFFFF_FF00 + UInt64($0)) }
        let payload = PairFrameCodec.encode(.entry(index: 1 << 40, .replay(reports)))
        #expect(Double(payload.count + FrameSplitter.lengthBytes) / Double(count) <= 10)
        // Even one alone stays below the limit for a report.
        let one = PairFrameCodec.encode(.entry(index: 1 << 40, .replay([reports[0]])))
        #expect(one.count + FrameSplitter.lengthBytes <= 40)
    }

    @Test func session_ofEveryMethod_survivesTheWire() throws {
        for method in PeerAuthorization.Method.allCases {
            var session = Sample.session
            session.authorization.method = method
            #expect(try Session(session.wire) == session)
        }
    }

    @Test func reason_thatIsTooLong_isCutWhereACharacterEnds() throws {
        let reason = String(repeating: "é", count: 2000)
        let frame = try PairFrameCodec.decode(PairFrameCodec.encode(.handoverRefused(epoch: 1, reason: reason)))
        #expect(frame == .handoverRefused(epoch: 1, reason: String(repeating: "é", count: 512)))
    }
}

/// Values that the sender never has: each is refused with the field's name.
struct WireLimitTests {
    @Test(arguments: badSessions) func session_withAValueThatCannotBe_isRefused(bad: BadSession) {
        var wire = Sample.session.wire
        bad.change(&wire)
        #expect(throws: bad.error) { try Session(wire) }
        let page = WireFrame.with { $0.snapshotPage.sessions = [wire] }
        #expect(throws: bad.error) { try PairFrameCodec.decode(page.serializedBytes()) }
    }

    struct BadSession: Sendable {
        let error: PairWireError
        let change: @Sendable (inout WireSession) -> Void
        init(_ error: PairWireError, _ change: @escaping @Sendable (inout WireSession) -> Void) {
            self.error = error
            self.change = change
        }
    }

    static let badSessions: [BadSession] = [
        BadSession(.missing("Session.authorization")) { $0.clearAuthorization() },
        BadSession(.missing("Session.ike_sa")) { $0.clearIkeSa() },
        BadSession(.missing("Session.local")) { $0.clearLocal() },
        BadSession(.missing("IKESA.cipher")) { $0.ikeSa.clearCipher() },
        BadSession(.missing("ChildSA.inbound_keys")) { $0.children[0].clearInboundKeys() },
        BadSession(.invalid("Endpoint.address")) { $0.remote.address.removeLast() },
        BadSession(.invalid("Endpoint.port")) { $0.remote.port = 65_536 },
        BadSession(.invalid("Authorization.method")) { $0.authorization.method = 13 },
        BadSession(.invalid("Identity.kind")) { $0.authorization.remoteIdentity.kind = 4 },
        BadSession(.invalid("IKESA.role")) { $0.ikeSa.role = 2 },
        BadSession(.invalid("IKESA.prf")) { $0.ikeSa.prf = 1 << 16 | 5 },
        BadSession(.invalid("IKESA.key_exchange_group")) { $0.ikeSa.keyExchangeGroup = 5 },
        BadSession(.invalid("IKESA.integrity")) { $0.ikeSa.integrity = 12 },
        BadSession(.invalid("IKESA.derivation_key")) { $0.ikeSa.derivationKey.removeLast() },
        BadSession(.invalid("Cipher")) { $0.ikeSa.cipher.keyBits = 100 },
        BadSession(.invalid("Cipher")) { $0.children[0].cipher.transform = 3 },
        BadSession(.invalid("Cipher")) { ($0.children[0].cipher.transform, $0.children[0].cipher.keyBits) = (28, 128) },
        BadSession(.invalid("DirectionKeys.integrity")) { $0.children[1].integrity = 2 },
        BadSession(.invalid("Cipher.transform")) { $0.children[0].cipher.transform = 1 << 16 | 20 },
        BadSession(.invalid("DirectionKeys.encryption")) { $0.children[0].inboundKeys.encryption.append(0) },
        BadSession(.invalid("DirectionKeys.integrity")) { $0.children[0].inboundKeys.integrity.append(0) },
        BadSession(.invalid("ChildSA.integrity")) { $0.children[1].clearIntegrity() },
        BadSession(.invalid("ChildSA.integrity")) { $0.children[1].integrity = 1 },
        BadSession(.invalid("ChildSA.key_exchange_group")) { $0.children[0].keyExchangeGroup = 1 },
        BadSession(.invalid("ChildSA.mode")) { $0.children[0].mode = 2 },
        BadSession(.invalid("ChildSA.established_wall_milliseconds")) { $0.children[0].establishedWallMilliseconds = .min },
        BadSession(.invalid("TrafficSelector.ip_protocol")) { $0.children[0].localSelectors[0].ipProtocol = 256 },
        BadSession(.invalid("TrafficSelector.start")) { $0.children[0].localSelectors[0].start = Data() },
        BadSession(.invalid("TrafficSelector.end")) { $0.children[0].localSelectors[0].end = Data(count: 16) },
        BadSession(.invalid("VirtualAddress.address")) { $0.virtualAddresses[0].address = Data(count: 5) },
        BadSession(.unknownKind("request purpose")) { $0.ikeSa.pendingRequests[0].purpose = nil },
        BadSession(.tooLong(field: "Session.children", count: 1025, limit: 1024)) {
            $0.children = Array(repeating: $0.children[0], count: 1025)
        },
        BadSession(.tooLong(field: "ChildSA.local_selectors", count: 256, limit: 255)) {
            $0.children[0].localSelectors = Array(repeating: $0.children[0].localSelectors[0], count: 256)
        },
        BadSession(.tooLong(field: "CachedResponse.datagrams", count: 65_536, limit: 65_535)) {
            $0.ikeSa.responses[0].datagrams = [Data(count: 65_536)]
        },
        BadSession(.tooLong(field: "ChildSA.name", count: 4097, limit: 4096)) {
            $0.children[0].name = String(repeating: "a", count: 4097)
        },
    ]

    @Test func entry_withIndexesOrCountsThatCannotBe_isRefused() {
        func refuse(_ frame: PairFrame, _ error: PairWireError) {
            #expect(throws: error) { try PairFrameCodec.decode(PairFrameCodec.encode(frame)) }
        }
        refuse(.entry(index: 0, .replay([])), .invalid("Entry.index"))
        refuse(.entry(index: .max, .replay([])), .invalid("Entry.index"))
        refuse(.acknowledge(index: .max), .invalid("Acknowledge.index"))
        refuse(.handover(epoch: .max), .invalid("Handover.epoch"))
        refuse(
            .snapshotBegin(SnapshotBegin(epoch: 1, sessionCount: 1, nextIndex: 0)), .invalid("SnapshotBegin.next_index"))
        refuse(
            .snapshotBegin(SnapshotBegin(epoch: 1, sessionCount: .max, nextIndex: 1)), .invalid("SnapshotBegin.session_count"))
        let sessions = Array(repeating: Sample.session, count: 65)
        refuse(.snapshotPage(sessions), .tooLong(field: "SnapshotPage.sessions", count: 65, limit: 64))
        let reports = Array(repeating: ReplayReport(inboundSPI: 1, top: 1), count: 4097)
        refuse(.entry(index: 1, .replay(reports)), .tooLong(field: "Replay.inbound_spis", count: 4097, limit: 4096))
        var uneven = WireFrame()
        uneven.entry.index = 1
        uneven.entry.replay.inboundSpis = [1, 2]
        uneven.entry.replay.tops = [1]
        #expect(throws: PairWireError.invalid("Replay.tops")) { try PairFrame(uneven) }
    }
}

struct FrameSplitterTests {
    @Test(arguments: [1, 3, 7, 4096, 1 << 20]) func next_whateverTheChunks_givesTheFramesInOrder(chunk: Int) throws {
        let payloads = (0..<200).map { [UInt8](repeating: UInt8($0), count: $0 * $0 % 1777) }
        let stream = try payloads.flatMap { try FrameSplitter.framed($0) }
        var splitter = FrameSplitter()
        var out: [[UInt8]] = []
        for start in stride(from: 0, to: stream.count, by: chunk) {
            splitter.append(stream[start..<min(start + chunk, stream.count)])
            while let payload = try splitter.next() { out.append(payload) }
        }
        #expect(out == payloads)
        #expect(splitter.bufferedCount == 0)
    }

    @Test func next_whenTheLengthIsTooLarge_isRefusedForGood() throws {
        var splitter = FrameSplitter(frameBytesMax: 100)
        splitter.append([0, 0, 0, 1, 9, 0, 0, 0, 101])
        #expect(try splitter.next() == [9])
        #expect(throws: PairWireError.frameTooLarge(101)) { try splitter.next() }
        splitter.append([UInt8](repeating: 0, count: 200))
        #expect(throws: PairWireError.frameTooLarge(101)) { try splitter.next() }
        var hostile = FrameSplitter()
        hostile.append([0xFF, 0xFF, 0xFF, 0xFF])
        #expect(throws: PairWireError.frameTooLarge(0xFFFF_FFFF)) { try hostile.next() }
    }

    @Test func next_beforeTheFrameIsWhole_waits() throws {
        var splitter = FrameSplitter()
        for byte: UInt8 in [0, 0, 0, 2, 5] {
            splitter.append([byte])
            #expect(try splitter.next() == nil)
        }
        splitter.append([6])
        #expect(try splitter.next() == [5, 6])
        #expect(try splitter.next() == nil)
    }

    @Test func framed_whenTooLarge_isRefused() {
        #expect(throws: PairWireError.frameTooLarge(11)) {
            try FrameSplitter.framed([UInt8](repeating: 0, count: 11), frameBytesMax: 10)
        }
    }
}

/// Frames of every kind, and a session in which everything is there.
enum Sample {
    static let hello = PairFrame.hello(
        PairHello(version: PairProtocol.version, node: .one, name: "sg2", boot: 0xFEDC_BA98_7654_3210, role: .standby, epoch: 7))

    static let frames: [PairFrame] =
        [
            hello, .acknowledge(index: 12), .snapshotBegin(SnapshotBegin(epoch: 3, sessionCount: 100_000, nextIndex: 77)),
            .snapshotPage([session, bareSession]), .snapshotPage([]),
            .snapshotPage(
                [],
                reservations: [
                    Reservation(
                        holder: LeaseHolder(connection: "rw", identity: Identity(text: "a@example.net")), pool: "road",
                        address: IPAddress("10.3.0.7")!, offlineSince: 99),
                    Reservation(
                        holder: LeaseHolder(connection: "", identity: Identity(text: "b")), pool: "road6",
                        address: IPAddress("fd00::7")!, offlineSince: nil),
                ]), .snapshotEnd, .snapshotPageTaken, .handover(epoch: 8),
            .handoverAccepted(epoch: 8), .handoverRefused(epoch: 8, reason: "not in step"),
            .hello(
                PairHello(
                    version: PairProtocol.version, node: .zero, name: "sg1", boot: 9, role: .active, epoch: 8, takesFlows: true,
                    takesCertificates: true, certificate: Array(0..<32))),
            .flows(FlowBatch(beginsTable: true)), .flows(FlowBatch(endsTable: true, removals: [flow.key], puts: [flow, flow6])),
            .flowsTaken, .certificateOffer(Array("-----BEGIN CERTIFICATE-----".utf8)),
            .certificateAnswer(digest: [1, 2, 3], refusal: nil), .certificateAnswer(digest: [], refusal: "no"),
            .mergeRequest(epoch: 9, wantsAll: true), .mergePage(mergePage), .mergePage(MergePage()), .mergePageTaken, .mergeEnd,
            .hello(
                PairHello(
                    version: PairProtocol.version, node: .zero, name: "sg1", boot: 9, role: .standby, epoch: 8, takesMerge: true,
                    owesMerge: true)),
            .passedOn([]),
            .passedOn([Datagram(local: halfOpen.local, remote: halfOpen.remote, bytes: [0, 255])]),
            .condition(NodeCondition(wallMilliseconds: -5)), .condition(NodeCondition(wallMilliseconds: 5, lifetimeMilliseconds: 0)),
            .condition(
                NodeCondition(
                    faults: [NamedFault(name: "interface eth0", reason: "no carrier"), NamedFault(name: "memory", reason: "")],
                    maintenance: .standby, wallMilliseconds: 1_795_400_000_000)),
            .handover(epoch: 10, HandoverTerms(reason: "unfit: memory", isForced: true, isAutomatic: true)),
            .entry(index: 5, .replay([ReplayReport(inboundSPI: 1, top: .max), ReplayReport(inboundSPI: .max, top: 0)])),
            .entry(index: 6, .delta(SessionDelta(session: session.id, changes: []))),
            .entry(index: 7, .delta(SessionDelta(session: session.id, changes: changes))),
        ] + changes.map { .entry(index: 8, .delta(SessionDelta(session: session.id, changes: [$0]))) }
        + handshakes.map { .entry(index: 9, .handshake($0)) }

    static let mergePage: MergePage = {
        var page = MergePage(sessions: [
            MergePage.Item(session, silence: .microseconds(1)), MergePage.Item(bareSession, silence: nil),
            MergePage.Item(session, silence: .zero),
        ])
        page.ended = [
            MergePage.Ending(session: session.id, silence: .seconds(77), wasDetached: true),
            MergePage.Ending(session: bareSession.id, silence: .zero, wasDetached: false),
        ]
        (page.endedChildren, page.endedIKESAs) = ([1, .max], [1, .max])
        page.reservations = [
            Reservation(
                holder: LeaseHolder(connection: "rw", identity: Identity(text: "a@example.net")), pool: "road",
                address: IPAddress("10.3.0.7")!, offlineSince: 99)
        ]
        page.spentSlices = [
            MergePage.SpentSlice(inboundSPI: 1, slice: .max), MergePage.SpentSlice(inboundSPI: .max, slice: 0),
        ]
        return page
    }()

    static let flow = FlowEntry(
        original: FlowTuple(
            source: IPAddress("10.20.0.1")!, destination: IPAddress("10.10.0.80")!, ipProtocol: 6, sourcePort: 40_000, destinationPort: 80),
        reply: FlowTuple(
            source: IPAddress("10.10.0.80")!, destination: IPAddress("10.10.0.1")!, ipProtocol: 6, sourcePort: 80, destinationPort: .max),
        zone: .max, status: .known, timeout: 1 << 30, mark: .max,
        tcp: FlowTCP(state: 9, originalFlags: .max, replyFlags: 1, originalScale: 14, replyScale: 0))
    static let flow6 = FlowEntry(
        original: FlowTuple(
            source: IPAddress("fd00:20::1")!, destination: IPAddress("fd00:10::1")!, ipProtocol: 58, sourcePort: 7,
            destinationPort: 128 << 8),
        reply: FlowTuple(
            source: IPAddress("fd00:10::1")!, destination: IPAddress("fd00:20::1")!, ipProtocol: 58, sourcePort: 7,
            destinationPort: 129 << 8))

    static let changes: [SessionChange] =
        [
            .created(session), .merged(session), .removed(reason: "deleted by peer", at: 1_700_000_000_555),
            .detached(at: 1_700_000_000_556),
            .answered(localSPI: 0x8000_0000_0000_0001, response: response),
            .requested(localSPI: 1, request: PendingRequest(messageID: 9, purpose: .deleteChildSA(0xC0FF_EE00), datagrams: [[1]])),
            .requested(localSPI: 1, request: PendingRequest(messageID: 9, purpose: .liveness, datagrams: [])),
            .requested(localSPI: 1, request: PendingRequest(messageID: 9, purpose: .deleteIKESA, datagrams: [[2, 3], [4]])),
            .requestCompleted(localSPI: 1, messageID: .max), .moved(local: session.remote, remote: session.local),
            .childAdded(session.children[1]), .childRekeyed(inboundSPI: 5), .childRemoved(inboundSPI: .max),
            .ikeSARekeyed(session.ikeSA), .ikeSARemoved(localSPI: 7), .leased(inboundSPI: 5, lease: Lease(slice: .max)),
            .leased(inboundSPI: 5, lease: .initial), .inboundAdvanced(inboundSPI: 5, top: .max),
            .collided(localSPI: 1, messageID: 9, collision: RekeyCollision(lowestNonce: [1, 2], localSPI: .max)),
            .sendWindowSet(localSPI: 1, size: 16), .pathChanged(session.path), .peerAddressesSet([IPAddress("192.0.2.9")!]),
            .peerAddressesSet([]), .movingSet(session.path), .movingSet(nil),
            .reauthenticationSet(at: 77), .redirected(to: IPAddress("2001:db8::9")!), .reauthenticationSet(at: nil),
            .redirectsSet(session.redirects), .redirectsSet(.none), .arrived(nextSendID: .max, nextReceiveID: 7),
            .ikeSAAdded(session.ikeSA),
            .ikeSAAdopted(localSPI: .max), .volumeReached(inboundSPI: 5, volume: Volume(bytes: .max, packets: 1)),
            .childLifetimeSet(inboundSPI: 5, lifetime: Lifetime(rekeyAt: 1, endsAt: nil)),
            .ikeLifetimeSet(localSPI: 5, lifetime: .unlimited),
            .syncRequested(localSPI: .max, request: syncRequest),
            .syncRequested(
                localSPI: 1, request: SyncRequest(epoch: 1, nonce: 0, ids: MessageIDs(send: 0, receive: 0), increment: nil, datagram: [])),
            .syncCompleted(localSPI: .max, ids: MessageIDs(send: .max, receive: 1)),
            .syncAnswered(localSPI: 3, answer: SyncAnswer(firstID: 0, response: response), ids: MessageIDs(send: 5, receive: 0)),
            .syncAnswered(localSPI: 3, answer: SyncAnswer(firstID: .max, response: nil), ids: MessageIDs(send: 0, receive: .max)),
        ]
        + requests.map { .requested(localSPI: 1, request: $0) }

    private static let requests: [PendingRequest] = [
        .createChildSA(
            ChildOffer(
                name: "net", inboundSPI: 7, replacing: 5, nonce: [UInt8](repeating: 7, count: 32),
                keyExchange: KeyExchangeOffer(group: .ecp256, privateValue: key(0xA1, 32)),
                localSelectors: aeadChild.localSelectors, remoteSelectors: aeadChild.remoteSelectors, mode: .transport)),
        .createChildSA(
            ChildOffer(
                name: "net", inboundSPI: 7, replacing: nil, nonce: [1], keyExchange: nil, localSelectors: [], remoteSelectors: [],
                mode: .tunnel)),
        .rekeyIKESA(IKEOffer(spi: 9, nonce: [2], keyExchange: KeyExchangeOffer(group: .curve25519, privateValue: key(0xA2, 32)))),
        .updateAddresses(AddressUpdate(local: session.local, remote: session.remote)),
        .verifyAddress(AddressCheck(cookie: [1, 2, 3, 4, 5, 6, 7, 8], path: session.path)), .announce,
        .verifyAddress(AddressCheck(cookie: [1, 2, 3, 4, 5, 6, 7, 8], path: nil)),
        .syncReplayCounters(1 << 40),
        .redirect(nonce: nil), .redirect(nonce: .max),
    ].map {
        PendingRequest(messageID: 3, purpose: $0, datagrams: [[1], [2]], collision: RekeyCollision(lowestNonce: [5], localSPI: 6))
    }

    static let response = CachedResponse(
        messageID: 3, requestDigest: [UInt8](repeating: 0xDD, count: 32), datagrams: [[UInt8](repeating: 0xEE, count: 80), [9]])

    static let session: Session = {
        var session = plainSession
        session.predecessor = SessionID(rawValue: 0x8000_0000_0000_0041)
        session.redirectedTo = IPAddress("2001:db8::5")!
        session.ikeSA.counterSync = CounterSync(
            pending: syncRequest, knownSince: 1 << 40, answered: SyncAnswer(firstID: 0xFFFF_0001, response: response))
        session.isArriving = true
        session.redirects = Redirections(
            times: [1, 1_700_000_000_000],
            order: RedirectOrder(target: .name("gw2.example"), contextTransmitted: true, stage: .sent, endsAt: 1_700_000_060_000),
            from: IPAddress("192.0.2.77")!)
        return session
    }()

    private static let syncRequest = SyncRequest(
        epoch: 1 << 41, nonce: 0xFEDC_BA98, ids: MessageIDs(send: 1 << 31, receive: 7), increment: 1 << 33, datagram: [1, 2, 3])

    private static let plainSession = Session(
        id: SessionID(rawValue: 0x8000_0000_0000_0042), uniqueID: 17,
        authorization: PeerAuthorization(
            connection: "roadwarriors", localIdentity: Identity(text: "sg.example"),
            remoteIdentity: Identity(kind: .keyID, data: [0, 0xFF]), method: .preSharedKey),
        capabilities: [.mobike, .messageIDSync, PeerCapabilities(rawValue: 1 << 31)],
        local: Endpoint(IPAddress("2001:db8::1")!, 4500), remote: Endpoint(IPAddress("198.51.100.7")!, 65535), encapsulation: true,
        localBehindNAT: false, remoteBehindNAT: true, ikeSA: ikeSA(role: .responder, pending: true),
        otherIKESAs: [ikeSA(role: .initiator, pending: false)], children: [aeadChild, cbcChild],
        virtualAddresses: [
            VirtualAddress(pool: "rw", address: IPAddress("10.3.0.1")!),
            VirtualAddress(pool: "rw6", address: IPAddress("fd00::1")!, isPersistent: true),
        ], originalRole: .initiator, peerAddresses: [IPAddress("2001:db8::7")!],
        movingTo: SessionPath(
            local: Endpoint(IPAddress("192.0.2.1")!, 4500), remote: Endpoint(IPAddress("192.0.2.7")!, 4500), encapsulation: false,
            localBehindNAT: true, remoteBehindNAT: false), reauthenticateAt: 1_700_000_009_000,
        establishedWallMilliseconds: 1_700_000_000_123)

    /// Nothing that may be missing is there.
    static let bareSession: Session = {
        var bare = session
        bare.id = SessionID(rawValue: 0)
        bare.otherIKESAs = []
        bare.children = []
        bare.virtualAddresses = []
        bare.peerAddresses = []
        bare.movingTo = nil
        bare.reauthenticateAt = nil
        bare.predecessor = nil
        bare.redirectedTo = nil
        bare.redirects = Redirections(order: RedirectOrder(target: .address(IPAddress("2001:db8::6")!), contextTransmitted: false))
        bare.capabilities = []
        bare.ikeSA.responses = []
        bare.ikeSA.counterSync = CounterSync()
        bare.ikeSA.pendingRequests = []
        bare.establishedWallMilliseconds = -1
        return bare
    }()

    private static func ikeSA(role: IKERole, pending: Bool) -> IKESA {
        IKESA(
            spis: IKESPIs(initiator: 0x0123_4567_89AB_CDEF, responder: 0x8000_0000_0000_0001), role: role,
            algorithms: IKEAlgorithms(
                cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, prf: .hmacSHA384, keyExchangeGroup: .ecp384),
            keys: IKEKeys(
                derivation: key(0xD0, 48), initiator: DirectionKeys(encryption: key(0xE1, 36), integrity: .empty),
                responder: DirectionKeys(encryption: key(0xE2, 36), integrity: .empty)), nextSendID: 0, nextReceiveID: 2,
            sendWindow: 4, receiveWindow: 2, responses: [response],
            pendingRequests: pending ? [PendingRequest(messageID: 1, purpose: .liveness, datagrams: [[4, 5]])] : [],
            lifetime: Lifetime(rekeyAt: 5, endsAt: 6), epochShift: EpochShift(offset: 0x7FFF, spent: 1 << 14)!,
            establishedWallMilliseconds: 1_700_000_000_000)
    }

    private static let aeadChild = ChildSA(
        inboundSPI: 0x8000_0001, outboundSPI: 0xC123_4567, name: "net", uniqueID: 3,
        algorithms: ESPAlgorithms(
            cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, extendedSequenceNumbers: true, keyExchangeGroup: .curve25519),
        inboundKeys: DirectionKeys(encryption: key(0xC1, 36), integrity: .empty),
        outboundKeys: DirectionKeys(encryption: key(0xC2, 36), integrity: .empty), mode: .tunnel,
        localSelectors: [
            TrafficSelector(IPPrefix("10.1.0.0/16")!),
            TrafficSelector(
                ipProtocol: 6, startPort: 443, endPort: 443, start: IPAddress("fd00::1")!, end: IPAddress("fd00::ffff")!),
        ], remoteSelectors: [TrafficSelector(host: IPAddress("10.3.0.1")!)], lease: Lease(slice: 6), inboundTop: 1 << 40,
        lifetime: Lifetime(rekeyAt: nil, endsAt: 1), volumeLimits: VolumeLimits(rekeyBytes: 1, endBytes: 2, rekeyPackets: 3, endPackets: 4),
        volume: Volume(bytes: 5, packets: 6), establishedWallMilliseconds: 1_700_000_000_001, isRekeyed: true)

    private static let cbcChild = ChildSA(
        inboundSPI: 0x8000_0002, outboundSPI: 256, name: "other", uniqueID: 4,
        algorithms: ESPAlgorithms(
            cipher: Cipher(.aesCBC, keyBits: 128), integrity: .hmacSHA512_256, extendedSequenceNumbers: false, keyExchangeGroup: nil),
        inboundKeys: DirectionKeys(encryption: key(0xB1, 16), integrity: key(0xB2, 64)),
        outboundKeys: DirectionKeys(encryption: key(0xB3, 16), integrity: key(0xB4, 64)), mode: .transport, localSelectors: [],
        remoteSelectors: [], lease: .initial, inboundTop: 0, establishedWallMilliseconds: 0)

    /// `integrity` is passed over with an AEAD.
    static func session(_ cipher: Cipher, _ integrity: IntegrityAlgorithm, prf: PRF, group: KeyExchangeGroup) -> Session {
        let integrity = cipher.isAEAD ? nil : integrity
        func keys(_ byte: UInt8) -> DirectionKeys {
            DirectionKeys(encryption: key(byte, cipher.keyMaterialLength), integrity: key(byte + 1, integrity?.keyLength ?? 0))
        }
        var session = session
        session.ikeSA.algorithms = IKEAlgorithms(cipher: cipher, integrity: integrity, prf: prf, keyExchangeGroup: group)
        session.ikeSA.keys = IKEKeys(derivation: key(0x11, prf.outputLength), initiator: keys(0x21), responder: keys(0x31))
        session.children[0].algorithms = ESPAlgorithms(
            cipher: cipher, integrity: integrity, extendedSequenceNumbers: true, keyExchangeGroup: group)
        (session.children[0].inboundKeys, session.children[0].outboundKeys) = (keys(0x41), keys(0x51))
        return session
    }

    private static func key(_ byte: UInt8, _ count: Int) -> SecretBytes { SecretBytes([UInt8](repeating: byte, count: count)) }
}
