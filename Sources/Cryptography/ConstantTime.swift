import COpenSSL

/// Whether two buffers hold the same bytes. The time taken tells nothing but the lengths; different lengths are unequal.
public func constantTimeEquals(_ a: some Collection<UInt8>, _ b: some Collection<UInt8>) -> Bool {
    let direct = a.withContiguousStorageIfAvailable { left in
        b.withContiguousStorageIfAvailable { right in
            constantTimeEquals(UnsafeRawBufferPointer(left), right: UnsafeRawBufferPointer(right))
        }
    }
    if case .some(.some(let result)) = direct { return result }
    return Array(a).withUnsafeBytes { left in Array(b).withUnsafeBytes { constantTimeEquals(left, right: $0) } }
}

/// Of arrays, which nearly all are, without generic code.
public func constantTimeEquals(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.withUnsafeBytes { left in b.withUnsafeBytes { constantTimeEquals(left, right: $0) } }
}

func constantTimeEquals(_ left: UnsafeRawBufferPointer, right: UnsafeRawBufferPointer) -> Bool {
    guard left.count == right.count else { return false }
    guard let a = left.baseAddress, let b = right.baseAddress else { return true }
    return CRYPTO_memcmp(a, b, left.count) == 0
}

/// Overwrites an array that held key material.
func wipe(_ bytes: inout [UInt8]) {
    bytes.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
}
