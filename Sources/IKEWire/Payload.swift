/// One payload of an IKE message (RFC 7296 §3.2).
///
/// The critical bit is sent as zero and ignored for every type that is known; it matters only in `unknown`.
public enum Payload: Hashable, Sendable {
    case securityAssociation([Proposal])
    case keyExchange(KeyExchangePayload)
    case identificationInitiator(IdentificationPayload)
    case identificationResponder(IdentificationPayload)
    /// `encoding` is a `CertificateEncoding` (RFC 7296 §3.6).
    case certificate(encoding: UInt8, data: [UInt8])
    case certificateRequest(encoding: UInt8, data: [UInt8])
    /// `method` is an `AuthenticationMethod` (RFC 7296 §3.8).
    case authentication(method: UInt8, data: [UInt8])
    /// 16 to 256 octets (RFC 7296 §3.9).
    case nonce([UInt8])
    case notify(NotifyPayload)
    case delete(DeletePayload)
    case vendorID([UInt8])
    case trafficSelectorsInitiator([WireTrafficSelector])
    case trafficSelectorsResponder([WireTrafficSelector])
    case configuration(ConfigurationPayload)
    /// A whole EAP message (RFC 3748 §4).
    case eap([UInt8])
    case encrypted(EncryptedPayload)
    case encryptedFragment(EncryptedFragmentPayload)
    /// Critical: the message is to be rejected with UNSUPPORTED_CRITICAL_PAYLOAD; else skipped (RFC 7296 §2.5).
    case unknown(type: UInt8, isCritical: Bool, body: [UInt8])

    /// The number in the Next Payload field before it.
    public var type: UInt8 {
        switch self {
        case .securityAssociation: PayloadType.securityAssociation
        case .keyExchange: PayloadType.keyExchange
        case .identificationInitiator: PayloadType.identificationInitiator
        case .identificationResponder: PayloadType.identificationResponder
        case .certificate: PayloadType.certificate
        case .certificateRequest: PayloadType.certificateRequest
        case .authentication: PayloadType.authentication
        case .nonce: PayloadType.nonce
        case .notify: PayloadType.notify
        case .delete: PayloadType.delete
        case .vendorID: PayloadType.vendorID
        case .trafficSelectorsInitiator: PayloadType.trafficSelectorsInitiator
        case .trafficSelectorsResponder: PayloadType.trafficSelectorsResponder
        case .configuration: PayloadType.configuration
        case .eap: PayloadType.eap
        case .encrypted: PayloadType.encrypted
        case .encryptedFragment: PayloadType.encryptedFragment
        case .unknown(let type, _, _): type
        }
    }
}

/// A public value (RFC 7296 §3.4).
public struct KeyExchangePayload: Hashable, Sendable {
    /// A `TransformID.KeyExchange`.
    public var group: UInt16
    public var data: [UInt8]

    public init(group: UInt16, data: [UInt8]) {
        self.group = group
        self.data = data
    }
}

/// An identity (RFC 7296 §3.5).
public struct IdentificationPayload: Hashable, Sendable {
    /// An `IdentificationType`.
    public var kind: UInt8
    public var data: [UInt8]

    public init(kind: UInt8, data: [UInt8]) {
        self.kind = kind
        self.data = data
    }

    /// What is signed of it: the payload without its generic header, "RestOfInitIDPayload" of RFC 7296 §2.15.
    public var bodyBytes: [UInt8] { [kind, 0, 0, 0] + data }
}

/// Information for the peer (RFC 7296 §3.10).
public struct NotifyPayload: Hashable, Sendable {
    /// Sent as `none` when there is no SPI, and then ignored when received.
    public var protocolID: ProtocolID
    public var spi: [UInt8]
    public var type: NotifyType
    public var data: [UInt8]

    public init(protocolID: ProtocolID = .none, spi: [UInt8] = [], type: NotifyType, data: [UInt8] = []) {
        self.protocolID = protocolID
        self.spi = spi
        self.type = type
        self.data = data
    }
}

/// SAs that the sender no longer has (RFC 7296 §3.11).
public struct DeletePayload: Hashable, Sendable {
    public var protocolID: ProtocolID
    /// Empty for the IKE SA itself; 4 octets each for AH and ESP.
    public var spis: [[UInt8]]

    public init(protocolID: ProtocolID, spis: [[UInt8]] = []) {
        self.protocolID = protocolID
        self.spis = spis
    }
}

/// Addresses and servers, asked for or given (RFC 7296 §3.15).
public struct ConfigurationPayload: Hashable, Sendable {
    /// A `ConfigurationType`.
    public var type: UInt8
    public var attributes: [ConfigurationAttribute]

    public init(type: UInt8, attributes: [ConfigurationAttribute]) {
        self.type = type
        self.attributes = attributes
    }
}

/// One attribute of a Configuration payload (RFC 7296 §3.15.1). Unknown types are kept, for the caller to ignore.
public struct ConfigurationAttribute: Hashable, Sendable {
    /// A `ConfigurationAttributeType`, 15 bits wide.
    public var type: UInt16
    public var value: [UInt8]

    public init(type: UInt16, value: [UInt8] = []) {
        self.type = type
        self.value = value
    }
}

/// The SK payload as it stands in a message (RFC 7296 §3.14).
public struct EncryptedPayload: Hashable, Sendable {
    /// The type of the first payload inside.
    public var firstPayload: UInt8
    /// Where the IV starts, in octets from the start of the message: everything before it is authenticated.
    public var bodyOffset: Int
    /// IV, ciphertext and integrity checksum.
    public var body: [UInt8]

    public init(firstPayload: UInt8, bodyOffset: Int, body: [UInt8]) {
        self.firstPayload = firstPayload
        self.bodyOffset = bodyOffset
        self.body = body
    }
}

/// The SKF payload as it stands in a message (RFC 7383 §2.5).
public struct EncryptedFragmentPayload: Hashable, Sendable {
    /// The type of the first payload inside the whole message; 0 except in the first fragment.
    public var firstPayload: UInt8
    /// 1 to `totalFragments`.
    public var fragmentNumber: UInt16
    public var totalFragments: UInt16
    /// Where the IV starts, in octets from the start of the message: everything before it is authenticated.
    public var bodyOffset: Int
    /// IV, ciphertext and integrity checksum.
    public var body: [UInt8]

    public init(firstPayload: UInt8, fragmentNumber: UInt16, totalFragments: UInt16, bodyOffset: Int, body: [UInt8]) {
        self.firstPayload = firstPayload
        self.fragmentNumber = fragmentNumber
        self.totalFragments = totalFragments
        self.bodyOffset = bodyOffset
        self.body = body
    }
}
