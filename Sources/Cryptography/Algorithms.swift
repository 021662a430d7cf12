/// HMAC as ESP and IKE use it for integrity, truncated to half (RFC 4868, transform type 3).
public enum IntegrityAlgorithm: UInt16, CaseIterable, Hashable, Sendable {
    case hmacSHA256_128 = 12
    case hmacSHA384_192 = 13
    case hmacSHA512_256 = 14

    /// Octets of the key: the hash's whole output (RFC 4868 §2.1.1).
    public var keyLength: Int { function.outputLength }
    /// Octets of the integrity check value.
    public var icvLength: Int { function.outputLength / 2 }

    var function: HashFunction {
        switch self {
        case .hmacSHA256_128: .sha256
        case .hmacSHA384_192: .sha384
        case .hmacSHA512_256: .sha512
        }
    }
}

/// A cipher with its key length (transform type 1).
public struct Cipher: Hashable, Sendable {
    public enum Kind: UInt16, CaseIterable, Hashable, Sendable {
        /// RFC 3602.
        case aesCBC = 12
        /// RFC 4106 in ESP, RFC 5282 in IKE; 16-octet ICV.
        case aesGCM16 = 20
    }

    public let kind: Kind
    /// 128, 192 or 256.
    public let keyBits: Int

    /// Of a cipher that is known to be right, such as an operator's choice. With another `keyBits` than 128, 192 or 256
    /// no `PacketCipher` can be made.
    public init(_ kind: Kind, keyBits: Int) {
        self.kind = kind
        self.keyBits = keyBits
    }

    /// From the numbers of a transform; `nil` unless both are known.
    public init?(transform: UInt16, keyBits: Int) {
        guard let kind = Kind(rawValue: transform), [128, 192, 256].contains(keyBits) else { return nil }
        self.init(kind, keyBits: keyBits)
    }

    /// Encryption and integrity in one.
    public var isAEAD: Bool { kind == .aesGCM16 }

    /// Octets of the key, with the salt of 4 octets that follows an AES-GCM key (RFC 4106 §8.1).
    public var keyMaterialLength: Int { keyBits / 8 + saltLength }

    /// Octets of the IV that each packet carries.
    public var ivLength: Int {
        switch kind {
        case .aesCBC: 16
        case .aesGCM16: 8
        }
    }

    /// Octets of the cipher's own integrity check value; 0 if the integrity algorithm gives it.
    public var icvLength: Int {
        switch kind {
        case .aesCBC: 0
        case .aesGCM16: 16
        }
    }

    /// What the length of a text must be a multiple of. ESP's own alignment to 4 octets comes on top (RFC 4303 §2.4).
    public var blockLength: Int {
        switch kind {
        case .aesCBC: 16
        case .aesGCM16: 1
        }
    }

    var saltLength: Int {
        switch kind {
        case .aesCBC: 0
        case .aesGCM16: 4
        }
    }
}
