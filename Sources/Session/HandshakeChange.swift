/// What the standby is told beside the sessions: what comes before one, what an exchange has brought so far, and what was last said of
/// one that is over. In the same log as sessions' deltas, so that what a datagram shows is there before it leaves (law 2).
public enum HandshakeChange: Hashable, Sendable {
    /// IKE_SA_INIT was answered. It ends when its session begins, with `ended`, or by its age.
    case opened(HalfOpenSA)
    /// A request came in part.
    case fragmentTaken(FragmentPart)
    /// An IKE SA, half-open or not, ended with this answer.
    case ended(Farewell)
}

/// One authenticated fragment of a peer's request (RFC 7383 §2.6).
public struct FragmentPart: Hashable, Sendable {
    public var localSPI: UInt64
    public var messageID: UInt32
    /// 1 to `total`.
    public var number: UInt16
    public var total: UInt16
    /// The type of the first payload of the message; told in the first fragment.
    public var firstPayload: UInt8
    public var content: [UInt8]
    /// SHA-256 of the datagram, of the first fragment only: a retransmission is known by it (RFC 7383 §2.6.1).
    public var digest: [UInt8]

    public init(
        localSPI: UInt64, messageID: UInt32, number: UInt16, total: UInt16, firstPayload: UInt8, content: [UInt8], digest: [UInt8]
    ) {
        self.localSPI = localSPI
        self.messageID = messageID
        self.number = number
        self.total = total
        self.firstPayload = firstPayload
        self.content = content
        self.digest = digest
    }
}

/// The answer that ended an IKE SA, for a peer that did not get it and asks again. There is no session left to keep it in.
public struct Farewell: Hashable, Sendable {
    public var localSPI: UInt64
    /// SHA-256 of the request.
    public var requestDigest: [UInt8]
    public var datagrams: [[UInt8]]
    /// Where the request came from.
    public var local: Endpoint
    public var remote: Endpoint
    /// The session whose end it told; `nil` if there was none.
    public var session: SessionID?

    public init(
        localSPI: UInt64, requestDigest: [UInt8], datagrams: [[UInt8]], local: Endpoint, remote: Endpoint, session: SessionID?
    ) {
        self.localSPI = localSPI
        self.requestDigest = requestDigest
        self.datagrams = datagrams
        self.local = local
        self.remote = remote
        self.session = session
    }
}
