import Session

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
                _ = XFRMDecoding.acquire(reply)
                _ = XFRMDecoding.policy(reply)
                _ = XFRMDecoding.timerThreshold(reply)
                _ = Links.decode(reply)
                if case .put(let entry)? = ConntrackDecoding.change(reply) { try isRepeatable(entry) }
                _ = NetlinkSocket.errorCode(reply)
            }
        })

    /// What was read can be said again, to another kernel.
    private static func isRepeatable(_ entry: FlowEntry) throws {
        guard let message = NetlinkSocket.split(ConntrackEncoding.update(entry).bytes[...]).first,
            case .remove(let key)? = ConntrackDecoding.change(
                NetlinkReply(type: 0x102, flags: 0, sequence: 0, payload: message.payload))
        else { throw FuzzFailure(description: "\(entry) makes no message") }
        try require(key == entry.key, "said again \(entry.key) is \(key)")
    }

    /// A message of each type that is read, with room for its structure, and attributes of every number after it.
    private static func netlinkSeeds() -> [[UInt8]] {
        let error: [UInt8] = [
            0x2C, 0, 0, 0, 2, 0, 0, 3, 7, 0, 0, 0, 1, 0, 0, 0, 0xA3, 0xFF, 0xFF, 0xFF, 0x10, 0, 0, 0, 0x10, 0, 5, 6, 7, 0, 0, 0, 1, 0, 0,
            0, 7, 0, 1, 0, 0x6E, 0x6F, 0, 0,
        ]
        // NEWSA, EXPIRE, NEWPOLICY, NEWAE, MAPPING, NEWLINK and the lengths of their structures.
        let kinds: [(UInt16, Int)] = [(16, 224), (24, 232), (19, 168), (30, 48), (38, 64), (16, 16)]
        let flow = FlowEntry(
            original: FlowTuple(
                source: IPAddress("10.20.0.1")!, destination: IPAddress("10.10.0.80")!, ipProtocol: 6, sourcePort: 4000,
                destinationPort: 80),
            reply: FlowTuple(
                source: IPAddress("10.10.0.80")!, destination: IPAddress("10.10.0.1")!, ipProtocol: 6, sourcePort: 80,
                destinationPort: 1024),
            status: .known, timeout: 60, mark: 7, tcp: FlowTCP(state: 3))
        return [error, ConntrackEncoding.create(flow).bytes, ConntrackEncoding.delete(flow.key).bytes]
            + kinds.map { type, length in
                let body = [UInt8](repeating: 2, count: length) + [8, 0, 1, 0, 9, 9, 9, 9, 28, 0, 23, 0] + [UInt8](repeating: 1, count: 24)
                let total = UInt16(16 + body.count)
                return [UInt8(total & 255), UInt8(total >> 8), 0, 0, UInt8(type), 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0] + body
            }
    }
}
