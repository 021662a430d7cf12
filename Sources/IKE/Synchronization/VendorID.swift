import Cryptography

/// What Tandem says of itself in Vendor ID payloads (RFC 7296 §3.12).
enum VendorID {
    /// The sender knows the private notifies of context transfer. Whoever does not say so in IKE_AUTH never gets one.
    static let contextTransfer = Array(sha256(Array("Tandem context transfer 1".utf8)).prefix(16))
}
