import Cryptography
import Session
import Testing

/// Two copies of one session, from the moment on at which they were the same.
@Suite struct SessionMergeTests {
    private typealias Copy = SessionMerge.Copy

    private static let session = Sample.session(1)

    private static func request(_ id: UInt32, _ purpose: PendingRequest.Purpose = .liveness, octet: UInt8 = 7) -> PendingRequest {
        PendingRequest(messageID: id, purpose: purpose, datagrams: [[octet]])
    }

    private static let offer = ChildOffer(
        name: "net", inboundSPI: 99, replacing: nil, nonce: [1], keyExchange: nil, localSelectors: [], remoteSelectors: [], mode: .tunnel)

    private static func response(_ id: UInt32, octet: UInt8 = 1) -> CachedResponse {
        CachedResponse(messageID: id, requestDigest: [octet], datagrams: [[octet]])
    }

    /// With what it was told and answered.
    private static func spoken(_ requests: UInt32, in session: Session = session) -> Session {
        var session = session
        session.ikeSA.nextReceiveID += requests
        session.ikeSA.responses = [response(session.ikeSA.nextReceiveID - 1)]
        return session
    }

    @Test func equalCopies_areTheSession() {
        let merge = SessionMerge(ours: Copy(Self.session, silence: nil), theirs: Copy(Self.session, silence: nil))
        #expect(merge.session == Self.session)
        #expect(!merge.isTheirs && merge.givenUp.isEmpty)
    }

    @Test func copyWithMoreOfThePeersRequests_isTheLaterOne_whateverTheTimes() {
        let later = Self.spoken(2)
        let theirs = SessionMerge(ours: Copy(Self.session, silence: .zero), theirs: Copy(later, silence: .seconds(60)))
        #expect(theirs.isTheirs && theirs.session == later)
        let ours = SessionMerge(ours: Copy(later, silence: .seconds(60)), theirs: Copy(Self.session, silence: .zero))
        #expect(!ours.isTheirs && ours.session == later)
    }

    @Test func addresses_comeFromWhereThePeerWasHeardLast() {
        var moved = Self.session
        moved.remote = Endpoint(address("198.51.100.8"), 4501)
        for (ours, theirs, isTheirs) in [
            (Duration?.some(.seconds(2)), Duration?.some(.seconds(1)), true), (.seconds(1), .seconds(2), false), (nil, .seconds(9), true),
            (.seconds(9), nil, false), (nil, nil, false), (.seconds(1), .seconds(1), false),
        ] {
            let merge = SessionMerge(ours: Copy(Self.session, silence: ours), theirs: Copy(moved, silence: theirs))
            #expect(merge.isTheirs == isTheirs)
            #expect(merge.session.remote == (isTheirs ? moved.remote : Self.session.remote))
        }
    }

    @Test func counters_goToTheHigherValues() {
        var (ours, theirs) = (Self.session, Self.session)
        (ours.children[0].inboundTop, theirs.children[0].inboundTop) = (5, 9)
        (ours.children[0].lease, theirs.children[0].lease) = (Lease(slice: 40), Lease(slice: 7))
        theirs.children[0].isRekeyed = true
        ours.children[0].volume = Volume(bytes: 10, packets: 1)
        theirs.children[0].volume = Volume(bytes: 5, packets: 3)
        let child = SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil)).session.children[0]
        #expect(child.inboundTop == 9 && child.lease == Lease(slice: 40) && child.isRekeyed)
        #expect(child.volume == Volume(bytes: 10, packets: 3))
    }

    // MARK: - What was made, and what ended

    @Test func childrenOfBothSides_areThere() {
        var (ours, theirs) = (Self.session, Self.session)
        ours.children.append(Sample.child(77))
        theirs.children.append(Sample.child(88))
        let merge = SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: .seconds(1)))
        #expect(Set(merge.session.children.map(\.inboundSPI)) == [10, 77, 88])
    }

    @Test func childThatEndedOnEitherSide_isGone() {
        var less = Self.session
        less.children = []
        let gone = SessionMerge.Gone(children: [10])
        let byThem = SessionMerge(ours: Copy(Self.session, silence: .zero), theirs: Copy(less, silence: nil, gone: gone))
        #expect(byThem.session.children.isEmpty)
        let byUs = SessionMerge(ours: Copy(less, silence: nil, gone: gone), theirs: Copy(Self.session, silence: .zero))
        #expect(byUs.session.children.isEmpty)
    }

    @Test func twoAnswersToOneRequest_areOneChild_andPacketsSayWhich() {
        var (ours, theirs) = (Self.session, Self.session)
        var (mine, its) = (Sample.child(77), Sample.child(88))
        its.outboundSPI = mine.outboundSPI
        ours.children.append(mine)
        theirs.children.append(its)
        #expect(SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil)).session.children[1].inboundSPI == 77)
        #expect(SessionMerge(ours: Copy(ours, silence: nil), theirs: Copy(theirs, silence: .zero)).session.children[1].inboundSPI == 88)
        theirs.children[1].inboundTop = 1
        #expect(SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil)).session.children[1].inboundSPI == 88)
        mine.inboundTop = 1
        ours.children[1] = mine
        #expect(SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil)).session.children.count == 2)
    }

    // MARK: - IKE SAs

    @Test func ikeSAThatReplacedTheOther_isTheCurrentOne_whateverTheTimes() {
        var rekeyed = Self.session
        rekeyed.otherIKESAs = [rekeyed.ikeSA]
        rekeyed.ikeSA = Sample.ikeSA(localSPI: 500)
        let theirs = SessionMerge(ours: Copy(Self.spoken(1), silence: .zero), theirs: Copy(rekeyed, silence: nil))
        #expect(theirs.isTheirs && theirs.session.localSPIs == [500, 100])
        #expect(theirs.session.otherIKESAs[0].nextReceiveID == Self.session.ikeSA.nextReceiveID + 1)
        rekeyed.otherIKESAs = []
        let gone = SessionMerge.Gone(ikeSAs: [100])
        let deleted = SessionMerge(ours: Copy(Self.spoken(1), silence: .zero), theirs: Copy(rekeyed, silence: nil, gone: gone))
        #expect(deleted.isTheirs && deleted.session.localSPIs == [500])
        let ours = SessionMerge(ours: Copy(rekeyed, silence: nil, gone: gone), theirs: Copy(Self.spoken(1), silence: .zero))
        #expect(!ours.isTheirs && ours.session.localSPIs == [500])
    }

    /// The DELETE of the whole session, or of a CHILD SA, is wanted in the new IKE SA as well; that of an SA that was replaced here too is not.
    @Test(arguments: [PendingRequest.Purpose.deleteIKESA, .deleteChildSA(10)])
    func whatWasToEnd_whenTheIKESAWasReplacedAtTheOther_isToEndAnew(purpose: PendingRequest.Purpose) {
        let request = Self.request(Self.session.ikeSA.nextSendID, purpose)
        var (ending, rekeyed, done) = (Self.session, Self.session, Self.session)
        ending.ikeSA.pendingRequests = [request]
        ending.ikeSA.nextSendID += 1
        rekeyed.ikeSA = Sample.ikeSA(localSPI: 500)
        let gone = SessionMerge.Gone(ikeSAs: [100])
        let wanted = SessionMerge(ours: Copy(ending, silence: .zero), theirs: Copy(rekeyed, silence: nil, gone: gone))
        #expect(wanted.session.localSPIs == [500] && wanted.givenUp == [request])
        done.ikeSA = rekeyed.ikeSA
        done.otherIKESAs = [ending.ikeSA]
        #expect(SessionMerge(ours: Copy(done, silence: .zero), theirs: Copy(rekeyed, silence: nil)).givenUp.isEmpty)
    }

    @Test func ikeSAsThatBothMade_standBesideEachOther_theLaterOneIsCurrent() {
        var (ours, theirs) = (Self.session, Self.session)
        ours.ikeSA = Sample.ikeSA(localSPI: 500)
        theirs.ikeSA = Sample.ikeSA(localSPI: 600)
        let gone = SessionMerge.Gone(ikeSAs: [100])
        let merge = SessionMerge(ours: Copy(ours, silence: .seconds(2), gone: gone), theirs: Copy(theirs, silence: .seconds(1), gone: gone))
        #expect(merge.session.localSPIs == [600, 500])
    }

    @Test func responses_areOfTheWindowThatCounts() {
        var (ours, theirs) = (Self.session, Self.session)
        for (index, octet) in [(0, UInt8(1)), (1, UInt8(2))] {
            var sa = index == 0 ? ours.ikeSA : theirs.ikeSA
            (sa.receiveWindow, sa.nextReceiveID) = (4, 5)
            sa.responses = [Self.response(4, octet: octet)] + (index == 1 ? [Self.response(5, octet: octet)] : [])
            if index == 0 { ours.ikeSA = sa } else { theirs.ikeSA = sa }
        }
        let sa = SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil)).session.ikeSA
        #expect(sa.nextReceiveID == 6)
        #expect(sa.responses == [Self.response(4, octet: 1), Self.response(5, octet: 2)])
    }

    // MARK: - Requests of ours

    @Test func requestWhoseIDTheOtherSideHasNotUsed_staysOpen() {
        var theirs = Self.session
        theirs.ikeSA.nextSendID = 1
        theirs.ikeSA.pendingRequests = [Self.request(0)]
        for silence in [Duration?.none, .zero] {
            let merge = SessionMerge(ours: Copy(Self.session, silence: .seconds(1)), theirs: Copy(theirs, silence: silence))
            #expect(merge.session.ikeSA.pendingRequests == [Self.request(0)] && merge.session.ikeSA.nextSendID == 1)
            #expect(merge.givenUp.isEmpty)
        }
    }

    @Test func requestWhoseIDTheOtherSideUsed_isGivenUp() {
        var (ours, theirs) = (Self.session, Self.session)
        ours.ikeSA.nextSendID = 1
        ours.ikeSA.pendingRequests = [Self.request(0, .deleteChildSA(10))]
        theirs.ikeSA.nextSendID = 2
        theirs.ikeSA.pendingRequests = [Self.request(1, .deleteIKESA)]
        for (mine, its) in [(Duration.zero, Duration.seconds(1)), (.seconds(1), .zero)] {
            let merge = SessionMerge(ours: Copy(ours, silence: mine), theirs: Copy(theirs, silence: its))
            #expect(merge.session.ikeSA.pendingRequests == [Self.request(1, .deleteIKESA)] && merge.session.ikeSA.nextSendID == 2)
            #expect(merge.givenUp == [Self.request(0, .deleteChildSA(10))])
        }
    }

    @Test func twoRequestsWithOneID_areTheLaterSides() {
        var (ours, theirs) = (Self.session, Self.session)
        ours.ikeSA.nextSendID = 1
        ours.ikeSA.pendingRequests = [Self.request(0, octet: 1)]
        theirs.ikeSA.nextSendID = 1
        theirs.ikeSA.pendingRequests = [Self.request(0, .createChildSA(Self.offer), octet: 2)]
        let merge = SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil))
        #expect(merge.session.ikeSA.pendingRequests == [Self.request(0, octet: 1)])
        #expect(merge.givenUp == [Self.request(0, .createChildSA(Self.offer), octet: 2)])
    }

    /// A peer answers the one that it took, and no other under that ID.
    @Test func twoSimpleRequestsWithOneID_waitTogether() {
        var (ours, theirs) = (Self.session, Self.session)
        ours.ikeSA.nextSendID = 1
        ours.ikeSA.pendingRequests = [Self.request(0, octet: 1)]
        theirs.ikeSA.nextSendID = 1
        theirs.ikeSA.pendingRequests = [Self.request(0, octet: 2)]
        let both = PendingRequest(messageID: 0, purpose: .liveness, datagrams: [[1], [2]])
        let same = SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil))
        #expect(same.session.ikeSA.pendingRequests == [both])
        #expect(same.givenUp.isEmpty)
        theirs.ikeSA.pendingRequests = [Self.request(0, .deleteChildSA(10), octet: 2)]
        let different = SessionMerge(ours: Copy(ours, silence: .zero), theirs: Copy(theirs, silence: nil))
        #expect(different.session.ikeSA.pendingRequests == [both])
        #expect(different.givenUp == [Self.request(0, .deleteChildSA(10), octet: 2)])
    }

    // MARK: - One way to change state

    @Test func mergedDelta_takesTheSessionsPlace_withItsIndexes() throws {
        var table = SessionTable()
        try table.apply(SessionDelta(session: Self.session.id, changes: [.created(Self.session)]))
        var merged = Self.session
        merged.otherIKESAs = [merged.ikeSA]
        merged.ikeSA = Sample.ikeSA(localSPI: 500)
        merged.children = [Sample.child(88)]
        try table.apply(SessionDelta(session: merged.id, changes: [.merged(merged)]))
        #expect(table[merged.id] == merged)
        #expect(table.isInUse(localSPI: 500) && table.isInUse(localSPI: 100))
        #expect(table.isInUse(inboundSPI: 88) && !table.isInUse(inboundSPI: 10))
        #expect(table.childCount == 1)
        #expect(throws: ApplyError.unknownSession(SessionID(rawValue: 9))) {
            try table.apply(SessionDelta(session: SessionID(rawValue: 9), changes: [.merged(Sample.session(9))]))
        }
        #expect(throws: ApplyError.sessionMismatch(delta: merged.id, created: SessionID(rawValue: 9))) {
            try table.apply(SessionDelta(session: merged.id, changes: [.merged(Sample.session(9))]))
        }
    }
}
