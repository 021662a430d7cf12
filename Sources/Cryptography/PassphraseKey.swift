import COpenSSL

/// How dear a guess of a passphrase is made (RFC 7914): memory of 128 · `cost` · `blockSize` octets, and time in proportion.
public struct ScryptCost: Hashable, Sendable {
    /// N, a power of two.
    public let cost: UInt32
    /// r.
    public let blockSize: UInt32
    /// p.
    public let parallelization: UInt32

    /// 32 MiB and some 100 ms for each guess: OWASP's recommendation for interactive use, twice.
    public static let standard = ScryptCost(unchecked: 1 << 15, 8, 1)
    /// What a file may ask of whoever opens it: 128 MiB.
    public static let costMax: UInt32 = 1 << 17

    private init(unchecked cost: UInt32, _ blockSize: UInt32, _ parallelization: UInt32) {
        self.cost = cost
        self.blockSize = blockSize
        self.parallelization = parallelization
    }

    /// - Returns: `nil` for a cost that is too low to protect, too high to bear, or not a power of two.
    public init?(cost: UInt32, blockSize: UInt32, parallelization: UInt32) {
        guard (1 << 14...ScryptCost.costMax).contains(cost), cost.nonzeroBitCount == 1, blockSize == 8, (1...4).contains(parallelization)
        else { return nil }
        self.init(unchecked: cost, blockSize, parallelization)
    }
}

/// A key from a passphrase by scrypt (RFC 7914). Takes as long as `cost` says: never on an event loop.
///
/// - Parameter count: octets of the key.
/// - Throws: `library` when there is not enough memory.
public func scrypt(passphrase: SecretBytes, salt: [UInt8], cost: ScryptCost, count: Int) throws(CryptographyError) -> SecretBytes {
    let memory = UInt64(ScryptCost.costMax) * 128 * 8 * 2
    return try SecretBytes(count: count) { (target) throws(CryptographyError) in
        let result = passphrase.withUnsafeBytes { passphrase in
            EVP_PBE_scrypt(
                passphrase.baseAddress?.assumingMemoryBound(to: CChar.self), passphrase.count, salt, salt.count, UInt64(cost.cost),
                UInt64(cost.blockSize), UInt64(cost.parallelization), memory, target.baseAddress?.assumingMemoryBound(to: UInt8.self),
                target.count)
        }
        try require(result, "scrypt")
    }
}
