/// Whom a gateway names as another one (RFC 5685 §9.2, §9.3): the "GW Identity".
public enum GatewayIdentity: Hashable, Sendable, CustomStringConvertible {
    case address(IPAddress)
    /// A name; nobody resolves names here.
    case name(String)

    /// Octets of a name that DNS can carry (RFC 1035 §3.1), as text.
    public static let nameLengthMax = 253

    /// From an operator's text: an address, or a name of letters, digits, hyphens and dots.
    ///
    /// - Returns: `nil` for what is neither, and for the unspecified address.
    public init?(text: String) {
        if let address = IPAddress(text) {
            guard !address.isUnspecified else { return nil }
            self = .address(address)
            return
        }
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        let isName = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D }
        }
        // Digits and dots alone are an address that somebody mistyped.
        guard isName, text.utf8.count <= GatewayIdentity.nameLengthMax, text.utf8.contains(where: { $0 > 0x39 }) else { return nil }
        self = .name(text)
    }

    public var description: String {
        switch self {
        case .address(let address): "\(address)"
        case .name(let name): name
        }
    }
}

/// Where a peer of ours is to go, and how far that has come (RFC 5685 §5).
public struct RedirectOrder: Hashable, Sendable {
    public enum Stage: UInt8, Hashable, Sendable, CaseIterable {
        /// It goes out as soon as the window is free; of a session that is handed on, when the other gateway has its context.
        case prepared = 0
        /// The request is under way.
        case sent = 1
        /// The peer answered it.
        case answered = 2
    }

    public var target: GatewayIdentity
    /// The target has the session's context, so that the peer need not authenticate there.
    public var contextTransmitted: Bool
    public var stage: Stage
    /// In milliseconds since 1970; `nil`: never. The session is deleted then if the peer has not done it; one that is handed on and was
    /// not by then stays.
    public var endsAt: Int64?

    public init(target: GatewayIdentity, contextTransmitted: Bool, stage: Stage = .prepared, endsAt: Int64? = nil) {
        self.target = target
        self.contextTransmitted = contextTransmitted
        self.stage = stage
        self.endsAt = endsAt
    }
}

/// What was said to a peer about other gateways, and by whom.
public struct Redirections: Hashable, Sendable {
    /// When redirects were sent, in milliseconds since 1970, ascending; those of the last `period`.
    public var times: [Int64]
    public var order: RedirectOrder?
    /// The gateway that sent the peer here (REDIRECTED_FROM).
    public var from: IPAddress?

    public init(times: [Int64] = [], order: RedirectOrder? = nil, from: IPAddress? = nil) {
        self.times = times
        self.order = order
        self.from = from
    }

    public static let none = Redirections()

    /// RFC 5685 §7: a client takes the sixth within five minutes for a loop and stays, or loses its tunnel.
    public static let countMax = 5
    public static let period: Duration = .seconds(300)

    /// The redirects that a client still counts.
    public func recent(at wallMilliseconds: Int64) -> [Int64] {
        let period = Redirections.period.inNanoseconds / 1_000_000
        return times.filter { $0 + period > wallMilliseconds && $0 <= wallMilliseconds }
    }
}

extension Session {
    /// Its context is with another gateway, or on the way there: nothing of the IKE SA changes here, for the other gateway's copy would be
    /// wrong.
    public var isHeldStill: Bool { redirects.order?.contextTransmitted == true }
}
