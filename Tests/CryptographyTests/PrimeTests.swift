import COpenSSL
import Cryptography
import Testing

/// How RFC 2409 §6.2 and RFC 3526 define a prime: 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + k).
struct PrimeFormula: Sendable, CustomTestStringConvertible {
    let group: KeyExchangeGroup
    let bits: Int
    let k: UInt32

    static let all = [
        PrimeFormula(group: .modp1024, bits: 1024, k: 129_093), PrimeFormula(group: .modp2048, bits: 2048, k: 124_476),
        PrimeFormula(group: .modp3072, bits: 3072, k: 1_690_314), PrimeFormula(group: .modp4096, bits: 4096, k: 240_904),
        PrimeFormula(group: .modp6144, bits: 6144, k: 929_484), PrimeFormula(group: .modp8192, bits: 8192, k: 4_743_158),
    ]

    var testDescription: String { "\(group)" }

    /// Big-endian.
    var prime: [UInt8] {
        // Between 64 ones at either end, of which the lower ones borrow 1.
        let middle = FixedPoint.pi(fractionBits: bits - 130).adding(k - 1)
        let octets = middle.limbs.flatMap { limb in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: limb >> $0) } }
        let ones = [UInt8](repeating: 0xFF, count: 8)
        return ones + octets.suffix(bits / 8 - 16) + ones
    }
}

struct PrimeTests {
    /// The first and the last octets of the RFCs' own text.
    @Test func formula_forTheFirstAndTheLastGroup_givesTheTextOfTheRFC() {
        let pi = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
        for formula in PrimeFormula.all { #expect(formula.prime.starts(with: hex(pi)) && formula.prime.count == formula.bits / 8) }
        let ends = [
            "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff",
            "fa051015728e5a8aacaa68ffffffffffffffff", "a93ad2caffffffffffffffff", "4df435c934063199ffffffffffffffff",
            "12bf2d5b0b7474d6e694f91e6dcc4024ffffffffffffffff", "60c980dd98edd3dfffffffffffffffff",
        ]
        for (formula, end) in zip(PrimeFormula.all, ends) { #expect(formula.prime.suffix(hex(end).count) == hex(end)[...]) }
    }

    /// p and (p - 1) / 2 pass Fermat's test. The formula is what shows that they are the primes of the RFCs; a mistake in either, in a
    /// bit or in k, would not pass.
    @Test(arguments: PrimeFormula.all) func prime_ofEveryGroup_isSafe(formula: PrimeFormula) throws {
        let bytes = formula.prime
        let prime = try #require(BN_bin2bn(bytes, Int32(bytes.count), nil))
        let half = try #require(BN_new())
        let scratch = try #require(BN_CTX_new())
        defer {
            BN_free(prime)
            BN_free(half)
            BN_CTX_free(scratch)
        }
        #expect(BN_rshift1(half, prime) == 1)
        for number in [prime, half] {
            let (base, exponent, result) = (try #require(BN_new()), try #require(BN_dup(number)), try #require(BN_new()))
            defer { for each in [base, exponent, result] { BN_free(each) } }
            #expect(BN_set_word(base, 3) == 1 && BN_sub_word(exponent, 1) == 1)
            #expect(BN_mod_exp(result, base, exponent, number, scratch) == 1)
            #expect(BN_is_one(result) == 1)
        }
    }
}

/// A number with 32-bit limbs, the first before the binary point: enough arithmetic for pi.
private struct FixedPoint {
    var limbs: [UInt32]

    /// floor(pi * 2^fractionBits) as a whole number, by Machin: pi = 16 arctan(1/5) - 4 arctan(1/239).
    static func pi(fractionBits: Int) -> FixedPoint {
        // Two limbs more than are kept take the rounding of all terms.
        let count = (fractionBits + 31) / 32 + 2
        var sum = arctangent(of: 5, times: 16, fractionLimbs: count)
        sum.subtract(arctangent(of: 239, times: 4, fractionLimbs: count))
        return FixedPoint(limbs: sum.limbs).shiftedRight(by: count * 32 - fractionBits)
    }

    private static func arctangent(of inverse: UInt32, times factor: UInt32, fractionLimbs: Int) -> FixedPoint {
        var power = FixedPoint(limbs: [factor] + [UInt32](repeating: 0, count: fractionLimbs))
        power.divide(by: inverse)
        var (sum, odd, isNegative) = (power, UInt32(1), false)
        while power.limbs.contains(where: { $0 != 0 }) {
            power.divide(by: inverse * inverse)
            (odd, isNegative) = (odd + 2, !isNegative)
            var term = power
            term.divide(by: odd)
            if isNegative { sum.subtract(term) } else { sum.add(term) }
        }
        return sum
    }

    mutating func divide(by divisor: UInt32) {
        var rest: UInt64 = 0
        for index in limbs.indices {
            rest = rest << 32 | UInt64(limbs[index])
            limbs[index] = UInt32(rest / UInt64(divisor))
            rest %= UInt64(divisor)
        }
    }

    mutating func add(_ other: FixedPoint) {
        var carry: UInt64 = 0
        for index in limbs.indices.reversed() {
            carry += UInt64(limbs[index]) + UInt64(other.limbs[index])
            limbs[index] = UInt32(truncatingIfNeeded: carry)
            carry >>= 32
        }
    }

    mutating func subtract(_ other: FixedPoint) {
        var borrow: Int64 = 0
        for index in limbs.indices.reversed() {
            let value = Int64(limbs[index]) - Int64(other.limbs[index]) - borrow
            borrow = value < 0 ? 1 : 0
            limbs[index] = UInt32(truncatingIfNeeded: value)
        }
    }

    func adding(_ small: UInt32) -> FixedPoint {
        var sum = self
        sum.add(FixedPoint(limbs: [UInt32](repeating: 0, count: limbs.count - 1) + [small]))
        return sum
    }

    func shiftedRight(by bits: Int) -> FixedPoint {
        let (whole, part) = (bits / 32, UInt32(bits % 32))
        let kept = [UInt32](repeating: 0, count: whole) + limbs.dropLast(whole)
        return FixedPoint(
            limbs: kept.indices.map { index in
                let above = index == 0 || part == 0 ? 0 : kept[index - 1] << (32 - part)
                return kept[index] >> part | above
            })
    }
}
