import COpenSSL

/// The key and certificate by which a node is known to the other node of its pair: P-256, self-signed, pinned.
public enum PairIdentity {
    /// The longest common name (RFC 5280 appendix A.1, ub-common-name).
    public static let nameCountMax = 64
    /// A hundred years: more is a slip of the finger.
    public static let validDaysMax = 36500

    /// - Parameters:
    ///   - name: common name and DNS name; letters, digits, `.`, `-` and `_` only.
    ///   - validDays: from now on; the certificate is valid from a day ago, for clocks that differ.
    /// - Returns: both as PEM; the key is not encrypted.
    /// - Throws: `badEncoding` for another name or number of days.
    public static func generate(
        name: String, validDays: Int
    ) throws(CryptographyError) -> (certificatePEM: String, keyPEM: SecretBytes) {
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isPlain, (1...nameCountMax).contains(name.utf8.count), (1...validDaysMax).contains(validDays) else { throw .badEncoding }
        let key = AsymmetricKey(adopting: try require(copenssl_generate_p256(), "key pair"))
        let certificate = try Certificate()
        try fill(certificate, name: name, validDays: validDays, key: key)
        guard X509_sign(certificate.pointer, key.pointer, EVP_sha256()) > 0 else { throw .fromLibrary("signature") }
        return (String(decoding: try pem(of: certificate).copyBytes(), as: UTF8.self), try pem(of: key))
    }

    private static func fill(
        _ certificate: borrowing Certificate, name: String, validDays: Int, key: borrowing AsymmetricKey
    ) throws(CryptographyError) {
        let x509 = certificate.pointer
        try require(X509_set_version(x509, Int(X509_VERSION_3)), "certificate")
        // Positive, and not used before.
        try require(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), RandomSource.system.uint64() >> 1), "serial number")
        guard X509_time_adj_ex(X509_getm_notBefore(x509), -1, 0, nil) != nil,
            X509_time_adj_ex(X509_getm_notAfter(x509), Int32(validDays), 0, nil) != nil
        else { throw .fromLibrary("validity of \(validDays) days") }
        let subject = X509_get_subject_name(x509)
        try require(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, name, -1, -1, 0), "name")
        try require(X509_set_issuer_name(x509, subject), "name")
        try require(X509_set_pubkey(x509, key.pointer), "public key")
        try require(copenssl_add_extension(x509, NID_basic_constraints, "critical,CA:FALSE"), "basic constraints")
        try require(copenssl_add_extension(x509, NID_ext_key_usage, "serverAuth,clientAuth"), "key usage")
        try require(copenssl_add_extension(x509, NID_subject_alt_name, "DNS:\(name)"), "alternative name")
    }

    private static func pem(of certificate: borrowing Certificate) throws(CryptographyError) -> SecretBytes {
        let bio = try MemoryIO()
        try require(PEM_write_bio_X509(bio.pointer, certificate.pointer), "PEM")
        return bio.written
    }

    private static func pem(of key: borrowing AsymmetricKey) throws(CryptographyError) -> SecretBytes {
        let bio = try MemoryIO()
        try require(PEM_write_bio_PrivateKey(bio.pointer, key.pointer, nil, nil, 0, nil, nil), "PEM")
        return bio.written
    }
}

/// What only the two nodes of a pair know, without a message: static Diffie-Hellman between their P-256 keys, then HKDF
/// over both public keys. The keys of heartbeats and cookies come from it.
///
/// - Returns: 32 octets, the same on both nodes.
/// - Throws: `badEncoding` if a PEM text cannot be read; `badPublicValue` if a key is not a P-256 key.
public func pairSecret(ownKeyPEM: SecretBytes, peerCertificatePEM: String) throws(CryptographyError) -> SecretBytes {
    let own = try AsymmetricKey(privatePEM: ownKeyPEM)
    let peer = try Certificate(pem: peerCertificatePEM).publicKey()
    let ownPoint = try own.p256Point()
    let peerPoint = try peer.p256Point()
    let shared = try own.derive(with: peer, count: 32)
    let isOwnFirst = ownPoint.lexicographicallyPrecedes(peerPoint)
    let info = Array("tandem pair v1".utf8) + (isOwnFirst ? ownPoint + peerPoint : peerPoint + ownPoint)
    return hkdfSHA256(secret: shared, salt: [], info: info, count: 32)
}

extension AsymmetricKey {
    /// 04 || x || y, if it is a P-256 key.
    fileprivate func p256Point() throws(CryptographyError) -> [UInt8] {
        var name = [CChar](repeating: 0, count: 64)
        var nameCount = 0
        let isCurve = EVP_PKEY_get_group_name(pointer, &name, name.count, &nameCount) == 1
        let isP256 = isCurve && name.prefix(nameCount).map { UInt8(bitPattern: $0) } == Array(SN_X9_62_prime256v1.utf8)
        var point = [UInt8](repeating: 0, count: 65)
        var count = 0
        guard isP256, EVP_PKEY_get_octet_string_param(pointer, OSSL_PKEY_PARAM_PUB_KEY, &point, point.count, &count) == 1,
            count == point.count
        else {
            ERR_clear_error()
            throw .badPublicValue
        }
        return point
    }
}
