import Cryptography

extension FuzzTarget {
    /// Certificates and revocation lists, in DER and in PEM, and names of subjects: a peer sends its own, and an operator's file may hold
    /// anything.
    static let certificates = FuzzTarget(
        name: "certificates", lengthMax: 4096, seeds: { certificateSeeds() },
        run: { bytes in
            var input = FuzzInput(bytes)
            switch input.octet() % 5 {
            case 0:
                if let certificate = try? X509Certificate(der: input.all()) { try check(certificate) }
            case 1:
                for certificate in (try? X509Certificate.read(input.all())) ?? [] { try check(certificate) }
            case 2:
                for list in (try? RevocationList.read(input.all())) ?? [] { try check(list) }
            case 3: try checkName(der: input.all())
            default: try checkName(text: String(decoding: input.all(), as: UTF8.self))
            }
        })

    private static func check(_ certificate: X509Certificate) throws {
        try require((try? X509Certificate(der: certificate.der)) == certificate, "read again it is another")
        try require(certificate.notBefore <= certificate.notAfter, "it ends before it begins")
        _ = certificate.description
        _ = (certificate.isSelfIssued, certificate.isAuthority, certificate.isAllowedForSigning)
        for scheme in SignatureScheme.allCases {
            try require(!certificate.verifies([1, 2, 3], of: [4, 5], scheme: scheme), "three octets are a signature by \(scheme)")
        }
        for kind: UInt8 in [1, 2, 3, 5, 9] { _ = certificate.names(kind: kind, data: certificate.subject) }
        // Judged as its own authority, and as a stranger's.
        for authorities in [[certificate], []] {
            guard let store = try? TrustStore(authorities: authorities) else { continue }
            for policy in RevocationPolicy.allCases {
                let isValid = isValid(certificate, in: store, policy)
                try require(!isValid || !authorities.isEmpty, "valid, and nobody vouches for it")
            }
        }
    }

    private static func isValid(_ certificate: X509Certificate, in store: TrustStore, _ policy: RevocationPolicy) -> Bool {
        do throws(CertificateError) {
            try store.validate(certificate, intermediates: [certificate], atSeconds: certificate.notBefore, revocation: policy)
            return true
        } catch {
            return false
        }
    }

    private static func check(_ list: RevocationList) throws {
        try require((try? RevocationList(der: list.der)) == list, "read again it is another")
        _ = try? TrustStore(authorities: [], revocationLists: [list])
        _ = DistinguishedName.text(der: list.issuer)
    }

    private static func checkName(der: [UInt8]) throws {
        guard let text = DistinguishedName.text(der: der) else { return }
        try require(DistinguishedName.areEqual(der, der), "\(text) is not itself")
    }

    /// What is written can be read again, and means the same.
    private static func checkName(text: String) throws {
        guard let der = DistinguishedName.der(text: text) else { return }
        try require(der.count <= DistinguishedName.octetsMax, "\(der.count) octets")
        guard let shown = DistinguishedName.text(der: der) else { throw FuzzFailure(description: "\(text) cannot be shown") }
        guard let again = DistinguishedName.der(text: shown) else { throw FuzzFailure(description: "\(shown) cannot be read") }
        try require(DistinguishedName.areEqual(der, again), "\(text) is shown as \(shown)")
    }

    /// A name, texts of names, and what PEM looks like. Whole certificates and lists are in the corpus.
    private static func certificateSeeds() -> [[UInt8]] {
        let name: [UInt8] = [
            0x30, 0x1D, 0x31, 0x0B, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, 0x43, 0x48, 0x31, 0x0E, 0x30, 0x0C, 0x06, 0x03,
            0x55, 0x04, 0x03, 0x0C, 0x05, 0x61, 0x6C, 0x69, 0x63, 0x65,
        ]
        let texts = ["C=CH, O=Tandem, CN=gw", "/C=CH/O=Tandem/CN=gw", "CN=a\\, b, E=x@example.net", "OU==, CN=\\"]
        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
        let list = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"
        return [[3] + name, [0] + name, [1] + Array(pem.utf8), [2] + Array(list.utf8)] + texts.map { [4] + Array($0.utf8) }
    }
}
