import COpenSSL

/// The one owner of a libcrypto key, public or private.
struct AsymmetricKey: ~Copyable {
    let pointer: OpaquePointer

    init(adopting pointer: OpaquePointer) { self.pointer = pointer }

    init(curve25519 privateValue: SecretBytes) throws(CryptographyError) {
        pointer = try privateValue.withUnsafeBytes { (bytes) throws(CryptographyError) in
            let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return try require(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nil, start, bytes.count), "curve25519 key")
        }
    }

    deinit { EVP_PKEY_free(pointer) }

    /// Diffie-Hellman with the peer's public key.
    func derive(with peer: borrowing AsymmetricKey, count: Int) throws(CryptographyError) -> SecretBytes {
        let context = try require(EVP_PKEY_CTX_new(pointer, nil), "key agreement")
        defer { EVP_PKEY_CTX_free(context) }
        try require(EVP_PKEY_derive_init(context), "key agreement")
        try require(EVP_PKEY_derive_set_peer(context, peer.pointer), "key agreement")
        return try SecretBytes(count: count) { (target) throws(CryptographyError) in
            var written = count
            let start = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
            try require(EVP_PKEY_derive(context, start, &written), "key agreement")
            guard written == count else { throw .library("key agreement: \(written) octets") }
        }
    }
}
