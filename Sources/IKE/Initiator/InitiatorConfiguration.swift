public import Cryptography
import IKEWire
public import Session

/// What an `IKEInitiator` offers and asks for.
public struct InitiatorConfiguration: Sendable {
    /// Our address as we see it, port 500. A NAT on the way may show the gateway another.
    public var local: Endpoint
    /// The gateway, port 500.
    public var remote: Endpoint
    /// The ports after IKE_SA_INIT when there is a NAT (RFC 7296 §2.23), or always with `alwaysFloats`.
    public var floatedLocalPort: UInt16 = 4500
    public var floatedRemotePort: UInt16 = 4500
    /// As a client with MOBIKE does: to port 4500 even without a NAT (RFC 4555 §3.3).
    public var alwaysFloats = false
    public var localIdentity: Identity
    /// Sent as IDr; what the gateway answers has to be it. `nil`: none is sent and any is taken.
    public var remoteIdentity: Identity?
    /// For whichever side authenticates with a pre-shared key.
    public var secret: SecretBytes
    public var localAuthentication = LocalAuthentication.preSharedKey
    public var remoteAuthentication = RemoteAuthentication.preSharedKey
    public var certificateSending = CertificateSending.ifAsked
    public var sendsCertificateRequest = true
    /// RFC 7427, as strongSwan's `signature_authentication`; without it both sides keep to the methods of RFC 7296 and RFC 4754.
    public var announcesSignatureHashes = true
    public var proposals: [IKEProposal]
    public var childName = "child"
    /// Groups are left out in IKE_AUTH and in new CHILD SAs without PFS.
    public var childProposals: [ESPProposal]
    /// TSi and TSr.
    public var localSelectors: [TrafficSelector]
    public var remoteSelectors: [TrafficSelector]
    /// Families of the addresses asked for in CFG_REQUEST.
    public var requestsAddresses: [IPAddress.Family] = []
    /// Gives a wrong NAT_DETECTION_SOURCE_IP, so that the gateway sees a NAT.
    public var forcesEncapsulation = false
    public var announcesInitialContact = false
    public var announces: PeerCapabilities = []
    /// Our SPI of the IKE SA, not 0; `nil`: a random one.
    public var ikeSPI: UInt64?
    /// Our SPI of the CHILD SA of IKE_AUTH, above 255; `nil`: a random one.
    public var childSPI: UInt32?
    public var limits = IKELimits()

    public init(
        local: Endpoint, remote: Endpoint, localIdentity: Identity, remoteIdentity: Identity?, secret: SecretBytes,
        proposals: [IKEProposal], childProposals: [ESPProposal], localSelectors: [TrafficSelector], remoteSelectors: [TrafficSelector]
    ) {
        self.local = local
        self.remote = remote
        self.localIdentity = localIdentity
        self.remoteIdentity = remoteIdentity
        self.secret = secret
        self.proposals = proposals
        self.childProposals = childProposals
        self.localSelectors = localSelectors
        self.remoteSelectors = remoteSelectors
    }
}

extension InitiatorConfiguration {
    var usesPublicKeys: Bool { localAuthentication.usesPublicKeys || remoteAuthentication.usesPublicKeys }

    /// CERTREQ for the authorities that we trust.
    var certificateRequest: Payload? {
        guard sendsCertificateRequest, case .publicKey(let trust) = remoteAuthentication else { return nil }
        return CertificateRequest.payload([trust])
    }
}

/// How far an `IKEInitiator` has come.
public enum InitiatorPhase: Hashable, Sendable {
    case idle
    case awaitingInitResponse
    case awaitingAuthResponse
    case established
    /// Deleted by either side.
    case closed
    case failed(InitiatorFailure)
}

public enum InitiatorFailure: Hashable, Sendable {
    /// The gateway's error notify (RFC 7296 §3.10.1).
    case refused(notify: UInt16)
    /// The gateway could not show that it knows the secret, or is somebody else.
    case notAuthenticated
    /// The gateway's certificate or signature is not believed.
    case rejected(IKEAuthenticationFailure)
    /// The gateway takes no signature that our key can make.
    case cannotAuthenticate
    /// No answer to any repetition.
    case timedOut
    /// An answer that does not fit what was offered.
    case badResponse
    case cryptography
}

/// What came of the last exchange that was asked for.
public enum InitiatorResult: Hashable, Sendable {
    case succeeded
    /// The gateway's error notify.
    case refused(notify: UInt16)
    case badResponse
}
