import Cryptography
import IKE
import Session

extension Cipher {
    static let gcm128 = Cipher(.aesGCM16, keyBits: 128)
    static let gcm256 = Cipher(.aesGCM16, keyBits: 256)
    static let cbc128 = Cipher(.aesCBC, keyBits: 128)
    static let ctr128 = Cipher(.aesCTR, keyBits: 128)
    static let chaCha = Cipher(.chaCha20Poly1305, keyBits: 256)
    /// Of every kind and key length.
    static let all = Kind.allCases.flatMap { kind in kind.keyLengths.map { Cipher(kind, keyBits: $0) } }
}

extension TrafficSelector {
    init(_ text: String) { self.init(IPPrefix(text)!) }
}

extension IKEProposal {
    static let gcmX25519 = IKEProposal(ciphers: [.gcm128], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
    static let gcmP256 = IKEProposal(ciphers: [.gcm128], integrity: [], prfs: [.hmacSHA256], groups: [.ecp256])
    /// AEADs, then the others, with every group.
    static let all = [
        IKEProposal(
            ciphers: Cipher.all.filter(\.isAEAD), integrity: [], prfs: PRF.allCases,
            groups: KeyExchangeGroup.allCases),
        IKEProposal(
            ciphers: Cipher.all.filter { !$0.isAEAD }, integrity: IntegrityAlgorithm.allCases, prfs: PRF.allCases,
            groups: KeyExchangeGroup.allCases),
    ]
}

extension ESPProposal {
    static let gcm = ESPProposal(ciphers: [.gcm128], integrity: [], groups: [])
    static let gcmPFS = ESPProposal(ciphers: [.gcm128], integrity: [], groups: [.ecp256, .curve25519])
}

extension SharedSecret {
    static let road = SharedSecret(identities: [Identity(text: "gw.example.net"), nil], secret: SecretBytes(Array("a shared secret".utf8)))
}

extension PoolConfiguration {
    static func road(count: UInt64 = 200) -> PoolConfiguration {
        let first = IPAddress("10.20.0.1")!
        return PoolConfiguration(
            name: "road", first: first, last: first.advanced(by: count - 1)!, network: IPPrefix("10.20.0.0/16")!,
            dns: [IPAddress("10.10.0.53")!])
    }
}

extension IKEConfiguration {
    static func standard(
        proposals: [IKEProposal] = IKEProposal.all, child: [ESPProposal] = [.gcmPFS, .gcm], pools: [PoolConfiguration] = [.road()],
        localSelectors: [SelectorConfiguration] = [.selector(TrafficSelector("10.10.0.0/16"))], forceEncapsulation: Bool = false,
        livenessDelay: Duration? = nil, limits: IKELimits = IKELimits()
    ) -> IKEConfiguration {
        let net = ChildConfiguration(
            name: "net", localSelectors: localSelectors, remoteSelectors: [.dynamic], proposals: child)
        let road = ConnectionConfiguration(
            name: "road", localAddresses: [IPPrefix(host: World.gatewayAddress)], proposals: proposals,
            localIdentity: Identity(text: "gw.example.net"), remoteIdentity: nil, pools: pools.map(\.name), children: [net],
            forceEncapsulation: forceEncapsulation, livenessDelay: livenessDelay)
        return IKEConfiguration(connections: [road], secrets: [.road], pools: pools, limits: limits)
    }
}

extension InitiatorConfiguration {
    static func standard(
        identity: String = "alice@example.net", secret: String = "a shared secret", proposals: [IKEProposal] = [.gcmX25519],
        child: [ESPProposal] = [.gcm]
    ) -> InitiatorConfiguration {
        var configuration = InitiatorConfiguration(
            local: Endpoint(World.clientAddress, 500), remote: Endpoint(World.gatewayAddress, 500),
            localIdentity: Identity(text: identity), remoteIdentity: Identity(text: "gw.example.net"),
            secret: SecretBytes(Array(secret.utf8)), proposals: proposals, childProposals: child,
            localSelectors: [TrafficSelector("0.0.0.0/0")], remoteSelectors: [TrafficSelector("0.0.0.0/0")])
        configuration.requestsAddresses = [.ipv4]
        configuration.announces = [.mobike, .messageIDSync, .fragmentation, .redirect]
        return configuration
    }
}
