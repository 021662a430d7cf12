/// The groups that Tandem exchanges keys in (RFC 7296 §3.3.2 transform type 4).
public enum KeyExchangeGroup: UInt16, CaseIterable, Hashable, Sendable {
    /// RFC 2409 §6.2. For old peers, where it is named: it can be broken with great effort (RFC 8247 §2.4).
    case modp1024 = 2
    /// RFC 3526.
    case modp2048 = 14
    case modp3072 = 15
    case modp4096 = 16
    case modp6144 = 17
    case modp8192 = 18
    /// RFC 5903.
    case ecp256 = 19
    case ecp384 = 20
    case ecp521 = 21
    /// RFC 8031.
    case curve25519 = 31

    /// Octets of the Key Exchange Data in a KE payload.
    public var publicValueLength: Int {
        switch self {
        case .modp1024: 128
        case .modp2048: 256
        case .modp3072: 384
        case .modp4096: 512
        case .modp6144: 768
        case .modp8192: 1024
        case .ecp256: 64
        case .ecp384: 96
        case .ecp521: 132
        case .curve25519: 32
        }
    }

    /// Octets of the shared secret.
    public var sharedSecretLength: Int {
        switch self {
        case .modp1024, .modp2048, .modp3072, .modp4096, .modp6144, .modp8192, .curve25519: publicValueLength
        // The x coordinate alone (RFC 5903 §7).
        case .ecp256, .ecp384, .ecp521: publicValueLength / 2
        }
    }
}

/// One side of an ephemeral Diffie-Hellman exchange (RFC 7296 §2.12). The private value is drawn from the given source.
public struct KeyExchange: Sendable {
    public let group: KeyExchangeGroup
    /// What goes into the KE payload: for ECP groups x || y (RFC 5903 §7).
    public let publicValue: [UInt8]
    /// For whom this side's exchange goes on with, should this node end. Big-endian; for curve25519 as in RFC 7748 §5.
    public let privateValue: SecretBytes

    /// - Throws: `library` if libcrypto fails, or the source gives no usable private value.
    public init(group: KeyExchangeGroup, random: RandomSource) throws(CryptographyError) {
        try self.init(group: group, privateValue: try group.arithmetic.makePrivateValue(random))
    }

    /// The exchange that has this `privateValue`.
    ///
    /// - Throws: `badPrivateValue` for one that the first initializer never makes: of another length or out of the group's range.
    public init(group: KeyExchangeGroup, privateValue: SecretBytes) throws(CryptographyError) {
        guard try group.arithmetic.accepts(privateValue) else { throw .badPrivateValue }
        self.group = group
        self.privateValue = privateValue
        publicValue = try group.arithmetic.publicValue(of: privateValue)
    }

    /// g^ir, of `group.sharedSecretLength` octets.
    ///
    /// - Throws: `badPublicValue` for a wrong length, a number outside of 1 < y < p - 1, a point that is not on the curve
    ///   (RFC 6989 §2), or a curve25519 value that leads to zero (RFC 8031 §5).
    public func sharedSecret(peerPublicValue: [UInt8]) throws(CryptographyError) -> SecretBytes {
        guard peerPublicValue.count == group.publicValueLength else { throw .badPublicValue }
        return try group.arithmetic.sharedSecret(of: privateValue, peer: peerPublicValue)
    }
}

/// What a kind of group has to be able to do. Lengths of public values have been checked.
protocol KeyExchangeArithmetic {
    func makePrivateValue(_ random: RandomSource) throws(CryptographyError) -> SecretBytes
    /// Whether `makePrivateValue` could have made it.
    func accepts(_ privateValue: SecretBytes) throws(CryptographyError) -> Bool
    func publicValue(of privateValue: SecretBytes) throws(CryptographyError) -> [UInt8]
    func sharedSecret(of privateValue: SecretBytes, peer: [UInt8]) throws(CryptographyError) -> SecretBytes
}

extension KeyExchangeGroup {
    var arithmetic: any KeyExchangeArithmetic {
        switch self {
        case .modp1024: ModularArithmetic.modp1024
        case .modp2048: ModularArithmetic.modp2048
        case .modp3072: ModularArithmetic.modp3072
        case .modp4096: ModularArithmetic.modp4096
        case .modp6144: ModularArithmetic.modp6144
        case .modp8192: ModularArithmetic.modp8192
        case .ecp256: CurveArithmetic.p256
        case .ecp384: CurveArithmetic.p384
        case .ecp521: CurveArithmetic.p521
        case .curve25519: MontgomeryArithmetic()
        }
    }
}

extension RandomSource {
    /// Random bytes that `adjust` shapes before they become a secret; no copy is left behind.
    func secret(_ count: Int, adjust: (inout [UInt8]) -> Void = { _ in }) -> SecretBytes {
        var raw = bytes(count)
        defer { wipe(&raw) }
        adjust(&raw)
        return SecretBytes(raw)
    }
}
