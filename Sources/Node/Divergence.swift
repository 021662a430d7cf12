import IKE
import Pair
import Session

/// What this node did as owner since the other one held the same: what has to be put together with the other's if that one was owner as
/// well. Empty again as soon as both hold the same.
///
/// Beside what a session is, it keeps what is not there any more: what the other node still has must not come back when it ended here, and
/// nothing that was used here is used again when it does come back (law 3).
struct Divergence {
    /// A session that is not here any more.
    struct Ending {
        /// When somebody wanted it so; `nil`: nobody did, its peer did not answer.
        var at: Instant?
        var wasDetached = false
        /// What it was, as long as nobody wanted it to end: its peer may live on at the other node, with what this one used.
        var last: Session?
    }

    struct EndedChild {
        var lease: Lease
        /// The session lived on.
        var isGone: Bool
    }

    private struct OutboundSA: Hashable {
        var session: SessionID
        var spi: UInt32
    }

    struct EndedIKESA {
        var ids: MessageIDs
        var isGone: Bool
    }

    /// Endings of each kind that are remembered: an hour of a gateway with 65,536 sessions that are rekeyed twice. What is beyond may come
    /// back from the other node, until its peer is found dead.
    static let endingsMax = 1 << 17

    /// The life of the peer that held all that we held when this was empty; `nil`: nobody did, and everything may be news.
    private(set) var base: UInt64?
    private(set) var touched: Set<SessionID> = []
    private(set) var endings: [SessionID: Ending] = [:]
    private(set) var children: [UInt32: EndedChild] = [:]
    private(set) var ikeSAs: [UInt64: EndedIKESA] = [:]
    /// The peers' SPIs of those that are gone.
    private var goneOutbound: Set<OutboundSA> = []
    /// The highest lease of a CHILD SA that ended and is not remembered.
    private var forgottenLease: Lease?

    var isEmpty: Bool { touched.isEmpty && endings.isEmpty && children.isEmpty && ikeSAs.isEmpty }
    var count: Int { max(endings.count, children.count, ikeSAs.count) }

    /// Both nodes hold the same; the other one in this life.
    mutating func reset(base: UInt64?) {
        if isEmpty {
            self.base = base
        } else {
            self = Divergence()
            self.base = base
        }
    }

    /// Sessions ended because their peers did not answer; the other node may have heard them.
    var gaveUpPeers: Bool { endings.values.contains { $0.at == nil } }

    /// The other node may be emptied, to be filled anew.
    mutating func forgetBase() { base = nil }

    mutating func touch(_ id: SessionID) { touched.insert(id) }

    mutating func note(_ applied: AppliedDelta) {
        let id = applied.delta.session
        guard applied.delta.changes.contains(where: \.bringsOrEnds) else {
            touched.insert(id)
            return
        }
        if let before = applied.before { noteEndings(before, after: applied.after) }
        if let after = applied.after {
            touched.insert(id)
            endings[id] = nil
            for child in after.children where children.removeValue(forKey: child.inboundSPI) != nil {
                goneOutbound.remove(OutboundSA(session: id, spi: child.outboundSPI))
            }
            for sa in after.ikeSAs { ikeSAs[sa.localSPI] = nil }
        } else {
            touched.remove(id)
            // A copy that never served anybody is no word of its peer's.
            if endings.count < Divergence.endingsMax, applied.before?.isArriving == false { endings[id] = Ending(last: applied.before) }
        }
    }

    private mutating func noteEndings(_ before: Session, after: Session?) {
        for child in before.children where after?.child(inboundSPI: child.inboundSPI) == nil {
            if children.count < Divergence.endingsMax {
                children[child.inboundSPI] = EndedChild(lease: child.lease, isGone: after != nil)
                if after != nil { goneOutbound.insert(OutboundSA(session: before.id, spi: child.outboundSPI)) }
            } else {
                forgottenLease = Lease(slice: max(forgottenLease?.slice ?? 0, child.lease.slice))
            }
        }
        for sa in before.ikeSAs where after?.ikeSA(localSPI: sa.localSPI) == nil && ikeSAs.count < Divergence.endingsMax {
            ikeSAs[sa.localSPI] = EndedIKESA(ids: sa.usedIDs, isGone: after != nil)
        }
    }

    /// Somebody wanted the session to end.
    mutating func noteWanted(_ id: SessionID, at now: Instant, wasDetached: Bool = false) {
        guard endings[id] != nil else { return }
        endings[id] = Ending(at: now, wasDetached: wasDetached)
    }

    /// What ended of these two copies of a session, which lives on.
    func gone(of copies: [Session]) -> SessionMerge.Gone {
        var gone = SessionMerge.Gone()
        for copy in copies {
            for child in copy.children where children[child.inboundSPI]?.isGone == true { gone.children.insert(child.inboundSPI) }
            for child in copy.children where goneOutbound.contains(OutboundSA(session: copy.id, spi: child.outboundSPI)) {
                gone.outboundSPIs.insert(child.outboundSPI)
            }
            for sa in copy.ikeSAs where ikeSAs[sa.localSPI]?.isGone == true { gone.ikeSAs.insert(sa.localSPI) }
        }
        return gone
    }

    /// The highest lease that this node may have used of a CHILD SA that is not here.
    func usedLease(of inboundSPI: UInt32) -> Lease? { children[inboundSPI]?.lease ?? forgottenLease }
}

extension SessionChange {
    /// A session, a CHILD SA or an IKE SA comes or goes.
    fileprivate var bringsOrEnds: Bool {
        switch self {
        case .created, .merged, .removed, .detached, .childAdded, .childRemoved, .ikeSARekeyed, .ikeSAAdded, .ikeSARemoved: true
        default: false
        }
    }

    /// The peer said something that was authentic, and new.
    fileprivate var isHearing: Bool {
        switch self {
        case .answered, .syncCompleted, .syncAnswered, .created, .arrived: true
        default: false
        }
    }
}

extension SessionDelta {
    fileprivate var isHearing: Bool {
        if changes.contains(where: \.isHearing) { return true }
        // One that is replaced by the same request in other words was not answered.
        return changes.contains { change in
            guard case .requestCompleted(let spi, let id) = change else { return false }
            return !changes.contains { if case .requested(spi, let request) = $0 { request.messageID == id } else { false } }
        }
    }
}

extension IKESA {
    /// The IDs that were used up: of ours those below the first that was not answered.
    fileprivate var usedIDs: MessageIDs {
        MessageIDs(send: pendingRequests.first?.messageID ?? nextSendID, receive: nextReceiveID)
    }
}

// MARK: - Noting

extension Node {
    /// How old a data plane's report may be: what it counted came after the one before.
    static let reportAge: Duration = .milliseconds(200)

    /// A change of our own was applied.
    mutating func noteDivergence(_ applied: AppliedDelta, now: Now) {
        guard configuration.pair != nil else { return }
        divergence.note(applied)
        let id = applied.delta.session
        if applied.after == nil {
            heard[id] = nil
            if applied.delta.isDetachment { divergence.noteWanted(id, at: now.instant, wasDetached: true) }
        } else if applied.delta.isHearing {
            heard[id] = now.instant
        }
    }

    /// The data plane took something from the peer of a session.
    mutating func noteTrafficHeard(_ id: SessionID, now: Now) {
        guard configuration.pair != nil else { return }
        let at = now.instant + (.zero - Node.reportAge)
        heard[id] = max(heard[id] ?? at, at)
        if !sender.holdsReplies { divergence.touch(id) }
    }

    /// What the IKE machine says of a session's end.
    mutating func noteEnding(_ event: IKEEvent, now: Now) {
        switch event {
        case .deletedByPeer(let id), .terminated(let id), .handedOn(let id): divergence.noteWanted(id, at: now.instant)
        case .replaced(let id, _): divergence.noteWanted(id, at: now.instant)
        default: break
        }
    }

    /// What is held now is never shown: its peers were told last what the other node told them, if anybody did.
    mutating func forgetUnanswered() {
        for datagram in hold.datagrams {
            if let id = ike.session(sending: datagram, table: table) { heard[id] = nil }
        }
    }

    /// The other node holds what we hold.
    mutating func noteSameness() {
        divergence.reset(base: link.peer?.boot)
        merge.owed = nil
    }

    /// When something was that was so long ago: at the host's start, if that was later.
    func moment(_ ago: Duration, before now: Now) -> Instant {
        Instant(nanoseconds: now.instant.nanoseconds - min(UInt64(max(0, ago.inNanoseconds)), now.instant.nanoseconds))
    }

    func silence(of id: SessionID, now: Now) -> Duration? { heard[id].map { max(.zero, now.instant - $0) } }
}
