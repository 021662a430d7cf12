/// What an exchange is for (RFC 7296 §3.1). Unknown values are kept as they came.
public struct ExchangeType: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let ikeSAInit = ExchangeType(rawValue: 34)
    public static let ikeAuth = ExchangeType(rawValue: 35)
    public static let createChildSA = ExchangeType(rawValue: 36)
    public static let informational = ExchangeType(rawValue: 37)
    /// RFC 5723.
    public static let ikeSessionResume = ExchangeType(rawValue: 38)
    /// RFC 9242.
    public static let ikeIntermediate = ExchangeType(rawValue: 43)
}

extension ExchangeType: CustomStringConvertible {
    public var description: String {
        switch self {
        case .ikeSAInit: "IKE_SA_INIT"
        case .ikeAuth: "IKE_AUTH"
        case .createChildSA: "CREATE_CHILD_SA"
        case .informational: "INFORMATIONAL"
        case .ikeSessionResume: "IKE_SESSION_RESUME"
        case .ikeIntermediate: "IKE_INTERMEDIATE"
        default: "EXCHANGE_\(rawValue)"
        }
    }
}

/// The IPsec protocol that something concerns (RFC 7296 §3.3.1). Unknown values are kept as they came.
public struct ProtocolID: RawRepresentable, Hashable, Sendable, ExpressibleByIntegerLiteral {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public init(integerLiteral value: UInt8) { self.rawValue = value }

    /// In a Notify payload without an SPI.
    public static let none = ProtocolID(rawValue: 0)
    public static let ike = ProtocolID(rawValue: 1)
    public static let ah = ProtocolID(rawValue: 2)
    public static let esp = ProtocolID(rawValue: 3)
}

/// Payload types (RFC 7296 §3.2, RFC 7383 §2.5).
public enum PayloadType {
    public static let noNextPayload: UInt8 = 0
    public static let securityAssociation: UInt8 = 33
    public static let keyExchange: UInt8 = 34
    public static let identificationInitiator: UInt8 = 35
    public static let identificationResponder: UInt8 = 36
    public static let certificate: UInt8 = 37
    public static let certificateRequest: UInt8 = 38
    public static let authentication: UInt8 = 39
    public static let nonce: UInt8 = 40
    public static let notify: UInt8 = 41
    public static let delete: UInt8 = 42
    public static let vendorID: UInt8 = 43
    public static let trafficSelectorsInitiator: UInt8 = 44
    public static let trafficSelectorsResponder: UInt8 = 45
    public static let encrypted: UInt8 = 46
    public static let configuration: UInt8 = 47
    public static let eap: UInt8 = 48
    public static let encryptedFragment: UInt8 = 53
}

/// ID types (RFC 7296 §3.5).
public enum IdentificationType {
    public static let ipv4Address: UInt8 = 1
    public static let fqdn: UInt8 = 2
    public static let rfc822Address: UInt8 = 3
    public static let ipv6Address: UInt8 = 5
    public static let derASN1DN: UInt8 = 9
    public static let derASN1GN: UInt8 = 10
    public static let keyID: UInt8 = 11
}

/// Authentication methods (RFC 7296 §3.8, RFC 4754 §7, RFC 7619 §4, RFC 7427 §3).
public enum AuthenticationMethod {
    public static let rsaSignature: UInt8 = 1
    public static let sharedKey: UInt8 = 2
    public static let dssSignature: UInt8 = 3
    public static let ecdsaP256SHA256: UInt8 = 9
    public static let ecdsaP384SHA384: UInt8 = 10
    public static let ecdsaP521SHA512: UInt8 = 11
    public static let null: UInt8 = 13
    public static let digitalSignature: UInt8 = 14
}

/// Hash algorithms of SIGNATURE_HASH_ALGORITHMS (RFC 7427 §7).
public enum SignatureHashAlgorithm {
    public static let sha1: UInt16 = 1
    public static let sha256: UInt16 = 2
    public static let sha384: UInt16 = 3
    public static let sha512: UInt16 = 4
}

/// Certificate encodings (RFC 7296 §3.6).
public enum CertificateEncoding {
    public static let x509Signature: UInt8 = 4
    public static let certificateRevocationList: UInt8 = 7
    public static let hashAndURLOfX509: UInt8 = 12
    public static let hashAndURLOfBundle: UInt8 = 13
}

/// CFG types (RFC 7296 §3.15).
public enum ConfigurationType {
    public static let request: UInt8 = 1
    public static let reply: UInt8 = 2
    public static let set: UInt8 = 3
    public static let ack: UInt8 = 4
}

/// Configuration attribute types (RFC 7296 §3.15.1), with their length in octets.
public enum ConfigurationAttributeType {
    /// 0 or 4.
    public static let internalIP4Address: UInt16 = 1
    /// 0 or 4.
    public static let internalIP4Netmask: UInt16 = 2
    /// 0 or 4.
    public static let internalIP4DNS: UInt16 = 3
    /// 0 or 4.
    public static let internalIP4NBNS: UInt16 = 4
    /// 0 or 4.
    public static let internalIP4DHCP: UInt16 = 6
    public static let applicationVersion: UInt16 = 7
    /// 0 or 17: address and prefix length.
    public static let internalIP6Address: UInt16 = 8
    /// 0 or 16.
    public static let internalIP6DNS: UInt16 = 10
    /// 0 or 16.
    public static let internalIP6DHCP: UInt16 = 12
    /// 0 or 8: address and netmask.
    public static let internalIP4Subnet: UInt16 = 13
    /// Two for each attribute type.
    public static let supportedAttributes: UInt16 = 14
    /// 17: address and prefix length.
    public static let internalIP6Subnet: UInt16 = 15
}

/// Traffic selector types (RFC 7296 §3.13.1).
public enum TrafficSelectorType {
    public static let ipv4AddressRange: UInt8 = 7
    public static let ipv6AddressRange: UInt8 = 8
}
