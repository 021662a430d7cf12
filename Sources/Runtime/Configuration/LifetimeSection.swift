import IKE

/// The keys that say when an SA is replaced, and their defaults, which are swanctl's.
struct LifetimeKeys {
    var rekey: String
    var end: String
    /// The end is that long after the rekey; else `end` counts from the beginning.
    var isEndAfterRekey: Bool
    var defaultRekey: Duration

    static let connection = LifetimeKeys(rekey: "rekey_time", end: "over_time", isEndAfterRekey: true, defaultRekey: .seconds(4 * 3600))
    static let child = LifetimeKeys(rekey: "rekey_time", end: "life_time", isEndAfterRekey: false, defaultRekey: .seconds(3600))

    static let random = "rand_time"
    var names: [String] { [rekey, end, LifetimeKeys.random] }
}

/// The keys that say how much may go through a CHILD SA.
struct VolumeKeys {
    var rekey: String
    var end: String
    var random: String

    static let bytes = VolumeKeys(rekey: "rekey_bytes", end: "life_bytes", random: "rand_bytes")
    static let packets = VolumeKeys(rekey: "rekey_packets", end: "life_packets", random: "rand_packets")
    static let all = [bytes, packets]

    var names: [String] { [rekey, end, random] }
}

extension Sections {
    /// A year: nobody waits longer for fresh keys, and a clock's arithmetic stays far from its ends.
    private static let lifetimeMax: Duration = .seconds(366 * 86400)

    /// `rekey_time = 0` is never; what ends it is then only what is given. Without `over_time` or `life_time` there is a tenth more than
    /// `rekey_time`, and without `rand_time` up to that tenth is taken off.
    func lifetime(_ table: TableReader, _ keys: LifetimeKeys) -> LifetimeConfiguration {
        func read(_ key: String) -> Duration? { table.duration(key, in: .zero...Sections.lifetimeMax) }
        let rekey = read(keys.rekey) ?? keys.defaultRekey
        let isRekeyed = rekey > .zero
        var end: Duration?
        if let given = read(keys.end) {
            end = keys.isEndAfterRekey ? (isRekeyed ? rekey + given : nil) : (given > .zero ? given : nil)
        } else if isRekeyed {
            end = rekey + rekey / 10
        }
        if isRekeyed, let end, end <= rekey {
            table.problem(keys.end, "is not after \(keys.rekey)", "make it longer than \(DurationText.show(rekey))")
        }
        let random = read(LifetimeKeys.random) ?? (isRekeyed ? (end.map { $0 - rekey } ?? rekey / 10) : .zero)
        if isRekeyed, random >= rekey {
            table.problem(LifetimeKeys.random, "is not less than \(keys.rekey)", "make it shorter than \(DurationText.show(rekey))")
        }
        return LifetimeConfiguration(rekey: isRekeyed ? rekey : nil, end: end, random: random)
    }

    /// As `lifetime`, in octets or packets; nothing is limited by itself.
    func volume(_ table: TableReader, _ keys: VolumeKeys) -> VolumeConfiguration {
        func read(_ key: String) -> UInt64? { table.integer(key, in: 0...Int.max).flatMap { $0 > 0 ? UInt64($0) : nil } }
        let rekey = read(keys.rekey)
        let end = read(keys.end) ?? rekey.map { $0 + $0 / 10 }
        if let rekey, let end, end <= rekey { table.problem(keys.end, "is not above \(keys.rekey)", "make it larger than \(rekey)") }
        let random = read(keys.random) ?? rekey.flatMap { rekey in end.map { $0 - rekey } } ?? 0
        if let rekey, random >= rekey { table.problem(keys.random, "is not below \(keys.rekey)", "make it smaller than \(rekey)") }
        return VolumeConfiguration(rekey: rekey, end: end, random: random)
    }
}
