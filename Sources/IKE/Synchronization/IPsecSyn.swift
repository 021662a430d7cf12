/// IPSEC_SYN, a notify of Tandem's own: from which numbers on the owner of a context goes on, in its IKE SA and in each CHILD SA.
///
/// Data: nonce (8 octets), next message ID of the sender's requests (4), next message ID that it expects (4), a count (2), and so many
/// times an SPI (4) with the first outbound number (8). All in network order, and nothing after it.
public struct IPsecSyn: Hashable, Sendable {
    /// Where one CHILD SA goes on.
    public struct Start: Hashable, Sendable {
        /// The inbound SPI of whoever gets the notify, and so the outbound SPI of its sender.
        public var spi: UInt32
        /// The new owner sends no number below this one.
        public var number: UInt64

        public init(spi: UInt32, number: UInt64) {
            self.spi = spi
            self.number = number
        }
    }

    /// Why octets are none.
    public enum ParseError: Error, Hashable, Sendable {
        case truncated
        /// The count says so many CHILD SAs, and the octets are those of another number of them.
        case wrongCount(UInt16)
        /// An SPI that is reserved (RFC 4303 §2.1).
        case reservedSPI(UInt32)
        case repeatedSPI(UInt32)
        /// No packet has the number 0 (RFC 4303 §3.3.3).
        case zeroNumber(spi: UInt32)
    }

    /// Joins question and answer.
    public var nonce: UInt64
    public var nextSendID: UInt32
    public var nextReceiveID: UInt32
    public var starts: [Start]

    public init(nonce: UInt64, nextSendID: UInt32, nextReceiveID: UInt32, starts: [Start]) {
        self.nonce = nonce
        self.nextSendID = nextSendID
        self.nextReceiveID = nextReceiveID
        self.starts = starts
    }

    /// CHILD SAs that one notify can name, at most: what a payload's 16-bit length leaves room for, less headers around it.
    public static let startsMax = 4096

    private static let headLength = 18
    private static let startLength = 12

    /// More than `startsMax` CHILD SAs are cut off.
    public func encode() -> [UInt8] {
        let told = starts.prefix(IPsecSyn.startsMax)
        return nonce.networkBytes + nextSendID.networkBytes + nextReceiveID.networkBytes + UInt16(told.count).networkBytes
            + told.flatMap { $0.spi.networkBytes + $0.number.networkBytes }
    }

    /// - Parameter data: a notify's data.
    public init(parsing data: [UInt8]) throws(ParseError) {
        func integer<Value: FixedWidthInteger & UnsignedInteger>(_ type: Value.Type, at offset: Int) -> Value {
            data[offset..<offset + Value.bitWidth / 8].reduce(0) { $0 << 8 | Value($1) }
        }
        guard data.count >= IPsecSyn.headLength else { throw .truncated }
        let count = integer(UInt16.self, at: 16)
        guard data.count == IPsecSyn.headLength + Int(count) * IPsecSyn.startLength else { throw .wrongCount(count) }
        var seen: Set<UInt32> = []
        starts = []
        for index in 0..<Int(count) {
            let offset = IPsecSyn.headLength + index * IPsecSyn.startLength
            let start = Start(spi: integer(UInt32.self, at: offset), number: integer(UInt64.self, at: offset + 4))
            guard start.spi > 255 else { throw .reservedSPI(start.spi) }
            guard start.number > 0 else { throw .zeroNumber(spi: start.spi) }
            guard seen.insert(start.spi).inserted else { throw .repeatedSPI(start.spi) }
            starts.append(start)
        }
        nonce = integer(UInt64.self, at: 0)
        nextSendID = integer(UInt32.self, at: 8)
        nextReceiveID = integer(UInt32.self, at: 12)
    }
}
