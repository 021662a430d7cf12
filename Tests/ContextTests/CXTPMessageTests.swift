import Context
import Cryptography
import Session
import Testing

/// Every message's bytes, laid out by hand from the figures of RFC 4067 §2.4 and §2.5.
struct CXTPMessageTests {
    private static let client = IPAddress("192.0.2.7")!
    private static let gateway = IPAddress("198.51.100.1")!
    private static let client6 = IPAddress("2001:db8::7")!
    private static let profile = FeatureProfileType(rawValue: 0x1234)

    /// A name, the message, and its bytes.
    static let golden: [(String, CXTPMessage, [UInt8])] = [
        (
            "CTAR",
            .activateRequest(
                ActivateRequest(
                    wantsAcknowledgement: true, mobileNode: client, otherGateway: gateway, sequenceNumber: 0x0102_0304,
                    token: 0xA1B2_C3D4, blocks: [ContextDataBlock(profile)])),
            [0x21, 0xC0, 0, 24, 192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 3, 4, 0xA1, 0xB2, 0xC3, 0xD4, 0x12, 0x34, 0, 0]
        ),
        (
            "CTAA", .activateAcknowledge(ActivateAcknowledge(mobileNode: client, failures: [ProfileStatus(profile, .badChecksum)])),
            [0x22, 0x80, 0, 12, 192, 0, 2, 7, 0x12, 0x34, 1, 0]
        ),
        (
            "CTD",
            .data(
                ContextData(
                    wantsReply: true, elapsedMilliseconds: 300, mobileNode: client,
                    blocks: [ContextDataBlock(profile, presence: 0xC000_0000, data: [1, 2, 3, 4, 5, 6, 7, 8])])),
            [0x23, 0xC0, 0, 28, 0, 0, 1, 44, 192, 0, 2, 7, 0x12, 0x34, 2, 0x80, 0xC0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        ),
        (
            "PCTD",
            .data(
                ContextData(
                    wantsReply: false, elapsedMilliseconds: 0, mobileNode: client6,
                    tokenKey: TokenKey(algorithm: 1, key: SecretBytes([9, 8, 7, 6])),
                    blocks: [ContextDataBlock(profile, data: [1, 2, 3, 4])])
            ),
            [0x24, 0, 0, 40, 0, 0, 0, 0, 0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 4, 9, 8, 7, 6]
                + [0x12, 0x34, 1, 0, 1, 2, 3, 4]
        ),
        (
            "CTDR",
            .dataReply(DataReply(isSuccess: true, mobileNode: client, statuses: [ProfileStatus(profile, .success)])),
            [0x25, 0xC0, 0, 12, 192, 0, 2, 7, 0x12, 0x34, 0, 0]
        ),
        ("CTC", .cancel(client), [0x26, 0x80, 0, 8, 192, 0, 2, 7]),
        (
            "CT-Req",
            .request(ContextRequest(mobileNode: client, sequenceNumber: 5, token: 0, blocks: [ContextDataBlock(profile)])),
            [0x27, 0x80, 0, 20, 192, 0, 2, 7, 0, 0, 0, 5, 0, 0, 0, 0, 0x12, 0x34, 0, 0]
        ),
    ]

    @Test(arguments: golden.indices) func message_ofEachType_hasTheFiguresBytes(index: Int) throws {
        let (name, message, bytes) = CXTPMessageTests.golden[index]
        #expect(try message.encode() == bytes, "\(name)")
        #expect(try CXTPMessage(parsing: bytes) == message, "\(name)")
    }

    @Test func everyPrefix_ofEveryMessage_isRefusedAndNeverRead() {
        for (name, _, bytes) in CXTPMessageTests.golden {
            for count in 0..<bytes.count {
                var cut = Array(bytes[..<count])
                #expect(throws: CXTPError.self, "\(name) of \(count)") { try CXTPMessage(parsing: cut) }
                // Also where the header says that it is so short: that is another message, or none, and never a trap.
                guard count >= 4 else { continue }
                cut[3] = UInt8(count)
                _ = try? CXTPMessage(parsing: cut)
            }
        }
    }

    @Test func header_thatIsWrong_saysWhat() {
        let cancel: [UInt8] = [0x26, 0x80, 0, 8, 192, 0, 2, 7]
        func error(_ change: (inout [UInt8]) -> Void) -> CXTPError? {
            var bytes = cancel
            change(&bytes)
            do throws(CXTPError) { _ = try CXTPMessage(parsing: bytes) } catch { return error }
            return nil
        }
        #expect(error { $0[0] = 0x46 } == .unsupportedVersion(2))
        #expect(error { $0[0] = 0x28 } == .unknownType(8))
        #expect(error { $0[3] = 9 } == .badLength(field: 9, actual: 8))
        #expect(
            error {
                $0.append(0); $0[3] = 9
            } == .trailingBytes(1))
        #expect(error { $0[1] = 0 } == .truncated)
        #expect(error { $0[1] |= 0x3F } == nil, "reserved bits are not looked at")
    }

    @Test func block_withAPresenceVectorAndNoRoomForIt_isRefused() {
        let bytes: [UInt8] = [0x23, 0x80, 0, 16, 0, 0, 0, 0, 192, 0, 2, 7, 0x12, 0x34, 0, 0x80]
        #expect(throws: CXTPError.badBlockLength(0)) { try CXTPMessage(parsing: bytes) }
    }

    @Test func block_longerThanItsLengthCanSay_isNotWritten() throws {
        let full = ContextDataBlock(CXTPMessageTests.profile, data: [UInt8](repeating: 1, count: ContextDataBlock.dataBytesMax))
        let message = ContextData(wantsReply: false, elapsedMilliseconds: 0, mobileNode: CXTPMessageTests.client, blocks: [full])
        #expect(try CXTPMessage(parsing: try CXTPMessage.data(message).encode()) == .data(message))
        var longer = message
        longer.blocks[0].data.append(1)
        #expect(throws: CXTPError.badBlockLength(2041)) { try CXTPMessage.data(longer).encode() }
    }

    @Test func lists_longerThanTheirLimits_areRefused() throws {
        let names = (0...UInt16(CXTPLimits.blocksMax)).map { ContextDataBlock(FeatureProfileType(rawValue: $0)) }
        let request = ContextRequest(mobileNode: CXTPMessageTests.client, sequenceNumber: 1, token: 1, blocks: names)
        #expect(throws: CXTPError.tooManyBlocks) { try CXTPMessage.request(request).encode() }
        var bytes = try CXTPMessage.request(ContextRequest(mobileNode: CXTPMessageTests.client, sequenceNumber: 1, token: 1)).encode()
        bytes += [UInt8](repeating: 0, count: 4 * names.count)
        bytes[2] = UInt8(bytes.count >> 8)
        bytes[3] = UInt8(bytes.count & 0xFF)
        #expect(throws: CXTPError.tooManyBlocks) { try CXTPMessage(parsing: bytes) }
        let longKey = TokenKey(algorithm: 1, key: SecretBytes([UInt8](repeating: 1, count: 65)))
        let data = ContextData(
            wantsReply: false, elapsedMilliseconds: 0, mobileNode: CXTPMessageTests.client, tokenKey: longKey, blocks: [])
        #expect(throws: CXTPError.keyTooLong(65)) { try CXTPMessage.data(data).encode() }
    }

    @Test func activateRequest_withAddressesOfTwoFamilies_cannotBeSaid() {
        let request = ActivateRequest(
            wantsAcknowledgement: false, mobileNode: CXTPMessageTests.client, otherGateway: CXTPMessageTests.client6, sequenceNumber: 1,
            token: 1)
        #expect(throws: CXTPError.mixedFamilies) { try CXTPMessage.activateRequest(request).encode() }
    }

    @Test func description_ofABlock_showsNoData() {
        let block = ContextDataBlock(.ipsecContext, data: Array("secret".utf8))
        let message = CXTPMessage.data(
            ContextData(wantsReply: false, elapsedMilliseconds: 0, mobileNode: CXTPMessageTests.client, blocks: [block]))
        #expect(!"\(message)".contains("115"))
        #expect("\(block)" == "CDB 61543 of 6 octets")
    }

    // MARK: - Tokens

    /// Computed with Python's hmac over 192.0.2.7 | 0x01020304 | the block 0x12340000, with the key 0x0b twenty times.
    @Test func token_isTheFirst32BitsOfTheMAC() throws {
        let key = SecretBytes([UInt8](repeating: 0x0B, count: 20))
        let blocks = [ContextDataBlock(CXTPMessageTests.profile)]
        func token(_ algorithm: TokenAlgorithm) throws -> UInt32 {
            try algorithm.token(key: key, mobileNode: CXTPMessageTests.client, sequenceNumber: 0x0102_0304, blocks: blocks)
        }
        #expect(try token(.hmacSHA1) == 0x8863_4716)
        #expect(try token(.hmacSHA256) == 0x8F50_86A1)
        func isRight(_ token: UInt32, number: UInt32 = 0x0102_0304, _ blocks: [ContextDataBlock]) -> Bool {
            TokenAlgorithm.hmacSHA256.verify(token, key: key, mobileNode: CXTPMessageTests.client, sequenceNumber: number, blocks: blocks)
        }
        let right = try token(.hmacSHA256)
        #expect(isRight(right, blocks))
        #expect(!isRight(right ^ 1, blocks))
        #expect(!isRight(right, number: 0x0102_0305, blocks))
        #expect(!isRight(right, []))
        #expect(!isRight(0, blocks))
    }
}
