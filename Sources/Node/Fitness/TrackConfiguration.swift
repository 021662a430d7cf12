/// `[track]`: what a node looks at to know whether it could serve well, and how often it may hand over because of it.
public struct TrackConfiguration: Hashable, Sendable {
    /// Interfaces that must be up and have a carrier.
    public var interfaces: [String] = []
    public var scripts: [TrackedScript] = []
    /// Percent of the memory that may be used; `nil`: not looked at.
    public var memoryPercent: Int? = 95
    /// Percent of the file descriptors that the process may have; `nil`: not looked at.
    public var descriptorsPercent: Int? = 90
    /// How far the time of day has to jump to be told; `nil`: not looked at.
    public var clockJump: Duration? = .seconds(5)
    /// Commands that the data plane may refuse within `FailureRate.window`; `nil`: not looked at.
    public var dataPlaneFailures: Int? = 10
    public var damping = DampingSettings()

    /// More than a gateway has reasons for: each is a process that comes and goes.
    public static let scriptsMax = 32
    public static let interfacesMax = 64
    /// How often memory, descriptors and the clock are looked at.
    public static let sampleInterval: Duration = .seconds(1)

    public init() {}
}

/// `[[track.script]]`: a program whose exit status says whether the node is fit.
public struct TrackedScript: Hashable, Sendable {
    public var name: String
    /// The program, by its absolute path, and its arguments.
    public var command: [String]
    /// From one start to the next; one that is still running is not started again.
    public var interval: Duration = .seconds(5)
    /// After which it is killed, and has failed.
    public var timeout: Duration = .seconds(3)
    /// So many successes in a row make it good.
    public var rise = 2
    /// So many failures in a row make it bad.
    public var fall = 3

    public init(name: String, command: [String]) {
        self.name = name
        self.command = command
    }
}

/// `[pair] prefer`: the node that takes back, when nothing speaks against it.
public struct PreferredNode: Hashable, Sendable {
    /// It is this node and not the other one.
    public var isOwn: Bool
    public var name: String
    /// For so long it must have been paired, in step and fit.
    public var delay: Duration

    public static let delayDefault: Duration = .seconds(60)

    public init(isOwn: Bool, name: String, delay: Duration = PreferredNode.delayDefault) {
        self.isOwn = isOwn
        self.name = name
        self.delay = delay
    }
}

/// What the runtime found out about the host.
public enum HealthReport: Hashable, Sendable {
    /// All interfaces that are tracked, as they are now.
    case interfaces([InterfaceHealth])
    /// A script ended; `nil`: it succeeded.
    case script(name: String, failure: String?)
    /// Percentages; `nil`: not known this time.
    case resources(memory: Int?, descriptors: Int?)
    /// The time of day is so much later than it would be had it gone on, or earlier.
    case clockJumped(milliseconds: Int64)
}

/// How a network interface is.
public struct InterfaceHealth: Hashable, Sendable {
    public enum State: String, CaseIterable, Hashable, Sendable {
        case up
        case missing = "does not exist"
        /// Nobody wants it up.
        case down
        case noCarrier = "no carrier"
        /// It has a carrier and is not usable yet, or waits for another interface (RFC 2863's operational state).
        case notRunning = "not running"
    }

    public var name: String
    public var state: State
    /// It is the data plane's own device.
    public var isDataPlane: Bool

    public init(name: String, state: State, isDataPlane: Bool = false) {
        self.name = name
        self.state = state
        self.isDataPlane = isDataPlane
    }
}
