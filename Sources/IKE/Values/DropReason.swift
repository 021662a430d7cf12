/// Why a datagram was dropped without an answer. Each has its counter in `IKECounters`.
public enum IKEDropReason: String, CaseIterable, Hashable, Sendable {
    /// Shorter than a header, a wrong length field, or payloads that do not fit before anything was authenticated.
    case malformed
    /// Major version 1, or a response of a higher version (RFC 7296 §2.5).
    case version
    /// An IKE_SA_INIT that is no request of an initiator, lacks SA, KE or nonce, or has a public value that is none.
    case badInitRequest
    /// No IKE SA of ours has this SPI (RFC 7296 §2.21.4 allows silence).
    case unknownSPI
    /// The header's flags or the peer's SPI do not fit the IKE SA.
    case wrongRole
    /// The message has no Encrypted payload.
    case unprotected
    /// The integrity check failed.
    case integrity
    /// An authenticated response that cannot be parsed.
    case malformedResponse
    /// A request older than the window (RFC 7296 §2.3).
    case oldRequest
    /// A repeated message ID with other bytes than before.
    case changedRequest
    /// A request beyond the window.
    case futureRequest
    /// A request in a session whose context is on the way to another gateway: it is answered there, or here when that fails.
    case beingHandedOn
    /// A response to nothing that we asked.
    case unexpectedResponse
    /// An exchange that has no place before IKE_AUTH is done.
    case unexpectedExchange
    /// An IKE_SA_INIT that is longer than the limit allows.
    case oversizedInitRequest
    /// An IKE_SA_INIT that would be refused, when as many were in this second as the limit allows.
    case tooManyClearErrors
    /// As many half-open IKE SAs as the limit allows.
    case tooManyHalfOpen
    /// As many half-open IKE SAs from one address as the limit allows.
    case tooManyHalfOpenFromAddress
    /// As many sessions as a table takes.
    case tooManySessions
    /// Keys or algorithms of the session that libcrypto refuses: a fault of ours or of the other node.
    case unusableKeys
}
