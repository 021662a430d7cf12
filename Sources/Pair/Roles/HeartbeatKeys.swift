public import Cryptography

/// The keys of the pair's heartbeats: the one to seal with, and beside it, while a node changes its certificate, those that count too.
public struct HeartbeatKeys: Sendable {
    /// Which certificates a key belongs to: this node's and the other's, by their digests.
    public struct Name: Hashable, Sendable {
        public var own: [UInt8]
        public var peer: [UInt8]

        public init(own: [UInt8], peer: [UInt8]) {
            self.own = own
            self.peer = peer
        }
    }

    /// The first one seals. Few: each costs a forged heartbeat an HMAC more.
    private var keys: [(name: Name, codec: HeartbeatCodec)]

    public init(_ name: Name, secret: SecretBytes) { keys = [(name, HeartbeatCodec(secret: secret))] }

    /// Those that count, the one that seals first.
    public var names: [Name] { keys.map(\.name) }

    /// From now on this one counts too.
    public mutating func accept(_ name: Name, secret: SecretBytes) {
        guard !names.contains(name) else { return }
        keys.append((name, HeartbeatCodec(secret: secret)))
    }

    /// From now on this one seals; the others still count.
    public mutating func prefer(_ name: Name) {
        guard let index = names.firstIndex(of: name) else { return }
        keys.insert(keys.remove(at: index), at: 0)
    }

    /// The others count no more.
    public mutating func keepOnly(_ name: Name) {
        guard names.contains(name) else { return }
        keys.removeAll { $0.name != name }
    }

    public func seal(_ heartbeat: Heartbeat) -> [UInt8] { keys[0].codec.seal(heartbeat) }

    /// - Returns: what was said, and with which key.
    /// - Throws: `forged` when it is of none of them.
    public func open(_ bytes: [UInt8]) throws(HeartbeatRejection) -> (heartbeat: Heartbeat, name: Name) {
        for (name, codec) in keys {
            do throws(HeartbeatRejection) {
                return (try codec.open(bytes), name)
            } catch .forged {
                continue
            }
        }
        throw .forged
    }
}
