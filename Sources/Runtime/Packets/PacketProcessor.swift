import Session

/// An ESP packet as it lies in a receive buffer: from the SPI to the ICV.
struct ESPPacket {
    var bytes: UnsafeMutableRawBufferPointer
    /// Where it came from in UDP; `nil` without.
    var origin: Endpoint?
}

/// A data plane's part of the packet loop. Everything is called on the loop's thread, and must not wait.
protocol PacketProcessor: AnyObject, Sendable {
    /// Descriptors that the loop watches for it.
    var descriptors: [Int32] { get }
    /// ESP from the loop's UDP sockets. The buffers are the processor's until it returns.
    func receive(_ packets: UnsafeMutableBufferPointer<ESPPacket>, now: Instant)
    /// One of `descriptors` has something to read.
    ///
    /// - Returns: false when the descriptor is of no use any more.
    func readable(_ descriptor: Int32, now: Instant) -> Bool
    /// - Returns: when to be called again.
    func tick(_ now: Instant) -> Instant
}
