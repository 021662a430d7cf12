import Cryptography
import Testing

/// Vectors of RFC 2202 and RFC 4231 (HMAC), RFC 5869 (HKDF), FIPS 180 (hashes); prf+ from an independent implementation.
struct PRFTests {
    /// RFC 2202 §3, cases 1, 2, 6 and 7.
    @Test func prf_rfc2202Cases_match() {
        let cases: [(key: [UInt8], text: String, output: String)] = [
            ([UInt8](repeating: 0x0b, count: 20), "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
            (Array("Jefe".utf8), "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (
                [UInt8](repeating: 0xaa, count: 80), "Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112"
            ),
            (
                [UInt8](repeating: 0xaa, count: 80), "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
                "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"
            ),
        ]
        for (key, text, output) in cases {
            #expect(PRF.hmacSHA1(key: SecretBytes(key), Array(text.utf8)).copyBytes() == hex(output))
        }
        #expect(PRF.hmacSHA1.outputLength == 20 && IntegrityAlgorithm.hmacSHA1_96.keyLength == 20)
    }

    /// RFC 4231 §4.2, §4.3 and §4.7: a short key, a text in pieces, a key longer than a block.
    @Test func prf_rfc4231Cases_match() {
        let first = SecretBytes([UInt8](repeating: 0x0b, count: 20))
        let second = SecretBytes("Jefe".utf8)
        let sixth = SecretBytes([UInt8](repeating: 0xaa, count: 131))
        let expected: [(PRF, String, String, String)] = [
            (
                .hmacSHA256, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
            (
                .hmacSHA384, "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"
            ),
            (
                .hmacSHA512,
                """
                87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
                daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854
                """,
                """
                164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
                9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737
                """,
                """
                80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352
                6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598
                """
            ),
        ]
        #expect(expected.map(\.0) == PRF.allCases.filter { $0 != .hmacSHA1 })
        for (prf, one, two, six) in expected {
            #expect(prf(key: first, Array("Hi There".utf8)).copyBytes() == hex(one))
            #expect(prf(key: second, Array("what do ya ".utf8), [], Array("want for nothing?".utf8)).copyBytes() == hex(two))
            let long = Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)
            #expect(prf.compute(key: sixth, data: [long]).copyBytes() == hex(six))
            #expect(prf.mac(key: sixth, secretData: SecretBytes(long.prefix(5)), Array(long.dropFirst(5))).copyBytes() == hex(six))
            #expect(prf.outputLength == hex(one).count)
        }
        #expect(hmacSHA256(key: second, Array("what do ya want for nothing?".utf8)) == hex(expected[0].2))
    }

    @Test func prf_withEmptyKey_isDefined() {
        // HMAC-SHA-256 of nothing under no key.
        let expected = hex("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
        #expect(PRF.hmacSHA256(key: .empty).copyBytes() == expected)
    }

    @Test func plus_ofKnownSeed_matchesAnIndependentImplementation() {
        let key = SecretBytes(0..<32)
        let seed = Array("seedseedseedseedseed".utf8)
        let expected = hex(
            """
            a10b598d0b8e0d49da83f17c95d1c1b5e5a748e6e7b00bb52589af0ce148d89fea074c90a058936ef6aad61f083b676aa3e753acfb5ab79a59858e732b28dc66
            983acc269bb12f7f274748f8859cff068d2902e9a504f263893248264f3288491a2a54cb84fdb47fd36eeae1e5aa4d4e863ec222a200bf90d78eab05b93471c7
            af87cde2128539dec9512fa74e90a1da3fee8a8843aa
            """)
        #expect(PRF.hmacSHA256.plus(key: key, seed: seed, count: 150).copyBytes() == expected)
        #expect(PRF.hmacSHA256.plus(key: key, seed: seed, count: 33).copyBytes() == Array(expected.prefix(33)))
        #expect(PRF.hmacSHA256.plus(key: key, seed: seed, count: 0).isEmpty)
        let split = PRF.hmacSHA256.plus(key: key, secretSeed: SecretBytes(seed.prefix(7)), seed: Array(seed.dropFirst(7)), count: 150)
        #expect(split.copyBytes() == expected)
        let longest = PRF.hmacSHA512.plus(key: key, seed: seed, count: 255 * 64).copyBytes()
        #expect(Array(longest.prefix(8)) == hex("bf20af5b0f6e07eb"))
    }

    /// RFC 5869 appendix A.1.
    @Test func hkdf_rfc5869Case1_matches() {
        let secret = SecretBytes([UInt8](repeating: 0x0b, count: 22))
        let out = hkdfSHA256(secret: secret, salt: Array(0..<13), info: Array(0xf0..<0xfa), count: 42)
        #expect(out.copyBytes() == hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"))
    }

    @Test func hashes_ofABC_match() {
        #expect(sha256(Array("abc".utf8)) == hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
        #expect(sha1(Array("abc".utf8)) == hex("a9993e364706816aba3e25717850c26c9cd0d89d"))
        #expect(sha256([]) == hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
    }
}
