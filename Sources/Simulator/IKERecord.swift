import Session

/// Every IKE message that was seen on the wire, whoever sent it: what is under one IV, or under one message ID, is the same octets
/// (law 3). The worlds' proposals are AES-GCM: the first 8 octets of an Encrypted payload are the IV.
struct IKERecord {
    private struct Key: Hashable {
        var spis: ArraySlice<UInt8>
        /// The Initiator flag says whose key it is; for message IDs the Response flag counts too.
        var flags: UInt8
        var number: ArraySlice<UInt8>
        var fragment: ArraySlice<UInt8>
    }

    private var ivs: [Key: [UInt8]] = [:]
    private var messages: [Key: [UInt8]] = [:]
    /// Whole exchanges of each kind, by the message ID and the SPIs of their requests.
    private(set) var requests: [UInt8: Set<ArraySlice<UInt8>>] = [:]

    /// Two owners had something to say about SAs under one ID: the peer took one of them, and nobody knows which.
    private(set) var isContradicted = false

    private static let encrypted: UInt8 = 46
    private static let encryptedFragment: UInt8 = 53
    private static let initiatorFlag: UInt8 = 0x08
    private static let responseFlag: UInt8 = 0x20
    private static let initialExchange: UInt8 = 34
    private static let authentication: UInt8 = 35
    private static let createChild: UInt8 = 36
    private static let informational: UInt8 = 37

    /// Takes note of a datagram; returns what is wrong with it.
    ///
    /// - Parameter isForgotten: what one node used the other cannot know: they were owners at once, or one died alone, ahead of the other.
    ///   A message ID may then come twice, which RFC 6311 mends with peers that have it (a peer takes no other ID than the next). Never an
    ///   IV.
    mutating func note(_ bytes: [UInt8], isForgotten: Bool) -> String? {
        guard bytes.count >= 28 else { return nil }
        let exchange = bytes[18]
        if bytes[19] & Self.responseFlag == 0 {
            // The responder's SPI is not known to the first of all: the initiator's names the exchange.
            requests[exchange, default: []].insert(bytes[0..<8] + bytes[20..<24])
        }
        guard exchange != Self.initialExchange, bytes[16] == Self.encrypted || bytes[16] == Self.encryptedFragment else { return nil }
        let isFragment = bytes[16] == Self.encryptedFragment
        let start = isFragment ? 36 : 32
        guard bytes.count >= start + 8 else { return nil }
        let fragment = isFragment ? bytes[32..<34] : []
        let iv = Key(spis: bytes[0..<16], flags: bytes[19] & Self.initiatorFlag, number: bytes[start..<start + 8], fragment: [])
        if ivs.updateValue(bytes, forKey: iv).map({ $0 != bytes }) == true {
            return "an IV of IKE SA \(Self.hex(bytes[0..<8])) was used for two texts: \(Self.hex(bytes[start..<start + 8]))"
        }
        let id = Key(
            spis: bytes[0..<16], flags: bytes[19] & (Self.initiatorFlag | Self.responseFlag), number: bytes[20..<24], fragment: fragment)
        // RFC 6311 §5.1: the exchange that synchronizes has message ID 0, whatever had it before.
        guard exchange != Self.informational || bytes[20..<24] != [0, 0, 0, 0] else { return nil }
        if messages.updateValue(bytes, forKey: id).map({ $0 != bytes }) == true {
            if isForgotten {
                isContradicted = isContradicted || exchange == Self.createChild || exchange == Self.authentication
                return nil
            }
            return "message ID \(Self.hex(bytes[20..<24])) of IKE SA \(Self.hex(bytes[0..<8])) was used for two messages"
        }
        return nil
    }

    private static func hex(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
