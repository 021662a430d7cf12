/// Message types of RFC 4067 §2.5.
enum CXTPType: UInt8 {
    case activateRequest = 1
    case activateAcknowledge = 2
    case data = 3
    case predictiveData = 4
    case dataReply = 5
    case cancel = 6
    case request = 7
}

/// The Feature Profile Type of a context (RFC 4067 §2.3): how the data of its blocks is laid out.
public struct FeatureProfileType: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// A whole IKEv2/IPsec context in parts (`ContextPart`). A number of our own: IANA has assigned none to IPsec.
    public static let ipsecContext = FeatureProfileType(rawValue: 0xF067)
    /// The counters of a context as they are when it changes its owner (`ContextCounters`). Our own number, too.
    public static let ipsecCounters = FeatureProfileType(rawValue: 0xF068)
}

/// The Status code of CTAA and CTDR (RFC 4067 §2.5.2, §2.5.4): zero is success, one is the RFC's BAD_CHECKSUM (§4), the others are those
/// of our feature profile types.
public struct TransferStatus: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let success = TransferStatus(rawValue: 0)
    /// What arrived is not what was sent.
    public static let badChecksum = TransferStatus(rawValue: 1)
    public static let unknownProfile = TransferStatus(rawValue: 2)
    /// The context cannot be read, or is of another version.
    public static let malformed = TransferStatus(rawValue: 3)
    /// The gateway does not own sessions now, or is handing over.
    public static let notActive = TransferStatus(rawValue: 4)
    /// Another transfer of the same mobile node is under way, or too many are.
    public static let busy = TransferStatus(rawValue: 5)
    /// The configuration does not allow the other gateway, or the token is wrong.
    public static let unauthorized = TransferStatus(rawValue: 6)
    /// There is no such mobile node, or none with such a context.
    public static let unknownNode = TransferStatus(rawValue: 7)
    /// The context was read and cannot be installed: an unknown connection, an address or an SPI in use, an algorithm that is not there.
    public static let notInstallable = TransferStatus(rawValue: 8)
    /// The mobile node did not agree to move, or did not answer.
    public static let notMoved = TransferStatus(rawValue: 9)

    // What a PUT refuses.
    public static let alreadyOwned = TransferStatus(rawValue: 16)
    public static let stale = TransferStatus(rawValue: 17)
    public static let expired = TransferStatus(rawValue: 18)
    public static let connectionUnknown = TransferStatus(rawValue: 19)
    public static let identityRefused = TransferStatus(rawValue: 20)
    public static let spiInUse = TransferStatus(rawValue: 21)
    public static let addressInUse = TransferStatus(rawValue: 22)
    public static let noLocalAddress = TransferStatus(rawValue: 23)
    public static let tableFull = TransferStatus(rawValue: 24)
    public static let givenTooOften = TransferStatus(rawValue: 25)
    public static let numbersExhausted = TransferStatus(rawValue: 26)

    /// In words, for an operator.
    public var text: String {
        switch self {
        case .success: "success"
        case .badChecksum: "the context arrived damaged"
        case .unknownProfile: "it does not know this type of context"
        case .malformed: "it cannot read the context"
        case .notActive: "it is not active"
        case .busy: "it is busy with another transfer"
        case .unauthorized: "it does not allow this"
        case .unknownNode: "it has no such session"
        case .notInstallable: "it cannot install the context"
        case .notMoved: "the client did not move"
        case .alreadyOwned: "it has this session already"
        case .stale: "a later state of the session was there"
        case .expired: "the time of the session is over"
        case .connectionUnknown: "it has no such connection or child"
        case .identityRefused: "it does not admit the client"
        case .spiInUse: "another session there has the SPI"
        case .addressInUse: "the leased address is another client's there"
        case .noLocalAddress: "it has no address for the session"
        case .tableFull: "it has no room for a further session"
        case .givenTooOften: "the session's keys were handed on too often"
        case .numbersExhausted: "a CHILD SA has no sequence numbers left"
        default: "status \(rawValue)"
        }
    }
}

/// How large what we read and write may be.
public enum CXTPLimits {
    public static let version: UInt8 = 1
    public static let headerBytes = 4
    /// What the header's 16-bit length can say.
    public static let messageBytesMax = 65_535
    /// What a block's 8-bit length can say, in words of eight octets.
    public static let blockBytesMax = 255 * 8
    /// As many blocks as a message has room for when they are full; requests name a few types.
    public static let blocksMax = 64
    public static let statusesMax = 64
    /// A token's key: no hash function of ours has a longer output.
    public static let keyBytesMax = 64
    /// A context: what a document of it may have (`ContextFormat.bytesMax`).
    public static let contextBytesMax = ContextFormat.bytesMax
}

/// Why bytes are not a CXTP message, or a value cannot be said as one. Whoever reads drops the message and counts it.
public enum CXTPError: Error, Hashable, Sendable {
    case truncated
    /// The header's length is not the message's.
    case badLength(field: Int, actual: Int)
    case messageTooLong(Int)
    /// RFC 4067 §2.2: version 1 is the only one.
    case unsupportedVersion(UInt8)
    case unknownType(UInt8)
    /// Octets follow the last element.
    case trailingBytes(Int)
    /// A block shorter than what its bits announce, or longer than a block can be.
    case badBlockLength(Int)
    case tooManyBlocks
    case tooManyStatuses
    case keyTooLong(Int)
    /// RFC 4067 §2.5.1 has one bit for the family of both addresses.
    case mixedFamilies
    /// The blocks of a context do not fit together.
    case inconsistentParts
    case contextTooLong(Int)
    /// All parts are there, and their digest is another.
    case badChecksum
    /// A block of another type than the one that is read.
    case unexpectedProfile(FeatureProfileType)
}
