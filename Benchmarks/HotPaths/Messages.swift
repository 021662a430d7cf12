import Cryptography
import IKEWire
import Session
import Simulator

/// What an IKE message and a session's delta go through.
enum Messages {
    private static let operations = 500

    static func measure(_ note: (String, Cost) -> Void) throws {
        let request = IKEMessage(
            initiatorSPI: 1, responderSPI: 0, exchangeType: .ikeSAInit, isInitiator: true, isResponse: false, messageID: 0,
            payloads: [
                .keyExchange(KeyExchangePayload(group: KeyExchangeGroup.curve25519.rawValue, data: [UInt8](repeating: 7, count: 32))),
                .nonce([UInt8](repeating: 9, count: 32)),
            ])
        let bytes = request.encode()
        note("ike_encode", HotPaths.measure(operations: operations) { for _ in 0..<operations { _ = request.encode() } })
        note("ike_decode", try HotPaths.measure(operations: operations) { for _ in 0..<operations { _ = try IKEMessage(parsing: bytes) } })
        let cipher = Cipher(.aesGCM16, keyBits: 128)
        let keys = (encryption: SecretBytes(RandomSource.seeded(2).bytes(cipher.keyMaterialLength)), integrity: SecretBytes.empty)
        let (iv, header) = ([UInt8](repeating: 1, count: cipher.ivLength), [UInt8](repeating: 2, count: 32))
        let text = [UInt8](repeating: 3, count: 256)
        let sealed = try sealIKE(cipher: cipher, integrity: nil, keys: keys, iv: iv, header: header, plaintext: text)
        note(
            "ike_seal",
            try HotPaths.measure(operations: operations) {
                for _ in 0..<operations {
                    _ = try sealIKE(cipher: cipher, integrity: nil, keys: keys, iv: iv, header: header, plaintext: text)
                }
            })
        note(
            "ike_open",
            try HotPaths.measure(operations: operations) {
                for _ in 0..<operations { _ = try openIKE(cipher: cipher, integrity: nil, keys: keys, body: sealed, header: header) }
            })
    }
}
