import Cryptography
import ESP
import Session

/// ESP of the user data plane, one packet at a time, in the buffers in which it lies.
struct Packets {
    private static let operations = 2000
    private let outbound: OutboundSA
    private let inbound: InboundSA
    private let count: Int

    /// - Parameter octets: of an inner packet.
    init(octets: Int) throws {
        let algorithms = ESPAlgorithms(
            cipher: Cipher(.aesGCM16, keyBits: 128), integrity: nil, extendedSequenceNumbers: true, keyExchangeGroup: nil)
        let keys = DirectionKeys(
            encryption: SecretBytes(RandomSource.seeded(1).bytes(algorithms.cipher.keyMaterialLength)), integrity: .empty)
        let network = [TrafficSelector(IPPrefix("10.10.0.0/16")!)]
        let child = ChildSA(
            inboundSPI: 0xC000_0001, outboundSPI: 0xC000_0001, name: "net", uniqueID: 1, algorithms: algorithms, inboundKeys: keys,
            outboundKeys: keys, mode: .tunnel, localSelectors: network, remoteSelectors: network, lease: .initial,
            establishedWallMilliseconds: 0)
        let installation = ChildInstallation(
            session: SessionID(rawValue: 1), child: child, local: Endpoint(IPAddress("192.0.2.1")!, 4500),
            remote: Endpoint(IPAddress("192.0.2.2")!, 4500), encapsulation: true, numbers: LeasedNumbers(next: 1, limit: 1 << 40))
        outbound = try OutboundSA(installation: installation)
        inbound = try InboundSA(installation: installation)
        count = octets
    }

    /// - Returns: of sealing, and of opening.
    func measure() throws -> (seal: Cost, open: Cost) {
        let room = OutboundSA.headerLengthMax
        let size = room + count + OutboundSA.overheadMax
        let buffers = UnsafeMutableRawBufferPointer.allocate(byteCount: size * Packets.operations, alignment: 16)
        defer { buffers.deallocate() }
        func buffer(_ index: Int) -> UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(rebasing: buffers[index * size..<(index + 1) * size])
        }
        func fill() {
            for index in 0..<Packets.operations {
                let inner = UnsafeMutableRawBufferPointer(rebasing: buffer(index)[room..<room + count])
                inner.copyBytes(from: [
                    0x45, 0, UInt8(count >> 8), UInt8(count & 0xFF), 0, 0, 0, 0, 64, 17, 0, 0, 10, 10, 0, 1, 10, 10, 0, 2,
                ])
            }
        }
        var sealed = [Range<Int>](repeating: 0..<0, count: Packets.operations)
        func seal() throws {
            for index in 0..<Packets.operations { sealed[index] = try outbound.seal(in: buffer(index), payload: room..<room + count) }
        }
        func open() throws {
            for index in 0..<Packets.operations {
                _ = try inbound.open(UnsafeMutableRawBufferPointer(rebasing: buffer(index)[sealed[index]]))
            }
        }
        // Each opens what was sealed before: a number is taken once.
        var (sealing, opening): ([Double], [Double]) = ([], [])
        var allocations = (seal: 0, open: 0)
        for _ in 0..<16 {
            fill()
            var (began, before) = (processorNanoseconds(), Allocations.count)
            try seal()
            sealing.append(Double(processorNanoseconds() - began) / Double(Packets.operations))
            allocations.seal = Allocations.count - before
            (began, before) = (processorNanoseconds(), Allocations.count)
            try open()
            opening.append(Double(processorNanoseconds() - began) / Double(Packets.operations))
            allocations.open = Allocations.count - before
        }
        func cost(_ times: [Double], _ allocations: Int) -> Cost {
            let warm = Array(times.dropFirst())
            return Cost(
                nanoseconds: warm.sorted()[warm.count / 2], allocations: Double(allocations) / Double(Packets.operations), samples: warm)
        }
        return (cost(sealing, allocations.seal), cost(opening, allocations.open))
    }
}
