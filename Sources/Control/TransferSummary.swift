/// `tandem-transfer`: move one session between this gateway and another.
public struct TransferRequest: Hashable, Sendable {
    public enum Direction: String, CaseIterable, Hashable, Sendable {
        /// This gateway gives the session away.
        case to
        /// The other gateway is asked for it.
        case from
    }

    /// As `SessionFilter.name`; to fetch one, the client's address as the other gateway knows it.
    public var name: String
    public var direction: Direction
    /// A `[[gateway]]` of the configuration.
    public var gateway: String

    public init(name: String, direction: Direction, gateway: String) {
        self.name = name
        self.direction = direction
        self.gateway = gateway
    }
}

/// How a `tandem transfer` ended.
public struct TransferSummary: Hashable, Sendable {
    public enum Outcome: String, CaseIterable, Hashable, Sendable {
        /// The session is where it was to go.
        case done
        /// Nothing was begun.
        case refused
        /// It was begun, and the session stayed where it was; or `reason` says where things stand.
        case failed
    }

    public enum Method: String, CaseIterable, Hashable, Sendable {
        /// The client goes on inside its SAs at the other gateway.
        case context
        /// The same: the other gateway spoke to the client from its own address, and the client follows (RFC 4555).
        case mobike
        /// The client was told to go, and authenticates anew there.
        case redirect
    }

    public var outcome: Outcome = .failed
    /// Why it was refused or failed; empty when done.
    public var reason: String = ""
    /// The session's identifier on this gateway, hexadecimal in texts; 0 when there was none.
    public var sessionID: UInt64 = 0
    public var gateway: String = ""
    public var method: Method = .context
    /// Octets of the context; 0 when none was sent.
    public var contextBytes: Int = 0
    /// Until the other gateway had put the context in place.
    public var installedMicroseconds: Int64 = 0
    /// Until the client had moved.
    public var totalMicroseconds: Int64 = 0

    public init() {}

    public init(outcome: Outcome, reason: String = "", sessionID: UInt64 = 0, gateway: String, method: Method = .context) {
        self.outcome = outcome
        self.reason = reason
        self.sessionID = sessionID
        self.gateway = gateway
        self.method = method
    }
}

extension TransferSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        var word = outcome.rawValue
        coder.text("outcome", &word)
        outcome = Outcome(rawValue: word) ?? .failed
        coder.text("reason", &reason)
        coder.hex("session-id", &sessionID, digits: 16)
        coder.text("gateway", &gateway)
        var way = method.rawValue
        coder.text("method", &way)
        method = Method(rawValue: way) ?? .context
        coder.number("context-bytes", &contextBytes)
        coder.fine("installed", microseconds: &installedMicroseconds)
        coder.fine("total", microseconds: &totalMicroseconds)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
