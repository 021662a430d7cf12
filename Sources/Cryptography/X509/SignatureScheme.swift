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
        case .rsaPKCS1SHA1, .rsaPKCS1SHA256, .rsaPKCS1SHA384, .rsaPKCS1SHA512:
            if case .rsa = key { true } else { false }
        case .rsaPSSSHA256, .rsaPSSSHA384, .rsaPSSSHA512:
            switch key {
            case .rsa: true
            case .rsaPSS(_, let demanded): demanded == nil || demanded == hash
            case .ecdsa, .ed25519, .unsupported: false
            }
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

    /// The scheme with exactly these octets: a known algorithm in another encoding than the standards allow is not one.
    public init?(algorithmIdentifier: [UInt8]) {
        guard let scheme = SignatureScheme.byIdentifier[algorithmIdentifier] else { return nil }
        self = scheme
    }

    private static let byIdentifier: [[UInt8]: SignatureScheme] = {
        var known = Dictionary(
            uniqueKeysWithValues: allCases.compactMap { scheme in scheme.algorithmIdentifier.map { ($0, scheme) } })
        // RFC 4055 §3.1 has whoever verifies take the trailer field left out or written out, and the hash's parameters NULL or absent.
        for (hash, salt, scheme) in [(UInt8(1), UInt8(32), rsaPSSSHA256), (2, 48, rsaPSSSHA384), (3, 64, rsaPSSSHA512)] {
            for hasTrailer in [false, true] {
                for hasNull in [false, true] { known[pss(hash: hash, salt: salt, hasTrailer: hasTrailer, hasNull: hasNull)] = scheme }
            }
        }
        return known
    }()

    /// pkcs-1 and a number, NULL parameters.
    private static func pkcs1(_ number: UInt8) -> [UInt8] {
        [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, number, 0x05, 0x00]
    }

    /// ecdsa-with-SHA2 and a number, no parameters.
    private static func ecdsa(_ number: UInt8) -> [UInt8] {
        [0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, number]
    }

    /// id-RSASSA-PSS with hash, mask function and salt length. The trailer field has its default: whoever signs leaves it out (RFC 4055
    /// §3.1), though RFC 7427 appendix A.4.3 writes it out.
    private static func pss(hash: UInt8, salt: UInt8, hasTrailer: Bool = false, hasNull: Bool = true) -> [UInt8] {
        func tagged(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] { [tag, UInt8(content.count)] + content }
        let sha2: [UInt8] = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash]
        let mgf1: [UInt8] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x08]
        let rsassaPSS: [UInt8] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A]
        let hashIdentifier = tagged(0x30, sha2 + (hasNull ? [0x05, 0x00] : []))
        var parameters = tagged(0xA0, hashIdentifier)
        parameters += tagged(0xA1, tagged(0x30, mgf1 + hashIdentifier))
        parameters += [0xA2, 0x03, 0x02, 0x01, salt]
        if hasTrailer { parameters += [0xA3, 0x03, 0x02, 0x01, 0x01] }
        return tagged(0x30, rsassaPSS + tagged(0x30, parameters))
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
