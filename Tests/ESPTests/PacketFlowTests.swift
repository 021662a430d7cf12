import ESP
import Session
import Testing

@Suite struct PacketFlowTests {
    @Test func parse_ofUDPInIPv4_readsPorts() throws {
        let flow = try #require(parsed(ipv4Packet(from: "10.1.2.3", to: "10.3.0.5")))
        #expect(flow.source == IPAddress("10.1.2.3") && flow.destination == IPAddress("10.3.0.5"))
        #expect((flow.ipProtocol, flow.sourcePort, flow.destinationPort, flow.hasPorts, flow.length) == (17, 1000, 2000, true, 44))
    }

    @Test func parse_ofALaterFragment_hasNoPorts() throws {
        #expect(try #require(parsed(ipv4Packet(from: "10.1.2.3", to: "10.3.0.5", fragmentOffset: 100))).hasPorts == false)
        // More fragments, offset 0: the first has them.
        #expect(try #require(parsed(ipv4Packet(from: "10.1.2.3", to: "10.3.0.5", fragmentOffset: 0x2000))).hasPorts)
        let fragment: [UInt8] = [17, 0, 0x00, 0x09, 0, 0, 0, 1] + [0, 1, 0, 2]
        let ipv6 = try #require(parsed(ipv6Packet(from: "2001:db8::1", to: "2001:db8::2", nextHeader: 44, body: fragment)))
        #expect((ipv6.ipProtocol, ipv6.hasPorts) == (17, false))
    }

    @Test func parse_behindIPv6ExtensionHeaders_findsTheUpperProtocol() throws {
        let hopByHop: [UInt8] = [60, 0, 0, 0, 0, 0, 0, 0]
        let options: [UInt8] = [51, 1] + [UInt8](repeating: 0, count: 14)
        let authentication: [UInt8] = [44, 4] + [UInt8](repeating: 0, count: 22)
        let firstFragment: [UInt8] = [6, 0, 0, 1, 0, 0, 0, 1]
        let body = hopByHop + options + authentication + firstFragment + [0x01, 0xBB, 0x12, 0x34]
        let packet = ipv6Packet(from: "2001:db8::1", to: "2001:db8::2", nextHeader: 0, body: body)
        let flow = try #require(parsed(packet))
        #expect((flow.ipProtocol, flow.sourcePort, flow.destinationPort, flow.length) == (6, 443, 0x1234, packet.count))
        #expect(flow.source == IPAddress("2001:db8::1") && flow.destination == IPAddress("2001:db8::2"))
    }

    @Test func parse_ofICMP_putsTypeAndCodeIntoBothPorts() throws {
        let flow = try #require(parsed(ipv4Packet(from: "10.1.2.3", to: "10.3.0.5", ipProtocol: 1, ports: (0x0301, 0))))
        #expect((flow.sourcePort, flow.destinationPort) == (0x0301, 0x0301))
    }

    @Test func parse_ofAnyPrefixOfAPacket_isNilAndNeverTraps() {
        let headers: [UInt8] = [60, 0, 0, 0, 0, 0, 0, 0] + [17, 0, 0, 0, 0, 0, 0, 0] + [0, 1, 0, 2]
        for packet in [
            ipv4Packet(from: "10.1.2.3", to: "10.3.0.5"),
            ipv6Packet(from: "2001:db8::1", to: "2001:db8::2", nextHeader: 0, body: headers),
        ] {
            #expect(parsed(packet) != nil)
            for count in 0..<packet.count { #expect(parsed(Array(packet[..<count])) == nil) }
        }
    }

    @Test func parse_ofLyingLengths_isNil() {
        var short = ipv4Packet(from: "10.1.2.3", to: "10.3.0.5")
        short[0] = 0x44  // a header of 16 octets
        #expect(parsed(short) == nil)
        var headerLongerThanPacket = ipv4Packet(from: "10.1.2.3", to: "10.3.0.5", payload: 0)
        headerLongerThanPacket[0] = 0x4F
        #expect(parsed(headerLongerThanPacket) == nil)
        let overrun = ipv6Packet(from: "::1", to: "::2", nextHeader: 43, body: [17, 200, 0, 0, 0, 0, 0, 0])
        #expect(parsed(overrun) == nil)
        let endless = ipv6Packet(from: "::1", to: "::2", nextHeader: 0, body: [UInt8](repeating: 0, count: 8 * 100))
        #expect(parsed(endless) == nil)
    }

    @Test func parse_ofRandomOctets_neverTraps() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var packet = (0..<Int.random(in: 0...90, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            if !packet.isEmpty { packet[0] = [0x45, 0x46, 0x60, 0x4F].randomElement(using: &random)! }
            if let flow = parsed(packet) { #expect(flow.length <= packet.count) }
        }
    }
}
