import Cryptography
import IKE
import Session

/// What may become of a datagram between an end-user and the pair, in either direction. Chances are out of 1,000.
struct ClientNetwork {
    var loses = 0
    var duplicates = 0
    var corrupts = 0
    /// Each datagram takes up to this much longer, so that they overtake each other.
    var jitterMax: UInt64 = 0
    /// Nothing passes.
    var isCut = false

    var isPerfect: Bool { loses == 0 && duplicates == 0 && corrupts == 0 && jitterMax == 0 && !isCut }

    /// The copies that arrive: how much later, and what they say.
    func copies(of bytes: [UInt8], random: RandomSource) -> [(delay: UInt64, bytes: [UInt8])] {
        if isPerfect { return [(0, bytes)] }
        guard !isCut, !happens(loses, random) else { return [] }
        return (0..<(happens(duplicates, random) ? 2 : 1)).map { _ in
            var copy = bytes
            if happens(corrupts, random), !copy.isEmpty {
                let position = Int(random.uint32() % UInt32(copy.count))
                copy[position] ^= 1 << UInt8(random.uint32() % 8)
            }
            return (jitterMax == 0 ? 0 : random.uint64() % jitterMax, copy)
        }
    }

    private func happens(_ chance: Int, _ random: RandomSource) -> Bool { chance > 0 && random.uint32() % 1000 < UInt32(chance) }
}

/// One direction of the way between an end-user and the pair.
struct Road: Hashable {
    var address: IPAddress
    /// Towards the pair.
    var isInward: Bool
}

extension World {
    func road(of address: IPAddress, isInward: Bool) -> ClientNetwork { roads[Road(address: address, isInward: isInward)] ?? network }
}
