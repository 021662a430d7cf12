public import Session

/// Everything that a gateway knows of one peer, as it goes to another gateway: what the paper's GET takes out and its PUT puts in.
///
/// `session` holds the IKE SAs, the SAD's, the SPD's and the PAD's part, the leases and the state of MOBIKE and redirection. Keys are
/// in it: whoever has the document has the session.
public struct SessionContext: Hashable, Sendable {
    public enum Kind: String, CaseIterable, Hashable, Sendable {
        /// The giver has removed the session: this is its last state.
        case detached
        /// The giver lives on with the session: what happens after this is not in here.
        case snapshot
    }

    public var kind: Kind
    /// The giver's name, for people.
    public var giver: String
    public var giverNode: NodeID
    /// The epoch of the giver's pair; IVs of the giver have it (`EpochShift`).
    public var epoch: Epoch
    public var givenAtWallMilliseconds: Int64
    public var session: Session
    /// What the data plane counted, by inbound SPI. For people: a taker counts anew.
    public var traffic: [UInt32: ChildTraffic]

    public init(
        kind: Kind, giver: String, giverNode: NodeID, epoch: Epoch, givenAtWallMilliseconds: Int64, session: Session,
        traffic: [UInt32: ChildTraffic] = [:]
    ) {
        self.kind = kind
        self.giver = giver
        self.giverNode = giverNode
        self.epoch = epoch
        self.givenAtWallMilliseconds = givenAtWallMilliseconds
        self.session = session
        self.traffic = traffic
    }
}

/// What went through a CHILD SA at the giver.
public struct ChildTraffic: Hashable, Sendable {
    public var inboundBytes: UInt64
    public var inboundPackets: UInt64
    public var outboundBytes: UInt64
    public var outboundPackets: UInt64
    /// The number that the giver's next packet would have had, as last reported.
    public var outboundNext: UInt64

    public init(inboundBytes: UInt64, inboundPackets: UInt64, outboundBytes: UInt64, outboundPackets: UInt64, outboundNext: UInt64) {
        self.inboundBytes = inboundBytes
        self.inboundPackets = inboundPackets
        self.outboundBytes = outboundBytes
        self.outboundPackets = outboundPackets
        self.outboundNext = outboundNext
    }
}

/// Why bytes are not a context. Nothing of the bytes is in it.
public enum ContextError: Error, Hashable, Sendable {
    /// Not JSON, or not of this kind of document.
    case malformed(String)
    /// Its digest is another: it was changed or cut on the way.
    case damaged
    case unsupportedVersion(String)
    case missing(String)
    case invalid(String)
    case tooLong(field: String, count: Int, limit: Int)
    /// It is sealed, and no passphrase was given.
    case passphraseNeeded
    /// The passphrase is wrong, or the part of the file that says how the key is made was changed.
    case wrongPassphrase

    /// The same of a field of this one.
    func inside(_ field: String) -> ContextError {
        switch self {
        case .missing(let name): .missing("\(field).\(name)")
        case .invalid(let name): .invalid("\(field).\(name)")
        case .tooLong(let name, let count, let limit): .tooLong(field: "\(field).\(name)", count: count, limit: limit)
        default: self
        }
    }

    /// A word for programs.
    public var code: String {
        switch self {
        case .malformed: "malformed"
        case .damaged: "damaged"
        case .unsupportedVersion: "unsupported_version"
        case .missing, .invalid, .tooLong: "invalid"
        case .passphraseNeeded: "passphrase_needed"
        case .wrongPassphrase: "wrong_passphrase"
        }
    }
}

extension ContextError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .malformed(let what): "not a session context: \(what)"
        case .damaged: "the context is damaged: its digest does not fit"
        case .unsupportedVersion(let version):
            "version \(version) of the context is not known here; this is version \(ContextFormat.major).\(ContextFormat.minor)"
        case .missing(let field): "\(field) is missing in the context"
        case .invalid(let field): "\(field) has a value that it cannot have"
        case .tooLong(let field, let count, let limit): "\(field) has \(count) elements, \(limit) are allowed"
        case .passphraseNeeded: "the context is sealed: a passphrase is needed"
        case .wrongPassphrase: "the passphrase is wrong"
        }
    }
}

/// The names and limits of the document (Docs/context.md).
public enum ContextFormat {
    public static let schema = "tandem.session-context"
    public static let sealedSchema = "tandem.sealed-session-context"
    /// A reader refuses another one.
    public static let major = 1
    /// A reader passes over members that it does not know.
    public static let minor = 0
    /// A document at most: with the sealing twice as long, it still fits into one packet of the control socket.
    public static let bytesMax = 440_000
    static let sealedBytesMax = 2 * bytesMax + 4096

    static let textBytesMax = 4096
    static let identityBytesMax = 65_535
    static let datagramBytesMax = 65_535
    static let fragmentsMax = 255
    static let responsesMax = 2 * Int(IKESA.windowMax)
    static let nonceBytesMax = 256
    static let privateValueBytesMax = 1024
    static let digestBytesMax = 64
    static let childrenMax = 1024
    static let selectorsMax = 255
    static let leasesMax = 64
    static let epochMax: Epoch = 1 << 62
    /// Some 285,000 years: sums and differences stay within 64 bits.
    static let wallMillisecondsMax: Int64 = 1 << 53
}
