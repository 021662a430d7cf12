import Cryptography
import IKE

/// Reads the proposal strings of swanctl.conf: algorithms joined by `-`.
enum ProposalText {
    /// Why a proposal string is refused, and what to write instead.
    struct Refusal: Error, Hashable {
        var what: String
        var remedy: String
    }

    /// What `default` stands for in `proposals`: first AEAD, then CBC with HMAC (RFC 7296 §3.3 wants them apart). Every
    /// proposal that strongSwan's own `default` makes meets one of the two.
    static let ikeDefaults = [
        IKEProposal(
            ciphers: [Cipher(.aesGCM16, keyBits: 128), Cipher(.aesGCM16, keyBits: 256), Cipher(.aesGCM16, keyBits: 192)], integrity: [],
            prfs: [.hmacSHA256, .hmacSHA384, .hmacSHA512],
            groups: [.curve25519, .ecp256, .ecp384, .ecp521, .modp3072, .modp4096, .modp2048]),
        IKEProposal(
            ciphers: [Cipher(.aesCBC, keyBits: 128), Cipher(.aesCBC, keyBits: 256), Cipher(.aesCBC, keyBits: 192)],
            integrity: [.hmacSHA256_128, .hmacSHA384_192, .hmacSHA512_256], prfs: [.hmacSHA256, .hmacSHA384, .hmacSHA512],
            groups: [.curve25519, .ecp256, .ecp384, .ecp521, .modp3072, .modp4096, .modp2048]),
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
            parts.prfs = parts.integrity.map(\.matchingPRF)
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
                guard take(word) else { throw ProposalText.unknown(word) }
            }
            guard let first = ciphers.first else {
                throw Refusal(what: "\"\(text)\" names no cipher", remedy: "begin with one, as in aes256gcm16")
            }
            if ciphers.contains(where: { $0.isAEAD != first.isAEAD }) {
                let what = "\"\(text)\" mixes AES-GCM with AES-CBC (RFC 7296 §3.3)"
                throw Refusal(what: what, remedy: "write two proposals")
            }
            if first.isAEAD, !integrity.isEmpty {
                let what = "\"\(text)\" has an integrity algorithm beside AES-GCM, which needs none"
                throw Refusal(what: what, remedy: "remove it, or write prfsha256 where a PRF is meant")
            }
            if !first.isAEAD, integrity.isEmpty {
                throw Refusal(what: "\"\(text)\" names no integrity algorithm", remedy: "add one, as in \(text)-sha256")
            }
        }

        private mutating func take(_ word: String) -> Bool {
            if let cipher = ProposalText.ciphers[word] {
                ciphers.append(cipher)
            } else if let algorithm = ProposalText.integrity[word] {
                integrity.append(algorithm)
            } else if let prf = ProposalText.prfs[word] {
                prfs.append(prf)
            } else if let group = ProposalText.groups[word] {
                groups.append(group)
            } else if word == "esn" || word == "noesn" {
                sequenceNumbers.append(word == "esn")
            } else {
                return false
            }
            return true
        }
    }

    private static let ciphers: [String: Cipher] = {
        var known = ["aes": Cipher(.aesCBC, keyBits: 128)]
        for bits in [128, 192, 256] {
            known["aes\(bits)"] = Cipher(.aesCBC, keyBits: bits)
            for suffix in ["gcm", "gcm16", "gcm128"] { known["aes\(bits)\(suffix)"] = Cipher(.aesGCM16, keyBits: bits) }
        }
        return known
    }()

    private static let integrity: [String: IntegrityAlgorithm] = [
        "sha256": .hmacSHA256_128, "sha2_256": .hmacSHA256_128, "sha384": .hmacSHA384_192, "sha2_384": .hmacSHA384_192,
        "sha512": .hmacSHA512_256, "sha2_512": .hmacSHA512_256,
    ]

    private static let prfs: [String: PRF] = ["prfsha256": .hmacSHA256, "prfsha384": .hmacSHA384, "prfsha512": .hmacSHA512]

    private static let groups: [String: KeyExchangeGroup] = [
        "modp2048": .modp2048, "modp3072": .modp3072, "modp4096": .modp4096, "ecp256": .ecp256, "ecp384": .ecp384, "ecp521": .ecp521,
        "curve25519": .curve25519, "x25519": .curve25519,
    ]

    private static func unknown(_ word: String) -> Refusal {
        let known = Array(ciphers.keys) + Array(integrity.keys) + Array(prfs.keys) + Array(groups.keys) + ["esn", "noesn"]
        if let near = nearest(to: word, among: known.sorted()) {
            return Refusal(what: "\"\(word)\" is not an algorithm that Tandem has", remedy: "did you mean \(near)?")
        }
        return Refusal(
            what: "\"\(word)\" is not an algorithm that Tandem has",
            remedy: "ciphers: aes{128,192,256}gcm16, aes{128,192,256}; integrity: sha{256,384,512}; PRF: prfsha{256,384,512}; "
                + "groups: x25519, ecp{256,384,521}, modp{2048,3072,4096}")
    }
}

extension IntegrityAlgorithm {
    /// The PRF over the same hash: what swanctl takes when a proposal names none.
    fileprivate var matchingPRF: PRF {
        switch self {
        case .hmacSHA256_128: .hmacSHA256
        case .hmacSHA384_192: .hmacSHA384
        case .hmacSHA512_256: .hmacSHA512
        }
    }
}
