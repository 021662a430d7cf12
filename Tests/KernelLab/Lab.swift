import Cryptography
import ESP
import Glibc
import Netlink
import Runtime
import Session

/// A client, two gateways and a host behind them: see Lab/uml/kernel-dataplane.
final class Lab {
    private static let outer4 = address("10.9.0.10")
    private static let network4 = "10.10.0.0/16"
    private let host4 = Endpoint(address("10.10.0.2"), 7)
    private let host6 = Endpoint(address("fd00:10::2"), 7)

    private let support: ESPSupport
    private let client: Plane
    private let active: Plane
    private let standby: Plane
    private let clientCapture: Capture
    /// What the gateways send to the outer network.
    private let gatewayCaptures: [Capture]
    private let hostSocket4: UDP
    private let hostSocket6: UDP
    private let socket4: UDP
    private let socket6: UDP

    private let first = Tunnel(
        session: 1, spi: 0x8100_0001, gateway: Endpoint(outer4, 500), client: Endpoint(address("10.9.0.2"), 500),
        protectedNetwork: network4, clientAddress: "10.20.0.5")

    init() throws {
        try World.enter("s1")
        support = XFRM.supportsESP()
        Checks.check(support.isSupported, "probe: \(support)")
        let gateway = [
            ProtectedTraffic(local: TrafficSelector(IPPrefix("10.10.0.0/16")!), remote: TrafficSelector(IPPrefix("10.20.0.0/16")!)),
            ProtectedTraffic(local: TrafficSelector(IPPrefix("fd00:10::/32")!), remote: TrafficSelector(IPPrefix("fd00:20::/32")!)),
        ]
        let atClient = gateway.map { ProtectedTraffic(local: $0.remote, remote: $0.local) }
        client = try Plane("c", protected: atClient, support: support)
        active = try Plane("s1", protected: gateway, support: support)
        standby = try Plane("s2", protected: gateway, support: support)
        clientCapture = try World.inside("c") { try Capture("eth0") }
        gatewayCaptures = try ["s1", "s2"].map { try World.inside($0) { try Capture("eth0") } }
        try World.enter("h")
        (hostSocket4, hostSocket6) = (UDP(host4), UDP(host6))
        try World.enter("c")
        (socket4, socket6) = (UDP(Endpoint(address("10.20.0.5"), 9)), UDP(Endpoint(address("fd00:20::5"), 9)))
    }

    func run() throws {
        try closedGatePassesNothing()
        try tunnelCarries()
        try takeover()
        inboundOnly()
        rekey()
        try ciphers()
        try ipv6()
        try encapsulation()
        leaseEnds()
        try manySessions()
        try stop()
    }

    // MARK: Traffic

    /// How many of `count` datagrams come back.
    private func echo(_ count: Int, from socket: UDP, to host: Endpoint, via hostSocket: UDP, withinMs: Int32 = 1000) -> Int {
        var returned = 0
        for index in 0..<count {
            socket.send("\(index)", to: host)
            guard let (text, from) = hostSocket.receive(withinMs: withinMs) else { continue }
            hostSocket.send(text, to: from)
            if socket.receive(withinMs: withinMs)?.text == text { returned += 1 }
        }
        return returned
    }

    private func echo4(_ count: Int, withinMs: Int32 = 1000) -> Int {
        echo(count, from: socket4, to: host4, via: hostSocket4, withinMs: withinMs)
    }

    private func nothingInClear(_ when: String) {
        let counts = ([clientCapture] + gatewayCaptures).map { $0.clearCount() }
        Checks.check(counts.allSatisfy { $0 == 0 }, "nothing in clear with \(when): \(counts)")
    }

    private func addresses(_ space: String, add: Bool) throws {
        try World.enter(space)
        // Of this namespace.
        let announcer = Announcer()
        for (text, interface) in [("10.9.0.10/24", "eth0"), ("fd00:9::10/64", "eth0"), ("10.10.0.1/24", "eth1"), ("fd00:10::1/64", "eth1")]
        {
            let prefix = IPPrefix(text)!
            if add {
                try Addresses.add(prefix, to: interface)
                try announcer.announce(prefix.address, on: interface)
            } else {
                try Addresses.remove(prefix, from: interface)
            }
        }
    }

    // MARK: Chapters

    private func closedGatePassesNothing() throws {
        try addresses("s1", add: true)
        _ = clientCapture.packets()
        Checks.check(echo4(3, withinMs: 100) == 0, "closed, no tunnel: nothing passes")
        Checks.empty(client.apply(.install(first.atClient())), "client installs")
        Checks.empty(active.apply(.install(first.atGateway())), "active installs")
        Checks.check(echo4(3, withinMs: 100) == 0, "closed, with a tunnel: nothing passes")
        nothingInClear("a closed gate, seen from the client")
        Checks.empty(client.apply(.gate(.open)), "client opens")
        // The host's own words towards the client, with the gateway closed: nothing leaves.
        hostSocket4.send("x", to: Endpoint(address("10.20.0.5"), 9))
        Checks.check(socket4.receive(withinMs: 100) == nil, "gateway closed: nothing from behind it")
        Checks.check(echo4(1, withinMs: 100) == 0, "gateway closed: nothing from the client")
        nothingInClear("a closed gate, seen from the gateway")
    }

    private func tunnelCarries() throws {
        Checks.empty(active.apply(.gate(.open)), "active opens")
        // The first packet's neighbour is looked for.
        Checks.check(echo4(1) == 1, "echo through ESP (first)")
        let start = World.now()
        Checks.check(echo4(100) == 100, "echo through ESP 100 times")
        print("# 100 echoes took \(World.now() - start) ms")
        nothingInClear("a tunnel")
        // The client's packets while the gateway's gate was closed reached its SA too.
        let report = active.report(first.spi) { $0.outboundPackets == 101 && $0.inboundTop >= 102 }
        Checks.check(report?.outboundNext == 102 && report?.inboundTop == 102, "reported: \(report as Any)")
    }

    private func takeover() throws {
        var armed = first
        armed.slice = 1
        Checks.empty(standby.apply(.install(armed.atGateway())), "standby armed")
        _ = clientCapture.packets()
        _ = echo4(1)
        let old = try value(clientCapture.packets().first { $0[9] == 50 && $0[16...].starts(with: [10, 9, 0, 10]) })
        let top = try value(active.report(first.spi) { $0.inboundTop >= 103 }).inboundTop
        Checks.empty(standby.apply(.advanceInbound(inboundSPI: first.spi, top: top)), "standby knows what was accepted")

        // The active dies: its kernel still has everything, but no longer the addresses.
        try addresses("s1", add: false)
        let start = World.now()
        Checks.empty(standby.apply(.gate(.open)), "standby opens")
        let opened = World.now()
        try addresses("s2", add: true)
        print("# gate \(opened - start) ms, addresses \(World.now() - opened) ms")
        Checks.check(echo4(1) == 1, "echo right after the takeover")
        print("# first echo \(World.now() - start) ms after the decision")
        let jumped = client.report(0xC100_0001) { $0.inboundTop > Lease.size }
        Checks.check(jumped?.inboundTop == Lease.size + 1, "the client saw the jump to \(Lease.size + 1): \(jumped?.inboundTop ?? 0)")

        // An old packet of the client comes again: the standby never saw it, and refuses it.
        let raw = try World.inside("c") { socket(AF_INET, Int32(SOCK_RAW.rawValue), 255) }
        _ = withAddress(Endpoint(Lab.outer4, 0)) { sendto(raw, old, old.count, 0, $0, $1) }
        close(raw)
        Checks.check(hostSocket4.receive(withinMs: 300) == nil, "a replayed packet is refused")
        Checks.check(echo4(10) == 10, "and life goes on")
        Checks.empty(standby.apply(.install(armed.atGateway())), "installing again")
        Checks.check(echo4(2) == 2, "changes nothing")
        // With the gate open the kernel's own number decides.
        Checks.empty(standby.apply(.lease(inboundSPI: first.spi, numbers: LeasedNumbers(next: 5, limit: 5))), "an old lease again")
        Checks.check(echo4(2) == 2, "changes nothing")
        // The next slice of the same parity, while the gate is open.
        let slice = Lease(slice: 3).numbers(extended: true)
        Checks.empty(standby.apply(.lease(inboundSPI: first.spi, numbers: slice)), "the next slice")
        Checks.check(echo4(2) == 2, "echo from the next slice")
        let further = client.report(0xC100_0001) { $0.inboundTop > slice.next }
        Checks.check(further?.inboundTop == slice.next + 1, "the client saw it begin: \(further?.inboundTop ?? 0)")
    }

    private func inboundOnly() {
        Checks.empty(standby.apply(.gate(.inboundOnly)), "inbound only")
        socket4.send("in", to: host4)
        let arrived = hostSocket4.receive(withinMs: 500)
        Checks.check(arrived?.text == "in", "inbound only: what comes is taken")
        hostSocket4.send("out", to: Endpoint(address("10.20.0.5"), 9))
        Checks.check(socket4.receive(withinMs: 200) == nil, "inbound only: nothing is sent")
        Checks.empty(standby.apply(.gate(.open)), "open again")
        Checks.check(echo4(1) == 1, "echo again")
    }

    private func rekey() {
        var second = first
        second.spi = 0x8100_0002
        second.algorithms = Tunnel.cbc
        Checks.empty(standby.apply(.install(second.atGateway())), "rekeyed at the gateway")
        socket4.send("old", to: host4)
        Checks.check(hostSocket4.receive(withinMs: 500)?.text == "old", "what comes on the old SA is taken")
        Checks.empty(client.apply(.install(second.atClient())), "rekeyed at the client")
        Checks.check(echo4(5) == 5, "echo over the new SAs (CBC, HMAC, no ESN)")
        let report = standby.report(second.spi) { $0.outboundPackets == 5 }
        Checks.check(report?.inboundPackets == 5, "the new SA carried them: \(report as Any)")
        let (atGateway, atClient) = (first.atGateway(), first.atClient())
        Checks.empty(
            standby.apply(.remove(session: atGateway.session, child: atGateway.child, local: atGateway.local, remote: atGateway.remote)),
            "old one removed at the gateway")
        Checks.empty(
            client.apply(.remove(session: atClient.session, child: atClient.child, local: atClient.local, remote: atClient.remote)),
            "old one removed at the client")
        Checks.check(echo4(5) == 5, "echo after the rekey")
    }

    /// Between two kernels a packet only has to arrive; that it is what the standard says is seen by opening one in Swift.
    private func ciphers() throws {
        for (index, algorithms) in Tunnel.everyCipher.enumerated() {
            let integrity = algorithms.integrity.map { " with \($0)" } ?? ""
            let what = "\(algorithms.cipher.kind) \(algorithms.cipher.keyBits)\(integrity), ESN \(algorithms.extendedSequenceNumbers)"
            var tunnel = first
            tunnel.spi = 0x8200_0001 + UInt32(index)
            tunnel.algorithms = algorithms
            Checks.empty(standby.apply(.install(tunnel.atGateway())), "\(what) at the gateway")
            Checks.empty(client.apply(.install(tunnel.atClient())), "\(what) at the client")
            _ = clientCapture.packets()
            Checks.check(echo4(3) == 3, "echo with \(what)")
            let opened = clientCapture.packets().filter { opens($0, tunnel) }
            Checks.check(opened.count == 3, "\(opened.count) of its 3 packets were opened in user space")
            let report = standby.report(tunnel.spi) { $0.outboundPackets == 3 }
            Checks.check(report?.inboundPackets == 3, "its SA carried them: \(report as Any)")
            for (plane, end) in [(standby, tunnel.atGateway()), (client, tunnel.atClient())] {
                Checks.empty(
                    plane.apply(.remove(session: end.session, child: end.child, local: end.local, remote: end.remote)), "removed")
            }
        }
        nothingInClear("every cipher")
        // The SA of the rekey is the newest again.
        Checks.check(echo4(3) == 3, "echo after every cipher")
    }

    private func opens(_ packet: [UInt8], _ tunnel: Tunnel) -> Bool {
        // IPv4 without options, ESP.
        guard packet[9] == 50, let receiver = try? InboundSA(installation: tunnel.atGateway()) else { return false }
        var packet = Array(packet[20...])
        return packet.withUnsafeMutableBytes { (try? receiver.open($0)) != nil }
    }

    private func ipv6() throws {
        let tunnel = Tunnel(
            session: 6, spi: 0x8600_0001, gateway: Endpoint(address("fd00:9::10"), 500), client: Endpoint(address("fd00:9::2"), 500),
            protectedNetwork: "fd00:10::/32", clientAddress: "fd00:20::5")
        Checks.check(echo(1, from: socket6, to: host6, via: hostSocket6, withinMs: 100) == 0, "IPv6: nothing without a tunnel")
        Checks.empty(standby.apply(.install(tunnel.atGateway())), "IPv6 at the gateway")
        Checks.empty(client.apply(.install(tunnel.atClient())), "IPv6 at the client")
        Checks.check(echo(10, from: socket6, to: host6, via: hostSocket6, withinMs: 1500) >= 9, "IPv6 echo through ESP")
        nothingInClear("IPv6")
    }

    private func encapsulation() throws {
        var tunnel = Tunnel(
            session: 7, spi: 0x8700_0001, gateway: Endpoint(Lab.outer4, 4500), client: Endpoint(address("10.9.0.2"), 4500),
            protectedNetwork: Lab.network4, clientAddress: "10.20.0.6", encapsulation: true)
        let gatewayIKE = try World.inside("s2") { UDP(tunnel.gateway) }
        try XFRMSockets.decapsulateESP(on: gatewayIKE.descriptor)
        try XFRMSockets.bypassPolicies(of: gatewayIKE.descriptor, isIPv6: false)
        let (clientIKE, moved, inner) = try World.inside("c") {
            (UDP(tunnel.client), UDP(Endpoint(tunnel.client.address, 4600)), UDP(Endpoint(address("10.20.0.6"), 9)))
        }
        for socket in [clientIKE, moved] { try XFRMSockets.decapsulateESP(on: socket.descriptor) }
        Checks.empty(standby.apply(.install(tunnel.atGateway())), "encapsulated at the gateway")
        Checks.empty(client.apply(.install(tunnel.atClient())), "encapsulated at the client")
        Checks.check(echo(5, from: inner, to: host4, via: hostSocket4) == 5, "echo through ESP in UDP")

        // The client's NAT gives it another port: the gateway hears of it, and follows when it is told to.
        tunnel.client.port = 4600
        Checks.empty(client.apply(.install(tunnel.atClient())), "the client's port changes")
        inner.send("moved", to: host4)
        Checks.check(hostSocket4.receive(withinMs: 500)?.text == "moved", "the gateway takes what comes from there")
        Checks.check(standby.movedTo(tunnel.spi) == tunnel.client, "and says so")
        Checks.empty(standby.apply(.install(tunnel.atGateway())), "the gateway follows")
        Checks.check(echo(5, from: inner, to: host4, via: hostSocket4) == 5, "echo at the new port")
        let before = standby.report(tunnel.spi)?.outboundNext ?? 0

        // And another address: new SAs to the kernel, the same numbers.
        try World.inside("c") { try Addresses.add(IPPrefix("10.9.0.3/24")!, to: "eth0") }
        tunnel.client = Endpoint(address("10.9.0.3"), 4500)
        let elsewhere = try World.inside("c") { UDP(tunnel.client) }
        try XFRMSockets.decapsulateESP(on: elsewhere.descriptor)
        Checks.empty(standby.apply(.install(tunnel.atGateway())), "the gateway follows to another address")
        Checks.empty(client.apply(.install(tunnel.atClient())), "the client is there")
        Checks.check(echo(5, from: inner, to: host4, via: hostSocket4) == 5, "echo at the new address")
        let after = standby.report(tunnel.spi) { $0.outboundNext > before + 1000 }
        Checks.check(after != nil, "its numbers went on: \(before) to \(after?.outboundNext ?? 0)")
    }

    /// The kernel itself stops at the limit, and goes on behind it when there is a new one.
    private func leaseEnds() {
        var tunnel = first
        tunnel.spi = 0x8100_0003
        tunnel.limit = 10
        Checks.empty(standby.apply(.install(tunnel.atGateway())), "a lease of ten at the gateway")
        Checks.empty(client.apply(.install(tunnel.atClient())), "and at the client")
        Checks.check(echo4(15, withinMs: 100) == 10, "ten pass")
        let report = standby.report(tunnel.spi) { $0.outboundNext == 11 }
        Checks.check(report?.outboundPackets == 10, "ten are reported: \(report as Any)")
        Checks.check(standby.plane.statistics().counters["lease_exhausted"] == 1, "the end is counted")
        nothingInClear("an ended lease")
        Checks.empty(standby.apply(.lease(inboundSPI: tunnel.spi, numbers: LeasedNumbers(next: 1, limit: 1000))), "extended")
        Checks.check(echo4(5) == 5, "and on it goes")
        let next = standby.report(tunnel.spi) { $0.outboundPackets == 15 }
        Checks.check(next?.outboundNext == 16, "with the eleventh: \(next as Any)")
    }

    private func manySessions() throws {
        let many = (0..<1000).map { index -> ChildInstallation in
            var tunnel = first
            tunnel.session = 100_000 + UInt64(index)
            tunnel.spi = 0x9000_0000 + UInt32(index)
            tunnel.clientAddress = "10.20.\(100 + index / 250).\(index % 250)"
            return tunnel.atGateway()
        }
        var start = World.now()
        Checks.empty(standby.plane.apply(many.map { .install($0) }), "1,000 CHILD SAs installed")
        print("# 1,000 CHILD SAs (2,000 SAs, 3,000 policies) took \(World.now() - start) ms")
        for state in [GateState.closed, .open] {
            start = World.now()
            Checks.empty(standby.apply(.gate(state)), "gate \(state) over 1,000 sessions")
            print("# gate \(state) took \(World.now() - start) ms")
        }
        Checks.check(echo4(5) == 5, "echo among 1,000 sessions")
        start = World.now()
        let longer = LeasedNumbers(next: 1, limit: 4 * Lease.size)
        let leases = many.map { DataPlaneCommand.lease(inboundSPI: $0.child.inboundSPI, numbers: longer) }
        Checks.empty(standby.plane.apply(leases), "1,000 leases extended")
        print("# 1,000 leases took \(World.now() - start) ms")
        start = World.now()
        let removals = many.map { DataPlaneCommand.remove(session: $0.session, child: $0.child, local: $0.local, remote: $0.remote) }
        Checks.empty(standby.plane.apply(removals), "1,000 removed")
        print("# removing took \(World.now() - start) ms")
    }

    private func stop() throws {
        try World.enter("s1")
        try KernelDataPlane.fence()
        Checks.check(try XFRM().states().isEmpty, "fenced: no SA left")
        let priorities = try XFRM().policies().map(\.priority)
        Checks.check(!priorities.isEmpty && Set(priorities) == [1000], "fenced: only blocks left, closed")
        try World.enter("s2")
        standby.plane.stop()
        Checks.check(try XFRM().states().isEmpty, "stopped: no SA left")
        Checks.check(try Set(XFRM().policies().map(\.action)) == [.block], "stopped: only blocks left")
        Checks.check(echo4(1, withinMs: 100) == 0, "stopped: nothing passes")
        nothingInClear("a stopped gateway")
        try KernelDataPlane.removeProtection()
        Checks.check(try XFRM().policies().isEmpty, "protection removed")
    }

    private func value<T>(_ optional: T?) throws -> T {
        guard let optional else { throw NetlinkError(operation: "the laboratory", code: 0, detail: "nothing to go on with") }
        return optional
    }
}
