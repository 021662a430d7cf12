import Cryptography
import IKE

/// Reads the proposal strings of swanctl.conf: algorithms joined by `-`.
enum ProposalText {
    /// Why a proposal string is refused, and what to write instead.
    struct Refusal: Error, Hashable {
        var what: String
        var remedy: String
    }

    /// What `default` stands for in `proposals`: what RFC 8221 and RFC 8247 ask for and nothing that they are about to give up. First
    /// AEADs, then ciphers with HMAC (RFC 7296 §3.3 wants them apart). Every proposal that strongSwan's own `default` makes meets one
    /// of the two.
    static let ikeDefaults = [
        IKEProposal(
            ciphers: [128, 256, 192].map { Cipher(.aesGCM16, keyBits: $0) } + [Cipher(.chaCha20Poly1305, keyBits: 256)], integrity: [],
            prfs: defaultPRFs, groups: defaultGroups),
        IKEProposal(
            ciphers: [Cipher.Kind.aesCBC, .aesCTR].flatMap { kind in [128, 256, 192].map { Cipher(kind, keyBits: $0) } },
            integrity: [.hmacSHA256_128, .hmacSHA512_256, .hmacSHA384_192], prfs: defaultPRFs, groups: defaultGroups),
    ]

    /// SHA-512 before SHA-384: RFC 8247 §2.2.
    private static let defaultPRFs: [PRF] = [.hmacSHA256, .hmacSHA512, .hmacSHA384]

    /// The faster of equal strength first, the weakest last. Groups 17 and 18 only when named: an exchange costs some 20 ms, and whoever
    /// sends an IKE_SA_INIT may choose.
    private static let defaultGroups: [KeyExchangeGroup] = [
        .curve25519, .ecp256, .ecp384, .ecp521, .modp3072, .modp4096, .modp2048,
    ]

    /// What `default` stands for in `esp_proposals`: as strongSwan's, without PFS and without ESN; and, for peers that ask for PFS
    /// when they rekey, the same with every group.
    static let espDefaults = [[], ikeDefaults[0].groups].flatMap { groups in
        ikeDefaults.map { ESPProposal(ciphers: $0.ciphers, integrity: $0.integrity, groups: groups) }
    }

    static func ike(_ text: String) throws(Refusal) -> [IKEProposal] {
        if text == "default" { return ikeDefaults }
        var parts = try Parts(text)
        if !parts.sequenceNumbers.isEmpty { throw Refusal(what: "esn is for CHILD SAs", remedy: "remove it from \(text)") }
        if parts.prfs.isEmpty {
            guard !parts.integrity.isEmpty else {
                throw Refusal(what: "\"\(text)\" names no PRF", remedy: "add one, as in \(text)-prfsha256")
            }
            parts.prfs = parts.integrity.map(AlgorithmWords.matchingPRF)
        }
        if parts.groups.isEmpty { throw Refusal(what: "\"\(text)\" names no key exchange group", remedy: "add one, as in \(text)-ecp256") }
        return [IKEProposal(ciphers: parts.ciphers, integrity: parts.integrity, prfs: parts.prfs, groups: parts.groups)]
    }

    static func esp(_ text: String) throws(Refusal) -> [ESPProposal] {
        if text == "default" { return espDefaults }
        let parts = try Parts(text)
        if !parts.prfs.isEmpty { throw Refusal(what: "a PRF is for IKE SAs", remedy: "remove it from \(text)") }
        return [
            ESPProposal(
                ciphers: parts.ciphers, integrity: parts.integrity, groups: parts.groups,
                extendedSequenceNumbers: parts.sequenceNumbers.isEmpty ? [false] : parts.sequenceNumbers)
        ]
    }

    /// The words of one proposal by what they are, each list in the order given.
    private struct Parts {
        var ciphers: [Cipher] = []
        var integrity: [IntegrityAlgorithm] = []
        var prfs: [PRF] = []
        var groups: [KeyExchangeGroup] = []
        var sequenceNumbers: [Bool] = []

        init(_ text: String) throws(Refusal) {
            for word in text.split(separator: "-", omittingEmptySubsequences: false).map({ trimmed($0).lowercased() }) {
                guard take(word) else { throw AlgorithmWords.refusal(of: word) }
            }
            guard let first = ciphers.first else {
                throw Refusal(what: "\"\(text)\" names no cipher", remedy: "begin with one, as in aes256gcm16")
            }
            if ciphers.contains(where: { $0.isAEAD != first.isAEAD }) {
                let what = "\"\(text)\" mixes ciphers that bring integrity (GCM, ChaCha20-Poly1305) with some that do not (RFC 7296 §3.3)"
                throw Refusal(what: what, remedy: "write two proposals")
            }
            if first.isAEAD, !integrity.isEmpty {
                let what = "\"\(text)\" has an integrity algorithm beside a cipher that needs none"
                throw Refusal(what: what, remedy: "remove it, or write prfsha256 where a PRF is meant")
            }
            if !first.isAEAD, integrity.isEmpty {
                throw Refusal(what: "\"\(text)\" names no integrity algorithm", remedy: "add one, as in \(text)-sha256")
            }
        }

        private mutating func take(_ word: String) -> Bool {
            if let cipher = AlgorithmWords.ciphers[word] {
                ciphers.append(cipher)
            } else if let algorithm = AlgorithmWords.integrity[word] {
                integrity.append(algorithm)
            } else if let prf = AlgorithmWords.prfs[word] {
                prfs.append(prf)
            } else if let group = AlgorithmWords.groups[word] {
                groups.append(group)
            } else if word == "esn" || word == "noesn" {
                sequenceNumbers.append(word == "esn")
            } else {
                return false
            }
            return true
        }
    }
}
