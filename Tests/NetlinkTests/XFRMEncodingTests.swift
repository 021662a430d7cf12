import Cryptography
import Session
import Testing

@testable import Netlink

@Suite struct XFRMEncodingTests {
    private let gateway = IPAddress("192.0.2.10")!
    private let peer = IPAddress("198.51.100.7")!

    private func state(_ cipher: Cipher, _ integrity: IntegrityAlgorithm?, replay: XFRMReplay) -> XFRMState {
        XFRMState(
            id: XFRMStateID(destination: peer, spi: 0xC0DE_0001), source: gateway, requestID: 0x5A00_0001, cipher: cipher,
            integrity: integrity,
            keys: DirectionKeys(
                encryption: SecretBytes((0..<cipher.keyMaterialLength).map { UInt8($0) }),
                integrity: SecretBytes([UInt8](repeating: 0xAB, count: integrity?.keyLength ?? 0))),
            encapsulation: XFRMEncapsulation(sourcePort: 4500, destinationPort: 1025), replay: replay, packets: replay.lastSent,
            limits: XFRMPacketLimits(soft: 0x100, hard: 0x200))
    }

    /// The attributes of a message with a fixed header of `length` octets.
    private func attributes(_ message: NetlinkMessage, after length: Int) -> NetlinkAttributes {
        NetlinkAttributes(message.bytes.dropFirst(aligned(16 + length)))
    }

    @Test func newState_withAESGCMAndESN_isWhatTheKernelReads() throws {
        let replay = XFRMReplay(window: 64, isExtended: true, lastSent: 0x1_0000_0002, top: 0x2_0000_0003)
        let message = XFRMEncoding.newState(state(Cipher(.aesGCM16, keyBits: 128), nil, replay: replay), now: 7)
        // nlmsghdr: length, XFRM_MSG_NEWSA, REQUEST|EXCL|CREATE.
        #expect(message.bytes.count == Int(message.bytes[0]) | Int(message.bytes[1]) << 8)
        #expect(Array(message.bytes[4..<8]) == bytes("1000 0106"))
        // xfrm_usersa_info: 56 octets of an empty selector, then destination, SPI, protocol 50, source.
        let info = Array(message.bytes[16..<(16 + 224)])
        #expect(info[0..<56].allSatisfy { $0 == 0 })
        #expect(Array(info[56..<80]) == bytes("C6336407 000000000000000000000000 C0DE0001 32000000"))
        #expect(Array(info[80..<84]) == bytes("C000020A"))
        // Limits: octets without, packets with.
        #expect(Array(info[96..<128]) == bytes("FFFFFFFFFFFFFFFF FFFFFFFFFFFFFFFF 0001000000000000 0002000000000000"))
        // seq 0, reqid, family, tunnel mode, window 0 (it is in the ESN attribute), AF_UNSPEC|ESN.
        #expect(Array(info[204..<220]) == bytes("00000000 0100005A 0200 01 00 A0 000000"))

        let found = attributes(message, after: 224)
        let aead = try #require(found[18])
        #expect(String(decoding: aead.prefix { $0 != 0 }, as: UTF8.self) == "rfc4106(gcm(aes))")
        #expect(Array(aead.dropFirst(64)) == bytes("A0000000 80000000 000102030405060708090A0B0C0D0E0F 10111213"))
        #expect(found[4].map(Array.init) == bytes("0200 1194 0401 0000") + [UInt8](repeating: 0, count: 16))
        // bmp_len 2, oseq, seq, oseq_hi, seq_hi, window, full bitmap.
        #expect(
            found[23].map(Array.init)
                == bytes("02000000 02000000 03000000 01000000 02000000 40000000 FFFFFFFF FFFFFFFF"))
        // Octets, packets, when added, when used.
        #expect(
            found[9].map(Array.init) == bytes("0000000000000000 0200000001000000 0700000000000000 0000000000000000"))
    }

    @Test func newState_withCBCAndShortWindow_usesTheOldFormat() throws {
        let message = XFRMEncoding.newState(
            state(Cipher(.aesCBC, keyBits: 256), .hmacSHA384_192, replay: XFRMReplay(window: 32, isExtended: false, lastSent: 5)), now: 0)
        #expect(message.bytes[16 + 215] == 32, "window")
        #expect(message.bytes[16 + 216] == 0x20, "no ESN flag")
        let found = attributes(message, after: 224)
        let crypt = try #require(found[2])
        #expect(Array(crypt.prefix(9)) == Array("cbc(aes)".utf8) + [0])
        #expect(Array(crypt.dropFirst(64).prefix(4)) == bytes("00010000"))
        #expect(crypt.count == 68 + 32)
        let auth = try #require(found[20])
        #expect(Array(auth.prefix(13)) == Array("hmac(sha384)".utf8) + [0])
        #expect(Array(auth.dropFirst(64).prefix(8)) == bytes("80010000 C0000000"), "384 bits of key, 192 of ICV")
        #expect(found[10].map(Array.init) == bytes("05000000 00000000 00000000"))
        #expect(found[23] == nil)
    }

    /// The kernel's name, bits of key with its salt, bits of ICV.
    @Test(arguments: [
        (Cipher(.aesGCM8, keyBits: 128), "rfc4106(gcm(aes))", 160, 64), (Cipher(.aesGCM12, keyBits: 192), "rfc4106(gcm(aes))", 224, 96),
        (Cipher(.aesGCM16, keyBits: 256), "rfc4106(gcm(aes))", 288, 128),
        (Cipher(.chaCha20Poly1305, keyBits: 256), "rfc7539esp(chacha20,poly1305)", 288, 128),
    ]) func newState_withAnAEAD_namesItAndItsICV(cipher: Cipher, name: String, keyBits: UInt32, icvBits: UInt32) throws {
        let message = XFRMEncoding.newState(state(cipher, nil, replay: XFRMReplay(window: 64, isExtended: true)), now: 0)
        let found = attributes(message, after: 224)
        let aead = Array(try #require(found[18]))
        #expect(String(decoding: aead.prefix { $0 != 0 }, as: UTF8.self) == name)
        #expect(Array(aead[64..<72]) == littleEndian(keyBits) + littleEndian(icvBits))
        #expect(Array(aead[72...]) == (0..<UInt8(keyBits / 8)).map { $0 })
        #expect(found[2] == nil && found[20] == nil)
    }

    @Test(arguments: [
        (Cipher(.aesCTR, keyBits: 128), "rfc3686(ctr(aes))", 160, IntegrityAlgorithm.hmacSHA256_128, "hmac(sha256)", 256, 128),
        (Cipher(.aesCTR, keyBits: 256), "rfc3686(ctr(aes))", 288, .hmacSHA512_256, "hmac(sha512)", 512, 256),
        (Cipher(.aesCBC, keyBits: 192), "cbc(aes)", 192, .hmacSHA1_96, "hmac(sha1)", 160, 96),
    ]) func newState_withCipherAndHMAC_namesBoth(
        cipher: Cipher, name: String, keyBits: UInt32, integrity: IntegrityAlgorithm, hash: String, hashBits: UInt32, icvBits: UInt32
    ) throws {
        let message = XFRMEncoding.newState(state(cipher, integrity, replay: XFRMReplay(window: 32, isExtended: false)), now: 0)
        let found = attributes(message, after: 224)
        let crypt = Array(try #require(found[2]))
        #expect(String(decoding: crypt.prefix { $0 != 0 }, as: UTF8.self) == name)
        #expect(Array(crypt[64..<68]) == littleEndian(keyBits) && Array(crypt[68...]) == (0..<UInt8(keyBits / 8)).map { $0 })
        let auth = Array(try #require(found[20]))
        #expect(String(decoding: auth.prefix { $0 != 0 }, as: UTF8.self) == hash)
        #expect(Array(auth[64..<72]) == littleEndian(hashBits) + littleEndian(icvBits))
        #expect(auth[72...].allSatisfy { $0 == 0xAB } && auth.count == 72 + Int(hashBits / 8) && found[18] == nil)
    }

    private func littleEndian(_ value: UInt32) -> [UInt8] { [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: value >> $0) } }

    @Test func setReplay_withoutESN_neverSaysMoreThan32Bits() throws {
        let replay = XFRMReplay(window: 1024, isExtended: false, lastSent: 1 << 40, top: 1 << 40)
        let message = XFRMEncoding.setReplay(
            XFRMStateID(destination: peer, spi: 1), source: gateway, replay, counters: (packets: 9, bytes: 8), now: 1)
        let value = try #require(attributes(message, after: 48)[23])
        #expect(Array(value.prefix(24)) == bytes("20000000 FFFFFFFF FFFFFFFF 00000000 00000000 00040000"))
        #expect(value.count == 24 + 128)
    }

    @Test func policy_block_hasNoTemplateAndKeepsItsTag() throws {
        let selector = XFRMSelector(
            source: IPPrefix("10.10.3.4/16")!, destination: IPPrefix("10.20.0.0/16")!, ipProtocol: 6,
            destinationPort: MaskedPort(value: 443, mask: .max))
        let policy = XFRMPolicy(id: XFRMPolicyID(selector: selector, direction: .out, tag: 0xABCD), priority: 1000, action: .block)
        let message = XFRMEncoding.putPolicy(policy, replacing: true)
        #expect(message.bytes.count == 16 + 168)
        #expect(Array(message.bytes[4..<8]) == bytes("1900 0101"), "XFRM_MSG_UPDPOLICY, REQUEST|REPLACE")
        let info = Array(message.bytes[16...])
        // Padding after the protocol is zero: the kernel compares it.
        #expect(
            Array(info[0..<56])
                == bytes("0A140000 000000000000000000000000 0A0A0000 000000000000000000000000 01BB FFFF 0000 0000 0200 10 10 06 000000")
                + bytes("00000000 CDAB0000"))
        #expect(Array(info[152..<164]) == bytes("E8030000 00000000 01 01 00 00"))
    }

    @Test func policy_putAndRead_isTheSame() throws {
        let template = XFRMTemplate(source: gateway, destination: peer, requestID: 77, spi: 0xC000_0001)
        for (direction, action) in [(XFRMDirection.out, XFRMAction.protect(template)), (.in, .block), (.forward, .allow)] {
            let selector = XFRMSelector(source: IPPrefix("fd00::/64")!, destination: IPPrefix("fd01::5/128")!)
            let policy = XFRMPolicy(id: XFRMPolicyID(selector: selector, direction: direction, tag: 3), priority: 5, action: action)
            var sent = XFRMEncoding.putPolicy(policy, replacing: false)
            let reply = try #require(NetlinkSocket.split(sent.bytes[...]).first)
            #expect(XFRMDecoding.policy(reply) == policy)
            for length in 0..<reply.payload.count {
                let cut = NetlinkReply(type: reply.type, flags: 0, sequence: 0, payload: Array(reply.payload.prefix(length)))
                if length < 168 { #expect(XFRMDecoding.policy(cut) == nil) } else { _ = XFRMDecoding.policy(cut) }
            }
            sent.wipe()
            #expect(sent.bytes.allSatisfy { $0 == 0 })
        }
    }
}

@Suite struct XFRMSelectorTests {
    private func selector(_ text: String, proto: UInt8 = 0, ports: ClosedRange<UInt16> = 0...65535) -> TrafficSelector {
        var selector = TrafficSelector(IPPrefix(text)!)
        (selector.ipProtocol, selector.startPort, selector.endPort) = (proto, ports.lowerBound, ports.upperBound)
        return selector
    }

    @Test func selectors_ofARange_coverItExactly() throws {
        let range = TrafficSelector(start: IPAddress("10.0.0.1")!, end: IPAddress("10.0.0.6")!)
        let found = try XFRMSelector.selectors(source: [range], destination: [selector("10.1.0.0/16")])
        #expect(found.map { String($0.source) } == ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"])
        #expect(found.allSatisfy { String($0.destination) == "10.1.0.0/16" && $0.ipProtocol == 0 })
    }

    @Test(arguments: [(80, 80), (0, 65535), (1, 65534), (1000, 2000), (65535, 65535)])
    func maskedPorts_ofARange_matchNothingElse(first: UInt16, last: UInt16) {
        let ports = MaskedPort.covering(first...last)
        #expect(ports.count <= 30)
        let matched = (0...UInt16.max).filter { port in ports.contains { port & $0.mask == $0.value } }
        #expect(matched == Array(first...last))
    }

    @Test func selectors_ofDifferentProtocolsOrFamilies_doNotMeet() throws {
        #expect(
            try XFRMSelector.selectors(source: [selector("10.0.0.0/8", proto: 6)], destination: [selector("10.0.0.0/8", proto: 17)]).isEmpty
        )
        #expect(try XFRMSelector.selectors(source: [selector("10.0.0.0/8")], destination: [selector("fd00::/8")]).isEmpty)
    }

    @Test func selectors_ofICMP_nameTypeAndCode() throws {
        let echo = selector("10.0.0.0/8", proto: 1, ports: 0x0800...0x08FF)
        let found = try XFRMSelector.selectors(source: [selector("10.0.0.0/8", proto: 1)], destination: [echo])
        #expect(found.map(\.sourcePort) == [MaskedPort(value: 8, mask: .max)])
        #expect(found.map(\.destinationPort) == [.any])
        let range = selector("10.0.0.0/8", proto: 1, ports: 0x0800...0x09FF)
        #expect(throws: XFRMSelectorError.icmpRange(range)) { try XFRMSelector.selectors(source: [range], destination: [echo]) }
    }

    @Test func selectors_thatAreTooMany_areRefused() throws {
        let awkward = TrafficSelector(start: IPAddress("0.0.0.1")!, end: IPAddress("255.255.255.254")!)
        #expect(throws: XFRMSelectorError.tooMany) { try XFRMSelector.selectors(source: [awkward], destination: [awkward]) }
    }
}
