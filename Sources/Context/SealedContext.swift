import Control
public import Cryptography

/// A context under a passphrase: scrypt (RFC 7914) and AES-256-GCM. Of what is inside, only its length shows.
public enum SealedContext {
    /// From the passphrase: the cipher's key, its nonce, and a check by which a wrong passphrase is known from a damaged file.
    private static let keyCount = 32
    private static let nonceCount = 12
    private static let checkCount = 16
    private static let saltCount = 16
    private static let cipher = Cipher(.aesGCM16, keyBits: 256)

    /// Seals a document. Takes some 100 ms.
    ///
    /// - Parameters:
    ///   - document: as `SessionContext.encode` makes it; nothing in it is looked at.
    ///   - random: for the salt, with which every file has another key and nonce.
    /// - Returns: the sealed document, indented.
    /// - Throws: `library` when there is not enough memory.
    public static func seal(
        _ document: [UInt8], passphrase: SecretBytes, cost: ScryptCost = .standard, random: RandomSource
    ) throws(CryptographyError) -> String {
        let salt = random.bytes(saltCount)
        let keys = try derive(passphrase, salt: salt, cost: cost)
        var members = ContextMembers()
        members.add("schema", ContextFormat.sealedSchema)
        members.add("version", ContextFormat.version)
        members.add(
            "kdf",
            ContextMembers.json {
                $0.add("name", "scrypt")
                $0.add("n", cost.cost)
                $0.add("r", cost.blockSize)
                $0.add("p", cost.parallelization)
                $0.add("salt", octets: salt)
            })
        members.add("cipher", "aes-256-gcm")
        members.add("check", secret: keys.slice(keyCount + nonceCount..<keys.count))
        let sealed = try transform(document, keys: keys, header: members.json)
        members.add("sealed", octets: sealed)
        return members.json.text + "\n"
    }

    /// Whether a file is a sealed one. Nothing else is said of it.
    public static func isSealed(_ bytes: [UInt8]) -> Bool {
        guard let document = try? JSONValue(context: bytes, limit: ContextFormat.sealedBytesMax) else { return false }
        return document["schema"]?.text == ContextFormat.sealedSchema
    }

    /// Opens what `seal` made. Takes some 100 ms.
    ///
    /// - Returns: the document that was sealed.
    /// - Throws: `wrongPassphrase`; `damaged`; what a reader of documents throws.
    public static func open(_ bytes: [UInt8], passphrase: SecretBytes) throws(ContextError) -> [UInt8] {
        let document = try JSONValue(context: bytes, limit: ContextFormat.sealedBytesMax)
        let fields = ContextFields(document)
        guard try fields.text("schema") == ContextFormat.sealedSchema else { throw .malformed("not a sealed context") }
        try ContextFormat.check(version: try fields.text("version"))
        guard case .object(var members) = JSON(document), members.popLast()?.name == "sealed" else { throw .damaged }
        let sealed = try fields.octets("sealed", max: ContextFormat.bytesMax * 2)
        let kdf = try fields.fields("kdf")
        guard try kdf.text("name") == "scrypt", try fields.text("cipher") == "aes-256-gcm",
            let cost = ScryptCost(cost: try kdf.number("n"), blockSize: try kdf.number("r"), parallelization: try kdf.number("p"))
        else { throw .invalid("kdf") }
        let check = try fields.secret("check", count: checkCount)
        let salt = try kdf.octets("salt", max: saltCount)
        guard let keys = try? derive(passphrase, salt: salt, cost: cost) else { throw .invalid("kdf.n") }
        guard keys.slice(keyCount + nonceCount..<keys.count) == check else { throw .wrongPassphrase }
        guard let document = try? untransform(sealed, keys: keys, header: .object(members)) else { throw .damaged }
        return document
    }

    private static func derive(_ passphrase: SecretBytes, salt: [UInt8], cost: ScryptCost) throws(CryptographyError) -> SecretBytes {
        try scrypt(passphrase: passphrase, salt: salt, cost: cost, count: keyCount + nonceCount + checkCount)
    }

    /// Everything before the sealed text is authenticated with it. The nonce's beginning stands where ESP has its salt.
    private static func transform(_ document: [UInt8], keys: SecretBytes, header: JSON) throws(CryptographyError) -> [UInt8] {
        let iv = keys.slice(keyCount + 4..<keyCount + nonceCount).copyBytes()
        let body = try sealIKE(
            cipher: cipher, integrity: nil, keys: (keys.slice(0..<keyCount + 4), .empty), iv: iv, header: Array(header.line.utf8),
            plaintext: document)
        return Array(body.dropFirst(iv.count))
    }

    private static func untransform(_ sealed: [UInt8], keys: SecretBytes, header: JSON) throws(CryptographyError) -> [UInt8] {
        let iv = keys.slice(keyCount + 4..<keyCount + nonceCount).copyBytes()
        return try openIKE(
            cipher: cipher, integrity: nil, keys: (keys.slice(0..<keyCount + 4), .empty), body: iv + sealed, header: Array(header.line.utf8)
        )
    }
}
