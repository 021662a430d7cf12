public import Cryptography

/// Names a session for its whole life, through every rekey. Assigned by the node that created it; the top bit is the node's.
public struct SessionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static func < (lhs: SessionID, rhs: SessionID) -> Bool { lhs.rawValue < rhs.rawValue }
    public var description: String { String(rawValue, radix: 16) }
}

/// An identity as IKE carries it (RFC 7296 §3.5): the ID type and its octets.
public struct Identity: Hashable, Sendable {
    public enum Kind: UInt8, Sendable, Hashable {
        case ipv4Address = 1
        case fqdn = 2
        case rfc822Address = 3
        case ipv6Address = 5
        case derASN1DN = 9
        case derASN1GN = 10
        case keyID = 11
    }

    public var kind: Kind
    public var data: [UInt8]

    public init(kind: Kind, data: [UInt8]) {
        self.kind = kind
        self.data = data
    }

    /// From an operator's text as swanctl reads it: a distinguished name (`C=CH, O=Tandem, CN=gw`), an address, `user@host`, or a name.
    public init(text: String) {
        if text.contains("="), let name = DistinguishedName.der(text: text) {
            self.init(kind: .derASN1DN, data: name)
        } else if let address = IPAddress(text) {
            self.init(kind: address.isIPv4 ? .ipv4Address : .ipv6Address, data: address.bytes)
        } else if text.first == "@" {
            self.init(kind: .fqdn, data: Array(text.dropFirst().utf8))
        } else {
            self.init(kind: text.contains("@") ? .rfc822Address : .fqdn, data: Array(text.utf8))
        }
    }
}

extension Identity: CustomStringConvertible {
    public var description: String {
        switch kind {
        case .ipv4Address, .ipv6Address:
            return IPAddress(bytes: data).map(String.init(describing:)) ?? "(\(data.count) octets)"
        case .fqdn, .rfc822Address:
            return isPrintable ? String(decoding: data, as: UTF8.self) : "(\(data.count) octets)"
        case .derASN1DN: return DistinguishedName.text(der: data) ?? "(\(data.count) octets)"
        case .derASN1GN, .keyID:
            return data.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
    }

    private var isPrintable: Bool { data.allSatisfy { (0x20...0x7E).contains($0) } }

    /// The identities that are shown as the octets that they are, and whose octets these are.
    static func named(_ text: String) -> [Identity] {
        [.fqdn, .rfc822Address].map { Identity(kind: $0, data: Array(text.utf8)) }.filter { $0.unlikeText == nil }
    }

    /// What is shown of an identity that is none of those.
    var unlikeText: String? { (kind == .fqdn || kind == .rfc822Address) && isPrintable ? nil : description }
}

/// What the PAD said of the peer when it was authenticated (RFC 4301 §4.4.3): kept, so that the other node never asks again.
public struct PeerAuthorization: Hashable, Sendable {
    /// How the peer showed who it is: the numbers of the AUTH payload (RFC 7296 §3.8, RFC 4754 §7, RFC 7427 §3).
    public enum Method: UInt8, CaseIterable, Sendable, Hashable {
        case rsaSignature = 1
        case preSharedKey = 2
        case ecdsaP256 = 9
        case ecdsaP384 = 10
        case ecdsaP521 = 11
        case digitalSignature = 14
    }

    /// The connection of the configuration that admitted the peer.
    public var connection: String
    public var localIdentity: Identity
    public var remoteIdentity: Identity
    public var method: Method

    public init(connection: String, localIdentity: Identity, remoteIdentity: Identity, method: Method) {
        self.connection = connection
        self.localIdentity = localIdentity
        self.remoteIdentity = remoteIdentity
        self.method = method
    }
}

/// What the peer announced that it can do, as far as it matters after IKE_AUTH.
public struct PeerCapabilities: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// RFC 4555 MOBIKE_SUPPORTED.
    public static let mobike = PeerCapabilities(rawValue: 1)
    /// RFC 6311 IKEV2_MESSAGE_ID_SYNC_SUPPORTED.
    public static let messageIDSync = PeerCapabilities(rawValue: 2)
    /// RFC 5685 REDIRECT_SUPPORTED.
    public static let redirect = PeerCapabilities(rawValue: 4)
    /// RFC 7383 IKEV2_FRAGMENTATION_SUPPORTED.
    public static let fragmentation = PeerCapabilities(rawValue: 8)
    /// RFC 6023 CHILDLESS_IKEV2_SUPPORTED.
    public static let childless = PeerCapabilities(rawValue: 16)
    /// The vendor ID "Tandem context transfer 1": the peer knows the private notifies IPSEC_SYN and NO_REAUTH_IPSEC_CXT_TRANSMITTED.
    public static let contextTransfer = PeerCapabilities(rawValue: 32)
    /// RFC 6311 IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED.
    public static let replayCounterSync = PeerCapabilities(rawValue: 64)
}

/// Between which endpoints a session runs, and what is known of NATs between them.
public struct SessionPath: Hashable, Sendable {
    public var local: Endpoint
    public var remote: Endpoint
    /// ESP goes inside UDP (RFC 3948): a NAT was detected, or the peer asked for it.
    public var encapsulation: Bool
    public var localBehindNAT: Bool
    public var remoteBehindNAT: Bool

    public init(local: Endpoint, remote: Endpoint, encapsulation: Bool, localBehindNAT: Bool, remoteBehindNAT: Bool) {
        self.local = local
        self.remote = remote
        self.encapsulation = encapsulation
        self.localBehindNAT = localBehindNAT
        self.remoteBehindNAT = remoteBehindNAT
    }
}

/// An address that was leased to the peer from a pool.
public struct VirtualAddress: Hashable, Sendable {
    public var pool: String
    public var address: IPAddress
    /// It stays the peer's when the session is over: a `Reservation`.
    public var isPersistent: Bool

    public init(pool: String, address: IPAddress, isPersistent: Bool = false) {
        self.pool = pool
        self.address = address
        self.isPersistent = isPersistent
    }
}

/// Everything that a gateway knows of one peer: the unit of replication and of takeover.
public struct Session: Hashable, Sendable {
    public var id: SessionID
    /// A number for people, as strongSwan's IKE SA unique id.
    public var uniqueID: UInt32
    @Shared public var authorization: PeerAuthorization
    public var capabilities: PeerCapabilities
    public var local: Endpoint
    public var remote: Endpoint
    /// ESP goes inside UDP (RFC 3948): a NAT was detected, or the peer asked for it.
    public var encapsulation: Bool
    public var localBehindNAT: Bool
    public var remoteBehindNAT: Bool
    @Shared public var ikeSA: IKESA
    /// IKE SAs beside the current one: replaced ones until they are deleted, and what simultaneous rekeys made (RFC 7296 §2.8.2).
    public var otherIKESAs: [IKESA]
    public var children: [ChildSA]
    public var virtualAddresses: [VirtualAddress]
    /// Our part in IKE_SA_INIT, whoever rekeyed since: it says who decides on addresses (RFC 4555 §3.5) and who authenticates anew.
    public var originalRole: IKERole
    /// Further addresses that the peer said it has (RFC 4555 §3.6).
    public var peerAddresses: [IPAddress]
    /// Where the session is moving (RFC 4555 §3.5): IKE messages go there already. Set as long as the initiator has not been answered
    /// its UPDATE_SA_ADDRESSES, or the responder has not seen that the initiator can be reached there. Whoever takes over goes on with it.
    public var movingTo: SessionPath?
    /// By when the peers have to have authenticated anew (RFC 4478), in milliseconds since 1970; `nil`: never.
    public var reauthenticateAt: Int64?
    /// The session that this one replaces, because the peers had to authenticate anew or a gateway sent us here: it is deleted when
    /// all of its children are here too (RFC 7296 §2.8.3).
    public var predecessor: SessionID?
    /// Where the gateway told us to go (RFC 5685 §5); the session stays until its successor stands there.
    public var redirectedTo: IPAddress?
    /// Where we told the peer to go, or it was told before it came (RFC 5685).
    public var redirects = Redirections.none
    /// Another gateway gave us its context and still speaks for it: it stands ready and is silent, until the giver or the peer says that
    /// the peer is here (RFC 4067 §2.1.1).
    public var isArriving = false
    public var establishedWallMilliseconds: Int64
    /// What a node of a later version says of it in addition, as protobuf fields that this version does not know: kept, and handed back. It
    /// may be a key.
    public var unknownFields = SecretBytes.empty

    /// Past it the session's state would grow with whatever a peer says.
    public static let peerAddressesMax = 16

    public init(
        id: SessionID, uniqueID: UInt32, authorization: PeerAuthorization, capabilities: PeerCapabilities, local: Endpoint,
        remote: Endpoint, encapsulation: Bool, localBehindNAT: Bool, remoteBehindNAT: Bool, ikeSA: IKESA, otherIKESAs: [IKESA] = [],
        children: [ChildSA] = [], virtualAddresses: [VirtualAddress] = [], originalRole: IKERole? = nil, peerAddresses: [IPAddress] = [],
        movingTo: SessionPath? = nil, reauthenticateAt: Int64? = nil, establishedWallMilliseconds: Int64
    ) {
        self.id = id
        self.uniqueID = uniqueID
        self.authorization = authorization
        self.capabilities = capabilities
        self.local = local
        self.remote = remote
        self.encapsulation = encapsulation
        self.localBehindNAT = localBehindNAT
        self.remoteBehindNAT = remoteBehindNAT
        self.ikeSA = ikeSA
        self.otherIKESAs = otherIKESAs
        self.children = children
        self.virtualAddresses = virtualAddresses
        self.originalRole = originalRole ?? ikeSA.role
        self.peerAddresses = peerAddresses
        self.movingTo = movingTo
        self.reauthenticateAt = reauthenticateAt
        self.establishedWallMilliseconds = establishedWallMilliseconds
    }

    public var ikeSAs: [IKESA] { [ikeSA] + otherIKESAs }
    public func ikeSA(localSPI: UInt64) -> IKESA? {
        ikeSA.localSPI == localSPI ? ikeSA : otherIKESAs.first { $0.localSPI == localSPI }
    }

    public var path: SessionPath {
        get {
            SessionPath(
                local: local, remote: remote, encapsulation: encapsulation, localBehindNAT: localBehindNAT,
                remoteBehindNAT: remoteBehindNAT)
        }
        set {
            local = newValue.local
            remote = newValue.remote
            encapsulation = newValue.encapsulation
            localBehindNAT = newValue.localBehindNAT
            remoteBehindNAT = newValue.remoteBehindNAT
        }
    }

    /// Between which endpoints IKE messages of ours go.
    public var ikePath: SessionPath { movingTo ?? path }

    public func child(inboundSPI: UInt32) -> ChildSA? { children.first { $0.inboundSPI == inboundSPI } }
}
