import Cryptography
import FoundationEssentials
import SwiftProtobuf

/// A pair is upgraded one node at a time: what a later version adds to a session and its SAs goes through the node of the earlier one
/// unchanged, and is there again when the later one owns it.
extension Message {
    /// The fields of this message that this version does not know.
    func unknownBytes(_ field: String) throws(PairWireError) -> SecretBytes {
        let count = unknownFields.data.count
        guard count > 0 else { return .empty }
        guard count <= PairWireLimits.unknownBytesMax else {
            throw .tooLong(field: field, count: count, limit: PairWireLimits.unknownBytesMax)
        }
        return SecretBytes(unknownFields.data)
    }

    /// Adds what `unknownBytes` gave.
    mutating func add(unknownBytes: SecretBytes) {
        guard !unknownBytes.isEmpty else { return }
        // They were parsed once, as these fields.
        try! merge(serializedBytes: unknownBytes.copyBytes())
    }
}
