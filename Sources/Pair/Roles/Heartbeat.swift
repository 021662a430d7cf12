public import Cryptography
public import Session

/// What a node says of itself on every heartbeat path: 72 or 88 octets, authenticated with a key that only the pair knows.
public struct Heartbeat: Hashable, Sendable {
    public var node: NodeID
    public var role: NodeRole
    /// A standby that holds everything the active holds, or an active that shows peers nothing that its standby does not hold.
    public var isReady: Bool
    /// The sender wants an answer at once: it suspects us.
    public var wantsAnswer: Bool
    /// The sender's life: a random number chosen at its start.
    public var boot: UInt64
    /// The receiver's life as the sender knows it; 0 before it heard of it. What does not name our life may be a recording.
    public var echo: UInt64
    /// Counts up with every heartbeat of a life.
    public var sequence: UInt64
    public var epoch: Epoch
    /// The sender understands heartbeats that say what was heard. One of an earlier version does not, and drops them.
    public var takesHearing: Bool
    /// What the sender has heard of the receiver's present life.
    public var hearing: Hearing?

    public struct Hearing: Hashable, Sendable {
        /// The highest number; 0 when nothing was heard.
        public var upTo: UInt64
        /// The paths on which the receiver is heard: bit n for the n-th by the endpoint of node 0.
        public var paths: UInt64

        public init(upTo: UInt64, paths: UInt64) {
            self.upTo = upTo
            self.paths = paths
        }
    }

    public init(
        node: NodeID, role: NodeRole, isReady: Bool, wantsAnswer: Bool, boot: UInt64, echo: UInt64, sequence: UInt64, epoch: Epoch,
        takesHearing: Bool = true, hearing: Hearing? = nil
    ) {
        self.takesHearing = takesHearing
        self.hearing = hearing
        self.node = node
        self.role = role
        self.isReady = isReady
        self.wantsAnswer = wantsAnswer
        self.boot = boot
        self.echo = echo
        self.sequence = sequence
        self.epoch = epoch
    }
}

/// Why a datagram on a heartbeat path was not taken for one.
public enum HeartbeatRejection: String, Error, Hashable, Sendable, CaseIterable {
    case badLength = "heartbeat_bad_length"
    case badMagic = "heartbeat_bad_magic"
    case otherVersion = "heartbeat_other_version"
    case forged = "heartbeat_forged"
    /// From ourselves, or a node that is not the peer.
    case badNode = "heartbeat_bad_node"
    /// An earlier number again, or of another life of either node: a recording, or a late packet.
    case stale = "heartbeat_stale"
}

/// Octets of a heartbeat: `TDMH`, version, node, role, flags, boot, echo, sequence, epoch (64 bits each, network order), to a peer that
/// understands it what was heard of it (number, paths), HMAC-SHA-256 over all before it.
public struct HeartbeatCodec: Sendable {
    public static let length = 72
    static let version: UInt8 = 1
    private static let magic: [UInt8] = [0x54, 0x44, 0x4D, 0x48]
    /// With what was heard.
    public static let longLength = 88
    private static let macLength = 32

    private let key: SecretBytes

    /// - Parameter secret: the pair's secret; the heartbeat key is derived from it and used for nothing else.
    public init(secret: SecretBytes) {
        key = hkdfSHA256(secret: secret, salt: [], info: Array("tandem heartbeat v1".utf8), count: 32)
    }

    public func seal(_ heartbeat: Heartbeat) -> [UInt8] {
        var out = HeartbeatCodec.magic
        out.reserveCapacity(HeartbeatCodec.length)
        out += [
            HeartbeatCodec.version, heartbeat.node.rawValue, heartbeat.role.rawValue,
            (heartbeat.isReady ? 1 : 0) | (heartbeat.wantsAnswer ? 2 : 0) | (heartbeat.takesHearing ? 4 : 0),
        ]
        let heard = heartbeat.hearing.map { [$0.upTo, $0.paths] } ?? []
        for word in [heartbeat.boot, heartbeat.echo, heartbeat.sequence, heartbeat.epoch] + heard {
            for shift in stride(from: 56, through: 0, by: -8) { out.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
        }
        return out + hmacSHA256(key: key, out)
    }

    public func open(_ bytes: [UInt8]) throws(HeartbeatRejection) -> Heartbeat {
        guard bytes.count == HeartbeatCodec.length || bytes.count == HeartbeatCodec.longLength else { throw .badLength }
        guard bytes.prefix(4).elementsEqual(HeartbeatCodec.magic) else { throw .badMagic }
        guard bytes[4] == HeartbeatCodec.version else { throw .otherVersion }
        let signed = Array(bytes.dropLast(HeartbeatCodec.macLength))
        guard constantTimeEquals(hmacSHA256(key: key, signed), bytes.suffix(HeartbeatCodec.macLength)) else { throw .forged }
        guard let node = NodeID(rawValue: bytes[5]), let role = NodeRole(rawValue: bytes[6]) else { throw .badNode }
        func word(_ index: Int) -> UInt64 {
            signed[(8 + 8 * index)..<(16 + 8 * index)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        return Heartbeat(
            node: node, role: role, isReady: bytes[7] & 1 != 0, wantsAnswer: bytes[7] & 2 != 0, boot: word(0), echo: word(1),
            sequence: word(2), epoch: word(3), takesHearing: bytes[7] & 4 != 0,
            hearing: bytes.count == HeartbeatCodec.longLength ? .init(upTo: word(4), paths: word(5)) : nil)
    }
}
