/// Why a certificate, a chain or a signature is not believed. The raw value is for people.
public enum CertificateError: String, Error, Hashable, Sendable {
    case badEncoding = "the certificate is not DER as RFC 5280 has it"
    case tooMany = "more certificates than a chain may have"
    case expired = "the certificate has expired"
    case notYetValid = "the certificate is not valid yet"
    case revoked = "the certificate is revoked"
    case untrusted = "no trusted authority issued the certificate"
    case selfSigned = "the certificate is self-signed and not pinned"
    case badSignature = "the signature of an issuer is wrong"
    case weakKey = "a public key is too short, or of a kind that is not taken"
    case weakSignature = "a certificate is signed with a hash that is not taken"
    case notAllowedForSigning = "the key usage of the certificate does not allow signatures"
    case crlMissing = "there is no revocation list for the certificate"
    case crlExpired = "the revocation list has expired"
    case crlInvalid = "the revocation list is not its issuer's, not valid yet, or not for this certificate"
    case caConstraint = "an issuer is no authority, or not for this certificate"
    case unsupportedExtension = "a critical extension is not known"
}

/// What chains of certificates may be: a peer who is not yet authenticated makes us look at them.
public enum CertificateLimits {
    /// Certificates of one peer, its own among them. Public authorities use three or four.
    public static let countMax = 8
    /// Octets of them together: no IKE message holds more.
    public static let octetsMax = 65_536
    /// The shortest RSA key that is believed (RFC 8247 §4.1.1 leaves shorter ones to the past).
    public static let rsaBitsMin = 2048
    /// The longest: from here on a check costs more than a key exchange.
    public static let rsaBitsMax = 8192
}
