import Cryptography
import Session
import Testing

@Suite struct SessionTableTests {
    private let one = SessionID(rawValue: 1)

    // MARK: Each change

    @Test func created_whenApplied_isFoundByEveryIndex() throws {
        let session = Sample.session(1)
        var table = SessionTable()
        let applied = try table.apply(1, .created(session))
        #expect(applied.before == nil && applied.after == session)
        #expect(table[one] == session)
        #expect(table.session(localSPI: 100) == session)
        #expect(table.session(inboundSPI: 10) == session)
        #expect(table.session(virtualAddress: address("10.9.0.1")) == session)
        #expect(table.sessions(remoteIdentity: Identity(text: "road.example")) == [session])
        #expect(table.count == 1 && table.childCount == 1 && table.withPendingRequest.isEmpty)
    }

    /// Whatever an identity is, it is found by what is shown of it, also together with others that are shown alike.
    @Test func identity_ofEachKind_isFoundByItsText() throws {
        let identities =
            ["a@b.example", "@a@b.example", "road.example", "CN=road.example", "10.0.0.1", "fd00::1"].map { Identity(text: $0) } + [
                Identity(kind: .fqdn, data: Array("10.0.0.1".utf8)), Identity(kind: .fqdn, data: []),
                Identity(kind: .ipv4Address, data: [1]),
                Identity(kind: .rfc822Address, data: Array("ä".utf8)), Identity(kind: .fqdn, data: Array("ö".utf8)),
                Identity(kind: .keyID, data: [0, 0xAB]), Identity(kind: .rfc822Address, data: Array("00ab".utf8)),
                Identity(kind: .derASN1GN, data: [0, 0xAB]), Identity(kind: .derASN1DN, data: [1]),
            ]
        var table = SessionTable()
        for (number, identity) in identities.enumerated() {
            var session = Sample.session(UInt64(number + 1))
            session.authorization.remoteIdentity = identity
            try table.apply(UInt64(number + 1), .created(session))
        }
        for identity in identities {
            let alike = table.sessions.values.filter { "\($0.authorization.remoteIdentity)" == "\(identity)" }.map(\.id).sorted()
            #expect(table.ids(remoteIdentityText: "\(identity)") == alike)
        }
        #expect(table.ids(remoteIdentityText: "00ab").count == 3 && table.ids(remoteIdentityText: "ä").isEmpty)
        for id in table.sessions.keys.sorted() { try table.apply(id.rawValue, .removed(reason: "test", at: 0)) }
        #expect(identities.allSatisfy { table.ids(remoteIdentityText: "\($0)").isEmpty })
    }

    @Test func removed_whenApplied_leavesNoTrace() throws {
        var table = try SessionTable(Sample.session(1))
        let applied = try table.apply(1, .requested(localSPI: 100, request: Sample.request), .removed(reason: "peer deleted it", at: 5))
        #expect(applied.before == Sample.session(1) && applied.after == nil)
        #expect(table.count == 0 && table.childCount == 0 && table.withPendingRequest.isEmpty)
        #expect(!table.isInUse(localSPI: 100) && !table.isInUse(inboundSPI: 10))
        #expect(table.session(virtualAddress: address("10.9.0.1")) == nil)
        #expect(table.sessions(remoteIdentity: Identity(text: "road.example")).isEmpty)
        // Everything may be used again.
        #expect(throws: Never.self) { try table.apply(1, .created(Sample.session(1))) }
    }

    @Test func answered_whenApplied_movesTheWindowAndKeepsTheResponse() throws {
        var table = try SessionTable(Sample.session(1))
        try table.apply(1, .answered(localSPI: 100, response: Sample.response))
        #expect(table[one]?.ikeSA.nextReceiveID == 3 && table[one]?.ikeSA.responses == [Sample.response])
    }

    @Test func requested_whenCompleted_isPendingOnlyBetween() throws {
        var table = try SessionTable(Sample.session(1))
        try table.apply(1, .requested(localSPI: 100, request: Sample.request))
        #expect(table[one]?.ikeSA.nextSendID == 1 && table[one]?.ikeSA.pendingRequests == [Sample.request])
        #expect(table.withPendingRequest == [one])
        try table.apply(1, .requestCompleted(localSPI: 100, messageID: 7))
        #expect(table.withPendingRequest == [one], "the answer to another request completes nothing")
        try table.apply(1, .requestCompleted(localSPI: 100, messageID: 0))
        #expect(table[one]?.ikeSA.pendingRequests.isEmpty == true && table.withPendingRequest.isEmpty)
        #expect(table[one]?.ikeSA.nextSendID == 1)
    }

    @Test func moved_whenApplied_changesTheEndpoints() throws {
        var table = try SessionTable(Sample.session(1))
        let (local, remote) = (Endpoint(address("192.0.2.2"), 4500), Endpoint(address("203.0.113.9"), 1025))
        try table.apply(1, .moved(local: local, remote: remote))
        #expect(table[one]?.local == local && table[one]?.remote == remote)
    }

    @Test func children_whenAddedRekeyedAndRemoved_moveTheIndex() throws {
        var table = try SessionTable(Sample.session(1))
        try table.apply(1, .childAdded(Sample.child(11)), .childRekeyed(inboundSPI: 10))
        #expect(table.childCount == 2 && table.session(inboundSPI: 11)?.id == one)
        #expect(table[one]?.children.map(\.isRekeyed) == [true, false])
        try table.apply(1, .childRemoved(inboundSPI: 10))
        #expect(table.childCount == 1 && !table.isInUse(inboundSPI: 10) && table.isInUse(inboundSPI: 11))
    }

    @Test func ikeSA_whenRekeyed_isFoundUnderBothSPIsUntilTheOldOneGoes() throws {
        var table = try SessionTable(Sample.session(1))
        try table.apply(1, .ikeSARekeyed(Sample.ikeSA(localSPI: 101, role: .initiator)))
        #expect(table.session(localSPI: 100)?.id == one && table.session(localSPI: 101)?.id == one)
        #expect(table[one]?.ikeSA.localSPI == 101 && table[one]?.otherIKESAs == [Sample.session(1).ikeSA])
        // The old IKE SA still answers under its own SPI.
        try table.apply(1, .answered(localSPI: 100, response: Sample.response))
        #expect(table[one]?.otherIKESAs.first?.nextReceiveID == 3 && table[one]?.ikeSA.nextReceiveID == 2)
        try table.apply(1, .ikeSARemoved(localSPI: 100))
        #expect(!table.isInUse(localSPI: 100) && table.isInUse(localSPI: 101))
        #expect(table[one]?.children == Sample.session(1).children)
    }

    @Test func ikeSA_whenRekeyedAgainAndAgain_forgetsTheOldest() throws {
        var table = try SessionTable(Sample.session(1))
        for spi: UInt64 in 101...104 { try table.apply(1, .ikeSARekeyed(Sample.ikeSA(localSPI: spi))) }
        #expect((100...104).map { table.isInUse(localSPI: $0) } == [false, true, true, true, true])
    }

    /// RFC 7296 §2.8.2: the peer's successor stands beside the current one until it is known which of the two lives on.
    @Test func ikeSA_whenAddedAndAdopted_changesPlaces() throws {
        var table = try SessionTable(Sample.session(1))
        let offer = PendingRequest(messageID: 0, purpose: .liveness, datagrams: [[1]])
        let collision = RekeyCollision(lowestNonce: [3], localSPI: 101)
        try table.apply(
            1, .requested(localSPI: 100, request: offer), .ikeSAAdded(Sample.ikeSA(localSPI: 101)),
            .collided(localSPI: 100, messageID: 0, collision: collision))
        #expect(table[one]?.ikeSA.localSPI == 100 && table[one]?.ikeSA.pendingRequests.first?.collision == collision)
        #expect(table.session(localSPI: 101)?.id == one)
        try table.apply(1, .ikeSAAdopted(localSPI: 101), .ikeSARemoved(localSPI: 100))
        #expect(table[one]?.ikeSA.localSPI == 101 && table[one]?.otherIKESAs.isEmpty == true && !table.isInUse(localSPI: 100))
        #expect(table.withPendingRequest.isEmpty)
    }

    /// RFC 7296 §2.3: with a window of 3 requests may be answered out of order, and each answer is kept for a whole window.
    @Test func window_aboveOne_movesPastWhatIsAnsweredWithoutAGap() throws {
        var session = Sample.session(1)
        session.ikeSA.receiveWindow = 3
        session.ikeSA.sendWindow = 2
        session.ikeSA.nextReceiveID = 0
        var table = try SessionTable(session)
        func answer(_ id: UInt32) throws {
            try table.apply(1, .answered(localSPI: 100, response: CachedResponse(messageID: id, requestDigest: [], datagrams: [])))
        }
        try answer(2)
        try answer(1)
        #expect(table[one]?.ikeSA.nextReceiveID == 0 && table[one]?.ikeSA.responses.map(\.messageID) == [1, 2])
        try answer(0)
        #expect(table[one]?.ikeSA.nextReceiveID == 3 && table[one]?.ikeSA.responses.count == 3)
        try answer(3)
        #expect(table[one]?.ikeSA.responses.map(\.messageID) == [1, 2, 3])
        for id: UInt32 in 0...1 {
            let request = PendingRequest(messageID: id, purpose: .liveness, datagrams: [])
            try table.apply(1, .requested(localSPI: 100, request: request))
        }
        #expect(throws: ApplyError.tooMany(session: one)) {
            try table.apply(1, .requested(localSPI: 100, request: PendingRequest(messageID: 2, purpose: .liveness, datagrams: [])))
        }
    }

    @Test func counters_whenApplied_onlyRise() throws {
        var table = try SessionTable(Sample.session(1))
        try table.apply(1, .leased(inboundSPI: 10, lease: Lease(slice: 2)), .inboundAdvanced(inboundSPI: 10, top: 50))
        #expect(table[one]?.children[0].lease == Lease(slice: 2) && table[one]?.children[0].inboundTop == 50)
        try table.apply(1, .leased(inboundSPI: 10, lease: Lease(slice: 2)), .inboundAdvanced(inboundSPI: 10, top: 50))
        #expect(throws: ApplyError.wentBackwards(session: one, inboundSPI: 10)) {
            try table.apply(1, .leased(inboundSPI: 10, lease: Lease(slice: 1)))
        }
        #expect(throws: ApplyError.wentBackwards(session: one, inboundSPI: 10)) {
            try table.apply(1, .inboundAdvanced(inboundSPI: 10, top: 49))
        }
    }

    // MARK: Each error, and that it leaves the table as it was

    private static let faults: [(change: [SessionChange], error: ApplyError)] = {
        let id = SessionID(rawValue: 1)
        let unknownSA = ApplyError.unknownIKESA(session: id, localSPI: 999)
        let unknownChild = ApplyError.unknownChildSA(session: id, inboundSPI: 999)
        return [
            ([.created(Sample.session(1))], .duplicateSession(id)),
            ([.removed(reason: "", at: 5), .moved(local: Sample.session(1).local, remote: Sample.session(1).remote)], .unknownSession(id)),
            ([.removed(reason: "", at: 5), .created(Sample.session(3))], .sessionMismatch(delta: id, created: SessionID(rawValue: 3))),
            ([.answered(localSPI: 999, response: Sample.response)], unknownSA),
            ([.requested(localSPI: 999, request: Sample.request)], unknownSA),
            ([.requestCompleted(localSPI: 999, messageID: 0)], unknownSA), ([.childRekeyed(inboundSPI: 999)], unknownChild),
            ([.childRemoved(inboundSPI: 999)], unknownChild), ([.leased(inboundSPI: 999, lease: Lease(slice: 9))], unknownChild),
            ([.inboundAdvanced(inboundSPI: 999, top: 9)], unknownChild),
            // SPIs of the other session, and of its own.
            ([.childAdded(Sample.child(20))], .spiInUse(20)), ([.childAdded(Sample.child(10))], .spiInUse(10)),
            ([.ikeSARekeyed(Sample.ikeSA(localSPI: 200))], .spiInUse(200)), ([.ikeSARekeyed(Sample.ikeSA(localSPI: 100))], .spiInUse(100)),
        ]
    }()

    @Test(arguments: faults.indices) func apply_whenOneChangeFails_changesNothing(index: Int) throws {
        let (changes, error) = SessionTableTests.faults[index]
        var table = try SessionTable(Sample.session(1), Sample.session(2))
        let before = table.sessions
        // Changes before the bad one must not stay either.
        let good: [SessionChange] = [
            .childAdded(Sample.child(15)), .requested(localSPI: 100, request: Sample.request), .inboundAdvanced(inboundSPI: 10, top: 99),
        ]
        #expect(throws: error) { try table.apply(SessionDelta(session: one, changes: good + changes)) }
        #expect(table.sessions == before)
        #expect(table.inconsistency(probing: [100, 200, 999], inboundSPIs: [10, 15, 20], identities: ["road.example"]) == nil)
        #expect(table.withPendingRequest.isEmpty && table.childCount == 2)
    }

    @Test func apply_whenSessionIsUnknown_throws() {
        var table = SessionTable()
        #expect(throws: ApplyError.unknownSession(one)) { try table.apply(1, .ikeSARemoved(localSPI: 1)) }
        #expect(table.count == 0)
    }

    @Test func created_whenAnotherHoldsItsSPIs_throws() throws {
        var table = try SessionTable(Sample.session(1))
        var other = Sample.session(2)
        other.ikeSA = Sample.ikeSA(localSPI: 100)
        #expect(throws: ApplyError.spiInUse(100)) { try table.apply(2, .created(other)) }
        other = Sample.session(2)
        other.children = [Sample.child(20), Sample.child(10)]
        #expect(throws: ApplyError.spiInUse(10)) { try table.apply(2, .created(other)) }
        #expect(throws: ApplyError.spiInUse(10)) { try table.replace(with: other) }
        #expect(!table.isInUse(inboundSPI: 20) && table.count == 1)
    }

    @Test func created_whenTheTableIsFull_throwsAndReplaceStillWorks() throws {
        var table = SessionTable(sessionCountMax: 2)
        for id in UInt64(1)...2 { try table.apply(id, .created(Sample.session(id))) }
        #expect(throws: ApplyError.tooManySessions(2)) { try table.apply(3, .created(Sample.session(3))) }
        var changed = Sample.session(2)
        changed.children.append(Sample.child(21))
        let applied = try table.replace(with: changed)
        #expect(applied?.before == Sample.session(2) && applied?.after == changed && table.childCount == 3)
        #expect(try table.replace(with: changed) == nil, "nothing is new")
    }

    @Test func replace_whenTheKnownSessionDiffers_dropsItsIndexes() throws {
        var table = try SessionTable(Sample.session(1))
        var fresh = Sample.session(1, identity: "other.example")
        fresh.ikeSA = Sample.ikeSA(localSPI: 150)
        fresh.children = [Sample.child(15)]
        fresh.virtualAddresses = []
        try table.replace(with: fresh)
        #expect(!table.isInUse(localSPI: 100) && !table.isInUse(inboundSPI: 10))
        #expect(table.session(virtualAddress: address("10.9.0.1")) == nil)
        let identities = ["road.example", "other.example"]
        #expect(table.inconsistency(probing: [100, 150], inboundSPIs: [10, 15], identities: identities) == nil)
    }
}

@Suite struct SessionTablePropertyTests {
    private let identities = ["a.example", "b.example"]

    /// The same deltas on both nodes: the same answers, the same state, and indexes that agree with it.
    @Test(arguments: 0..<10) func deltas_whenRandom_giveBothTablesTheSameAndKeepTheIndexesRight(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var (active, standby) = (SessionTable(), SessionTable())
        var (accepted, errors) = (0, Set<String>())
        for step in 0..<1500 {
            let delta = randomDelta(known: active, &generator)
            let before = active.sessions
            let (first, second) = (result(of: delta, on: &active), result(of: delta, on: &standby))
            #expect(first == second)
            switch first {
            case .success(let applied):
                accepted += 1
                #expect(applied.before == before[delta.session] && applied.after == active[delta.session])
            case .failure(let error):
                errors.insert(String(String(describing: error).prefix { $0 != "(" }))
                #expect(active.sessions == before)
            }
            if step % 10 == 0 {
                let fault = active.inconsistency(probing: 0..<24, inboundSPIs: 0..<24, identities: identities)
                #expect(fault == nil, "step \(step)")
            }
        }
        #expect(active.sessions == standby.sessions && active.withPendingRequest == standby.withPendingRequest)
        #expect(accepted > 300 && errors.count == 8, "\(accepted) accepted, \(errors)")
    }

    private func result(of delta: SessionDelta, on table: inout SessionTable) -> Result<AppliedDelta, ApplyError> {
        do { return .success(try table.apply(delta)) } catch { return .failure(error) }
    }

    /// SPIs from a small space, so that they collide.
    private func randomDelta(known table: SessionTable, _ generator: inout SeededGenerator) -> SessionDelta {
        let id = UInt64.random(in: 1...6, using: &generator)
        let count = Int.random(in: 1...3, using: &generator)
        let session = table[SessionID(rawValue: id)]
        let changes = (0..<count).map { _ in randomChange(id: id, session: session, &generator) }
        return SessionDelta(session: SessionID(rawValue: id), changes: changes)
    }

    private func randomChange(id: UInt64, session: Session?, _ generator: inout SeededGenerator) -> SessionChange {
        let anySPI = UInt64.random(in: 0..<24, using: &generator)
        let isKnown = Int.random(in: 0..<5, using: &generator) > 0
        let localSPI = isKnown ? session?.localSPIs.randomElement(using: &generator) ?? anySPI : anySPI
        let inboundSPI = isKnown ? session?.children.randomElement(using: &generator)?.inboundSPI ?? UInt32(anySPI) : UInt32(anySPI)
        let number = UInt64.random(in: 0..<40, using: &generator)
        let kind = session == nil ? 0 : Int.random(in: 0..<16, using: &generator)
        switch kind {
        case 0:
            let owner = Int.random(in: 0..<20, using: &generator) == 0 ? id + 1 : id
            var created = Sample.session(owner, identity: identities[Int(number) % 2])
            created.ikeSA = Sample.ikeSA(localSPI: anySPI)
            created.children = [Sample.child(UInt32(number % 24))]
            return .created(created)
        case 1: return number < 20 ? .removed(reason: "", at: 5) : .ikeSARemoved(localSPI: 1)
        case 2, 3: return .answered(localSPI: localSPI, response: Sample.response)
        case 4, 5: return .requested(localSPI: localSPI, request: Sample.request)
        case 6: return .requestCompleted(localSPI: localSPI, messageID: UInt32(number % 2))
        case 7: return .moved(local: session!.local, remote: Endpoint(address("203.0.113.1"), UInt16(number)))
        case 8, 9: return .childAdded(Sample.child(UInt32(anySPI)))
        case 10: return .childRekeyed(inboundSPI: inboundSPI)
        case 11: return .childRemoved(inboundSPI: inboundSPI)
        case 12: return .ikeSARekeyed(Sample.ikeSA(localSPI: anySPI, role: number % 2 == 0 ? .initiator : .responder))
        case 13: return .ikeSARemoved(localSPI: 1)
        case 14: return .leased(inboundSPI: inboundSPI, lease: Lease(slice: number))
        default: return .inboundAdvanced(inboundSPI: inboundSPI, top: number)
        }
    }
}
