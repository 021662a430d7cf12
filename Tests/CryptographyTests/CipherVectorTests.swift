import Cryptography
import Testing

/// The vectors of RFC 3686 §6 and RFC 7634 appendices A and B, and how ciphers are named.
struct CipherVectorTests {
    struct CTRVector: Sendable {
        let key: String
        let nonce: String
        let iv: String
        let text: [UInt8]
        let sealed: String
    }

    @Test(arguments: ctrVectors) func ctr_ofRFC3686Vectors_matches(vector: CTRVector) throws {
        let macKey = SecretBytes([UInt8](repeating: 7, count: 20))
        let context = try PacketCipher(
            cipher: Cipher(.aesCTR, keyBits: vector.key.count * 4), integrity: .hmacSHA1_96,
            keys: SecretBytes(hex(vector.key) + hex(vector.nonce)), integrityKey: macKey)
        let plain = Packet(
            iv: hex(vector.iv), authenticated: [1, 2, 3, 4, 5, 6, 7, 8], text: vector.text, tag: [UInt8](repeating: 0, count: 12),
            trailer: [0, 0, 0, 1])
        // Twice: what is left of a key stream is not used for the next packet.
        for _ in 0..<2 {
            var packet = plain
            try packet.seal(with: context)
            #expect(packet.text == hex(vector.sealed))
            let mac = PRF.hmacSHA1(key: macKey, packet.authenticated, packet.iv, packet.text, packet.trailer).copyBytes()
            #expect(packet.tag == Array(mac.prefix(12)), "RFC 2404 §2, RFC 4303 §2.8")
            try packet.open(with: context)
            #expect(packet.text == vector.text)
        }
    }

    private static let chaChaKeys = SecretBytes(0x80..<0xA4)

    @Test func chaCha_ofRFC7634AppendixA_matches() throws {
        let context = try PacketCipher(
            cipher: Cipher(.chaCha20Poly1305, keyBits: 256), integrity: nil, keys: CipherVectorTests.chaChaKeys, integrityKey: .empty)
        let text = hex(
            """
            45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec1000073627
            08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204
            """)
        let plain = Packet(
            iv: hex("1011121314151617"), authenticated: hex("0102030400000005"), text: text, tag: [UInt8](repeating: 0, count: 16))
        for _ in 0..<2 {
            var packet = plain
            try packet.seal(with: context)
            #expect(
                packet.text
                    == hex(
                        """
                        24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7
                        2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0
                        """))
            #expect(packet.tag == hex("76aaa8266b7fb0f7b11b369907e1ad43"))
            try packet.open(with: context)
            #expect(packet.text == text)
        }
    }

    @Test func chaCha_ofRFC7634AppendixB_matches() throws {
        let keys = (encryption: CipherVectorTests.chaChaKeys, integrity: SecretBytes.empty)
        let header = hex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029")
        let plain = hex("0000000c000040010000000a00")
        let body = hex("1011121314151617610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2")
        let cipher = Cipher(.chaCha20Poly1305, keyBits: 256)
        let sealed = try sealIKE(
            cipher: cipher, integrity: nil, keys: keys, iv: hex("1011121314151617"), header: header, plaintext: plain)
        #expect(sealed == body)
        #expect(try openIKE(cipher: cipher, integrity: nil, keys: keys, body: body, header: header) == plain)
    }

    /// RFC 7296 §3.3.5, RFC 7634 §4.
    @Test func transform_withOrWithoutKeyLength_isACipherOnlyIfItShouldBe() {
        for kind in Cipher.Kind.allCases where kind != .chaCha20Poly1305 {
            for bits: UInt16 in [128, 192, 256] {
                let cipher = Cipher(kind, keyBits: Int(bits))
                #expect(cipher.keyLengthAttribute == bits)
                #expect(Cipher(transform: kind.rawValue, keyLengthAttribute: bits) == cipher)
            }
            for wrong: UInt16? in [nil, 0, 64, 129, 288, 65535] {
                #expect(Cipher(transform: kind.rawValue, keyLengthAttribute: wrong) == nil)
            }
        }
        let chaCha = Cipher(.chaCha20Poly1305, keyBits: 256)
        #expect(chaCha.keyLengthAttribute == nil && chaCha.keyMaterialLength == 36)
        #expect(Cipher(transform: 28, keyLengthAttribute: nil) == chaCha)
        for wrong: UInt16 in [0, 128, 256, 288] { #expect(Cipher(transform: 28, keyLengthAttribute: wrong) == nil) }
        #expect(Cipher(transform: 28, keyBits: 128) == nil && Cipher(transform: 28, keyBits: 256) == chaCha)
        #expect(Cipher(transform: 3, keyLengthAttribute: nil) == nil)
    }

    static let ctrVectors: [CTRVector] = [
        CTRVector(
            key: "ae6852f8121067cc4bf7a5765577f39e", nonce: "00000030", iv: "0000000000000000",
            text: Array("Single block msg".utf8),
            sealed: "e4095d4fb7a7b3792d6175a3261311b8"),
        CTRVector(
            key: "7e24067817fae0d743d6ce1f32539163", nonce: "006cb6db", iv: "c0543b59da48d90b",
            text: Array(0..<32),
            sealed: "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28"),
        CTRVector(
            key: "7691be035e5020a8ac6e618529f9a0dc", nonce: "00e0017b", iv: "27777f3f4a1786f0",
            text: Array(0..<36),
            sealed: "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f"),
        CTRVector(
            key: "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515", nonce: "00000048", iv: "36733c147d6d93cb",
            text: Array("Single block msg".utf8),
            sealed: "4b55384fe259c9c84e7935a003cbe928"),
        CTRVector(
            key: "7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a", nonce: "0096b03b", iv: "020c6eadc2cb500d",
            text: Array(0..<32),
            sealed: "453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00"),
        CTRVector(
            key: "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe", nonce: "0007bdfd", iv: "5cbd60278dcc0912",
            text: Array(0..<36),
            sealed: "96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935"),
        CTRVector(
            key: "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104", nonce: "00000060", iv: "db5672c97aa8f0b2",
            text: Array("Single block msg".utf8),
            sealed: "145ad01dbf824ec7560863dc71e3e0c0"),
        CTRVector(
            key: "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884", nonce: "00faac24", iv: "c1585ef15a43d875",
            text: Array(0..<32),
            sealed: "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c"),
        CTRVector(
            key: "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d", nonce: "001cc5b7", iv: "51a51d70a1c11148",
            text: Array(0..<36),
            sealed: "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8"),
    ]
}
