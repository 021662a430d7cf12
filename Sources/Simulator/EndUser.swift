import Cryptography
import IKE
import Node
import Session

/// Clients in the world: Tandem's own initiator, which keeps repeating what is not answered.
extension World {
    /// The end-user's machine, connected through the shared address.
    final class EndUser {
        let number: Int
        var initiator: IKEInitiator
        /// It has asked for the end of its IKE SA.
        var isLeaving = false

        /// - Parameter number: gives it an address and an identity of its own.
        init(_ number: Int = 0, in world: World, announces: PeerCapabilities = [], redirectedFrom: IPAddress? = nil) {
            self.number = number
            let proposals = world.ikeConfiguration.connections[0]
            var configuration = InitiatorConfiguration(
                local: Endpoint(World.client.address.advanced(by: UInt64(number))!, 500), remote: Endpoint(World.vip, 500),
                localIdentity: Identity(text: "client\(number).example.net"), remoteIdentity: Identity(text: "gw.example.net"),
                secret: SecretBytes(Array("secret".utf8)), proposals: proposals.proposals, childProposals: proposals.children[0].proposals,
                localSelectors: [TrafficSelector(IPPrefix("0.0.0.0/0")!)], remoteSelectors: [TrafficSelector(IPPrefix("10.10.0.0/16")!)])
            configuration.requestsAddresses = [.ipv4]
            configuration.announcesInitialContact = true
            configuration.announces = announces
            configuration.redirectedFrom = redirectedFrom
            // What was lost is repeated soon, and for ever: in virtual time nobody waits for 4 s.
            configuration.limits.retransmitTimeout = .milliseconds(200)
            configuration.limits.retransmitBase = 1
            configuration.limits.retransmitTries = 10_000
            initiator = IKEInitiator(configuration: configuration)
        }

        var address: IPAddress { initiator.configuration.local.address }
        var isEstablished: Bool { initiator.phase == .established }
        var inboundSPIAtGateway: UInt32 { initiator.children.first { !$0.isRekeyed }?.outboundSPI ?? 0 }
    }

    func act(_ user: EndUser, _ action: (inout IKEInitiator, IKEContext) -> [Datagram]) {
        post(action(&user.initiator, IKEContext(now: time, epoch: 0, random: random)))
    }

    /// Takes the place of a user with the same number.
    @discardableResult
    func add(_ user: EndUser) -> EndUser {
        users.removeAll { $0.number == user.number }
        users.append(user)
        return user
    }

    func connect(_ user: EndUser) {
        add(user)
        act(user) { $0.start(context: $1) }
        settle(user)
        expect(user.isEstablished, "end-user \(user.number) is not connected")
    }

    /// Runs until the end-user waits for nothing, for 3 s of virtual time at most.
    func settle(_ user: EndUser) {
        for _ in 0..<3000 {
            run(for: 1)
            if user.initiator.isQuiet { return }
        }
        expect(false, "end-user \(user.number) still waits after 3 s")
    }

    /// Gives an end-user what a node sent to it.
    func deliver(_ datagram: Datagram) {
        guard let datagram = nat.map({ $0.inwards(datagram) }) ?? datagram else { return }
        if let site, site.addresses.contains(datagram.remote.address) { return post(site.receive(datagram, now: time, random: random)) }
        guard let user = users.first(where: { $0.address == datagram.remote.address }) else { return }
        traceArrival(Datagram(local: datagram.local, remote: datagram.remote, bytes: datagram.bytes), at: "end-user \(user.number)")
        act(user) { $0.receive(datagram, context: $1) }
    }

    func post(_ datagrams: [Datagram]) {
        for sent in datagrams {
            checkIKE(sent)
            guard let changed = fromSite(sent) else { continue }
            let datagram = nat?.outwards(changed) ?? changed
            for copy in road(of: sent.local.address, isInward: true).copies(of: datagram.bytes, random: chance) {
                let arriving = Datagram(local: datagram.remote, remote: datagram.local, bytes: copy.bytes)
                after(wires.latency + copy.delay) { $0.arrive(arriving) }
            }
        }
    }

    /// At the node that has the address.
    func arrive(_ datagram: Datagram) {
        let own = options.nodeAddresses.firstIndex(of: datagram.local.address)
        guard let index = own ?? pinned ?? addressee, own != nil || options.nodeAddresses.isEmpty && holdsAddress[index], isAlive(index)
        else {
            if datagram.bytes.count > 19, datagram.bytes[19] & 0x20 == 0 { missedRequests += 1 }
            return
        }
        traceArrival(datagram, at: "node \(index)")
        feed(index, .datagram(datagram))
    }
}
