import Cryptography
import IKE
import Session
import Testing

/// IKE_SA_INIT and IKE_AUTH (RFC 7296 §1.2).
@Suite struct EstablishmentTests {
    @Test func peer_whenSecretIsRight_isEstablishedWithAddressAndNarrowedSelectors() throws {
        var world = World()
        world.establish()
        #expect(world.client.phase == .established)
        world.expectAgreement(children: 1)
        let session = try #require(world.session)
        #expect(session.authorization.remoteIdentity == Identity(text: "alice@example.net"))
        #expect(session.authorization.connection == "road")
        #expect(session.capabilities == [.mobike, .messageIDSync, .fragmentation, .redirect])
        #expect(session.virtualAddresses.map(\.address) == world.client.virtualAddresses)
        #expect(session.children[0].remoteSelectors == [TrafficSelector(host: session.virtualAddresses[0].address)])
        #expect(session.children[0].localSelectors == [TrafficSelector("10.10.0.0/16")])
        #expect(world.client.dnsServers == [IPAddress("10.10.0.53")!])
        #expect(!session.encapsulation && session.remote == Endpoint(World.clientAddress, 500))
        #expect(world.gateway.engine.halfOpenCount == 0)
        #expect(session.uniqueID % 2 == 0 && session.ikeSA.localSPI >> 63 == 0 && session.children[0].inboundSPI >> 31 == 0)
    }

    @Test(arguments: KeyExchangeGroup.allCases)
    func establishment_withEveryGroupAndCipher_agreesOnKeys(group: KeyExchangeGroup) throws {
        for (index, cipher) in Cipher.all.enumerated() {
            let algorithm = IntegrityAlgorithm.allCases[(index + Int(group.rawValue)) % IntegrityAlgorithm.allCases.count]
            let integrity = cipher.isAEAD ? [] : [algorithm]
            let prf = PRF.allCases[(index + Int(group.rawValue)) % PRF.allCases.count]
            let proposal = IKEProposal(ciphers: [cipher], integrity: integrity, prfs: [prf], groups: [group])
            let child = ESPProposal(ciphers: [cipher], integrity: integrity, groups: [], extendedSequenceNumbers: [true, false])
            var world = World(
                gateway: .standard(child: [child]), client: .standard(proposals: [proposal], child: [child]), seed: UInt64(index))
            world.establish()
            world.expectAgreement(children: 1)
            let session = try #require(world.session)
            #expect(
                session.ikeSA.algorithms
                    == IKEAlgorithms(cipher: cipher, integrity: integrity.first, prf: prf, keyExchangeGroup: group))
            #expect(session.children[0].algorithms.cipher == cipher && session.children[0].algorithms.extendedSequenceNumbers)
        }
    }

    @Test func firstGroup_whenGatewayWantsAnother_isReplacedByInvalidKEPayload() {
        let proposal = IKEProposal(ciphers: [.gcm128], integrity: [], prfs: [.hmacSHA256], groups: [.modp2048, .ecp384])
        let own = IKEProposal(ciphers: [.gcm128], integrity: [], prfs: [.hmacSHA256], groups: [.ecp384])
        var world = World(gateway: .standard(proposals: [own]), client: .standard(proposals: [proposal]))
        world.establish()
        world.expectAgreement(children: 1)
        #expect(world.session?.ikeSA.algorithms.keyExchangeGroup == .ecp384)
        #expect(world.gateway.engine.counters.invalidKeyExchanges == 1)
    }

    @Test func proposal_whenNothingIsCommon_isRefusedAndNothingIsKept() {
        let own = IKEProposal(ciphers: [.gcm256], integrity: [], prfs: [.hmacSHA512], groups: [.ecp521])
        var world = World(gateway: .standard(proposals: [own]))
        world.establish()
        #expect(world.client.phase == .failed(.refused(notify: 14)))
        #expect(world.gateway.engine.halfOpenCount == 0 && world.gateway.table.count == 0)
    }

    @Test(arguments: [("alice@example.net", "wrong"), ("mallory@example.net", "a shared secret")])
    func peer_whenUnknownOrWrongSecret_getsTheSameAnswer(identity: String, secret: String) {
        var configuration = IKEConfiguration.standard()
        configuration.connections[0].remoteIdentity = Identity(text: "alice@example.net")
        var world = World(gateway: configuration, client: .standard(identity: identity, secret: secret))
        world.establish()
        #expect(world.client.phase == .failed(.refused(notify: 24)))
        #expect(world.gateway.table.count == 0 && world.gateway.engine.halfOpenCount == 0)
        #expect(world.gateway.engine.counters.authenticationFailures == 1)
        // One notify, in a message of the same length for whatever reason.
        #expect(world.fromGateway.last?.bytes.count == 65)
        // The refusal is repeated when it is asked for again.
        let refusal = world.fromGateway.last?.bytes
        let again = world.deliver(world.toGateway(world.fromClient.last!))
        #expect(again.map(\.bytes) == [refusal])
    }

    @Test func gateway_whenItDoesNotKnowTheSecret_isNotBelieved() {
        var world = World(client: .standard(secret: "another"))
        world.establish()
        #expect(world.client.phase == .failed(.refused(notify: 24)))
    }

    @Test func cookie_whenManyAreHalfOpen_isRequiredAndTakenByEitherNode() {
        var limits = IKELimits()
        limits.cookieThreshold = 0
        var world = World(gateway: .standard(limits: limits))
        world.client { $0.start(context: $1) }
        world.pass(.milliseconds(7))
        #expect(world.gateway.engine.halfOpenCount == 0)
        #expect(world.gateway.engine.counters.cookiesRequired == 1)
        // The cookie that node 0 gave out comes back to node 1.
        world.takeOver(.standard(limits: limits))
        world.settle()
        world.expectAgreement(children: 1)
        #expect(world.gateway.engine.counters.cookiesRequired == 0)
        #expect(world.session?.ikeSA.localSPI.leadingZeroBitCount == 0)
    }

    @Test func initRequest_whenRepeated_getsTheSameBytes() throws {
        var world = World()
        world.client { $0.start(context: $1) }
        let request = world.toGateway(try #require(world.fromClient.first))
        let first = world.deliver(request)
        #expect(first.count == 1)
        #expect(world.deliver(request) == first)
        #expect(world.gateway.engine.halfOpenCount == 1)
    }

    @Test func halfOpen_whenAuthNeverComes_expires() {
        var world = World()
        world.client { $0.start(context: $1) }
        world.deliver(world.toGateway(world.fromClient[0]))
        #expect(world.gateway.engine.halfOpenCount == 1)
        world.client = IKEInitiator(configuration: .standard())
        world.pass(.seconds(31))
        #expect(world.gateway.engine.halfOpenCount == 0)
        #expect(world.gateway.engine.counters.halfOpenExpired == 1)
    }

    @Test func nat_whenClientIsBehindOne_floatsAndEncapsulates() throws {
        var world = World()
        world.link.translatesTo = Endpoint(IPAddress("203.0.113.5")!, 61_000)
        world.establish()
        world.expectAgreement(children: 1)
        let session = try #require(world.session)
        #expect(session.encapsulation && session.remoteBehindNAT && !session.localBehindNAT)
        #expect(session.local.port == 4500 && session.remote == Endpoint(IPAddress("203.0.113.5")!, 61_000))
        // The NAT forgets its mapping: the next authenticated request says where the peer is now.
        world.link.translatesTo = Endpoint(IPAddress("203.0.113.5")!, 61_777)
        world.client { $0.liveness(context: $1) }
        world.settle()
        #expect(world.session?.remote.port == 61_777)
        #expect(world.client.lastResult == .succeeded)
    }

    @Test func peer_whenNotBehindNAT_isNotFollowedToAnotherAddress() throws {
        var world = World()
        world.establish()
        world.link.translatesTo = Endpoint(IPAddress("203.0.113.66")!, 500)
        world.client { $0.liveness(context: $1) }
        world.settle()
        #expect(world.session?.remote == Endpoint(World.clientAddress, 500))
    }

    @Test(arguments: [true, false])
    func encapsulation_whenForcedByEitherSide_isUsed(byGateway: Bool) {
        var client = InitiatorConfiguration.standard()
        client.forcesEncapsulation = !byGateway
        var world = World(gateway: .standard(forceEncapsulation: byGateway), client: client)
        world.establish()
        world.expectAgreement(children: 1)
        #expect(world.session?.encapsulation == true && world.client.encapsulation)
        #expect(world.session?.local.port == 4500)
    }

    @Test func pool_whenExhausted_refusesTheChildAndKeepsTheIKESA() {
        let configuration = IKEConfiguration.standard(pools: [.road(count: 2)])
        var world = World(gateway: configuration)
        var addresses: Set<IPAddress> = []
        for index in 0..<3 {
            world.client = IKEInitiator(configuration: .standard(identity: "user\(index)@example.net"))
            world.establish()
            #expect(world.client.phase == .established)
            addresses.formUnion(world.client.virtualAddresses)
        }
        #expect(addresses.count == 2 && world.gateway.table.count == 3)
        #expect(world.client.lastResult == .refused(notify: 36) && world.client.children.isEmpty)
        #expect(world.session?.virtualAddresses == [] && world.session?.children == [])
    }

    @Test func addresses_ofBothFamilies_areLeasedWithPrefixAndNetmask() throws {
        let first = IPAddress("2001:db8:20::1")!
        let pool = PoolConfiguration(
            name: "road6", first: first, last: first.advanced(by: 99)!, network: IPPrefix("2001:db8:20::/64")!,
            dns: [IPAddress("2001:db8:10::53")!])
        var road = PoolConfiguration.road()
        road.announcesNetmask = true
        var client = InitiatorConfiguration.standard()
        client.requestsAddresses = [.ipv4, .ipv6]
        client.localSelectors = [TrafficSelector("0.0.0.0/0"), TrafficSelector("::/0")]
        client.remoteSelectors = client.localSelectors
        let local: [SelectorConfiguration] = [.selector(TrafficSelector("10.10.0.0/16")), .selector(TrafficSelector("2001:db8:10::/64"))]
        var world = World(gateway: .standard(pools: [road, pool], localSelectors: local), client: client)
        world.establish()
        world.expectAgreement(children: 1)
        let session = try #require(world.session)
        #expect(world.client.virtualAddresses.map(\.family) == [.ipv4, .ipv6])
        #expect(session.children[0].remoteSelectors == world.client.virtualAddresses.map { TrafficSelector(host: $0) })
        #expect(world.client.dnsServers == [IPAddress("10.10.0.53")!, IPAddress("2001:db8:10::53")!])
    }

    @Test func connection_isChosenByWhomThePeerWantsAndWhoItIs() {
        var configuration = IKEConfiguration.standard()
        var second = configuration.connections[0]
        second.name = "alice"
        second.remoteIdentity = Identity(text: "alice@example.net")
        var other = configuration.connections[0]
        other.name = "other"
        other.localIdentity = Identity(text: "other.example.net")
        configuration.connections += [second, other]
        configuration.secrets.append(SharedSecret(identities: [], secret: SharedSecret.road.secret))
        for (wanted, identity, name) in [
            ("gw.example.net", "alice@example.net", "alice"), ("gw.example.net", "bob@example.net", "road"),
            ("other.example.net", "alice@example.net", "other"),
        ] {
            var client = InitiatorConfiguration.standard(identity: identity)
            client.remoteIdentity = Identity(text: wanted)
            var world = World(gateway: configuration, client: client)
            world.establish()
            #expect(world.session?.authorization.connection == name)
        }
        var client = InitiatorConfiguration.standard()
        client.remoteIdentity = Identity(text: "nobody.example.net")
        var world = World(gateway: configuration, client: client)
        world.establish()
        #expect(world.client.phase == .failed(.refused(notify: 24)))
    }

    @Test func address_whenTheSamePeerComesBack_isTheSame() {
        var world = World()
        world.establish()
        let before = world.client.virtualAddresses
        world.client { $0.delete(context: $1) }
        world.settle()
        #expect(world.gateway.table.count == 0 && world.client.phase == .closed)
        world.client = IKEInitiator(configuration: .standard())
        world.establish()
        #expect(world.client.virtualAddresses == before && before.count == 1)
    }

    @Test func initialContact_whenAnOldSessionStands_replacesIt() {
        var world = World()
        world.establish()
        let old = world.session?.id
        var configuration = InitiatorConfiguration.standard()
        let address = world.client.virtualAddresses
        world.client = IKEInitiator(configuration: configuration)
        world.establish()
        #expect(world.gateway.table.count == 2, "without INITIAL_CONTACT both live")
        configuration.announcesInitialContact = true
        world.client = IKEInitiator(configuration: configuration)
        world.establish()
        #expect(world.gateway.table.count == 1 && world.session?.id != old)
        #expect(world.client.virtualAddresses == address, "the address of a session that ends is free")
        world.expectAgreement(children: 1)
    }

    @Test func selectors_whenNothingIsCommon_refuseTheChildOnly() {
        var configuration = InitiatorConfiguration.standard()
        configuration.remoteSelectors = [TrafficSelector("172.16.0.0/12")]
        var world = World(client: configuration)
        world.establish()
        #expect(world.client.phase == .established && world.client.lastResult == .refused(notify: 38))
        #expect(world.session?.children == [])
    }

    @Test func network_whenLossyAndDuplicating_onlyDelays() {
        for seed in 1...12 {
            var world = World(seed: UInt64(seed))
            world.link = Link(lossPercent: 30, duplicatePercent: 30, delayMilliseconds: 1...400)
            world.establish()
            #expect(world.client.phase == .established, "seed \(seed)")
            world.expectAgreement(children: 1)
        }
    }
}

extension World {
    /// A datagram of the client as it arrives.
    func toGateway(_ datagram: Datagram) -> Datagram {
        Datagram(local: datagram.remote, remote: link.translatesTo ?? datagram.local, bytes: datagram.bytes)
    }
}
