import COpenSSL

/// The hash functions in use, with libcrypto's objects, which are looked up once and shared by all threads.
enum HashFunction {
    case sha1, sha256, sha384, sha512

    /// Octets.
    var outputLength: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    /// libcrypto's name; immortal, so that its pointer may be handed out.
    var name: StaticString {
        switch self {
        case .sha1: "SHA1"
        case .sha256: "SHA2-256"
        case .sha384: "SHA2-384"
        case .sha512: "SHA2-512"
        }
    }

    func digest(_ data: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: outputLength) { buffer, initialized in
            let result = EVP_Digest(data, data.count, buffer.baseAddress, nil, implementation, nil)
            precondition(result == 1, "libcrypto refused \(name)")
            initialized = outputLength
        }
    }

    private var implementation: OpaquePointer? {
        switch self {
        case .sha1: HashFunction.sha1Implementation
        case .sha256: HashFunction.sha256Implementation
        case .sha384: EVP_sha384()
        case .sha512: EVP_sha512()
        }
    }

    // Never freed, never changed.
    nonisolated(unsafe) private static let sha1Implementation = EVP_MD_fetch(nil, "SHA1", nil)
    nonisolated(unsafe) private static let sha256Implementation = EVP_MD_fetch(nil, "SHA2-256", nil)
}

public func sha256(_ data: [UInt8]) -> [UInt8] { HashFunction.sha256.digest(data) }

/// Only for the hashes of NAT detection (RFC 7296 §2.23), which protect nothing.
public func sha1(_ data: [UInt8]) -> [UInt8] { HashFunction.sha1.digest(data) }
