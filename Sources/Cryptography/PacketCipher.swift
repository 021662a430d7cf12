import COpenSSL

/// Protects the packets of one direction of one SA: AES-GCM (RFC 4106, RFC 5282) or ChaCha20-Poly1305 (RFC 7634), or AES-CBC or
/// AES-CTR (RFC 3602, RFC 3686) and HMAC (RFC 2404, RFC 4868).
///
/// Key schedules are made at the first packet and kept; after that no packet allocates. Not to be used by two threads at
/// once. Nothing here chooses IVs: with AES-CBC nobody may foresee one, with all others the caller must never give one twice.
public final class PacketCipher {
    public let cipher: Cipher
    public let integrity: IntegrityAlgorithm?
    /// Octets of the integrity check value at the end of a packet.
    public let icvLength: Int

    private let encryptionKey: SecretBytes
    private let integrityKey: SecretBytes
    private var sealing: OpaquePointer?
    private var opening: OpaquePointer?
    private var authenticator: KeyedHash?
    /// Salt || IV (RFC 4106 §4, RFC 7634 §2), and for AES-CTR the block counter, which begins at 1 (RFC 3686 §4). All but the IV is
    /// put there once.
    private let nonce = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)

    /// - Parameters:
    ///   - integrity: `nil` with an AEAD, else what goes with the cipher.
    ///   - encryption: `cipher.keyMaterialLength` octets; a salt is at its end.
    ///   - integrityKey: `integrity.keyLength` octets, none with an AEAD.
    /// - Throws: `badKeyLength` for any other combination.
    public init(
        cipher: Cipher, integrity: IntegrityAlgorithm?, keys encryption: SecretBytes, integrityKey: SecretBytes
    ) throws(CryptographyError) {
        self.cipher = cipher
        self.integrity = integrity
        self.encryptionKey = encryption
        self.integrityKey = integrityKey
        icvLength = integrity?.icvLength ?? cipher.icvLength
        guard Cipher(transform: cipher.kind.rawValue, keyBits: cipher.keyBits) != nil, encryption.count == cipher.keyMaterialLength,
            cipher.isAEAD == (integrity == nil), integrityKey.count == integrity?.keyLength ?? 0
        else { throw .badKeyLength }
        encryption.withUnsafeBytes { nonce.copyBytes(from: $0.suffix(cipher.saltLength)) }
        nonce.storeBytes(of: UInt32(1).bigEndian, toByteOffset: 12, as: UInt32.self)
    }

    deinit {
        EVP_CIPHER_CTX_free(sealing)
        EVP_CIPHER_CTX_free(opening)
        OPENSSL_cleanse(nonce.baseAddress, nonce.count)
        nonce.deallocate()
    }

    /// Encrypts `text` in place and writes the integrity check value into `tag`.
    ///
    /// - Parameters:
    ///   - iv: `cipher.ivLength` octets, as they go into the packet.
    ///   - authenticated: what stands before the IV and is not encrypted. With an AEAD and ESN the caller puts the high
    ///     bits into it (RFC 4106 §5, RFC 7634 §2.1).
    ///   - text: with its padding; a multiple of `cipher.blockLength`.
    ///   - tag: `icvLength` octets. The buffers may lie next to each other, but only `text` is both read and written.
    ///   - trailer: not with an AEAD: authenticated after the text, not sent: the high bits of an ESN (RFC 4303 §2.2.1).
    /// - Throws: `badLength`.
    public func seal(
        iv: UnsafeRawBufferPointer, authenticated: UnsafeRawBufferPointer, text: UnsafeMutableRawBufferPointer,
        tag: UnsafeMutableRawBufferPointer, trailer: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) throws(CryptographyError) {
        try checkLengths(iv: iv, text: text, tagCount: tag.count, trailer: trailer)
        let context = try sealingContext()
        if cipher.isAEAD {
            try start(context, iv: startValue(iv), authenticated: authenticated)
            try transform(text, context)
            try finish(context)
            try require(
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(tag.count), tag.baseAddress), "AEAD tag")
        } else {
            try start(context, iv: startValue(iv), authenticated: UnsafeRawBufferPointer(start: nil, count: 0))
            try transform(text, context)
            tag.copyMemory(from: integrityCheckValue(authenticated, iv, UnsafeRawBufferPointer(text), trailer))
        }
    }

    /// Checks `tag` and decrypts `text` in place. The parameters are those of `seal`.
    ///
    /// - Throws: `authenticationFailed`, after which `text` is worthless (with an AEAD it is zero); `badLength`.
    public func open(
        iv: UnsafeRawBufferPointer, authenticated: UnsafeRawBufferPointer, text: UnsafeMutableRawBufferPointer,
        tag: UnsafeRawBufferPointer, trailer: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) throws(CryptographyError) {
        try checkLengths(iv: iv, text: text, tagCount: tag.count, trailer: trailer)
        let context = try openingContext()
        if cipher.isAEAD {
            try start(context, iv: startValue(iv), authenticated: authenticated)
            try transform(text, context)
            // libcrypto only reads the tag that it is given.
            let expected = UnsafeMutableRawPointer(mutating: tag.baseAddress)
            try require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(tag.count), expected), "AEAD tag")
            do { try finish(context) } catch {
                if let start = text.baseAddress { OPENSSL_cleanse(start, text.count) }
                throw .authenticationFailed
            }
        } else {
            // Encrypt-then-MAC: nothing is decrypted that was not sent by the peer (RFC 4303 §3.4.4.1).
            let expected = integrityCheckValue(authenticated, iv, UnsafeRawBufferPointer(text), trailer)
            guard constantTimeEquals(expected, right: tag) else { throw .authenticationFailed }
            try start(context, iv: startValue(iv), authenticated: UnsafeRawBufferPointer(start: nil, count: 0))
            try transform(text, context)
        }
    }

    private func checkLengths(
        iv: UnsafeRawBufferPointer, text: UnsafeMutableRawBufferPointer, tagCount: Int, trailer: UnsafeRawBufferPointer
    ) throws(CryptographyError) {
        guard iv.count == cipher.ivLength, tagCount == icvLength, text.count % cipher.blockLength == 0,
            text.count <= PacketCipher.textCountMax, trailer.isEmpty || !cipher.isAEAD
        else { throw .badLength }
    }

    /// Far above any datagram, and safe in libcrypto's 32-bit lengths.
    public static let textCountMax = 1 << 24
}

extension PacketCipher {
    private func sealingContext() throws(CryptographyError) -> OpaquePointer {
        if let sealing { return sealing }
        let context = try makeContext(encrypting: true)
        sealing = context
        return context
    }

    private func openingContext() throws(CryptographyError) -> OpaquePointer {
        if let opening { return opening }
        let context = try makeContext(encrypting: false)
        opening = context
        return context
    }

    private func makeContext(encrypting: Bool) throws(CryptographyError) -> OpaquePointer {
        let context = try require(EVP_CIPHER_CTX_new(), "cipher context")
        let result = encryptionKey.withUnsafeBytes { key in
            EVP_CipherInit_ex(
                context, CipherImplementations.of(cipher), nil, key.baseAddress?.assumingMemoryBound(to: UInt8.self), nil,
                encrypting ? 1 : 0)
        }
        guard result == 1, EVP_CIPHER_CTX_set_padding(context, 0) == 1 else {
            EVP_CIPHER_CTX_free(context)
            throw .fromLibrary("cipher key")
        }
        return context
    }

    /// What libcrypto starts from: 16 octets, or the first 12 of them with an AEAD.
    private func startValue(_ iv: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard cipher.hasCounterIV else { return iv }
        nonce.baseAddress!.storeBytes(of: iv.loadUnaligned(as: UInt64.self), toByteOffset: 4, as: UInt64.self)
        return UnsafeRawBufferPointer(nonce)
    }

    private func start(
        _ context: OpaquePointer, iv: UnsafeRawBufferPointer, authenticated: UnsafeRawBufferPointer
    ) throws(CryptographyError) {
        // -1: the direction stays.
        let result = EVP_CipherInit_ex(context, nil, nil, nil, iv.baseAddress?.assumingMemoryBound(to: UInt8.self), -1)
        try require(result, "cipher IV")
        guard let bytes = authenticated.baseAddress, !authenticated.isEmpty else { return }
        var written: Int32 = 0
        try require(
            EVP_CipherUpdate(context, nil, &written, bytes.assumingMemoryBound(to: UInt8.self), Int32(authenticated.count)),
            "associated data")
    }

    private func transform(_ text: UnsafeMutableRawBufferPointer, _ context: OpaquePointer) throws(CryptographyError) {
        guard let bytes = text.baseAddress?.assumingMemoryBound(to: UInt8.self), !text.isEmpty else { return }
        var written: Int32 = 0
        try require(EVP_CipherUpdate(context, bytes, &written, bytes, Int32(text.count)), "cipher text")
        guard written == Int32(text.count) else { throw .badLength }
    }

    private func finish(_ context: OpaquePointer) throws(CryptographyError) {
        // An AEAD writes no more text here; libcrypto wants a place for a block all the same.
        var written: Int32 = 0
        var nowhere: (UInt64, UInt64) = (0, 0)
        let result = withUnsafeMutableBytes(of: &nowhere) {
            EVP_CipherFinal_ex(context, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), &written)
        }
        try require(result, "cipher end")
    }

    private func integrityCheckValue(
        _ authenticated: UnsafeRawBufferPointer, _ iv: UnsafeRawBufferPointer, _ text: UnsafeRawBufferPointer,
        _ trailer: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        let hash: KeyedHash
        if let authenticator {
            hash = authenticator
        } else {
            hash = KeyedHash((integrity ?? .hmacSHA256_128).function, key: integrityKey)
            authenticator = hash
        }
        hash.update(authenticated)
        hash.update(iv)
        hash.update(text)
        hash.update(trailer)
        return UnsafeRawBufferPointer(rebasing: hash.finish().prefix(icvLength))
    }
}

/// libcrypto's ciphers, looked up once: a lookup for each key would cost more than the key schedule. Never freed and never changed,
/// so that threads may share them.
private enum CipherImplementations {
    nonisolated(unsafe) private static let gcm = fetch("GCM")
    nonisolated(unsafe) private static let cbc = fetch("CBC")
    nonisolated(unsafe) private static let ctr = fetch("CTR")
    nonisolated(unsafe) private static let chaCha20Poly1305 = EVP_CIPHER_fetch(nil, "ChaCha20-Poly1305", nil)

    /// AES with keys of 128, 192 and 256 bits.
    private static func fetch(_ mode: String) -> [OpaquePointer?] {
        [128, 192, 256].map { EVP_CIPHER_fetch(nil, "AES-\($0)-\(mode)", nil) }
    }

    /// `keyBits` has been checked.
    static func of(_ cipher: Cipher) -> OpaquePointer? {
        let index = cipher.keyBits / 64 - 2
        switch cipher.kind {
        case .aesCBC: return cbc[index]
        case .aesCTR: return ctr[index]
        case .aesGCM8, .aesGCM12, .aesGCM16: return gcm[index]
        case .chaCha20Poly1305: return chaCha20Poly1305
        }
    }
}
