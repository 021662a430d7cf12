import COpenSSL

/// Key material: immutable, overwritten when its last copy goes away, never printed, compared in constant time.
///
/// Copies share one buffer, so that there is one place to wipe. The hash of a value is that of its length alone, which a
/// dictionary key must bear in mind.
public struct SecretBytes: Hashable, Sendable {
    /// Written only in an initializer, before anybody else can see it, so that threads may share it.
    nonisolated(unsafe) private let storage: SecretStorage

    /// Copies `bytes`; wiping the original is up to its owner.
    public init(_ bytes: some Collection<UInt8>) {
        storage = SecretStorage.make(count: bytes.count)
        storage.withUnsafeMutablePointerToElements { target in
            var next = target
            for byte in bytes {
                next.initialize(to: byte)
                next += 1
            }
        }
    }

    /// Copies `bytes`; wiping the original is up to its owner.
    public init(_ bytes: [UInt8]) {
        storage = SecretStorage.make(count: bytes.count)
        storage.withUnsafeMutablePointerToElements { target in
            bytes.withUnsafeBufferPointer { if let start = $0.baseAddress { target.initialize(from: start, count: $0.count) } }
        }
    }

    /// Makes `count` bytes that `body` writes in place, without a copy elsewhere. They are zero before.
    public init<E: Error>(count: Int, filledBy body: (UnsafeMutableRawBufferPointer) throws(E) -> Void) throws(E) {
        storage = SecretStorage.make(count: count)
        let start = storage.withUnsafeMutablePointerToElements { $0 }
        start.initialize(repeating: 0, count: count)
        try body(UnsafeMutableRawBufferPointer(start: start, count: count))
        withExtendedLifetime(storage) {}
    }

    private init(storage: SecretStorage) { self.storage = storage }

    public static let empty = SecretBytes(storage: SecretStorage.make(count: 0))

    public var count: Int { storage.header }
    public var isEmpty: Bool { count == 0 }

    /// Lends the bytes to `body`; the pointer is not null, even when there are none, and dies with the call.
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(storage) {} }
        let start = storage.withUnsafeMutablePointerToElements { UnsafeRawPointer($0) }
        return try body(UnsafeRawBufferPointer(start: start, count: count))
    }

    /// The bytes in `range`, counted from 0. Traps outside of `0..<count`.
    public func slice(_ range: Range<Int>) -> SecretBytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "slice outside of the secret")
        return withUnsafeBytes { SecretBytes($0[range]) }
    }

    public static func + (a: SecretBytes, b: SecretBytes) -> SecretBytes {
        SecretBytes(count: a.count + b.count) { target in
            a.withUnsafeBytes { target.copyMemory(from: $0) }
            b.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[a.count...]).copyMemory(from: $0) }
        }
    }

    /// A copy that nobody wipes: only for an encoder whose output is itself protected.
    public func copyBytes() -> [UInt8] { withUnsafeBytes { Array($0) } }

    /// In constant time; different lengths are told apart at once.
    public static func == (lhs: SecretBytes, rhs: SecretBytes) -> Bool {
        lhs.withUnsafeBytes { left in rhs.withUnsafeBytes { constantTimeEquals(left, right: $0) } }
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(count) }
}

extension SecretBytes: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<secret, \(count) bytes>" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// One allocation: the count, then the bytes.
private final class SecretStorage: ManagedBuffer<Int, UInt8> {
    static func make(count: Int) -> SecretStorage {
        unsafeDowncast(create(minimumCapacity: count) { _ in count }, to: SecretStorage.self)
    }

    deinit {
        withUnsafeMutablePointers { count, bytes in OPENSSL_cleanse(bytes, count.pointee) }
    }
}
