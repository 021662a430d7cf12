import COpenSSL

extension SigningKey {
    /// Signs a message.
    ///
    /// The numbers that ECDSA and PSS draw come from libcrypto's own generator and are no argument: whoever could repeat one of ECDSA
    /// would give the key away.
    ///
    /// - Throws: `badKeyLength` if the scheme is not for keys of this kind.
    public func sign(_ message: [UInt8], scheme: SignatureScheme) throws(CryptographyError) -> [UInt8] {
        guard scheme.fits(kind) else { throw .badKeyLength }
        let context = try require(EVP_MD_CTX_new(), "signature")
        defer { EVP_MD_CTX_free(context) }
        var keyContext: OpaquePointer?
        try require(EVP_DigestSignInit(context, &keyContext, scheme.digest, nil, key.pointer), "signature")
        try scheme.configure(keyContext)
        var count = 0
        try require(EVP_DigestSign(context, nil, &count, message, message.count), "signature")
        var signature = [UInt8](repeating: 0, count: count)
        try require(EVP_DigestSign(context, &signature, &count, message, message.count), "signature")
        signature.removeLast(signature.count - count)
        guard let curve = scheme.concatenatedCurve else { return signature }
        return try ECDSASignature(der: signature).concatenated(curve)
    }
}

extension X509Certificate {
    /// Whether `signature` is one of the certificate's key over `message`. A key that must not be believed has none.
    public func verifies(_ signature: [UInt8], of message: [UInt8], scheme: SignatureScheme) -> Bool {
        guard publicKey.isAcceptable, scheme.fits(publicKey), !signature.isEmpty, let key = X509_get0_pubkey(pointer) else { return false }
        defer { ERR_clear_error() }
        do throws(CryptographyError) {
            let form = try scheme.concatenatedCurve.map { (curve) throws(CryptographyError) in
                try ECDSASignature(concatenated: signature, curve: curve).der()
            }
            let context = try require(EVP_MD_CTX_new(), "signature")
            defer { EVP_MD_CTX_free(context) }
            var keyContext: OpaquePointer?
            try require(EVP_DigestVerifyInit(context, &keyContext, scheme.digest, nil, key), "signature")
            try scheme.configure(keyContext)
            let octets = form ?? signature
            return EVP_DigestVerify(context, octets, octets.count, message, message.count) == 1
        } catch {
            return false
        }
    }
}

extension SignatureScheme {
    fileprivate func configure(_ context: OpaquePointer?) throws(CryptographyError) {
        guard isPSS else { return }
        try require(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING), "PSS")
        try require(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST), "PSS")
        try require(EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest), "PSS")
    }
}

/// r and s in both of their forms.
private final class ECDSASignature {
    private let pointer: OpaquePointer

    init(der: [UInt8]) throws(CryptographyError) {
        let parsed = der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
            var next = buffer.baseAddress
            return d2i_ECDSA_SIG(nil, &next, buffer.count)
        }
        pointer = try require(parsed, "ECDSA")
    }

    /// r | s (RFC 4754 §3): of exactly twice the coordinate's length.
    init(concatenated octets: [UInt8], curve: ECDSACurve) throws(CryptographyError) {
        guard octets.count == 2 * curve.octets else { throw .badLength }
        pointer = try require(ECDSA_SIG_new(), "ECDSA")
        let half = Int32(curve.octets)
        let r = octets.withUnsafeBufferPointer { BN_bin2bn($0.baseAddress, half, nil) }
        let s = octets.withUnsafeBufferPointer { BN_bin2bn($0.baseAddress! + curve.octets, half, nil) }
        guard ECDSA_SIG_set0(pointer, r, s) == 1 else {
            BN_free(r)
            BN_free(s)
            throw .fromLibrary("ECDSA")
        }
    }

    deinit { ECDSA_SIG_free(pointer) }

    func der() throws(CryptographyError) -> [UInt8] {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_ECDSA_SIG(pointer, &start)
        defer { CRYPTO_free(start, nil, 0) }
        guard count > 0 else { throw .fromLibrary("ECDSA") }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    func concatenated(_ curve: ECDSACurve) throws(CryptographyError) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: 2 * curve.octets)
        let half = Int32(curve.octets)
        let written = out.withUnsafeMutableBufferPointer { buffer in
            BN_bn2binpad(ECDSA_SIG_get0_r(pointer), buffer.baseAddress, half) == half
                && BN_bn2binpad(ECDSA_SIG_get0_s(pointer), buffer.baseAddress! + curve.octets, half) == half
        }
        guard written else { throw .fromLibrary("ECDSA") }
        return out
    }
}
