import Control
import NIOCore

/// Cuts a stream into packets. What is too long or cannot be read is an error, after which nothing more is read.
struct VICIFrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = VICIPacket

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let header = buffer.getBytes(at: buffer.readerIndex, length: 4) else { return .needMoreData }
        let length = try VICIPacket.length(of: header)
        guard buffer.readableBytes >= 4 + length else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: 4)
        let bytes = buffer.readBytes(length: length) ?? []
        context.fireChannelRead(wrapInboundOut(try VICIPacket(parsing: bytes)))
        return .continue
    }

    /// A client that goes away inside a packet is no news.
    mutating func decodeLast(context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool) throws -> DecodingState {
        .needMoreData
    }
}
