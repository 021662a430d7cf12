public import Cryptography
public import Session

/// One transform set that we accept or offer for an IKE SA, in order of preference.
public struct IKEProposal: Hashable, Sendable {
    public var ciphers: [Cipher]
    /// Empty with AEAD ciphers.
    public var integrity: [IntegrityAlgorithm]
    public var prfs: [PRF]
    public var groups: [KeyExchangeGroup]

    public init(ciphers: [Cipher], integrity: [IntegrityAlgorithm], prfs: [PRF], groups: [KeyExchangeGroup]) {
        self.ciphers = ciphers
        self.integrity = integrity
        self.prfs = prfs
        self.groups = groups
    }
}

/// One transform set that we accept or offer for a CHILD SA.
public struct ESPProposal: Hashable, Sendable {
    public var ciphers: [Cipher]
    /// Empty with AEAD ciphers.
    public var integrity: [IntegrityAlgorithm]
    /// Empty: no PFS is offered; what a peer asks for is accepted only if a group of it is listed.
    public var groups: [KeyExchangeGroup]
    /// In order of preference; `[false]` unless `esn` is named.
    public var extendedSequenceNumbers: [Bool]

    public init(
        ciphers: [Cipher], integrity: [IntegrityAlgorithm], groups: [KeyExchangeGroup], extendedSequenceNumbers: [Bool] = [false]
    ) {
        self.ciphers = ciphers
        self.integrity = integrity
        self.groups = groups
        self.extendedSequenceNumbers = extendedSequenceNumbers
    }
}

/// A configured traffic selector: a range, or `dynamic` (the peer's virtual address, or its own address without one).
public enum SelectorConfiguration: Hashable, Sendable {
    case dynamic
    case selector(TrafficSelector)
}

/// `[connections.NAME.children.CHILD]`.
public struct ChildConfiguration: Hashable, Sendable {
    public var name: String
    public var localSelectors: [SelectorConfiguration]
    public var remoteSelectors: [SelectorConfiguration]
    public var proposals: [ESPProposal]
    public var mode: IPsecMode

    public init(
        name: String, localSelectors: [SelectorConfiguration], remoteSelectors: [SelectorConfiguration], proposals: [ESPProposal],
        mode: IPsecMode = .tunnel
    ) {
        self.name = name
        self.localSelectors = localSelectors
        self.remoteSelectors = remoteSelectors
        self.proposals = proposals
        self.mode = mode
    }
}

/// `[connections.NAME]`.
public struct ConnectionConfiguration: Hashable, Sendable {
    public var name: String
    /// Empty: any.
    public var localAddresses: [IPPrefix]
    /// Empty: any.
    public var remoteAddresses: [IPPrefix]
    public var proposals: [IKEProposal]
    public var localAuthentication: LocalAuthentication
    public var remoteAuthentication: RemoteAuthentication
    public var certificateSending: CertificateSending
    /// Tell peers the authorities that we trust, so that they send their certificates.
    public var sendsCertificateRequest: Bool
    /// `nil`: the subject of our certificate, or the address that the peer spoke to.
    public var localIdentity: Identity?
    /// `nil`: any.
    public var remoteIdentity: Identity?
    /// Names of `pools` from which the peer gets addresses, at most one a family.
    public var pools: [String]
    public var children: [ChildConfiguration]
    /// Ask for ESP in UDP even where no NAT is (strongSwan's `encap`).
    public var forceEncapsulation: Bool
    /// Silence after which the peer is asked whether it lives; `nil`: never.
    public var livenessDelay: Duration?

    public init(
        name: String, localAddresses: [IPPrefix] = [], remoteAddresses: [IPPrefix] = [], proposals: [IKEProposal],
        localIdentity: Identity?, remoteIdentity: Identity?, pools: [String] = [], children: [ChildConfiguration],
        forceEncapsulation: Bool = false, livenessDelay: Duration? = nil, localAuthentication: LocalAuthentication = .preSharedKey,
        remoteAuthentication: RemoteAuthentication = .preSharedKey, certificateSending: CertificateSending = .ifAsked,
        sendsCertificateRequest: Bool = true
    ) {
        self.localAuthentication = localAuthentication
        self.remoteAuthentication = remoteAuthentication
        self.certificateSending = certificateSending
        self.sendsCertificateRequest = sendsCertificateRequest
        self.name = name
        self.localAddresses = localAddresses
        self.remoteAddresses = remoteAddresses
        self.proposals = proposals
        self.localIdentity = localIdentity
        self.remoteIdentity = remoteIdentity
        self.pools = pools
        self.children = children
        self.forceEncapsulation = forceEncapsulation
        self.livenessDelay = livenessDelay
    }
}

/// `[secrets.NAME]`: a pre-shared key and whose it is.
public struct SharedSecret: Hashable, Sendable {
    /// Empty: anybody's. `nil` in the list (`%any`): any identity on that side.
    public var identities: [Identity?]
    public var secret: SecretBytes

    public init(identities: [Identity?], secret: SecretBytes) {
        self.identities = identities
        self.secret = secret
    }
}

/// `[pools.NAME]`.
public struct PoolConfiguration: Hashable, Sendable {
    public var name: String
    /// First and last address that may be handed out.
    public var first: IPAddress
    public var last: IPAddress
    /// The prefix of the pool's network, for INTERNAL_IP4_NETMASK and protection policies.
    public var network: IPPrefix
    /// Tell the peer the netmask (INTERNAL_IP4_NETMASK).
    public var announcesNetmask: Bool
    public var dns: [IPAddress]

    public init(
        name: String, first: IPAddress, last: IPAddress, network: IPPrefix, announcesNetmask: Bool = false, dns: [IPAddress] = []
    ) {
        self.name = name
        self.first = first
        self.last = last
        self.network = network
        self.announcesNetmask = announcesNetmask
        self.dns = dns
    }
}

/// Limits of the IKE machine, each with its reason.
public struct IKELimits: Hashable, Sendable {
    /// Half-open IKE SAs above which an initiator must first return a cookie (RFC 7296 §2.6).
    public var cookieThreshold = 32
    /// Half-open IKE SAs that are kept at all; the next IKE_SA_INIT is dropped and counted. 4,096 take some 8 MiB, and at most
    /// 40 MiB if every request is as long as `initRequestLengthMax`.
    public var halfOpenMax = 4096
    /// Half-open IKE SAs of one IPv4 address or IPv6 /64, so that one client who returns cookies does not take the place of all
    /// others; a NAT with a crowd behind it still gets hundreds of handshakes a second through.
    public var halfOpenPerAddressMax = 64
    /// Octets of an IKE_SA_INIT request, which is kept until IKE_AUTH: several times what known initiators send.
    public var initRequestLengthMax = 8192
    /// Errors told in clear, to whoever it may be, in one second; the rest is dropped and counted (RFC 7296 §2.21.4). A gateway
    /// with all of its clients wrongly configured answers each of a thousand within ten seconds.
    public var clearErrorsPerSecond = 100
    /// How long an initiator has from IKE_SA_INIT to IKE_AUTH: as strongSwan's `half_open_timeout`.
    public var halfOpenTimeout: Duration = .seconds(30)
    /// CHILD SAs in one IKE SA; the next is refused with NO_ADDITIONAL_SAS.
    public var childrenPerSessionMax = 32
    /// The first wait for a response; each next is `retransmitBase` times as long (strongSwan's 4.0 s, 1.8, 5 tries).
    public var retransmitTimeout: Duration = .seconds(4)
    public var retransmitBase = 1.8
    public var retransmitTries = 5
    /// The longest wait, whatever base and tries say: who is silent for an hour is gone.
    public static let retransmitWaitMax: Duration = .seconds(3600)

    public init() {}

    /// How long to wait for a response to what was repeated `repeats` times.
    func wait(repeats: Int) -> Duration {
        var wait = retransmitTimeout
        for _ in 0..<repeats where wait < IKELimits.retransmitWaitMax { wait = wait * retransmitBase }
        return min(wait, IKELimits.retransmitWaitMax)
    }
}

/// What the IKE machine has to know beforehand.
public struct IKEConfiguration: Sendable {
    public var connections: [ConnectionConfiguration]
    public var secrets: [SharedSecret]
    public var pools: [PoolConfiguration]
    public var limits: IKELimits

    public init(
        connections: [ConnectionConfiguration], secrets: [SharedSecret], pools: [PoolConfiguration], limits: IKELimits = IKELimits()
    ) {
        self.connections = connections
        self.secrets = secrets
        self.pools = pools
        self.limits = limits
    }
}
