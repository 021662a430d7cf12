import Session

/// Why bytes from the link are not a frame. Always the other node's fault, or its version's: the link is closed.
public enum PairWireError: Error, Hashable, Sendable {
    /// The bytes are not protobuf at all, or end early.
    case malformed
    /// The peer speaks another version of the frames.
    case unsupportedVersion(UInt32)
    /// A frame, entry, change or purpose that this version does not know, or none.
    case unknownKind(String)
    case missing(String)
    /// A number, length or combination that the field cannot have.
    case invalid(String)
    /// More elements or octets than `PairWireLimits` allows.
    case tooLong(field: String, count: Int, limit: Int)
    case frameTooLarge(Int)

    /// For logs.
    public var text: String {
        switch self {
        case .malformed: "the frame cannot be read"
        case .unsupportedVersion(let version):
            "the peer speaks version \(version) of the pair protocol, this node version \(PairProtocol.version)"
        case .unknownKind(let what): "an unknown kind of \(what)"
        case .missing(let field): "\(field) is missing"
        case .invalid(let field): "\(field) has a value that it cannot have"
        case .tooLong(let field, let count, let limit): "\(field) has \(count) elements, \(limit) are allowed"
        case .frameTooLarge(let count): "a frame of \(count) octets, \(PairProtocol.frameBytesMax) are allowed"
        }
    }
}

/// What a field may have at most. Each is at least what this version can put into it.
public enum PairWireLimits {
    /// Names of connections, children, pools and nodes: an operator's text.
    public static let nameBytesMax = 4096
    /// A reason for people; longer ones are cut when sent.
    public static let reasonBytesMax = 1024
    /// An identity came out of one IKE message.
    public static let identityBytesMax = 65_535
    /// A UDP datagram.
    public static let messageBytesMax = 65_535
    /// A message of the largest size in small fragments (RFC 7383).
    public static let fragmentsMax = 255
    public static let windowMax = Int(IKESA.windowMax)
    /// A window behind the next message ID, and what was answered of the window before it.
    public static let responsesMax = 2 * windowMax
    /// RFC 7296 §3.9; a cookie of an address check is shorter.
    public static let nonceBytesMax = 256
    /// Of the largest group there is.
    public static let privateValueBytesMax = 1024
    /// The longest hash.
    public static let digestBytesMax = 64
    /// In PEM: a P-256 certificate has some 800 octets.
    public static let certificateBytesMax = 16_384
    /// What a later version may add to one message: a datagram, and something beside it.
    public static let unknownBytesMax = 131_072
    public static let childrenMax = 1024
    /// As in one TS payload, whose count has one octet (RFC 7296 §3.13).
    public static let selectorsMax = 255
    public static let virtualAddressesMax = 64
    public static let changesMax = 4096
    /// In seconds: some 34 years, below where the kernel's own arithmetic ends.
    public static let flowTimeoutMax: UInt32 = 1 << 30
    /// Epochs count takeovers: they are counted up without a look at overflow.
    public static let epochMax: UInt64 = 1 << 62
    /// Some 35 years, in microseconds.
    public static let silenceMicrosecondsMax: UInt64 = 1 << 50
    /// An index, too, is counted up without a look at overflow.
    public static let indexMax: UInt64 = 1 << 62
    /// Some 285,000 years to both sides: sums and differences stay within 64 bits.
    public static let wallMillisecondsMax: Int64 = 1 << 53
}
