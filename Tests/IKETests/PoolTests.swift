import Cryptography
import Session
import Testing

@testable import IKE

/// Address pools: order, persistence, halves, and what a node that is alone may lease.
@Suite struct PoolTests {
    /// One node's view, with a table in which sessions come and go.
    final class Desk {
        var node = NodeID.zero
        var isAlone = false
        var wall: Int64 = 1_000_000
        var table = SessionTable()
        var cursors = PoolCursors()
        var aloneness = Aloneness()
        private var next: UInt64 = 0

        init(node: NodeID = .zero) { self.node = node }

        func lease(
            _ identity: String, _ pool: PoolConfiguration, requested: String? = nil, leaving: Set<IPAddress> = [],
            connection: String = "road"
        ) -> VirtualAddress? {
            let request = LeaseRequest(
                holder: LeaseHolder(connection: connection, identity: Identity(text: identity)),
                requested: requested.flatMap { IPAddress($0) }, leaving: leaving, node: node, isAlone: isAlone, wallMilliseconds: wall)
            let lease = cursors.lease(from: pool, for: request, table: table, aloneness: aloneness)
            if isAlone, let lease { aloneness.noteLease(lease.address) }
            return lease
        }

        /// A session with what was leased; `nil` if nothing was.
        func arrive(
            _ identity: String, _ pool: PoolConfiguration, requested: String? = nil, connection: String = "road"
        ) -> (SessionID, VirtualAddress)? {
            guard let lease = lease(identity, pool, requested: requested, connection: connection) else { return nil }
            next += 1
            let id = SessionID(rawValue: UInt64(node.rawValue) << 63 | next)
            var session = PoolTests.sample
            session.id = id
            session.ikeSA.spis.responder = id.rawValue
            session.authorization.remoteIdentity = Identity(text: identity)
            session.authorization.connection = connection
            session.virtualAddresses = [lease]
            #expect(throws: Never.self) { try table.apply(SessionDelta(session: id, changes: [.created(session)])) }
            return (id, lease)
        }

        func leave(_ id: SessionID) {
            let session = table[id]
            #expect(throws: Never.self) { try table.apply(SessionDelta(session: id, changes: [.removed(reason: "", at: wall)])) }
            if isAlone, let session { aloneness.noteEnd(of: session) }
        }
    }

    /// A session without CHILD SAs, made once by the protocol itself.
    static let sample: Session = {
        var world = World()
        world.establish()
        var session = world.session!
        session.children = []
        return session
    }()

    static func pool(_ name: String = "road", count: UInt64, persistent: Bool = false) -> PoolConfiguration {
        var pool = PoolConfiguration.road(count: count)
        pool.name = name
        pool.isPersistent = persistent
        return pool
    }

    @Test func persistentLease_afterTheIdentityCameBack_isTheSameWhoeverServes() throws {
        let pool = PoolTests.pool(count: 50, persistent: true)
        let desk = Desk()
        let (id, first) = try #require(desk.arrive("alice", pool))
        #expect(first.isPersistent)
        desk.leave(id)
        #expect(desk.table.reservations[first.address]?.offlineSince == desk.wall)
        // Others do not get it, as long as there is anything else.
        for index in 0..<49 { #expect(try #require(desk.arrive("u\(index)", pool)).1.address != first.address) }
        // The other node, after a takeover: it would begin elsewhere.
        let other = Desk(node: .one)
        other.table = desk.table
        #expect(try #require(other.arrive("alice", pool)).1 == first)
        #expect(other.table.reservations[first.address]?.offlineSince == nil)
    }

    @Test func persistentLease_ofASecondSession_isAnotherAddressAndNoReservation() throws {
        let pool = PoolTests.pool(count: 10, persistent: true)
        let desk = Desk()
        let (one, first) = try #require(desk.arrive("alice", pool))
        let (two, second) = try #require(desk.arrive("alice", pool))
        #expect(first.address != second.address && !second.isPersistent)
        desk.leave(two)
        desk.leave(one)
        #expect(desk.table.reservations.count == 1 && desk.table.reservations[first.address] != nil)
    }

    /// Two connections share a pool, and believe the same name for other reasons.
    @Test func persistentLease_ofTheSameNameInAnotherConnection_isAnotherAddress() throws {
        let pool = PoolTests.pool(count: 10, persistent: true)
        let desk = Desk()
        let (id, first) = try #require(desk.arrive("alice", pool))
        desk.leave(id)
        let (_, second) = try #require(desk.arrive("alice", pool, requested: "\(first.address)", connection: "guests"))
        #expect(second.address != first.address && second.isPersistent)
        #expect(try #require(desk.arrive("alice", pool)).1 == first, "her own is still hers")
    }

    /// What one connection's peer gave back while the nodes are apart, the other node may have given to it again.
    @Test func address_givenBackWhileAlone_isOfItsConnectionAlone() throws {
        let pool = PoolTests.pool(count: 1)
        let desk = Desk()
        let (id, first) = try #require(desk.arrive("alice", pool))
        desk.isAlone = true
        desk.leave(id)
        #expect(desk.lease("alice", pool, connection: "guests") == nil)
        #expect(desk.lease("alice", pool) == first)
    }

    @Test func persistentPool_whenNothingElseIsLeft_givesWhoWasAwayLongest() throws {
        let pool = PoolTests.pool(count: 3, persistent: true)
        let desk = Desk()
        var leases: [VirtualAddress] = []
        for name in ["a", "b", "c"] {
            let (id, lease) = try #require(desk.arrive(name, pool))
            leases.append(lease)
            desk.wall += name == "a" ? 500 : -100
            desk.leave(id)
        }
        // b left at the earliest moment of all but c, which left before it by the clock.
        let (_, taken) = try #require(desk.arrive("d", pool))
        #expect(taken.address == leases[2].address && taken.isPersistent)
        #expect(desk.table.reservations.of(LeaseHolder(connection: "road", identity: Identity(text: "c")), in: "road") == nil)
        #expect(try #require(desk.arrive("c", pool)).1.address == leases[1].address)
        #expect(try #require(desk.arrive("a", pool)).1.address == leases[0].address, "whoever comes back in time has lost nothing")
        #expect(desk.arrive("e", pool) == nil, "nobody is away")
    }

    @Test func leaseTime_whenItIsOver_letsOthersHaveTheAddress() throws {
        var pool = PoolTests.pool(count: 1, persistent: true)
        pool.leaseTime = .seconds(60)
        let desk = Desk()
        let (id, first) = try #require(desk.arrive("alice", pool))
        desk.leave(id)
        desk.wall += 60_000
        desk.isAlone = true
        #expect(desk.lease("bob", pool) == nil, "the other node's clock may say something else")
        desk.isAlone = false
        #expect(desk.lease("bob", pool, requested: "\(first.address)")?.address == first.address)
        #expect(desk.lease("alice", pool) == first)
    }

    @Test func reservations_ofOnePool_areBounded() throws {
        let pool = PoolConfiguration(
            name: "six", first: IPAddress("2001:db8::1")!, last: IPAddress("2001:db8::ffff:ffff")!, network: IPPrefix("2001:db8::/64")!)
        var persistent = pool
        persistent.isPersistent = true
        let desk = Desk()
        for index in 0..<UInt64(Reservations.perPoolMax) {
            let reservation = Reservation(
                holder: LeaseHolder(connection: "road", identity: Identity(text: "u\(index)")), pool: "six",
                address: pool.first.advanced(by: index)!, offlineSince: 1000 + Int64(index))
            try desk.table.replace(with: reservation)
        }
        let (_, lease) = try #require(desk.arrive("new", persistent))
        #expect(lease == VirtualAddress(pool: "six", address: pool.first, isPersistent: true), "the oldest gives way")
        #expect(desk.table.reservations.count(in: "six") == Reservations.perPoolMax)
        desk.isAlone = true
        #expect(try #require(desk.arrive("newer", persistent)).1.isPersistent == false)
        #expect(desk.table.reservations.count(in: "six") == Reservations.perPoolMax)
    }

    // MARK: Alone

    /// Whatever two nodes do that do not see each other, no address goes to two identities.
    @Test(arguments: [false, true]) func nodes_thatAreBothAlone_neverGiveOneAddressTwice(persistent: Bool) throws {
        let random = RandomSource.seeded(persistent ? 7 : 8)
        for round in 0..<20 {
            let pool = PoolTests.pool(count: 40 + UInt64(round), persistent: persistent)
            let desks = [Desk(node: .zero), Desk(node: .one)]
            // What both know: leases of either node, some of them over.
            for index in 0..<25 {
                let (id, _) = try #require(desks[index % 2].arrive("u\(index)", pool))
                if random.uint32() % 3 == 0 { desks[index % 2].leave(id) }
                desks[1 - index % 2].table = desks[index % 2].table
            }
            // Whose an address was last; from here on it may be nobody else's.
            var owners: [IPAddress: Identity] = [:]
            for session in desks[0].table.sessions.values {
                owners[session.virtualAddresses[0].address] = session.authorization.remoteIdentity
            }
            for node in 0...1 { desks[node].isAlone = true }
            var exhausted = 0
            for _ in 0..<400 {
                let node = Int(random.uint32() % 2)
                let present = desks[node].table.sessions.keys.sorted()
                if random.uint32() % 2 == 0, !present.isEmpty {
                    desks[node].leave(present[Int(random.uint32()) % present.count])
                    continue
                }
                // New ones go to one node only; those of before may come to either.
                let known = random.uint32() % 2 == 0
                let name = known ? "u\(random.uint32() % 25)" : "n\(node)-\(random.uint32() % 40)"
                let requested = random.uint32() % 2 == 0 ? "10.20.0.\(1 + random.uint32() % 40)" : nil
                guard let (_, lease) = desks[node].arrive(name, pool, requested: requested) else {
                    exhausted += 1
                    continue
                }
                let holders = desks.map { $0.table.session(virtualAddress: lease.address)?.authorization.remoteIdentity }
                #expect(holders.compactMap { $0 }.allSatisfy { $0 == Identity(text: name) }, "\(lease.address) has two owners")
                if let owner = owners[lease.address] { #expect(owner == Identity(text: name), "it was known to be another's") }
            }
            #expect(exhausted < 400)
        }
    }

    @Test func alone_leasesItsHalfAndSaysWhyThereIsNoMore() throws {
        for node in [NodeID.zero, .one] {
            let desk = Desk(node: node)
            desk.isAlone = true
            let pool = PoolTests.pool(count: 9)
            var places: Set<UInt64> = []
            while let (_, lease) = desk.arrive("u\(places.count)", pool) { places.insert(lease.address.low - pool.first.low) }
            #expect(places == Set((0..<9).filter { $0 % 2 == UInt64(node.rawValue) }))
            desk.isAlone = false
            #expect(desk.arrive("more", pool) != nil, "with the other node beside it, its half is open too")
        }
        var world = World(gateway: .standard(pools: [.road(count: 1)]))
        world.gateway.isAlone = true
        world.gateway.engine = IKEEngine(configuration: .standard(pools: [.road(count: 1)]), node: .one, cookieSecret: World.cookieSecret)
        world.establish()
        #expect(world.client.lastResult == .refused(notify: 36))
        let session = try #require(world.session)
        #expect(world.gateway.events.contains(.poolsExhausted(session: session.id, pools: ["road"], isHalved: true)))
        #expect(world.gateway.engine.counters.poolsExhausted == 1)
    }

    // MARK: Several pools

    @Test func pools_ofOneFamily_areUsedInTheirOrderAndAReservationIsFoundAgain() throws {
        var small = PoolTests.pool("small", count: 2, persistent: true)
        small.dns = [IPAddress("10.10.0.53")!]
        var large = PoolTests.pool("large", count: 20, persistent: true)
        large.dns = []
        large.first = IPAddress("10.21.0.1")!
        large.last = IPAddress("10.21.0.20")!
        let six = PoolConfiguration(
            name: "six", first: IPAddress("2001:db8:20::1")!, last: IPAddress("2001:db8:20::ff")!, network: IPPrefix("2001:db8:20::/64")!,
            dns: [IPAddress("2001:db8:10::53")!])
        let local: [SelectorConfiguration] = [.selector(TrafficSelector("10.10.0.0/16")), .selector(TrafficSelector("2001:db8:10::/64"))]
        var world = World(gateway: .standard(pools: [small, large, six], localSelectors: local))
        func come(_ name: String) -> [VirtualAddress] {
            var client = InitiatorConfiguration.standard(identity: name)
            client.requestsAddresses = [.ipv4, .ipv6]
            client.localSelectors = [TrafficSelector("0.0.0.0/0"), TrafficSelector("::/0")]
            client.remoteSelectors = client.localSelectors
            client.announcesInitialContact = true
            world.client = IKEInitiator(configuration: client)
            world.establish()
            world.expectAgreement(children: 1)
            return world.session?.virtualAddresses ?? []
        }
        let leases = ["a", "b", "c"].map(come)
        #expect(leases.map { $0.map(\.pool) } == [["small", "six"], ["small", "six"], ["large", "six"]])
        #expect(world.client.dnsServers == [IPAddress("2001:db8:10::53")!])
        // Room in the first pool again; c keeps what it had.
        let first = try #require(world.gateway.table.session(virtualAddress: leases[0][0].address))
        world.gateway { engine, table, context in engine.terminate(session: first.id, table: table, context: context) }
        world.settle()
        #expect(come("c")[0] == leases[2][0])
        let session = try #require(world.session)
        #expect(session.children[0].remoteSelectors == session.virtualAddresses.map { TrafficSelector(host: $0.address) })
    }
}
