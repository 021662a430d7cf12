import Cryptography
import ESP
import Session
import Testing

@Suite struct SADatabaseTests {
    private let toPeer = ipv4Packet(from: "10.1.2.3", to: "10.3.0.5")
    private let fromPeer = ipv4Packet(from: "10.3.0.5", to: "10.1.2.3")

    private func database(
        _ installations: [ChildInstallation], gate: GateState = .open
    ) throws -> SecurityAssociationDatabase {
        let database = SecurityAssociationDatabase()
        for installation in installations { try database.apply(.install(installation)) }
        try database.apply(.gate(gate))
        return database
    }

    private func spi(_ packet: [UInt8]) -> UInt32 { packet.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }

    @Test func gate_inEachState_passesWhatItSays() throws {
        let tunnel = Tunnel()
        let peer = try database([tunnel.peer])
        for (gate, passesIn, passesOut) in [(GateState.closed, false, false), (.inboundOnly, true, false), (.open, true, true)] {
            let gateway = try database([tunnel.gateway], gate: gate)
            let packet = try peer.sealed(fromPeer).bytes
            #expect((try? gateway.opened(packet)) == (passesIn ? fromPeer : nil))
            #expect(gateway.drops(.inboundGateClosed) == (passesIn ? 0 : 1))
            #expect(((try? gateway.sealed(toPeer)) != nil) == passesOut)
            #expect(gateway.drops(.outboundGateClosed) == (passesOut ? 0 : 1))
        }
        #expect(SecurityAssociationDatabase().gate == .closed)
    }

    @Test func seal_ofWhatNoPolicyIsFor_dropsAndCounts() throws {
        let gateway = try database([Tunnel().gateway])
        #expect(throws: ESPError.noPolicy) { try gateway.sealed(ipv4Packet(from: "10.1.2.3", to: "10.3.0.6")) }
        #expect(throws: ESPError.noPolicy) { try gateway.sealed(ipv4Packet(from: "10.2.2.3", to: "10.3.0.5")) }
        let ipv6 = ipv6Packet(from: "2001:db8::1", to: "2001:db8::2", nextHeader: 59, body: [])
        #expect(throws: ESPError.noPolicy) { try gateway.sealed(ipv6) }
        #expect(throws: ESPError.malformedOutboundPacket) { try gateway.sealed(toPeer + [0]) }
        #expect((gateway.drops(.noPolicy), gateway.drops(.malformedOutboundPacket)) == (3, 1))
    }

    @Test func trap_whenNoChildTakesThePacket_tellsOnceASecond() throws {
        func trap(_ name: String, _ remote: String) -> TrapPolicy {
            TrapPolicy(
                name: ChildName(connection: "site", child: name), mode: .tunnel, local: Tunnel.gatewayEndpoint.address,
                remote: Tunnel.peerEndpoint.address, localSelectors: [TrafficSelector(IPPrefix("10.1.0.0/16")!)],
                remoteSelectors: [TrafficSelector(IPPrefix(remote)!)])
        }
        let gateway = try database([Tunnel().gateway])
        try gateway.apply(.traps([trap("wide", "10.3.0.0/16"), trap("narrow", "10.3.7.0/24")]))
        func told(_ source: String, _ target: String, at milliseconds: UInt64) -> [DataPlaneEvent] {
            #expect(throws: ESPError.self) { try gateway.sealed(ipv4Packet(from: source, to: target)) }
            return gateway.takeAcquisitions(at: Instant(nanoseconds: milliseconds * 1_000_000))
        }
        func host(_ address: String, _ port: UInt16) -> TrafficSelector {
            TrafficSelector(ipProtocol: 17, startPort: port, endPort: port, start: IPAddress(address)!, end: IPAddress(address)!)
        }
        let packet = PacketSelector(local: host("10.1.2.3", 1000), remote: host("10.3.7.6", 2000))
        #expect(told("10.1.2.3", "10.3.7.6", at: 0) == [.acquired(ChildName(connection: "site", child: "narrow"), packet)])
        #expect(told("10.1.2.3", "10.3.7.6", at: 999) == [] && told("10.1.2.3", "10.3.7.9", at: 1000).count == 1)
        #expect(told("10.1.2.3", "10.3.8.6", at: 1001).count == 1, "another trap")
        #expect(told("10.2.2.3", "10.3.8.6", at: 9000) == [] && told("10.1.2.3", "10.4.8.6", at: 9000) == [], "no trap's")
        _ = try gateway.sealed(toPeer)
        #expect(gateway.takeAcquisitions(at: Instant(nanoseconds: 20_000_000_000)) == [], "what has its SA calls for none")
        try gateway.apply(.gate(.closed))
        #expect(told("10.1.2.3", "10.3.7.6", at: 30_000) == [], "a standby is silent")
        try gateway.apply(.gate(.open))
        try gateway.apply(.traps([]))
        #expect(told("10.1.2.3", "10.3.7.6", at: 40_000) == [])
    }

    @Test func seal_withSeveralPolicies_takesTheLongestPrefixThenTheNewest() throws {
        func tunnel(_ number: UInt32, _ remote: String, established: Int64 = 1, local: String = "10.1.0.0/16") -> ChildInstallation {
            Tunnel(
                inboundSPI: number, outboundSPI: 0x100 + number, local: [TrafficSelector(IPPrefix(local)!)],
                remote: [TrafficSelector(IPPrefix(remote)!)], established: established, seed: UInt64(number)
            ).gateway
        }
        // Whatever the order of installation.
        let all = [
            tunnel(1, "10.0.0.0/8"), tunnel(2, "10.3.0.0/24"), tunnel(3, "10.3.0.5", established: 20),
            tunnel(4, "10.3.0.5", established: 30), tunnel(5, "10.3.0.5", established: 10),
            tunnel(6, "10.3.0.5", established: 40, local: "10.9.0.0/16"), tunnel(7, "2001:db8::/32", local: "2001:db8:ffff::/48"),
            tunnel(8, "2001:db8::7", local: "::/0"),
        ]
        for installations in [all, all.reversed()] {
            let gateway = try database(installations)
            func chosen(_ packet: [UInt8]) throws -> UInt32 { spi(try gateway.sealed(packet).bytes) - 0x100 }
            #expect(try chosen(toPeer) == 4)
            #expect(try chosen(ipv4Packet(from: "10.9.2.3", to: "10.3.0.5")) == 6)
            #expect(try chosen(ipv4Packet(from: "10.1.2.3", to: "10.3.0.6")) == 2)
            #expect(try chosen(ipv4Packet(from: "10.1.2.3", to: "10.3.1.6")) == 1)
            #expect(try chosen(ipv6Packet(from: "2001:db8:ffff::1", to: "2001:db8::1", nextHeader: 59, body: [])) == 7)
            #expect(try chosen(ipv6Packet(from: "2001:db8:ffff::1", to: "2001:db8::7", nextHeader: 59, body: [])) == 8)
            try gateway.apply(.remove(session: all[3].session, child: all[3].child, local: all[3].local, remote: all[3].remote))
            #expect(try chosen(toPeer) == 3)
        }
    }

    @Test func seal_withRangesProtocolsAndPorts_obeysThem() throws {
        let range = TrafficSelector(
            ipProtocol: 6, startPort: 80, endPort: 90, start: IPAddress("10.3.0.3")!, end: IPAddress("10.3.0.6")!)
        let gateway = try database([Tunnel(remote: [range]).gateway])
        func passes(_ host: String, _ ipProtocol: UInt8, _ port: UInt16, fragment: UInt16 = 0) -> Bool {
            let packet = ipv4Packet(
                from: "10.1.2.3", to: host, ipProtocol: ipProtocol, ports: (1, port), fragmentOffset: fragment)
            return (try? gateway.sealed(packet)) != nil
        }
        for host in ["10.3.0.3", "10.3.0.4", "10.3.0.5", "10.3.0.6"] { #expect(passes(host, 6, 80), "\(host)") }
        #expect(!passes("10.3.0.2", 6, 80) && !passes("10.3.0.7", 6, 80))
        #expect(passes("10.3.0.4", 6, 90) && !passes("10.3.0.4", 6, 91) && !passes("10.3.0.4", 17, 80))
        #expect(!passes("10.3.0.4", 6, 80, fragment: 3))
    }

    @Test func rekey_ofAChild_movesSendingToTheSuccessorAndKeepsReceiving() throws {
        var old = Tunnel(inboundSPI: 1, outboundSPI: 101, established: 1, seed: 1)
        let new = Tunnel(inboundSPI: 2, outboundSPI: 102, established: 2, seed: 2)
        let gateway = try database([old.gateway])
        let oldPeer = try database([old.peer])
        #expect(spi(try gateway.sealed(toPeer).bytes) == 101)
        try gateway.apply(.install(new.gateway))
        #expect(spi(try gateway.sealed(toPeer).bytes) == 102)
        old.gateway.child.isRekeyed = true
        try gateway.apply(.install(old.gateway))
        #expect(try gateway.opened(oldPeer.sealed(fromPeer).bytes) == fromPeer)
        let gone = new.gateway
        try gateway.apply(.remove(session: gone.session, child: gone.child, local: gone.local, remote: gone.remote))
        #expect(throws: ESPError.noPolicy) { try gateway.sealed(toPeer) }
        #expect(gateway.report(inboundSPI: 1)?.outboundPackets == 1)
        // And a rekeyed one on a node that never knew it before.
        let standby = try database([old.gateway])
        #expect(throws: ESPError.noPolicy) { try standby.sealed(toPeer) }
    }

    @Test func install_again_keepsNumbersAndTakesNewEndpoints() throws {
        var tunnel = Tunnel()
        let gateway = try database([tunnel.gateway])
        let peer = try database([tunnel.peer])
        for _ in 1...3 { _ = try gateway.sealed(toPeer) }
        let received = try peer.sealed(fromPeer).bytes
        #expect(try gateway.opened(received) == fromPeer)
        tunnel.gateway.remote = Endpoint(IPAddress("203.0.113.9")!, 4500)
        try gateway.apply(.install(tunnel.gateway))
        let (packet, way) = try gateway.sealed(toPeer)
        #expect(Array(packet[4..<8]) == [0, 0, 0, 4])
        #expect((way.remote, way.local, way.encapsulation) == (tunnel.gateway.remote, Tunnel.gatewayEndpoint, true))
        #expect(throws: ESPError.replayDuplicate) { try gateway.opened(received) }
        #expect(gateway.count == 1)
    }

    @Test func lease_raisesOnly_andTellsWhenHalfIsUsed() throws {
        let tunnel = Tunnel(numbers: LeasedNumbers(next: 1, limit: 10))
        let gateway = try database([tunnel.gateway])
        var told: [Int] = []
        for number in 1...10 {
            _ = try gateway.sealed(toPeer)
            if gateway.takeWantsReportNow() { told.append(number) }
        }
        #expect(told == [5])
        #expect(throws: ESPError.leaseExhausted) { try gateway.sealed(toPeer) }
        #expect(gateway.drops(.leaseExhausted) == 1)
        try gateway.apply(.lease(inboundSPI: tunnel.gateway.child.inboundSPI, numbers: LeasedNumbers(next: 1, limit: 9)))
        #expect(throws: ESPError.leaseExhausted) { try gateway.sealed(toPeer) }
        for _ in 1...2 {
            try gateway.apply(.lease(inboundSPI: tunnel.gateway.child.inboundSPI, numbers: LeasedNumbers(next: 21, limit: 22)))
        }
        #expect(Array(try gateway.sealed(toPeer).bytes[4..<8]) == [0, 0, 0, 21])
        #expect(throws: SADatabaseError.unknownChildSA(inboundSPI: 99)) {
            try gateway.apply(.lease(inboundSPI: 99, numbers: LeasedNumbers(next: 1, limit: 2)))
        }
    }

    @Test func advanceInbound_onAStandby_refusesWhatTheActiveAccepted() throws {
        let tunnel = Tunnel(.cbc128SHA256)
        let peer = try database([tunnel.peer])
        let standby = try database([tunnel.gateway])
        var packets: [[UInt8]] = []
        for _ in 1...5 { packets.append(try peer.sealed(fromPeer).bytes) }
        for top in [4, 2] as [UInt64] {
            try standby.apply(.advanceInbound(inboundSPI: tunnel.gateway.child.inboundSPI, top: top))
        }
        for packet in packets[..<4] { #expect(throws: ESPError.replayDuplicate) { try standby.opened(packet) } }
        #expect(try standby.opened(packets[4]) == fromPeer)
    }

    @Test func open_fromAnotherEndpoint_tellsOnceASecondAndOnlyForNewPackets() throws {
        let tunnel = Tunnel()
        let peer = try database([tunnel.peer])
        let gateway = try database([tunnel.gateway])
        let moved = Endpoint(IPAddress("198.51.100.7")!, 40000)
        let event = DataPlaneEvent.endpointChanged(inboundSPI: tunnel.gateway.child.inboundSPI, remote: moved)
        let held = try peer.sealed(fromPeer).bytes
        _ = try gateway.opened(try peer.sealed(fromPeer).bytes)
        #expect(gateway.takeEndpointChanges().isEmpty)
        _ = try gateway.opened(held, from: moved)
        #expect(gateway.takeEndpointChanges().isEmpty)
        for at in [0, 10, 999, 1000] as [UInt64] { _ = try gateway.opened(try peer.sealed(fromPeer).bytes, from: moved, at: at) }
        #expect(gateway.takeEndpointChanges() == [event, event])
        var forged = try peer.sealed(fromPeer).bytes
        forged[forged.count - 1] ^= 1
        #expect(throws: ESPError.authenticationFailed) { try gateway.opened(forged, from: moved, at: 9000) }
        #expect(gateway.takeEndpointChanges().isEmpty)
        #expect(try gateway.sealed(toPeer).way.remote == Tunnel.peerEndpoint)
    }

    @Test func collectReports_afterTraffic_namesOnlyWhatMoved() throws {
        let tunnels = (1...5).map { number in
            Tunnel(
                inboundSPI: number, outboundSPI: 100 + number, remote: [TrafficSelector(host: IPAddress("10.3.0.\(number)")!)],
                seed: UInt64(number))
        }
        let gateway = try database(tunnels.map(\.gateway))
        #expect(gateway.collectReports(limit: 10).isEmpty)
        for host in [2, 2, 4, 5] { _ = try gateway.sealed(ipv4Packet(from: "10.1.2.3", to: "10.3.0.\(host)")) }
        let removed = tunnels[4].gateway
        try gateway.apply(.remove(session: removed.session, child: removed.child, local: removed.local, remote: removed.remote))
        let reports = gateway.collectReports(limit: 1) + gateway.collectReports(limit: 10)
        #expect(Set(reports.map(\.inboundSPI)) == [2, 4] && reports.count == 2)
        #expect(reports.first { $0.inboundSPI == 2 }?.outboundNext == 3)
        #expect(reports.first { $0.inboundSPI == 2 }?.outboundBytes == 88)
        #expect(gateway.collectReports(limit: 10).isEmpty)
    }

    @Test func open_ofRandomOctets_neverTraps() throws {
        var random = SystemRandomNumberGenerator()
        let tunnels = [Tunnel(.gcm128, inboundSPI: 1), Tunnel(.cbc256SHA512, extended: true, inboundSPI: 2)]
        let gateway = try database(tunnels.map(\.gateway))
        for count in 0...300 {
            for spi in 1...3 as ClosedRange<UInt8> {
                let head = [0, 0, 0, spi].prefix(count)
                let packet = head + (head.count..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                #expect(throws: ESPError.self) { try gateway.opened(Array(packet)) }
            }
        }
        #expect(gateway.drops(.unknownSPI) == 293 && gateway.inboundPackets == 0)
    }

    @Test func install_withoutSelectors_isRefused() {
        let gateway = SecurityAssociationDatabase()
        #expect(throws: SADatabaseError.badSelectors) { try gateway.apply(.install(Tunnel(remote: []).gateway)) }
        #expect(throws: SADatabaseError.badSelectors) { try gateway.apply(.install(Tunnel(local: []).gateway)) }
        #expect(gateway.count == 0)
    }
}
