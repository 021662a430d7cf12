/// HMAC as ESP and IKE use it for integrity (transform type 3), truncated.
public enum IntegrityAlgorithm: UInt16, CaseIterable, Hashable, Sendable {
    /// RFC 2404. For old peers, where it is named; RFC 8221 §6 and RFC 8247 §2.3 are about to give it up.
    case hmacSHA1_96 = 2
    /// RFC 4868, to half of the output.
    case hmacSHA256_128 = 12
    case hmacSHA384_192 = 13
    case hmacSHA512_256 = 14

    /// Octets of the key: the hash's whole output (RFC 2404 §3, RFC 4868 §2.1.1).
    public var keyLength: Int { function.outputLength }

    /// Octets of the integrity check value.
    public var icvLength: Int {
        switch self {
        case .hmacSHA1_96: 12
        case .hmacSHA256_128: 16
        case .hmacSHA384_192: 24
        case .hmacSHA512_256: 32
        }
    }

    var function: HashFunction {
        switch self {
        case .hmacSHA1_96: .sha1
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
        /// RFC 3686 in ESP, RFC 5930 in IKE.
        case aesCTR = 13
        /// RFC 4106 in ESP, RFC 5282 in IKE; 8-octet ICV.
        case aesGCM8 = 18
        /// The same with a 12-octet ICV.
        case aesGCM12 = 19
        /// The same with a 16-octet ICV.
        case aesGCM16 = 20
        /// RFC 7634.
        case chaCha20Poly1305 = 28

        /// In bits.
        public var keyLengths: [Int] {
            switch self {
            case .aesCBC, .aesCTR, .aesGCM8, .aesGCM12, .aesGCM16: [128, 192, 256]
            case .chaCha20Poly1305: [256]
            }
        }

        /// Whether a transform names its key length. One for a cipher with a single length must not (RFC 7296 §3.3.5).
        public var hasKeyLengthAttribute: Bool { keyLengths.count > 1 }
    }

    public let kind: Kind
    /// One of `kind.keyLengths`.
    public let keyBits: Int

    /// Of a cipher that is known to be right, such as an operator's choice. With a `keyBits` that is not among
    /// `kind.keyLengths` no `PacketCipher` can be made.
    public init(_ kind: Kind, keyBits: Int) {
        self.kind = kind
        self.keyBits = keyBits
    }

    /// From numbers that another program wrote; `nil` unless both are known.
    public init?(transform: UInt16, keyBits: Int) {
        guard let kind = Kind(rawValue: transform), kind.keyLengths.contains(keyBits) else { return nil }
        self.init(kind, keyBits: keyBits)
    }

    /// From a transform and its Key Length attribute; `nil` unless the cipher is known and has the attribute if, and only if,
    /// it needs one.
    public init?(transform: UInt16, keyLengthAttribute: UInt16?) {
        guard let kind = Kind(rawValue: transform), kind.hasKeyLengthAttribute == (keyLengthAttribute != nil) else { return nil }
        self.init(transform: transform, keyBits: keyLengthAttribute.map(Int.init) ?? kind.keyLengths[0])
    }

    /// In bits; what a transform says of this cipher.
    public var keyLengthAttribute: UInt16? { kind.hasKeyLengthAttribute ? UInt16(keyBits) : nil }

    /// Encryption and integrity in one.
    public var isAEAD: Bool { icvLength > 0 }

    /// The IV may be foreseen, but two packets under one key with the same IV betray both (RFC 3686 §2.1, RFC 4106 §2,
    /// RFC 7634 §2). Of other ciphers nobody may foresee it (RFC 3602 §3).
    public var hasCounterIV: Bool { kind != .aesCBC }

    /// Octets of the key, with the salt that follows it (RFC 3686 §5.1, RFC 4106 §8.1, RFC 7634 §2).
    public var keyMaterialLength: Int { keyBits / 8 + saltLength }

    /// Octets of the IV that each packet carries.
    public var ivLength: Int { hasCounterIV ? 8 : 16 }

    /// Octets of the cipher's own integrity check value; 0 if the integrity algorithm gives it.
    public var icvLength: Int {
        switch kind {
        case .aesCBC, .aesCTR: 0
        case .aesGCM8: 8
        case .aesGCM12: 12
        case .aesGCM16, .chaCha20Poly1305: 16
        }
    }

    /// What the length of a text must be a multiple of. ESP's own alignment to 4 octets comes on top (RFC 4303 §2.4).
    public var blockLength: Int { kind == .aesCBC ? 16 : 1 }

    /// Octets of the nonce's beginning, which stays the same: the salt, RFC 3686's nonce.
    var saltLength: Int { hasCounterIV ? 4 : 0 }
}
