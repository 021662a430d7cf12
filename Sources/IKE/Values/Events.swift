public import Cryptography
import IKEWire
public import Session

/// Why a peer was not let in. The peer itself is told only AUTHENTICATION_FAILED.
public enum IKEAuthenticationFailure: Error, Hashable, Sendable {
    case noConnection
    case noSecret
    case wrongSecret
    case methodNotOffered
    case methodNotSupported
    /// `unique` keeps the peer's session that is there.
    case notUnique
    case malformed
    case translated
    case unsupportedPayload
    case noCertificate
    /// What is wrong with the certificate, or with those above it.
    case certificate(CertificateError)
    case certificateNotPinned
    case certificateOfAnother
    /// The peer that we called says that it is somebody else.
    case unexpectedIdentity
    case keyKindNotAccepted
    case wrongSignature
    case signatureNotAccepted
    case cannotSign

    /// For people.
    public var text: String {
        switch self {
        case .noConnection: "no connection fits the identities and addresses"
        case .noSecret: "no shared secret for the identities"
        case .wrongSecret: "the shared secret differs"
        case .methodNotOffered: "the peer asked for EAP"
        case .methodNotSupported: "the peer did not authenticate in the way that its connection demands"
        case .notUnique: "the peer has a session already, and unique = keep"
        case .malformed: "the request is malformed"
        case .translated: "a NAT changed the addresses, and the peer allows none"
        case .unsupportedPayload: "the request has an unknown critical payload"
        case .noCertificate: "the peer sent no certificate"
        case .certificate(let error): error.rawValue
        case .certificateNotPinned: "the certificate is none of those that the connection names"
        case .certificateOfAnother: "the certificate does not name the identity"
        case .unexpectedIdentity: "the peer is not who it should be"
        case .keyKindNotAccepted: "the certificate's key is of a kind that the connection does not take"
        case .wrongSignature: "the signature is wrong"
        case .signatureNotAccepted: "the algorithm of the signature is not one that is taken"
        case .cannotSign: "the peer takes no signature that our key can make"
        }
    }
}

/// Why a CHILD SA was not made; each is told to the peer as a notify.
public enum ChildRefusal: Error, Hashable, Sendable {
    case noProposalChosen
    case trafficSelectorsUnacceptable
    /// The group that we want instead.
    case invalidKeyExchange(group: UInt16)
    case noAdditionalSAs
    case temporaryFailure
    /// The CHILD SA to be rekeyed, by the peer's SPI.
    case childNotFound(spi: UInt32)
    /// Every pool of the connection is used up, or it has none.
    case addressesExhausted
    /// The connection hands out addresses, and the peer asked for none.
    case configurationRequired
    case malformed
}

/// What the peer refused.
public enum RefusedRequest: Hashable, Sendable, CustomStringConvertible {
    /// A CHILD SA of this configured child; `isRekey`: the successor of one.
    case childSA(name: String, isRekey: Bool)
    case ikeSARekey
    /// UPDATE_SA_ADDRESSES (RFC 4555 §3.5).
    case addressUpdate

    /// NO_ADDITIONAL_SAS: the peer takes no more CHILD SAs in this IKE SA (RFC 7296 §1.3).
    public static let noAdditionalSAs = NotifyType.noAdditionalSAs.rawValue

    public var description: String {
        switch self {
        case .childSA(let name, _): "CHILD SA \(name)"
        case .ikeSARekey: "rekeyed IKE SA"
        case .addressUpdate: "change of addresses"
        }
    }
}

/// What happened, for logs, `tandem events` and metrics.
public enum IKEEvent: Hashable, Sendable {
    case authenticated(session: SessionID, connection: String, identity: Identity, remote: Endpoint)
    case authenticationFailed(remote: Endpoint, identity: String, reason: IKEAuthenticationFailure)
    case noProposalChosen(remote: Endpoint)
    case invalidKeyExchange(remote: Endpoint, wantedGroup: UInt16)
    case cookieRequired(remote: Endpoint)
    case childAdded(session: SessionID, inboundSPI: UInt32, name: String)
    case childRekeyed(session: SessionID, inboundSPI: UInt32, successor: UInt32)
    case childDeleted(session: SessionID, inboundSPI: UInt32)
    case childRefused(session: SessionID, reason: ChildRefusal)
    /// No address is left for the peer. `isHalved`: the node is alone, and leases nothing of the other node's half.
    case poolsExhausted(session: SessionID, pools: [String], isHalved: Bool)
    case ikeRekeyed(session: SessionID)
    /// The peer answered a request of ours with an error.
    case requestRefused(session: SessionID, what: RefusedRequest, notify: UInt16)
    /// The same peer authenticated anew, and said that nothing of before is left (INITIAL_CONTACT), or `unique` wants one session.
    case replaced(session: SessionID, by: SessionID)
    case deletedByPeer(session: SessionID)
    /// The DELETE that we sent is answered or given up.
    case terminated(session: SessionID)
    case peerDead(session: SessionID)
    case moved(session: SessionID, from: Endpoint, to: Endpoint)
    /// The peer knows that the session runs between these two now (RFC 4555 §3.5).
    case relocated(session: SessionID, local: Endpoint, remote: Endpoint)
    /// Nobody answered where the session was moving, and it goes on where it was (RFC 4555 §3.11).
    case stayed(session: SessionID, insteadOf: Endpoint)
    /// Both agree on the IDs of the next requests, ours and the peer's (RFC 6311). `byPeer`: the peer asked.
    case synchronized(session: SessionID, send: UInt32, receive: UInt32, byPeer: Bool)
    /// The peer returned a wrong COOKIE2 (RFC 4555 §3.7).
    case unreachable(session: SessionID, remote: Endpoint)
    case dropped(reason: IKEDropReason, remote: Endpoint)
    case halfOpenExpired(remote: Endpoint)
    /// `session` is the identifier that `IKEEngine.initiate` gave.
    case initiationFailed(session: SessionID, connection: String, remote: Endpoint, reason: InitiationFailure)

    /// A gateway that we called, or are connected to, told us to go to another one (RFC 5685).
    case redirected(connection: String, from: IPAddress, to: GatewayIdentity)
    case redirectIgnored(connection: String, from: IPAddress, to: GatewayIdentity, reason: RedirectRefusal)
    /// A peer without a session was told to go to another gateway (RFC 5685 §3, §6); the identity is known in IKE_AUTH only.
    case peerRedirected(remote: Endpoint, identity: Identity?, to: GatewayIdentity)
    /// The peer answered a redirect (RFC 5685 §5). Accepted: it goes on with the session as it is at the other gateway. Otherwise it may go
    /// there by itself, and authenticates anew.
    case redirectAnswered(session: SessionID, accepted: Bool)
    /// The peer sent a message of RFC 4067, which nobody has read yet: at most `IKEEngine.contextTransferMessageMax` octets.
    case contextTransferMessage(session: SessionID, [UInt8])
    /// Another gateway has the session now.
    case handedOn(session: SessionID)
    /// The session has to be replaced: its peer is to be called, with `replacing`.
    case successorWanted(session: SessionID)
    /// The successor of a session has yet to get this child.
    case successorIncomplete(session: SessionID, child: String)

    public enum Level: String, Hashable, Sendable { case debug, info, warning }

    /// How loud, and a line for people. Holds no secret.
    public var summary: (level: Level, text: String) {
        switch self {
        case .authenticated(let session, let connection, let identity, let remote):
            (.info, "session \(session): \(identity) authenticated from \(remote) for \(connection)")
        case .authenticationFailed(let remote, let identity, let reason):
            (.warning, "authentication of '\(identity)' from \(remote) failed: \(reason.text)")
        case .noProposalChosen(let remote): (.warning, "no proposal of \(remote) is acceptable")
        case .invalidKeyExchange(let remote, let group): (.info, "\(remote) is asked for key exchange group \(group)")
        case .cookieRequired(let remote): (.debug, "\(remote) is asked for a cookie")
        case .childAdded(let session, let spi, let name): (.info, "session \(session): CHILD SA \(name) \(hex(spi)) added")
        case .childRekeyed(let session, let spi, let successor):
            (.info, "session \(session): CHILD SA \(hex(spi)) rekeyed to \(hex(successor))")
        case .childDeleted(let session, let spi): (.info, "session \(session): CHILD SA \(hex(spi)) deleted")
        case .childRefused(let session, let reason): (.warning, "session \(session): CHILD SA refused: \(reason)")
        case .poolsExhausted(let session, let pools, let isHalved):
            (
                .warning,
                "session \(session): no address is left in \(pools.joined(separator: ", "))"
                    + (isHalved ? " for this node, which is alone and leases only its own half" : "")
            )
        case .ikeRekeyed(let session): (.info, "session \(session): IKE SA rekeyed")
        case .requestRefused(let session, let what, let notify):
            (.warning, "session \(session): the peer refused the \(what) with \(NotifyType(rawValue: notify))")
        case .replaced(let session, let successor): (.info, "session \(session): replaced by \(successor)")
        case .deletedByPeer(let session): (.info, "session \(session): deleted by the peer")
        case .terminated(let session): (.info, "session \(session): terminated")
        case .peerDead(let session): (.warning, "session \(session): the peer does not answer any more")
        case .moved(let session, let from, let to): (.info, "session \(session): the peer moved from \(from) to \(to)")
        case .relocated(let session, let local, let remote): (.info, "session \(session): runs between \(local) and \(remote) now")
        case .stayed(let session, let remote):
            (.warning, "session \(session): nobody answers at \(remote); it goes on where it was")
        case .synchronized(let session, let send, let receive, let byPeer):
            (
                .info,
                "session \(session): message IDs synchronized\(byPeer ? " by the peer" : ""), next \(send) to it, \(receive) from it"
            )
        case .unreachable(let session, let remote):
            (.warning, "session \(session): the peer did not see what was sent to \(remote); the session ends")
        case .dropped(let reason, let remote): (.debug, "dropped a datagram from \(remote): \(reason.rawValue)")
        case .initiationFailed(_, let connection, let remote, let reason):
            (.warning, "calling \(remote) for \(connection) failed: \(reason.text)")
        case .redirected(let connection, let from, let to): (.info, "\(from) redirects \(connection) to \(to)")
        case .redirectIgnored(let connection, let from, let to, let reason):
            (.warning, "\(from) redirects \(connection) to \(to), which is ignored: \(reason.rawValue)")
        case .peerRedirected(let remote, nil, let to): (.debug, "\(remote) is redirected to \(to)")
        case .peerRedirected(let remote, let identity?, let to): (.info, "\(identity) from \(remote) is redirected to \(to)")
        case .redirectAnswered(let session, true): (.info, "session \(session): the peer goes on with it at the other gateway")
        case .redirectAnswered(let session, false): (.info, "session \(session): the peer knows of the other gateway")
        case .contextTransferMessage(let session, let message):
            (.debug, "session \(session): \(message.count) octets about a context transfer")
        case .handedOn(let session): (.info, "session \(session): is at the other gateway")
        case .successorWanted(let session): (.info, "session \(session): is to be replaced by a new one")
        case .successorIncomplete(let session, let child): (.debug, "session \(session): its predecessor has \(child) too")
        case .halfOpenExpired(let remote): (.info, "\(remote) never came back with IKE_AUTH")
        }
    }
}

private func hex(_ spi: UInt32) -> String {
    let digits = String(spi, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
}
