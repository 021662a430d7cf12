/// Cuts a byte stream into frames: four octets of length, big-endian, then as many octets of payload.
///
/// Holds at most what was appended and not yet taken; a length above the limit is refused before anything is kept for it.
public struct FrameSplitter: Sendable {
    public static let lengthBytes = 4

    private var buffer: [UInt8] = []
    /// Where the next frame begins in `buffer`.
    private var start = 0
    private let frameBytesMax: Int

    /// Octets that were used up before the buffer is moved together.
    private static let compactionBytes = 64 << 10

    public init(frameBytesMax: Int = PairProtocol.frameBytesMax) { self.frameBytesMax = frameBytesMax }

    /// Octets that wait for the rest of their frame.
    public var bufferedCount: Int { buffer.count - start }

    public mutating func append(_ bytes: some Collection<UInt8>) {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: buffer.capacity <= FrameSplitter.compactionBytes)
            start = 0
        } else if start >= FrameSplitter.compactionBytes {
            buffer.removeFirst(start)
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The payload of the next whole frame; `nil` until more bytes come.
    ///
    /// - Throws: `frameTooLarge`, from then on at every call: the stream cannot be read any further.
    public mutating func next() throws(PairWireError) -> [UInt8]? {
        guard bufferedCount >= FrameSplitter.lengthBytes else { return nil }
        let body = start + FrameSplitter.lengthBytes
        let length = buffer[start..<body].reduce(0) { $0 << 8 | Int($1) }
        guard length <= frameBytesMax else { throw .frameTooLarge(length) }
        guard buffer.count - body >= length else { return nil }
        start = body + length
        return Array(buffer[body..<start])
    }

    /// A payload with its length in front, as it goes over the link.
    ///
    /// - Throws: `frameTooLarge` if the other node would refuse it.
    public static func framed(_ payload: [UInt8], frameBytesMax: Int = PairProtocol.frameBytesMax) throws(PairWireError) -> [UInt8] {
        guard payload.count <= frameBytesMax, let length = UInt32(exactly: payload.count) else { throw .frameTooLarge(payload.count) }
        return (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + payload
    }
}
