import IKEWire
import Testing

@Suite struct IKEMessageTests {
    @Test func strongSwanInit_whenParsed_givesEveryPayload() throws {
        #expect(Sample.strongSwanInitBytes.count == 284)
        #expect(try IKEMessage(parsing: Sample.strongSwanInitBytes) == Sample.strongSwanInit)
    }

    @Test func strongSwanInit_whenEncoded_givesTheSameOctets() {
        #expect(Sample.strongSwanInit.encode() == Sample.strongSwanInitBytes)
    }

    @Test(arguments: Sample.payloads.indices) func payload_whenCoded_hasTheOctetsOfTheStandard(index: Int) throws {
        let (payload, body) = Sample.payloads[index]
        let encoded = IKEMessage.encodePayloads([payload])
        #expect(encoded.first == payload.type)
        #expect(encoded.bytes == chain(body))
        #expect(try IKEMessage.parsePayloads(first: payload.type, bytes: chain(body)) == [payload])
    }

    @Test func chain_whenAllPayloadsFollowEachOther_keepsTheirOrder() throws {
        #expect(try IKEMessage(parsing: Sample.everything.encode()) == Sample.everything)
    }

    @Test func chain_whenEmpty_isALivenessCheck() throws {
        let encoded = IKEMessage.encodePayloads([])
        #expect(encoded.first == 0 && encoded.bytes.isEmpty)
        #expect(try IKEMessage.parsePayloads(first: 0, bytes: []).isEmpty)
    }

    @Test func chain_whenReservedAndCriticalBitsAreSetOnAKnownPayload_ignoresThem() throws {
        #expect(try IKEMessage.parsePayloads(first: PayloadType.vendorID, bytes: hex("00 ff 0005 41")) == [.vendorID([0x41])])
    }

    @Test func unknownPayload_whenCritical_isHandedToTheCaller() throws {
        // Type 49 with the critical bit, then an empty Vendor ID.
        let payloads = try IKEMessage.parsePayloads(first: 49, bytes: hex("2b 80 0006 abcd 00 00 0004"))
        #expect(payloads == [.unknown(type: 49, isCritical: true, body: [0xAB, 0xCD]), .vendorID([])])
        #expect(IKEMessage.encodePayloads(payloads).bytes == hex("2b 80 0006 abcd 00 00 0004"))
    }

    @Test func chain_whenOctetsFollowTheLastPayload_throws() {
        #expect(throws: IKEWireError.trailingBytes(3)) { try IKEMessage.parsePayloads(first: 0, bytes: [0, 0, 0]) }
        #expect(throws: IKEWireError.trailingBytes(1)) { try IKEMessage.parsePayloads(first: 43, bytes: hex("00 00 0004 00")) }
    }

    @Test(arguments: [0, 3, 7, 0xFFFF]) func chain_whenAPayloadLengthDoesNotFit_throws(length: Int) {
        let bytes: [UInt8] = [0, 0, UInt8(length >> 8), UInt8(length & 0xFF), 1, 2]
        #expect(throws: IKEWireError.badPayloadLength(type: 43, length: length)) {
            try IKEMessage.parsePayloads(first: 43, bytes: bytes)
        }
    }

    @Test func chain_whenAPayloadWithOneMeaningComesTwice_throws() {
        for (payload, _) in Sample.payloads {
            let twice = IKEMessage.encodePayloads([payload, payload])
            switch payload {
            case .certificate, .certificateRequest, .notify, .delete, .vendorID, .unknown:
                #expect(throws: Never.self) { try IKEMessage.parsePayloads(first: twice.first, bytes: twice.bytes) }
            default:
                #expect(throws: IKEWireError.duplicatePayload(payload.type)) {
                    try IKEMessage.parsePayloads(first: twice.first, bytes: twice.bytes)
                }
            }
        }
    }
}

@Suite struct EncryptedPayloadTests {
    @Test func protected_whenParsed_saysWhereTheIVStarts() throws {
        let bytes = Sample.protected.encode()
        let message = try IKEMessage(parsing: bytes)
        #expect(message == Sample.protected)
        guard case .encrypted(let encrypted) = message.payloads.last else { throw IKEWireError.truncated }
        #expect(Array(bytes[encrypted.bodyOffset...]) == encrypted.body)
        #expect(bytes[16] == PayloadType.notify && bytes[28] == PayloadType.encrypted && bytes[36] == encrypted.firstPayload)
    }

    @Test func fragment_whenParsed_saysWhichItIs() throws {
        let bytes = Sample.fragment.encode()
        #expect(try IKEMessage(parsing: bytes) == Sample.fragment)
        #expect(Array(bytes[28..<36]) == hex("23 00 0030 0001 0003"))
    }

    @Test(arguments: [(0, 3, 0), (4, 3, 0), (1, 0, 35), (2, 3, 35)])
    func fragment_whenNumbersContradict_throws(number: UInt16, total: UInt16, firstPayload: UInt8) {
        var message = Sample.fragment
        message.payloads = [
            .encryptedFragment(
                EncryptedFragmentPayload(
                    firstPayload: firstPayload, fragmentNumber: number, totalFragments: total, bodyOffset: 36, body: []))
        ]
        let bytes = message.encode()
        #expect(throws: IKEWireError.badFragmentNumber(number: number, total: total)) { try IKEMessage(parsing: bytes) }
    }

    @Test func encrypted_whenOctetsFollowIt_throws() {
        let bytes = fittingLength(Sample.protected.encode() + hex("00 00 0004"))
        #expect(throws: IKEWireError.encryptedNotLast) { try IKEMessage(parsing: bytes) }
    }

    @Test(arguments: [PayloadType.encrypted, PayloadType.encryptedFragment])
    func encrypted_whenInsideAnother_throws(type: UInt8) {
        #expect(throws: IKEWireError.nestedEncrypted) { try parse(type: type, body: octets(0, count: 8)) }
    }

    @Test func protectedHeader_whenBodyFollows_isTheMessageThatIsParsed() throws {
        let header = IKEHeader(
            initiatorSPI: 3, responderSPI: 4, exchangeType: .informational, isInitiator: true, isResponse: true, messageID: 5)
        let body = octets(9, count: 33)
        let aad = IKEMessage.protectedHeader(header: header, firstInner: PayloadType.delete, sealedLength: body.count)
        #expect(aad == hex("0000000000000003 0000000000000004 2e 20 25 28 00000005 00000041 2a 00 0025"))
        let message = try IKEMessage(parsing: aad + body)
        #expect(message.payloads == [.encrypted(EncryptedPayload(firstPayload: PayloadType.delete, bodyOffset: aad.count, body: body))])
        #expect(message.header == header)
    }
}
