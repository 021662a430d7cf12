/// The anti-replay window of one inbound SA: RFC 4303 §3.4.3 with the ring of RFC 6479, and Appendix A's inference of the
/// upper half of an extended sequence number.
///
/// Check first, authenticate, then accept: a number is marked only when its packet was authentic.
public struct ReplayWindow: Sendable {
    public enum Verdict: Hashable, Sendable { case fresh, duplicate, tooOld }

    /// Numbers that are told apart at and below the top.
    public static let defaultSize = 1024
    /// Past this the ring would be too small: one word more than the window has to fit (RFC 6479 §2).
    public static let sizeMax = (wordCount - 1) * 64
    private static let wordCount = 32

    private var ring = InlineArray<32, UInt64>(repeating: 0)
    /// W.
    public let size: UInt64
    /// The highest number accepted: T of RFC 4303 Appendix A.
    public private(set) var top: UInt64

    /// All numbers up to `top` count as accepted: what another node has seen of them is not known here.
    ///
    /// - Parameter size: brought into 32 (RFC 4303 §3.4.3) ... `sizeMax`.
    public init(size: Int = ReplayWindow.defaultSize, top: UInt64 = 0) {
        self.size = UInt64(min(max(size, 32), ReplayWindow.sizeMax))
        self.top = top
        guard top > 0 else { return }
        ring = InlineArray(repeating: .max)
        // The bits above the top in its own word are for numbers to come.
        ring[ReplayWindow.word(top)] = .max >> (63 - (top & 63))
    }

    /// The 64-bit number whose low half a packet carries (RFC 4303 §A2.2); `nil` if it would lie before the first one.
    @inline(__always)
    public func inferred(low: UInt32) -> UInt64? {
        let topLow = UInt32(truncatingIfNeeded: top)
        let topHigh = top >> 32
        let bottomLow = topLow &- UInt32(truncatingIfNeeded: size - 1)
        let spansTwoSubspaces = topLow < UInt32(truncatingIfNeeded: size - 1)
        let high: UInt64
        switch (spansTwoSubspaces, low >= bottomLow) {
        case (false, true): high = topHigh
        case (false, false):
            guard topHigh < 0xFFFF_FFFF else { return nil }
            high = topHigh + 1
        case (true, true):
            guard topHigh > 0 else { return nil }
            high = topHigh - 1
        case (true, false): high = topHigh
        }
        return high << 32 | UInt64(low)
    }

    /// Whether a number may still be accepted. Changes nothing.
    @inline(__always)
    public func check(_ sequence: UInt64) -> Verdict {
        if sequence > top { return .fresh }
        if sequence == 0 || top - sequence >= size { return .tooOld }
        return isMarked(sequence) ? .duplicate : .fresh
    }

    /// Marks the number of an authentic packet; call only after `check` said `.fresh`.
    @inline(__always)
    public mutating func accept(_ sequence: UInt64) {
        if sequence > top {
            forgetWords(after: top, through: sequence)
            top = sequence
        }
        ring[ReplayWindow.word(sequence)] |= 1 << (sequence & 63)
    }

    /// Raises the top, never lowers it. The numbers in between count as accepted.
    public mutating func advance(to newTop: UInt64) {
        guard newTop > top else { return }
        if newTop - top >= size {
            self = ReplayWindow(size: Int(size), top: newTop)
        } else {
            for sequence in (top + 1)...newTop { accept(sequence) }
        }
    }

    private static func word(_ sequence: UInt64) -> Int { Int(truncatingIfNeeded: sequence >> 6) & (wordCount - 1) }

    @inline(__always)
    private func isMarked(_ sequence: UInt64) -> Bool { ring[ReplayWindow.word(sequence)] & 1 << (sequence & 63) != 0 }

    /// Empties the words that the window reaches anew: they hold what was there a turn of the ring ago.
    @inline(__always)
    private mutating func forgetWords(after old: UInt64, through new: UInt64) {
        let reached = min((new >> 6) - (old >> 6), UInt64(ReplayWindow.wordCount))
        var index = new >> 6
        for _ in 0..<reached {
            ring[Int(truncatingIfNeeded: index) & (ReplayWindow.wordCount - 1)] = 0
            index &-= 1
        }
    }
}
