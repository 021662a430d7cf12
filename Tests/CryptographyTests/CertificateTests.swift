import CertificateSamples
import Cryptography
import Testing

/// The moment at which certificates are judged: inside of what samples are valid for.
private let now = SampleCertificate.validFrom + 86400

private let root = SampleCertificate.authority()
private let rootCertificate = root.make()

private func leaf(_ change: (inout SampleCertificate) -> Void = { _ in }) -> SampleCertificate {
    var sample = SampleCertificate(
        "C=CH, O=Tandem, CN=alice", names: ["DNS:Alice.example.net", "email:alice@example.net", "IP:192.0.2.7", "IP:2001:db8::7"])
    sample.serial = 7
    change(&sample)
    return sample
}

/// What the store that trusts `root` says of a certificate that `issuer` signed.
private func verdict(
    _ sample: SampleCertificate, issuer: SampleCertificate? = root, intermediates: [X509Certificate] = [], at seconds: Int64 = now,
    revocation: RevocationPolicy = .relaxed, lists: [RevocationList] = [], trusting authorities: [X509Certificate] = [rootCertificate]
) throws -> CertificateError? {
    let store = try TrustStore(authorities: authorities, revocationLists: lists)
    do throws(CertificateError) {
        try store.validate(sample.make(issuer: issuer), intermediates: intermediates, atSeconds: seconds, revocation: revocation)
        return nil
    } catch {
        return error
    }
}

@Suite struct CertificateTests {
    // MARK: Parsing

    @Test func certificate_whenRead_saysWhoWhenAndHow() throws {
        let certificate = leaf().make(issuer: root)
        #expect(DistinguishedName.text(der: certificate.subject) == "C=CH, O=Tandem, CN=alice")
        #expect(certificate.issuer == rootCertificate.subject && !certificate.isSelfIssued && rootCertificate.isSelfIssued)
        #expect(certificate.notBefore == SampleCertificate.validFrom && certificate.notAfter == SampleCertificate.validUntil)
        #expect(
            certificate.alternativeNames == [
                .dns("Alice.example.net"), .email("alice@example.net"), .address([192, 0, 2, 7]),
                .address([0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
            ])
        #expect(certificate.publicKey == .ecdsa(.p256) && !certificate.isAuthority && rootCertificate.isAuthority)
        #expect(SampleCertificate("CN=a", key: .rsa2048).make().publicKey == .rsa(bits: 2048))
        #expect(SampleCertificate("CN=a", key: .rsaPSS).make().publicKey == .rsaPSS(bits: 2048, hash: nil))
        #expect(SampleCertificate("CN=a", key: .rsaPSSSHA384).make(issuer: root).publicKey == .rsaPSS(bits: 2048, hash: .sha384))
        #expect(SampleCertificate("CN=a", key: .ed25519).make().publicKey == .ed25519)
        #expect(SampleCertificate("CN=a", key: .secp256k1).make().publicKey == .unsupported)
    }

    /// RFC 7296 §3.7: SHA-1 over the SubjectPublicKeyInfo, which of a P-256 key has 91 octets and ends the certificate's body.
    @Test func publicKeyHash_isOfTheWholeKeyInfo() throws {
        let certificate = SampleCertificate("CN=a", key: .p256).make()
        let prefix: [UInt8] = [0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01]
        let start = try #require((0..<certificate.der.count - 91).first { certificate.der[$0...].starts(with: prefix) })
        #expect(certificate.publicKeyHash == sha1(Array(certificate.der[start..<start + 91])))
        #expect(SampleKey.p256.signing.publicKeyHash == certificate.publicKeyHash)
    }

    @Test func certificate_whenTruncatedOrMutated_isRefusedOrReadButNeverTraps() throws {
        let der = leaf().der(issuer: root)
        for count in 0..<der.count {
            #expect(throws: CertificateError.badEncoding) { try X509Certificate(der: Array(der.prefix(count))) }
        }
        #expect(throws: CertificateError.badEncoding) { try X509Certificate(der: der + [0]) }
        let random = RandomSource.seeded(3)
        var refused = 0
        let store = try TrustStore(authorities: [rootCertificate])
        for _ in 0..<500 {
            var mutated = der
            mutated[Int(random.uint32()) % der.count] ^= UInt8(truncatingIfNeeded: random.uint32() | 1)
            guard let certificate = try? X509Certificate(der: mutated) else {
                refused += 1
                continue
            }
            #expect(throws: CertificateError.self) {
                try store.validate(certificate, intermediates: [], atSeconds: now, revocation: .relaxed)
            }
        }
        #expect(refused > 0)
    }

    @Test func files_inPEMAndDER_areRead() throws {
        let own = leaf().make(issuer: root)
        let texts = [rootCertificate, own].map { SampleCertificate.pem($0.der, label: "CERTIFICATE") }
        #expect(try X509Certificate.read(Array("text before\n\(texts[0])between\n\(texts[1])".utf8)) == [rootCertificate, own])
        #expect(try X509Certificate.read(rootCertificate.der) == [rootCertificate])
        let list = root.revocationListDER(revoking: [7])
        #expect(try RevocationList.read(list).count == 1)
        #expect(try RevocationList.read(Array(SampleCertificate.pem(list, label: "X509 CRL").utf8)).first?.der == list)
        for wrong in [[], Array("nonsense".utf8), Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8), list] {
            #expect(throws: CertificateError.badEncoding) { try X509Certificate.read(wrong) }
        }
    }

    // MARK: Chains

    @Test func chain_toAnAuthorityOfOurs_isValid() throws {
        #expect(try verdict(leaf()) == nil)
        for key in [SampleKey.rsa2048, .rsa3072, .p384, .p521, .ed25519] { #expect(try verdict(leaf { $0.key = key }) == nil) }
        let middle = SampleCertificate.authority("CN=Middle", key: .intermediate)
        let between = middle.make(issuer: root)
        #expect(try verdict(leaf(), issuer: middle, intermediates: [between]) == nil)
        #expect(try verdict(leaf(), issuer: middle) == .untrusted)
        #expect(try verdict(leaf(), issuer: middle, trusting: [between]) == nil, "an intermediate that the operator trusts")
    }

    @Test func chain_thatMustNotBeBelieved_saysWhy() throws {
        #expect(try verdict(leaf { $0.notAfter = now - 1 }) == .expired)
        #expect(try verdict(leaf(), at: SampleCertificate.validUntil + 1) == .expired)
        #expect(try verdict(leaf { $0.notBefore = now + 10 }) == .notYetValid)
        #expect(try verdict(leaf(), issuer: nil) == .selfSigned)
        #expect(try verdict(leaf(), issuer: .authority("CN=Other CA")) == .untrusted)
        #expect(try verdict(leaf(), issuer: .authority(key: .intermediate)) == .badSignature, "the CA's name with another key")
        #expect(try verdict(leaf { $0.key = .rsa1024 }) == .weakKey)
        #expect(try verdict(leaf { $0.key = .secp256k1 }) == .weakKey)
        #expect(try verdict(leaf { $0.usesSHA1 = true }) == .weakSignature)
        #expect(try verdict(leaf { $0.keyUsage = "critical,keyEncipherment" }) == .notAllowedForSigning)
        #expect(try verdict(leaf { $0.keyUsage = "critical,digitalSignature" }) == nil)
        #expect(try verdict(leaf(), trusting: []) == .untrusted)
    }

    @Test func intermediate_thatIsNoAuthority_issuesNothing() throws {
        var middle = SampleCertificate("CN=Middle", key: .intermediate)
        #expect(try verdict(leaf(), issuer: middle, intermediates: [middle.make(issuer: root)]) == .caConstraint)
        middle = .authority("CN=Middle", key: .intermediate)
        var short = SampleCertificate.authority()
        short.basicConstraints = "critical,CA:TRUE,pathlen:0"
        let anchor = short.make()
        #expect(try verdict(leaf(), issuer: middle, intermediates: [middle.make(issuer: short)], trusting: [anchor]) == .caConstraint)
        #expect(try verdict(leaf(), issuer: short, trusting: [anchor]) == nil)
    }

    @Test func chain_thatIsTooLong_isNotLookedAt() throws {
        let others = (1...8).map { SampleCertificate("CN=\($0)").make(issuer: root) }
        #expect(try verdict(leaf(), intermediates: others) == .tooMany)
        #expect(try verdict(leaf(), intermediates: Array(others.dropLast())) == nil)
    }

    @Test func pinnedCertificate_needsNoAuthority() throws {
        let alone = leaf().make()
        #expect(throws: Never.self) { try alone.validateAlone(atSeconds: now) }
        #expect(throws: CertificateError.expired) { try alone.validateAlone(atSeconds: alone.notAfter + 1) }
        #expect(throws: CertificateError.notYetValid) { try alone.validateAlone(atSeconds: alone.notBefore - 1) }
        #expect(throws: CertificateError.weakKey) { try leaf { $0.key = .rsa1024 }.make().validateAlone(atSeconds: now) }
    }

    // MARK: Revocation

    @Test func revokedCertificate_isRefusedByEveryPolicy() throws {
        for policy in RevocationPolicy.allCases {
            #expect(try verdict(leaf(), revocation: policy, lists: [root.revocationList(revoking: [7])]) == .revoked)
            #expect(try verdict(leaf(), revocation: policy, lists: [root.revocationList(revoking: [8])]) == nil)
        }
    }

    @Test func policies_differInWhatMustBeKnown() throws {
        let pointed = leaf { $0.revocationListURI = "http://crl.example.net/ca.crl" }
        let expired = root.revocationList(revoking: [], until: now - 1)
        for (sample, lists, strict, ifURI) in [
            (leaf(), [], CertificateError.crlMissing, CertificateError?.none), (pointed, [], .crlMissing, .crlMissing),
            (leaf(), [expired], .crlExpired, nil), (pointed, [expired], .crlExpired, .crlExpired),
        ] {
            #expect(try verdict(sample, revocation: .strict, lists: lists) == strict)
            #expect(try verdict(sample, revocation: .ifURI, lists: lists) == ifURI)
            #expect(try verdict(sample, revocation: .relaxed, lists: lists) == nil)
        }
        #expect(try verdict(leaf(), lists: [root.revocationList(revoking: [7], until: now - 1)]) == .revoked, "known to be bad")
    }

    @Test func revocationList_ofAnotherKey_isNotBelieved() throws {
        let forged = root.revocationList(revoking: [], signedBy: .intermediate)
        #expect(try verdict(leaf(), revocation: .strict, lists: [forged]) == .crlInvalid)
    }

    @Test func revokedIntermediate_endsTheChain() throws {
        var middle = SampleCertificate.authority("CN=Middle", key: .intermediate)
        middle.serial = 99
        let lists = [root.revocationList(revoking: [99]), middle.revocationList(revoking: [])]
        let between = middle.make(issuer: root)
        #expect(try verdict(leaf(), issuer: middle, intermediates: [between], revocation: .strict, lists: lists) == .revoked)
        #expect(
            try verdict(leaf(), issuer: middle, intermediates: [between], revocation: .strict, lists: [lists[1]]) == .crlMissing)
        #expect(
            try verdict(leaf(), issuer: middle, revocation: .strict, lists: [lists[1]], trusting: [between]) == nil,
            "an anchor is not asked for")
    }

    // MARK: Names

    @Test func identity_isConfirmedByTheCertificateOrNot() throws {
        let certificate = leaf().make(issuer: root)
        func text(_ text: String) -> [UInt8] { Array(text.utf8) }
        #expect(certificate.names(kind: 2, data: text("alice.EXAMPLE.net")))
        #expect(certificate.names(kind: 3, data: text("alice@example.net")))
        #expect(certificate.names(kind: 3, data: text("alice@EXAMPLE.net")) && !certificate.names(kind: 3, data: text("Alice@example.net")))
        #expect(certificate.names(kind: 1, data: [192, 0, 2, 7]))
        #expect(certificate.names(kind: 5, data: [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7]))
        #expect(certificate.names(kind: 9, data: certificate.subject))
        #expect(certificate.names(kind: 9, data: try #require(DistinguishedName.der(text: "C=CH, O=TANDEM, CN=Alice"))))
        let wrong: [(UInt8, [UInt8])] = [
            (2, text("bob.example.net")), (2, text("alice")), (2, text("alice.example.net\0")), (2, []), (3, text("alice.example.net")),
            (2, text("alice@example.net")), (1, [192, 0, 2, 8]), (1, [192, 0, 2]), (5, [192, 0, 2, 7]), (9, rootCertificate.subject),
            (9, []), (9, [0x30]), (11, text("alice.example.net")), (0, []),
        ]
        for (kind, data) in wrong { #expect(!certificate.names(kind: kind, data: data), "\(kind) \(data)") }
        let wild = SampleCertificate("CN=w", names: ["DNS:*.example.net"]).make(issuer: root)
        #expect(!wild.names(kind: 2, data: text("gw.example.net")))
    }

    @Test func distinguishedName_fromTextAndBack_isTheSame() throws {
        for text in ["C=CH, O=Tandem, CN=gw", "DC=net, DC=example, OU=a\\, b, CN=x \\\\ y", "CN=Zürich, E=a@example.net, serialNumber=7"] {
            let der = try #require(DistinguishedName.der(text: text))
            #expect(DistinguishedName.text(der: der) == text)
        }
        let golden: [UInt8] = [0x30, 0x0D, 0x31, 0x0B, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, 0x43, 0x48]
        #expect(DistinguishedName.der(text: "C=CH") == golden)
        #expect(DistinguishedName.der(text: "/C=CH/CN=a") == DistinguishedName.der(text: "c=CH,cn=a"))
        for wrong in ["", "gw", "X=1", "C=CHE", "CN=", "C=CH,", "CN"] { #expect(DistinguishedName.der(text: wrong) == nil, "\(wrong)") }
        // What is shown can be read again; a control character cannot be shown, and is not read either.
        for text in ["O=\\ ", "O=\\ \\ a b\\ ", "O=a\\,\\\\"] {
            #expect(DistinguishedName.der(text: text).flatMap { DistinguishedName.text(der: $0) } == text)
        }
        for control in ["\0", "\n", "\r\n", "\u{1B}", "\u{9B}"] { #expect(DistinguishedName.der(text: "O=a\(control)") == nil) }
        #expect(DistinguishedName.text(der: golden + [0]) == nil && DistinguishedName.text(der: []) == nil)
        #expect(!DistinguishedName.areEqual([], []))
    }
}
