import Context
import NIOCore
import Pair

/// How the octets of a connection become messages. A value of it belongs to one connection.
protocol ConnectionFraming {
    associatedtype Message

    /// What comes first in both directions. Another protocol, or another future of this one, says something else.
    static var preamble: [UInt8] { get }
    /// What may wait for the other side, in octets. One that is further behind is let go.
    static var waitingBytesMax: Int { get }
    /// How long a connection without a message in either direction stays; `nil`: for ever.
    static var idleTimeout: TimeAmount? { get }

    init()

    mutating func append(_ bytes: ByteBufferView)
    /// The next whole message; `nil` until more octets come.
    mutating func next() throws(FramingError) -> Message?
}

/// The stream cannot be read any further: the other side's fault.
struct FramingError: Error, Equatable {
    var text: String
}

/// The pair's frames: a length, then protobuf.
struct PairFraming: ConnectionFraming {
    static let preamble = Array("tandem-pair/1\n".utf8)
    /// Eight of the largest frames would be 256 MiB; a peer that is 64 MiB behind is not a standby.
    static let waitingBytesMax = 64 << 20
    static let idleTimeout: TimeAmount? = nil

    private var splitter = FrameSplitter()

    mutating func append(_ bytes: ByteBufferView) { splitter.append(bytes) }

    mutating func next() throws(FramingError) -> PairFrame? {
        do throws(PairWireError) {
            return try splitter.next().map { (payload) throws(PairWireError) in try PairFrameCodec.decode(payload) }
        } catch {
            throw FramingError(text: error.text)
        }
    }
}

/// Messages of CXTP, whose headers say how long they are.
struct TransferFraming: ConnectionFraming {
    static let preamble = Array("tandem-cxtp/1\n".utf8)
    /// Eight of the largest contexts.
    static let waitingBytesMax = 8 * CXTPLimits.contextBytesMax
    /// Far longer than a transfer takes.
    static let idleTimeout: TimeAmount? = .seconds(120)

    private var buffer: [UInt8] = []

    mutating func append(_ bytes: ByteBufferView) { buffer += bytes }

    mutating func next() throws(FramingError) -> CXTPMessage? {
        do throws(CXTPError) {
            guard let length = try CXTPMessage.length(of: buffer.prefix(CXTPLimits.headerBytes)), buffer.count >= length else { return nil }
            let message = try CXTPMessage(parsing: Array(buffer[..<length]))
            buffer.removeFirst(length)
            return message
        } catch {
            throw FramingError(text: "a message is malformed: \(error)")
        }
    }
}
