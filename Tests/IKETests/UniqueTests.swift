import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// `unique` and `childless`.
@Suite struct UniqueTests {
    /// A second client with the same identity; `false` when it is not let in.
    private static func second(
        _ unique: UniquePolicy, saysInitialContact: Bool = false, sameAddress: Bool = false
    ) -> (world: World, isIn: Bool) {
        var configuration = IKEConfiguration.standard()
        configuration.connections[0].unique = unique
        var world = World(gateway: configuration)
        world.establish()
        var offer = InitiatorConfiguration.standard()
        offer.announcesInitialContact = saysInitialContact
        if !sameAddress { offer.local.address = IPAddress("198.51.100.77")! }
        world.client = IKEInitiator(configuration: offer)
        world.establish()
        return (world, world.client.phase == .established)
    }

    @Test func peerThatComesAgain_isTreatedAsConfigured() {
        let cases: [(UniquePolicy, Bool, Bool, isIn: Bool, sessions: Int)] = [
            (.no, false, false, true, 2), (.no, true, false, true, 1),
            (.never, false, false, true, 2), (.never, true, false, true, 2),
            (.keep, false, false, false, 1), (.keep, true, false, true, 1), (.keep, false, true, true, 2),
            (.replace, false, false, true, 1), (.replace, true, false, true, 1),
        ]
        for (unique, contact, sameAddress, isIn, sessions) in cases {
            let (world, entered) = Self.second(unique, saysInitialContact: contact, sameAddress: sameAddress)
            #expect(entered == isIn && world.gateway.table.count == sessions, "\(unique), INITIAL_CONTACT \(contact)")
            if !isIn { #expect(world.client.phase == .failed(.refused(notify: NotifyType.authenticationFailed.rawValue))) }
        }
    }

    /// Whoever did not say that it has forgotten is told.
    @Test func replacedPeer_isToldUnlessItSaidInitialContact() throws {
        for contact in [false, true] {
            let (world, _) = Self.second(.replace, saysInitialContact: contact)
            let informational = world.fromGateway.filter { $0.bytes[18] == 37 }
            #expect(informational.count == (contact ? 0 : 1))
            #expect(informational.allSatisfy { $0.remote.address == World.clientAddress })
            #expect(world.gateway.engine.counters.sessionsReplaced == 1)
        }
    }

    // MARK: Childless (RFC 6023)

    private static func client(_ policy: ChildlessPolicy) -> InitiatorConfiguration {
        var offer = InitiatorConfiguration.standard()
        offer.childless = policy
        return offer
    }

    @Test func childlessAuth_whereItIsAllowed_makesAnIKESAToWhichAChildIsAdded() throws {
        var world = World(client: Self.client(.force))
        world.establish()
        #expect(world.client.phase == .established)
        #expect(world.session?.children.isEmpty == true && world.session?.virtualAddresses.count == 1)
        world.client { $0.addChild(context: $1) }
        world.settle()
        world.expectAgreement(children: 1)
    }

    @Test func childlessAuth_whereItIsNever_isNotAnnouncedNorTaken() throws {
        var configuration = IKEConfiguration.standard()
        configuration.connections[0].childless = .never
        var world = World(gateway: configuration, client: Self.client(.force))
        world.establish()
        #expect(world.client.phase == .failed(.childlessUnsupported) && world.gateway.table.count == 0)

        var polite = World(gateway: configuration, client: Self.client(.prefer))
        polite.establish()
        polite.expectAgreement(children: 1)

        // Who sends it all the same is refused (RFC 6023 §3).
        var rude = World(gateway: configuration, client: Self.client(.never))
        rude.client.isChildless = true
        rude.establish()
        #expect(rude.client.phase == .failed(.refused(notify: NotifyType.invalidSyntax.rawValue)))
    }

    @Test func childInAuth_whereChildlessIsForced_isRefusedAndTheIKESAStands() {
        var configuration = IKEConfiguration.standard()
        configuration.connections[0].childless = .force
        var world = World(gateway: configuration)
        world.establish()
        #expect(world.client.phase == .established && world.session?.children.isEmpty == true)
        #expect(world.client.lastResult == .refused(notify: NotifyType.noAdditionalSAs.rawValue))
    }

    @Test(arguments: [false, true]) func call_thatBeginsChildless_addsItsChildAlsoThroughATakeover(takesOver: Bool) throws {
        var caller = IKEConfiguration.caller()
        caller.connections[0].childless = .prefer
        var sites = Sites(caller: caller)
        try sites.call()
        if takesOver {
            while sites.callerSession == nil { sites.settle(limit: .milliseconds(5)) }
            #expect(sites.callerSession?.children.isEmpty == true && sites.callerSession?.hasPendingRequest == true)
            sites.takeOver()
        }
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.children.first?.algorithms.keyExchangeGroup != nil, "the first CHILD SA has PFS, too")
    }
}
