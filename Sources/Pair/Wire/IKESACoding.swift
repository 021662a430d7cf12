import Cryptography
import Session
import SwiftProtobuf

extension IKESA {
    var wire: WireIKESA {
        WireIKESA.with {
            $0.initiatorSpi = spis.initiator
            $0.responderSpi = spis.responder
            $0.role = UInt32(role.rawValue)
            $0.cipher = algorithms.cipher.wire
            if let integrity = algorithms.integrity { $0.integrity = UInt32(integrity.rawValue) }
            $0.prf = UInt32(algorithms.prf.rawValue)
            $0.keyExchangeGroup = UInt32(algorithms.keyExchangeGroup.rawValue)
            $0.derivationKey = WireField.bytes(keys.derivation)
            $0.initiatorKeys = keys.initiator.wire
            $0.responderKeys = keys.responder.wire
            $0.nextSendID = nextSendID
            $0.nextReceiveID = nextReceiveID
            if let lastResponse { $0.lastResponse = lastResponse.wire }
            if let pendingRequest { $0.pendingRequest = pendingRequest.wire }
            $0.establishedWallMilliseconds = establishedWallMilliseconds
        }
    }

    init(_ wire: WireIKESA) throws(PairWireError) {
        let cipher = try Cipher(WireField.present(wire.hasCipher, wire.cipher, "IKESA.cipher"))
        let algorithms = IKEAlgorithms(
            cipher: cipher,
            integrity: try IntegrityAlgorithm.with(cipher, wire.hasIntegrity ? wire.integrity : nil, "IKESA.integrity"),
            prf: try WireField.enumeration(wire.prf, PRF.self, "IKESA.prf"),
            keyExchangeGroup: try WireField.enumeration(wire.keyExchangeGroup, KeyExchangeGroup.self, "IKESA.key_exchange_group"))
        self.init(
            spis: IKESPIs(initiator: wire.initiatorSpi, responder: wire.responderSpi),
            role: try WireField.enumeration(wire.role, IKERole.self, "IKESA.role"), algorithms: algorithms,
            keys: try IKEKeys(wire, algorithms), nextSendID: wire.nextSendID, nextReceiveID: wire.nextReceiveID,
            lastResponse: wire.hasLastResponse ? try CachedResponse(wire.lastResponse) : nil,
            pendingRequest: wire.hasPendingRequest ? try PendingRequest(wire.pendingRequest) : nil,
            establishedWallMilliseconds: try WireField.wallMilliseconds(
                wire.establishedWallMilliseconds, "IKESA.established_wall_milliseconds"))
    }
}

extension IKEKeys {
    fileprivate init(_ wire: WireIKESA, _ algorithms: IKEAlgorithms) throws(PairWireError) {
        let initiator = try WireField.present(wire.hasInitiatorKeys, wire.initiatorKeys, "IKESA.initiator_keys")
        let responder = try WireField.present(wire.hasResponderKeys, wire.responderKeys, "IKESA.responder_keys")
        self.init(
            derivation: try WireField.secret(wire.derivationKey, count: algorithms.prf.outputLength, "IKESA.derivation_key"),
            initiator: try DirectionKeys(initiator, algorithms.cipher, algorithms.integrity),
            responder: try DirectionKeys(responder, algorithms.cipher, algorithms.integrity))
    }
}

extension Cipher {
    var wire: WireCipher {
        WireCipher.with {
            $0.transform = UInt32(kind.rawValue)
            $0.keyBits = UInt32(clamping: keyBits)
        }
    }

    init(_ wire: WireCipher) throws(PairWireError) {
        let transform = try WireField.narrow(wire.transform, to: UInt16.self, "Cipher.transform")
        guard let cipher = Cipher(transform: transform, keyBits: Int(wire.keyBits)) else { throw .invalid("Cipher") }
        self = cipher
    }
}

extension IntegrityAlgorithm {
    /// There is one if, and only if, the cipher does not bring its own.
    static func with(_ cipher: Cipher, _ number: UInt32?, _ field: String) throws(PairWireError) -> IntegrityAlgorithm? {
        guard cipher.isAEAD == (number == nil) else { throw .invalid(field) }
        guard let number else { return nil }
        return try WireField.enumeration(number, IntegrityAlgorithm.self, field)
    }
}

extension DirectionKeys {
    var wire: WireDirectionKeys {
        WireDirectionKeys.with {
            $0.encryption = WireField.bytes(encryption)
            $0.integrity = WireField.bytes(integrity)
        }
    }

    init(_ wire: WireDirectionKeys, _ cipher: Cipher, _ algorithm: IntegrityAlgorithm?) throws(PairWireError) {
        self.init(
            encryption: try WireField.secret(wire.encryption, count: cipher.keyMaterialLength, "DirectionKeys.encryption"),
            integrity: try WireField.secret(wire.integrity, count: algorithm?.keyLength ?? 0, "DirectionKeys.integrity"))
    }
}

extension CachedResponse {
    var wire: WireCachedResponse {
        WireCachedResponse.with {
            $0.messageID = messageID
            $0.requestDigest = WireField.bytes(requestDigest)
            $0.bytes = WireField.bytes(bytes)
        }
    }

    init(_ wire: WireCachedResponse) throws(PairWireError) {
        self.init(
            messageID: wire.messageID,
            requestDigest: try WireField.octets(wire.requestDigest, max: PairWireLimits.digestBytesMax, "CachedResponse.request_digest"),
            bytes: try WireField.octets(wire.bytes, max: PairWireLimits.messageBytesMax, "CachedResponse.bytes"))
    }
}

extension PendingRequest {
    var wire: WirePendingRequest {
        WirePendingRequest.with {
            $0.messageID = messageID
            $0.bytes = WireField.bytes(bytes)
            switch purpose {
            case .liveness: $0.liveness = WireNothing()
            case .deleteIKESA: $0.deleteIkeSa = WireNothing()
            case .deleteChildSA(let spi): $0.deleteChildSa = spi
            }
        }
    }

    init(_ wire: WirePendingRequest) throws(PairWireError) {
        let purpose: Purpose
        switch wire.purpose {
        case .liveness: purpose = .liveness
        case .deleteIkeSa: purpose = .deleteIKESA
        case .deleteChildSa(let spi): purpose = .deleteChildSA(spi)
        case nil: throw .unknownKind("request purpose")
        }
        self.init(
            messageID: wire.messageID, purpose: purpose,
            bytes: try WireField.octets(wire.bytes, max: PairWireLimits.messageBytesMax, "PendingRequest.bytes"))
    }
}
