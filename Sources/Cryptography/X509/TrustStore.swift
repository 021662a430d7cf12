import COpenSSL

/// Authorities that are trusted, and their revocation lists; what peers send is judged by them alone.
public final class TrustStore: Sendable {
    public let authorities: [X509Certificate]
    public let revocationLists: [RevocationList]
    /// Filled in `init`, only looked up in later; libcrypto locks it.
    nonisolated(unsafe) private let store: OpaquePointer

    /// - Throws: `library` if libcrypto fails.
    public init(authorities: [X509Certificate], revocationLists: [RevocationList] = []) throws(CryptographyError) {
        self.authorities = authorities
        self.revocationLists = revocationLists
        store = try require(X509_STORE_new(), "trust store")
        for certificate in authorities { try require(X509_STORE_add_cert(store, certificate.pointer), "trust store") }
        for list in revocationLists { try require(X509_STORE_add_crl(store, list.pointer), "trust store") }
    }

    deinit { X509_STORE_free(store) }

    /// Checks a certificate and its way to an authority of ours (RFC 5280 §6), and that none of them is too weak.
    ///
    /// - Parameters:
    ///   - intermediates: what else the peer sent; believed only as far as an authority of ours vouches for it.
    ///   - seconds: the time, since 1970.
    public func validate(
        _ certificate: X509Certificate, intermediates: [X509Certificate], atSeconds seconds: Int64, revocation: RevocationPolicy
    ) throws(CertificateError) {
        guard intermediates.count < CertificateLimits.countMax,
            intermediates.reduce(certificate.der.count, { $0 + $1.der.count }) <= CertificateLimits.octetsMax
        else { throw .tooMany }
        // Before any signature is checked: a key that is too long is a way to keep us busy.
        for candidate in [certificate] + intermediates where !candidate.publicKey.isAcceptable { throw .weakKey }
        guard certificate.isAllowedForSigning else { throw .notAllowedForSigning }
        let check = try ChainCheck(store: store, leaf: certificate, intermediates: intermediates)
        try check.run(atSeconds: seconds, revocation: revocation)
    }
}

extension TrustStore: Hashable {
    public static func == (left: TrustStore, right: TrustStore) -> Bool {
        left === right || (left.authorities == right.authorities && left.revocationLists == right.revocationLists)
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(authorities) }
}

extension X509Certificate {
    /// What can be said of a certificate that is trusted by itself, because it is pinned: time, strength and use.
    public func validateAlone(atSeconds seconds: Int64) throws(CertificateError) {
        guard publicKey.isAcceptable else { throw .weakKey }
        guard isAllowedForSigning else { throw .notAllowedForSigning }
        guard notBefore <= seconds else { throw .notYetValid }
        guard seconds <= notAfter else { throw .expired }
    }
}

/// One run of libcrypto's path validation.
private final class ChainCheck {
    private let context: OpaquePointer
    private let untrusted: OpaquePointer
    private let leaf: X509Certificate
    private let intermediates: [X509Certificate]

    init(store: OpaquePointer, leaf: X509Certificate, intermediates: [X509Certificate]) throws(CertificateError) {
        guard let context = X509_STORE_CTX_new() else { throw .badEncoding }
        guard let untrusted = OPENSSL_sk_new_null() else {
            X509_STORE_CTX_free(context)
            throw .badEncoding
        }
        self.context = context
        self.untrusted = untrusted
        // The stack only borrows them.
        self.leaf = leaf
        self.intermediates = intermediates
        for certificate in intermediates { OPENSSL_sk_push(untrusted, UnsafeRawPointer(certificate.pointer)) }
        let isReady = X509_STORE_CTX_init(context, store, leaf.pointer, untrusted) == 1
        ERR_clear_error()
        guard isReady else { throw .badEncoding }
    }

    deinit {
        X509_STORE_CTX_free(context)
        OPENSSL_sk_free(untrusted)
        withExtendedLifetime((leaf, intermediates)) {}
    }

    func run(atSeconds seconds: Int64, revocation: RevocationPolicy) throws(CertificateError) {
        let parameters = X509_STORE_CTX_get0_param(context)
        X509_VERIFY_PARAM_set_time(parameters, time_t(seconds))
        X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_ANY)
        X509_VERIFY_PARAM_set_depth(parameters, Int32(CertificateLimits.countMax))
        // An intermediate authority that the operator names is trusted as it stands. Lists are looked for all along the chain.
        let flags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL
        X509_VERIFY_PARAM_set_flags(parameters, UInt(flags))
        // Without it the callback would not know what is tolerated.
        guard X509_STORE_CTX_set_ex_data(context, 0, revocation.tag) == 1 else { throw .badEncoding }
        X509_STORE_CTX_set_verify_cb(context) { result, context in
            result == 1 || RevocationPolicy.tolerates(context) ? 1 : 0
        }
        let isValid = X509_verify_cert(context) == 1
        let error = X509_STORE_CTX_get_error(context)
        ERR_clear_error()
        // What the callback has let pass stays noted as the last error of a chain that is valid.
        guard isValid else { throw CertificateError(verification: error) }
        try checkStrength()
    }

    /// The end of the chain is trusted by the operator's word, so that nobody relies on its signature.
    private func checkStrength() throws(CertificateError) {
        let chain = X509_STORE_CTX_get0_chain(context)
        let count = OPENSSL_sk_num(chain)
        for index in 0..<count {
            let certificate = OPENSSL_sk_value(chain, index).map { OpaquePointer($0) }
            guard PublicKeyKind(X509_get0_pubkey(certificate)).isAcceptable else { throw .weakKey }
            guard index + 1 == count || isStrongSignature(certificate) else { throw .weakSignature }
        }
    }

    private func isStrongSignature(_ certificate: OpaquePointer?) -> Bool {
        var digest: Int32 = 0
        var key: Int32 = 0
        guard X509_get_signature_info(certificate, &digest, &key, nil, nil) == 1 else {
            ERR_clear_error()
            return false
        }
        return [NID_sha256, NID_sha384, NID_sha512].contains(digest) || key == NID_ED25519
    }
}

extension RevocationPolicy {
    /// Carried through libcrypto as a number in a pointer's place.
    fileprivate var tag: UnsafeMutableRawPointer? {
        switch self {
        case .relaxed: nil
        case .ifURI: UnsafeMutableRawPointer(bitPattern: 1)
        case .strict: UnsafeMutableRawPointer(bitPattern: 2)
        }
    }

    /// Whether the error that libcrypto is about to report is none to us: a list that cannot tell, where none has to be.
    fileprivate static func tolerates(_ context: OpaquePointer?) -> Bool {
        switch X509_STORE_CTX_get_error(context) {
        case X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
            X509_V_ERR_DIFFERENT_CRL_SCOPE:
            break
        default: return false
        }
        let depth = X509_STORE_CTX_get_error_depth(context)
        // Nobody revokes the authority where the chain ends: the operator trusts it.
        if depth > 0, depth + 1 == OPENSSL_sk_num(X509_STORE_CTX_get0_chain(context)) { return true }
        switch X509_STORE_CTX_get_ex_data(context, 0) {
        case RevocationPolicy.relaxed.tag: return true
        case RevocationPolicy.ifURI.tag:
            return X509_get_ext_by_NID(X509_STORE_CTX_get_current_cert(context), NID_crl_distribution_points, -1) < 0
        default: return false
        }
    }
}

extension CertificateError {
    /// From the X509_V_ERR_ number of a chain that is not valid.
    fileprivate init(verification code: Int32) {
        switch code {
        case X509_V_ERR_CERT_HAS_EXPIRED: self = .expired
        case X509_V_ERR_CERT_NOT_YET_VALID: self = .notYetValid
        case X509_V_ERR_CERT_REVOKED: self = .revoked
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: self = .selfSigned
        case X509_V_ERR_CERT_SIGNATURE_FAILURE, X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: self = .badSignature
        case X509_V_ERR_CERT_CHAIN_TOO_LONG: self = .tooMany
        case X509_V_ERR_UNABLE_TO_GET_CRL: self = .crlMissing
        case X509_V_ERR_CRL_HAS_EXPIRED: self = .crlExpired
        case X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_CRL_SIGNATURE_FAILURE, X509_V_ERR_KEYUSAGE_NO_CRL_SIGN,
            X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, X509_V_ERR_DIFFERENT_CRL_SCOPE, X509_V_ERR_CRL_PATH_VALIDATION_ERROR,
            X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE,
            X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD, X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
            self = .crlInvalid
        case X509_V_ERR_INVALID_CA, X509_V_ERR_PATH_LENGTH_EXCEEDED, X509_V_ERR_INVALID_PURPOSE, X509_V_ERR_KEYUSAGE_NO_CERTSIGN,
            X509_V_ERR_PERMITTED_VIOLATION, X509_V_ERR_EXCLUDED_VIOLATION, X509_V_ERR_SUBTREE_MINMAX,
            X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE, X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX, X509_V_ERR_UNSUPPORTED_NAME_SYNTAX:
            self = .caConstraint
        case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION: self = .unsupportedExtension
        case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD, X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD: self = .badEncoding
        default: self = .untrusted
        }
    }
}
