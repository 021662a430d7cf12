import Cryptography
import Session
import Testing

@Suite struct ReservationTests {
    private static func session(_ id: UInt64, _ identity: String, _ text: String, persistent: Bool = true) -> Session {
        var session = Sample.session(id, identity: identity)
        session.virtualAddresses = [VirtualAddress(pool: "rw", address: address(text), isPersistent: persistent)]
        return session
    }

    private func holder(_ identity: String) -> LeaseHolder {
        LeaseHolder(connection: Sample.session(1).authorization.connection, identity: Identity(text: identity))
    }

    @Test func removal_ofAPersistentLease_leavesAReservationSinceTheDeltasTime() throws {
        var table = try SessionTable(ReservationTests.session(1, "a", "10.9.0.1"))
        #expect(table.reservations[address("10.9.0.1")]?.offlineSince == nil && table.reservations.count == 1)
        // Whatever else happens to the session says nothing about it.
        let session = try #require(table[SessionID(rawValue: 1)])
        try table.apply(1, .moved(local: session.local, remote: Endpoint(address("198.51.100.9"), 4500)))
        try table.apply(1, .removed(reason: "", at: 77))
        let expected = Reservation(holder: holder("a"), pool: "rw", address: address("10.9.0.1"), offlineSince: 77)
        #expect(table.reservations.all == [expected] && !table.isLeased(address("10.9.0.1")))
        try table.apply(2, .created(ReservationTests.session(2, "a", "10.9.0.1")))
        #expect(table.reservations[address("10.9.0.1")]?.offlineSince == nil)
    }

    @Test func creation_withAnothersAddress_takesTheReservationOver() throws {
        var table = try SessionTable(ReservationTests.session(1, "a", "10.9.0.1"))
        try table.apply(1, .removed(reason: "", at: 77))
        try table.apply(2, .created(ReservationTests.session(2, "b", "10.9.0.1")))
        #expect(table.reservations.all.map(\.holder) == [holder("b")])
        // An identity has one address of a pool.
        try table.apply(3, .created(ReservationTests.session(3, "b", "10.9.0.3")))
        #expect(table.reservations.all.map(\.address) == [address("10.9.0.3")])
        try table.apply(4, .created(ReservationTests.session(4, "c", "10.9.0.3", persistent: false)))
        #expect(table.reservations.count == 0)
    }

    /// Another connection may believe the same name for other reasons.
    @Test func creation_withTheSameNameInAnotherConnection_isAnothersReservation() throws {
        var table = try SessionTable(ReservationTests.session(1, "a", "10.9.0.1"))
        var other = ReservationTests.session(2, "a", "10.9.0.2")
        other.authorization.connection = "guests"
        try table.apply(2, .created(other))
        #expect(table.reservations.of(holder("a"), in: "rw")?.address == address("10.9.0.1"))
        #expect(table.reservations.of(other.leaseHolder, in: "rw")?.address == address("10.9.0.2"))
        try table.apply(2, .removed(reason: "", at: 77))
        #expect(table.reservations[address("10.9.0.1")]?.offlineSince == nil)
        #expect(table.reservations[address("10.9.0.2")]?.offlineSince == 77)
    }

    /// The new session of a peer may come before the old one goes.
    @Test func removal_ofASessionWhoseAddressIsAnothersByNow_changesNothing() throws {
        var table = try SessionTable(ReservationTests.session(1, "a", "10.9.0.1"), ReservationTests.session(2, "a", "10.9.0.1"))
        try table.apply(1, .removed(reason: "", at: 77))
        #expect(table.reservations[address("10.9.0.1")]?.offlineSince == nil)
        #expect(table.isLeased(address("10.9.0.1")))
    }

    @Test func apply_thatThrows_leavesReservationsAsTheyWere() throws {
        var table = try SessionTable(ReservationTests.session(1, "a", "10.9.0.1"))
        let before = table.reservations
        #expect(throws: ApplyError.self) { try table.apply(1, .removed(reason: "", at: 5), .created(Sample.session(3))) }
        var rival = ReservationTests.session(9, "b", "10.9.0.1")
        rival.children[0].inboundSPI = 10
        #expect(throws: ApplyError.self) { try table.apply(9, .created(rival)) }
        #expect(table.reservations == before)
    }
}
