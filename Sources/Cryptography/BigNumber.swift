import COpenSSL

/// The one owner of a libcrypto number, which is wiped when it goes.
struct BigNumber: ~Copyable {
    let pointer: OpaquePointer

    init() throws(CryptographyError) { pointer = try require(BN_new(), "number") }

    /// From big-endian octets.
    init(_ bytes: [UInt8]) throws(CryptographyError) {
        pointer = try require(BN_bin2bn(bytes, Int32(bytes.count), nil), "number")
    }

    /// From a secret; libcrypto works on it in constant time from here on.
    init(_ secret: SecretBytes) throws(CryptographyError) {
        pointer = try secret.withUnsafeBytes { (bytes) throws(CryptographyError) in
            try require(BN_bin2bn(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(bytes.count), nil), "number")
        }
        BN_set_flags(pointer, BN_FLG_CONSTTIME)
    }

    deinit { BN_clear_free(pointer) }

    /// Big-endian, with zeros in front (RFC 7296 §2.14).
    func write(into target: UnsafeMutableRawBufferPointer) throws(CryptographyError) {
        let start = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        guard BN_bn2binpad(pointer, start, Int32(target.count)) == Int32(target.count) else { throw .fromLibrary("number") }
    }

    func secret(count: Int) throws(CryptographyError) -> SecretBytes {
        try SecretBytes(count: count) { (target) throws(CryptographyError) in try write(into: target) }
    }
}

/// Scratch space of libcrypto's arithmetic.
struct BigNumberScratch: ~Copyable {
    let pointer: OpaquePointer
    init() throws(CryptographyError) { pointer = try require(BN_CTX_secure_new() ?? BN_CTX_new(), "scratch space") }
    deinit { BN_CTX_free(pointer) }
}
