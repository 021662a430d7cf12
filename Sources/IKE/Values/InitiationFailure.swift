import IKEWire
public import Session

/// Why a peer is not even called.
public enum InitiationRefusal: String, Error, Hashable, Sendable {
    case noSecret = "there is no shared secret for the identities"
    case noSelectors = "local_ts and remote_ts have no address family in common"
    case tooMany = "too many peers are being called at once"
    case tooManySessions = "there are as many sessions as the node takes"
    case cryptography = "no key exchange could be begun"
}

/// Why a call came to nothing.
public enum InitiationFailure: Hashable, Sendable {
    /// The peer's error notify (RFC 7296 §3.10.1).
    case refused(notify: UInt16)
    /// The IKE SA came to be, the CHILD SA did not; the IKE SA is deleted again.
    case childRefused(notify: UInt16)
    /// The peer's CHILD SA is none that was offered; the IKE SA is deleted again.
    case badChild
    case notAuthenticated
    /// The peer sends us to another gateway, and we do not go there.
    case redirected(to: GatewayIdentity, RedirectRefusal)
    /// We have to begin without a CHILD SA, and the peer cannot (RFC 6023).
    case childlessUnsupported
    /// The peer's certificate or signature is not believed.
    case rejected(IKEAuthenticationFailure)
    /// The peer takes no signature that our key can make.
    case cannotAuthenticate
    case timedOut
    case badResponse
    case cryptography
    case tooManySessions

    init(_ failure: InitiatorFailure) {
        switch failure {
        case .refused(let notify): self = .refused(notify: notify)
        case .notAuthenticated: self = .notAuthenticated
        case .redirected(let gateway): self = .redirected(to: gateway, .notFollowed)
        case .childlessUnsupported: self = .childlessUnsupported
        case .rejected(let reason): self = .rejected(reason)
        case .cannotAuthenticate: self = .cannotAuthenticate
        case .timedOut: self = .timedOut
        case .badResponse: self = .badResponse
        case .cryptography: self = .cryptography
        }
    }

    /// For people; notifies by their RFC names.
    public var text: String {
        switch self {
        case .refused(let notify): "the peer answered \(NotifyType(rawValue: notify))"
        case .childRefused(let notify): "the peer refused the CHILD SA with \(NotifyType(rawValue: notify))"
        case .badChild: "the peer's CHILD SA does not fit what was offered"
        case .notAuthenticated: "the peer is not who it should be, or its shared secret differs"
        case .redirected(let gateway, let reason): "the peer redirects to \(gateway), which is ignored: \(reason.rawValue)"
        case .childlessUnsupported: "the peer cannot begin without a CHILD SA, and childless = force"
        case .rejected(let reason): "the peer is not believed: \(reason.text)"
        case .cannotAuthenticate: IKEAuthenticationFailure.cannotSign.text
        case .timedOut: "the peer does not answer"
        case .badResponse: "the peer's answer does not fit what was offered"
        case .cryptography: "the peer's public value is none"
        case .tooManySessions: InitiationRefusal.tooManySessions.rawValue
        }
    }
}
