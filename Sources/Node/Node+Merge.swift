import DequeModule
import IKE
import Pair
import Session

/// Two owners have met: the one of the lower epoch has stepped down, and hands over what it alone knows before it is filled anew.
struct MergeWork {
    /// What a node that stepped down owes.
    struct Owed {
        /// Leases that it used and had not written down yet, and of which sessions; `nil`: of all.
        var unrecorded: (step: LeaseStep, sessions: Set<SessionID>?)?
        var giving: Giving?
    }

    /// The pages that are left, for one life of the owner.
    struct Giving {
        var life: UInt64
        private(set) var endings: [MergePage]
        var endingsSent = 0
        /// Taken from the end.
        var sessions: [SessionID]
        var inFlight: Deque<[SessionID]> = []
        var isSaid = false
        var count = 0

        init(life: UInt64, endings: [MergePage], sessions: [SessionID]) {
            (self.life, self.endings, self.sessions) = (life, endings, sessions)
        }

        /// What was on the way on a link that is gone is sent again: taken in twice it is as taken in once.
        ///
        /// - Parameter endings: by now; the owner forgets them with the link.
        mutating func resume(endings: [MergePage]) {
            for page in inFlight { sessions += page }
            inFlight = []
            (self.endings, endingsSent) = (endings, 0)
            isSaid = false
        }
    }

    /// What the owner takes in.
    struct Taking {
        var life: UInt64
        var began: Instant
        /// When it is given up, should nothing come.
        var deadline: Instant
        var gone = SessionMerge.Gone()
        /// The numbers for people of the CHILD SAs that were here, once they had to be looked for; and of all that came since.
        var childIDs: Set<UInt32>?
        var newIDs: Set<UInt32> = []
        var newChildIDs: Set<UInt32> = []
        /// A page came that says something.
        var hasBegun = false
        var pagesToAcknowledge = 0
        var counts = MergeCounts()

        /// As many as the other node remembers; what is beyond is as if it did not.
        mutating func note(_ page: MergePage) {
            if gone.children.count < Divergence.endingsMax { gone.children.formUnion(page.endedChildren) }
            if gone.ikeSAs.count < Divergence.endingsMax { gone.ikeSAs.formUnion(page.endedIKESAs) }
        }
    }

    /// Pages on the way at once: the owner works on one while the next travels.
    static let pagesMax = 4
    /// The other node has nothing to do meanwhile but this.
    static let patience: Duration = .seconds(10)
    /// After so many attempts in which nothing came the other node is filled without.
    static let attemptsMax = 3

    var owed: Owed?
    var taking: Taking?
    /// Attempts in which nothing came for so long that the link was closed, by the life of the other node.
    private var stalls: (life: UInt64, count: Int) = (0, 0)

    /// A word for `tandem status` beside those of `PairState`.
    static let stateName = "merging"

    mutating func noteStall(of life: UInt64) { stalls = (life, stalls.life == life ? stalls.count + 1 : 1) }
    mutating func forgetStalls() { stalls = (0, 0) }
    func expects(_ life: UInt64) -> Bool { stalls.life != life || stalls.count < MergeWork.attemptsMax }
}

struct MergeCounts: Equatable {
    var ours: UInt64 = 0
    var theirs: UInt64 = 0
    var new: UInt64 = 0
    var ended: UInt64 = 0
    var refused: UInt64 = 0

    var text: String { "\(new) new, \(theirs) as there, \(ours) as here, \(ended) ended, \(refused) refused" }
}

// MARK: - The owner

extension Node {
    var nextMergeDeadline: Instant? { isOwner ? merge.taking?.deadline : nil }

    /// Asks the other node for what it alone knows, if it says that there may be something.
    ///
    /// - Returns: whether it has to be waited for.
    mutating func beginsMerge(with peer: PairHello, now: Now) -> Bool {
        if merge.taking != nil { return true }
        guard peer.owesMerge, !link.isMerged, merge.expects(peer.boot) else { return false }
        // The other node may have announced itself last, and have given way before a heartbeat of it as active came here.
        if noteFirst(splitWith: peer.boot, now: now) { announceFromNow(now) }
        merge.taking = MergeWork.Taking(
            life: peer.boot, began: now.instant, deadline: now.instant + MergeWork.patience)
        effects.append(.frame(.mergeRequest(epoch: roles.epoch, wantsAll: divergence.gaveUpPeers)))
        log(.notice, "asking the other node for what it did as owner", [.init("epoch", "\(roles.epoch)")])
        return true
    }

    mutating func mergePageReceived(_ page: MergePage, now: Now) {
        // What was sent before a change of roles was heard of.
        guard isOwner, merge.taking != nil else { return }
        if !page.isEmpty { mergeBegins(now: now) }
        merge.forgetStalls()
        merge.taking?.note(page)
        for ending in page.ended { take(ending, now: now) }
        for item in page.sessions { take(item, now: now) }
        for reservation in page.reservations { take(reservation) }
        for spent in page.spentSlices { take(spent, now: now) }
        merge.taking?.pagesToAcknowledge += 1
        acknowledgeMergePages(now: now)
    }

    /// Programs that are run for what comes (`updown`), and the disk, are never far behind: the other node waits with the next page.
    mutating func acknowledgeMergePages(now: Now) {
        guard isOwner, let taking = merge.taking, taking.pagesToAcknowledge > 0, hooksOutstanding < HookWork.outstandingMax,
            state.claims.isEmpty
        else { return }
        merge.taking?.pagesToAcknowledge = 0
        merge.taking?.deadline = now.instant + MergeWork.patience
        for _ in 0..<taking.pagesToAcknowledge { effects.append(.frame(.mergePageTaken)) }
    }

    /// From here on nothing is said under an epoch in which this node may have used IVs of what comes (law 3).
    private mutating func mergeBegins(now: Now) {
        guard merge.taking?.hasBegun == false else { return }
        merge.taking?.hasBegun = true
        counters.merges += 1
        guard let epoch = roles.renew() else { return }
        sendHeartbeats(wantsAnswer: false, on: nil, now: now)
        tellRole(now: now)
        log(.notice, "merging with what the other node did as owner", [.init("epoch", "\(epoch)")])
        note(.pairState, "merging: both nodes were active; epoch \(epoch)", now: now)
    }

    mutating func mergeEnded(now: Now) {
        guard isOwner, let taking = merge.taking else { return }
        merge.taking = nil
        merge.forgetStalls()
        link.isMerged = true
        if taking.hasBegun {
            ike.prepare(table: table)
            counters.add(taking.counts)
            let milliseconds = (now.instant - taking.began).inMilliseconds
            log(.notice, "merged", [.init("sessions", taking.counts.text), .init("milliseconds", "\(milliseconds)")])
            note(.pairState, "merged: \(taking.counts.text)", now: now)
        }
        startReplication(now: now)
    }

    /// A node that says that it owes something and sends nothing must not keep the pair from being one for ever.
    mutating func workOnMerge(now: Now) {
        guard isOwner, let taking = merge.taking, now.instant >= taking.deadline else { return }
        guard taking.pagesToAcknowledge == 0 else {
            merge.taking?.deadline = now.instant + MergeWork.patience
            return
        }
        merge.noteStall(of: taking.life)
        abandonMerge()
        closeLink("the other node does not send what it did as owner")
    }

    /// The link, or the ownership, ended in the middle: what was taken in stays, the rest is asked for again.
    mutating func abandonMerge() {
        guard let taking = merge.taking else { return }
        merge.taking = nil
        counters.add(taking.counts)
    }

    // MARK: - Endings

    /// The later of the two stands: the end there, or the peer's last word here.
    private mutating func take(_ ending: MergePage.Ending, now: Now) {
        guard let session = table[ending.session] else { return }
        if let silence = silence(of: session.id, now: now), silence < ending.silence {
            merge.taking?.counts.ours += 1
            return
        }
        merge.taking?.counts.ended += 1
        let at = now.wallMilliseconds - Int64(ending.silence.inMilliseconds)
        end(
            session, ending.wasDetached ? .detached(at: at) : .removed(reason: "it ended at the other node", at: at),
            ago: ending.silence, wasDetached: ending.wasDetached, now: now)
    }

    private mutating func end(
        _ session: Session, _ change: SessionChange, ago: Duration, wasDetached: Bool = false, now: Now
    ) {
        ike.release(session: session.id)
        commit(IKEOutcome(deltas: [SessionDelta(session: session.id, changes: [change])], session: session.id), now: now)
        divergence.noteWanted(session.id, at: moment(ago, before: now), wasDetached: wasDetached)
    }

    // MARK: - Sessions

    private mutating func take(_ item: MergePage.Item, now: Now) {
        guard let ours = table[item.session.id] else {
            if !item.hasEnded || mayLive(item.session) { takeNew(item, now: now) }
            return
        }
        let copies = [ours, item.session]
        let merged = SessionMerge(
            ours: SessionMerge.Copy(ours, silence: silence(of: ours.id, now: now), gone: divergence.gone(of: copies)),
            theirs: SessionMerge.Copy(item.session, silence: item.silence, gone: theirGone(of: copies)))
        var session = merged.session
        for index in session.children.indices { step(&session.children[index], known: ours) }
        guard session != ours || !merged.givenUp.isEmpty else {
            merge.taking?.counts.ours += 1
            return
        }
        if merged.isTheirs { merge.taking?.counts.theirs += 1 } else { merge.taking?.counts.ours += 1 }
        let outcome = ike.merge(
            session, givenUp: merged.givenUp, mayBeBehind: ours.ikeSAs != item.session.ikeSAs, table: table, context: context(now))
        commit(outcome, now: now)
        noteTheirHearing(item, now: now)
        raiseWindows(of: ours, now: now)
    }

    /// One that the other node alone had, and whose peer it did not hear any more: what the peer says may have come here since.
    private func mayLive(_ session: Session) -> Bool {
        divergence.endings[session.id] == nil && !session.virtualAddresses.contains { table.session(virtualAddress: $0.address) != nil }
    }

    /// One that is not here: it never was, or its peer was not heard any more, or it ended.
    private mutating func takeNew(_ item: MergePage.Item, now: Now) {
        var session = item.session
        if let ended = divergence.endings[session.id]?.at {
            let silence = now.instant - ended
            guard let theirs = item.silence, theirs < silence else {
                merge.taking?.counts.ours += 1
                return
            }
        }
        guard makeRoom(for: item, now: now) else { return }
        let gone = divergence.gone(of: [session])
        session.children.removeAll { gone.children.contains($0.inboundSPI) }
        session.otherIKESAs.removeAll { gone.ikeSAs.contains($0.localSPI) }
        session.ikeSA.raise(past: divergence.ikeSAs[session.ikeSA.localSPI]?.ids)
        for index in session.children.indices { step(&session.children[index], known: nil) }
        if isNumbered(session) { ike.renumber(&session, table: table) }
        noteNumbers(of: session)
        commit(ike.merge(session, givenUp: [], mayBeBehind: false, table: table, context: context(now)), now: now)
        guard let taken = table[session.id] else {
            merge.taking?.counts.refused += 1
            return
        }
        merge.taking?.counts.new += 1
        // What made the session here was no word of its peer's.
        heard[session.id] = item.silence.map { moment($0, before: now) }
        if taken.isArriving { adoptArrival(taken, now: now) }
    }

    private func theirGone(of copies: [Session]) -> SessionMerge.Gone {
        guard let all = merge.taking?.gone else { return SessionMerge.Gone() }
        return SessionMerge.Gone(
            children: Set(copies.flatMap { $0.children.map(\.inboundSPI) }).intersection(all.children),
            ikeSAs: Set(copies.flatMap(\.localSPIs)).intersection(all.ikeSAs))
    }

    /// The peer saw numbers of both nodes: ours go on above all of them (law 3, and its replay window). What it sent was taken by both.
    private func step(_ child: inout ChildSA, known: Session?) {
        let before = known?.child(inboundSPI: child.inboundSPI)
        if before.map({ child.lease.slice > $0.lease.slice }) ?? true {
            let used = before == nil ? divergence.usedLease(of: child.inboundSPI) : nil
            child.lease = Lease(slice: max(child.lease.slice, used?.slice ?? 0)).nextAfterGap(for: configuration.id)
            if let spent = state.spentSlices[child.inboundSPI], child.lease.slice <= spent {
                child.lease = Lease(slice: spent).next(for: configuration.id)
            }
        }
        guard isStrict, child.inboundTop > before?.inboundTop ?? 0 else { return }
        child.inboundTop = ReplayMargin.past(child, by: ReplayMargin.standby)
    }

    /// The windows of SAs that stand already are set by an explicit command.
    private mutating func raiseWindows(of before: Session, now: Now) {
        guard let after = table[before.id] else { return }
        let windows = after.children.compactMap { child -> DataPlaneCommand? in
            guard let known = before.child(inboundSPI: child.inboundSPI), known.inboundTop < child.inboundTop else { return nil }
            return .advanceInbound(inboundSPI: child.inboundSPI, top: child.inboundTop)
        }
        release(commands: windows, datagrams: [], now: now)
    }

    /// When the peer was heard is so whoever heard it.
    private mutating func noteTheirHearing(_ item: MergePage.Item, now: Now) {
        let id = item.session.id
        heard[id] = [silence(of: id, now: now), item.silence].compactMap { $0 }.min().map { moment($0, before: now) }
    }

    // MARK: - Conflicts

    /// Sessions of which only one can be: the one that its peer spoke to last.
    private mutating func makeRoom(for item: MergePage.Item, now: Now) -> Bool {
        let session = item.session
        let isCalling = session.localSPIs.contains { ike.isCalling(localSPI: $0) }
        for holder in holders(of: session) + (isCalling ? [nil] : []) {
            // Another gateway gave its context to both nodes, and it never came here.
            guard let holder, holder.isArriving, !session.isArriving else {
                return refuse(session, "its SPIs are another session's", now: now)
            }
            end(holder, .removed(reason: "the other node has it", at: now.wallMilliseconds), ago: .zero, now: now)
        }
        let rivals = ike.rivals(of: session, table: table)
        guard rivals.allSatisfy({ isLater(item, than: $0, now: now) }) else {
            merge.taking?.counts.ended += 1
            return false
        }
        // Before any of them ends: the peer must not be left with neither.
        for lease in session.virtualAddresses {
            guard let holder = table.session(virtualAddress: lease.address), !rivals.contains(where: { $0.id == holder.id }) else {
                continue
            }
            guard isLater(item, than: holder, now: now) else {
                // Its peer would go on for nobody until it asked whether we live.
                release(commands: [], datagrams: ike.farewell(to: session, context: context(now)), now: now)
                return refuse(session, "its address \(lease.address) is another peer's", now: now)
            }
        }
        for rival in rivals {
            merge.taking?.counts.ended += 1
            end(
                rival, .removed(reason: "its peer spoke to \(session.id) last", at: now.wallMilliseconds), ago: item.silence ?? .zero,
                now: now)
        }
        for lease in session.virtualAddresses {
            guard let holder = table.session(virtualAddress: lease.address) else { continue }
            log(
                .error, "two peers have one address; the one that spoke last keeps it",
                [.init("address", "\(lease.address)"), .init("ends", "\(holder.id)")])
            commit(ike.terminate(session: holder.id, force: true, table: table, context: context(now)), now: now)
            merge.taking?.counts.refused += 1
        }
        return true
    }

    private func isLater(_ item: MergePage.Item, than session: Session, now: Now) -> Bool {
        guard let theirs = item.silence else { return false }
        return silence(of: session.id, now: now).map { theirs < $0 } ?? true
    }

    private mutating func refuse(_ session: Session, _ reason: String, now: Now) -> Bool {
        merge.taking?.counts.refused += 1
        let peer = "\(session.authorization.remoteIdentity)"
        log(
            .error, "a session of the other node cannot go on",
            [.init("session", "\(session.id)"), .init("peer", peer), .init("reason", reason)])
        note(.pairState, "the session of '\(peer)' at the other node cannot go on: \(reason)", now: now)
        return false
    }

    /// Other sessions that have SPIs of this one.
    private func holders(of session: Session) -> [Session?] {
        let ike = session.localSPIs.compactMap { table.session(localSPI: $0)?.id }
        let children = session.children.compactMap { table.session(inboundSPI: $0.inboundSPI)?.id }
        return Set(ike + children).sorted().map { table[$0] }
    }

    /// Whether a session that comes has numbers for people that others have.
    private mutating func isNumbered(_ session: Session) -> Bool {
        guard let taking = merge.taking else { return false }
        if !table.ids(uniqueID: session.uniqueID).isEmpty || taking.newIDs.contains(session.uniqueID) { return true }
        return session.children.contains { isChildNumber($0.uniqueID) }
    }

    /// Almost always the number is above all that were given here, and nobody has to be asked.
    private mutating func isChildNumber(_ number: UInt32) -> Bool {
        guard let highest = table.highestUniqueIDs.child[Int(number % 2)], number <= highest else { return false }
        if merge.taking?.newChildIDs.contains(number) == true { return true }
        let known = merge.taking?.childIDs ?? Set(table.sessions.values.flatMap { $0.children.map(\.uniqueID) })
        merge.taking?.childIDs = known
        return known.contains(number)
    }

    private mutating func noteNumbers(of session: Session) {
        merge.taking?.newIDs.insert(session.uniqueID)
        merge.taking?.newChildIDs.formUnion(session.children.map(\.uniqueID))
    }

    /// What a former life of the other node used is left behind, as what this one uses is (law 3): when that is on the disk, which may be
    /// all that is left.
    private mutating func take(_ spent: MergePage.SpentSlice, now: Now) {
        guard let session = table.session(inboundSPI: spent.inboundSPI) else { return }
        guard !state.reckons(with: spent.slice, of: spent.inboundSPI) else {
            return goPast(spent.slice, of: spent.inboundSPI, now: now)
        }
        state.claim(spent.slice, of: spent.inboundSPI, in: session.id)
    }

    private mutating func goPast(_ slice: UInt64, of spi: UInt32, now: Now) {
        guard let session = table.session(inboundSPI: spi), let child = session.child(inboundSPI: spi), child.lease.slice <= slice else {
            return
        }
        let lease = Lease(slice: slice).next(for: configuration.id)
        let delta = SessionDelta(session: session.id, changes: [.leased(inboundSPI: spi, lease: lease)])
        commit(IKEOutcome(deltas: [delta], session: session.id), now: now)
    }

    /// The disk has answered, or is not waited for any more (`isForced`).
    mutating func settleClaims(isForced: Bool = false, now: Now) {
        guard isOwner else { return state.dropClaims() }
        for (spi, slice) in state.claims.sorted(by: { $0.key < $1.key }) {
            guard isForced || state.reckons(with: slice, of: spi) else { continue }
            goPast(slice, of: spi, now: now)
            state.settleClaim(of: spi)
        }
        acknowledgeMergePages(now: now)
    }

    /// One that is kept for somebody whom nobody here knows, on an address that is nobody's here.
    private mutating func take(_ reservation: Reservation) {
        guard table.reservations[reservation.address] == nil, !table.isLeased(reservation.address),
            table.reservations.of(reservation.holder, in: reservation.pool) == nil,
            table.reservations.count(in: reservation.pool) < Reservations.perPoolMax
        else { return }
        if (try? table.replace(with: reservation)) == nil { counters.applyErrors += 1 }
    }
}

extension IKESA {
    /// This node went on in the IKE SA before it forgot it: its peer has used these IDs.
    fileprivate mutating func raise(past used: MessageIDs?) {
        guard let used else { return }
        nextSendID = max(nextSendID, used.send)
        nextReceiveID = max(nextReceiveID, used.receive)
        let (sent, received) = (used.send, nextReceiveID > receiveWindow ? nextReceiveID - receiveWindow : 0)
        pendingRequests.removeAll { $0.messageID < sent }
        responses.removeAll { $0.messageID < received }
    }
}
