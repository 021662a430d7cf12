import Pair
import Session

/// A node that was owner beside the present one: what it alone knows goes there, page by page, before it is overwritten.
extension Node {
    /// It may have something that the owner has not.
    var owesMerge: Bool { !isOwner && merge.owed != nil }

    /// Between the stepping down of this node and the moment it holds what the owner holds.
    mutating func oweMerge() {
        guard configuration.pair != nil else { return }
        var owed = MergeWork.Owed()
        if case .record(let step) = leases.task { owed.unrecorded = (step, leases.sessions.map(Set.init)) }
        merge.owed = mayKnowMore || state.remembersAlone ? owed : nil
    }

    /// It has sessions, or had some, of which it does not know whether the owner has them so.
    var mayKnowMore: Bool { table.count > 0 || !divergence.isEmpty }

    /// The disk said how far former lives went in the numbers of SAs that the peer may fill this one with, and will not say it again.
    mutating func oweSpentSlices() {
        guard configuration.pair != nil, state.remembersAlone else { return }
        merge.owed = MergeWork.Owed()
    }

    /// A snapshot that was sent before the owner heard that we owe something would overwrite it.
    func mayBeFilled(by begin: SnapshotBegin) -> Bool {
        guard let owed = merge.owed, link.peer?.takesMerge == true else { return true }
        return owed.giving?.isSaid == true || begin.overrules
    }

    /// - Parameter wantsAll: the owner ended sessions that nobody wanted to end, and that may have lived on here without a change.
    mutating func mergeRequested(wantsAll: Bool, now: Now) {
        guard !isOwner, let peer = link.peer else { return }
        // It has been filled since it said so.
        guard merge.owed != nil else { return effects.append(.frame(.mergeEnd)) }
        let endings = endingPages(now: now)
        if merge.owed?.giving?.life == peer.boot {
            merge.owed?.giving?.resume(endings: endings)
        } else {
            let giving = MergeWork.Giving(life: peer.boot, endings: endings, sessions: sessionsToGive(peer, wantsAll: wantsAll))
            merge.owed?.giving = giving
        }
        log(.notice, "handing over what was done here as owner", [.init("sessions", "\(merge.owed?.giving?.sessions.count ?? 0)")])
        givePages(now: now)
    }

    mutating func mergePageTaken(now: Now) {
        guard owesMerge, merge.owed?.giving?.inFlight.isEmpty == false else { return }
        merge.owed?.giving?.inFlight.removeFirst()
        givePages(now: now)
    }

    private mutating func givePages(now: Now) {
        while let giving = merge.owed?.giving, giving.inFlight.count < MergeWork.pagesMax, !giving.isSaid {
            if giving.endingsSent < giving.endings.count {
                merge.owed?.giving?.endingsSent += 1
                send(giving.endings[giving.endingsSent], sessions: [])
            } else if !giving.sessions.isEmpty {
                let ids = Array(giving.sessions.suffix(MergePage.sessionsMax))
                merge.owed?.giving?.sessions.removeLast(ids.count)
                merge.owed?.giving?.count += ids.count
                send(MergePage(sessions: ids.compactMap { item(of: $0, now: now) }), sessions: ids)
            } else {
                // The last page has to be there: who is filled next is overwritten.
                guard giving.inFlight.isEmpty else { return }
                merge.owed?.giving?.isSaid = true
                effects.append(.frame(.mergeEnd))
                note(.pairState, "merging: the owner has \(giving.count) sessions of this node", now: now)
            }
        }
    }

    private mutating func send(_ page: MergePage, sessions: [SessionID]) {
        merge.owed?.giving?.inFlight.append(sessions)
        counters.sessionsMergeSent += UInt64(sessions.count)
        effects.append(.frame(.mergePage(page)))
    }

    private func item(of id: SessionID, now: Now) -> MergePage.Item? {
        table[id].map { item(of: $0, now: now) } ?? divergence.endings[id]?.last.map(itemOfEnded)
    }

    /// Its peer was not heard any more, and may be heard by the owner: what was used here counts there.
    private func itemOfEnded(_ last: Session) -> MergePage.Item {
        var session = last
        // Whether the last lease had been written down by then is not known any more.
        let step = merge.owed?.unrecorded?.step ?? .next
        for index in session.children.indices {
            session.children[index].lease = plan.lease(step, after: session.children[index])
        }
        return MergePage.Item(session, silence: nil, hasEnded: true)
    }

    /// As it is known here, with the data plane's last word, and with the leases that were used.
    private func item(of session: Session, now: Now) -> MergePage.Item {
        var session = session
        for index in session.children.indices {
            let child = session.children[index]
            if let report = traffic[child.inboundSPI] { session.children[index].inboundTop = max(child.inboundTop, report.inboundTop) }
            guard let unrecorded = merge.owed?.unrecorded, unrecorded.sessions?.contains(session.id) ?? true, !session.isArriving else {
                continue
            }
            session.children[index].lease = plan.lease(unrecorded.step, after: child)
        }
        return MergePage.Item(session, silence: silence(of: session.id, now: now))
    }

    /// What the owner, in its present life, does not have as it is here.
    private func sessionsToGive(_ owner: PairHello, wantsAll: Bool) -> [SessionID] {
        let ended = divergence.endings.filter { $0.value.last != nil }.map(\.key)
        guard divergence.base == owner.boot, !wantsAll else { return (ended + table.sessions.keys).sorted() }
        let unrecorded = merge.owed?.unrecorded.map { $0.sessions ?? Set(table.sessions.keys) } ?? []
        return (ended + divergence.touched.union(unrecorded).filter { table[$0] != nil }).sorted()
    }

    private func endingPages(now: Now) -> [MergePage] {
        let wanted = divergence.endings.sorted { $0.key < $1.key }.compactMap { id, ending in
            ending.at.map { MergePage.Ending(session: id, silence: max(.zero, now.instant - $0), wasDetached: ending.wasDetached) }
        }
        let children = divergence.children.filter(\.value.isGone).keys.sorted()
        let ikeSAs = divergence.ikeSAs.filter(\.value.isGone).keys.sorted()
        let spent = state.remembersAlone ? state.spentSlices.sorted { $0.key < $1.key } : []
        let reservations = table.reservations.all.filter { $0.offlineSince != nil }.sorted { $0.address < $1.address }
        return
            // Each of them takes SAs away at the owner.
            wanted.pages(of: MergePage.sessionsMax) { $0.ended = $1 } + children.pages(of: MergePage.endingsMax) { $0.endedChildren = $1 }
            + ikeSAs.pages(of: MergePage.endingsMax) { $0.endedIKESAs = $1 }
            + reservations.pages(of: PairProtocol.snapshotPageReservationsMax) { $0.reservations = $1 }
            // Each is a change of a session.
            + spent.pages(of: MergePage.sessionsMax) { page, slices in
                page.spentSlices = slices.map { MergePage.SpentSlice(inboundSPI: $0.key, slice: $0.value) }
            }
    }
}

extension Array {
    fileprivate func pages(of size: Int, _ fill: (inout MergePage, [Element]) -> Void) -> [MergePage] {
        stride(from: 0, to: count, by: size).map { start in
            var page = MergePage()
            fill(&page, Array(self[start..<Swift.min(start + size, count)]))
            return page
        }
    }
}
