/// A pool of addresses, as strongSwan's `get-pools` answers.
public struct PoolSummary: Hashable, Sendable {
    public var name: String = ""
    /// The first address.
    public var base: String = ""
    public var size: UInt64 = 0
    /// Leased addresses.
    public var online: UInt64 = 0
    /// Addresses kept for a peer that is away.
    public var offline: UInt64 = 0
    /// Only when they were asked for.
    public var leases: [LeaseSummary] = []

    public init() {}

    public init(name: String, base: String, size: UInt64, online: UInt64, offline: UInt64, leases: [LeaseSummary]) {
        self.name = name
        self.base = base
        self.size = size
        self.online = online
        self.offline = offline
        self.leases = leases
    }
}

/// An address that was leased.
public struct LeaseSummary: Hashable, Sendable {
    public var address: String = ""
    /// The peer's identity.
    public var identity: String = ""
    public var isOnline: Bool = false

    public init() {}

    public init(address: String, identity: String, isOnline: Bool) {
        self.address = address
        self.identity = identity
        self.isOnline = isOnline
    }
}

extension PoolSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.title("name", &name)
        coder.text("base", &base)
        coder.number("size", &size)
        coder.number("online", &online)
        coder.number("offline", &offline)
        coder.sections("leases", &leases)
    }

    /// The answer to `get-pools`: a section for each pool.
    public static func vici(_ pools: [PoolSummary]) -> VICIMessage {
        var message = VICIMessage()
        for pool in pools { message.add(pool.name, section: pool.message(isStock: true)) }
        return message
    }

    public static func pools(vici message: VICIMessage) throws(VICIError) -> [PoolSummary] {
        var pools: [PoolSummary] = []
        for section in message.sections { pools.append(try PoolSummary(message: section.message, title: section.name)) }
        return pools
    }

    public var json: JSON { jsonObject }
}

extension LeaseSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("address", &address)
        coder.text("identity", &identity)
        var status = isOnline ? "online" : "offline"
        coder.text("status", &status)
        isOnline = status == "online"
    }
}
