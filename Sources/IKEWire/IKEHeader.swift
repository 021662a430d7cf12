/// The fixed header of an IKE message (RFC 7296 §3.1).
public struct IKEHeader: Hashable, Sendable {
    /// Octets on the wire.
    public static let length = 28

    public var initiatorSPI: UInt64
    /// Zero in the first request of an IKE_SA_INIT exchange.
    public var responderSPI: UInt64
    /// The type of the first payload; 0 when there is none.
    public var nextPayload: UInt8
    /// 2, 4 bits wide. Another is given to the caller, who answers a higher one with INVALID_MAJOR_VERSION (RFC 7296 §2.5).
    public var majorVersion: UInt8
    /// 0 when sent, ignored when received; 4 bits wide.
    public var minorVersion: UInt8
    public var exchangeType: ExchangeType
    /// The I bit: sent by the original initiator of this IKE SA.
    public var isInitiator: Bool
    /// The R bit.
    public var isResponse: Bool
    /// The V bit: clear when sent, ignored when received.
    public var hasHigherVersion: Bool
    public var messageID: UInt32
    /// Octets of the whole message, this header included.
    public var length: UInt32

    public init(
        initiatorSPI: UInt64, responderSPI: UInt64, nextPayload: UInt8 = 0, majorVersion: UInt8 = 2, minorVersion: UInt8 = 0,
        exchangeType: ExchangeType, isInitiator: Bool, isResponse: Bool, hasHigherVersion: Bool = false, messageID: UInt32,
        length: UInt32 = UInt32(IKEHeader.length)
    ) {
        self.initiatorSPI = initiatorSPI
        self.responderSPI = responderSPI
        self.nextPayload = nextPayload
        self.majorVersion = majorVersion
        self.minorVersion = minorVersion
        self.exchangeType = exchangeType
        self.isInitiator = isInitiator
        self.isResponse = isResponse
        self.hasHigherVersion = hasHigherVersion
        self.messageID = messageID
        self.length = length
    }

    /// Reads the header of a whole datagram (without the non-ESP marker).
    ///
    /// The version is not judged, so that INVALID_MAJOR_VERSION can be answered.
    ///
    /// - Throws: `truncated`, `messageTooLong`, or `badMessageLength` when the length field is not `bytes.count`.
    public init(parsing bytes: [UInt8]) throws(IKEWireError) {
        guard bytes.count >= IKEHeader.length else { throw .truncated }
        guard bytes.count <= IKEWireLimits.messageLengthMax else { throw .messageTooLong(bytes.count) }
        var reader = ByteReader(bytes)
        initiatorSPI = try reader.uint64()
        responderSPI = try reader.uint64()
        nextPayload = try reader.uint8()
        let version = try reader.uint8()
        majorVersion = version >> 4
        minorVersion = version & 0x0F
        exchangeType = ExchangeType(rawValue: try reader.uint8())
        let flags = try reader.uint8()
        isInitiator = flags & Flag.initiator != 0
        isResponse = flags & Flag.response != 0
        hasHigherVersion = flags & Flag.version != 0
        messageID = try reader.uint32()
        length = try reader.uint32()
        guard length == UInt32(bytes.count) else { throw .badMessageLength(field: length, actual: bytes.count) }
    }

    /// The 28 octets. Bits of the versions above their 4 are left out; X bits are zero.
    public func encode() -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(IKEHeader.length)
        out.append(bigEndian: initiatorSPI)
        out.append(bigEndian: responderSPI)
        out.append(nextPayload)
        out.append(majorVersion << 4 | minorVersion & 0x0F)
        out.append(exchangeType.rawValue)
        out.append((isInitiator ? Flag.initiator : 0) | (isResponse ? Flag.response : 0) | (hasHigherVersion ? Flag.version : 0))
        out.append(bigEndian: messageID)
        out.append(bigEndian: length)
        return out
    }

    private enum Flag {
        static let initiator: UInt8 = 0x08
        static let version: UInt8 = 0x10
        static let response: UInt8 = 0x20
    }
}
