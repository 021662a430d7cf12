import Cryptography
import IKEWire
import Session

/// What was chosen of the peer's proposals (RFC 7296 §2.7, §3.3), and how the choice is told.
struct ChosenIKE: Hashable {
    var algorithms: IKEAlgorithms
    /// The SPI that the peer chose: 8 octets in a rekey, none in IKE_SA_INIT.
    var peerSPI: [UInt8]
    var number: UInt8

    /// The SA payload of the answer.
    func payload(spi: [UInt8]) -> Payload {
        let transforms =
            [.encryption(algorithms.cipher), .prf(algorithms.prf)] + (algorithms.integrity.map { [.integrity($0)] } ?? [])
            + [Transform.group(algorithms.keyExchangeGroup)]
        return .securityAssociation([Proposal(number: number, protocolID: .ike, spi: spi, transforms: transforms)])
    }
}

struct ChosenESP: Hashable {
    var algorithms: ESPAlgorithms
    var peerSPI: UInt32
    var number: UInt8
    /// The peer listed key exchange NONE, and it was taken.
    var saysNoKeyExchange: Bool
    /// The peer named the ESN transform at all, so that the answer has to (RFC 7296 §3.3.3).
    var saysESN: Bool

    func payload(spi: UInt32) -> Payload {
        var transforms = [Transform.encryption(algorithms.cipher)]
        if let integrity = algorithms.integrity { transforms.append(.integrity(integrity)) }
        if let group = algorithms.keyExchangeGroup { transforms.append(.group(group)) }
        if saysNoKeyExchange { transforms.append(Transform(type: TransformType.keyExchange, id: TransformID.KeyExchange.none)) }
        if saysESN { transforms.append(.esn(algorithms.extendedSequenceNumbers)) }
        return .securityAssociation([Proposal(number: number, protocolID: .esp, spi: spi.networkBytes, transforms: transforms)])
    }
}

/// Whether a CHILD SA's proposal is read with or without its key exchange transforms.
enum ChildKeyExchange: Hashable {
    /// IKE_AUTH: the keys come from IKE_SA_INIT, and groups that are named say only what a rekey will ask for (RFC 7296 §1.2).
    case ignored
    /// CREATE_CHILD_SA: the group of the KE payload, if there is one.
    case negotiated(offered: UInt16?)
}

enum Negotiation {
    /// The first of the peer's proposals that one of ours matches, or `nil`.
    ///
    /// - Parameters:
    ///   - spiLength: 0 in IKE_SA_INIT, 8 in a rekey; a proposal with another is passed over.
    ///   - keyExchangeGroup: of the peer's KE payload: taken if the proposal allows it, for it spares a round trip.
    static func choose(
        from offered: [Proposal], acceptable: [IKEProposal], spiLength: Int, keyExchangeGroup: UInt16
    ) -> ChosenIKE? {
        for proposal in offered where proposal.protocolID == .ike && proposal.spi.count == spiLength {
            guard let transforms = TransformLists(proposal, isIKE: true) else { continue }
            for ours in acceptable {
                guard let protection = transforms.protection(ciphers: ours.ciphers, integrity: ours.integrity),
                    let prf = transforms.prfs.first(where: { ours.prfs.contains($0) }),
                    let group = transforms.group(acceptable: ours.groups, preferring: keyExchangeGroup)
                else { continue }
                let algorithms = IKEAlgorithms(
                    cipher: protection.cipher, integrity: protection.integrity, prf: prf, keyExchangeGroup: group)
                return ChosenIKE(algorithms: algorithms, peerSPI: proposal.spi, number: proposal.number)
            }
        }
        return nil
    }

    /// As for an IKE SA; AH and proposals without a usable SPI are passed over.
    static func choose(from offered: [Proposal], acceptable: [ESPProposal], keyExchange: ChildKeyExchange) -> ChosenESP? {
        for proposal in offered where proposal.protocolID == .esp {
            guard let spi = UInt32(networkBytes: proposal.spi), spi > 255, let transforms = TransformLists(proposal, isIKE: false) else {
                continue
            }
            for ours in acceptable {
                if let chosen = match(transforms, ours, spi: spi, number: proposal.number, keyExchange: keyExchange) { return chosen }
            }
        }
        return nil
    }

    private static func match(
        _ transforms: TransformLists, _ ours: ESPProposal, spi: UInt32, number: UInt8, keyExchange: ChildKeyExchange
    ) -> ChosenESP? {
        guard let protection = transforms.protection(ciphers: ours.ciphers, integrity: ours.integrity) else { return nil }
        // Without the transform there are no extended sequence numbers (RFC 7296 §3.3.2).
        let offeredESN = transforms.namesESN ? transforms.esn : [false]
        guard let esn = offeredESN.first(where: { ours.extendedSequenceNumbers.contains($0) }) else { return nil }
        var group: KeyExchangeGroup?
        var saysNone = false
        if case .negotiated(let offered) = keyExchange {
            if let wanted = transforms.group(acceptable: ours.groups, preferring: offered ?? 0) {
                group = wanted
            } else {
                // Without PFS only if neither side demands it.
                guard ours.groups.isEmpty, transforms.allowsNoKeyExchange else { return nil }
                saysNone = transforms.namesKeyExchange
            }
        }
        let algorithms = ESPAlgorithms(
            cipher: protection.cipher, integrity: protection.integrity, extendedSequenceNumbers: esn, keyExchangeGroup: group)
        return ChosenESP(
            algorithms: algorithms, peerSPI: spi, number: number, saysNoKeyExchange: saysNone, saysESN: transforms.namesESN)
    }
}

/// The transforms of one proposal that we know, in the peer's order.
private struct TransformLists {
    var ciphers: [Cipher] = []
    var integrity: [IntegrityAlgorithm] = []
    var prfs: [PRF] = []
    var groups: [KeyExchangeGroup] = []
    var esn: [Bool] = []
    var allowsNoIntegrity = true
    var allowsNoKeyExchange = true
    var namesKeyExchange = false
    var namesESN = false

    /// `nil` for a proposal with a transform type that we do not know: we could not answer for it (RFC 7296 §3.3.6).
    init?(_ proposal: Proposal, isIKE: Bool) {
        var namesIntegrity = false
        var namesNoIntegrity = false
        var namesNoKeyExchange = false
        for transform in proposal.transforms {
            switch transform.type {
            case TransformType.encryption: break
            case TransformType.pseudorandomFunction where isIKE: break
            case TransformType.integrity:
                namesIntegrity = true
                namesNoIntegrity = namesNoIntegrity || transform.id == TransformID.Integrity.none
            case TransformType.keyExchange:
                namesKeyExchange = true
                namesNoKeyExchange = namesNoKeyExchange || transform.id == TransformID.KeyExchange.none
            case TransformType.extendedSequenceNumbers where !isIKE: namesESN = true
            default: return nil
            }
            if !transform.hasUnknownAttribute { add(transform) }
        }
        allowsNoIntegrity = !namesIntegrity || namesNoIntegrity
        allowsNoKeyExchange = !namesKeyExchange || namesNoKeyExchange
    }

    private mutating func add(_ transform: Transform) {
        switch transform.type {
        case TransformType.encryption:
            if let cipher = Cipher(transform: transform.id, keyLengthAttribute: transform.keyLength) { ciphers.append(cipher) }
        case TransformType.pseudorandomFunction:
            if let prf = PRF(rawValue: transform.id) { prfs.append(prf) }
        case TransformType.integrity:
            if let algorithm = IntegrityAlgorithm(rawValue: transform.id) { integrity.append(algorithm) }
        case TransformType.keyExchange:
            if let group = KeyExchangeGroup(rawValue: transform.id) { groups.append(group) }
        case TransformType.extendedSequenceNumbers:
            if transform.id <= 1 { esn.append(transform.id == TransformID.ExtendedSequenceNumbers.yes) }
        default: break
        }
    }

    /// A cipher and what goes with it: an AEAD without, others only with an integrity algorithm (RFC 5282 §8).
    func protection(
        ciphers acceptableCiphers: [Cipher], integrity acceptableIntegrity: [IntegrityAlgorithm]
    ) -> (cipher: Cipher, integrity: IntegrityAlgorithm?)? {
        for cipher in ciphers where acceptableCiphers.contains(cipher) {
            if cipher.isAEAD {
                if allowsNoIntegrity { return (cipher, nil) }
            } else if let algorithm = integrity.first(where: { acceptableIntegrity.contains($0) }) {
                return (cipher, algorithm)
            }
        }
        return nil
    }

    func group(acceptable: [KeyExchangeGroup], preferring offered: UInt16) -> KeyExchangeGroup? {
        let common = groups.filter { acceptable.contains($0) }
        return common.first { $0.rawValue == offered } ?? common.first
    }
}

extension Transform {
    static func encryption(_ cipher: Cipher) -> Transform {
        Transform(type: TransformType.encryption, id: cipher.kind.rawValue, keyLength: cipher.keyLengthAttribute)
    }
    static func prf(_ prf: PRF) -> Transform { Transform(type: TransformType.pseudorandomFunction, id: prf.rawValue) }
    static func integrity(_ algorithm: IntegrityAlgorithm) -> Transform {
        Transform(type: TransformType.integrity, id: algorithm.rawValue)
    }
    static func group(_ group: KeyExchangeGroup) -> Transform { Transform(type: TransformType.keyExchange, id: group.rawValue) }
    static func esn(_ isOn: Bool) -> Transform { Transform(type: TransformType.extendedSequenceNumbers, id: isOn ? 1 : 0) }
}
