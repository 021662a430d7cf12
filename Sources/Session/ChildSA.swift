public import Cryptography

/// The algorithms of a CHILD SA, as negotiated (RFC 7296 §3.3).
public struct ESPAlgorithms: Hashable, Sendable {
    public var cipher: Cipher
    /// `nil` with an AEAD cipher.
    public var integrity: IntegrityAlgorithm?
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    public var extendedSequenceNumbers: Bool
    /// The group of the last PFS exchange; `nil` without PFS.
    public var keyExchangeGroup: KeyExchangeGroup?

    public init(cipher: Cipher, integrity: IntegrityAlgorithm?, extendedSequenceNumbers: Bool, keyExchangeGroup: KeyExchangeGroup?) {
        self.cipher = cipher
        self.integrity = integrity
        self.extendedSequenceNumbers = extendedSequenceNumbers
        self.keyExchangeGroup = keyExchangeGroup
    }
}

/// The keys of one direction. For an AEAD the encryption key ends with the salt (RFC 4106 §8.1).
public struct DirectionKeys: Hashable, Sendable {
    public var encryption: SecretBytes
    /// Empty with an AEAD cipher.
    public var integrity: SecretBytes

    public init(encryption: SecretBytes, integrity: SecretBytes) {
        self.encryption = encryption
        self.integrity = integrity
    }
}

public enum IPsecMode: UInt8, Sendable, Hashable { case tunnel = 0, transport = 1 }

/// A pair of ESP SAs (RFC 7296 §1): what goes into the SAD and the SPD of both nodes.
public struct ChildSA: Hashable, Sendable {
    /// The SPI we chose, on which we receive. It names the CHILD SA everywhere in Tandem. Its top bit is the node's.
    public var inboundSPI: UInt32
    /// The SPI that the peer chose, to which we send.
    public var outboundSPI: UInt32
    /// The name of the child in the configuration.
    public var name: String
    /// A number for people, as strongSwan's unique id; never used again in the life of a pair.
    public var uniqueID: UInt32
    public var algorithms: ESPAlgorithms
    public var inboundKeys: DirectionKeys
    public var outboundKeys: DirectionKeys
    public var mode: IPsecMode
    /// What lies behind us.
    public var localSelectors: [TrafficSelector]
    /// What lies behind the peer.
    public var remoteSelectors: [TrafficSelector]
    public var lease: Lease
    /// The highest sequence number accepted from the peer, as last reported by the data plane.
    public var inboundTop: UInt64
    public var establishedWallMilliseconds: Int64
    /// Set when a successor replaced it: it still receives, but no longer sends, until the peer deletes it.
    public var isRekeyed: Bool

    public init(
        inboundSPI: UInt32, outboundSPI: UInt32, name: String, uniqueID: UInt32, algorithms: ESPAlgorithms, inboundKeys: DirectionKeys,
        outboundKeys: DirectionKeys, mode: IPsecMode, localSelectors: [TrafficSelector], remoteSelectors: [TrafficSelector],
        lease: Lease, inboundTop: UInt64 = 0, establishedWallMilliseconds: Int64, isRekeyed: Bool = false
    ) {
        self.inboundSPI = inboundSPI
        self.outboundSPI = outboundSPI
        self.name = name
        self.uniqueID = uniqueID
        self.algorithms = algorithms
        self.inboundKeys = inboundKeys
        self.outboundKeys = outboundKeys
        self.mode = mode
        self.localSelectors = localSelectors
        self.remoteSelectors = remoteSelectors
        self.lease = lease
        self.inboundTop = inboundTop
        self.establishedWallMilliseconds = establishedWallMilliseconds
        self.isRekeyed = isRekeyed
    }
}
