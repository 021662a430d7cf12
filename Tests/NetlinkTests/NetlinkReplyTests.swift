import Cryptography
import Testing

@testable import Netlink

@Suite struct NetlinkReplyTests {
    @Test func errorCode_withTheKernelsWords_carriesThem() throws {
        // NLMSG_ERROR, flags CAPPED|ACK_TLVS, errno 93, our header, NLMSGERR_ATTR_MSG "no".
        let message = bytes("2C000000 0200 0003 07000000 01000000 A3FFFFFF 10000000 1000 0506 07000000 01000000 0700 0100 6E6F0000")
        let reply = try #require(NetlinkSocket.split(message[...]).first)
        #expect(reply.sequence == 7)
        let (code, text) = NetlinkSocket.errorCode(reply)
        #expect(code == 93)
        #expect(text == "no")
        let error = NetlinkError(operation: "try", code: code, detail: text)
        #expect(error.description == "try: Protocol not supported: no")
    }

    /// No errno; its opposite is not a number of its width.
    @Test func errorCode_whenTheLeastNumber_neverTraps() throws {
        let message = bytes("14000000 0200 0000 07000000 01000000 00000080")
        let reply = try #require(NetlinkSocket.split(message[...]).first)
        #expect(NetlinkSocket.errorCode(reply).0 == .min)
    }

    @Test func garbage_ofAnyLength_isLeftOut() {
        let random = RandomSource.seeded(42)
        for round in 0..<2000 {
            var message = random.bytes(round % 300)
            // Now and then a length and a type that could be right.
            if message.count > 8, round % 2 == 0 {
                (message[0], message[1], message[2], message[3]) = (UInt8(truncatingIfNeeded: message.count), 0, 0, 0)
                (message[4], message[5]) = ([0x1E, 0x18, 0x10, 0x13, 0x26, 0x02][round / 2 % 6], 0)
            }
            for reply in NetlinkSocket.split(message[...]) {
                _ = XFRMDecoding.counters(event: reply)
                _ = XFRMDecoding.counters(state: reply)
                _ = XFRMDecoding.expiry(reply)
                _ = XFRMDecoding.mapping(reply)
                _ = XFRMDecoding.policy(reply)
                _ = Links.decode(reply)
                _ = NetlinkSocket.errorCode(reply)
                #expect(reply.payload.count <= message.count - 16)
            }
        }
    }

    @Test func attributes_whoseLengthLies_endTheList() {
        let list = NetlinkAttributes(bytes("0500 0100 AA000000 FF00 0200 BB000000")[...])
        #expect(list[1].map(Array.init) == [0xAA])
        #expect(list[2] == nil)
        #expect(NetlinkAttributes(bytes("0300 0100 AA000000")[...])[1] == nil)
    }
}
