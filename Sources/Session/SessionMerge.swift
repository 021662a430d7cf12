/// One session as two owners left it that could not hear each other: what each of them knew, put together.
///
/// A peer has one state, and speaks to one gateway at a time; both copies are parts of its history. What was made on either side stays,
/// what ended on either side is gone, and counters go to the higher value. Where only one of the two can be right, the copy that the peer
/// spoke to last is.
public struct SessionMerge: Sendable {
    /// What ended inside living sessions, on one side, since both held the same.
    public struct Gone: Hashable, Sendable {
        /// Inbound SPIs of CHILD SAs.
        public var children: Set<UInt32>
        /// The peer's SPIs of CHILD SAs, where they are known: what both nodes made of one request of its is gone with either.
        public var outboundSPIs: Set<UInt32>
        /// Our SPIs of IKE SAs.
        public var ikeSAs: Set<UInt64>

        public init(children: Set<UInt32> = [], outboundSPIs: Set<UInt32> = [], ikeSAs: Set<UInt64> = []) {
            self.children = children
            self.outboundSPIs = outboundSPIs
            self.ikeSAs = ikeSAs
        }
    }

    /// What one side has.
    public struct Copy: Sendable {
        public var session: Session
        /// How long the peer has not been heard there; `nil`: it never was, since both held the same.
        public var silence: Duration?
        public var gone: Gone

        public init(_ session: Session, silence: Duration?, gone: Gone = Gone()) {
            self.session = session
            self.silence = silence
            self.gone = gone
        }
    }

    /// The session that goes on.
    public private(set) var session: Session
    /// The peer spoke to the other side last.
    public let isTheirs: Bool
    /// Requests of ours in the current IKE SA whose IDs the other side used for something else, so that nobody can say who will answer
    /// them: what they were for is to be asked anew.
    public private(set) var givenUp: [PendingRequest] = []

    public init(ours: Copy, theirs: Copy) {
        isTheirs = SessionMerge.isLater(theirs, than: ours)
        let (later, other) = isTheirs ? (theirs, ours) : (ours, theirs)
        let gone = Gone(
            children: later.gone.children.union(other.gone.children),
            outboundSPIs: later.gone.outboundSPIs.union(other.gone.outboundSPIs), ikeSAs: later.gone.ikeSAs.union(other.gone.ikeSAs))
        session = later.session
        session.isArriving = later.session.isArriving && other.session.isArriving
        session.predecessor = later.session.predecessor ?? other.session.predecessor
        session.children = SessionMerge.children(later.session, other.session, gone: gone)
        mergeIKESAs(other.session, gone: gone.ikeSAs)
    }

    // MARK: - Which is later

    /// First what the peer did in the IKE SA, which it does in one order; the time only where that does not tell. For packets of an old SA
    /// may have come to a node that missed a rekey.
    private static func isLater(_ theirs: Copy, than ours: Copy) -> Bool {
        let (mine, its) = (ours.session.ikeSA, theirs.session.ikeSA)
        let isOursReplaced = theirs.hasReplaced(mine.localSPI)
        if isOursReplaced != ours.hasReplaced(its.localSPI) { return isOursReplaced }
        if mine.localSPI == its.localSPI, mine.nextReceiveID != its.nextReceiveID { return its.nextReceiveID > mine.nextReceiveID }
        guard let silence = theirs.silence else { return false }
        return ours.silence.map { silence < $0 } ?? true
    }

    // MARK: - CHILD SAs

    private static func children(_ later: Session, _ other: Session, gone: Gone) -> [ChildSA] {
        var out = later.children.map { child in other.child(inboundSPI: child.inboundSPI).map { child.merged(with: $0) } ?? child }
        for child in other.children where later.child(inboundSPI: child.inboundSPI) == nil {
            // One request of the peer's that both answered: it made one of the two, and packets of it say which.
            if let index = out.firstIndex(where: { $0.outboundSPI == child.outboundSPI }) {
                // They may have the same keys (IKE_AUTH): whichever stays goes on above both.
                let lease = Lease(slice: max(out[index].lease.slice, child.lease.slice))
                if out[index].inboundTop == 0, child.inboundTop > 0 { out[index] = child }
                out[index].lease = lease
            } else {
                out.append(child)
            }
        }
        return Array(
            out.filter { !gone.children.contains($0.inboundSPI) && !gone.outboundSPIs.contains($0.outboundSPI) }.prefix(
                Session.mergedChildrenMax))
    }

    // MARK: - IKE SAs

    private mutating func mergeIKESAs(_ other: Session, gone: Set<UInt64>) {
        if let copy = other.ikeSA(localSPI: session.ikeSA.localSPI) {
            let (merged, lost) = session.ikeSA.merged(with: copy)
            session.ikeSA = merged
            givenUp = lost
        }
        // Something was to end there, and was asked in an IKE SA that the peer has replaced since.
        if other.ikeSA.localSPI != session.ikeSA.localSPI { givenUp += other.ikeSA.pendingRequests.filter(\.isDeletion) }
        var rest: [IKESA] = []
        for sa in session.otherIKESAs + other.ikeSAs where !gone.contains(sa.localSPI) && sa.localSPI != session.ikeSA.localSPI {
            // Two answers to one request of the peer's, of which it took one.
            guard sa.remoteSPI != session.ikeSA.remoteSPI, !rest.contains(where: { $0.localSPI == sa.localSPI }) else { continue }
            let copy = session.otherIKESAs.contains { $0.localSPI == sa.localSPI } ? other.ikeSA(localSPI: sa.localSPI) : nil
            rest.append(copy.map { sa.merged(with: $0).sa } ?? sa)
        }
        session.otherIKESAs = Array(rest.suffix(Session.otherIKESAsMax))
    }
}

extension SessionMerge.Copy {
    /// The IKE SA is not the current one any more here.
    fileprivate func hasReplaced(_ localSPI: UInt64) -> Bool {
        gone.ikeSAs.contains(localSPI) || session.otherIKESAs.contains { $0.localSPI == localSPI }
    }
}

extension Session {
    /// What a frame of the pair takes: each side has far fewer.
    static let mergedChildrenMax = 1024
}

extension ChildSA {
    /// Counters go up only, and what was replaced stays so.
    fileprivate func merged(with other: ChildSA) -> ChildSA {
        var child = self
        child.lease = Lease(slice: max(lease.slice, other.lease.slice))
        child.inboundTop = max(inboundTop, other.inboundTop)
        child.volume = Volume(bytes: max(volume.bytes, other.volume.bytes), packets: max(volume.packets, other.volume.packets))
        child.isRekeyed = isRekeyed || other.isRekeyed
        return child
    }
}

extension IKESA {
    /// Windows go to where the peer is, whichever side it was that saw it.
    ///
    /// - Returns: also the requests that the peer will not answer: it takes an ID once, and the other side used it.
    fileprivate func merged(with other: IKESA) -> (sa: IKESA, lost: [PendingRequest]) {
        var sa = self
        sa.nextSendID = max(nextSendID, other.nextSendID)
        sa.nextReceiveID = max(nextReceiveID, other.nextReceiveID)
        sa.responses += other.responses.filter { response in self.response(messageID: response.messageID) == nil }
        sa.responses.sort { $0.messageID < $1.messageID }
        while sa.nextReceiveID < .max, sa.response(messageID: sa.nextReceiveID) != nil { sa.nextReceiveID += 1 }
        let oldest = sa.nextReceiveID > receiveWindow ? sa.nextReceiveID - receiveWindow : 0
        sa.responses.removeAll { $0.messageID < oldest }
        let kept = pendingRequests.compactMap { $0.open(beside: other) } + other.pendingRequests.filter { $0.messageID >= nextSendID }
        sa.pendingRequests = Array(kept.sorted { $0.messageID < $1.messageID }.prefix(Int(sendWindow)))
        let lost = (pendingRequests + other.pendingRequests).filter { request in
            sa.pendingRequest(messageID: request.messageID)?.purpose != request.purpose
        }
        sa.counterSync.knownSince = [counterSync.knownSince, other.counterSync.knownSince].compactMap { $0 }.max()
        sa.counterSync.pending = counterSync.pending ?? other.counterSync.pending
        if let answered = other.counterSync.answered, answered.firstID > counterSync.answered?.firstID ?? 0 {
            sa.counterSync.answered = answered
        }
        return (sa, lost)
    }
}

extension PendingRequest {
    /// As it waits for an answer when the other side may have used the ID; `nil`: nobody will give one.
    fileprivate func open(beside other: IKESA) -> PendingRequest? {
        if messageID >= other.nextSendID { return self }
        return other.pendingRequest(messageID: messageID).map { self == $0 ? self : together(with: $0) }
    }

    /// Two that wait under one ID. The peer took one of them, and drops the other as another message: both go out again, and either answer
    /// tells that the ID is used up. What it was for is asked anew, unless both were for the same.
    private func together(with other: PendingRequest) -> PendingRequest {
        guard isSimple, other.isSimple else { return self }
        return PendingRequest(
            messageID: messageID, purpose: purpose == other.purpose ? purpose : .liveness,
            datagrams: datagrams + other.datagrams.filter { !datagrams.contains($0) })
    }

    fileprivate var isDeletion: Bool {
        switch purpose {
        case .deleteIKESA, .deleteChildSA: true
        default: false
        }
    }

    /// An INFORMATIONAL exchange, not in fragments: its answer says little.
    private var isSimple: Bool {
        switch purpose {
        case .createChildSA, .rekeyIKESA: false
        // Of what several merges put together a peer can only have taken one: it is not let grow.
        default: datagrams.count <= 4 && !datagrams.contains { $0.count > 16 && $0[16] == PendingRequest.encryptedFragment }
        }
    }

    /// RFC 7383 §2.5: the payload that the header of a fragment names.
    private static let encryptedFragment: UInt8 = 53
}
