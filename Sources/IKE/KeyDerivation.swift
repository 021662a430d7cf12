import Cryptography
import Session

enum KeyDerivation {
    /// SKEYSEED = prf(Ni | Nr, g^ir), and the seven keys (RFC 7296 §2.14).
    static func initial(algorithms: IKEAlgorithms, nonces: NoncePair, sharedSecret: SecretBytes, spis: IKESPIs) -> DerivedIKEKeys {
        let seed = algorithms.prf.mac(key: SecretBytes(nonces.initiator + nonces.responder), secretData: sharedSecret)
        return expand(seed, algorithms: algorithms, nonces: nonces, spis: spis)
    }

    /// SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr) with the old IKE SA's PRF (RFC 7296 §2.18); the rest with the new one.
    static func rekeyed(
        from old: IKESA, algorithms: IKEAlgorithms, nonces: NoncePair, sharedSecret: SecretBytes, spis: IKESPIs
    ) -> DerivedIKEKeys {
        let seed = old.algorithms.prf.mac(
            key: old.keys.derivation, secretData: sharedSecret, nonces.initiator, nonces.responder)
        return expand(seed, algorithms: algorithms, nonces: nonces, spis: spis)
    }

    /// KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr): first what the exchange's initiator sends with (RFC 7296 §2.17).
    static func child(
        prf: PRF, derivation: SecretBytes, algorithms: ESPAlgorithms, nonces: NoncePair, sharedSecret: SecretBytes?
    ) -> (initiator: DirectionKeys, responder: DirectionKeys) {
        let encryption = algorithms.cipher.keyMaterialLength
        let integrity = algorithms.integrity?.keyLength ?? 0
        let material = prf.plus(
            key: derivation, secretSeed: sharedSecret ?? .empty, seed: nonces.initiator + nonces.responder,
            count: 2 * (encryption + integrity))
        var cutter = KeyCutter(material)
        let initiator = DirectionKeys(encryption: cutter.next(encryption), integrity: cutter.next(integrity))
        let responder = DirectionKeys(encryption: cutter.next(encryption), integrity: cutter.next(integrity))
        return (initiator, responder)
    }

    private static func expand(_ seed: SecretBytes, algorithms: IKEAlgorithms, nonces: NoncePair, spis: IKESPIs) -> DerivedIKEKeys {
        let prfLength = algorithms.prf.outputLength
        let integrity = algorithms.integrity?.keyLength ?? 0
        let encryption = algorithms.cipher.keyMaterialLength
        let material = algorithms.prf.plus(
            key: seed, seed: nonces.initiator + nonces.responder + spis.initiator.networkBytes + spis.responder.networkBytes,
            count: 3 * prfLength + 2 * (integrity + encryption))
        // {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr}
        var cutter = KeyCutter(material)
        let derivation = cutter.next(prfLength)
        let initiatorIntegrity = cutter.next(integrity)
        let responderIntegrity = cutter.next(integrity)
        let initiatorEncryption = cutter.next(encryption)
        let responderEncryption = cutter.next(encryption)
        let keys = IKEKeys(
            derivation: derivation,
            initiator: DirectionKeys(encryption: initiatorEncryption, integrity: initiatorIntegrity),
            responder: DirectionKeys(encryption: responderEncryption, integrity: responderIntegrity))
        return DerivedIKEKeys(
            keys: keys, initiatorAuthentication: cutter.next(prfLength), responderAuthentication: cutter.next(prfLength))
    }
}

/// Takes keys from the front of the key material.
private struct KeyCutter {
    private let material: SecretBytes
    private var offset = 0

    init(_ material: SecretBytes) { self.material = material }

    mutating func next(_ count: Int) -> SecretBytes {
        defer { offset += count }
        return material.slice(offset..<offset + count)
    }
}

extension FixedWidthInteger where Self: UnsignedInteger {
    /// Most significant octet first.
    var networkBytes: [UInt8] {
        stride(from: bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: self >> Self($0)) }
    }

    /// From exactly as many octets as the type has, most significant first; `nil` for any other count.
    init?(networkBytes: [UInt8]) {
        guard networkBytes.count * 8 == Self.bitWidth else { return nil }
        self = networkBytes.reduce(0) { $0 << 8 | Self($1) }
    }
}
