import Cryptography
import IKEWire
public import Session

/// SAs that are old enough to be replaced, or to end (RFC 7296 §2.8).
extension IKEEngine {
    /// Looks at the session again when the first of its SAs is due. Said again with nothing changed, it does nothing.
    mutating func schedule(_ session: Session, context: IKEContext) {
        guard let wall = session.nextAppointment else { return }
        let now = context.now
        // A clock that was set back must not put anything off for ever: an hour at most, then it is looked at again.
        let wait = min(max(0, wall - now.wallMilliseconds), 3_600_000)
        let due = now.instant + .milliseconds(wait)
        if let known = appointments[session.id], known <= due { return }
        appointments[session.id] = due
        deadlines.insert(.lifetime(session.id), at: due)
    }

    /// Schedules the sessions that these deltas make or change, as they will be.
    mutating func schedule(_ outcome: IKEOutcome, table: SessionTable, context: IKEContext) {
        let now = context.now.instant
        if let session = outcome.session, !outcome.datagrams.isEmpty { noteOutboundTraffic(session: session, at: now) }
        for delta in outcome.deltas {
            let before = table[delta.session]
            if before == nil { synchronization.noteMade(delta.session) }
            guard before?.movingTo != nil || delta.changes.contains(where: { $0.concernsTime }) else { continue }
            let after: Session??
            if case .created(let session) = delta.changes.first {
                after = try? session.applying(Array(delta.changes.dropFirst()))
            } else {
                after = try? before?.applying(delta.changes)
            }
            guard let after = after ?? nil, !after.isArriving else { continue }
            schedule(after, context: context)
            checkPredecessor(of: after, table: table, context: context)
            keepMapping(after, at: now)
            keepMoving(after, at: now)
            keepRedirecting(after, at: now)
        }
    }

    mutating func lifetimeDue(_ id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let due = appointments[id], due <= context.now.instant else { return .nothing }
        appointments[id] = nil
        guard let session = table[id] else { return .nothing }
        let outcome = replaceWhatIsOld(session, table: table, context: context)
        let after = outcome.deltas.first.flatMap { try? session.applying($0.changes) } ?? session
        if let wish = waiting[id]?.first, outcome.isEmpty, state(of: wish, in: session) == .now {
            releaseWaiting(id, at: context.now.instant)
        }
        // What is under way, or waits, comes back here when it is done.
        scheduleAgain(after, context: context)
        return outcome
    }

    private mutating func scheduleAgain(_ session: Session, context: IKEContext) {
        guard let wall = session.nextAppointment else { return }
        if wall > context.now.wallMilliseconds {
            schedule(session, context: context)
        } else {
            let due = context.now.instant + configuration.limits.rekeyRetryTime
            appointments[session.id] = due
            deadlines.insert(.lifetime(session.id), at: due)
        }
    }

    /// The most urgent thing is begun; what else is due waits in line for the window.
    private mutating func replaceWhatIsOld(_ session: Session, table: SessionTable, context: IKEContext) -> IKEOutcome {
        let wall = context.now.wallMilliseconds
        func isDue(_ at: Int64?) -> Bool { at.map { $0 <= wall } ?? false }
        if isDue(session.reauthenticateAt) || isDue(session.ikeSA.lifetime.endsAt) {
            return want(.deleteIKESA, in: session, table: table, context: context)
        }
        if let order = session.redirects.order, isDue(order.endsAt) {
            return order.contextTransmitted
                ? endHandingOn(session, table: table, context: context) : want(.deleteIKESA, in: session, table: table, context: context)
        }
        var events: [IKEEvent] = []
        switch succession(of: session, table: table, context: context) {
        case .nothing: break
        case .asks(let event): events = [event]
        case .isComplete: return want(.deleteIKESA, in: session, table: table, context: context)
        }
        var wishes = session.children.filter { isDue($0.lifetime.endsAt) || $0.isExhausted }.map { Wish.deleteChildSA($0.inboundSPI) }
        if isDue(session.ikeSA.lifetime.rekeyAt) { wishes.append(.rekeyIKESA(group: nil)) }
        for child in session.children where !child.isRekeyed && (isDue(child.lifetime.rekeyAt) || child.isNearlyExhausted) {
            if !wishes.contains(.deleteChildSA(child.inboundSPI)) {
                wishes.append(.createChildSA(ChildWish(name: child.name, replacing: child.inboundSPI)))
            }
        }
        guard let first = wishes.first else { return events.isEmpty ? .nothing : IKEOutcome(events: events, session: session.id) }
        for wish in wishes.dropFirst() {
            let line = waiting[session.id] ?? []
            if !line.contains(wish), line.count < IKEEngine.wishesMax { waiting[session.id, default: []].append(wish) }
        }
        var outcome = want(first, in: session, table: table, context: context)
        outcome.events += events
        return outcome
    }

    // MARK: Numbers and volume

    /// The owner went to another slice with a CHILD SA of this session, which may be one of its last.
    public mutating func noteLeased(_ session: Session, context: IKEContext) {
        guard session.children.contains(where: { !$0.isRekeyed && $0.isNearlyExhausted }) else { return }
        schedule(session, context: context)
    }

    /// What went through a CHILD SA, both directions together, since it was said last. It is recorded, and so replicated, in steps of a
    /// part of the limits: a takeover forgets less than one step.
    public mutating func noteVolume(
        _ added: Volume, child inboundSPI: UInt32, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard let session = table.session(inboundSPI: inboundSPI), let child = session.child(inboundSPI: inboundSPI),
            child.volumeLimits != .unlimited
        else { return .nothing }
        let sum = (unrecorded[inboundSPI] ?? Volume()) + added
        guard child.volumeLimits.isWorthRecording(sum, since: child.volume) else {
            unrecorded[inboundSPI] = sum
            return .nothing
        }
        unrecorded[inboundSPI] = nil
        let change = SessionChange.volumeReached(inboundSPI: inboundSPI, volume: child.volume + sum)
        if let after = (try? session.applying([change])) ?? nil, let grown = after.child(inboundSPI: inboundSPI),
            grown.isNearlyExhausted || grown.isExhausted
        {
            appointments[session.id] = context.now.instant
            deadlines.insert(.lifetime(session.id), at: context.now.instant)
        }
        return IKEOutcome(deltas: [SessionDelta(session: session.id, changes: [change])], session: session.id)
    }
}

extension Volume {
    static func + (lhs: Volume, rhs: Volume) -> Volume {
        Volume(bytes: lhs.bytes &+ rhs.bytes, packets: lhs.packets &+ rhs.packets)
    }
}

extension VolumeLimits {
    /// Steps into which a limit is cut.
    private static let steps: UInt64 = 32

    fileprivate func isWorthRecording(_ sum: Volume, since known: Volume) -> Bool {
        func isWorth(_ added: UInt64, _ known: UInt64, _ limits: [UInt64?]) -> Bool {
            limits.compactMap { $0 }.contains { added >= max(1, $0 / VolumeLimits.steps) || (known < $0 && known &+ added >= $0) }
        }
        return isWorth(sum.bytes, known.bytes, [rekeyBytes, endBytes])
            || isWorth(sum.packets, known.packets, [rekeyPackets, endPackets])
    }
}

extension ChildSA {
    fileprivate func has(_ bytes: UInt64?, _ packets: UInt64?) -> Bool {
        (bytes.map { volume.bytes >= $0 } ?? false) || (packets.map { volume.packets >= $0 } ?? false)
    }

    /// Of the slices that an SA without ESN has, those after which it is replaced: each takeover and each restart takes some, and an SA
    /// that is at the end of them sends nothing (RFC 4303 §3.3.3).
    private static let slicesBeforeRekey = 3 * (UInt64(1) << 32 / Lease.size) / 4

    private var isNearlySpent: Bool { !algorithms.extendedSequenceNumbers && lease.slice >= ChildSA.slicesBeforeRekey }

    var isNearlyExhausted: Bool { has(volumeLimits.rekeyBytes, volumeLimits.rekeyPackets) || isNearlySpent }
    var isExhausted: Bool { has(volumeLimits.endBytes, volumeLimits.endPackets) }

    /// Chooses when a new CHILD SA will be replaced.
    mutating func setLimits(_ configured: ChildConfiguration, context: IKEContext) {
        lifetime = configured.lifetime.chosen(context)
        volumeLimits = VolumeLimits(
            rekeyBytes: configured.bytes.chosenRekey(context), endBytes: configured.bytes.end,
            rekeyPackets: configured.packets.chosenRekey(context), endPackets: configured.packets.end)
    }
}

extension LifetimeConfiguration {
    /// With the jitter taken off, from now on.
    func chosen(_ context: IKEContext) -> Lifetime {
        guard rekey != nil || end != nil else { return .unlimited }
        let now = context.now.wallMilliseconds
        func after(_ duration: Duration, minus random: Duration) -> Int64 {
            let span = UInt64(max(0, random.inNanoseconds / 1_000_000))
            let taken = span == 0 ? 0 : Int64(context.random.uint64() % (span + 1))
            return now + max(0, duration.inNanoseconds / 1_000_000 - taken)
        }
        return Lifetime(rekeyAt: rekey.map { after($0, minus: min(random, $0)) }, endsAt: end.map { after($0, minus: .zero) })
    }
}

extension VolumeConfiguration {
    fileprivate func chosenRekey(_ context: IKEContext) -> UInt64? {
        guard let rekey else { return nil }
        let span = min(random, rekey)
        return rekey - (span == 0 ? 0 : context.random.uint64() % (span + 1))
    }
}

extension Session {
    /// When the first of its SAs is due, in milliseconds since 1970.
    fileprivate var nextAppointment: Int64? {
        // Whoever was told to go has to go now.
        var all = [reauthenticateAt, reauthenticationBegins, redirectedTo.map { _ in 0 }, ikeSA.lifetime.rekeyAt, ikeSA.lifetime.endsAt]
        all.append(redirects.order?.endsAt)
        for child in children {
            if !child.isRekeyed { all.append(child.isNearlyExhausted ? 0 : child.lifetime.rekeyAt) }
            all.append(child.lifetime.endsAt)
        }
        return all.compactMap { $0 }.min()
    }
}

extension SessionChange {
    fileprivate var concernsTime: Bool {
        switch self {
        case .pathChanged, .movingSet, .created, .childAdded, .ikeSARekeyed, .ikeSAAdopted, .childLifetimeSet, .ikeLifetimeSet,
            .reauthenticationSet, .redirected, .redirectsSet, .merged:
            true
        default: false
        }
    }
}
