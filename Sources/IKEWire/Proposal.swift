/// One proposal of a Security Association payload (RFC 7296 §3.3.1).
public struct Proposal: Hashable, Sendable {
    /// Of what is offered, 1 and up without gaps; of what is accepted, the number it was offered under.
    public var number: UInt8
    public var protocolID: ProtocolID
    /// The sender's SPI: none in IKE_SA_INIT, 8 octets when an IKE SA is rekeyed, 4 for ESP and AH.
    public var spi: [UInt8]
    /// Of one type: any of them. Of different types: one of each.
    public var transforms: [Transform]

    public init(number: UInt8, protocolID: ProtocolID, spi: [UInt8] = [], transforms: [Transform]) {
        self.number = number
        self.protocolID = protocolID
        self.spi = spi
        self.transforms = transforms
    }
}

/// One algorithm of a proposal (RFC 7296 §3.3.2).
public struct Transform: Hashable, Sendable {
    /// A `TransformType`.
    public var type: UInt8
    /// A `TransformID` of that type.
    public var id: UInt16
    /// The Key Length attribute, in bits.
    public var keyLength: UInt16?
    /// Every other attribute, as it came.
    public var unknownAttributes: [TransformAttribute]

    public init(type: UInt8, id: UInt16, keyLength: UInt16? = nil, unknownAttributes: [TransformAttribute] = []) {
        self.type = type
        self.id = id
        self.keyLength = keyLength
        self.unknownAttributes = unknownAttributes
    }

    /// RFC 7296 §3.3.6: such a transform is unacceptable; others of its type are considered as usual.
    public var hasUnknownAttribute: Bool { !unknownAttributes.isEmpty }
}

/// An attribute of a transform that is not a Key Length in the format that RFC 7296 §3.3.5 demands.
public struct TransformAttribute: Hashable, Sendable {
    public enum Value: Hashable, Sendable {
        /// AF bit set: two octets.
        case fixed(UInt16)
        /// AF bit clear: any length.
        case variable([UInt8])
    }

    /// 15 bits wide.
    public var type: UInt16
    public var value: Value

    public init(type: UInt16, value: Value) {
        self.type = type
        self.value = value
    }
}

/// A traffic selector as it stands on the wire (RFC 7296 §3.13.1).
public struct WireTrafficSelector: Hashable, Sendable {
    /// A `TrafficSelectorType`.
    public var type: UInt8
    /// 0: any.
    public var ipProtocol: UInt8
    /// 65535 with an `endPort` of 0 means OPAQUE (RFC 4301 §4.4.1.1).
    public var startPort: UInt16
    public var endPort: UInt16
    /// 4 or 16 octets, not past `end`. Empty for an unknown type.
    public var start: [UInt8]
    public var end: [UInt8]
    /// What follows the length field of a selector of an unknown type; empty for a known one.
    public var unknownBody: [UInt8]

    public init(type: UInt8, ipProtocol: UInt8, startPort: UInt16, endPort: UInt16, start: [UInt8], end: [UInt8]) {
        self.type = type
        self.ipProtocol = ipProtocol
        self.startPort = startPort
        self.endPort = endPort
        self.start = start
        self.end = end
        self.unknownBody = []
    }

    /// A selector of another type than 7 and 8; its second octet is kept in `ipProtocol`.
    public init(unknownType type: UInt8, secondOctet: UInt8, body: [UInt8]) {
        self.init(type: type, ipProtocol: secondOctet, startPort: 0, endPort: 0, start: [], end: [])
        self.unknownBody = body
    }

    /// Not of type 7 or 8: to be skipped, as it matches no packet that we know of.
    public var isUnknown: Bool { type != TrafficSelectorType.ipv4AddressRange && type != TrafficSelectorType.ipv6AddressRange }
}
