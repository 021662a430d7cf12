import COpenSSL

/// curve25519 (RFC 7748 §5, RFC 8031).
struct MontgomeryArithmetic: KeyExchangeArithmetic {
    private static let valueLength = 32

    func makePrivateValue(_ random: RandomSource) -> SecretBytes { random.secret(MontgomeryArithmetic.valueLength) }

    func accepts(_ privateValue: SecretBytes) -> Bool { privateValue.count == MontgomeryArithmetic.valueLength }

    func publicValue(of privateValue: SecretBytes) throws(CryptographyError) -> [UInt8] {
        let key = try AsymmetricKey(curve25519: privateValue)
        var out = [UInt8](repeating: 0, count: MontgomeryArithmetic.valueLength)
        var count = out.count
        try require(EVP_PKEY_get_raw_public_key(key.pointer, &out, &count), "public value")
        return out
    }

    func sharedSecret(of privateValue: SecretBytes, peer: [UInt8]) throws(CryptographyError) -> SecretBytes {
        let own = try AsymmetricKey(curve25519: privateValue)
        guard let raw = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nil, peer, peer.count) else { throw .badPublicValue }
        let peerKey = AsymmetricKey(adopting: raw)
        // libcrypto fails if the result is all zero (RFC 8031 §5).
        let secret: SecretBytes
        do { secret = try own.derive(with: peerKey, count: MontgomeryArithmetic.valueLength) } catch { throw .badPublicValue }
        let zero = [UInt8](repeating: 0, count: MontgomeryArithmetic.valueLength)
        guard secret != SecretBytes(zero) else { throw .badPublicValue }
        return secret
    }
}
