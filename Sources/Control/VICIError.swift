/// What is wrong with bytes or a message of the control socket. Always the other side's fault: the connection is closed or the
/// command is answered with an error, nothing else happens.
public enum VICIError: Error, Hashable, Sendable {
    /// The bytes end inside an element.
    case truncated
    /// A packet type that is not of the protocol.
    case unknownPacketType(UInt8)
    /// An element type that is not of the protocol.
    case unknownElementType(UInt8)
    /// A name that is not UTF-8 text, or empty.
    case badName
    /// A section or a list that is not closed, or closed without being open.
    case unbalanced
    /// An element that must not stand where it stands: a key in a list, an item outside of one.
    case misplacedElement(UInt8)
    /// Sections deeper than `VICILimits.depthMax`.
    case tooDeep
    /// A packet longer than `VICILimits.packetBytesMax`.
    case tooLong(Int)
    /// A message without a key that it must have.
    case missing(String)
    /// A value that is not what its key demands.
    case badValue(String)
}

extension VICIError: CustomStringConvertible {
    /// One line for an operator.
    public var description: String {
        switch self {
        case .truncated: return "message ends inside an element"
        case .unknownPacketType(let type): return "unknown packet type \(type)"
        case .unknownElementType(let type): return "unknown element type \(type)"
        case .badName: return "name is not text"
        case .unbalanced: return "section or list not closed"
        case .misplacedElement(let type): return "element type \(type) is out of place"
        case .tooDeep: return "sections nested deeper than \(VICILimits.depthMax)"
        case .tooLong(let count): return "packet of \(count) bytes is longer than \(VICILimits.packetBytesMax)"
        case .missing(let key): return "'\(key)' is missing"
        case .badValue(let key): return "'\(key)' has a value that cannot be read"
        }
    }
}

/// The limits of the protocol.
public enum VICILimits {
    /// A packet without its length field, as in strongSwan: what a client may make us hold at most.
    public static let packetBytesMax = 512 * 1024
    /// The length of a name is one octet.
    public static let nameBytesMax = 255
    /// The length of a value is two octets.
    public static let valueBytesMax = 65535
    /// Sections inside sections. strongSwan's own messages need five; more than this is not a message but an attack on the stack.
    public static let depthMax = 16
}
