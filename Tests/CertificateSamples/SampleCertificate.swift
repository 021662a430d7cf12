import COpenSSL
public import Cryptography

/// A certificate to be made by libcrypto for a test.
public struct SampleCertificate: Sendable {
    /// From 2023-07 on.
    public static let validFrom: Int64 = 1_690_000_000
    /// Until 2096: longer than any test, in virtual and in real time.
    public static let validUntil: Int64 = 4_000_000_000

    public var subject: String
    /// As in OpenSSL's configuration: `DNS:gw.example.net`, `email:`, `IP:`.
    public var alternativeNames: [String]
    public var notBefore = SampleCertificate.validFrom
    public var notAfter = SampleCertificate.validUntil
    public var key: SampleKey
    public var basicConstraints: String?
    public var keyUsage: String?
    public var revocationListURI: String?
    public var usesSHA1 = false
    public var serial: UInt64 = 1

    public init(_ subject: String, names: [String] = [], key: SampleKey = .p256) {
        self.subject = subject
        alternativeNames = names
        self.key = key
    }

    public static func authority(_ subject: String = "C=CH, O=Tandem, CN=Test CA", key: SampleKey = .authority) -> SampleCertificate {
        var sample = SampleCertificate(subject, key: key)
        sample.basicConstraints = "critical,CA:TRUE"
        sample.keyUsage = "critical,keyCertSign,cRLSign"
        return sample
    }

    /// The certificate, signed by `issuer`, or by itself.
    public func make(issuer: SampleCertificate? = nil) -> X509Certificate { try! X509Certificate(der: der(issuer: issuer)) }

    public func der(issuer: SampleCertificate? = nil) -> [UInt8] {
        let certificate = X509_new()!
        defer { X509_free(certificate) }
        X509_set_version(certificate, Int(X509_VERSION_3))
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial)
        set(X509_getm_notBefore(certificate), notBefore)
        set(X509_getm_notAfter(certificate), notAfter)
        withName(subject) { _ = X509_set_subject_name(certificate, $0) }
        withName((issuer ?? self).subject) { _ = X509_set_issuer_name(certificate, $0) }
        X509_set_pubkey(certificate, key.pointer)
        add(certificate, NID_basic_constraints, basicConstraints)
        add(certificate, NID_key_usage, keyUsage)
        add(certificate, NID_subject_alt_name, alternativeNames.isEmpty ? nil : alternativeNames.joined(separator: ","))
        add(certificate, NID_crl_distribution_points, revocationListURI.map { "URI:\($0)" })
        let signer = (issuer ?? self).key
        X509_sign(certificate, signer.pointer, digest(for: signer))
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509(certificate, &start)
        defer { CRYPTO_free(start, nil, 0) }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    /// The certificate as a file in PEM.
    public func pem(issuer: SampleCertificate? = nil) -> String { SampleCertificate.pem(der(issuer: issuer), label: "CERTIFICATE") }

    /// A revocation list of this authority.
    public func revocationList(
        revoking serials: [UInt64], from: Int64 = SampleCertificate.validFrom, until: Int64 = SampleCertificate.validUntil,
        signedBy other: SampleKey? = nil
    ) -> RevocationList {
        try! RevocationList(der: revocationListDER(revoking: serials, from: from, until: until, signedBy: other))
    }

    public func revocationListDER(
        revoking serials: [UInt64], from: Int64 = SampleCertificate.validFrom, until: Int64 = SampleCertificate.validUntil,
        signedBy other: SampleKey? = nil
    ) -> [UInt8] {
        let list = X509_CRL_new()!
        defer { X509_CRL_free(list) }
        X509_CRL_set_version(list, 1)
        withName(subject) { _ = X509_CRL_set_issuer_name(list, $0) }
        let (last, next) = (ASN1_TIME_set(nil, time_t(from)), ASN1_TIME_set(nil, time_t(until)))
        X509_CRL_set1_lastUpdate(list, last)
        X509_CRL_set1_nextUpdate(list, next)
        for serial in serials {
            let number = ASN1_INTEGER_new()
            ASN1_INTEGER_set_uint64(number, serial)
            let revoked = X509_REVOKED_new()
            X509_REVOKED_set_serialNumber(revoked, number)
            X509_REVOKED_set_revocationDate(revoked, last)
            X509_CRL_add0_revoked(list, revoked)
            ASN1_INTEGER_free(number)
        }
        ASN1_STRING_free(last)
        ASN1_STRING_free(next)
        X509_CRL_sort(list)
        let signer = other ?? key
        X509_CRL_sign(list, signer.pointer, digest(for: signer))
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509_CRL(list, &start)
        defer { CRYPTO_free(start, nil, 0) }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    public static func pem(_ der: [UInt8], label: String) -> String {
        let bio = BIO_new(BIO_s_mem())
        defer { BIO_free(bio) }
        PEM_write_bio(bio, label, "", der, der.count)
        return String(decoding: bytes(of: bio), as: UTF8.self)
    }

    private func digest(for signer: SampleKey) -> OpaquePointer? {
        if EVP_PKEY_get_base_id(signer.pointer) == EVP_PKEY_ED25519 { return nil }
        return usesSHA1 ? EVP_sha1() : EVP_sha256()
    }

    private func set(_ time: UnsafeMutablePointer<ASN1_TIME>?, _ seconds: Int64) { ASN1_TIME_set(time, time_t(seconds)) }

    private func add(_ certificate: OpaquePointer, _ nid: Int32, _ value: String?) {
        guard let value else { return }
        precondition(copenssl_add_extension(certificate, nid, value) == 1, "no extension \(value)")
    }

    private func withName(_ text: String, _ body: (OpaquePointer?) -> Void) {
        let der = DistinguishedName.der(text: text)!
        der.withUnsafeBufferPointer { buffer in
            var next = buffer.baseAddress
            let name = d2i_X509_NAME(nil, &next, buffer.count)
            body(name)
            X509_NAME_free(name)
        }
    }
}
