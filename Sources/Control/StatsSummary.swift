/// The answer to strongSwan's `stats`.
public struct StatsSummary: Hashable, Sendable {
    /// How long the daemon runs.
    public var uptimeMilliseconds: Int64 = 0
    /// When it started, in milliseconds since 1970, UTC.
    public var startedMilliseconds: Int64 = 0
    public var ikeSAs: Int = 0
    public var halfOpen: Int = 0
    /// Timers that are armed.
    public var scheduled: Int = 0
    public var counters: [String: UInt64] = [:]

    public init() {}

    public init(
        uptimeMilliseconds: Int64, startedMilliseconds: Int64, ikeSAs: Int, halfOpen: Int, scheduled: Int, counters: [String: UInt64]
    ) {
        self.uptimeMilliseconds = uptimeMilliseconds
        self.startedMilliseconds = startedMilliseconds
        self.ikeSAs = ikeSAs
        self.halfOpen = halfOpen
        self.scheduled = scheduled
        self.counters = counters
    }
}

extension StatsSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        var uptime = UptimeFields(uptimeMilliseconds: uptimeMilliseconds, startedMilliseconds: startedMilliseconds)
        coder.section("uptime", &uptime)
        uptimeMilliseconds = uptime.uptimeMilliseconds
        startedMilliseconds = uptime.startedMilliseconds
        var workers = WorkerFields()
        coder.section("workers", &workers)
        var queues = PriorityFields()
        coder.section("queues", &queues)
        coder.number("scheduled", &scheduled)
        var ikeSAFields = IKESAFields(total: ikeSAs, halfOpen: halfOpen)
        coder.section("ikesas", &ikeSAFields)
        ikeSAs = ikeSAFields.total
        halfOpen = ikeSAFields.halfOpen
        coder.counters("counters", &counters)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}

private struct UptimeFields: Summary {
    var uptimeMilliseconds: Int64 = 0
    var startedMilliseconds: Int64 = 0

    mutating func fields(_ coder: inout some FieldCoder) {
        var running = WallTime.span(milliseconds: uptimeMilliseconds)
        coder.text("running", &running)
        var since = WallTime(milliseconds: startedMilliseconds).description
        coder.text("since", &since)
        coder.number("running-ms", &uptimeMilliseconds)
        coder.number("since-ms", &startedMilliseconds)
    }
}

/// The node runs on one event loop, which is busy answering.
private struct WorkerFields: Summary {
    var total = 1
    var idle = 0
    var active = PriorityFields(medium: 1)

    mutating func fields(_ coder: inout some FieldCoder) {
        coder.number("total", &total)
        coder.number("idle", &idle)
        coder.section("active", &active)
    }
}

private struct PriorityFields: Summary {
    var critical = 0
    var high = 0
    var medium = 0
    var low = 0

    mutating func fields(_ coder: inout some FieldCoder) {
        coder.number("critical", &critical)
        coder.number("high", &high)
        coder.number("medium", &medium)
        coder.number("low", &low)
    }
}

private struct IKESAFields: Summary {
    var total = 0
    var halfOpen = 0

    mutating func fields(_ coder: inout some FieldCoder) {
        coder.number("total", &total)
        coder.number("half-open", &halfOpen)
    }
}
