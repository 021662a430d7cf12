/// What moved in a context since it was sent: the data of a block of type `ipsecCounters`. With it the giver hands the session over.
///
/// Its fields, in network order: transfer (4 octets) | next message ID of the gateway's requests (4) | next message ID expected from the
/// client (4) | count of SAs (2) | zero (2) | for each: the gateway's inbound SPI (4) | zero (4) | the highest number received (8).
public struct ContextCounters: Hashable, Sendable {
    public struct Inbound: Hashable, Sendable {
        public var spi: UInt32
        public var top: UInt64
        public init(spi: UInt32, top: UInt64) {
            self.spi = spi
            self.top = top
        }
    }

    public var transfer: UInt32
    public var nextSendID: UInt32
    public var nextReceiveID: UInt32
    public var inbound: [Inbound]

    /// What fits a block.
    public static let inboundMax = (ContextDataBlock.dataBytesMax - 16) / 16

    public init(transfer: UInt32, nextSendID: UInt32, nextReceiveID: UInt32, inbound: [Inbound]) {
        self.transfer = transfer
        self.nextSendID = nextSendID
        self.nextReceiveID = nextReceiveID
        self.inbound = inbound
    }

    public init(_ block: ContextDataBlock) throws(CXTPError) {
        guard block.profile == .ipsecCounters, block.presence == nil else { throw .unexpectedProfile(block.profile) }
        var reader = CXTPReader(block.data)
        transfer = try reader.integer()
        nextSendID = try reader.integer()
        nextReceiveID = try reader.integer()
        let count = Int(try reader.integer(UInt16.self))
        _ = try reader.take(2)
        inbound = []
        for _ in 0..<count {
            let spi: UInt32 = try reader.integer()
            _ = try reader.take(4)
            inbound.append(Inbound(spi: spi, top: try reader.integer()))
        }
        guard reader.remaining < 8 else { throw .trailingBytes(reader.remaining) }
    }

    public var block: ContextDataBlock {
        var data: [UInt8] = []
        data.append(bigEndian: transfer)
        data.append(bigEndian: nextSendID)
        data.append(bigEndian: nextReceiveID)
        data.append(bigEndian: UInt16(truncatingIfNeeded: inbound.count))
        data += [0, 0]
        for sa in inbound {
            data.append(bigEndian: sa.spi)
            data += [0, 0, 0, 0]
            data.append(bigEndian: sa.top)
        }
        return ContextDataBlock(.ipsecCounters, data: data)
    }
}
