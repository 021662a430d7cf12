import Cryptography
import IKE
import Node
import Session
import Testing

/// A client in the world: Tandem's own initiator, which keeps repeating what is not answered.
extension World {
    /// The end-user's machine, connected through the shared address.
    final class EndUser {
        var initiator: IKEInitiator
        var authenticationsSent = 0

        init() {
            let proposals = World.ikeConfiguration.connections[0]
            var configuration = InitiatorConfiguration(
                local: World.client, remote: Endpoint(World.vip, 500), localIdentity: Identity(text: "client.example.net"),
                remoteIdentity: Identity(text: "gw.example.net"), secret: SecretBytes(Array("secret".utf8)),
                proposals: proposals.proposals, childProposals: proposals.children[0].proposals,
                localSelectors: [TrafficSelector(IPPrefix("0.0.0.0/0")!)], remoteSelectors: [TrafficSelector(IPPrefix("10.10.0.0/16")!)])
            configuration.requestsAddresses = [.ipv4]
            // What was lost is repeated soon: in virtual time nobody waits for 4 s.
            configuration.limits.retransmitTimeout = .milliseconds(200)
            configuration.limits.retransmitTries = 20
            initiator = IKEInitiator(configuration: configuration)
        }

        var inboundSPIAtGateway: UInt32 { initiator.children.first { !$0.isRekeyed }?.outboundSPI ?? 0 }
    }

    private var context: IKEContext { IKEContext(now: time, epoch: 0, random: random) }

    func act(_ user: EndUser, _ action: (inout IKEInitiator, IKEContext) -> [Datagram]) { post(action(&user.initiator, context)) }

    func connect(_ user: EndUser) {
        act(user) { $0.start(context: $1) }
        settle(user)
        #expect(user.initiator.phase == .established)
    }

    /// Runs until the end-user waits for nothing, for 3 s of virtual time at most.
    func settle(_ user: EndUser) {
        for _ in 0..<3000 {
            run(for: 1)
            let arrived = toClient
            toClient = []
            for datagram in arrived { act(user) { $0.receive(datagram, context: $1) } }
            if let due = user.initiator.nextDeadline(), due <= time.instant { act(user) { $0.advance(context: $1) } }
            if arrived.isEmpty, user.initiator.isQuiet { return }
        }
        Issue.record("the end-user still waits after 3 s")
    }

    private func post(_ datagrams: [Datagram]) {
        for datagram in datagrams {
            after(latency) { world in
                guard let index = world.addressee, world.holdsAddress[index] else { return }
                world.feed(index, .datagram(Datagram(local: datagram.remote, remote: datagram.local, bytes: datagram.bytes)))
            }
        }
    }
}
