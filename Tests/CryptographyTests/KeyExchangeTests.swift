import Cryptography
import Testing

struct KeyExchangeTests {
    @Test(arguments: KeyExchangeGroup.allCases) func exchange_betweenTwo_agrees(group: KeyExchangeGroup) throws {
        let one = try KeyExchange(group: group, random: .seeded(1))
        let other = try KeyExchange(group: group, random: .seeded(2))
        #expect(one.publicValue.count == group.publicValueLength)
        let secret = try one.sharedSecret(peerPublicValue: other.publicValue)
        #expect(secret == (try other.sharedSecret(peerPublicValue: one.publicValue)))
        #expect(secret.count == group.sharedSecretLength)
        let third = try KeyExchange(group: group, random: .seeded(3))
        #expect(secret != (try third.sharedSecret(peerPublicValue: one.publicValue)))
    }

    @Test(arguments: KeyExchangeGroup.allCases) func privateValue_fromOneSeed_isTheSame(group: KeyExchangeGroup) throws {
        let first = try KeyExchange(group: group, random: .seeded(5)).publicValue
        #expect(try KeyExchange(group: group, random: .seeded(5)).publicValue == first)
        #expect(try KeyExchange(group: group, random: .seeded(6)).publicValue != first)
    }

    @Test(arguments: KeyExchangeGroup.allCases) func publicValue_ofWrongLength_isRefused(group: KeyExchangeGroup) throws {
        let own = try KeyExchange(group: group, random: .seeded(1))
        let good = try KeyExchange(group: group, random: .seeded(2)).publicValue
        for bad in [[], Array(good.dropLast()), Array(good.dropFirst()), good + [0], [0] + good, [4] + good] {
            #expect(throws: CryptographyError.badPublicValue) { try own.sharedSecret(peerPublicValue: bad) }
        }
    }

    @Test(arguments: [KeyExchangeGroup.ecp256, .ecp384, .ecp521]) func point_offTheCurve_isRefused(group: KeyExchangeGroup) throws {
        let own = try KeyExchange(group: group, random: .seeded(1))
        let good = try KeyExchange(group: group, random: .seeded(2)).publicValue
        var flipped = good
        flipped[good.count - 1] ^= 1
        let zero = [UInt8](repeating: 0, count: good.count)
        let beyondThePrime = [UInt8](repeating: 0xFF, count: good.count)
        for bad in [flipped, zero, beyondThePrime, Array(good.dropFirst(good.count / 2) + good.prefix(good.count / 2))] {
            #expect(throws: CryptographyError.badPublicValue) { try own.sharedSecret(peerPublicValue: bad) }
        }
    }

    @Test(arguments: PrimeFormula.all.map(\.group))
    func number_outsideOfTheGroup_isRefused(group: KeyExchangeGroup) throws {
        let own = try KeyExchange(group: group, random: .seeded(1))
        let count = group.publicValueLength
        func small(_ value: UInt8) -> [UInt8] { [UInt8](repeating: 0, count: count - 1) + [value] }
        for value: UInt8 in [0, 1] {
            #expect(throws: CryptographyError.badPublicValue) { try own.sharedSecret(peerPublicValue: small(value)) }
        }
        #expect(throws: CryptographyError.badPublicValue) {
            try own.sharedSecret(peerPublicValue: [UInt8](repeating: 0xFF, count: count))
        }
        // 2 is the generator: its power is our own public value.
        #expect(try own.sharedSecret(peerPublicValue: small(2)).copyBytes() == own.publicValue)
    }

    /// p and p - 1 are refused and p - 2 is not: p is the prime that the group's standard defines.
    @Test(arguments: PrimeFormula.all) func number_atTheEndOfTheGroup_isRefused(formula: PrimeFormula) throws {
        let own = try KeyExchange(group: formula.group, random: .seeded(1))
        let prime = formula.prime
        for lastOctet: UInt8 in [0xFF, 0xFE] {
            let bad = prime.dropLast() + [lastOctet]
            #expect(throws: CryptographyError.badPublicValue) { try own.sharedSecret(peerPublicValue: Array(bad)) }
        }
        // An odd power of -2 is what the power of 2 leaves to p.
        let power = try own.sharedSecret(peerPublicValue: Array(prime.dropLast() + [0xFD])).copyBytes()
        #expect(power.count == formula.bits / 8)
        let isOdd = try #require(own.privateValue.copyBytes().last).isMultiple(of: 2) == false
        #expect(power == (isOdd ? difference(prime, own.publicValue) : own.publicValue))
    }

    /// RFC 7748 §6.1, RFC 8031 §5: values of small order lead to zero.
    @Test func curve25519_valueOfSmallOrder_isRefused() throws {
        let own = try KeyExchange(group: .curve25519, random: .seeded(1))
        let smallOrder = [
            [UInt8](repeating: 0, count: 32), [1] + [UInt8](repeating: 0, count: 31),
            hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
            hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
            [0xEC] + [UInt8](repeating: 0xFF, count: 30) + [0x7F], [0xED] + [UInt8](repeating: 0xFF, count: 30) + [0x7F],
        ]
        for bad in smallOrder {
            #expect(throws: CryptographyError.badPublicValue) { try own.sharedSecret(peerPublicValue: bad) }
        }
    }

    /// What another node was told of an exchange: it goes on with the same public value and comes to the same secret.
    @Test(arguments: KeyExchangeGroup.allCases) func privateValue_inAnotherPlace_isTheSameExchange(group: KeyExchangeGroup) throws {
        let own = try KeyExchange(group: group, random: .seeded(1))
        let peer = try KeyExchange(group: group, random: .seeded(2))
        let other = try KeyExchange(group: group, privateValue: SecretBytes(own.privateValue.copyBytes()))
        #expect(other.publicValue == own.publicValue)
        let secret = try other.sharedSecret(peerPublicValue: peer.publicValue)
        #expect(secret == (try peer.sharedSecret(peerPublicValue: own.publicValue)))
    }

    @Test(arguments: KeyExchangeGroup.allCases) func privateValue_thatIsNotOfTheGroup_isRefused(group: KeyExchangeGroup) throws {
        let good = try KeyExchange(group: group, random: .seeded(1)).privateValue.copyBytes()
        var bad = [[], Array(good.dropLast()), good + [0], [0] + good]
        // X25519 takes any 32 octets (RFC 7748 §5).
        if group != .curve25519 { bad.append([UInt8](repeating: 0, count: good.count)) }
        if [.ecp256, .ecp384, .ecp521].contains(group) { bad.append([UInt8](repeating: 0xFF, count: good.count)) }
        for value in bad {
            #expect(throws: CryptographyError.badPrivateValue) { try KeyExchange(group: group, privateValue: SecretBytes(value)) }
        }
    }

    @Test func groupNumbers_thatAreTooWeak_areNotKnown() {
        for number: UInt16 in [0, 1, 3, 4, 5, 13, 22, 23, 24, 25, 26, 27, 32, 1024] { #expect(KeyExchangeGroup(rawValue: number) == nil) }
        #expect(KeyExchangeGroup.allCases.map(\.rawValue) == [2, 14, 15, 16, 17, 18, 19, 20, 21, 31])
    }

    @Test func privateValue_fromABrokenSource_isRefused() {
        let broken = RandomSource { [UInt8](repeating: 0, count: $0) }
        #expect(throws: CryptographyError.self) { try KeyExchange(group: .ecp256, random: broken) }
        let ones = RandomSource { [UInt8](repeating: 0xFF, count: $0) }
        #expect(throws: CryptographyError.self) { try KeyExchange(group: .ecp384, random: ones) }
    }
}

/// `left` - `right`, of one length, big-endian.
private func difference(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] {
    var out = left
    var borrow = 0
    for index in out.indices.reversed() {
        let value = Int(left[index]) - Int(right[index]) - borrow
        borrow = value < 0 ? 1 : 0
        out[index] = UInt8(value & 0xFF)
    }
    return out
}
