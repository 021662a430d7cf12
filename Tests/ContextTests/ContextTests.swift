import Cryptography
import Session
import Testing

@testable import Context

@Suite struct ContextTests {
    /// A small one, so that every bit of it can be changed.
    private static let small: SessionContext = {
        var context = Sample.context
        context.session.otherIKESAs = []
        context.session.children = [Sample.aeadChild]
        context.session.ikeSA.responses = [CachedResponse(messageID: 1, requestDigest: [1], datagrams: [[2]])]
        return context
    }()

    private static func context(pending request: PendingRequest) -> SessionContext {
        var context = Sample.context
        context.session.ikeSA.pendingRequests = [request]
        return context
    }

    @Test(arguments: [Sample.context, small] + Sample.requests.map(context(pending:)))
    func document_inBothForms_bringsTheContextBack(context: SessionContext) throws {
        #expect(try SessionContext(parsing: context.encode()) == context)
        #expect(try SessionContext(parsing: Array(context.text.utf8)) == context)
        #expect(try SessionContext.indented(context.encode()) == context.text)
        #expect(context.encode() == context.encode())
        #expect(context.encode().count < ContextFormat.bytesMax)
    }

    @Test(arguments: [SessionContext.Kind.detached, .snapshot]) func document_withEveryAlgorithm_bringsTheKeysBack(
        kind: SessionContext.Kind
    )
        throws
    {
        for cipher in Cipher.Kind.allCases.flatMap({ kind in kind.keyLengths.map { Cipher(kind, keyBits: $0) } }) {
            for integrity in cipher.isAEAD ? [nil] : IntegrityAlgorithm.allCases.map(Optional.some) {
                var context = Sample.context
                context.kind = kind
                let keys = DirectionKeys(
                    encryption: SecretBytes(1...UInt8(cipher.keyMaterialLength)),
                    integrity: SecretBytes(0..<UInt8(integrity?.keyLength ?? 0)))
                context.session.children[0].algorithms.cipher = cipher
                context.session.children[0].algorithms.integrity = integrity
                (context.session.children[0].inboundKeys, context.session.children[0].outboundKeys) = (keys, keys)
                #expect(try SessionContext(parsing: context.encode()) == context)
            }
        }
    }

    @Test func anyBit_changed_isRefused() {
        var context = Self.small
        (context.session.children, context.session.virtualAddresses, context.session.movingTo, context.traffic) = ([], [], nil, [:])
        let bytes = context.encode()
        for index in bytes.indices {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << UInt8(bit)
                #expect(throws: ContextError.self, "bit \(bit) of byte \(index)") { try SessionContext(parsing: changed) }
            }
        }
    }

    @Test func anyTruncation_isRefused() {
        let bytes = Self.small.encode()
        for count in 0..<bytes.count {
            #expect(throws: ContextError.self) { try SessionContext(parsing: Array(bytes.prefix(count))) }
        }
    }

    /// A document as another gateway would make it: digest and all.
    private static func document(_ change: (inout String) -> Void) -> [UInt8] {
        var text = String(decoding: small.encode(), as: UTF8.self)
        text = String(text[..<text.firstRange(of: ", \"sha256\"")!.lowerBound])
        change(&text)
        let digest = hexadecimal(sha256(Array((text + "}").utf8)))
        return Array((text + ", \"sha256\": \"\(digest)\"}").utf8)
    }

    private static func replace(_ text: String, _ by: String) -> [UInt8] {
        document { document in
            let range = document.firstRange(of: text)!
            document.replaceSubrange(range, with: by)
        }
    }

    @Test func document_ofAnotherVersion_isReadOrRefusedByItsMajor() throws {
        #expect(try SessionContext(parsing: Self.document { _ in }) == Self.small)
        let newer = Self.document {
            $0 = $0.replacing("\"version\": \"1.0\"", with: "\"version\": \"1.7\"")
            $0 = $0.replacing("\"epoch\": 7", with: "\"epoch\": 7, \"mood\": {\"of\": [1, null]}")
        }
        #expect(try SessionContext(parsing: newer) == Self.small)
        #expect(throws: ContextError.unsupportedVersion("2.0")) {
            try SessionContext(parsing: Self.replace("\"version\": \"1.0\"", "\"version\": \"2.0\""))
        }
        #expect(throws: ContextError.invalid("version")) { try SessionContext(parsing: Self.replace("\"1.0\"", "\"1\"")) }
        #expect(throws: ContextError.malformed("another schema")) {
            try SessionContext(parsing: Self.replace("tandem.session-context", "tandem.other"))
        }
    }

    @Test func document_withAValueThatCannotBe_namesTheField() {
        func refuse(_ text: String, _ by: String, _ error: ContextError) {
            #expect(throws: error) { try SessionContext(parsing: Self.replace(text, by)) }
        }
        refuse("\"epoch\": 7", "\"epoch\": 18446744073709551615", .invalid("given.epoch"))
        refuse("\"epoch\": 7", "\"epoch\": -1", .invalid("given.epoch"))
        refuse("\"epoch\": 7", "\"epoc\": 7", .missing("given.epoch"))
        refuse("\"kind\": \"detached\"", "\"kind\": \"gone\"", .invalid("kind"))
        refuse("\"send_window\": 4", "\"send_window\": 17", .invalid("ike_sa.send_window"))
        refuse("\"iv_epochs_spent\": 128", "\"iv_epochs_spent\": 16385", .invalid("ike_sa.iv_epochs_spent"))
        refuse("\"key_bits\": 256", "\"key_bits\": 257", .invalid("ike_sa.encryption.transform"))
        refuse("\"address\": \"10.3.0.1\"", "\"address\": \"10.3.0.01\"", .invalid("leases[0].address"))
        refuse("\"local\": \"[2001:db8::1]:4500\"", "\"local\": \"192.0.2.1:4500\"", .invalid("path.remote"))
        refuse("\"d\": \"d0", "\"d\": \"d", .invalid("ike_sa.keys.d"))
        refuse("\"d\": \"d0", "\"d\": \"d0d0", .tooLong(field: "ike_sa.keys.d", count: 98, limit: 96))
        refuse("\"method\": 2", "\"method\": 3", .invalid("pad.method"))
        let many = String(repeating: "\"2001:db8::7\", ", count: 16)
        refuse("[\"2001:db8::7\"]", "[\(many)\"2001:db8::7\"]", .tooLong(field: "mobike.peer_addresses", count: 17, limit: 16))
    }

    @Test func garbage_ofAnyKind_isAnError() {
        let random = RandomSource.seeded(5)
        let deep = Array(String(repeating: "[", count: 100_000).utf8)
        let huge = Array("{\"schema\": \(String(repeating: "9", count: 1000))}".utf8)
        for bytes in [[], deep, huge, Array("null".utf8), Array("{}".utf8), [UInt8](repeating: 0x20, count: 2_000_000)] {
            #expect(throws: ContextError.self) { try SessionContext(parsing: bytes) }
        }
        let good = Sample.context.encode()
        for _ in 0..<200 {
            var bytes = good
            for _ in 0..<4 {
                let at = Int(random.uint64() % UInt64(bytes.count))
                bytes.replaceSubrange(at..<min(bytes.count, at + Int(random.uint64() % 40)), with: random.bytes(Int(random.uint64() % 9)))
            }
            if bytes != good { #expect(throws: ContextError.self) { try SessionContext(parsing: bytes) } }
        }
    }

    // MARK: - Sealing

    private static let cost = ScryptCost(cost: 1 << 14, blockSize: 8, parallelization: 1)!

    @Test func sealing_andOpening_bringTheDocumentBack() throws {
        let passphrase = SecretBytes(Array("correct horse".utf8))
        let document = Sample.context.encode()
        let sealed = Array(try SealedContext.seal(document, passphrase: passphrase, cost: Self.cost, random: .seeded(1)).utf8)
        #expect(SealedContext.isSealed(sealed) && !SealedContext.isSealed(document))
        #expect(try SealedContext.open(sealed, passphrase: passphrase) == document)
        #expect(throws: ContextError.wrongPassphrase) {
            try SealedContext.open(sealed, passphrase: SecretBytes(Array("correct hors".utf8)))
        }
        #expect(throws: ContextError.wrongPassphrase) { try SealedContext.open(sealed, passphrase: .empty) }
        #expect(throws: ContextError.passphraseNeeded) { try SessionContext(parsing: sealed) }
        let key = Sample.context.session.children[0].inboundKeys.encryption.withUnsafeBytes { hexadecimal($0) }
        #expect(!String(decoding: sealed, as: UTF8.self).contains(key))
        let again = try SealedContext.seal(document, passphrase: passphrase, cost: Self.cost, random: .seeded(2))
        #expect(Array(again.utf8) != sealed)
    }

    @Test func sealed_withAnyByteChanged_isRefused() throws {
        let passphrase = SecretBytes(Array("p".utf8))
        let sealed = Array(try SealedContext.seal(Array("{}".utf8), passphrase: passphrase, cost: Self.cost, random: .seeded(1)).utf8)
        for index in sealed.indices where sealed[index] != UInt8(ascii: " ") && sealed[index] != UInt8(ascii: "\n") {
            var changed = sealed
            changed[index] ^= 1
            #expect(throws: ContextError.self, "byte \(index)") { try SealedContext.open(changed, passphrase: passphrase) }
        }
    }

    /// RFC 7914 §12, the vector with N = 1024 is below what is allowed; N = 16384 is the third one.
    @Test func scrypt_isThatOfTheRFC() throws {
        let key = try scrypt(
            passphrase: SecretBytes(Array("pleaseletmein".utf8)), salt: Array("SodiumChloride".utf8), cost: Self.cost, count: 64)
        #expect(
            key.withUnsafeBytes { hexadecimal($0) }
                == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                + "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887")
    }
}
