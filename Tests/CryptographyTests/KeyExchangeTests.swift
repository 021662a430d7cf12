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

    @Test(arguments: [KeyExchangeGroup.modp2048, .modp3072, .modp4096])
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

    @Test func number_atTheEndOfModp2048_isRefused() throws {
        let own = try KeyExchange(group: .modp2048, random: .seeded(1))
        for lastOctet: UInt8 in [0xFF, 0xFE] {
            let bad = prime2048.dropLast() + [lastOctet]
            #expect(throws: CryptographyError.badPublicValue) { try own.sharedSecret(peerPublicValue: Array(bad)) }
        }
        #expect(try own.sharedSecret(peerPublicValue: Array(prime2048.dropLast() + [0xFD])).count == 256)
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

    @Test func privateValue_fromABrokenSource_isRefused() {
        let broken = RandomSource { [UInt8](repeating: 0, count: $0) }
        #expect(throws: CryptographyError.self) { try KeyExchange(group: .ecp256, random: broken) }
        let ones = RandomSource { [UInt8](repeating: 0xFF, count: $0) }
        #expect(throws: CryptographyError.self) { try KeyExchange(group: .ecp384, random: ones) }
    }
}

/// RFC 3526 §3.
private let prime2048 = hex(
    """
    ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437
    4fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf05
    98da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b
    e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff
    """)
