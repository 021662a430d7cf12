@testable import Netlink

extension FuzzTarget {
    /// What a netlink socket gave, as every reader of it.
    static let netlink = FuzzTarget(
        name: "netlink", lengthMax: 1024, seeds: { netlinkSeeds() },
        run: { bytes in
            for reply in NetlinkSocket.split(bytes[...]) {
                try require(reply.payload.count <= bytes.count - 16, "more than there was")
                _ = XFRMDecoding.counters(event: reply)
                _ = XFRMDecoding.counters(state: reply)
                _ = XFRMDecoding.expiry(reply)
                _ = XFRMDecoding.mapping(reply)
                _ = XFRMDecoding.policy(reply)
                _ = XFRMDecoding.timerThreshold(reply)
                _ = Links.decode(reply)
                _ = NetlinkSocket.errorCode(reply)
            }
        })

    /// A message of each type that is read, with room for its structure, and attributes of every number after it.
    private static func netlinkSeeds() -> [[UInt8]] {
        let error: [UInt8] = [
            0x2C, 0, 0, 0, 2, 0, 0, 3, 7, 0, 0, 0, 1, 0, 0, 0, 0xA3, 0xFF, 0xFF, 0xFF, 0x10, 0, 0, 0, 0x10, 0, 5, 6, 7, 0, 0, 0, 1, 0, 0,
            0, 7, 0, 1, 0, 0x6E, 0x6F, 0, 0,
        ]
        // NEWSA, EXPIRE, NEWPOLICY, NEWAE, MAPPING, NEWLINK and the lengths of their structures.
        let kinds: [(UInt16, Int)] = [(16, 224), (24, 232), (19, 168), (30, 48), (38, 64), (16, 16)]
        return [error]
            + kinds.map { type, length in
                let body = [UInt8](repeating: 2, count: length) + [8, 0, 1, 0, 9, 9, 9, 9, 28, 0, 23, 0] + [UInt8](repeating: 1, count: 24)
                let total = UInt16(16 + body.count)
                return [UInt8(total & 255), UInt8(total >> 8), 0, 0, UInt8(type), 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0] + body
            }
    }
}
