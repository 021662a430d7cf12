import COpenSSL

/// Hash functions of signatures by their IKEv2 numbers (RFC 7427 §7, RFC 8420 §2).
public enum SignatureHash: UInt16, CaseIterable, Hashable, Sendable {
    case sha1 = 1
    case sha256 = 2
    case sha384 = 3
    case sha512 = 4
    /// The scheme hashes by itself: Ed25519.
    case identity = 5
}

/// How a message is signed: algorithm, hash and form of the signature.
public enum SignatureScheme: CaseIterable, Hashable, Sendable {
    /// RSASSA-PKCS1-v1_5. SHA-1 is only for authentication method 1, where nothing better can be agreed on.
    case rsaPKCS1SHA1, rsaPKCS1SHA256, rsaPKCS1SHA384, rsaPKCS1SHA512
    /// RSASSA-PSS with MGF1 of the same hash and a salt of its length.
    case rsaPSSSHA256, rsaPSSSHA384, rsaPSSSHA512
    /// The DER form, with a key on any of the curves.
    case ecdsaSHA256, ecdsaSHA384, ecdsaSHA512
    /// r | s, each as long as a coordinate, with the one curve (RFC 4754 §3).
    case ecdsaP256Concatenated, ecdsaP384Concatenated, ecdsaP521Concatenated
    case ed25519

    public var hash: SignatureHash {
        switch self {
        case .rsaPKCS1SHA1: .sha1
        case .rsaPKCS1SHA256, .rsaPSSSHA256, .ecdsaSHA256, .ecdsaP256Concatenated: .sha256
        case .rsaPKCS1SHA384, .rsaPSSSHA384, .ecdsaSHA384, .ecdsaP384Concatenated: .sha384
        case .rsaPKCS1SHA512, .rsaPSSSHA512, .ecdsaSHA512, .ecdsaP521Concatenated: .sha512
        case .ed25519: .identity
        }
    }

    /// Whether a key of this kind signs so.
    public func fits(_ key: PublicKeyKind) -> Bool {
        switch self {
        case .rsaPKCS1SHA1, .rsaPKCS1SHA256, .rsaPKCS1SHA384, .rsaPKCS1SHA512, .rsaPSSSHA256, .rsaPSSSHA384, .rsaPSSSHA512:
            key.algorithm == .rsa
        case .ecdsaSHA256, .ecdsaSHA384, .ecdsaSHA512: key.algorithm == .ecdsa
        case .ecdsaP256Concatenated: key == .ecdsa(.p256)
        case .ecdsaP384Concatenated: key == .ecdsa(.p384)
        case .ecdsaP521Concatenated: key == .ecdsa(.p521)
        case .ed25519: key == .ed25519
        }
    }

    // MARK: RFC 7427

    /// The AlgorithmIdentifier in DER that stands before a signature of method 14 (RFC 7427 §3, appendix A; RFC 8420 appendix A).
    ///
    /// `nil` for the schemes that method 14 does not have: r | s belongs to methods 9 to 11, SHA-1 is not taken (RFC 8247 §3.2).
    public var algorithmIdentifier: [UInt8]? {
        switch self {
        case .rsaPKCS1SHA256: SignatureScheme.pkcs1(0x0B)
        case .rsaPKCS1SHA384: SignatureScheme.pkcs1(0x0C)
        case .rsaPKCS1SHA512: SignatureScheme.pkcs1(0x0D)
        case .rsaPSSSHA256: SignatureScheme.pss(hash: 1, salt: 32)
        case .rsaPSSSHA384: SignatureScheme.pss(hash: 2, salt: 48)
        case .rsaPSSSHA512: SignatureScheme.pss(hash: 3, salt: 64)
        case .ecdsaSHA256: SignatureScheme.ecdsa(2)
        case .ecdsaSHA384: SignatureScheme.ecdsa(3)
        case .ecdsaSHA512: SignatureScheme.ecdsa(4)
        case .ed25519: [0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70]
        case .rsaPKCS1SHA1, .ecdsaP256Concatenated, .ecdsaP384Concatenated, .ecdsaP521Concatenated: nil
        }
    }

    /// The scheme with exactly these octets: a known algorithm in another encoding is not one.
    public init?(algorithmIdentifier: [UInt8]) {
        guard let scheme = SignatureScheme.byIdentifier[algorithmIdentifier] else { return nil }
        self = scheme
    }

    private static let byIdentifier: [[UInt8]: SignatureScheme] = Dictionary(
        uniqueKeysWithValues: allCases.compactMap { scheme in scheme.algorithmIdentifier.map { ($0, scheme) } })

    /// pkcs-1 and a number, NULL parameters.
    private static func pkcs1(_ number: UInt8) -> [UInt8] {
        [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, number, 0x05, 0x00]
    }

    /// ecdsa-with-SHA2 and a number, no parameters.
    private static func ecdsa(_ number: UInt8) -> [UInt8] {
        [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, number]
    }

    /// id-RSASSA-PSS with hash, mask function, salt length and trailer field all written out (RFC 7427 appendix A.4.3).
    private static func pss(hash: UInt8, salt: UInt8) -> [UInt8] {
        let hashIdentifier: [UInt8] = [0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash, 0x05, 0x00]
        let mgf1: [UInt8] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x08]
        return [0x30, 0x46, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A, 0x30, 0x39]
            + [0xA0, 0x0F] + hashIdentifier + [0xA1, 0x1C, 0x30, 0x1A] + mgf1 + hashIdentifier
            + [0xA2, 0x03, 0x02, 0x01, salt, 0xA3, 0x03, 0x02, 0x01, 0x01]
    }
}

extension SignatureScheme {
    var isPSS: Bool { [.rsaPSSSHA256, .rsaPSSSHA384, .rsaPSSSHA512].contains(self) }

    /// Of the schemes with r | s.
    var concatenatedCurve: ECDSACurve? {
        switch self {
        case .ecdsaP256Concatenated: .p256
        case .ecdsaP384Concatenated: .p384
        case .ecdsaP521Concatenated: .p521
        default: nil
        }
    }

    var digest: OpaquePointer? {
        switch hash {
        case .sha1: EVP_sha1()
        case .sha256: EVP_sha256()
        case .sha384: EVP_sha384()
        case .sha512: EVP_sha512()
        case .identity: nil
        }
    }
}
