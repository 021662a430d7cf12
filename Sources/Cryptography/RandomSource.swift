import COpenSSL
import Synchronization

/// Where random bytes come from: the system in a gateway, a seed in a test or a simulation.
public struct RandomSource: Sendable {
    private let fill: @Sendable (Int) -> [UInt8]

    /// - Parameter fill: returns as many fresh bytes as it is asked for.
    public init(_ fill: @escaping @Sendable (Int) -> [UInt8]) { self.fill = fill }

    public func bytes(_ count: Int) -> [UInt8] {
        let out = fill(count)
        precondition(out.count == count, "a random source gave \(out.count) bytes for \(count)")
        return out
    }

    public func uint64() -> UInt64 { bytes(8).reduce(0) { $0 << 8 | UInt64($1) } }
    public func uint32() -> UInt32 { bytes(4).reduce(0) { $0 << 8 | UInt32($1) } }

    /// libcrypto's generator for private values. Traps when the system has no entropy: nothing can be done safely then.
    public static let system: RandomSource = {
        let short = ShortDraws()
        return RandomSource { count in count > 0 && count <= ShortDraws.countMax ? short.take(count) : fresh(count) }
    }()

    fileprivate static func fresh(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            precondition(count == 0 || RAND_priv_bytes(buffer.baseAddress, Int32(count)) == 1, "no random bytes to be had")
            initialized = count
        }
    }

    /// The same bytes in every run for the same seed (SplitMix64). Not for keys that protect anything.
    public static func seeded(_ seed: UInt64) -> RandomSource {
        let generator = SplitMix64(seed: seed)
        return RandomSource { generator.bytes($0) }
    }
}

/// SPIs, identifiers and other numbers of a word: libcrypto looks at the process and at the time for each draw, which are system calls and
/// cost more than the bytes. They are drawn by the block; each byte is handed out once, and nothing of it stays here. No key is so short.
private final class ShortDraws: Sendable {
    static let countMax = 8
    private static let blockCount = 512

    private let rest = Mutex<[UInt8]>([])

    func take(_ count: Int) -> [UInt8] {
        rest.withLock { rest in
            if rest.count < count { rest = RandomSource.fresh(ShortDraws.blockCount) }
            let out = Array(rest.suffix(count))
            rest.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress! + $0.count - count, count) }
            rest.removeLast(count)
            return out
        }
    }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
private final class SplitMix64: Sendable {
    private let state: Mutex<UInt64>

    init(seed: UInt64) { state = Mutex(seed) }

    func bytes(_ count: Int) -> [UInt8] {
        state.withLock { state in
            var out: [UInt8] = []
            out.reserveCapacity(count + 7)
            while out.count < count {
                state &+= 0x9E37_79B9_7F4A_7C15
                var word = state
                word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
                word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
                word ^= word >> 31
                for shift in stride(from: UInt64(0), to: 64, by: 8) { out.append(UInt8(truncatingIfNeeded: word >> shift)) }
            }
            out.removeLast(out.count - count)
            return out
        }
    }
}
