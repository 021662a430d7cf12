public import Cryptography

/// A request of ours that is not answered yet (RFC 7296 §2.3): repeated to the bit until it is, by whoever owns the session then.
public struct PendingRequest: Hashable, Sendable {
    /// What it was sent for, with all that is needed to finish the exchange when the answer comes.
    public enum Purpose: Hashable, Sendable {
        /// Dead peer detection (RFC 7296 §2.4).
        case liveness
        /// DELETE of this IKE SA.
        case deleteIKESA
        /// DELETE of the CHILD SA with this inbound SPI.
        case deleteChildSA(UInt32)
        /// CREATE_CHILD_SA for a CHILD SA (RFC 7296 §1.3.1, §1.3.3).
        case createChildSA(ChildOffer)
        /// CREATE_CHILD_SA for a successor of this IKE SA (RFC 7296 §1.3.2).
        case rekeyIKESA(IKEOffer)
        /// UPDATE_SA_ADDRESSES: this is where we are from now on (RFC 4555 §3.5).
        case updateAddresses(AddressUpdate)
        /// COOKIE2: whether the peer can be reached where it says it is (RFC 4555 §3.7).
        case verifyAddress(AddressCheck)
        /// Notifies that want no more than an acknowledgement: additional addresses, AUTH_LIFETIME.
        case announce
        /// REDIRECT, as `Session.redirects` has it (RFC 5685 §5). The nonce is that of IPSEC_SYN beside it; `nil` without.
        case redirect(nonce: UInt64?)
    }

    public var messageID: UInt32
    public var purpose: Purpose
    /// The datagrams' exact bytes, without the non-ESP marker: one, or the fragments in order (RFC 7383).
    public var datagrams: [[UInt8]]
    /// The peer began to rekey the same SA at the same time.
    public var collision: RekeyCollision?

    public init(messageID: UInt32, purpose: Purpose, datagrams: [[UInt8]], collision: RekeyCollision? = nil) {
        self.messageID = messageID
        self.purpose = purpose
        self.datagrams = datagrams
        self.collision = collision
    }
}

/// The private half of a key exchange that is under way: replicated, so that the other node can finish it.
public struct KeyExchangeOffer: Hashable, Sendable {
    public var group: KeyExchangeGroup
    public var privateValue: SecretBytes

    public init(group: KeyExchangeGroup, privateValue: SecretBytes) {
        self.group = group
        self.privateValue = privateValue
    }
}

/// What we offered for a CHILD SA.
public struct ChildOffer: Hashable, Sendable {
    /// The child's name in the configuration.
    public var name: String
    public var inboundSPI: UInt32
    /// The inbound SPI of the CHILD SA that is rekeyed; `nil` for a new one.
    public var replacing: UInt32?
    public var nonce: [UInt8]
    /// `nil` without PFS.
    public var keyExchange: KeyExchangeOffer?
    /// TSi and TSr as they were sent: what comes back has to lie within them.
    public var localSelectors: [TrafficSelector]
    public var remoteSelectors: [TrafficSelector]
    public var mode: IPsecMode

    public init(
        name: String, inboundSPI: UInt32, replacing: UInt32?, nonce: [UInt8], keyExchange: KeyExchangeOffer?,
        localSelectors: [TrafficSelector], remoteSelectors: [TrafficSelector], mode: IPsecMode
    ) {
        self.name = name
        self.inboundSPI = inboundSPI
        self.replacing = replacing
        self.nonce = nonce
        self.keyExchange = keyExchange
        self.localSelectors = localSelectors
        self.remoteSelectors = remoteSelectors
        self.mode = mode
    }
}

/// What we offered for the successor of an IKE SA.
public struct IKEOffer: Hashable, Sendable {
    public var spi: UInt64
    public var nonce: [UInt8]
    public var keyExchange: KeyExchangeOffer

    public init(spi: UInt64, nonce: [UInt8], keyExchange: KeyExchangeOffer) {
        self.spi = spi
        self.nonce = nonce
        self.keyExchange = keyExchange
    }
}

/// The peer's own rekey of what we are rekeying (RFC 7296 §2.8.1, §2.8.2).
public struct RekeyCollision: Hashable, Sendable {
    /// The lower of the two nonces of the peer's exchange.
    public var lowestNonce: [UInt8]
    /// Our SPI of what the peer's exchange made: the inbound SPI of a CHILD SA, or the local SPI of an IKE SA.
    public var localSPI: UInt64

    public init(lowestNonce: [UInt8], localSPI: UInt64) {
        self.lowestNonce = lowestNonce
        self.localSPI = localSPI
    }
}

/// Where we told the peer that we are (RFC 4555 §3.5).
public struct AddressUpdate: Hashable, Sendable {
    public var local: Endpoint
    public var remote: Endpoint

    public init(local: Endpoint, remote: Endpoint) {
        self.local = local
        self.remote = remote
    }
}

/// A return routability check that is under way (RFC 4555 §3.7).
public struct AddressCheck: Hashable, Sendable {
    /// What the peer has to send back.
    public var cookie: [UInt8]
    public var path: SessionPath

    public init(cookie: [UInt8], path: SessionPath) {
        self.cookie = cookie
        self.path = path
    }
}
