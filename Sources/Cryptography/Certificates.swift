import COpenSSL

/// SHA-256 of the certificate's DER, by which the other node's certificate is pinned.
///
/// - Throws: `badEncoding` if `pem` holds no certificate.
public func certificateFingerprint(pem: String) throws(CryptographyError) -> [UInt8] {
    let certificate = try Certificate(pem: pem)
    var out = [UInt8](repeating: 0, count: HashFunction.sha256.outputLength)
    var count: UInt32 = 0
    try require(X509_digest(certificate.pointer, EVP_sha256(), &out, &count), "fingerprint")
    return out
}

/// When the certificate ends, in seconds since 1970.
///
/// - Throws: `badEncoding` if `pem` holds no certificate.
public func certificateNotAfter(pem: String) throws(CryptographyError) -> Int64 {
    let certificate = try Certificate(pem: pem)
    guard let epoch = ASN1_TIME_set(nil, 0) else { throw .fromLibrary("time") }
    defer { ASN1_STRING_free(epoch) }
    var days: Int32 = 0
    var seconds: Int32 = 0
    try require(ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(certificate.pointer)), "time")
    return Int64(days) * 86400 + Int64(seconds)
}

/// The one owner of an X.509 certificate.
struct Certificate: ~Copyable {
    let pointer: OpaquePointer

    init() throws(CryptographyError) { pointer = try require(X509_new(), "certificate") }

    /// The first certificate in `pem`.
    init(pem: String) throws(CryptographyError) {
        let bio = try MemoryIO(reading: SecretBytes(pem.utf8))
        guard let pointer = PEM_read_bio_X509(bio.pointer, nil, nil, nil) else {
            ERR_clear_error()
            throw .badEncoding
        }
        self.pointer = pointer
    }

    deinit { X509_free(pointer) }

    func publicKey() throws(CryptographyError) -> AsymmetricKey {
        AsymmetricKey(adopting: try require(X509_get_pubkey(pointer), "public key"))
    }
}

extension AsymmetricKey {
    /// A private key from unencrypted PEM.
    init(privatePEM: SecretBytes) throws(CryptographyError) {
        let bio = try MemoryIO(reading: privatePEM)
        // Without a callback libcrypto would ask the terminal for the password of an encrypted key.
        guard let pointer = PEM_read_bio_PrivateKey(bio.pointer, nil, { _, _, _, _ in -1 }, nil) else {
            ERR_clear_error()
            throw .badEncoding
        }
        self.init(adopting: pointer)
    }
}

/// The one owner of bytes that libcrypto reads or writes; wiped when it goes.
struct MemoryIO: ~Copyable {
    let pointer: OpaquePointer
    private let source: SecretBytes

    init(reading source: SecretBytes) throws(CryptographyError) {
        self.source = source
        pointer = try source.withUnsafeBytes { (bytes) throws(CryptographyError) in
            try require(BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)), "memory")
        }
    }

    init() throws(CryptographyError) {
        source = .empty
        pointer = try require(BIO_new(BIO_s_secmem()), "memory")
    }

    deinit {
        BIO_free(pointer)
        withExtendedLifetime(source) {}
    }

    var written: SecretBytes {
        var start: UnsafeMutablePointer<CChar>?
        let count = copenssl_bio_bytes(pointer, &start)
        return SecretBytes(UnsafeRawBufferPointer(start: start, count: max(0, count)))
    }
}
