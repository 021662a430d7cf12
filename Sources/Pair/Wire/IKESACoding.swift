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
            $0.sendWindow = sendWindow
            $0.receiveWindow = receiveWindow
            $0.responses = responses.map(\.wire)
            $0.pendingRequests = pendingRequests.map(\.wire)
            if lifetime != .unlimited { $0.lifetime = lifetime.wire }
            $0.epochOffset = UInt32(epochShift.offset)
            $0.epochsSpent = UInt32(epochShift.spent)
            $0.establishedWallMilliseconds = establishedWallMilliseconds
            if let pending = counterSync.pending { $0.pendingSync = pending.wire }
            if let epoch = counterSync.knownSince { $0.countersKnownSince = epoch }
            if let answered = counterSync.answered { $0.answeredSync = answered.wire }
            $0.add(unknownBytes: unknownFields)
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
            sendWindow: try PairWireLimits.window(wire.sendWindow, "IKESA.send_window"),
            receiveWindow: try PairWireLimits.window(wire.receiveWindow, "IKESA.receive_window"),
            responses: try WireField.list(wire.responses, max: PairWireLimits.responsesMax, "IKESA.responses") {
                (response) throws(PairWireError) in try CachedResponse(response)
            },
            pendingRequests: try WireField.list(wire.pendingRequests, max: PairWireLimits.windowMax, "IKESA.pending_requests") {
                (request) throws(PairWireError) in try PendingRequest(request)
            }, lifetime: try Lifetime(wire.lifetime), epochShift: try EpochShift(offset: wire.epochOffset, spent: wire.epochsSpent),
            establishedWallMilliseconds: try WireField.wallMilliseconds(
                wire.establishedWallMilliseconds, "IKESA.established_wall_milliseconds"))
        counterSync = CounterSync(
            pending: wire.hasPendingSync ? try SyncRequest(wire.pendingSync) : nil,
            knownSince: wire.hasCountersKnownSince ? wire.countersKnownSince : nil,
            answered: wire.hasAnsweredSync ? try SyncAnswer(wire.answeredSync) : nil)
        unknownFields = try wire.unknownBytes("IKESA")
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

    init(_ wire: WireCipher) throws(PairWireError) { try self.init(transform: wire.transform, keyBits: wire.keyBits) }

    init(transform: UInt32, keyBits: UInt32) throws(PairWireError) {
        let transform = try WireField.narrow(transform, to: UInt16.self, "Cipher.transform")
        guard let cipher = Cipher(transform: transform, keyBits: Int(keyBits)) else { throw .invalid("Cipher") }
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

extension EpochShift {
    init(offset: UInt32, spent: UInt32) throws(PairWireError) {
        let offset = try WireField.narrow(offset, to: UInt16.self, "IKESA.epoch_offset")
        let spent = try WireField.narrow(spent, to: UInt16.self, "IKESA.epochs_spent")
        guard let shift = EpochShift(offset: offset, spent: spent) else { throw .invalid("IKESA.epochs_spent") }
        self = shift
    }
}

extension Lifetime {
    var wire: WireLifetime {
        WireLifetime.with {
            if let rekeyAt { $0.rekeyAtWallMilliseconds = rekeyAt }
            if let endsAt { $0.endsAtWallMilliseconds = endsAt }
        }
    }

    init(_ wire: WireLifetime) throws(PairWireError) {
        self.init(
            rekeyAt: try WireField.wallMilliseconds(
                wire.hasRekeyAtWallMilliseconds ? wire.rekeyAtWallMilliseconds : nil, "Lifetime.rekey_at_wall_milliseconds"),
            endsAt: try WireField.wallMilliseconds(
                wire.hasEndsAtWallMilliseconds ? wire.endsAtWallMilliseconds : nil, "Lifetime.ends_at_wall_milliseconds"))
    }
}

extension CachedResponse {
    var wire: WireCachedResponse {
        WireCachedResponse.with {
            $0.messageID = messageID
            $0.requestDigest = WireField.bytes(requestDigest)
            $0.datagrams = datagrams.map { WireField.bytes($0) }
        }
    }

    init(_ wire: WireCachedResponse) throws(PairWireError) {
        self.init(
            messageID: wire.messageID,
            requestDigest: try WireField.octets(wire.requestDigest, max: PairWireLimits.digestBytesMax, "CachedResponse.request_digest"),
            datagrams: try PairWireLimits.datagrams(wire.datagrams, "CachedResponse.datagrams"))
    }
}
