import COpenSSL

/// The MODP groups of RFC 3526, and one of RFC 2409: powers of 2 modulo a safe prime.
struct ModularArithmetic: KeyExchangeArithmetic {
    // The primes are never freed and never changed.
    nonisolated(unsafe) private let prime: OpaquePointer?
    private let valueLength: Int
    /// Octets of a private value: above twice the strength that RFC 3526 §8 gives the group, and that a smaller one may have.
    private let exponentLength: Int

    static let modp1024 = ModularArithmetic(prime: BN_get_rfc2409_prime_1024(nil), valueLength: 128, exponentLength: 32)
    static let modp2048 = ModularArithmetic(prime: BN_get_rfc3526_prime_2048(nil), valueLength: 256, exponentLength: 40)
    static let modp3072 = ModularArithmetic(prime: BN_get_rfc3526_prime_3072(nil), valueLength: 384, exponentLength: 52)
    static let modp4096 = ModularArithmetic(prime: BN_get_rfc3526_prime_4096(nil), valueLength: 512, exponentLength: 60)
    static let modp6144 = ModularArithmetic(prime: BN_get_rfc3526_prime_6144(nil), valueLength: 768, exponentLength: 68)
    static let modp8192 = ModularArithmetic(prime: BN_get_rfc3526_prime_8192(nil), valueLength: 1024, exponentLength: 78)

    func makePrivateValue(_ random: RandomSource) -> SecretBytes {
        // The top bit is set: every private value takes the same time, and none is small.
        random.secret(exponentLength) { $0[0] |= 0x80 }
    }

    func accepts(_ privateValue: SecretBytes) -> Bool {
        privateValue.count == exponentLength && privateValue.withUnsafeBytes { $0[0] & 0x80 != 0 }
    }

    func publicValue(of privateValue: SecretBytes) throws(CryptographyError) -> [UInt8] {
        let generator = try BigNumber([2] as [UInt8])
        return try power(generator, privateValue).secret(count: valueLength).copyBytes()
    }

    func sharedSecret(of privateValue: SecretBytes, peer: [UInt8]) throws(CryptographyError) -> SecretBytes {
        let base = try peerNumber(peer)
        return try power(base, privateValue).secret(count: valueLength)
    }

    /// 1 < y < p - 1 (RFC 6989 §2.1): with a safe prime that leaves no small subgroup.
    private func peerNumber(_ bytes: [UInt8]) throws(CryptographyError) -> BigNumber {
        let number = try BigNumber(bytes)
        let last = try BigNumber()
        guard BN_copy(last.pointer, prime) != nil else { throw .fromLibrary("number") }
        try require(BN_sub_word(last.pointer, 1), "number")
        guard BN_cmp(number.pointer, BN_value_one()) > 0, BN_cmp(number.pointer, last.pointer) < 0 else { throw .badPublicValue }
        return number
    }

    private func power(_ base: borrowing BigNumber, _ privateValue: SecretBytes) throws(CryptographyError) -> BigNumber {
        let exponent = try BigNumber(privateValue)
        let result = try BigNumber()
        let scratch = try BigNumberScratch()
        try require(BN_mod_exp(result.pointer, base.pointer, exponent.pointer, prime, scratch.pointer), "modular power")
        return result
    }
}
