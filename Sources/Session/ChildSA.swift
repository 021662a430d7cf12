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

/// How much has gone through a CHILD SA, both directions together.
public struct Volume: Hashable, Sendable {
    public var bytes: UInt64
    public var packets: UInt64

    public init(bytes: UInt64 = 0, packets: UInt64 = 0) {
        self.bytes = bytes
        self.packets = packets
    }
}

/// How much may go through a CHILD SA before it is replaced, and before it ends; `nil`: any amount. Chosen once, with the jitter.
public struct VolumeLimits: Hashable, Sendable {
    public var rekeyBytes: UInt64?
    public var endBytes: UInt64?
    public var rekeyPackets: UInt64?
    public var endPackets: UInt64?

    public init(rekeyBytes: UInt64? = nil, endBytes: UInt64? = nil, rekeyPackets: UInt64? = nil, endPackets: UInt64? = nil) {
        self.rekeyBytes = rekeyBytes
        self.endBytes = endBytes
        self.rekeyPackets = rekeyPackets
        self.endPackets = endPackets
    }

    public static let unlimited = VolumeLimits()
}

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
    public var lifetime: Lifetime
    public var volumeLimits: VolumeLimits
    /// As last recorded: in steps of a part of the limits, and not at all without limits.
    public var volume: Volume
    public var establishedWallMilliseconds: Int64
    /// Set when a successor replaced it: it still receives, but no longer sends, until the peer deletes it.
    public var isRekeyed: Bool
    /// What a node of a later version says of it in addition, as protobuf fields that this version does not know: kept, and handed back. It
    /// may be a key.
    public var unknownFields = SecretBytes.empty

    public init(
        inboundSPI: UInt32, outboundSPI: UInt32, name: String, uniqueID: UInt32, algorithms: ESPAlgorithms, inboundKeys: DirectionKeys,
        outboundKeys: DirectionKeys, mode: IPsecMode, localSelectors: [TrafficSelector], remoteSelectors: [TrafficSelector],
        lease: Lease, inboundTop: UInt64 = 0, lifetime: Lifetime = .unlimited, volumeLimits: VolumeLimits = .unlimited,
        volume: Volume = Volume(), establishedWallMilliseconds: Int64, isRekeyed: Bool = false
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
        self.lifetime = lifetime
        self.volumeLimits = volumeLimits
        self.volume = volume
        self.establishedWallMilliseconds = establishedWallMilliseconds
        self.isRekeyed = isRekeyed
    }
}
