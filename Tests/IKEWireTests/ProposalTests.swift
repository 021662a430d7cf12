import IKEWire
import Testing

@Suite struct ProposalTests {
    /// One proposal with one transform, whose fields the tests spoil.
    private let plain = hex("00000014 01 01 00 01 0000000c 01000014 800e0100")

    private func proposals(_ body: [UInt8]) throws -> [Proposal] {
        guard case .securityAssociation(let proposals) = try parse(type: PayloadType.securityAssociation, body: body).first else {
            throw IKEWireError.noProposals
        }
        return proposals
    }

    private func spoiled(at offset: Int, _ value: UInt8) -> [UInt8] {
        var out = plain
        out[offset] = value
        return out
    }

    @Test func example_whenAsInTheStandard_parses() throws {
        // RFC 7296 §3.3: two ESP proposals, of seven and four transforms.
        let list = [
            Proposal(
                number: 1, protocolID: .esp, spi: [0x05, 0x23, 0x57, 0xBB],
                transforms: [128, 192, 256].map { Transform(type: 1, id: 12, keyLength: $0) }
                    + [2, 5].map { Transform(type: 3, id: $0) } + [1, 0].map { Transform(type: 5, id: $0) }),
            Proposal(
                number: 2, protocolID: .esp, spi: [0x35, 0xA1, 0xD6, 0xF2],
                transforms: [128, 256].map { Transform(type: 1, id: 18, keyLength: $0) } + [1, 0].map { Transform(type: 5, id: $0) }),
        ]
        let body = Array(IKEMessage.encodePayloads([.securityAssociation(list)]).bytes.dropFirst(4))
        #expect(body.count == (12 + 3 * 12 + 4 * 8) + (12 + 2 * 12 + 2 * 8))
        #expect(body[0] == 2 && body[12] == 3 && body[80] == 0)
        #expect(try proposals(body) == list)
    }

    @Test func lastSubstructure_whenItContradictsTheLengths_throws() throws {
        #expect(try proposals(plain).count == 1)
        #expect(throws: IKEWireError.badLastSubstructure(2)) { try proposals(spoiled(at: 0, 2)) }
        #expect(throws: IKEWireError.badLastSubstructure(3)) { try proposals(spoiled(at: 8, 3)) }
        #expect(throws: IKEWireError.badLastSubstructure(0)) { try proposals(plain + plain) }
        // A proposal's "more" is 2, a transform's is 3, and neither is the other's.
        let second = spoiled(at: 4, 2)
        #expect(try proposals(spoiled(at: 0, 2) + second).count == 2)
        #expect(throws: IKEWireError.badLastSubstructure(3)) { try proposals(spoiled(at: 0, 3) + second) }
    }

    @Test func reserved_whenNotZero_isIgnored() throws {
        #expect(try proposals(spoiled(at: 1, 0xFF)) == proposals(plain))
        #expect(try proposals(spoiled(at: 9, 0xFF)) == proposals(plain))
        #expect(try proposals(spoiled(at: 13, 0xFF)) == proposals(plain))
    }

    @Test func transformCount_whenNotTheNumberOfTransforms_throws() {
        #expect(throws: IKEWireError.countMismatch(field: 0, actual: 1)) { try proposals(spoiled(at: 7, 0)) }
        #expect(throws: IKEWireError.countMismatch(field: 2, actual: 1)) { try proposals(spoiled(at: 7, 2)) }
        #expect(throws: IKEWireError.noTransforms) { try proposals(hex("00000008 01 01 00 00")) }
        #expect(throws: IKEWireError.noProposals) { try proposals([]) }
    }

    @Test func numbers_whenNotAscendingByOne_throw() throws {
        let first = spoiled(at: 0, 2)
        #expect(throws: IKEWireError.badProposalNumber(1)) { try proposals(first + plain) }
        #expect(throws: IKEWireError.badProposalNumber(3)) { try proposals(first + spoiled(at: 4, 3)) }
        var startsAtTwo = first
        startsAtTwo[4] = 2
        #expect(throws: IKEWireError.badProposalNumber(2)) { try proposals(startsAtTwo + spoiled(at: 4, 3)) }
        // An acceptance is one proposal under the number it was offered with.
        #expect(try proposals(spoiled(at: 4, 7)).first?.number == 7)
    }

    @Test(arguments: [(1, 0, true), (1, 8, true), (1, 4, false), (2, 4, true), (2, 8, false), (3, 4, true), (3, 0, false), (9, 3, true)])
    func spiSize_whenNotThatOfTheProtocol_throws(protocolID: UInt8, size: Int, isAllowed: Bool) throws {
        let body = [0, 0, 0, UInt8(16 + size), 1, protocolID, UInt8(size), 1] + octets(1, count: size) + hex("00000008 01000014")
        if isAllowed {
            #expect(try proposals(body).first?.spi == octets(1, count: size))
        } else {
            #expect(throws: IKEWireError.badSPISize(protocolID: ProtocolID(rawValue: protocolID), size: size)) { try proposals(body) }
        }
    }

    @Test func attribute_whenUnknown_marksTheTransformAndKeepsTheKeyLength() throws {
        let transforms = "0300000c 0100000c 800e0080  0300 0010 0100000c 800e0080 80120001  0000 0012 0100000c 800e0100 0013 0002 beef"
        let parsed = try proposals(hex("00000036 01 01 00 03" + transforms)).first?.transforms
        #expect(
            parsed == [
                Transform(type: 1, id: 12, keyLength: 128),
                Transform(type: 1, id: 12, keyLength: 128, unknownAttributes: [TransformAttribute(type: 18, value: .fixed(1))]),
                Transform(
                    type: 1, id: 12, keyLength: 256, unknownAttributes: [TransformAttribute(type: 19, value: .variable([0xBE, 0xEF]))]),
            ])
        #expect(parsed?.map(\.hasUnknownAttribute) == [false, true, true])
    }

    @Test func keyLength_whenInTheVariableFormat_isNotUnderstood() throws {
        // RFC 7296 §3.3.5: a fixed-length attribute must not be encoded as a variable-length one.
        let transform = try proposals(hex("00000016 01 01 00 01 0000000e 0100000c 000e 0002 0080")).first?.transforms.first
        #expect(transform?.keyLength == nil && transform?.hasUnknownAttribute == true)
    }

    @Test func attribute_whenItComesTwice_throws() {
        #expect(throws: IKEWireError.duplicateAttribute(14)) {
            try proposals(hex("00000018 01 01 00 01 00000010 0100000c 800e0080 800e0100"))
        }
    }

    @Test func lengths_whenTheyReachOutOfTheirPlace_throw() {
        #expect(throws: IKEWireError.truncated) { try proposals(spoiled(at: 3, 0x15)) }
        #expect(throws: IKEWireError.truncated) { try proposals(spoiled(at: 3, 3)) }
        #expect(throws: IKEWireError.truncated) { try proposals(spoiled(at: 11, 0x0D)) }
        #expect(throws: IKEWireError.truncated) { try proposals(hex("0000000f 01 01 00 01 00000007 010000")) }
        // A transform that ends early leaves octets after one that calls itself the last.
        #expect(throws: IKEWireError.badLastSubstructure(0)) { try proposals(spoiled(at: 11, 8)) }
        #expect(throws: IKEWireError.truncated) { try proposals(hex("00000016 01 01 00 01 0000000e 0100000c 0013 0003 0080")) }
    }
}
