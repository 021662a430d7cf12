import Cryptography
import Session
import Testing

@testable import Pair

/// A pair of two versions: the earlier one keeps what the later one added, and hands it back.
struct UnknownFieldTests {
    /// Field 1000, three octets.
    private static let octets: [UInt8] = [0xC2, 0x3E, 0x03, 0x61, 0x62, 0x63]

    /// As it comes from a node of a later version.
    private static let session: Session = {
        var session = Sample.session
        session.unknownFields = SecretBytes(octets)
        session.ikeSA.unknownFields = SecretBytes(octets)
        session.children[0].unknownFields = SecretBytes(octets)
        return session
    }()

    private static func count(of octets: [UInt8], in bytes: [UInt8]) -> Int {
        bytes.indices.count { bytes[$0...].starts(with: octets) }
    }

    @Test func snapshot_fromALaterVersion_isHandedBackWhole() throws {
        let bytes = PairFrameCodec.encode(.snapshotPage([Self.session]))
        #expect(Self.count(of: Self.octets, in: bytes) == 3)
        let frame = try PairFrameCodec.decode(bytes)
        #expect(frame == .snapshotPage([Self.session]))
        #expect(PairFrameCodec.encode(frame) == bytes)
    }

    @Test func session_changedByTheEarlierVersion_keepsWhatTheLaterOneAdded() throws {
        let frame = try PairFrameCodec.decode(PairFrameCodec.encode(.snapshotPage([Self.session])))
        guard case .snapshotPage(let page, _) = frame, let session = page.first else {
            Issue.record("not a page")
            return
        }
        var table = SessionTable()
        _ = try table.replace(with: session)
        let spi = session.children[0].inboundSPI
        _ = try table.apply(SessionDelta(session: session.id, changes: [.leased(inboundSPI: spi, lease: Lease(slice: 99))]))
        let changed = try #require(table[session.id])
        #expect(changed.children[0].lease == Lease(slice: 99))
        #expect(Self.count(of: Self.octets, in: PairFrameCodec.encode(.snapshotPage([changed]))) == 3)
    }

    @Test func childAdded_byALaterVersion_isKept() throws {
        let delta = SessionDelta(session: Self.session.id, changes: [.childAdded(Self.session.children[0])])
        #expect(try PairFrameCodec.decode(PairFrameCodec.encode(.entry(index: 1, .delta(delta)))) == .entry(index: 1, .delta(delta)))
    }

    @Test func unknownFields_whenTooLong_areRefused() {
        var session = Sample.session
        let count = PairWireLimits.unknownBytesMax + 1
        // Field 1000 of `count` octets, whose number needs three.
        let length = [UInt8(count & 0x7F) | 0x80, UInt8(count >> 7 & 0x7F) | 0x80, UInt8(count >> 14)]
        session.unknownFields = SecretBytes([0xC2, 0x3E] + length + [UInt8](repeating: 0, count: count))
        #expect(throws: PairWireError.self) { try PairFrameCodec.decode(PairFrameCodec.encode(.snapshotPage([session]))) }
    }
}
