import Cryptography
import Session
import Testing

@testable import ESP

/// RFC 4303, 4106, 3602 and 4868 between two ends of a tunnel.
@Suite struct ESPPacketTests {
    private let inner = ipv4Packet(from: "10.1.2.3", to: "10.3.0.5", payload: 77)

    @Test(arguments: Suite.allCases, [false, true])
    func open_ofWhatThePeerSealed_givesTheInnerPacket(suite: Suite, extended: Bool) throws {
        let tunnel = Tunnel(suite, extended: extended)
        let sender = try OutboundSA(installation: tunnel.gateway)
        let receiver = try InboundSA(installation: tunnel.peer)
        for payload in 0...70 {
            let inner = ipv4Packet(from: "10.1.2.3", to: "10.3.0.5", payload: payload)
            let packet = try sender.sealed(inner)
            #expect(packet.count % 4 == 0)
            #expect(packet.count <= inner.count + OutboundSA.overheadMax)
            #expect(try receiver.opened(packet) == inner)
        }
        #expect((receiver.top, receiver.packets, sender.next) == (71, 71, 72))
    }

    @Test(arguments: Suite.allCases)
    func open_acrossTheWrapOfTheLowHalf_followsTheSender(suite: Suite) throws {
        let start: UInt64 = (7 << 32) - 600
        let tunnel = Tunnel(suite, extended: true, numbers: LeasedNumbers(next: start, limit: 8 << 32), inboundTop: start - 1)
        let sender = try OutboundSA(installation: tunnel.gateway)
        let receiver = try InboundSA(installation: tunnel.peer)
        var packets: [[UInt8]] = []
        for _ in 0..<1200 { packets.append(try sender.sealed(inner)) }
        // The last first: those before the wrap are then inferred from above it.
        #expect(try receiver.opened(packets[1199]) == inner)
        for index in 200..<1199 { #expect(try receiver.opened(packets[index]) == inner) }
        #expect(receiver.top == (7 << 32) + 599)
        #expect(throws: ESPError.replayDuplicate) { try receiver.opened(packets[700]) }
        // 1,100 below the top: taken for the next subspace, and so not authentic (RFC 4303 §A2.2).
        #expect(throws: ESPError.authenticationFailed) { try receiver.opened(packets[99]) }
    }

    /// What goes over the wire, checked against the RFCs without `InboundSA`.
    @Test(arguments: [false, true])
    func seal_withGCM_authenticatesAsRFC4106Says(extended: Bool) throws {
        let sequence: UInt64 = extended ? 0x0000_0003_0000_0009 : 9
        let tunnel = Tunnel(.gcm128, extended: extended, numbers: LeasedNumbers(next: sequence, limit: sequence))
        var packet = try OutboundSA(installation: tunnel.gateway).sealed(inner)
        #expect(Array(packet[0..<8]) == [0xC0, 0, 0, 1, 0, 0, 0, 9])
        #expect(Array(packet[8..<16]) == bytes(of: sequence))
        let keys = tunnel.gateway.child.outboundKeys
        let cipher = try PacketCipher(
            cipher: tunnel.gateway.child.algorithms.cipher, integrity: nil, keys: keys.encryption, integrityKey: keys.integrity)
        let covered = extended ? [0xC0, 0, 0, 1] + bytes(of: sequence) : Array(packet[0..<8])
        let textEnd = packet.count - 16
        let (iv, tag) = (Array(packet[8..<16]), Array(packet[textEnd...]))
        var text = Array(packet[16..<textEnd])
        try iv.withUnsafeBytes { iv in
            try covered.withUnsafeBytes { covered in
                try tag.withUnsafeBytes { tag in
                    try text.withUnsafeMutableBytes { try cipher.open(iv: iv, authenticated: covered, text: $0, tag: tag) }
                }
            }
        }
        let padding = (4 - (inner.count + 2) % 4) % 4
        packet = inner + (0..<padding).map { UInt8($0 + 1) } + [UInt8(padding), 4]
        #expect(text == packet)
    }

    /// RFC 7634 appendix A: its packet, as a peer sent it.
    @Test func open_ofThePacketOfRFC7634_givesTheInnerPacket() throws {
        var tunnel = Tunnel(
            .chaCha, outboundSPI: 0x0102_0304, local: [TrafficSelector(IPPrefix("198.51.100.0/24")!)],
            remote: [TrafficSelector(IPPrefix("192.0.2.0/24")!)])
        tunnel.peer.child.inboundKeys.encryption = SecretBytes(0x80..<0xA4)
        let octets = """
            0102030400000005 1011121314151617
            24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7
            2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0 76aaa8266b7fb0f7b11b369907e1ad43
            """
        let digits = octets.compactMap(\.hexDigitValue)
        let packet = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
        let inner = try InboundSA(installation: tunnel.peer).opened(packet)
        #expect(inner.count == 84 && inner.starts(with: [0x45, 0, 0, 0x54, 0xA6, 0xF2]) && inner.suffix(4) == [0x34, 0x35, 0x36, 0x37])
    }

    /// Every cipher whose IV must not come twice takes it from the number, which the lease makes unique (law 3).
    @Test(arguments: Suite.allCases) func seal_withACounterIV_sendsTheNumberAsIV(suite: Suite) throws {
        let sequence: UInt64 = 0x0000_0003_0000_0009
        let tunnel = Tunnel(suite, extended: true, numbers: LeasedNumbers(next: sequence, limit: sequence + 1))
        guard tunnel.gateway.child.algorithms.cipher.hasCounterIV else { return }
        let sender = try OutboundSA(installation: tunnel.gateway)
        for number in [sequence, sequence + 1] { #expect(Array(try sender.sealed(inner)[8..<16]) == bytes(of: number)) }
    }

    /// RFC 3686 §4 and RFC 2404, from the packet itself: the key stream is that of nonce || IV || 1.
    @Test func seal_withCTR_isAuthenticatedAndBeginsAtBlockOne() throws {
        let tunnel = Tunnel(.ctr256SHA1, extended: true, numbers: LeasedNumbers(next: 5, limit: 5))
        let packet = try OutboundSA(installation: tunnel.gateway).sealed(inner)
        let keys = tunnel.gateway.child.outboundKeys
        let mac = PRF.hmacSHA1(key: keys.integrity, Array(packet.dropLast(12)), [0, 0, 0, 0]).copyBytes()
        #expect(Array(packet.suffix(12)) == Array(mac.prefix(12)))
        #expect(packet.count == 8 + 8 + inner.count + 3 + 12, "padded to 4 octets, not to a block")
    }

    @Test func seal_withCBCAndESN_authenticatesTheUpperHalfLast() throws {
        let sequence: UInt64 = 0x0000_0003_0000_0009
        let tunnel = Tunnel(.cbc128SHA256, extended: true, numbers: LeasedNumbers(next: sequence, limit: sequence))
        let packet = try OutboundSA(installation: tunnel.gateway).sealed(inner)
        let mac = hmacSHA256(key: tunnel.gateway.child.outboundKeys.integrity, Array(packet.dropLast(16)) + [0, 0, 0, 3])
        #expect(Array(packet.suffix(16)) == Array(mac.prefix(16)))
    }

    @Test func seal_withCBC_neverRepeatsAnIV() throws {
        let sender = try OutboundSA(installation: Tunnel(.cbc128SHA256).gateway)
        var seen: Set<[UInt8]> = []
        for _ in 0..<600 { #expect(seen.insert(Array(try sender.sealed(inner)[8..<24])).inserted) }
    }

    @Test(arguments: Suite.allCases)
    func open_ofAChangedPacket_failsAndKeepsTheWindow(suite: Suite) throws {
        let tunnel = Tunnel(suite)
        let sender = try OutboundSA(installation: tunnel.gateway)
        let receiver = try InboundSA(installation: tunnel.peer)
        let packet = try sender.sealed(inner)
        // The SPI leads to the SA, so it is not looked at here: InboundSA takes the header as it is authenticated.
        for index in 4..<packet.count {
            var changed = packet
            changed[index] ^= 0x10
            #expect(throws: ESPError.authenticationFailed, "octet \(index)") { try receiver.opened(changed) }
        }
        #expect(receiver.top == 0)
        #expect(try receiver.opened(packet) == inner)
    }

    @Test(arguments: Suite.allCases, [false, true])
    func open_ofATruncatedPacket_throws(suite: Suite, extended: Bool) throws {
        let tunnel = Tunnel(suite, extended: extended)
        let packet = try OutboundSA(installation: tunnel.gateway).sealed(inner)
        let receiver = try InboundSA(installation: tunnel.peer)
        for count in 0..<packet.count {
            #expect(throws: ESPError.self, "\(count) octets") { try receiver.opened(Array(packet[..<count])) }
            #expect(throws: ESPError.self, "without \(count + 1) octets") { try receiver.opened(Array(packet[(count + 1)...])) }
        }
        #expect(receiver.packets == 0)
    }

    @Test func open_ofAReplayedPacket_saysWhichCase() throws {
        let tunnel = Tunnel(.gcm256)
        let sender = try OutboundSA(installation: tunnel.gateway)
        let receiver = try InboundSA(installation: tunnel.peer)
        var packets: [[UInt8]] = []
        for _ in 0..<1026 { packets.append(try sender.sealed(inner)) }
        #expect(try receiver.opened(packets[1025]) == inner)
        #expect(throws: ESPError.replayDuplicate) { try receiver.opened(packets[1025]) }
        #expect(throws: ESPError.replayTooOld) { try receiver.opened(packets[1]) }
        #expect(try receiver.opened(packets[2]) == inner)
        #expect(throws: ESPError.replayDuplicate) { try receiver.opened(packets[2]) }
    }

    /// Texts that only a peer with the keys can have made.
    @Test(arguments: [Suite.gcm128, .gcm8, .chaCha, .cbc128SHA256, .ctr128SHA256])
    func open_ofAnAuthenticPacketWithABadText_saysWhatIsWrong(suite: Suite) throws {
        let tunnel = Tunnel(suite)
        let good = ipv4Packet(from: "10.1.2.3", to: "10.3.0.5", payload: 2)  // 26 octets
        let pad: [UInt8] = [1, 2, 3, 4]
        let ipv6 = ipv6Packet(from: "2001:db8::1", to: "2001:db8::2", nextHeader: 59, body: [])
        var longer = good
        longer[3] = 27
        let cases: [([UInt8], ESPError)] = [
            (good + [1, 2, 3, 5, 4, 4], .badPadding),
            (good + [0, 0, 0, 0, 4, 4], .badPadding),
            (good + pad + [31, 4], .badPadding),
            (good + pad + [4, 59], .dummyPacket),
            (good + pad + [4, 6], .unsupportedNextHeader),
            (good + pad + [4, 41], .malformedInboundPacket),
            (longer + pad + [4, 4], .malformedInboundPacket),
            (Array(repeating: 0, count: 30) + [0, 4], .malformedInboundPacket),
            (Array(ipv6.prefix(30)) + [0, 41], .malformedInboundPacket),
            (ipv4Packet(from: "10.2.2.3", to: "10.3.0.5", payload: 2) + pad + [4, 4], .selectorMismatch),
            (ipv4Packet(from: "10.1.2.3", to: "10.3.0.6", payload: 2) + pad + [4, 4], .selectorMismatch),
        ]
        for (index, (text, error)) in cases.enumerated() {
            let receiver = try InboundSA(installation: tunnel.peer)
            let packet = try handmade(text, by: tunnel.gateway.child)
            #expect(throws: error, "case \(index)") { try receiver.opened(packet) }
        }
        // The same way with nothing wrong, and with TFC padding after the packet (RFC 4303 §2.7).
        for text in [good + pad + [4, 4], good + [9, 9, 9, 9] + [0, 4]] {
            let receiver = try InboundSA(installation: tunnel.peer)
            #expect(try receiver.opened(try handmade(text, by: tunnel.gateway.child)) == good)
        }
    }

    @Test func seal_whenTheLeaseIsUsedUp_stops() throws {
        let sender = try OutboundSA(installation: Tunnel(numbers: LeasedNumbers(next: 10, limit: 12)).gateway)
        for _ in 10...12 { _ = try sender.sealed(inner) }
        #expect(throws: ESPError.leaseExhausted) { try sender.sealed(inner) }
        sender.lease(LeasedNumbers(next: 5, limit: 11))
        #expect(throws: ESPError.leaseExhausted) { try sender.sealed(inner) }
        #expect((sender.next, sender.limit) == (13, 12))
        sender.lease(LeasedNumbers(next: 100, limit: 101))
        #expect(Array(try sender.sealed(inner)[4..<8]) == [0, 0, 0, 100])
    }

    @Test func seal_withoutESN_neverCycles() throws {
        let sender = try OutboundSA(installation: Tunnel(numbers: LeasedNumbers(next: 0xFFFF_FFFF, limit: 1 << 40)).gateway)
        _ = try sender.sealed(inner)
        #expect(throws: ESPError.leaseExhausted) { try sender.sealed(inner) }
        let last = try OutboundSA(installation: Tunnel(extended: true, numbers: LeasedNumbers(next: .max - 1, limit: .max)).gateway)
        _ = try last.sealed(inner)
        #expect(throws: ESPError.leaseExhausted) { try last.sealed(inner) }
    }

    @Test func seal_intoTooSmallABuffer_throwsAndUsesNoNumber() throws {
        let sender = try OutboundSA(installation: Tunnel().gateway)
        let needed = try sender.sealed(inner).count
        for count in 0..<needed {
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
            defer { buffer.deallocate() }
            #expect(throws: ESPError.tooLong, "\(count) octets") {
                try inner.withUnsafeBytes { try sender.seal(innerPacket: $0, into: buffer) }
            }
        }
        #expect(sender.next == 2)
        #expect(throws: ESPError.tooLong) { try sender.sealed([]) }
        #expect(throws: ESPError.malformedOutboundPacket) { try sender.sealed([0x00]) }
    }

    @Test func install_inTransportModeOrWithWrongKeys_isRefused() {
        var tunnel = Tunnel()
        tunnel.gateway.child.mode = .transport
        #expect(throws: SADatabaseError.transportModeUnsupported) { try OutboundSA(installation: tunnel.gateway) }
        #expect(throws: SADatabaseError.transportModeUnsupported) { try InboundSA(installation: tunnel.gateway) }
        tunnel = Tunnel()
        tunnel.gateway.child.inboundKeys.encryption = SecretBytes([1, 2, 3])
        #expect(throws: SADatabaseError.badKeys(.badKeyLength)) { try InboundSA(installation: tunnel.gateway) }
    }

    private func bytes(of value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) } }

    /// An authentic packet with sequence number 1 and any text at all.
    private func handmade(_ text: [UInt8], by child: ChildSA) throws -> [UInt8] {
        let cipher = try PacketCipher(
            cipher: child.algorithms.cipher, integrity: child.algorithms.integrity, keys: child.outboundKeys.encryption,
            integrityKey: child.outboundKeys.integrity)
        let header: [UInt8] = [0xC0, 0, 0, 1, 0, 0, 0, 1]
        let iv = [UInt8](repeating: 7, count: child.algorithms.cipher.ivLength)
        var text = text
        var tag = [UInt8](repeating: 0, count: child.algorithms.icvLength)
        try iv.withUnsafeBytes { iv in
            try header.withUnsafeBytes { header in
                try text.withUnsafeMutableBytes { text in
                    try tag.withUnsafeMutableBytes { try cipher.seal(iv: iv, authenticated: header, text: text, tag: $0) }
                }
            }
        }
        return header + iv + text + tag
    }
}
