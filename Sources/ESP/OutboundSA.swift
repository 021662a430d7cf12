public import Cryptography
public import Session

/// The sending half of a CHILD SA in tunnel mode (RFC 4303 §3.3), with the sequence numbers it may use (law 3).
public final class OutboundSA {
    /// The SPI that the peer chose.
    public let spi: UInt32
    /// The number that the next packet will have.
    public private(set) var next: UInt64
    /// The last number that may be used.
    public private(set) var limit: UInt64
    public private(set) var packets: UInt64 = 0
    /// Octets of inner packets.
    public private(set) var bytes: UInt64 = 0

    /// Octets that stand before the inner packet: SPI, sequence number, IV.
    public let headerLength: Int
    private let ivLength: Int
    private let icvLength: Int
    /// Text and trailer fill a multiple of it: a cipher block, at least 4 octets (RFC 4303 §2.4).
    private let alignment: Int
    private let isAEAD: Bool
    private let hasCounterIV: Bool
    private let extended: Bool
    private let cipher: PacketCipher
    private let random: RandomPool
    /// SPI and 64-bit number for the AAD of a combined mode (RFC 4106 §5); the middle word alone is the trailer of a MAC.
    private let scratch: UnsafeMutableRawBufferPointer

    /// The most octets that ESP adds to an inner packet: header, CBC IV, padding, trailer, the longest ICV.
    public static let overheadMax = 8 + 16 + 15 + 2 + 32
    /// The most octets that stand before an inner packet.
    public static let headerLengthMax = 8 + 16

    public convenience init(installation: ChildInstallation, random: RandomSource = .system) throws(SADatabaseError) {
        try self.init(installation: installation, pool: RandomPool(source: random))
    }

    init(installation: ChildInstallation, pool: RandomPool) throws(SADatabaseError) {
        let child = installation.child
        guard child.mode == .tunnel else { throw .transportModeUnsupported }
        let algorithms = child.algorithms
        cipher = try PacketCipher.make(algorithms, keys: child.outboundKeys)
        spi = child.outboundSPI
        ivLength = algorithms.cipher.ivLength
        icvLength = algorithms.icvLength
        alignment = max(4, algorithms.cipher.blockLength)
        isAEAD = algorithms.cipher.isAEAD
        hasCounterIV = algorithms.cipher.hasCounterIV
        extended = algorithms.extendedSequenceNumbers
        headerLength = 8 + algorithms.cipher.ivLength
        random = pool
        next = max(1, installation.numbers.next)
        limit = OutboundSA.usable(installation.numbers.limit, extended: algorithms.extendedSequenceNumbers)
        scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 12, alignment: 8)
        scratch.storeBigEndian(child.outboundSPI, at: 0)
    }

    deinit { scratch.deallocate() }

    /// What may be used of a lease: a number never wraps (RFC 4303 §3.3.3).
    private static func usable(_ limit: UInt64, extended: Bool) -> UInt64 {
        min(limit, extended ? UInt64.max - 1 : UInt64(UInt32.max))
    }

    /// Raises the next number and the last one; neither is ever lowered.
    public func lease(_ numbers: LeasedNumbers) {
        next = max(next, numbers.next)
        limit = max(limit, OutboundSA.usable(numbers.limit, extended: extended))
    }

    /// Makes an ESP packet round an inner packet that already lies in `buffer`, without a copy.
    ///
    /// - Parameters:
    ///   - buffer: has at least `headerLength` octets before the inner packet, and room for the trailer and ICV after it.
    ///   - payload: where the inner packet lies.
    /// - Returns: where the ESP packet lies.
    public func seal(in buffer: UnsafeMutableRawBufferPointer, payload: Range<Int>) throws(ESPError) -> Range<Int> {
        guard !payload.isEmpty, payload.lowerBound >= headerLength, payload.upperBound <= buffer.count else { throw .tooLong }
        let padding = (alignment &- (payload.count &+ 2) % alignment) % alignment
        let textEnd = payload.upperBound + padding + 2
        guard buffer.count - textEnd >= icvLength, payload.upperBound <= buffer.count else { throw .tooLong }
        let nextHeader: UInt8
        switch buffer[payload.lowerBound] >> 4 {
        case 4: nextHeader = 4
        case 6: nextHeader = 41
        default: throw .malformedOutboundPacket
        }
        guard next <= limit else { throw .leaseExhausted }
        let sequence = next
        // Before anything can fail: whatever becomes of the packet, the number is gone (law 3).
        next += 1

        let start = payload.lowerBound - headerLength
        buffer.storeBigEndian(spi, at: start)
        buffer.storeBigEndian(UInt32(truncatingIfNeeded: sequence), at: start + 4)
        let iv = UnsafeMutableRawBufferPointer(rebasing: buffer[start + 8..<payload.lowerBound])
        writeIV(iv, sequence: sequence)
        for index in 0..<padding { buffer[payload.upperBound + index] = UInt8(truncatingIfNeeded: index + 1) }
        buffer[textEnd - 2] = UInt8(truncatingIfNeeded: padding)
        buffer[textEnd - 1] = nextHeader

        let header = UnsafeRawBufferPointer(rebasing: buffer[start..<start + 8])
        let text = UnsafeMutableRawBufferPointer(rebasing: buffer[payload.lowerBound..<textEnd])
        let tag = UnsafeMutableRawBufferPointer(rebasing: buffer[textEnd..<textEnd + icvLength])
        let covered = scratch.authenticated(header: header, sequence: sequence, extended: extended, isAEAD: isAEAD)
        do {
            try cipher.seal(
                iv: UnsafeRawBufferPointer(iv), authenticated: covered.authenticated, text: text, tag: tag, trailer: covered.trailer)
        } catch { throw .sealFailed }
        packets &+= 1
        bytes &+= UInt64(payload.count)
        return start..<textEnd + icvLength
    }

    /// The same with a copy: `inner` becomes an ESP packet at the start of `target`.
    ///
    /// - Returns: the length of the ESP packet.
    public func seal(innerPacket inner: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) throws(ESPError) -> Int {
        guard target.count >= headerLength, target.count - headerLength >= inner.count else { throw .tooLong }
        UnsafeMutableRawBufferPointer(rebasing: target[headerLength...]).copyMemory(from: inner)
        return try seal(in: target, payload: headerLength..<headerLength + inner.count).upperBound
    }

    /// The sequence number itself, which the lease makes unique over both nodes (RFC 3686 §3.1, RFC 4106 §3.1, RFC 7634 §2); for
    /// AES-CBC random octets (RFC 3602 §3).
    private func writeIV(_ iv: UnsafeMutableRawBufferPointer, sequence: UInt64) {
        if hasCounterIV {
            iv.storeBigEndian(sequence, at: 0)
        } else {
            random.fill(iv)
        }
    }
}

extension PacketCipher {
    /// The cipher of one direction, with the library's error as a database's.
    static func make(_ algorithms: ESPAlgorithms, keys: DirectionKeys) throws(SADatabaseError) -> PacketCipher {
        do {
            return try PacketCipher(
                cipher: algorithms.cipher, integrity: algorithms.integrity, keys: keys.encryption, integrityKey: keys.integrity)
        } catch { throw .badKeys(error) }
    }
}

extension ESPAlgorithms {
    /// The ICV's length in octets.
    var icvLength: Int { cipher.isAEAD ? cipher.icvLength : integrity?.icvLength ?? 0 }
}

extension UnsafeMutableRawBufferPointer {
    @inline(__always)
    func storeBigEndian(_ value: some FixedWidthInteger, at offset: Int) {
        precondition(offset >= 0 && offset + value.bitWidth / 8 <= count)
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: type(of: value))
    }

    /// What is authenticated beside IV and text, in this 12-octet scratch whose first word is the SPI: a combined mode takes
    /// SPI and the 64-bit number (RFC 4106 §5), a separate MAC the header as sent and the upper half at the end
    /// (RFC 4303 §3.3.2.1); without ESN both take the header as sent.
    @inline(__always)
    func authenticated(
        header: UnsafeRawBufferPointer, sequence: UInt64, extended: Bool, isAEAD: Bool
    ) -> (authenticated: UnsafeRawBufferPointer, trailer: UnsafeRawBufferPointer) {
        guard extended else { return (header, UnsafeRawBufferPointer(start: nil, count: 0)) }
        storeBigEndian(sequence, at: 4)
        if isAEAD { return (UnsafeRawBufferPointer(self), UnsafeRawBufferPointer(start: nil, count: 0)) }
        return (header, UnsafeRawBufferPointer(rebasing: self[4..<8]))
    }
}
