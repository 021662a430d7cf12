import Cryptography
import Testing

/// Not private: the name of a private type holds an address, whose digits could be taken for the secret's.
struct SecretHolder { let key = SecretBytes([0x41, 0x42, 0x43]) }

struct SecretBytesTests {
    @Test func print_inEveryWay_showsOnlyTheLength() {
        let secret = SecretBytes([0x41, 0x42, 0x43])
        var dumped = ""
        dump(secret, to: &dumped)
        dump(SecretHolder(), to: &dumped)
        for text in [secret.description, String(reflecting: secret), "\(secret)", "\(SecretHolder())", dumped] {
            #expect(text.contains("<secret, 3 bytes>"))
            for leak in ["41", "65", "ABC", "storage"] { #expect(!text.contains(leak), "\(text) shows \(leak)") }
        }
        #expect(Mirror(reflecting: secret).children.isEmpty)
    }

    @Test func compare_whenBytesOrLengthDiffer_isUnequal() {
        #expect(SecretBytes([1, 2, 3]) == SecretBytes([1, 2, 3]))
        #expect(SecretBytes([1, 2, 3]) != SecretBytes([1, 2, 4]))
        #expect(SecretBytes([1, 2, 3]) != SecretBytes([1, 2]))
        #expect(SecretBytes([UInt8]()) == .empty)
        #expect(constantTimeEquals([1, 2], [1, 2][...]))
        #expect(!constantTimeEquals([1, 2], [2, 1]))
        #expect(!constantTimeEquals([1], [1, 0]))
    }

    @Test func sliceAndJoin_giveTheRightBytes() {
        let secret = SecretBytes(0..<10)
        #expect(secret.slice(2..<5).copyBytes() == [2, 3, 4])
        #expect(secret.slice(10..<10).isEmpty)
        #expect((secret.slice(0..<4) + secret.slice(4..<10)) == secret)
        #expect((SecretBytes.empty + secret) == secret)
    }

    @Test func slice_outsideOfTheSecret_traps() async {
        await #expect(processExitsWith: .failure) { _ = SecretBytes([1, 2, 3]).slice(1..<4) }
    }

    @Test func seededSource_withOneSeed_repeatsItself() {
        let first = RandomSource.seeded(7)
        let second = RandomSource.seeded(7)
        #expect(first.bytes(13) == second.bytes(13))
        #expect(first.uint64() == second.uint64())
        #expect(RandomSource.seeded(8).bytes(16) != RandomSource.seeded(7).bytes(16))
        #expect(RandomSource.system.bytes(32) != RandomSource.system.bytes(32))
        #expect(RandomSource.system.bytes(0).isEmpty)
    }
}
