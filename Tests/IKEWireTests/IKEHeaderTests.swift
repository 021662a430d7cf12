import IKEWire
import Testing

@Suite struct IKEHeaderTests {
    private let bytes = hex("0102030405060708 1112131415161718 2e 20 25 20 00000a0b 0000001c")

    @Test func parse_whenResponseOfResponder_givesEveryField() throws {
        let header = try IKEHeader(parsing: bytes)
        let expected = IKEHeader(
            initiatorSPI: 0x0102_0304_0506_0708, responderSPI: 0x1112_1314_1516_1718, nextPayload: 46, exchangeType: .informational,
            isInitiator: false, isResponse: true, messageID: 0x0A0B, length: 28)
        #expect(header == expected)
        #expect(header.encode() == bytes)
    }

    @Test(arguments: [(0x08, true, false, false), (0x10, false, true, false), (0x20, false, false, true), (0xC7, false, false, false)])
    func parse_whenFlagSet_readsThatFlagAlone(flags: Int, initiator: Bool, version: Bool, response: Bool) throws {
        var changed = bytes
        changed[19] = UInt8(flags)
        let header = try IKEHeader(parsing: changed)
        #expect([header.isInitiator, header.hasHigherVersion, header.isResponse] == [initiator, version, response])
        // X bits are not sent on (RFC 7296 §3.1).
        #expect(header.encode()[19] == UInt8(flags & 0x38))
    }

    @Test func parse_whenMajorVersion3_leavesTheJudgementToTheCaller() throws {
        var changed = bytes
        changed[17] = 0x31
        let header = try IKEHeader(parsing: changed)
        #expect(header.majorVersion == 3 && header.minorVersion == 1)
        #expect(throws: IKEWireError.unsupportedMajorVersion(3)) { try IKEMessage(parsing: changed) }
    }

    @Test func parse_whenMinorVersionUnknown_ignoresIt() throws {
        var changed = bytes
        changed[16] = 0
        changed[17] = 0x2F
        #expect(try IKEMessage(parsing: changed).payloads.isEmpty)
    }

    @Test func parse_whenLengthFieldIsNotTheDatagrams_throws() {
        #expect(throws: IKEWireError.badMessageLength(field: 28, actual: 29)) { try IKEHeader(parsing: bytes + [0]) }
        var long = bytes
        long[27] = 29
        #expect(throws: IKEWireError.badMessageLength(field: 29, actual: 28)) { try IKEHeader(parsing: long) }
        var huge = bytes
        huge[24] = 0xFF
        #expect(throws: IKEWireError.badMessageLength(field: 0xFF00_001C, actual: 28)) { try IKEHeader(parsing: huge) }
    }

    @Test func parse_whenShorterThanAHeader_throws() {
        for count in 0..<IKEHeader.length {
            #expect(throws: IKEWireError.truncated) { try IKEHeader(parsing: Array(bytes.prefix(count))) }
        }
    }

    @Test func parse_whenInitiatorSPIIsZero_throws() {
        let zero = Array(repeating: UInt8(0), count: 8) + bytes.dropFirst(8)
        #expect(throws: IKEWireError.zeroInitiatorSPI) { try IKEMessage(parsing: zero) }
    }

    @Test func parse_whenLongerThanAnyDatagram_throws() {
        let long = fittingLength(bytes + Array(repeating: 0, count: IKEWireLimits.messageLengthMax))
        #expect(throws: IKEWireError.messageTooLong(long.count)) { try IKEHeader(parsing: long) }
    }
}
