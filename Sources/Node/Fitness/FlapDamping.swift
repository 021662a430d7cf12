import Session

/// How often a pair may hand over by itself.
public struct DampingSettings: Hashable, Sendable {
    /// So many within `window` are free.
    public var handovers = 3
    public var window: Duration = .seconds(600)
    /// How long the next one waits after that; twice as long after each further one, up to `holdDownMax`.
    public var holdDown: Duration = .seconds(30)
    public var holdDownMax: Duration = .seconds(600)

    public init() {}
}

/// Keeps two nodes from throwing the sessions to and fro. Counts the hand-overs that nobody asked for; never those of an operator, and
/// a death is not asked.
struct FlapDamping {
    /// Doublings beyond this change nothing: it is the longest hold-down over the shortest.
    private static let levelMax = 20

    private let settings: DampingSettings
    /// Within the window, at most as many as are free.
    private var recent: [Instant] = []
    /// How often a hold-down has followed upon another.
    private var level = 0
    /// Until when nothing is handed over by itself.
    private(set) var heldUntil: Instant?
    private(set) var count: UInt64 = 0

    init(_ settings: DampingSettings) { self.settings = settings }

    /// Sessions were handed over by a node's own decision, to whichever side.
    mutating func note(at now: Instant) {
        count += 1
        if let heldUntil, now - heldUntil > settings.window { level = 0 }
        recent = recent.filter { now - $0 < settings.window } + [now]
        if recent.count > settings.handovers { recent.removeFirst(recent.count - settings.handovers) }
        guard level > 0 || recent.count >= settings.handovers else { return }
        heldUntil = now + min(settings.holdDown * (1 << level), settings.holdDownMax)
        level = min(level + 1, FlapDamping.levelMax)
    }

    func isHolding(at now: Instant) -> Bool { heldUntil.map { now < $0 } ?? false }

    /// An operator has moved the sessions, or says that all is well: what was, is over.
    mutating func forget() { (recent, level, heldUntil) = ([], 0, nil) }
}
