import Cryptography
import IKEWire
import Session

/// The payloads of one message by kind: each that matters once, the notifies and deletes as lists.
struct PayloadSet {
    var proposals: [Proposal]?
    var keyExchange: KeyExchangePayload?
    var nonce: [UInt8]?
    var initiatorIdentity: IdentificationPayload?
    var responderIdentity: IdentificationPayload?
    var authentication: (method: UInt8, data: [UInt8])?
    /// X.509 certificates in DER, in their order; as many as a message may have payloads.
    var certificates: [[UInt8]] = []
    /// A CERTREQ for X.509 certificates is among them. Which authorities it names does not matter to who has one certificate.
    var asksForCertificate = false
    var initiatorSelectors: [WireTrafficSelector]?
    var responderSelectors: [WireTrafficSelector]?
    var configuration: ConfigurationPayload?
    var notifies: [NotifyPayload] = []
    var deletes: [DeletePayload] = []
    var vendorIDs: [[UInt8]] = []

    init(_ payloads: [Payload]) {
        for payload in payloads { add(payload) }
    }

    private mutating func add(_ payload: Payload) {
        switch payload {
        case .securityAssociation(let value): proposals = value
        case .keyExchange(let value): keyExchange = value
        case .nonce(let value): nonce = value
        case .identificationInitiator(let value): initiatorIdentity = value
        case .identificationResponder(let value): responderIdentity = value
        case .authentication(let method, let data): authentication = (method, data)
        case .trafficSelectorsInitiator(let value): initiatorSelectors = value
        case .trafficSelectorsResponder(let value): responderSelectors = value
        case .configuration(let value): configuration = value
        case .notify(let value): notifies.append(value)
        case .delete(let value): deletes.append(value)
        case .vendorID(let value): vendorIDs.append(value)
        case .certificate(CertificateEncoding.x509Signature, let data): certificates.append(data)
        case .certificateRequest(CertificateEncoding.x509Signature, _): asksForCertificate = true
        // Hashes and URLs (RFC 7296 §3.6) would have to be fetched: only who announces that gets them.
        case .certificate, .certificateRequest, .eap, .encrypted, .encryptedFragment, .unknown: break
        }
    }

    func notify(_ type: NotifyType) -> NotifyPayload? { notifies.first { $0.type == type } }
    func has(_ type: NotifyType) -> Bool { notify(type) != nil }
    /// IKE_AUTH without a CHILD SA (RFC 6023 §3).
    var asksForNoChild: Bool { proposals == nil && initiatorSelectors == nil && responderSelectors == nil }
    /// How many requests the peer takes at once, if it says so (RFC 7296 §2.3); more than we ever send counts as that.
    var announcedWindow: UInt32? {
        notify(.setWindowSize).flatMap { UInt32(networkBytes: $0.data) }.flatMap { $0 > 0 ? min($0, IKESA.windowMax) : nil }
    }
    /// The first notify that reports an error (RFC 7296 §3.10.1).
    var error: NotifyPayload? { notifies.first { $0.type.isError } }
}

extension Payload {
    static func notify(_ type: NotifyType, _ data: [UInt8] = []) -> Payload { .notify(NotifyPayload(type: type, data: data)) }
}

extension Identity {
    /// Octets of a peer's identity: several times a name or a distinguished name. Each is kept, indexed and replicated.
    static let lengthMax = 2048

    /// `nil` for an ID type that is not known, an address of a wrong length, or more than `lengthMax` octets.
    init?(_ payload: IdentificationPayload) {
        guard let kind = Kind(rawValue: payload.kind), payload.data.count <= Identity.lengthMax else { return nil }
        switch kind {
        case .ipv4Address where payload.data.count != 4, .ipv6Address where payload.data.count != 16: return nil
        case .ipv4Address, .ipv6Address, .fqdn, .rfc822Address, .derASN1DN, .derASN1GN, .keyID: break
        }
        self.init(kind: kind, data: payload.data)
    }

    init(address: IPAddress) { self.init(kind: address.isIPv4 ? .ipv4Address : .ipv6Address, data: address.bytes) }

    var payload: IdentificationPayload { IdentificationPayload(kind: kind.rawValue, data: data) }
}

extension TrafficSelector {
    /// `nil` for what cannot be said to a data plane: an unknown type, or OPAQUE ports (RFC 4301 §4.4.1.1).
    init?(_ wire: WireTrafficSelector) {
        guard !wire.isUnknown, wire.startPort <= wire.endPort, let start = IPAddress(bytes: wire.start),
            let end = IPAddress(bytes: wire.end), start.family == end.family, start <= end
        else { return nil }
        self.init(ipProtocol: wire.ipProtocol, startPort: wire.startPort, endPort: wire.endPort, start: start, end: end)
    }

    var wire: WireTrafficSelector {
        WireTrafficSelector(
            type: start.isIPv4 ? TrafficSelectorType.ipv4AddressRange : TrafficSelectorType.ipv6AddressRange, ipProtocol: ipProtocol,
            startPort: startPort, endPort: endPort, start: start.bytes, end: end.bytes)
    }
}

extension ChildRefusal {
    /// How the peer is told (RFC 7296 §3.10.1).
    var payload: Payload {
        switch self {
        case .noProposalChosen: .notify(.noProposalChosen)
        case .trafficSelectorsUnacceptable: .notify(.tsUnacceptable)
        case .invalidKeyExchange(let group): .notify(.invalidKEPayload, group.networkBytes)
        case .noAdditionalSAs: .notify(.noAdditionalSAs)
        case .temporaryFailure: .notify(.temporaryFailure)
        case .childNotFound(let spi): .notify(NotifyPayload(protocolID: .esp, spi: spi.networkBytes, type: .childSANotFound))
        case .addressesExhausted: .notify(.internalAddressFailure)
        case .configurationRequired: .notify(.failedCPRequired)
        case .malformed: .notify(.invalidSyntax)
        }
    }
}
