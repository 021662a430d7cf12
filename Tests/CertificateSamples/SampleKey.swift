import COpenSSL
public import Cryptography

/// A key pair made by libcrypto for a test. The common ones are made once: RSA keys take their time.
public final class SampleKey: Sendable {
    nonisolated(unsafe) let pointer: OpaquePointer

    public static let rsa1024 = rsa(1024)
    public static let rsa2048 = rsa(2048)
    public static let rsa3072 = rsa(3072)
    /// Bound to RSASSA-PSS (RFC 4055), and to PSS with SHA-384.
    public static let rsaPSS = SampleKey(EVP_PKEY_RSA_PSS) { EVP_PKEY_CTX_set_rsa_keygen_bits($0, 2048) }
    public static let rsaPSSSHA384 = SampleKey(EVP_PKEY_RSA_PSS) {
        EVP_PKEY_CTX_set_rsa_keygen_bits($0, 2048)
        EVP_PKEY_CTX_set_rsa_pss_keygen_md($0, EVP_sha384())
        EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md($0, EVP_sha384())
        EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen($0, 48)
    }
    public static let p256 = curve(NID_X9_62_prime256v1)
    public static let p384 = curve(NID_secp384r1)
    public static let p521 = curve(NID_secp521r1)
    public static let secp256k1 = curve(NID_secp256k1)
    public static let ed25519 = SampleKey(EVP_PKEY_ED25519) { _ in }
    /// Of the authorities.
    public static let authority = curve(NID_X9_62_prime256v1)
    public static let intermediate = curve(NID_X9_62_prime256v1)

    public static func rsa(_ bits: Int32) -> SampleKey { SampleKey(EVP_PKEY_RSA) { EVP_PKEY_CTX_set_rsa_keygen_bits($0, bits) } }
    public static func curve(_ nid: Int32) -> SampleKey { SampleKey(EVP_PKEY_EC) { EVP_PKEY_CTX_set_ec_paramgen_curve_nid($0, nid) } }

    private init(_ kind: Int32, _ configure: (OpaquePointer?) -> Void) {
        let context = EVP_PKEY_CTX_new_id(kind, nil)
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        EVP_PKEY_keygen_init(context)
        configure(context)
        EVP_PKEY_keygen(context, &key)
        pointer = key!
    }

    /// A public key alone, from 04 | x | y.
    public init(p256Point point: [UInt8]) {
        let info: [UInt8] =
            [0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03]
            + [0x01, 0x07, 0x03, 0x42, 0x00] + point
        pointer = info.withUnsafeBufferPointer { buffer in
            var next = buffer.baseAddress
            return d2i_PUBKEY(nil, &next, buffer.count)!
        }
    }

    deinit { EVP_PKEY_free(pointer) }

    /// PKCS #8.
    public var pem: SecretBytes {
        let bio = BIO_new(BIO_s_mem())
        defer { BIO_free(bio) }
        PEM_write_bio_PrivateKey(bio, pointer, nil, nil, 0, nil, nil)
        return SecretBytes(bytes(of: bio))
    }

    /// Traps for a key that no peer should believe.
    public var signing: SigningKey { try! SigningKey(privatePEM: pem) }
}

func bytes(of bio: OpaquePointer?) -> [UInt8] {
    var start: UnsafeMutablePointer<CChar>?
    let count = copenssl_bio_bytes(bio, &start)
    return Array(UnsafeRawBufferPointer(start: start, count: count))
}
