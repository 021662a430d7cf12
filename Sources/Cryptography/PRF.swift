/// The pseudorandom functions of IKEv2 (RFC 7296 §3.3.2 transform type 2, RFC 4868).
public enum PRF: UInt16, CaseIterable, Hashable, Sendable {
    /// For old peers, where it is named (RFC 8247 §2.2).
    case hmacSHA1 = 2
    case hmacSHA256 = 5
    case hmacSHA384 = 6
    case hmacSHA512 = 7

    /// Octets of the output, and of a key made for it (RFC 7296 §2.13).
    public var outputLength: Int { function.outputLength }

    var function: HashFunction {
        switch self {
        case .hmacSHA1: .sha1
        case .hmacSHA256: .sha256
        case .hmacSHA384: .sha384
        case .hmacSHA512: .sha512
        }
    }

    /// prf(key, data), with the pieces of `data` joined.
    public func callAsFunction(key: SecretBytes, _ data: [UInt8]...) -> SecretBytes { compute(key: key, data: data) }

    /// prf(key, data), with the pieces of `data` joined.
    public func compute(key: SecretBytes, data: [[UInt8]]) -> SecretBytes {
        let hash = KeyedHash(function, key: key)
        for piece in data { hash.update(piece) }
        return SecretBytes(hash.finish())
    }

    /// prf(key, secret | data): for SKEYSEED of a rekeyed IKE SA and KEYMAT with PFS (RFC 7296 §2.17, §2.18).
    public func mac(key: SecretBytes, secretData: SecretBytes, _ more: [UInt8]...) -> SecretBytes {
        let hash = KeyedHash(function, key: key)
        secretData.withUnsafeBytes { hash.update($0) }
        for piece in more { hash.update(piece) }
        return SecretBytes(hash.finish())
    }

    /// The first `count` octets of prf+ (RFC 7296 §2.13). Traps beyond 255 outputs, where prf+ is not defined.
    public func plus(key: SecretBytes, seed: [UInt8], count: Int) -> SecretBytes {
        plus(key: key, secretSeed: .empty, seed: seed, count: count)
    }

    /// prf+(key, secretSeed | seed): the seed of KEYMAT with PFS begins with a shared secret (RFC 7296 §2.17).
    public func plus(key: SecretBytes, secretSeed: SecretBytes, seed: [UInt8], count: Int) -> SecretBytes {
        precondition(count >= 0 && count <= 255 * outputLength, "prf+ ends after 255 outputs")
        return expand(function, key: key, secretSeed: secretSeed, seed: seed, count: count)
    }
}

/// T1 | T2 | … with Tn = HMAC(key, Tn-1 | seed | n): prf+ of RFC 7296 §2.13 and HKDF-Expand of RFC 5869 §2.3 alike.
private func expand(_ function: HashFunction, key: SecretBytes, secretSeed: SecretBytes, seed: [UInt8], count: Int) -> SecretBytes {
    let hash = KeyedHash(function, key: key)
    return SecretBytes(count: count) { target in
        var written = 0
        var block: UInt8 = 1
        var previous = UnsafeRawBufferPointer(start: nil, count: 0)
        while written < count {
            hash.update(previous)
            secretSeed.withUnsafeBytes { hash.update($0) }
            hash.update(seed)
            withUnsafeBytes(of: block) { hash.update($0) }
            let output = hash.finish()
            let take = min(output.count, count - written)
            UnsafeMutableRawBufferPointer(rebasing: target[written..<written + take]).copyBytes(from: output.prefix(take))
            previous = UnsafeRawBufferPointer(output)
            written += take
            block &+= 1
        }
    }
}

/// HKDF with SHA-256 (RFC 5869). Traps beyond 255 · 32 octets.
public func hkdfSHA256(secret: SecretBytes, salt: [UInt8], info: [UInt8], count: Int) -> SecretBytes {
    precondition(count >= 0 && count <= 255 * HashFunction.sha256.outputLength, "HKDF ends after 255 outputs")
    let extractor = KeyedHash(.sha256, key: SecretBytes(salt))
    secret.withUnsafeBytes { extractor.update($0) }
    let pseudorandomKey = SecretBytes(extractor.finish())
    return expand(.sha256, key: pseudorandomKey, secretSeed: .empty, seed: info, count: count)
}
