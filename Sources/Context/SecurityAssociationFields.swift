import Control
import Cryptography
import Session

extension IKESA {
    var json: JSON {
        ContextMembers.json {
            $0.add("initiator_spi", spi: spis.initiator)
            $0.add("responder_spi", spi: spis.responder)
            $0.add("role", role.rawValue)
            $0.add("encryption", algorithms.cipher.json)
            $0.add("integrity", ifPresent: algorithms.integrity?.rawValue)
            $0.add("prf", algorithms.prf.rawValue)
            $0.add("key_exchange", algorithms.keyExchangeGroup.rawValue)
            $0.add(
                "keys",
                ContextMembers.json {
                    $0.add("d", secret: keys.derivation)
                    $0.add("ei", secret: keys.initiator.encryption)
                    $0.add("ai", secret: keys.initiator.integrity)
                    $0.add("er", secret: keys.responder.encryption)
                    $0.add("ar", secret: keys.responder.integrity)
                })
            $0.add("next_send_id", nextSendID)
            $0.add("next_receive_id", nextReceiveID)
            $0.add("send_window", sendWindow)
            $0.add("receive_window", receiveWindow)
            $0.add("iv_epoch_offset", epochShift.offset)
            $0.add("iv_epochs_spent", epochShift.spent)
            $0.add("responses", .array(responses.map(\.json)))
            $0.add("pending_requests", .array(pendingRequests.map(\.json)))
            $0.put(lifetime)
            $0.add("established_at_ms", establishedWallMilliseconds)
        }
    }

    init(_ fields: ContextFields) throws(ContextError) {
        let cipher = try Cipher(try fields.fields("encryption"))
        let algorithms = IKEAlgorithms(
            cipher: cipher, integrity: try IntegrityAlgorithm.with(cipher, fields), prf: try fields.enumeration("prf"),
            keyExchangeGroup: try fields.enumeration("key_exchange"))
        let spent: UInt16 = try fields.number("iv_epochs_spent")
        guard let shift = EpochShift(offset: try fields.number("iv_epoch_offset"), spent: spent) else {
            throw .invalid(fields.name("iv_epochs_spent"))
        }
        self.init(
            spis: IKESPIs(initiator: try fields.spi("initiator_spi"), responder: try fields.spi("responder_spi")),
            role: try fields.enumeration("role"), algorithms: algorithms, keys: try IKEKeys(try fields.fields("keys"), algorithms),
            nextSendID: try fields.number("next_send_id"), nextReceiveID: try fields.number("next_receive_id"),
            sendWindow: try IKESA.window(fields, "send_window"), receiveWindow: try IKESA.window(fields, "receive_window"),
            responses: try fields.list("responses", max: ContextFormat.responsesMax) { (item) throws(ContextError) in
                try CachedResponse(item)
            },
            pendingRequests: try fields.list("pending_requests", max: Int(IKESA.windowMax)) { (item) throws(ContextError) in
                try PendingRequest(item)
            }, lifetime: try Lifetime(fields), epochShift: shift,
            establishedWallMilliseconds: try fields.milliseconds("established_at_ms"))
    }

    private static func window(_ fields: ContextFields, _ key: StaticString) throws(ContextError) -> UInt32 {
        let size: UInt32 = try fields.number(key)
        guard (1...IKESA.windowMax).contains(size) else { throw .invalid(fields.name(key)) }
        return size
    }
}

extension IKEKeys {
    fileprivate init(_ fields: ContextFields, _ algorithms: IKEAlgorithms) throws(ContextError) {
        func direction(_ encryption: StaticString, _ integrity: StaticString) throws(ContextError) -> DirectionKeys {
            DirectionKeys(
                encryption: try fields.secret(encryption, count: algorithms.cipher.keyMaterialLength),
                integrity: try fields.secret(integrity, count: algorithms.integrity?.keyLength ?? 0))
        }
        self.init(
            derivation: try fields.secret("d", count: algorithms.prf.outputLength), initiator: try direction("ei", "ai"),
            responder: try direction("er", "ar"))
    }
}

extension Cipher {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("transform", kind.rawValue)
            $0.add("key_bits", keyBits)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        guard let cipher = Cipher(transform: try fields.number("transform"), keyBits: try fields.number("key_bits")) else {
            throw .invalid(fields.name("transform"))
        }
        self = cipher
    }
}

extension IntegrityAlgorithm {
    /// There is one if, and only if, the cipher does not bring its own.
    fileprivate static func with(_ cipher: Cipher, _ fields: ContextFields) throws(ContextError) -> IntegrityAlgorithm? {
        guard fields.has("integrity") != cipher.isAEAD else { throw .invalid(fields.name("integrity")) }
        return fields.has("integrity") ? try fields.enumeration("integrity") : nil
    }
}

extension ContextMembers {
    fileprivate mutating func put(_ lifetime: Lifetime) {
        add("rekey_at_ms", ifPresent: lifetime.rekeyAt)
        add("ends_at_ms", ifPresent: lifetime.endsAt)
    }
}

extension Lifetime {
    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            rekeyAt: try fields.milliseconds(ifPresent: "rekey_at_ms"), endsAt: try fields.milliseconds(ifPresent: "ends_at_ms"))
    }
}

extension CachedResponse {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("message_id", messageID)
            $0.add("request_digest", octets: requestDigest)
            $0.add("datagrams", datagrams: datagrams)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            messageID: try fields.number("message_id"),
            requestDigest: try fields.octets("request_digest", max: ContextFormat.digestBytesMax),
            datagrams: try fields.datagrams("datagrams"))
    }
}

extension ChildSA {
    var json: JSON {
        ContextMembers.json {
            $0.add("name", name)
            $0.add("unique_id", uniqueID)
            $0.add("inbound_spi", spi: inboundSPI)
            $0.add("outbound_spi", spi: outboundSPI)
            $0.add("encryption", algorithms.cipher.json)
            $0.add("integrity", ifPresent: algorithms.integrity?.rawValue)
            $0.add("esn", algorithms.extendedSequenceNumbers)
            $0.add("key_exchange", ifPresent: algorithms.keyExchangeGroup?.rawValue)
            $0.add(
                "keys",
                ContextMembers.json {
                    $0.add("inbound_encryption", secret: inboundKeys.encryption)
                    $0.add("inbound_integrity", secret: inboundKeys.integrity)
                    $0.add("outbound_encryption", secret: outboundKeys.encryption)
                    $0.add("outbound_integrity", secret: outboundKeys.integrity)
                })
            $0.add("mode", mode.rawValue)
            $0.add("local_selectors", .array(localSelectors.map(\.json)))
            $0.add("remote_selectors", .array(remoteSelectors.map(\.json)))
            $0.add("outbound_slice", lease.slice)
            $0.add("inbound_top", inboundTop)
            $0.add("limits", volumeLimits.json)
            $0.add("volume_bytes", volume.bytes)
            $0.add("volume_packets", volume.packets)
            $0.put(lifetime)
            $0.add("established_at_ms", establishedWallMilliseconds)
            $0.add("rekeyed", isRekeyed)
        }
    }

    init(_ fields: ContextFields) throws(ContextError) {
        let cipher = try Cipher(try fields.fields("encryption"))
        let algorithms = ESPAlgorithms(
            cipher: cipher, integrity: try IntegrityAlgorithm.with(cipher, fields), extendedSequenceNumbers: try fields.flag("esn"),
            keyExchangeGroup: fields.has("key_exchange") ? try fields.enumeration("key_exchange") : nil)
        let keys = try fields.fields("keys")
        func direction(_ encryption: StaticString, _ integrity: StaticString) throws(ContextError) -> DirectionKeys {
            DirectionKeys(
                encryption: try keys.secret(encryption, count: cipher.keyMaterialLength),
                integrity: try keys.secret(integrity, count: algorithms.integrity?.keyLength ?? 0))
        }
        self.init(
            inboundSPI: try fields.spi("inbound_spi"), outboundSPI: try fields.spi("outbound_spi"), name: try fields.text("name"),
            uniqueID: try fields.number("unique_id"), algorithms: algorithms,
            inboundKeys: try direction("inbound_encryption", "inbound_integrity"),
            outboundKeys: try direction("outbound_encryption", "outbound_integrity"), mode: try fields.enumeration("mode"),
            localSelectors: try TrafficSelector.list(fields, "local_selectors"),
            remoteSelectors: try TrafficSelector.list(fields, "remote_selectors"), lease: Lease(slice: try fields.number("outbound_slice")),
            inboundTop: try fields.number("inbound_top"), lifetime: try Lifetime(fields),
            volumeLimits: try VolumeLimits(try fields.fields("limits")),
            volume: Volume(bytes: try fields.number("volume_bytes"), packets: try fields.number("volume_packets")),
            establishedWallMilliseconds: try fields.milliseconds("established_at_ms"), isRekeyed: try fields.flag("rekeyed"))
    }
}

extension VolumeLimits {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("rekey_bytes", ifPresent: rekeyBytes)
            $0.add("end_bytes", ifPresent: endBytes)
            $0.add("rekey_packets", ifPresent: rekeyPackets)
            $0.add("end_packets", ifPresent: endPackets)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            rekeyBytes: try fields.number(ifPresent: "rekey_bytes"), endBytes: try fields.number(ifPresent: "end_bytes"),
            rekeyPackets: try fields.number(ifPresent: "rekey_packets"), endPackets: try fields.number(ifPresent: "end_packets"))
    }
}
