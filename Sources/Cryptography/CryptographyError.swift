import COpenSSL

/// Why a cryptographic operation was refused. No case carries key material.
public enum CryptographyError: Error, Hashable, Sendable {
    /// A key does not have the length that the algorithm needs, or a key is given that the algorithm does not use.
    case badKeyLength
    /// A buffer (IV, text, tag, body) does not have a length that the algorithm allows.
    case badLength
    /// The integrity check value is wrong: drop the packet or message.
    case authenticationFailed
    /// The peer's key exchange value must not be used (RFC 7296 §2.12, RFC 6989 §2).
    case badPublicValue
    /// A private value is not one of its group.
    case badPrivateValue
    /// A PEM text, or a name for a certificate, cannot be used.
    case badEncoding
    /// libcrypto failed; its own words.
    case library(String)

    /// The error that libcrypto left behind; empties its queue.
    static func fromLibrary(_ operation: String) -> CryptographyError {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0, let reason = ERR_reason_error_string(code) else { return .library(operation) }
        return .library("\(operation): \(String(cString: reason))")
    }
}

/// Throws what libcrypto says unless `result` is 1.
func require(_ result: Int32, _ operation: String) throws(CryptographyError) {
    guard result == 1 else { throw .fromLibrary(operation) }
}

/// The pointer that libcrypto made, or its error.
func require(_ pointer: OpaquePointer?, _ operation: String) throws(CryptographyError) -> OpaquePointer {
    guard let pointer else { throw .fromLibrary(operation) }
    return pointer
}
