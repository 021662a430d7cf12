import Cryptography

/// A part of a context: the data of a block of type `ipsecContext`.
///
/// Its fields, all in network order: transfer (4 octets) | part, counted from 0 (2) | parts (2) | octets of the whole context (4) |
/// octets in this part (2) | zero (2) | the first 8 octets of the context's SHA-256 | the octets. There is no presence vector: no field
/// has a default.
struct ContextPart: Hashable {
    static let headerBytes = 24
    static let digestBytes = 8
    static let bytesMax = ContextDataBlock.dataBytesMax - headerBytes

    var transfer: UInt32
    var index: UInt16
    var count: UInt16
    var total: UInt32
    var digest: [UInt8]
    var bytes: [UInt8]

    init(transfer: UInt32, index: UInt16, count: UInt16, total: UInt32, digest: [UInt8], bytes: [UInt8]) {
        self.transfer = transfer
        self.index = index
        self.count = count
        self.total = total
        self.digest = digest
        self.bytes = bytes
    }

    init(_ block: ContextDataBlock) throws(CXTPError) {
        guard block.profile == .ipsecContext, block.presence == nil else { throw .unexpectedProfile(block.profile) }
        var reader = CXTPReader(block.data)
        transfer = try reader.integer()
        index = try reader.integer()
        count = try reader.integer()
        total = try reader.integer()
        let length = Int(try reader.integer(UInt16.self))
        _ = try reader.take(2)
        digest = Array(try reader.take(ContextPart.digestBytes))
        bytes = Array(try reader.take(length))
        guard reader.remaining < 8 else { throw .trailingBytes(reader.remaining) }
    }

    var block: ContextDataBlock {
        var data: [UInt8] = []
        data.append(bigEndian: transfer)
        data.append(bigEndian: index)
        data.append(bigEndian: count)
        data.append(bigEndian: total)
        data.append(bigEndian: UInt16(bytes.count))
        data += [0, 0] + digest + bytes
        return ContextDataBlock(.ipsecContext, data: data)
    }

    static func digest(of context: [UInt8]) -> [UInt8] { Array(sha256(context).prefix(digestBytes)) }
}

extension ContextDataBlock {
    /// Blocks in one message, so that it stays below what its header's length can say.
    public static let perMessage = 31

    /// A context in as many blocks as it takes.
    ///
    /// - Parameter transfer: names the transfer to both gateways.
    /// - Throws: `contextTooLong`.
    public static func blocks(of context: [UInt8], transfer: UInt32) throws(CXTPError) -> [ContextDataBlock] {
        guard !context.isEmpty, context.count <= CXTPLimits.contextBytesMax else { throw .contextTooLong(context.count) }
        let digest = ContextPart.digest(of: context)
        let starts = Array(stride(from: 0, to: context.count, by: ContextPart.bytesMax))
        return starts.enumerated().map { index, start in
            let bytes = Array(context[start..<min(start + ContextPart.bytesMax, context.count)])
            return ContextPart(
                transfer: transfer, index: UInt16(index), count: UInt16(starts.count), total: UInt32(context.count), digest: digest,
                bytes: bytes
            ).block
        }
    }
}

/// Puts a context together from its blocks, whatever their order. Holds at most one context.
public struct ContextAssembler: Sendable {
    /// The transfer's name: a block of another begins anew.
    public private(set) var transfer: UInt32?
    private var first: ContextPart?
    private var parts: [UInt16: [UInt8]] = [:]

    public init() {}

    /// Takes a block in.
    ///
    /// - Returns: the context when this was the last that was missing.
    /// - Throws: when it does not fit to the others. What was there stays.
    public mutating func add(_ block: ContextDataBlock) throws(CXTPError) -> [UInt8]? {
        let part = try ContextPart(block)
        guard part.total > 0, part.total <= UInt32(CXTPLimits.contextBytesMax) else { throw .contextTooLong(Int(part.total)) }
        guard part.index < part.count, ContextAssembler.isExpected(part) else { throw .inconsistentParts }
        if let first, first.transfer == part.transfer {
            guard (first.count, first.total, first.digest) == (part.count, part.total, part.digest) else { throw .inconsistentParts }
            if let known = parts[part.index], known != part.bytes { throw .inconsistentParts }
        } else {
            self = ContextAssembler()
            first = part
            transfer = part.transfer
        }
        parts[part.index] = part.bytes
        guard parts.count == Int(part.count) else { return nil }
        let context = (0..<part.count).flatMap { parts[$0] ?? [] }
        self = ContextAssembler()
        guard ContextPart.digest(of: context) == part.digest else { throw .badChecksum }
        return context
    }

    /// Every part but the last is full, and together they are the whole: so there is one way to cut a context, and no count of parts
    /// makes us keep more than the context.
    private static func isExpected(_ part: ContextPart) -> Bool {
        let total = Int(part.total)
        guard Int(part.count) == (total + ContextPart.bytesMax - 1) / ContextPart.bytesMax else { return false }
        let start = Int(part.index) * ContextPart.bytesMax
        return part.bytes.count == min(ContextPart.bytesMax, total - start)
    }
}
