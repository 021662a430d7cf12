import COpenSSL

/// HMAC (RFC 2104) under one key, to be used any number of times without another key schedule or allocation.
final class KeyedHash {
    let outputLength: Int
    private let context: OpaquePointer
    /// Room for a whole output, of which a caller may want only the beginning.
    private let output: UnsafeMutableRawBufferPointer
    private var isFresh = true

    // Never freed, never changed.
    nonisolated(unsafe) private static let implementation = EVP_MAC_fetch(nil, "HMAC", nil)

    /// Traps only if libcrypto has no HMAC or no memory.
    init(_ function: HashFunction, key: SecretBytes) {
        // Every key of every SA passes through here: without HMAC, or memory for 200 octets, there is nothing that this program could do.
        guard let context = EVP_MAC_CTX_new(KeyedHash.implementation) else { preconditionFailure("libcrypto has no HMAC") }
        self.context = context
        outputLength = function.outputLength
        output = .allocate(byteCount: outputLength, alignment: 8)
        let result = key.withUnsafeBytes { bytes in
            function.name.withUTF8Buffer { name in
                name.withMemoryRebound(to: CChar.self) { name in
                    // An empty key, too, is given with a pointer: null would mean "the key as it was".
                    copenssl_hmac_init(context, name.baseAddress, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
                }
            }
        }
        precondition(result == 1, "libcrypto refused an HMAC key")
    }

    deinit {
        EVP_MAC_CTX_free(context)
        OPENSSL_cleanse(output.baseAddress, output.count)
        output.deallocate()
    }

    func update(_ bytes: UnsafeRawBufferPointer) {
        if !isFresh {
            precondition(EVP_MAC_init(context, nil, 0, nil) == 1, "libcrypto refused to start HMAC again")
            isFresh = true
        }
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
        let result = EVP_MAC_update(context, start.assumingMemoryBound(to: UInt8.self), bytes.count)
        precondition(result == 1, "libcrypto refused HMAC data")
    }

    func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The output over everything since the last call; valid until the next.
    func finish() -> UnsafeRawBufferPointer {
        update(UnsafeRawBufferPointer(start: nil, count: 0))
        var written = 0
        let result = EVP_MAC_final(context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), &written, output.count)
        precondition(result == 1 && written == outputLength, "libcrypto refused to finish HMAC")
        isFresh = false
        return UnsafeRawBufferPointer(output)
    }
}

/// HMAC-SHA-256 (RFC 4868), 32 octets.
public func hmacSHA256(key: SecretBytes, _ data: [UInt8]) -> [UInt8] {
    let hash = KeyedHash(.sha256, key: key)
    hash.update(data)
    return Array(hash.finish())
}
