import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

struct ContextTransferTests {
    private static let octets: [UInt8] = [
        1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 5, 0, 0, 0, 9, 0, 2, 0xC0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80, 0, 1,
    ]
    private static let value = IPsecSyn(
        nonce: 0x0102_0304_0506_0708, nextSendID: 5, nextReceiveID: 9,
        starts: [.init(spi: 0xC000_0001, number: 0x1_0000_0002), .init(spi: 256, number: 0x80_0001)])

    @Test func syn_whenEncodedAndParsed_isTheSameToTheOctet() throws {
        #expect(Self.value.encode() == Self.octets)
        #expect(try IPsecSyn(parsing: Self.octets) == Self.value)
        let empty = IPsecSyn(nonce: .max, nextSendID: 0, nextReceiveID: .max, starts: [])
        #expect(empty.encode().count == 18)
        #expect(try IPsecSyn(parsing: empty.encode()) == empty)
        let many = IPsecSyn(
            nonce: 1, nextSendID: 1, nextReceiveID: 1, starts: (0..<UInt32(IPsecSyn.startsMax + 1)).map { .init(spi: 256 + $0, number: 1) })
        #expect(try IPsecSyn(parsing: many.encode()).starts == Array(many.starts.dropLast()))
    }

    @Test func syn_whenTruncatedOrLonger_isRefused() {
        for count in 0..<Self.octets.count {
            let expected: IPsecSyn.ParseError = count < 18 ? .truncated : .wrongCount(2)
            #expect(throws: expected) { try IPsecSyn(parsing: Array(Self.octets.prefix(count))) }
        }
        #expect(throws: IPsecSyn.ParseError.wrongCount(2)) { try IPsecSyn(parsing: Self.octets + [0]) }
        for count: UInt8 in [0, 1, 3, 255] {
            var octets = Self.octets
            octets[17] = count
            #expect(throws: IPsecSyn.ParseError.wrongCount(UInt16(count))) { try IPsecSyn(parsing: octets) }
        }
    }

    @Test func syn_whenItNamesWhatNoSAIs_isRefused() {
        func parsed(_ starts: [IPsecSyn.Start]) throws {
            _ = try IPsecSyn(parsing: IPsecSyn(nonce: 1, nextSendID: 1, nextReceiveID: 1, starts: starts).encode())
        }
        #expect(throws: IPsecSyn.ParseError.reservedSPI(255)) { try parsed([.init(spi: 255, number: 1)]) }
        #expect(throws: IPsecSyn.ParseError.zeroNumber(spi: 300)) { try parsed([.init(spi: 300, number: 0)]) }
        #expect(throws: IPsecSyn.ParseError.repeatedSPI(300)) {
            try parsed([.init(spi: 300, number: 1), .init(spi: 300, number: 2)])
        }
    }

    @Test func vendorID_whenOfferedByOurInitiator_isAnsweredAndKnownOnBothSides() throws {
        let digest: [UInt8] = [0x4b, 0x46, 0x27, 0x9b, 0xd8, 0x37, 0x2f, 0x96, 0x54, 0x00, 0x66, 0x74, 0x44, 0x2c, 0xce, 0xa2]
        #expect(VendorID.contextTransfer == digest)
        var sites = Sites()
        try sites.call()
        sites.settle()
        #expect(sites.callerSession?.capabilities.contains(.contextTransfer) == true)
        #expect(sites.siteSession?.capabilities.contains(.contextTransfer) == true)
    }

    @Test func vendorID_whenNotOffered_isNotAnswered() throws {
        var world = World()
        world.establish()
        let session = try #require(world.session)
        #expect(!session.capabilities.contains(.contextTransfer) && !world.client.agreed.contains(.contextTransfer))
        let response = try #require(world.fromGateway.last { $0.bytes[18] == ExchangeType.ikeAuth.rawValue })
        let payloads = PayloadSet(
            try MessageProtection(session.ikeSA.algorithms, keys: session.ikeSA.sendingKeys).open(response.bytes))
        #expect(payloads.vendorIDs.isEmpty && payloads.has(.mobikeSupported))
    }
}
