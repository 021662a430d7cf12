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

/// When SAs are replaced, before the jitter.
public struct LifetimeConfiguration: Hashable, Sendable {
    /// `nil`: never.
    public var rekey: Duration?
    /// After which the SA ends even if it was not replaced; `nil`: never.
    public var end: Duration?
    /// Up to so much is taken off `rekey`, so that two peers, and a thousand of them, do not begin at once.
    public var random: Duration

    public init(rekey: Duration? = nil, end: Duration? = nil, random: Duration = .zero) {
        self.rekey = rekey
        self.end = end
        self.random = random
    }
}

/// How much may go through a CHILD SA before it is replaced, before the jitter.
public struct VolumeConfiguration: Hashable, Sendable {
    public var rekey: UInt64?
    public var end: UInt64?
    public var random: UInt64

    public init(rekey: UInt64? = nil, end: UInt64? = nil, random: UInt64 = 0) {
        self.rekey = rekey
        self.end = end
        self.random = random
    }
}

/// `start_action`: what is done for a child without being asked.
public struct StartAction: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Established as soon as this node owns the sessions, however often it takes; whether again when a peer ended it,
    /// `closeAction` and `deadPeerAction` say.
    public static let start = StartAction(rawValue: 1)
    /// Established by the first packet that needs it.
    public static let trap = StartAction(rawValue: 2)
}

/// `dpd_action` and `close_action`: what is done when a peer is dead, or when it deleted a CHILD SA.
public enum LossAction: Hashable, Sendable {
    case clear
    case trap
    case restart
}

/// `fragmentation` (RFC 7383).
public enum FragmentationPolicy: Hashable, Sendable {
    case no
    /// Announced, and used for messages that are too long.
    case yes
    /// Understood when it comes, not announced as initiator.
    case accept
}

/// When a peer that moved has to show that it can be reached where it says it is (RFC 4555 §3.7).
public enum AddressCheckPolicy: Hashable, Sendable {
    /// Before anything but IKE goes there.
    case before
    /// At once, but its traffic follows it meanwhile.
    case after
    case never
}

/// `unique`: what becomes of the other sessions of a peer that authenticates anew.
public enum UniquePolicy: Hashable, Sendable {
    /// INITIAL_CONTACT replaces them (RFC 7296 §2.4).
    case no
    /// INITIAL_CONTACT is not looked at.
    case never
    /// The old one stays, the new one is refused.
    case keep
    /// The new one replaces them.
    case replace
}

/// `childless` (RFC 6023).
public enum ChildlessPolicy: Hashable, Sendable {
    case never
    /// As responder.
    case allow
    /// As responder, and as initiator where the peer can.
    case prefer
    case force
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
    public var lifetime = LifetimeConfiguration()
    /// Octets and packets, both directions together.
    public var bytes = VolumeConfiguration()
    public var packets = VolumeConfiguration()
    public var startAction: StartAction = []
    public var deadPeerAction = LossAction.clear
    public var closeAction = LossAction.clear
    /// A program that is run when the CHILD SA comes and goes.
    public var hook: String?

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
    /// Names of `pools` from which the peer gets addresses: one of each family, from the first pool that has one.
    public var pools: [String]
    public var children: [ChildConfiguration]
    /// Ask for ESP in UDP even where no NAT is (strongSwan's `encap`).
    public var forceEncapsulation: Bool
    /// Silence after which the peer is asked whether it lives; `nil`: never.
    public var livenessDelay: Duration?
    public var lifetime = LifetimeConfiguration()
    /// After which the peers have to authenticate anew (RFC 4478); `nil`: never.
    public var reauthenticationTime: Duration?
    public var fragmentation = FragmentationPolicy.yes
    /// RFC 4555.
    public var mobike = true
    /// Our addresses that a peer is told of beside the one it speaks to (RFC 4555 §3.4); at most `Session.peerAddressesMax`.
    public var additionalAddresses: [IPAddress] = []
    public var addressCheck = AddressCheckPolicy.before
    public var unique = UniquePolicy.no
    public var childless = ChildlessPolicy.allow
    /// Follow a REDIRECT (RFC 5685).
    public var followsRedirects = true

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
    /// An identity keeps its address while it is away.
    public var isPersistent = false
    /// How long it does so at least; `nil`: until nothing else is left for others.
    public var leaseTime: Duration?

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
    /// Octets of an IP datagram with a fragment of an IKE message (RFC 7383 §2.5.1): what every IPv6 link takes.
    public var fragmentSize = 1280
    /// Requests that we take from a peer at once (SET_WINDOW_SIZE, RFC 7296 §2.3).
    public var requestWindow: UInt32 = 1
    /// How long to wait before a rekey that failed is tried again: the peer says TEMPORARY_FAILURE, or cannot.
    public var rekeyRetryTime: Duration = .seconds(15)
    /// Silence after which whoever is behind a NAT sends a keepalive (RFC 3948 §4); `nil`: never.
    public var keepAliveInterval: Duration? = .seconds(20)
    /// How long a peer that was redirected has to go before what is left of its session is deleted (RFC 5685 §5); `nil`: it is never.
    /// As long as a client repeats a request that the other gateway does not answer.
    public var redirectDeleteDelay: Duration? = .seconds(180)
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
