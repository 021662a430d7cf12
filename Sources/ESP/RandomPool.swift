import Cryptography

/// Unpredictable initialization vectors for AES-CBC (RFC 3602 §3), drawn in large pieces so that a packet costs no call of
/// the generator.
final class RandomPool {
    /// 256 vectors a draw.
    private static let drawLength = 4096
    private let source: RandomSource
    private var bytes: [UInt8] = []
    private var used = 0

    init(source: RandomSource) { self.source = source }

    /// Fills `target`, at most one draw long, with octets that were never given out before.
    func fill(_ target: UnsafeMutableRawBufferPointer) {
        precondition(target.count <= RandomPool.drawLength)
        if bytes.count - used < target.count {
            bytes = source.bytes(RandomPool.drawLength)
            used = 0
        }
        bytes.withUnsafeBytes { target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[used..<used + target.count])) }
        used += target.count
    }
}
