import Cryptography
import Pair
import Session
import Testing

@Suite struct ReplicationTests {
    /// An active and a standby joined by a pipe that keeps order; frames wait in it until they are carried.
    struct Wire {
        var active = SessionTable()
        var standby = SessionTable()
        var sender = ReplicationSender(now: at(0))
        var receiver = ReplicationReceiver()
        var toStandby: [PairFrame] = []

        mutating func begin() { toStandby += sender.begin(table: active, epoch: 2, at: at(0)) }

        mutating func apply(_ delta: SessionDelta) throws {
            try active.apply(delta)
            if let frame = sender.append(.delta(delta)).frame { toStandby.append(frame) }
        }

        /// Carries at most `count` frames, with the standby's answers.
        mutating func carry(_ count: Int = .max) throws {
            for _ in 0..<count {
                guard !toStandby.isEmpty else { return }
                switch toStandby.removeFirst() {
                case .snapshotBegin(let begin): _ = try receiver.begin(begin, table: &standby, epoch: 2)
                case .snapshotPage(let page, let reservations):
                    _ = try receiver.page(page, reservations: reservations, table: &standby)
                    toStandby += sender.pageTaken(table: active, at: at(1))
                case .snapshotEnd:
                    _ = try receiver.end(table: &standby)
                    toStandby += sender.pageTaken(table: active, at: at(1))
                case .entry(let index, let entry):
                    _ = try receiver.entry(index: index, entry, table: &standby)
                    #expect(sender.acknowledge(index, at: at(1)) == true)
                default: Issue.record("an unexpected frame")
                }
            }
        }
    }

    @Test func snapshot_ofAnEmptyTable_pairsAtOnce() throws {
        var wire = Wire()
        wire.begin()
        #expect(wire.sender.pairState == .syncing)
        try wire.carry()
        #expect(wire.sender.pairState == .paired)
        #expect(wire.receiver.isInStep)
    }

    /// A standby that takes sessions from its disk meanwhile: what the active does not know does not stay, nor does its address.
    @Test func snapshot_besideSessionsFromElsewhere_endsWithTheActivesTable() throws {
        var wire = Wire()
        for id in UInt64(1)...3 { try wire.apply(SessionDelta(session: SessionID(rawValue: id), changes: [.created(makeSession(id))])) }
        wire.begin()
        guard case .snapshotBegin(let begin) = wire.toStandby.removeFirst() else {
            Issue.record("no beginning")
            return
        }
        _ = try wire.receiver.begin(begin, table: &wire.standby, epoch: 2, othersMayCome: true)
        var other = makeSession(9)
        other.virtualAddresses = [VirtualAddress(pool: "road", address: IPAddress("10.20.0.9")!, isPersistent: true)]
        try wire.standby.apply(SessionDelta(session: other.id, changes: [.created(other)]))
        try wire.carry()
        #expect(wire.standby.sessions == wire.active.sessions && wire.standby.count == 3)
        #expect(wire.standby.reservations == wire.active.reservations)
    }

    @Test func snapshot_whileEverythingChanges_endsWithTheSameTable() throws {
        var seed: UInt64 = 1
        func random(_ bound: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((seed >> 33) % UInt64(bound))
        }
        for _ in 0..<20 {
            var wire = Wire()
            var next: UInt64 = 0
            for _ in 0..<(random(600) + 1) {
                next += UInt64(random(3)) + 1
                try wire.active.apply(SessionDelta(session: SessionID(rawValue: next), changes: [.created(makeSession(next))]))
            }
            // The standby still holds something that ended meanwhile, and an old state of something else.
            try wire.standby.apply(SessionDelta(session: SessionID(rawValue: 999_999), changes: [.created(makeSession(999_999))]))
            wire.begin()
            for _ in 0..<400 {
                let ids = wire.active.sessions.keys.sorted()
                switch random(3) {
                case 0:
                    next += 1
                    try wire.apply(SessionDelta(session: SessionID(rawValue: next), changes: [.created(makeSession(next))]))
                case 1 where !ids.isEmpty:
                    try wire.apply(SessionDelta(session: ids[random(ids.count)], changes: [.removed(reason: "test", at: 5)]))
                default:
                    guard !ids.isEmpty else { break }
                    let session = wire.active[ids[random(ids.count)]]!
                    let remote = Endpoint(session.remote.address, session.remote.port &+ 1)
                    try wire.apply(SessionDelta(session: session.id, changes: [.moved(local: session.local, remote: remote)]))
                }
                try wire.carry(random(3))
            }
            try wire.carry()
            #expect(wire.sender.pairState == .paired)
            #expect(wire.standby.sessions == wire.active.sessions)
            #expect(wire.sender.lag == 0)
        }
    }

    /// More than one page of them, while sessions with persistent leases come and go.
    @Test func snapshot_withReservations_endsWithTheSameOnes() throws {
        func session(_ id: UInt64, _ identity: UInt64) -> Session {
            var session = makeSession(id)
            session.authorization.remoteIdentity = Identity(text: "u\(identity)")
            session.virtualAddresses = [
                VirtualAddress(pool: "road", address: IPAddress(v4: 0x0A14_0000 + UInt32(identity)), isPersistent: true)
            ]
            return session
        }
        var wire = Wire()
        func created(_ id: UInt64, _ identity: UInt64) -> SessionDelta {
            SessionDelta(session: SessionID(rawValue: id), changes: [.created(session(id, identity))])
        }
        func removed(_ id: UInt64, at: Int64) -> SessionDelta {
            SessionDelta(session: SessionID(rawValue: id), changes: [.removed(reason: "test", at: at)])
        }
        let count = UInt64(3 * PairProtocol.snapshotPageReservationsMax)
        for id in 1...count {
            try wire.active.apply(created(id, id))
            if id % 4 != 0 { try wire.active.apply(removed(id, at: Int64(id))) }
        }
        // What the standby remembers of before: a session that is over, and one that another identity has the address of by now.
        try wire.standby.apply(created(4 * count, 1))
        try wire.standby.apply(created(4 * count + 1, count + 7))
        try wire.standby.apply(removed(4 * count + 1, at: 1))
        wire.begin()
        var next = 2 * count
        for step in 0..<count {
            switch step % 3 {
            case 0:
                // Back again, or new, while the pages are on their way.
                next += 1
                let identity = 1 + (step * 7) % (count + 5)
                if wire.active.session(virtualAddress: IPAddress(v4: 0x0A14_0000 + UInt32(identity))) == nil {
                    try wire.apply(created(next, identity))
                }
            case 1:
                if let id = wire.active.sessions.keys.sorted().dropFirst(Int(step % 50)).first {
                    try wire.apply(removed(id.rawValue, at: 9))
                }
            default: try wire.carry(1)
            }
        }
        try wire.carry()
        #expect(wire.sender.pairState == .paired)
        #expect(wire.standby.sessions == wire.active.sessions)
        #expect(wire.standby.reservations == wire.active.reservations)
        #expect(wire.active.reservations.all.count { $0.offlineSince != nil } > PairProtocol.snapshotPageReservationsMax)
    }

    @Test func acknowledge_ofWhatWasNotSent_isRefused() {
        var sender = ReplicationSender(now: at(0))
        sender.beginInStep(at: at(0))
        #expect(sender.acknowledge(1, at: at(1)) == false)
        #expect(sender.append(.replay([])).index == 1)
        #expect(sender.lag == 1)
        #expect(sender.acknowledge(1, at: at(1)) == true)
        #expect(sender.isInStep)
        #expect(sender.acknowledge(2, at: at(1)) == false)
    }

    /// A snapshot begins on the same link while acknowledgements of what was sent before are still under way.
    @Test func acknowledge_fromBeforeTheSnapshot_isNotTakenForOneOfANewEntry() {
        var sender = ReplicationSender(now: at(0))
        sender.beginInStep(at: at(0))
        for _ in 0..<3 { _ = sender.append(.replay([])) }
        sender.goSolo(.standbyLeft, at: at(1))
        #expect(sender.lag == 0)
        let frames = sender.begin(table: SessionTable(), epoch: 2, at: at(2))
        #expect(frames.first == .snapshotBegin(SnapshotBegin(epoch: 2, sessionCount: 0, nextIndex: 4)))
        #expect(sender.append(.replay([])).index == 4)
        #expect(sender.acknowledge(3, at: at(3)) == true)
        #expect(sender.lag == 1)
        #expect(sender.acknowledge(4, at: at(3)) == true)
        #expect(sender.lag == 0)
    }

    /// Counted, not kept: the log ends long before memory does, and what comes after it is a snapshot, whatever was missed.
    @Test func standby_gigabytesBehind_isGivenUpAfterABoundedLog_andBeginsWithASnapshot() {
        var sender = ReplicationSender(now: at(0))
        sender.beginInStep(at: at(0))
        let entry = LogEntry.replay((1...PairProtocol.replayReportsMax).map { ReplayReport(inboundSPI: UInt32($0), top: 1 << 60) })
        let size = PairFrameCodec.encode(.entry(index: 1 << 40, entry)).count
        var octets = 0
        while !sender.isOverrun, octets < 8 << 30 {
            #expect(sender.append(entry).frame != nil)
            octets += size
        }
        #expect(sender.isOverrun && octets > 2 << 30)
        #expect(sender.lag == ReplicationSender.unacknowledgedMax + 1)
        sender.goSolo(.standbyTooSlow, at: at(1))
        let next = sender.nextIndex
        for _ in 0..<100_000 where sender.append(entry).frame != nil { Issue.record("something is sent to a standby that was given up") }
        #expect(sender.nextIndex == next && sender.lag == 0 && !sender.holdsReplies)
        let frames = sender.begin(table: SessionTable(), epoch: 2, at: at(2))
        #expect(frames.first == .snapshotBegin(SnapshotBegin(epoch: 2, sessionCount: 0, nextIndex: next)))
    }

    @Test func commitTimeout_isVisiblySolo_untilTheStandbyHasCaughtUp() {
        var sender = ReplicationSender(now: at(0))
        sender.beginInStep(at: at(0))
        _ = sender.append(.replay([]))
        _ = sender.append(.replay([]))
        sender.commitTimedOut(at: at(20))
        #expect(sender.pairState == .solo(reason: .commitTimeout))
        #expect(sender.holdsReplies == false)
        _ = sender.acknowledge(1, at: at(30))
        #expect(sender.pairState == .solo(reason: .commitTimeout))
        _ = sender.acknowledge(2, at: at(31))
        #expect(sender.pairState == .paired)
    }

    @Test func entry_outOfOrder_isAGap() throws {
        var receiver = ReplicationReceiver()
        var table = SessionTable()
        receiver.continueInStep()
        _ = try receiver.entry(index: 1, .replay([]), table: &table)
        #expect(throws: ReplicationError.gap(expected: 2, received: 3)) { try receiver.entry(index: 3, .replay([]), table: &table) }
        #expect(throws: ReplicationError.gap(expected: 2, received: 1)) { try receiver.entry(index: 1, .replay([]), table: &table) }
    }

    @Test func entry_thatDoesNotFit_makesTheNextSnapshotStartFromNothing() throws {
        var receiver = ReplicationReceiver()
        var table = SessionTable()
        try table.apply(SessionDelta(session: SessionID(rawValue: 1), changes: [.created(makeSession(1))]))
        receiver.continueInStep()
        let bad = SessionDelta(session: SessionID(rawValue: 5), changes: [.ikeSARemoved(localSPI: 9)])
        #expect(throws: ReplicationError.cannotApply(.unknownSession(SessionID(rawValue: 5)))) {
            try receiver.entry(index: 1, .delta(bad), table: &table)
        }
        #expect(receiver.isInStep == false)
        let removed = try receiver.begin(SnapshotBegin(epoch: 2, sessionCount: 0, nextIndex: 1), table: &table, epoch: 2)
        #expect(removed.count == 1)
        #expect(table.count == 0)
    }

    @Test func snapshot_ofAnOlderEpoch_isRefused() {
        var receiver = ReplicationReceiver()
        var table = SessionTable()
        #expect(throws: ReplicationError.olderEpoch(received: 3, known: 4)) {
            try receiver.begin(SnapshotBegin(epoch: 3, sessionCount: 0, nextIndex: 1), table: &table, epoch: 4)
        }
    }
}

/// A session with one CHILD SA; everything in it follows from the number.
func makeSession(_ number: UInt64) -> Session {
    let key = SecretBytes(Array(repeating: UInt8(truncatingIfNeeded: number), count: 20))
    let keys = DirectionKeys(encryption: key, integrity: .empty)
    let selector = TrafficSelector(host: IPAddress(v4: 0x0A14_0000 + UInt32(truncatingIfNeeded: number)))
    let child = ChildSA(
        inboundSPI: 0x1000 + UInt32(truncatingIfNeeded: number), outboundSPI: 0x2000 + UInt32(truncatingIfNeeded: number), name: "net",
        uniqueID: UInt32(truncatingIfNeeded: number),
        algorithms: ESPAlgorithms(
            cipher: Cipher(.aesGCM16, keyBits: 128), integrity: nil, extendedSequenceNumbers: false, keyExchangeGroup: nil),
        inboundKeys: keys, outboundKeys: keys, mode: .tunnel, localSelectors: [selector], remoteSelectors: [selector], lease: .initial,
        establishedWallMilliseconds: 1000)
    let ikeSA = IKESA(
        spis: IKESPIs(initiator: number, responder: number), role: .responder,
        algorithms: IKEAlgorithms(cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, prf: .hmacSHA384, keyExchangeGroup: .ecp384),
        keys: IKEKeys(derivation: key, initiator: keys, responder: keys), nextSendID: 0, nextReceiveID: 2, establishedWallMilliseconds: 1000
    )
    let identity = Identity(text: "client\(number).example.net")
    return Session(
        id: SessionID(rawValue: number), uniqueID: UInt32(truncatingIfNeeded: number),
        authorization: PeerAuthorization(
            connection: "road", localIdentity: Identity(text: "gw.example.net"), remoteIdentity: identity, method: .preSharedKey),
        capabilities: [], local: Endpoint(IPAddress("192.0.2.10")!, 4500), remote: Endpoint(IPAddress("192.0.2.100")!, 4500),
        encapsulation: true, localBehindNAT: false, remoteBehindNAT: true, ikeSA: ikeSA, children: [child],
        establishedWallMilliseconds: 1000)
}
