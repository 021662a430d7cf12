import Cryptography

/// swanctl.conf's words for algorithms.
enum AlgorithmWords {
    static let ciphers: [String: Cipher] = {
        var known = ["aes": Cipher(.aesCBC, keyBits: 128), "chacha20poly1305": Cipher(.chaCha20Poly1305, keyBits: 256)]
        // GCM with the length of its ICV in octets or in bits.
        let suffixes: [(Cipher.Kind, [String])] = [
            (.aesCBC, ["", "cbc"]), (.aesCTR, ["ctr"]), (.aesGCM8, ["gcm8", "gcm64"]), (.aesGCM12, ["gcm12", "gcm96"]),
            (.aesGCM16, ["gcm", "gcm16", "gcm128"]),
        ]
        for (kind, words) in suffixes {
            for bits in kind.keyLengths {
                for word in words { known["aes\(bits)\(word)"] = Cipher(kind, keyBits: bits) }
            }
        }
        return known
    }()

    static let integrity: [String: IntegrityAlgorithm] = [
        "sha1": .hmacSHA1_96, "sha": .hmacSHA1_96, "sha256": .hmacSHA256_128, "sha2_256": .hmacSHA256_128, "sha384": .hmacSHA384_192,
        "sha2_384": .hmacSHA384_192, "sha512": .hmacSHA512_256, "sha2_512": .hmacSHA512_256,
    ]

    static let prfs: [String: PRF] = [
        "prfsha1": .hmacSHA1, "prfsha256": .hmacSHA256, "prfsha384": .hmacSHA384, "prfsha512": .hmacSHA512,
    ]

    static let groups: [String: KeyExchangeGroup] = [
        "modp1024": .modp1024, "modp2048": .modp2048, "modp3072": .modp3072, "modp4096": .modp4096, "modp6144": .modp6144,
        "modp8192": .modp8192, "ecp256": .ecp256, "ecp384": .ecp384, "ecp521": .ecp521, "curve25519": .curve25519, "x25519": .curve25519,
    ]

    /// The PRF over the same hash: what swanctl takes when a proposal names none.
    static func matchingPRF(_ algorithm: IntegrityAlgorithm) -> PRF {
        switch algorithm {
        case .hmacSHA1_96: .hmacSHA1
        case .hmacSHA256_128: .hmacSHA256
        case .hmacSHA384_192: .hmacSHA384
        case .hmacSHA512_256: .hmacSHA512
        }
    }

    /// swanctl's words for what Tandem will not have, whoever asks (RFC 8221 §5, §6, RFC 8247 §2), and what to write instead.
    private static let weak: [String: String] = {
        let ciphers = ["3des", "des", "null", "cast128", "blowfish", "blowfish128", "blowfish192", "blowfish256"]
        let hashes = ["md5": "sha256", "md5_128": "sha256", "prfmd5": "prfsha256"]
        let groups = ["modp768", "modp1536", "modp1024s160", "modp2048s224", "modp2048s256", "modpnull"]
        return hashes.merging(ciphers.map { ($0, "aes128") } + groups.map { ($0, "x25519, ecp256 or modp3072") }) { first, _ in first }
    }()

    /// Known, but nothing to lead anybody to who has mistyped another word.
    private static let neverSuggested: Set<String> = ["sha", "sha1", "prfsha1", "modp1024"]

    /// Why a word is not taken. What is weak is named before something that only looks like it.
    static func refusal(of word: String) -> ProposalText.Refusal {
        if let better = weak[word] {
            return ProposalText.Refusal(what: "\"\(word)\" is too weak (RFC 8221, RFC 8247)", remedy: "write \(better)")
        }
        let what = "\"\(word)\" is not an algorithm that Tandem has"
        let known = Array(ciphers.keys) + Array(integrity.keys) + Array(prfs.keys) + Array(groups.keys) + ["esn", "noesn"]
        if let near = nearest(to: word, among: known.filter { !neverSuggested.contains($0) }.sorted()) {
            return ProposalText.Refusal(what: what, remedy: "did you mean \(near)?")
        }
        return ProposalText.Refusal(
            what: what,
            remedy: "ciphers: aes{128,192,256}{gcm16,gcm12,gcm8}, chacha20poly1305, aes{128,192,256}{,ctr}; "
                + "integrity: sha{256,384,512}; PRF: prfsha{256,384,512}; "
                + "groups: x25519, ecp{256,384,521}, modp{2048,3072,4096,6144,8192}")
    }
}
