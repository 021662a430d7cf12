import CertificateSamples
import Cryptography
import Testing

@Suite struct SignatureTests {
    private static let message = Array("what both sides have said".utf8)
    private static let keys: [SampleKey] = [.rsa2048, .p256, .p384, .p521, .ed25519]

    /// RFC 7427 appendix A, RFC 8420 appendix A.
    @Test func algorithmIdentifiers_areThoseOfTheStandards() {
        let golden: [(SignatureScheme, String)] = [
            (.rsaPKCS1SHA256, "300d06092a864886f70d01010b0500"), (.rsaPKCS1SHA384, "300d06092a864886f70d01010c0500"),
            (.rsaPKCS1SHA512, "300d06092a864886f70d01010d0500"), (.ecdsaSHA256, "300a06082a8648ce3d040302"),
            (.ecdsaSHA384, "300a06082a8648ce3d040303"), (.ecdsaSHA512, "300a06082a8648ce3d040304"), (.ed25519, "300506032b6570"),
            (
                .rsaPSSSHA256,
                "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108"
                    + "300d06096086480165030402010500a203020120a303020101"
            ),
            (
                .rsaPSSSHA384,
                "304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108"
                    + "300d06096086480165030402020500a203020130a303020101"
            ),
            (
                .rsaPSSSHA512,
                "304606092a864886f70d01010a3039a00f300d06096086480165030402030500a11c301a06092a864886f70d010108"
                    + "300d06096086480165030402030500a203020140a303020101"
            ),
        ]
        for (scheme, octets) in golden {
            // RFC 4055 §3.1: who signs leaves the trailer field out; the lengths of what is around it are five less.
            let signed =
                octets.hasPrefix("3046")
                ? "3041" + octets.dropFirst(4).dropLast(10).replacing("3039", with: "3034", maxReplacements: 1) : octets
            #expect(scheme.algorithmIdentifier == hex(signed))
            #expect(SignatureScheme(algorithmIdentifier: hex(signed)) == scheme)
            #expect(SignatureScheme(algorithmIdentifier: hex(octets)) == scheme)
        }
        // The hash's parameters absent.
        let short =
            "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b0609608648016503040201a203020120"
        #expect(SignatureScheme(algorithmIdentifier: hex(short)) == .rsaPSSSHA256)
        #expect(golden.count == SignatureScheme.allCases.filter { $0.algorithmIdentifier != nil }.count)
        // SHA-1, DSA, PSS with empty and with default parameters, no NULL, and a longer form of the length.
        for wrong in [
            "300d06092a864886f70d0101050500", "300906072a8648ce380403", "300d06092a864886f70d01010a3000",
            "303e06092a864886f70d01010a3031a00b300906052b0e03021a0500a118301606092a864886f70d010108300906052b0e03021a0500a203020114a303020101",
            "300b06092a864886f70d01010b", "30810d06092a864886f70d01010b0500", "",
        ] {
            #expect(SignatureScheme(algorithmIdentifier: hex(wrong)) == nil)
        }
    }

    @Test func signature_ofEveryScheme_isGoodForItsKeyAndMessageOnly() throws {
        for sample in Self.keys {
            let key = sample.signing
            let certificate = SampleCertificate("CN=a", key: sample).make()
            let stranger = SampleCertificate("CN=a", key: sample === SampleKey.rsa2048 ? .rsa3072 : .authority).make()
            #expect(key.matches(certificate) && !key.matches(stranger))
            for scheme in SignatureScheme.allCases {
                guard scheme.fits(key.kind) else {
                    #expect(throws: CryptographyError.badKeyLength) { try key.sign(Self.message, scheme: scheme) }
                    #expect(!certificate.verifies([1, 2, 3], of: Self.message, scheme: scheme))
                    continue
                }
                let signature = try key.sign(Self.message, scheme: scheme)
                #expect(certificate.verifies(signature, of: Self.message, scheme: scheme), "\(scheme)")
                #expect(!certificate.verifies(signature, of: Self.message + [0], scheme: scheme))
                #expect(!stranger.verifies(signature, of: Self.message, scheme: scheme))
                for other in SignatureScheme.allCases where other != scheme {
                    #expect(!certificate.verifies(signature, of: Self.message, scheme: other), "\(scheme) as \(other)")
                }
                for wrong in [[], Array(signature.dropLast()), signature + [0], Array(repeating: 0, count: signature.count)] {
                    #expect(!certificate.verifies(wrong, of: Self.message, scheme: scheme))
                }
            }
        }
    }

    /// RFC 4055 §1.2: whoever bound a key to PSS, or to PSS with one hash, wants nothing else signed with it.
    @Test func signature_ofAKeyBoundToPSS_isOfPSSAlone() throws {
        for (sample, expected) in [
            (SampleKey.rsaPSS, [SignatureScheme.rsaPSSSHA256, .rsaPSSSHA384, .rsaPSSSHA512]), (.rsaPSSSHA384, [.rsaPSSSHA384]),
        ] {
            let key = sample.signing
            let certificate = SampleCertificate("CN=a", key: sample).make(issuer: .authority())
            #expect(key.kind == certificate.publicKey && key.kind.algorithm == .rsa)
            #expect(SignatureScheme.allCases.filter { $0.fits(key.kind) } == expected)
            for scheme in SignatureScheme.allCases {
                guard expected.contains(scheme) else {
                    #expect(throws: CryptographyError.badKeyLength) { try key.sign(Self.message, scheme: scheme) }
                    continue
                }
                let signature = try key.sign(Self.message, scheme: scheme)
                for other in SignatureScheme.allCases {
                    #expect(certificate.verifies(signature, of: Self.message, scheme: other) == (other == scheme), "\(scheme) as \(other)")
                }
            }
        }
    }

    /// RFC 4754 §7: 64, 96 and 132 octets, whatever the numbers are.
    @Test func concatenatedSignature_alwaysHasItsLength() throws {
        for (key, scheme, count) in [
            (SampleKey.p256, SignatureScheme.ecdsaP256Concatenated, 64), (.p384, .ecdsaP384Concatenated, 96),
            (.p521, .ecdsaP521Concatenated, 132),
        ] {
            for _ in 0..<20 { #expect(try key.signing.sign(Self.message, scheme: scheme).count == count) }
        }
    }

    /// RFC 4754 §8.1: the test vector of ECDSA-256.
    @Test func concatenatedSignature_ofTheStandard_isVerified() throws {
        let signature = hex(
            "cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e97566ea1c066957c86fa3bb4e26cad5bf90b7f81899256ce7594bb1ea0c89212748bff3b3d5b0315"
        )
        let point = hex(
            "042442a5cc0ecd015fa3ca31dc8e2bbc70bf42d60cbca20085e0822cb04235e9706fc98bd7e50211a4a27102fa3549df79ebcb4bf246b80945cddfe7d509bbfd7d"
        )
        let certificate = SampleCertificate("CN=vector", key: SampleKey(p256Point: point)).make(issuer: .authority())
        #expect(certificate.verifies(signature, of: Array("abc".utf8), scheme: .ecdsaP256Concatenated))
        #expect(!certificate.verifies(signature, of: Array("abd".utf8), scheme: .ecdsaP256Concatenated))
    }

    @Test func signingKey_whenWeakEncryptedOrNone_isRefused() {
        #expect(throws: CryptographyError.badKeyLength) { try SigningKey(privatePEM: SampleKey.rsa1024.pem) }
        #expect(throws: CryptographyError.badKeyLength) { try SigningKey(privatePEM: SampleKey.secp256k1.pem) }
        for text in ["", "nonsense", SampleCertificate("CN=a").pem()] {
            #expect(throws: CryptographyError.badEncoding) { try SigningKey(privatePEM: SecretBytes(Array(text.utf8))) }
        }
        #expect("\(SampleKey.p256.signing)" == "<signing key, ecdsa(Cryptography.ECDSACurve.p256)>")
    }
}
