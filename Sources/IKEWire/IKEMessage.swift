/// An IKE message: the header's meaning and its payloads (RFC 7296 §3).
///
/// Of a protected message these are the payloads before the Encrypted one, and that one, still closed, as the last.
public struct IKEMessage: Hashable, Sendable {
    public var initiatorSPI: UInt64
    /// Zero in the first request of an IKE_SA_INIT exchange.
    public var responderSPI: UInt64
    public var exchangeType: ExchangeType
    /// The I bit: sent by the original initiator of this IKE SA.
    public var isInitiator: Bool
    /// The R bit.
    public var isResponse: Bool
    public var messageID: UInt32
    public var payloads: [Payload]

    public init(
        initiatorSPI: UInt64, responderSPI: UInt64, exchangeType: ExchangeType, isInitiator: Bool, isResponse: Bool, messageID: UInt32,
        payloads: [Payload]
    ) {
        self.initiatorSPI = initiatorSPI
        self.responderSPI = responderSPI
        self.exchangeType = exchangeType
        self.isInitiator = isInitiator
        self.isResponse = isResponse
        self.messageID = messageID
        self.payloads = payloads
    }

    public init(header: IKEHeader, payloads: [Payload]) {
        self.init(
            initiatorSPI: header.initiatorSPI, responderSPI: header.responderSPI, exchangeType: header.exchangeType,
            isInitiator: header.isInitiator, isResponse: header.isResponse, messageID: header.messageID, payloads: payloads)
    }

    /// Reads a whole datagram (without the non-ESP marker).
    ///
    /// - Throws: what `IKEHeader.init(parsing:)` throws, `unsupportedMajorVersion` for any but 2, `zeroInitiatorSPI`, and what is
    ///   wrong with a payload.
    public init(parsing bytes: [UInt8]) throws(IKEWireError) {
        let header = try IKEHeader(parsing: bytes)
        guard header.majorVersion == 2 else { throw .unsupportedMajorVersion(header.majorVersion) }
        guard header.initiatorSPI != 0 else { throw .zeroInitiatorSPI }
        var reader = ByteReader(bytes)
        try reader.skip(IKEHeader.length)
        self.init(header: header, payloads: try PayloadChain.parse(first: header.nextPayload, &reader, mayHoldEncrypted: true))
    }

    /// The header's fields, version 2.0; next payload and length are those of a message without payloads.
    public var header: IKEHeader {
        IKEHeader(
            initiatorSPI: initiatorSPI, responderSPI: responderSPI, exchangeType: exchangeType, isInitiator: isInitiator,
            isResponse: isResponse, messageID: messageID)
    }

    /// The message's octets. Traps when a payload or a count is longer than its field: what is sent is ours to bound.
    public func encode() -> [UInt8] {
        let chain = IKEMessage.encodePayloads(payloads)
        var header = self.header
        header.nextPayload = chain.first
        header.length = UInt32(IKEHeader.length + chain.bytes.count)
        return header.encode() + chain.bytes
    }

    /// Reads the payloads inside a decrypted Encrypted payload, padding and pad length already taken away.
    ///
    /// - Parameter first: the Next Payload field of the Encrypted payload.
    public static func parsePayloads(first: UInt8, bytes: [UInt8]) throws(IKEWireError) -> [Payload] {
        guard bytes.count <= IKEWireLimits.messageLengthMax else { throw .messageTooLong(bytes.count) }
        var reader = ByteReader(bytes)
        return try PayloadChain.parse(first: first, &reader, mayHoldEncrypted: false)
    }

    /// The chain of payloads, and the type of the first: 0 when there is none (an empty INFORMATIONAL message).
    public static func encodePayloads(_ payloads: [Payload]) -> (first: UInt8, bytes: [UInt8]) {
        (payloads.first?.type ?? PayloadType.noNextPayload, PayloadChain.encode(payloads))
    }

    /// The first 32 octets of a message whose only payload is an Encrypted one: the IKE header and the generic header of SK, with
    /// next payloads and lengths in place. They are what an AEAD authenticates beside the text (RFC 5282 §5.1).
    ///
    /// - Parameters:
    ///   - firstInner: the type of the first payload inside.
    ///   - sealedLength: octets of IV, ciphertext and integrity checksum, which follow these.
    public static func protectedHeader(header: IKEHeader, firstInner: UInt8, sealedLength: Int) -> [UInt8] {
        headers(header, type: PayloadType.encrypted, firstInner: firstInner, fields: [], sealedLength: sealedLength)
    }

    /// As `protectedHeader`, of one fragment (RFC 7383 §2.5): 36 octets.
    ///
    /// - Parameter number: 1 to `total`. `firstInner` is told in the first fragment only.
    public static func fragmentHeader(
        header: IKEHeader, firstInner: UInt8, number: UInt16, total: UInt16, sealedLength: Int
    ) -> [UInt8] {
        var fields: [UInt8] = []
        fields.append(bigEndian: number)
        fields.append(bigEndian: total)
        let first = number == 1 ? firstInner : PayloadType.noNextPayload
        return headers(header, type: PayloadType.encryptedFragment, firstInner: first, fields: fields, sealedLength: sealedLength)
    }

    /// Octets of `protectedHeader` and of `fragmentHeader`.
    public static let protectedHeaderLength = IKEHeader.length + PayloadChain.genericHeaderLength
    public static let fragmentHeaderLength = protectedHeaderLength + 4

    private static func headers(
        _ header: IKEHeader, type: UInt8, firstInner: UInt8, fields: [UInt8], sealedLength: Int
    ) -> [UInt8] {
        var header = header
        header.nextPayload = type
        let payloadLength = PayloadChain.genericHeaderLength + fields.count + sealedLength
        precondition(IKEHeader.length + payloadLength <= IKEWireLimits.messageLengthMax, "a message of \(payloadLength) octets and more")
        header.length = UInt32(IKEHeader.length + payloadLength)
        var out = header.encode()
        out += [firstInner, 0]
        out.append(bigEndian: UInt16(payloadLength))
        return out + fields
    }
}

/// The chain of generic payload headers (RFC 7296 §3.2).
enum PayloadChain {
    static let genericHeaderLength = 4
    private static let criticalBit: UInt8 = 0x80

    static func parse(first: UInt8, _ reader: inout ByteReader, mayHoldEncrypted: Bool) throws(IKEWireError) -> [Payload] {
        var payloads: [Payload] = []
        var seen: Set<UInt8> = []
        var type = first
        while type != PayloadType.noNextPayload {
            guard payloads.count < IKEWireLimits.payloadsPerMessageMax else { throw .tooManyPayloads }
            let next = try reader.uint8()
            let isCritical = try reader.uint8() & criticalBit != 0
            let length = Int(try reader.uint16())
            guard length >= genericHeaderLength, length - genericHeaderLength <= reader.remaining else {
                throw .badPayloadLength(type: type, length: length)
            }
            var body = try reader.part(length - genericHeaderLength)
            if isEncrypted(type) {
                guard mayHoldEncrypted else { throw .nestedEncrypted }
                guard reader.isAtEnd else { throw .encryptedNotLast }
                payloads.append(try encrypted(type: type, firstPayload: next, &body))
                return payloads
            }
            if comesOnce(type), !seen.insert(type).inserted { throw .duplicatePayload(type) }
            payloads.append(try Payload(type: type, isCritical: isCritical, body: &body))
            type = next
        }
        try reader.requireEnd()
        return payloads
    }

    private static func isEncrypted(_ type: UInt8) -> Bool { type == PayloadType.encrypted || type == PayloadType.encryptedFragment }

    private static func encrypted(type: UInt8, firstPayload: UInt8, _ body: inout ByteReader) throws(IKEWireError) -> Payload {
        if type == PayloadType.encryptedFragment {
            return .encryptedFragment(try EncryptedFragmentPayload(firstPayload: firstPayload, body: &body))
        }
        return .encrypted(EncryptedPayload(firstPayload: firstPayload, bodyOffset: body.offset, body: body.takeRest()))
    }

    /// RFC 7296 §1.2–1.4 give each exchange one of these at most; with two, which one counts would be anybody's guess.
    private static func comesOnce(_ type: UInt8) -> Bool {
        switch type {
        case PayloadType.securityAssociation, PayloadType.keyExchange, PayloadType.identificationInitiator,
            PayloadType.identificationResponder, PayloadType.authentication, PayloadType.nonce,
            PayloadType.trafficSelectorsInitiator, PayloadType.trafficSelectorsResponder, PayloadType.configuration, PayloadType.eap:
            true
        default: false
        }
    }

    static func encode(_ payloads: [Payload]) -> [UInt8] {
        var out: [UInt8] = []
        for (index, payload) in payloads.enumerated() {
            let start = out.count
            out += [next(after: index, in: payloads), flags(of: payload), 0, 0]
            payload.encodeBody(into: &out)
            out.setLength(at: start + 2, from: start)
        }
        return out
    }

    /// An Encrypted payload's field names the first payload inside instead of one that follows (RFC 7296 §3.2).
    private static func next(after index: Int, in payloads: [Payload]) -> UInt8 {
        switch payloads[index] {
        case .encrypted(let payload): payload.firstPayload
        case .encryptedFragment(let payload): payload.firstPayload
        default: index + 1 < payloads.count ? payloads[index + 1].type : PayloadType.noNextPayload
        }
    }

    private static func flags(of payload: Payload) -> UInt8 {
        if case .unknown(_, let isCritical, _) = payload, isCritical { return criticalBit }
        return 0
    }
}
