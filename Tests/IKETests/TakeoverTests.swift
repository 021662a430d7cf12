import Cryptography
import IKE
import Session
import Testing

/// Another engine with a copy of the table goes on where the first one stopped (laws 1, 3 and 4). Every send of a gateway is also
/// checked for repeated IVs by the world.
@Suite struct TakeoverTests {
    private enum Step: CaseIterable {
        case liveness, rekeyChild, rekeyChildWithPFS, rekeyIKE, addChild, deleteChild, gatewayLiveness, gatewayDeletesChild
    }

    private func take(_ step: Step, in world: inout World) {
        switch step {
        case .liveness: world.client { $0.liveness(context: $1) }
        case .rekeyChild:
            world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        case .rekeyChildWithPFS:
            world.client { client, context in
                client.rekeyChild(inboundSPI: client.children[0].inboundSPI, group: .curve25519, context: context)
            }
        case .rekeyIKE: world.client { $0.rekeyIKE(context: $1) }
        case .addChild: world.client { $0.addChild(context: $1) }
        case .deleteChild:
            world.client { client, context in client.deleteChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        case .gatewayLiveness:
            let id = world.session!.id
            world.gateway { $0.checkLiveness(session: id, table: $1, context: $2) }
        case .gatewayDeletesChild:
            let session = world.session!
            world.gateway { $0.terminate(child: session.children[0].inboundSPI, in: session.id, table: $1, context: $2) }
        }
    }

    @Test func newOwner_afterEveryStep_goesOn() throws {
        let cbc = IKEProposal(ciphers: [.cbc128], integrity: [.hmacSHA256_128], prfs: [.hmacSHA256], groups: [.ecp256])
        let ctr = IKEProposal(ciphers: [.ctr128], integrity: [.hmacSHA1_96], prfs: [.hmacSHA1], groups: [.modp1024])
        let chaCha = IKEProposal(ciphers: [.chaCha], integrity: [], prfs: [.hmacSHA512], groups: [.curve25519])
        for proposal in [IKEProposal.gcmX25519, chaCha, ctr, cbc] {
            for step in Step.allCases {
                var world = World(client: .standard(proposals: [proposal]))
                world.establish()
                world.client { $0.addChild(context: $1) }
                world.settle()
                take(step, in: &world)
                world.settle()
                let count = try #require(world.session).children.count
                world.takeOver()
                for next in [Step.liveness, .gatewayLiveness, .rekeyChild, .rekeyIKE, .rekeyChildWithPFS] {
                    take(next, in: &world)
                    world.settle()
                    #expect(world.client.isQuiet && world.client.phase == .established, "\(next) after \(step)")
                    world.expectAgreement(children: count)
                }
                #expect(world.session?.ikeSA.localSPI.leadingZeroBitCount == 0, "node 1 put its bit into the new SPI")
                world.takeOver()
                world.client { $0.delete(context: $1) }
                world.settle()
                #expect(world.gateway.table.count == 0 && world.client.phase == .closed)
            }
        }
    }

    /// The takeover comes in the middle of an exchange, at every millisecond of it.
    @Test func exchange_whenOwnerChangesInTheMiddle_isFinishedByTheNewOne() throws {
        for step in Step.allCases {
            for delay in stride(from: 0, through: 36, by: 4) {
                var world = World()
                world.establish()
                world.client { $0.addChild(context: $1) }
                world.settle()
                take(step, in: &world)
                world.pass(.milliseconds(delay))
                world.takeOver()
                world.settle()
                let expected = step == .addChild ? 3 : [.deleteChild, .gatewayDeletesChild].contains(step) ? 1 : 2
                #expect(world.client.isQuiet && world.client.phase == .established, "\(step) at \(delay) ms")
                world.expectAgreement(children: expected)
                #expect(world.gateway.table.withPendingRequest.isEmpty)
            }
        }
    }

    @Test func lostResponse_isRepeatedByTheNewOwnerToTheBit() throws {
        var world = World()
        world.establish()
        world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, group: .ecp256, context: context) }
        let request = world.toGateway(try #require(world.fromClient.last))
        let first = world.deliver(request)
        world.takeOver()
        let table = world.gateway.table.sessions
        #expect(world.deliver(request) == first)
        #expect(world.gateway.table.sessions == table)
    }

    /// The old owner answered alone and died before the delta arrived: the new owner answers anew, under the same message ID and
    /// another IV (law 3; the world looks at every IV).
    @Test func lostDelta_whenTheNewOwnerAnswersAnew_usesAnotherIV() throws {
        var world = World()
        world.establish()
        let old = world.gateway.table
        let id = try #require(world.session?.id)
        world.client { client, context in client.rekeyChild(inboundSPI: client.children[0].inboundSPI, context: context) }
        let request = world.toGateway(try #require(world.fromClient.last))
        let first = try #require(world.deliver(request).first)
        world.gateway { $0.checkLiveness(session: id, table: $1, context: $2) }
        world.gateway.table = old
        world.takeOver()
        let second = try #require(world.deliver(request).first)
        #expect(first.bytes[0..<24] == second.bytes[0..<24] && first.bytes[32..<40] != second.bytes[32..<40])
        world.gateway { $0.terminate(session: id, table: $1, context: $2) }
    }

    @Test func deltas_appliedElsewhere_giveTheSameTable() {
        var world = World()
        world.establish()
        for step in Step.allCases.filter({ $0 != .gatewayDeletesChild }) {
            take(step, in: &world)
            world.settle()
        }
        var standby = SessionTable()
        for delta in world.gateway.deltas {
            #expect(throws: Never.self) { try standby.apply(delta) }
        }
        #expect(standby.sessions == world.gateway.table.sessions && standby.count == 1)
    }

    @Test func liveness_afterTakeover_isWatchedForEverySession() {
        var world = World(gateway: .standard(livenessDelay: .seconds(5)))
        world.establish()
        world.takeOver(.standard(livenessDelay: .seconds(5)))
        world.link.lossPercent = 100
        world.pass(.seconds(200))
        #expect(world.gateway.table.count == 0 && world.gateway.engine.counters.peersDead == 1)
    }

    @Test func uniqueIDs_afterTakeover_haveTheParityOfTheNode() throws {
        var world = World()
        world.establish()
        world.takeOver()
        for expected in [UInt32(1), 3] {
            world.client = IKEInitiator(configuration: .standard(identity: "bob\(expected)@example.net"))
            world.establish()
            let session = try #require(
                world.gateway.table.sessions(remoteIdentity: Identity(text: "bob\(expected)@example.net")).first)
            #expect(session.uniqueID == expected && session.children.map(\.uniqueID) == [expected])
        }
    }

    @Test func owner_whenItLosesOwnership_forgetsWhatIsLocal() {
        var world = World(gateway: .standard(livenessDelay: .seconds(5)))
        world.establish()
        world.client = IKEInitiator(configuration: .standard(identity: "bob@example.net"))
        world.client { $0.start(context: $1) }
        world.deliver(world.toGateway(world.fromClient.last!))
        #expect(world.gateway.engine.halfOpenCount == 1)
        world.gateway.engine.lostOwnership()
        #expect(world.gateway.engine.halfOpenCount == 0 && world.gateway.engine.nextDeadline() == nil)
    }
}
