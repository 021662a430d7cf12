import COpenSSL

/// The kinds of public keys that peers are authenticated by, with their size.
public enum PublicKeyKind: Hashable, Sendable {
    case rsa(bits: Int)
    /// A key of RSA that is bound to RSASSA-PSS (RFC 4055 §1.2), and perhaps to one hash: nothing else may be signed with it.
    case rsaPSS(bits: Int, hash: SignatureHash?)
    case ecdsa(ECDSACurve)
    case ed25519
    /// Anything else: another curve, explicit curve parameters, DSA.
    case unsupported

    /// Long enough to be believed, and not so long that it costs too much.
    public var isAcceptable: Bool {
        switch self {
        case .rsa(let bits), .rsaPSS(let bits, _): (CertificateLimits.rsaBitsMin...CertificateLimits.rsaBitsMax).contains(bits)
        case .ecdsa, .ed25519: true
        case .unsupported: false
        }
    }

    /// The kind alone, as `auth = "rsa"` names it.
    public var algorithm: PublicKeyAlgorithm? {
        switch self {
        case .rsa, .rsaPSS: .rsa
        case .ecdsa: .ecdsa
        case .ed25519: .ed25519
        case .unsupported: nil
        }
    }
}

public enum PublicKeyAlgorithm: String, CaseIterable, Hashable, Sendable { case rsa, ecdsa, ed25519 }

public enum ECDSACurve: String, CaseIterable, Hashable, Sendable {
    case p256 = "prime256v1"
    case p384 = "secp384r1"
    case p521 = "secp521r1"

    /// Octets of a coordinate, and of r and of s (RFC 4754 §7).
    public var octets: Int {
        switch self {
        case .p256: 32
        case .p384: 48
        case .p521: 66
        }
    }
}

extension PublicKeyKind {
    init(_ key: OpaquePointer?) {
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA: self = .rsa(bits: Int(EVP_PKEY_get_bits(key)))
        case EVP_PKEY_RSA_PSS: self = PublicKeyKind(boundToPSS: key)
        case EVP_PKEY_ED25519: self = .ed25519
        case EVP_PKEY_EC: self = ECDSACurve(key).map { .ecdsa($0) } ?? .unsupported
        default: self = .unsupported
        }
    }
}

extension PublicKeyKind {
    private init(boundToPSS key: OpaquePointer?) {
        var name = [CChar](repeating: 0, count: 64)
        var count = 0
        let isBoundToHash = EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_MANDATORY_DIGEST, &name, name.count, &count) == 1
        ERR_clear_error()
        let bits = Int(EVP_PKEY_get_bits(key))
        guard isBoundToHash else {
            self = .rsaPSS(bits: bits, hash: nil)
            return
        }
        switch String(decoding: name.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) {
        case "SHA256", "SHA2-256": self = .rsaPSS(bits: bits, hash: .sha256)
        case "SHA384", "SHA2-384": self = .rsaPSS(bits: bits, hash: .sha384)
        case "SHA512", "SHA2-512": self = .rsaPSS(bits: bits, hash: .sha512)
        default: self = .unsupported
        }
    }
}

extension ECDSACurve {
    fileprivate init?(_ key: OpaquePointer?) {
        var name = [CChar](repeating: 0, count: 64)
        var count = 0
        guard EVP_PKEY_get_group_name(key, &name, name.count, &count) == 1 else {
            ERR_clear_error()
            return nil
        }
        self.init(rawValue: String(decoding: name.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}

/// The private key with which a gateway signs. Its numbers are wiped when the last user is gone.
public final class SigningKey: Sendable {
    public let kind: PublicKeyKind
    /// Of the public half, as `X509Certificate.publicKeyHash`: tells keys apart without showing anything.
    public let publicKeyHash: [UInt8]
    /// libcrypto's reference counts are atomic, and signing does not change a key.
    nonisolated(unsafe) let key: AsymmetricKey

    /// - Throws: `badEncoding` if `privatePEM` holds no unencrypted private key, `badKeyLength` for a key that no peer should
    ///   believe: see `PublicKeyKind.isAcceptable`.
    public init(privatePEM: SecretBytes) throws(CryptographyError) {
        let key = try AsymmetricKey(privatePEM: privatePEM)
        kind = PublicKeyKind(key.pointer)
        guard kind.isAcceptable else { throw .badKeyLength }
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_PUBKEY(key.pointer, &start)
        defer { CRYPTO_free(start, nil, 0) }
        guard count > 0 else { throw .fromLibrary("public key") }
        publicKeyHash = sha1(Array(UnsafeBufferPointer(start: start, count: Int(count))))
        self.key = key
    }

    public func matches(_ certificate: X509Certificate) -> Bool {
        guard let other = X509_get0_pubkey(certificate.pointer) else { return false }
        return EVP_PKEY_eq(key.pointer, other) == 1
    }
}

extension SigningKey: Hashable {
    public static func == (left: SigningKey, right: SigningKey) -> Bool {
        left === right || EVP_PKEY_eq(left.key.pointer, right.key.pointer) == 1
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(publicKeyHash) }
}

extension SigningKey: CustomStringConvertible, CustomReflectable {
    public var description: String { "<signing key, \(kind)>" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
