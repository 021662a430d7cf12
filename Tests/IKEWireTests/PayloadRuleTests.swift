import IKEWire
import Testing

@Suite struct TrafficSelectorPayloadTests {
    private func selectors(_ body: [UInt8]) throws -> [WireTrafficSelector] {
        guard case .trafficSelectorsInitiator(let list) = try parse(type: PayloadType.trafficSelectorsInitiator, body: body).first else {
            throw IKEWireError.noSelectors
        }
        return list
    }

    @Test func range_whenStartIsPastEnd_throws() throws {
        #expect(try selectors(hex("01000000 07 00 0010 0000ffff 0a000001 0a000001")).first?.end == [10, 0, 0, 1])
        #expect(throws: IKEWireError.badSelectorRange) { try selectors(hex("01000000 07 00 0010 0000ffff 0a000002 0a000001")) }
        #expect(throws: IKEWireError.badSelectorRange) { try selectors(hex("01000000 07 06 0010 00c80064 0a000001 0a000001")) }
    }

    @Test func ports_whenOpaque_areNoBadRange() throws {
        // RFC 7296 §3.13.1: OPAQUE is 65535 to 0.
        let selector = try selectors(hex("01000000 07 06 0010 ffff0000 0a000001 0a000001")).first
        #expect(selector?.startPort == 65535 && selector?.endPort == 0)
    }

    @Test(arguments: [(7, 8, 8), (7, 40, 40), (8, 16, 16), (8, 41, 41), (7, 3, 16), (9, 0, 16)])
    func length_whenNotThatOfTheType_throws(type: UInt8, length: UInt8, size: Int) {
        let body = [1, 0, 0, 0, type, 0, 0, length] + Array(repeating: UInt8(0), count: size - 4)
        #expect(throws: IKEWireError.badSelectorLength(type: type, length: Int(length))) { try selectors(body) }
    }

    @Test func count_whenNotTheNumberOfSelectors_throws() {
        let one = hex("07 00 0010 0000ffff 0a000001 0a000001")
        #expect(throws: IKEWireError.noSelectors) { try selectors([0, 0, 0, 0]) }
        #expect(throws: IKEWireError.countMismatch(field: 2, actual: 1)) { try selectors([2, 0, 0, 0] + one) }
        #expect(throws: IKEWireError.trailingBytes(16)) { try selectors([1, 0, 0, 0] + one + one) }
    }

    @Test func selector_whenOfUnknownType_isMarked() throws {
        let list = try selectors(hex("02000000 09 05 0008 01020304 07 00 0010 0000ffff 0a000001 0a000001"))
        #expect(list.map(\.isUnknown) == [true, false])
        #expect(list.first?.unknownBody == [1, 2, 3, 4])
    }
}

@Suite struct ConfigurationPayloadTests {
    private func attributes(_ body: [UInt8]) throws -> [ConfigurationAttribute] {
        guard case .configuration(let payload) = try parse(type: PayloadType.configuration, body: body).first else {
            throw IKEWireError.truncated
        }
        return payload.attributes
    }

    @Test func attribute_whenReservedBitIsSet_isReadWithoutIt() throws {
        #expect(try attributes(hex("01000000 8001 0000")) == [ConfigurationAttribute(type: 1)])
    }

    @Test func attribute_whenUnknown_isKept() throws {
        #expect(try attributes(hex("01000000 5ba0 0003 010203")) == [ConfigurationAttribute(type: 0x5BA0, value: [1, 2, 3])])
    }

    /// RFC 7296 §3.15.1, the column "Length"; 16 for an IPv6 address is the tolerance that the codec documents.
    private static let lengths: [(type: UInt8, allowed: [Int])] = [
        (1, [0, 4]), (2, [0, 4]), (3, [0, 4]), (4, [0, 4]), (6, [0, 4]), (8, [0, 16, 17]), (10, [0, 16]), (12, [0, 16]), (13, [0, 8]),
        (14, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]), (15, [0, 17]),
    ]

    @Test(arguments: lengths)
    func length_whenNotThatOfTheType_throws(type: UInt8, allowed: [Int]) throws {
        for length in 0...18 {
            let body = [1, 0, 0, 0, 0, type, 0, UInt8(length)] + octets(1, count: length)
            if allowed.contains(length) {
                #expect(try attributes(body).first?.value.count == length)
            } else {
                #expect(throws: IKEWireError.badAttributeLength(type: UInt16(type), length: length)) { try attributes(body) }
            }
        }
    }

    @Test func attribute_whenLongerThanThePayload_throws() {
        #expect(throws: IKEWireError.truncated) { try attributes(hex("01000000 0007 0003 0102")) }
        #expect(throws: IKEWireError.truncated) { try attributes(hex("01000000 0001 00")) }
    }
}

@Suite struct SmallPayloadTests {
    @Test func notify_whenSPISizeIsNotThatOfTheProtocol_throws() throws {
        for (protocolID, size, isAllowed) in [
            (0, 0, true), (1, 0, true), (1, 8, false), (2, 4, true), (3, 4, true), (3, 0, true), (3, 8, false),
        ] {
            let body = [UInt8(protocolID), UInt8(size), 0, 7] + octets(1, count: 8)
            if isAllowed {
                let expected = NotifyPayload(
                    protocolID: ProtocolID(rawValue: UInt8(protocolID)), spi: octets(1, count: size), type: .invalidSyntax,
                    data: octets(UInt8(1 + size), count: 8 - size))
                #expect(try parse(type: PayloadType.notify, body: body) == [.notify(expected)])
            } else {
                #expect(throws: IKEWireError.badSPISize(protocolID: ProtocolID(rawValue: UInt8(protocolID)), size: size)) {
                    try parse(type: PayloadType.notify, body: body)
                }
            }
        }
    }

    @Test func notify_whenSPIIsLongerThanThePayload_throws() {
        #expect(throws: IKEWireError.truncated) { try parse(type: PayloadType.notify, body: hex("03 04 4009 cafeba")) }
    }

    @Test func notify_whenTypeIsUnknown_isKeptAndSaysWhetherItIsAnError() {
        #expect(NotifyType(rawValue: 16383).isError && !NotifyType(rawValue: 16384).isError)
        #expect(NotifyType.cookie.description == "COOKIE")
        #expect(NotifyType(rawValue: 9999).description == "NOTIFY_9999")
    }

    @Test func delete_whenCountIsNotTheNumberOfSPIs_throws() {
        func parsed(_ text: String) throws -> [Payload] { try parse(type: PayloadType.delete, body: hex(text)) }
        #expect(throws: IKEWireError.truncated) { try parsed("03 04 0002 01020304") }
        #expect(throws: IKEWireError.trailingBytes(4)) { try parsed("03 04 0001 01020304 05060708") }
        #expect(throws: IKEWireError.badSPISize(protocolID: .esp, size: 0)) { try parsed("03 00 ffff") }
        #expect(throws: IKEWireError.badSPISize(protocolID: .ike, size: 8)) { try parsed("01 08 0001 0102030405060708") }
        #expect(throws: IKEWireError.countMismatch(field: 65535, actual: 0)) { try parsed("01 00 ffff") }
        #expect(throws: IKEWireError.badProtocol(4)) { try parsed("04 04 0001 01020304") }
    }

    @Test(arguments: [(15, false), (16, true), (256, true), (257, false)])
    func nonce_whenLengthIsOutOfRange_throws(count: Int, isAllowed: Bool) throws {
        let body = octets(1, count: count)
        if isAllowed {
            #expect(try parse(type: PayloadType.nonce, body: body) == [.nonce(body)])
        } else {
            #expect(throws: IKEWireError.badNonceLength(count)) { try parse(type: PayloadType.nonce, body: body) }
        }
    }

    @Test func eap_whenItsLengthIsNotThePayloads_throws() {
        #expect(throws: IKEWireError.badEAPLength(5)) { try parse(type: PayloadType.eap, body: hex("01 07 0006 01")) }
        #expect(throws: IKEWireError.badEAPLength(3)) { try parse(type: PayloadType.eap, body: hex("01 07 00")) }
    }

    @Test func identification_whenSigned_isTheBodyOfItsPayload() {
        let payload = IdentificationPayload(kind: 2, data: Array("road".utf8))
        #expect(IKEMessage.encodePayloads([.identificationInitiator(payload)]).bytes == chain(payload.bodyBytes))
    }
}
