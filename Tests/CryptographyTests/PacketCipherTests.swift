import Cryptography
import Testing

/// A packet as one buffer of its own, the way the data plane uses `PacketCipher`.
struct Packet: Equatable {
    var iv: [UInt8]
    var authenticated: [UInt8]
    var text: [UInt8]
    var tag: [UInt8]
    var trailer: [UInt8] = []

    mutating func seal(with context: PacketCipher) throws {
        try iv.withUnsafeBytes { iv in
            try authenticated.withUnsafeBytes { authenticated in
                try text.withUnsafeMutableBytes { text in
                    try tag.withUnsafeMutableBytes { tag in
                        try trailer.withUnsafeBytes { trailer in
                            try context.seal(iv: iv, authenticated: authenticated, text: text, tag: tag, trailer: trailer)
                        }
                    }
                }
            }
        }
    }

    mutating func open(with context: PacketCipher) throws {
        try iv.withUnsafeBytes { iv in
            try authenticated.withUnsafeBytes { authenticated in
                try text.withUnsafeMutableBytes { text in
                    try tag.withUnsafeBytes { tag in
                        try trailer.withUnsafeBytes { trailer in
                            try context.open(iv: iv, authenticated: authenticated, text: text, tag: tag, trailer: trailer)
                        }
                    }
                }
            }
        }
    }
}

/// Every combination that Tandem negotiates.
struct Suite: Sendable {
    let cipher: Cipher
    let integrity: IntegrityAlgorithm?

    static let all: [Suite] =
        Cipher.Kind.allCases.flatMap { kind in
            kind.keyLengths.flatMap { bits -> [Suite] in
                let cipher = Cipher(kind, keyBits: bits)
                if cipher.isAEAD { return [Suite(cipher: cipher, integrity: nil)] }
                return IntegrityAlgorithm.allCases.map { Suite(cipher: cipher, integrity: $0) }
            }
        }

    var encryptionKey: SecretBytes { SecretBytes((0..<cipher.keyMaterialLength).map { UInt8($0) }) }
    var integrityKey: SecretBytes { SecretBytes((0..<(integrity?.keyLength ?? 0)).map { UInt8(0x80 + $0) }) }

    func context() throws -> PacketCipher {
        try PacketCipher(cipher: cipher, integrity: integrity, keys: encryptionKey, integrityKey: integrityKey)
    }

    var icvLength: Int { integrity?.icvLength ?? cipher.icvLength }

    func packet(blocks: Int, trailer: [UInt8] = []) -> Packet {
        Packet(
            iv: (0..<cipher.ivLength).map { UInt8(0x40 + $0) }, authenticated: [1, 2, 3, 4, 0, 0, 0, 9],
            text: (0..<16 * blocks).map { UInt8(truncatingIfNeeded: $0) },
            tag: [UInt8](repeating: 0, count: icvLength), trailer: trailer)
    }
}

struct PacketCipherTests {
    /// McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", test cases 4 and 16.
    @Test(arguments: [
        (
            "feffe9928665731c6d6a8f9467308308",
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            "5bc94fbc3221a5db94fae95ae7121a47"
        ),
        (
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ),
    ]) func gcm_ofTheAuthorsVectors_matches(key: String, sealed: String, tag: String) throws {
        let cipher = Cipher(.aesGCM16, keyBits: hex(key).count * 8)
        let context = try PacketCipher(
            cipher: cipher, integrity: nil, keys: SecretBytes(hex(key) + hex("cafebabe")), integrityKey: .empty)
        let text = hex(
            """
            d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
            1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39
            """)
        var packet = Packet(
            iv: hex("facedbaddecaf888"), authenticated: hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"), text: text,
            tag: [UInt8](repeating: 0, count: 16))
        // Twice, for the context is reused.
        for _ in 0..<2 {
            packet.text = text
            try packet.seal(with: context)
            #expect(packet.text == hex(sealed))
            #expect(packet.tag == hex(tag))
        }
        try packet.open(with: context)
        #expect(packet.text == text)
        // RFC 4106 §6: a shorter ICV is the beginning of the whole one.
        for (kind, count) in [(Cipher.Kind.aesGCM8, 8), (.aesGCM12, 12)] {
            let shorter = try PacketCipher(
                cipher: Cipher(kind, keyBits: cipher.keyBits), integrity: nil, keys: SecretBytes(hex(key) + hex("cafebabe")),
                integrityKey: .empty)
            packet.tag = [UInt8](repeating: 0, count: count)
            try packet.seal(with: shorter)
            #expect(packet.text == hex(sealed) && packet.tag == Array(hex(tag).prefix(count)))
            try packet.open(with: shorter)
            #expect(packet.text == text)
        }
    }

    /// RFC 3602 §4, cases 1 to 4: the cipher under the integrity check.
    @Test(arguments: [
        (
            "06a9214036b8a15b512e03d534120006", "3dafba429d9eb430b422da802c9fac41", Array("Single block msg".utf8),
            "e353779c1079aeb82708942dbe77181a"
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a", "562e17996d093d28ddb3ba695a2e6f58", Array(0..<32),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1"
        ),
        (
            "6c3ea0477630ce21a2ce334aa746c2cd", "c782dc4c098c66cbd9cd27d825682c81",
            Array("This is a 48-byte message (exactly 3 AES blocks)".utf8),
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d83ba2684"
        ),
        (
            "56e47a38c5598974bc46903dba290349", "8ce82eefbea0da3c44699ed7db51b7d9", Array(0xa0..<0xe0),
            """
            c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
            35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55
            """
        ),
    ]) func cbc_ofRFC3602Vectors_matches(key: String, iv: String, text: [UInt8], sealed: String) throws {
        let macKey = SecretBytes([UInt8](repeating: 7, count: 32))
        let context = try PacketCipher(
            cipher: Cipher(.aesCBC, keyBits: 128), integrity: .hmacSHA256_128, keys: SecretBytes(hex(key)), integrityKey: macKey)
        var packet = Packet(
            iv: hex(iv), authenticated: [1, 2, 3, 4, 5, 6, 7, 8], text: text, tag: [UInt8](repeating: 0, count: 16),
            trailer: [0, 0, 0, 1])
        try packet.seal(with: context)
        #expect(packet.text == hex(sealed))
        // RFC 4303 §2.8: SPI, sequence number, IV, ciphertext, and the high bits of the number.
        let mac = hmacSHA256(key: macKey, packet.authenticated + packet.iv + packet.text + packet.trailer)
        #expect(packet.tag == Array(mac.prefix(16)))
        try packet.open(with: context)
        #expect(packet.text == text)
    }

    @Test(arguments: Suite.all) func open_ofWhatWasSealed_givesItBack(suite: Suite) throws {
        let sender = try suite.context()
        let receiver = try suite.context()
        for blocks in [0, 1, 2, 90, 1] {
            let plain = suite.packet(blocks: blocks)
            var packet = plain
            try packet.seal(with: sender)
            if blocks > 0 { #expect(packet.text != plain.text) }
            try packet.open(with: receiver)
            #expect(packet.text == plain.text)
        }
    }

    @Test(arguments: Suite.all) func open_ofATamperedPacket_isRefusedAndTheContextStaysGood(suite: Suite) throws {
        let context = try suite.context()
        let isAEAD = suite.cipher.isAEAD
        let plain = suite.packet(blocks: 2, trailer: isAEAD ? [] : [0, 0, 0, 1])
        var sealed = plain
        try sealed.seal(with: context)
        var paths: [WritableKeyPath<Packet, [UInt8]>] = [\.iv, \.authenticated, \.text, \.tag]
        if !isAEAD { paths.append(\.trailer) }
        for path in paths {
            for index in sealed[keyPath: path].indices {
                var tampered = sealed
                tampered[keyPath: path][index] ^= 0x10
                #expect(throws: CryptographyError.authenticationFailed) { try tampered.open(with: context) }
                #expect(tampered.text != plain.text)
            }
        }
        var good = sealed
        try good.open(with: context)
        #expect(good.text == plain.text)
    }

    @Test(arguments: Suite.all) func seal_withWrongLengths_isRefused(suite: Suite) throws {
        let context = try suite.context()
        let good = suite.packet(blocks: 1)
        var wrong = [good, good, good]
        wrong[0].iv.append(0)
        wrong[1].tag.removeLast()
        wrong[2].iv = []
        if suite.cipher.isAEAD { wrong.append(suite.packet(blocks: 1, trailer: [0, 0, 0, 1])) }
        if suite.cipher.kind == .aesCBC {
            wrong.append(good)
            wrong[3].text.removeLast()
        }
        for var packet in wrong {
            #expect(throws: CryptographyError.badLength) { try packet.seal(with: context) }
            #expect(throws: CryptographyError.badLength) { try packet.open(with: context) }
        }
    }

    @Test(arguments: Suite.all) func context_withWrongKeys_isRefused(suite: Suite) {
        func make(_ encryption: SecretBytes, _ integrity: SecretBytes, _ algorithm: IntegrityAlgorithm?, bits: Int) {
            #expect(throws: CryptographyError.badKeyLength) {
                try PacketCipher(
                    cipher: Cipher(suite.cipher.kind, keyBits: bits), integrity: algorithm, keys: encryption, integrityKey: integrity)
            }
        }
        let bits = suite.cipher.keyBits
        let long = SecretBytes(suite.encryptionKey.copyBytes() + [0])
        make(long, suite.integrityKey, suite.integrity, bits: bits)
        make(suite.encryptionKey, suite.integrityKey + SecretBytes([0]), suite.integrity, bits: bits)
        make(suite.encryptionKey, suite.integrityKey, suite.integrity == nil ? .hmacSHA256_128 : nil, bits: bits)
        make(long, suite.integrityKey, suite.integrity, bits: bits + 8)
        make(suite.encryptionKey, suite.integrityKey, suite.integrity, bits: -64)
        // Of another length, with key material to match.
        let odd = [128, 192, 256].filter { !suite.cipher.kind.keyLengths.contains($0) } + [64, 512]
        for bits in odd { make(SecretBytes(count: bits / 8 + 4) { _ in }, suite.integrityKey, suite.integrity, bits: bits) }
    }

    @Test(arguments: Suite.all) func ike_sealedAndOpened_givesItBackAndRefusesGarbage(suite: Suite) throws {
        let keys = (encryption: suite.encryptionKey, integrity: suite.integrityKey)
        let header = [UInt8](0..<32)
        let plain = [UInt8](repeating: 0x5A, count: 64)
        let iv = [UInt8](repeating: 3, count: suite.cipher.ivLength)
        let body = try sealIKE(
            cipher: suite.cipher, integrity: suite.integrity, keys: keys, iv: iv, header: header, plaintext: plain)
        let icvLength = suite.icvLength
        #expect(body.count == iv.count + plain.count + icvLength)
        #expect(Array(body.prefix(iv.count)) == iv)
        func open(_ body: [UInt8], _ header: [UInt8]) throws(CryptographyError) -> [UInt8] {
            try openIKE(cipher: suite.cipher, integrity: suite.integrity, keys: keys, body: body, header: header)
        }
        #expect(try open(body, header) == plain)
        #expect(throws: CryptographyError.authenticationFailed) { try open(body, header.reversed()) }
        for count in body.indices { #expect(throws: CryptographyError.self) { try open(Array(body.prefix(count)), header) } }
        if let integrity = suite.integrity {
            // RFC 7296 §3.14: the check value covers the whole message before it.
            let prf = try #require([2: PRF.hmacSHA1, 12: .hmacSHA256, 13: .hmacSHA384, 14: .hmacSHA512][integrity.rawValue])
            let mac = prf(key: suite.integrityKey, header, Array(body.dropLast(icvLength))).copyBytes()
            #expect(Array(body.suffix(icvLength)) == Array(mac.prefix(icvLength)))
        }
    }
}
