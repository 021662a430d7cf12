import Cryptography
public import Session

/// The receiving half of a CHILD SA in tunnel mode (RFC 4303 §3.4).
public final class InboundSA {
    /// The SPI that we chose.
    public let spi: UInt32
    public private(set) var window: ReplayWindow
    public private(set) var packets: UInt64 = 0
    /// Octets of inner packets.
    public private(set) var bytes: UInt64 = 0

    var selectors: ChildSelectors
    private let ivLength: Int
    private let icvLength: Int
    private let alignment: Int
    private let isAEAD: Bool
    private let extended: Bool
    private let cipher: PacketCipher
    private let scratch: UnsafeMutableRawBufferPointer

    /// - Parameter windowSize: numbers, see `ReplayWindow`.
    public init(installation: ChildInstallation, windowSize: Int = ReplayWindow.defaultSize) throws(SADatabaseError) {
        let child = installation.child
        guard child.mode == .tunnel else { throw .transportModeUnsupported }
        let algorithms = child.algorithms
        cipher = try PacketCipher.make(algorithms, keys: child.inboundKeys)
        spi = child.inboundSPI
        selectors = ChildSelectors(child)
        ivLength = algorithms.cipher.ivLength
        icvLength = algorithms.icvLength
        alignment = max(4, algorithms.cipher.blockLength)
        isAEAD = algorithms.cipher.isAEAD
        extended = algorithms.extendedSequenceNumbers
        window = ReplayWindow(size: windowSize, top: child.inboundTop)
        scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 12, alignment: 8)
        scratch.storeBigEndian(child.inboundSPI, at: 0)
    }

    deinit { scratch.deallocate() }

    /// The highest number accepted.
    public var top: UInt64 { window.top }

    /// Raises the replay window's top, never lowers it.
    public func advance(to top: UInt64) { window.advance(to: top) }

    /// Checks, decrypts in place and checks again what was inside.
    ///
    /// - Parameter packet: from the SPI to the ICV. After an error its contents are undefined.
    /// - Returns: where in `packet` the inner IP packet lies, without padding.
    public func open(_ packet: UnsafeMutableRawBufferPointer) throws(ESPError) -> Range<Int> {
        let textStart = 8 + ivLength
        let textEnd = packet.count - icvLength
        // Whole cipher blocks, at least the one that holds the trailer; 4 octets for a stream (RFC 4303 §2.4).
        guard textEnd - textStart >= alignment, (textEnd - textStart) % alignment == 0 else { throw .badLength }
        let sequence = try sequenceNumber(low: UnsafeRawBufferPointer(packet).bigEndian32(at: 4))

        let header = UnsafeRawBufferPointer(rebasing: packet[0..<8])
        let covered = scratch.authenticated(header: header, sequence: sequence, extended: extended, isAEAD: isAEAD)
        do {
            try cipher.open(
                iv: UnsafeRawBufferPointer(rebasing: packet[8..<textStart]), authenticated: covered.authenticated,
                text: UnsafeMutableRawBufferPointer(rebasing: packet[textStart..<textEnd]),
                tag: UnsafeRawBufferPointer(rebasing: packet[textEnd...]), trailer: covered.trailer)
        } catch { throw .authenticationFailed }
        window.accept(sequence)

        let inner = try innerPacket(UnsafeRawBufferPointer(rebasing: packet[textStart..<textEnd]))
        packets &+= 1
        bytes &+= UInt64(inner)
        return textStart..<textStart + inner
    }

    /// The number of a packet, if it may still be accepted (RFC 4303 §3.4.3): before any cryptography.
    private func sequenceNumber(low: UInt32) throws(ESPError) -> UInt64 {
        guard let sequence = extended ? window.inferred(low: low) : UInt64(low) else { throw .replayTooOld }
        switch window.check(sequence) {
        case .fresh: return sequence
        case .duplicate: throw .replayDuplicate
        case .tooOld: throw .replayTooOld
        }
    }

    /// The length of the inner packet at the start of the authentic `text`, once padding and selectors were checked.
    private func innerPacket(_ text: UnsafeRawBufferPointer) throws(ESPError) -> Int {
        let padding = Int(text[text.count - 2])
        let nextHeader = text[text.count - 1]
        let payloadLength = text.count - 2 - padding
        guard payloadLength >= 0 else { throw .badPadding }
        // RFC 4303 §2.4: the receiver should look at the padding.
        for index in 0..<padding where text[payloadLength + index] != UInt8(truncatingIfNeeded: index + 1) { throw .badPadding }
        if nextHeader == 59 { throw .dummyPacket }
        guard nextHeader == 4 || nextHeader == 41 else { throw .unsupportedNextHeader }
        guard let flow = PacketFlow(UnsafeRawBufferPointer(rebasing: text[0..<payloadLength])),
            flow.source.isIPv4 == (nextHeader == 4)
        else { throw .malformedInboundPacket }
        guard selectors.matchInbound(flow) else { throw .selectorMismatch }
        return flow.length
    }
}
