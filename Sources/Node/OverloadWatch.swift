public import Session

/// What says that a gateway has too much to do; the names are those of the configuration.
public enum LoadKind: String, CaseIterable, Hashable, Sendable {
    /// Percent of the machine's processors.
    case cpu
    case sessions
    case halfOpen = "half_open"
    case packetsPerSecond = "packets_per_second"
}

/// Too much at `high`, enough room again at `low`: between the two nothing changes.
public struct LoadMark: Hashable, Sendable {
    public var high: Int
    public var low: Int

    public init(high: Int, low: Int) {
        self.high = high
        self.low = low
    }
}

/// What the runtime measures; sessions and half-open IKE SAs the node counts by itself.
public struct LoadSample: Hashable, Sendable {
    /// `nil`: not known this time.
    public var cpuPercent: Int?
    public var packetsPerSecond: Int?

    public init(cpuPercent: Int?, packetsPerSecond: Int?) {
        self.cpuPercent = cpuPercent
        self.packetsPerSecond = packetsPerSecond
    }
}

/// `[overload]`.
public struct OverloadConfiguration: Hashable, Sendable {
    /// How often the runtime measures.
    public static let sampleInterval: Duration = .seconds(1)

    public var marks: [LoadKind: LoadMark]
    /// How long a mark has to be passed.
    public var hold: Duration = .seconds(10)
    public var redirectsNew = true
    /// Percent of the sessions that are moved at most, in one round.
    public var movedPercent = 10
    /// Sessions that are moved in a second, at most.
    public var rate = 10
    public var target: GatewayIdentity
    /// The `[[gateway]]` that is meant by it: sessions whose clients can go there with their contexts (RFC 4067).
    public var gateway: String?

    public init(marks: [LoadKind: LoadMark], target: GatewayIdentity) {
        self.marks = marks
        self.target = target
    }
}

/// Whether the gateway has too much to do. Two marks and a time between them, so that it does not change with every sample.
struct OverloadWatch {
    enum State: Hashable {
        case calm
        /// Which kind it was, and how much of it.
        case overloaded(LoadKind, value: Int)
    }

    /// Between two samples at most; after a longer silence nobody knows how long a mark has been passed, and it begins anew.
    static let silenceMax: Duration = .seconds(5)

    private let marks: [LoadKind: LoadMark]
    private let hold: Duration
    private(set) var state = State.calm
    private(set) var since: Instant
    /// Since when each kind has been at its high mark or above.
    private var high: [LoadKind: Instant] = [:]
    /// Since when all have been at their low marks or below.
    private var low: Instant?
    private var last: Instant?
    private var values: [LoadKind: Int] = [:]

    init(_ configuration: OverloadConfiguration, now: Instant) {
        marks = configuration.marks
        hold = configuration.hold
        since = now
    }

    var isOverloaded: Bool { state != .calm }
    /// Some kind is above its low mark: there is a reason to go on with what takes load away.
    var isPressed: Bool { marks.contains { kind, mark in values[kind].map { $0 > mark.low } ?? false } }
    /// Some kind has been at its high mark or above for the whole time.
    func isHigh(at now: Instant) -> Bool { high.values.contains { now - $0 >= hold } }

    /// Takes what was measured. What was not measured this time is not looked at.
    ///
    /// - Returns: the state, if it is another than before.
    mutating func note(_ measured: [LoadKind: Int], at now: Instant) -> State? {
        // A clock that goes back or a loop that stood still must not make seconds out of nothing.
        if let last, now < last || now - last > OverloadWatch.silenceMax {
            high = [:]
            low = nil
        }
        last = now
        values = measured
        for (kind, mark) in marks {
            guard let value = measured[kind], value >= mark.high else {
                high[kind] = nil
                continue
            }
            high[kind] = high[kind] ?? now
        }
        low = isPressed ? nil : low ?? now
        return next(at: now)
    }

    private mutating func next(at now: Instant) -> State? {
        switch state {
        case .calm:
            let longest = LoadKind.allCases.first { kind in high[kind].map { now - $0 >= hold } ?? false }
            guard let kind = longest else { return nil }
            state = .overloaded(kind, value: values[kind] ?? 0)
        case .overloaded:
            guard let low, now - low >= hold else { return nil }
            state = .calm
        }
        since = now
        return state
    }
}
