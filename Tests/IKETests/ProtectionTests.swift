import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// The protection of whole messages (RFC 7296 §3.14) with each cipher.
@Suite struct ProtectionTests {
    private let header = IKEHeader(
        initiatorSPI: 1, responderSPI: 2, exchangeType: .informational, isInitiator: true, isResponse: false, messageID: 0)

    private func protection(_ cipher: Cipher) -> MessageProtection {
        let integrity: IntegrityAlgorithm? = cipher.isAEAD ? nil : .hmacSHA1_96
        let algorithms = IKEAlgorithms(cipher: cipher, integrity: integrity, prf: .hmacSHA256, keyExchangeGroup: .curve25519)
        let keys = DirectionKeys(
            encryption: SecretBytes((0..<cipher.keyMaterialLength).map { UInt8($0) }),
            integrity: SecretBytes([UInt8](repeating: 7, count: integrity?.keyLength ?? 0)))
        return MessageProtection(algorithms, keys: keys)
    }

    private func context(epoch: Epoch) -> IKEContext {
        IKEContext(now: Now(instant: Instant(nanoseconds: 1), wallMilliseconds: 1), epoch: epoch, random: .seeded(epoch))
    }

    /// Law 3: direction, owner and message ID are in each IV, so that none comes twice under a key.
    @Test(arguments: Cipher.all) func initializationVector_ofEveryMessage_isAnother(cipher: Cipher) throws {
        let protection = protection(cipher)
        let payloads: [Payload] = [.notify(NotifyPayload(type: .setWindowSize, data: [0, 0, 0, 10]))]
        var seen: Set<[UInt8]> = []
        for isResponse in [false, true] {
            for epoch: Epoch in [1, 2, 0x7FFF] {
                for id: UInt32 in [0, 1, 0x8000_0000, .max] {
                    var header = header
                    (header.isResponse, header.messageID) = (isResponse, id)
                    let bytes = try protection.seal(payloads, header: header, context: context(epoch: epoch))[0]
                    let iv = Array(bytes[32..<32 + cipher.ivLength])
                    #expect(seen.insert(iv).inserted || cipher.kind == .aesCBC)
                    let counter = (isResponse ? 1 << 63 : 0) | epoch << 48 | UInt64(id) << 16
                    #expect((iv == counter.networkBytes) == cipher.hasCounterIV)
                    #expect(try protection.open(bytes) == payloads)
                }
            }
        }
    }

    /// RFC 7634 appendix B, whole.
    @Test func message_ofRFC7634_isOpened() throws {
        let algorithms = IKEAlgorithms(cipher: .chaCha, integrity: nil, prf: .hmacSHA256, keyExchangeGroup: .curve25519)
        let protection = MessageProtection(algorithms, keys: DirectionKeys(encryption: SecretBytes(0x80..<0xA4), integrity: .empty))
        let text = """
            c0c1c2c3c4c5c6c7 d0d1d2d3d4d5d6d7 2e202500 00000009 00000045 29000029
            1011121314151617 610394701f8d017f7c12924889 6b71bfe25236efd7cdc67066906315b2
            """
        let digits = text.compactMap(\.hexDigitValue)
        let bytes = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
        #expect(try protection.open(bytes) == [.notify(NotifyPayload(type: .setWindowSize, data: [0, 0, 0, 10]))])
    }
}
