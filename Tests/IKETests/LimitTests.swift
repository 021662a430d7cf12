import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// What one who is not authenticated can make the gateway keep and do is bounded.
@Suite struct LimitTests {
    private func world(_ limits: IKELimits) -> World {
        var configuration = IKEConfiguration.standard(limits: limits)
        configuration.connections[0].localAddresses = []
        return World(gateway: configuration)
    }

    /// A new client's IKE_SA_INIT from `address`.
    private func initRequest(from address: String, in world: World) -> Datagram {
        var client = IKEInitiator(configuration: .standard())
        let address = IPAddress(address)!
        let gateway = address.isIPv4 ? World.gatewayAddress : IPAddress("2001:db8::10")!
        return Datagram(
            local: Endpoint(gateway, 500), remote: Endpoint(address, 500), bytes: client.start(context: world.context)[0].bytes)
    }

    @Test func halfOpen_whenOneAddressHasMany_refusesItAndNobodyElse() {
        var limits = IKELimits()
        limits.halfOpenPerAddressMax = 3
        var world = world(limits)
        for index in 0..<5 {
            #expect(world.deliver(initRequest(from: "203.0.113.9", in: world)).count == (index < 3 ? 1 : 0))
            // One IPv6 host has a whole /64.
            #expect(world.deliver(initRequest(from: "2001:db8:1:2::\(index)", in: world)).count == (index < 3 ? 1 : 0))
        }
        #expect(world.gateway.engine.counters.dropped(.tooManyHalfOpenFromAddress) == 4)
        #expect(world.deliver(initRequest(from: "203.0.113.10", in: world)).count == 1)
        #expect(world.deliver(initRequest(from: "2001:db8:1:3::1", in: world)).count == 1)
        world.pass(.seconds(31))
        #expect(world.gateway.engine.halfOpenCount == 0)
        #expect(world.deliver(initRequest(from: "203.0.113.9", in: world)).count == 1)
    }

    /// Who is done with IKE_AUTH makes room.
    @Test func halfOpen_whenItBecomesASession_noLongerCounts() {
        var limits = IKELimits()
        limits.halfOpenPerAddressMax = 1
        var world = world(limits)
        for index in 0..<3 {
            world.client = IKEInitiator(configuration: .standard(identity: "u\(index)"))
            world.establish()
        }
        #expect(world.gateway.table.count == 3)
    }

    /// A public value that is none costs a key exchange and leaves no half-open IKE SA: it has to lead to cookies all the same.
    @Test func publicValues_thatAreNone_leadToCookies() throws {
        var limits = IKELimits()
        limits.cookieThreshold = 2
        var world = world(limits)
        for _ in 0..<2 {
            var request = initRequest(from: "203.0.113.9", in: world)
            var message = try IKEMessage(parsing: request.bytes)
            for index in message.payloads.indices {
                if case .keyExchange(var payload) = message.payloads[index] {
                    payload.data = [UInt8](repeating: 0, count: 32)
                    message.payloads[index] = .keyExchange(payload)
                }
            }
            request.bytes = message.encode()
            #expect(world.deliver(request).isEmpty)
        }
        #expect(world.gateway.engine.halfOpenCount == 0 && world.gateway.engine.counters.dropped(.badInitRequest) == 2)
        world.deliver(initRequest(from: "203.0.113.10", in: world))
        #expect(world.gateway.engine.counters.cookiesRequired == 1)
        world.pass(.seconds(31))
        world.deliver(initRequest(from: "203.0.113.10", in: world))
        #expect(world.gateway.engine.counters.cookiesRequired == 1 && world.gateway.engine.halfOpenCount == 1)
    }

    /// RFC 7296 §2.21.4: what is told in clear is told at a limited rate.
    @Test func errorsInClear_areToldAtALimitedRate() throws {
        var limits = IKELimits()
        limits.clearErrorsPerSecond = 3
        var world = world(limits)
        func refused() throws -> Datagram {
            var request = initRequest(from: "203.0.113.9", in: world)
            var message = try IKEMessage(parsing: request.bytes)
            message.payloads.removeAll { $0.type == PayloadType.securityAssociation }
            let transforms = [Transform(type: TransformType.encryption, id: 1)]
            message.payloads.append(.securityAssociation([Proposal(number: 1, protocolID: .ike, transforms: transforms)]))
            request.bytes = message.encode()
            return request
        }
        for index in 0..<5 { #expect(world.deliver(try refused()).count == (index < 3 ? 1 : 0)) }
        #expect(world.gateway.engine.counters.dropped(.tooManyClearErrors) == 2)
        #expect(world.gateway.engine.counters.noProposalChosen == 3, "no event, and no line in a log, for the others")
        #expect(world.deliver(initRequest(from: "203.0.113.9", in: world)).count == 1, "a good request is not held up")
        world.pass(.seconds(1))
        #expect(world.deliver(try refused()).count == 1)
    }

    @Test func initRequest_whenOversized_isDropped() throws {
        var world = world(IKELimits())
        var request = initRequest(from: "203.0.113.9", in: world)
        var message = try IKEMessage(parsing: request.bytes)
        message.payloads.append(.vendorID([UInt8](repeating: 0, count: IKELimits().initRequestLengthMax)))
        request.bytes = message.encode()
        #expect(world.deliver(request).isEmpty)
        #expect(world.gateway.engine.counters.dropped(.oversizedInitRequest) == 1 && world.gateway.engine.halfOpenCount == 0)
    }

    /// The search for an address stops somewhere, and goes on from there the next time.
    @Test func pool_whenNearlyFull_isSearchedInBoundedSteps() throws {
        var world = world(IKELimits())
        world.establish()
        var table = SessionTable()
        var session = try #require(world.session)
        session.children = []
        let count = 2 * (PoolCursors.lookupsMax + 1000)
        var pool = PoolConfiguration.road()
        pool.first = IPAddress("10.32.0.0")!
        pool.last = pool.first.advanced(by: count - 1)!
        // All are leased but one, which is the last that a search from the identity's place comes to.
        let identity = Identity(text: "carol")
        var cursors = PoolCursors()
        // A node that is alone has one half to search, which is every other address.
        let request = LeaseRequest(
            holder: LeaseHolder(connection: "road", identity: identity), node: .zero, isAlone: true, wallMilliseconds: 0)
        let place = cursors.lease(from: pool, for: request, table: table, aloneness: Aloneness())
        let home = try #require(place).address
        let free = IPAddress(v4: UInt32(home.low) - 2)
        let addresses = (0..<count).compactMap { pool.first.advanced(by: $0) }.filter { $0 != free }
        for start in stride(from: 0, to: addresses.count, by: 2) {
            session.id = SessionID(rawValue: UInt64(start))
            session.ikeSA.spis.responder = UInt64(start)
            session.virtualAddresses = addresses[start..<min(start + 2, addresses.count)].map { VirtualAddress(pool: "road", address: $0) }
            try table.replace(with: session)
        }
        cursors = PoolCursors()
        let full = table
        func lease() -> IPAddress? { cursors.lease(from: pool, for: request, table: full, aloneness: Aloneness())?.address }
        let (first, second) = (lease(), lease())
        #expect(first == nil && second == free)
    }
}
