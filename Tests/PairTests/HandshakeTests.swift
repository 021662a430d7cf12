import Cryptography
import Session
import SwiftProtobuf
import Testing

@testable import Pair

extension Sample {
    static let halfOpen = HalfOpenSA(
        spis: IKESPIs(initiator: 0xA1, responder: 0x8000_0000_0000_00B2),
        algorithms: IKEAlgorithms(
            cipher: Cipher(.aesCBC, keyBits: 256), integrity: .hmacSHA256_128, prf: .hmacSHA256, keyExchangeGroup: .curve25519),
        derived: DerivedIKEKeys(
            keys: IKEKeys(
                derivation: secret(1, 32), initiator: DirectionKeys(encryption: secret(2, 32), integrity: secret(3, 32)),
                responder: DirectionKeys(encryption: secret(4, 32), integrity: secret(5, 32))),
            initiatorAuthentication: secret(6, 32), responderAuthentication: secret(7, 32)),
        nonces: NoncePair(initiator: [8, 9], responder: [10, 11]), request: [1, 2, 3], response: [4, 5, 6],
        local: Endpoint(IPAddress("192.0.2.10")!, 500), remote: Endpoint(IPAddress("198.51.100.7")!, 1024),
        nat: NATDetection(isSupported: true, localBehindNAT: false, remoteBehindNAT: true), forcesEncapsulation: true,
        capabilities: [.fragmentation, .redirect], peerHashes: [.sha256, .identity], redirectedFrom: IPAddress("2001:db8::1")!)

    /// Everything that may be absent is.
    static let bareHalfOpen = HalfOpenSA(
        spis: IKESPIs(initiator: 1, responder: 2),
        algorithms: IKEAlgorithms(
            cipher: Cipher(.aesGCM16, keyBits: 128), integrity: nil, prf: .hmacSHA256, keyExchangeGroup: .ecp256),
        derived: DerivedIKEKeys(
            keys: IKEKeys(
                derivation: secret(1, 32), initiator: DirectionKeys(encryption: secret(2, 20), integrity: .empty),
                responder: DirectionKeys(encryption: secret(4, 20), integrity: .empty)),
            initiatorAuthentication: secret(6, 32), responderAuthentication: secret(7, 32)),
        nonces: NoncePair(initiator: [], responder: []), request: [], response: [], local: Endpoint(IPAddress("fd00::1")!, 500),
        remote: Endpoint(IPAddress("fd00::2")!, 500), nat: NATDetection(), forcesEncapsulation: false, capabilities: [],
        peerHashes: nil, redirectedFrom: nil)

    static let handshakes: [HandshakeChange] = [
        .opened(halfOpen), .opened(bareHalfOpen),
        .fragmentTaken(
            FragmentPart(localSPI: .max, messageID: 1, number: 2, total: 3, firstPayload: 35, content: [1, 2], digest: [UInt8](0..<32))),
        .ended(
            Farewell(
                localSPI: 5, requestDigest: [UInt8](0..<32), datagrams: [[1], [2, 3]], local: halfOpen.local, remote: halfOpen.remote,
                session: SessionID(rawValue: 7))),
        .ended(
            Farewell(localSPI: 5, requestDigest: [], datagrams: [], local: halfOpen.local, remote: halfOpen.remote, session: nil)),
    ]

    private static func secret(_ octet: UInt8, _ count: Int) -> SecretBytes { SecretBytes([UInt8](repeating: octet, count: count)) }
}

/// What is told beside sessions, on the wire.
@Suite struct HandshakeTests {
    private func refused(_ change: HandshakeChange, _ spoil: (inout WireHandshake) -> Void) -> PairWireError? {
        var wire = change.wire
        spoil(&wire)
        do throws(PairWireError) {
            _ = try HandshakeChange(wire)
            return nil
        } catch {
            return error
        }
    }

    @Test func halfOpen_withKeysOfAnotherLength_isRefused() {
        let change = HandshakeChange.opened(Sample.halfOpen)
        #expect(refused(change) { $0.opened.derivationKey.removeLast() } == .invalid("HalfOpen.derivation_key"))
        #expect(refused(change) { $0.opened.initiatorKeys.encryption.removeLast() } == .invalid("DirectionKeys.encryption"))
        #expect(
            refused(change) { $0.opened.responderAuthenticationKey.removeAll() } == .invalid("HalfOpen.responder_authentication_key"))
        #expect(refused(change) { $0.opened.clearIntegrity() } == .invalid("HalfOpen.integrity"))
    }

    @Test func halfOpen_withoutWhatItHasToHave_isRefused() {
        let change = HandshakeChange.opened(Sample.halfOpen)
        #expect(refused(change) { $0.opened.clearPath() } == .missing("HalfOpen.path"))
        #expect(refused(change) { $0.opened.clearCipher() } == .missing("HalfOpen.cipher"))
        #expect(refused(change) { $0.opened.responderSpi = 0 } == .invalid("HalfOpen.responder_spi"))
        #expect(refused(change) { $0.opened.peerHashes.hashes = [77] } == .invalid("SignatureHashes.hashes"))
        #expect(refused(change) { $0.kind = nil } == .unknownKind("handshake"))
    }

    @Test func fragment_thatIsNoneOfItsMessage_isRefused() {
        #expect(refused(Sample.handshakes[2]) { $0.fragmentTaken.number = 4 } == .invalid("FragmentPart.number"))
        #expect(refused(Sample.handshakes[2]) { $0.fragmentTaken.number = 0 } == .invalid("FragmentPart.number"))
        #expect(refused(Sample.handshakes[2]) { $0.fragmentTaken.total = 1 << 16 } == .invalid("FragmentPart.total"))
    }

    @Test func passedOn_whenThereAreTooMany_isRefused() {
        let datagram = Datagram(local: Sample.halfOpen.local, remote: Sample.halfOpen.remote, bytes: [])
        let frame = PairFrame.passedOn(Array(repeating: datagram, count: 257))
        #expect(throws: PairWireError.tooLong(field: "PassedOn.datagrams", count: 257, limit: 256)) {
            try PairFrameCodec.decode(PairFrameCodec.encode(frame))
        }
    }
}
