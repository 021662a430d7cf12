import IKEWire

/// SplitMix64: the same seed gives the same run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

/// Octets from hexadecimal text; spaces and line ends are for the reader.
func hex(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }.map { UInt8($0.hexDigitValue!) }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

func octets(_ first: UInt8, count: Int) -> [UInt8] { (0..<count).map { first &+ UInt8(truncatingIfNeeded: $0) } }

/// The message with its header's length field made to fit.
func fittingLength(_ message: [UInt8]) -> [UInt8] {
    var out = message
    guard out.count >= IKEHeader.length else { return out }
    let length = UInt32(out.count)
    for index in 0..<4 { out[24 + index] = UInt8(truncatingIfNeeded: length >> UInt32(24 - 8 * index)) }
    return out
}

/// One payload's body as a chain of its own: a generic header in front, nothing after.
func chain(_ body: [UInt8]) -> [UInt8] {
    let length = body.count + 4
    return [0, 0, UInt8(length >> 8), UInt8(length & 0xFF)] + body
}

func parse(type: UInt8, body: [UInt8]) throws -> [Payload] {
    try IKEMessage.parsePayloads(first: type, bytes: chain(body))
}

enum Sample {
    /// The first message of a strongSwan 5.9 initiator, put together by hand from RFC 7296 §3 field by field.
    static let strongSwanInitBytes = hex(
        """
        c1c2c3c4c5c6c7c8 0000000000000000 21 20 22 08 00000000 0000011c
        2200005c
          0200002c 01 01 00 04
            0300000c 0100000c 800e0080
            03000008 0300000c
            03000008 02000005
            00000008 0400001f
          0000002c 02 01 00 04
            0300000c 01000014 800e0100
            03000008 02000005
            03000008 0400001f
            00000008 04000013
        28000028 001f 0000
          101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f
        29000024
          808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f
        2900001c 00004004 a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3
        2900001c 00004005 c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3
        29000008 0000402e
        29000010 0000402f 0002000300040005
        00000008 00004016
        """)

    static let strongSwanInit = IKEMessage(
        initiatorSPI: 0xC1C2_C3C4_C5C6_C7C8, responderSPI: 0, exchangeType: .ikeSAInit, isInitiator: true, isResponse: false, messageID: 0,
        payloads: [
            .securityAssociation([
                Proposal(
                    number: 1, protocolID: .ike,
                    transforms: [
                        Transform(type: 1, id: 12, keyLength: 128), Transform(type: 3, id: 12), Transform(type: 2, id: 5),
                        Transform(type: 4, id: 31),
                    ]),
                Proposal(
                    number: 2, protocolID: .ike,
                    transforms: [
                        Transform(type: 1, id: 20, keyLength: 256), Transform(type: 2, id: 5), Transform(type: 4, id: 31),
                        Transform(type: 4, id: 19),
                    ]),
            ]),
            .keyExchange(KeyExchangePayload(group: 31, data: octets(0x10, count: 32))),
            .nonce(octets(0x80, count: 32)),
            .notify(NotifyPayload(type: .natDetectionSourceIP, data: octets(0xA0, count: 20))),
            .notify(NotifyPayload(type: .natDetectionDestinationIP, data: octets(0xC0, count: 20))),
            .notify(NotifyPayload(type: .ikev2FragmentationSupported)),
            .notify(NotifyPayload(type: .signatureHashAlgorithms, data: [0, 2, 0, 3, 0, 4, 0, 5])),
            .notify(NotifyPayload(type: .redirectSupported)),
        ])

    /// One payload of every kind that may stand inside an Encrypted payload, with the body that RFC 7296 §3 gives it.
    static let payloads: [(payload: Payload, body: [UInt8])] = [
        (
            .securityAssociation([
                Proposal(
                    number: 1, protocolID: .esp, spi: [0x05, 0x23, 0x57, 0xBB],
                    transforms: [Transform(type: 1, id: 20, keyLength: 256), Transform(type: 5, id: 0)])
            ]), hex("00000020 01 03 04 02 052357bb 0300000c 01000014 800e0100 00000008 05000000")
        ),
        (.keyExchange(KeyExchangePayload(group: 19, data: octets(1, count: 4))), hex("0013 0000 01020304")),
        (.identificationInitiator(IdentificationPayload(kind: 2, data: Array("road".utf8))), hex("02000000 726f6164")),
        (.identificationResponder(IdentificationPayload(kind: 1, data: [192, 0, 2, 1])), hex("01000000 c0000201")),
        (.certificate(encoding: 4, data: [0x30, 0x03]), hex("04 3003")),
        (.certificateRequest(encoding: 4, data: octets(0x60, count: 20)), [4] + octets(0x60, count: 20)),
        (.authentication(method: 2, data: octets(0x40, count: 8)), hex("02000000 4041424344454647")),
        (.nonce(octets(0x20, count: 16)), octets(0x20, count: 16)),
        (
            .notify(NotifyPayload(protocolID: .esp, spi: [0xCA, 0xFE, 0xBA, 0xBE], type: .rekeySA)), hex("03 04 4009 cafebabe")
        ),
        (.notify(NotifyPayload(type: .invalidKEPayload, data: [0, 31])), hex("00 00 0011 001f")),
        (.delete(DeletePayload(protocolID: .ike)), hex("01 00 0000")),
        (.delete(DeletePayload(protocolID: .esp, spis: [[1, 2, 3, 4], [5, 6, 7, 8]])), hex("03 04 0002 01020304 05060708")),
        (.vendorID(Array("tandem".utf8)), Array("tandem".utf8)),
        (
            .trafficSelectorsInitiator([
                WireTrafficSelector(type: 7, ipProtocol: 17, startPort: 100, endPort: 200, start: [10, 0, 0, 1], end: [10, 0, 0, 9])
            ]), hex("01000000 07 11 0010 0064 00c8 0a000001 0a000009")
        ),
        (
            .trafficSelectorsResponder([
                WireTrafficSelector(
                    type: 8, ipProtocol: 0, startPort: 0, endPort: 65535, start: Array(repeating: 0, count: 16),
                    end: Array(repeating: 255, count: 16)),
                WireTrafficSelector(unknownType: 9, secondOctet: 1, body: [2, 3]),
            ]),
            hex(
                "02000000 08 00 0028 0000 ffff" + String(repeating: "00", count: 16) + String(repeating: "ff", count: 16)
                    + "09 01 0006 0203")
        ),
        (
            .configuration(
                ConfigurationPayload(
                    type: ConfigurationType.reply,
                    attributes: [
                        ConfigurationAttribute(type: ConfigurationAttributeType.internalIP4Address, value: [10, 9, 0, 2]),
                        ConfigurationAttribute(type: ConfigurationAttributeType.internalIP4DNS),
                        ConfigurationAttribute(
                            type: ConfigurationAttributeType.internalIP6Address,
                            value: hex("20010db8000000010002000300040005 40")),
                    ])), hex("02000000 0001 0004 0a090002 0003 0000 0008 0011 20010db8000000010002000300040005 40")
        ),
        (.eap([1, 7, 0, 5, 1]), hex("01 07 0005 01")),
        (.unknown(type: 200, isCritical: false, body: [9, 9]), hex("0909")),
    ]

    /// An IKE_AUTH request with an Encrypted payload after a Notify.
    static let protected = IKEMessage(
        initiatorSPI: 1, responderSPI: 2, exchangeType: .ikeAuth, isInitiator: true, isResponse: false, messageID: 1,
        payloads: [
            .notify(NotifyPayload(type: .initialContact)),
            .encrypted(EncryptedPayload(firstPayload: 35, bodyOffset: 40, body: octets(0x50, count: 40))),
        ])

    static let fragment = IKEMessage(
        initiatorSPI: 1, responderSPI: 2, exchangeType: .ikeAuth, isInitiator: true, isResponse: false, messageID: 1,
        payloads: [
            .encryptedFragment(
                EncryptedFragmentPayload(
                    firstPayload: 35, fragmentNumber: 1, totalFragments: 3, bodyOffset: 36, body: octets(0x70, count: 40)))
        ])

    /// One message with every payload of `payloads` that may stand beside the others.
    static let everything = IKEMessage(
        initiatorSPI: 7, responderSPI: 8, exchangeType: .createChildSA, isInitiator: false, isResponse: true, messageID: 9,
        payloads: payloads.map(\.payload))
}
