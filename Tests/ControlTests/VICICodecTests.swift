import Testing

@testable import Control

@Suite struct VICICodecTests {
    /// The example of strongSwan's protocol description.
    static let exampleMessage = VICIMessage([
        .value(name: "key1", Array("value1".utf8)),
        .section(
            name: "section1",
            VICIMessage([
                .section(name: "sub-section", VICIMessage([.value(name: "key2", Array("value2".utf8))])),
                .list(name: "list1", [Array("item1".utf8), Array("item2".utf8)]),
            ])),
    ])

    static let exampleBytes: [UInt8] = [
        named(3, "key1"), [0, 6], Array("value1".utf8), named(1, "section1"), named(1, "sub-section"), named(3, "key2"), [0, 6],
        Array("value2".utf8), [2], named(4, "list1"), [5, 0, 5], Array("item1".utf8), [5, 0, 5], Array("item2".utf8), [6, 2],
    ].flatMap { $0 }

    /// A type, a length and a name.
    static func named(_ type: UInt8, _ name: String) -> [UInt8] { [type, UInt8(name.utf8.count)] + Array(name.utf8) }

    @Test func encode_ofThePublishedExample_isThePublishedBytes() {
        #expect(VICICodecTests.exampleMessage.encode() == VICICodecTests.exampleBytes)
    }

    @Test func parse_ofThePublishedExample_isTheMessage() throws {
        #expect(try VICIMessage(parsing: VICICodecTests.exampleBytes) == VICICodecTests.exampleMessage)
    }

    @Test func parse_ofEveryTruncation_throwsOrIsAShorterMessage() throws {
        for count in 0..<VICICodecTests.exampleBytes.count {
            let bytes = Array(VICICodecTests.exampleBytes.prefix(count))
            // Only between the root's elements may a message end.
            let whole = count == 0 || count == 14
            if whole {
                #expect(try VICIMessage(parsing: bytes).encode() == bytes)
            } else {
                #expect(throws: VICIError.self, "\(count) bytes") { try VICIMessage(parsing: bytes) }
            }
        }
    }

    @Test func parse_ofAnyOneWrongByte_neverTrapsAndWhatItTakesItWritesAgain() throws {
        for index in VICICodecTests.exampleBytes.indices {
            for value in UInt8.min...UInt8.max {
                var bytes = VICICodecTests.exampleBytes
                bytes[index] = value
                guard let message = try? VICIMessage(parsing: bytes) else { continue }
                #expect(message.encode() == bytes)
            }
        }
    }

    @Test func parse_ofNoise_neverTraps() {
        var state: UInt64 = 1
        func next() -> UInt8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
        var taken = 0
        for round in 0..<20_000 {
            // Small values are element types and lengths: noise that gets somewhere.
            let bytes = (0..<round % 40).map { _ in next() % 3 == 0 ? next() : next() % 8 }
            if (try? VICIMessage(parsing: bytes)) != nil { taken += 1 }
            _ = try? VICIPacket(parsing: bytes)
        }
        #expect(taken > 0)
    }

    @Test(arguments: [
        ([UInt8]([2]), VICIError.unbalanced),
        ([1, 1, 65], .unbalanced),
        ([4, 1, 65], .unbalanced),
        ([5, 0, 0], .misplacedElement(5)),
        ([6], .misplacedElement(6)),
        ([4, 1, 65, 3, 1, 66, 0, 0], .misplacedElement(3)),
        ([0], .unknownElementType(0)),
        ([7], .unknownElementType(7)),
        ([3, 0, 0, 0], .badName),
        ([3, 1, 0xFF, 0, 0], .badName),
        ([3, 1, 65, 0xFF, 0xFF, 1], .truncated),
    ])
    func parse_ofWhatTheProtocolForbids_saysWhat(bytes: [UInt8], error: VICIError) {
        #expect(throws: error) { try VICIMessage(parsing: bytes) }
    }

    @Test func parse_ofSectionsDeeperThanTheLimit_throws() throws {
        func nested(_ depth: Int) -> [UInt8] {
            var bytes: [UInt8] = []
            for _ in 0..<depth { bytes += [1, 1, 65] }
            return bytes + [UInt8](repeating: 2, count: depth)
        }
        _ = try VICIMessage(parsing: nested(VICILimits.depthMax))
        #expect(throws: VICIError.tooDeep) { try VICIMessage(parsing: nested(VICILimits.depthMax + 1)) }
        // As many as a packet can hold must not exhaust the stack.
        #expect(throws: VICIError.tooDeep) { try VICIMessage(parsing: nested(VICILimits.packetBytesMax / 4)) }
    }

    @Test func encode_ofWhatLengthFieldsCannotSay_isCutAtWholeCharacters() throws {
        let message = VICIMessage([.value(name: String(repeating: "ä", count: 200), [UInt8](repeating: 1, count: 70_000))])
        let parsed = try VICIMessage(parsing: message.encode())
        #expect(parsed == VICIMessage([.value(name: String(repeating: "ä", count: 127), [UInt8](repeating: 1, count: 65_535))]))
    }

    @Test(arguments: [
        VICIPacket.request(command: "list-sas", VICICodecTests.exampleMessage), .response(VICICodecTests.exampleMessage),
        .response(VICIMessage()),
        .unknownCommand, .register(event: "log"), .unregister(event: "log"), .confirmed, .unknownEvent,
        .event(name: "list-sa", VICICodecTests.exampleMessage),
    ])
    func packet_ofEveryKind_comesBack(packet: VICIPacket) throws {
        let bytes = try packet.encode()
        #expect(try VICIPacket.length(of: bytes.prefix(4)) == bytes.count - 4)
        #expect(try VICIPacket(parsing: Array(bytes.dropFirst(4))) == packet)
    }

    @Test func packet_asSwanctlSendsIt_isRead() throws {
        // EVENT_REGISTER "list-sa", then CMD_REQUEST "list-sas" { noblock = yes }.
        #expect(try VICIPacket(parsing: VICICodecTests.named(3, "list-sa")) == .register(event: "list-sa"))
        let parts: [[UInt8]] = [VICICodecTests.named(0, "list-sas"), VICICodecTests.named(3, "noblock"), [0, 3], Array("yes".utf8)]
        let request = try VICIPacket(parsing: parts.flatMap { $0 })
        #expect(request == .request(command: "list-sas", VICIMessage([.value(name: "noblock", Array("yes".utf8))])))
    }

    @Test func packet_thatIsTooLongOrOfNoKnownType_throws() throws {
        let half = [UInt8](repeating: 0, count: 60_000)
        let big = VICIMessage((0..<9).map { .value(name: "key\($0)", half) })
        #expect(throws: VICIError.tooLong(540_073)) { try VICIPacket.response(big).encode() }
        #expect(throws: VICIError.tooLong(VICILimits.packetBytesMax + 1)) { try VICIPacket.length(of: [0, 8, 0, 1]) }
        #expect(throws: VICIError.unknownPacketType(8)) { try VICIPacket(parsing: [8]) }
        #expect(throws: VICIError.truncated) { try VICIPacket(parsing: []) }
        #expect(throws: VICIError.truncated) { try VICIPacket.length(of: [0, 0, 0]) }
    }
}
