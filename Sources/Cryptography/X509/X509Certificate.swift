import COpenSSL

/// A certificate (RFC 5280), parsed once and never changed.
public final class X509Certificate: Sendable {
    /// A further name of the subject (RFC 5280 §4.2.1.6), of the kinds that IKE can ask for.
    public enum AlternativeName: Hashable, Sendable {
        case dns(String)
        case email(String)
        /// 4 or 16 octets.
        case address([UInt8])
        /// DER.
        case directory([UInt8])
    }

    /// Octets as they came.
    public let der: [UInt8]
    /// Distinguished names in DER.
    public let subject: [UInt8]
    public let issuer: [UInt8]
    public let alternativeNames: [AlternativeName]
    /// Seconds since 1970, both inclusive.
    public let notBefore: Int64
    public let notAfter: Int64
    public let publicKey: PublicKeyKind
    /// SHA-1 of the SubjectPublicKeyInfo, by which a CERTREQ names an authority (RFC 7296 §3.7).
    public let publicKeyHash: [UInt8]
    /// libcrypto's reference counts are atomic; what it caches of extensions was cached in `init`.
    nonisolated(unsafe) let pointer: OpaquePointer

    /// - Throws: `badEncoding` unless `der` is one whole certificate of at most `CertificateLimits.octetsMax` octets.
    public convenience init(der: [UInt8]) throws(CertificateError) {
        guard (1...CertificateLimits.octetsMax).contains(der.count) else { throw .badEncoding }
        let parsed = der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
            var next = buffer.baseAddress
            guard let certificate = d2i_X509(nil, &next, buffer.count) else { return nil }
            guard next == buffer.baseAddress! + buffer.count else {
                X509_free(certificate)
                return nil
            }
            return certificate
        }
        ERR_clear_error()
        guard let parsed else { throw .badEncoding }
        try self.init(adopting: parsed, der: der)
    }

    private init(adopting pointer: OpaquePointer, der: [UInt8]) throws(CertificateError) {
        self.pointer = pointer
        self.der = der
        subject = X509Name.der(of: X509_get_subject_name(pointer))
        issuer = X509Name.der(of: X509_get_issuer_name(pointer))
        notBefore = secondsSince1970(X509_get0_notBefore(pointer)) ?? .max
        notAfter = secondsSince1970(X509_get0_notAfter(pointer)) ?? .min
        publicKey = X509_get0_pubkey(pointer).map { PublicKeyKind($0) } ?? .unsupported
        publicKeyHash = X509Certificate.hashOfPublicKey(pointer)
        let names = X509Certificate.names(pointer)
        alternativeNames = names ?? []
        // Caches the extensions, and says whether they can be read.
        let isReadable = X509_check_purpose(pointer, -1, 0) == 1
        ERR_clear_error()
        guard isReadable, names != nil, !publicKeyHash.isEmpty, notBefore <= notAfter, subject.count <= DistinguishedName.octetsMax,
            issuer.count <= DistinguishedName.octetsMax
        else { throw .badEncoding }
    }

    deinit { X509_free(pointer) }

    /// The certificates of a file: any number in PEM, or one in DER.
    ///
    /// - Throws: `badEncoding` if there is none, or one that cannot be read; `tooMany` beyond `CertificateLimits.octetsMax` in all.
    public static func read(_ bytes: [UInt8]) throws(CertificateError) -> [X509Certificate] {
        guard !PEM.isPEM(bytes) else {
            let blocks = try PEM.blocks(bytes, labels: ["CERTIFICATE", "X509 CERTIFICATE"])
            var found: [X509Certificate] = []
            for block in blocks { found.append(try X509Certificate(der: block)) }
            guard !found.isEmpty else { throw .badEncoding }
            return found
        }
        return [try X509Certificate(der: bytes)]
    }

    /// Subject and issuer are the same: the end of a chain.
    public var isSelfIssued: Bool { X509_NAME_cmp(X509_get_subject_name(pointer), X509_get_issuer_name(pointer)) == 0 }

    /// May issue certificates (RFC 5280 §4.2.1.9).
    public var isAuthority: Bool { X509_check_ca(pointer) != 0 }

    /// Key usage allows the signature of an AUTH payload: RFC 4945 §5.1.3.2 takes nonRepudiation for it as well.
    public var isAllowedForSigning: Bool { X509_get_key_usage(pointer) & UInt32(KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION) != 0 }

    public func isValid(atSeconds now: Int64) -> Bool { (notBefore...notAfter).contains(now) }

    private static func hashOfPublicKey(_ certificate: OpaquePointer) -> [UInt8] {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &start)
        defer { CRYPTO_free(start, nil, 0) }
        return count > 0 ? sha1(Array(UnsafeBufferPointer(start: start, count: Int(count)))) : []
    }

    /// `nil` if the extension is there and cannot be read.
    private static func names(_ certificate: OpaquePointer) -> [AlternativeName]? {
        var critical: Int32 = 0
        guard let raw = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nil) else { return critical == -1 ? [] : nil }
        let names = OpaquePointer(raw)
        defer { GENERAL_NAMES_free(names) }
        return (0..<OPENSSL_sk_num(names)).compactMap { index in
            OPENSSL_sk_value(names, index).flatMap { AlternativeName($0.assumingMemoryBound(to: GENERAL_NAME.self).pointee) }
        }
    }
}

extension X509Certificate: Hashable {
    public static func == (left: X509Certificate, right: X509Certificate) -> Bool { left === right || left.der == right.der }
    public func hash(into hasher: inout Hasher) { hasher.combine(publicKeyHash) }
}

extension X509Certificate: CustomStringConvertible {
    public var description: String { DistinguishedName.text(der: subject) ?? "a certificate without a subject" }
}

extension X509Certificate.AlternativeName {
    fileprivate init?(_ name: GENERAL_NAME) {
        switch name.type {
        case GEN_DNS: self = .dns(String(decoding: octets(name.d.dNSName), as: UTF8.self))
        case GEN_EMAIL: self = .email(String(decoding: octets(name.d.rfc822Name), as: UTF8.self))
        case GEN_IPADD: self = .address(octets(name.d.iPAddress))
        case GEN_DIRNAME: self = .directory(X509Name.der(of: name.d.directoryName))
        default: return nil
        }
    }
}

private func octets(_ string: UnsafePointer<ASN1_STRING>?) -> [UInt8] {
    Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string))))
}

/// `nil` for what is no time.
func secondsSince1970(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
    guard let time, let epoch = ASN1_TIME_set(nil, 0) else { return nil }
    defer { ASN1_STRING_free(epoch) }
    var days: Int32 = 0
    var seconds: Int32 = 0
    guard ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else {
        ERR_clear_error()
        return nil
    }
    return Int64(days) * 86400 + Int64(seconds)
}
