public import Session

/// Why a context cannot go on at this gateway, with the gateway's own state as it is.
public enum AdoptionRefusal: Error, Hashable, Sendable {
    /// This gateway has the session already: an IKE SA with the same SPIs.
    case alreadyOwned(uniqueID: UInt32)
    /// A later state of the session was here, and has left or ended: IVs and message IDs would come twice.
    case stale
    /// The IKE SA's time is over, or the peers should have authenticated anew.
    case expired
    case connectionUnknown(String)
    case childUnknown(connection: String, child: String)
    /// What this gateway asks of the connection's peer, or says of itself, does not fit.
    case identityRefused(String)
    /// Another session has this SPI.
    case spiInUse(String)
    /// Another peer has this address, or one is kept for it.
    case addressInUse(String)
    /// No address of this gateway can take the place of the giver's.
    case noLocalAddress(String)
    case notActive(String)
    case tableFull
    /// The keys of the IKE SA have gone from gateway to gateway too often.
    case givenTooOften
    /// An SA has no outbound numbers left.
    case numbersExhausted(inboundSPI: UInt32)

    /// A word for programs.
    public var code: String {
        switch self {
        case .alreadyOwned: "already_owned"
        case .stale: "stale"
        case .expired: "expired"
        case .connectionUnknown, .childUnknown: "connection_unknown"
        case .identityRefused: "identity_refused"
        case .spiInUse: "spi_in_use"
        case .addressInUse: "address_in_use"
        case .noLocalAddress: "no_local_address"
        case .notActive: "not_active"
        case .tableFull: "table_full"
        case .givenTooOften: "given_too_often"
        case .numbersExhausted: "numbers_exhausted"
        }
    }
}

extension AdoptionRefusal: CustomStringConvertible {
    public var description: String {
        switch self {
        case .alreadyOwned(let uniqueID): "this session is here already, as #\(uniqueID)"
        case .stale: "a later state of this session was here: the context is too old to go on with"
        case .expired: "the time of this session is over"
        case .connectionUnknown(let name): "there is no connection '\(name)' here"
        case .childUnknown(let connection, let child): "the connection '\(connection)' has no child '\(child)' here"
        case .identityRefused(let what): "this gateway does not admit the peer: \(what)"
        case .spiInUse(let spi): "another session here has the SPI \(spi)"
        case .addressInUse(let address): "the leased address \(address) belongs to another peer here"
        case .noLocalAddress(let what): "no address for the session here: \(what)"
        case .notActive(let role): "this node is \(role); ask the active one"
        case .tableFull: "this node has no room for a further session"
        case .givenTooOften: "the session's keys were handed on too often: rekey the IKE SA where it is first"
        case .numbersExhausted(let spi): "the CHILD SA \(String(spi, radix: 16)) has no sequence numbers left: rekey it first"
        }
    }
}

/// A session as a taker goes on with it.
public struct Adoption: Hashable, Sendable {
    /// With the giver's identifiers for people; the taker gives it its own.
    public var session: Session
    /// The giver may have gone on after what is in the context: windows and counters have to be compared with the peer's (RFC 6311).
    public var needsSynchronization: Bool
    /// The peer knows another address of the gateway.
    public var hasMoved: Bool
}

extension SessionContext {
    /// The session with all that the taker has to do differently so that nothing comes twice (law 3): IVs of later epochs, outbound
    /// numbers of later slices. What is over by now is left out.
    ///
    /// - Parameters:
    ///   - node: the taker's place in its pair.
    ///   - epoch: of the taker's pair.
    ///   - local: where the taker speaks to the peer.
    public func adopted(
        by node: NodeID, epoch ownEpoch: Epoch, local: IPAddress, at wallMilliseconds: Int64
    ) throws(AdoptionRefusal) -> Adoption {
        var session = session
        let isOver = [session.ikeSA.lifetime.endsAt, session.reauthenticateAt].contains { $0.map { $0 <= wallMilliseconds } ?? false }
        guard !isOver else { throw .expired }
        session.ikeSA = try shifted(session.ikeSA, ownEpoch)
        var others: [IKESA] = []
        for sa in session.otherIKESAs { others.append(try shifted(sa, ownEpoch)) }
        session.otherIKESAs = others
        session.children.removeAll { child in child.lifetime.endsAt.map { $0 <= wallMilliseconds } ?? false }
        for index in session.children.indices { try advance(&session.children[index], for: node) }
        session.predecessor = nil
        let hasMoved = session.local.address != local
        move(&session, to: local)
        return Adoption(session: session, needsSynchronization: kind == .snapshot, hasMoved: hasMoved)
    }

    private func shifted(_ sa: IKESA, _ ownEpoch: Epoch) throws(AdoptionRefusal) -> IKESA {
        let gap = kind == .snapshot ? EpochShift.afterSnapshot : EpochShift.afterDetached
        guard let shift = sa.epochShift.next(givenAt: epoch, takenAt: ownEpoch, gap: gap) else { throw .givenTooOften }
        var sa = sa
        sa.epochShift = shift
        return sa
    }

    /// The giver's pair may have used more than the context says: a node of it that was cut off, or a giver that lives on.
    private func advance(_ child: inout ChildSA, for node: NodeID) throws(AdoptionRefusal) {
        child.lease = child.lease.nextAfterGap(for: node)
        if kind == .snapshot { child.lease = child.lease.nextAfterGap(for: node).nextAfterGap(for: node) }
        let numbers = child.lease.numbers(extended: child.algorithms.extendedSequenceNumbers)
        guard child.isRekeyed || numbers.next <= numbers.limit else { throw .numbersExhausted(inboundSPI: child.inboundSPI) }
    }

    private func move(_ session: inout Session, to local: IPAddress) {
        let former = session.local.address
        session.local.address = local
        if session.movingTo?.local.address == former { session.movingTo?.local.address = local }
    }
}
