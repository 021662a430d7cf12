import Session
import Testing

@testable import Netlink

@Suite struct NeighboursTests {
    private let hardware = bytes("02000000000A")

    @Test func gratuitousARP_inBothForms_isThatOfRFC5227() {
        let frames = Neighbours.announcements(of: IPAddress("192.0.2.10")!, hardwareAddress: hardware)
        #expect(
            frames == [
                bytes("FFFFFFFFFFFF 02000000000A 0806 0001 0800 06 04 0001 02000000000A C000020A 000000000000 C000020A"),
                bytes("FFFFFFFFFFFF 02000000000A 0806 0001 0800 06 04 0002 02000000000A C000020A FFFFFFFFFFFF C000020A"),
            ])
    }

    @Test func unsolicitedAdvertisement_isThatOfRFC4861() throws {
        let frame = try #require(Neighbours.announcements(of: IPAddress("2001:db8::10")!, hardwareAddress: hardware).first)
        let source = "20010DB8000000000000000000000010"
        let allNodes = "FF020000000000000000000000000001"
        let message = "88 00 7903 A0000000 \(source) 0201 02000000000A"
        #expect(frame == bytes("333300000001 02000000000A 86DD 60000000 0020 3A FF \(source) \(allNodes) \(message)"))
        // RFC 1071: over the pseudo-header and the message with its checksum nothing is left.
        #expect(Neighbours.checksum(bytes("\(source) \(allNodes) 00000020 0000003A \(message)")) == 0)
    }
}
