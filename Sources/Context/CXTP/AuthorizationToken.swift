public import Cryptography
public import Session

/// How a mobile node's authorization token is computed (RFC 4067 §2.5.1, §2.5.3).
public enum TokenAlgorithm: UInt16, CaseIterable, Hashable, Sendable {
    /// The RFC's only one.
    case hmacSHA1 = 1
    /// What Tandem's own parties use. A number of our own.
    case hmacSHA256 = 0xF001

    private var prf: PRF {
        switch self {
        case .hmacSHA1: .hmacSHA1
        case .hmacSHA256: .hmacSHA256
        }
    }

    /// First (32, HMAC (Key, (Previous IP address | Sequence Number | CDBs))).
    ///
    /// - Parameter blocks: those of the CTAR, as they stand in it.
    public func token(key: SecretBytes, mobileNode: IPAddress, sequenceNumber: UInt32, blocks: [ContextDataBlock]) throws(CXTPError)
        -> UInt32
    {
        var number: [UInt8] = []
        number.append(bigEndian: sequenceNumber)
        var text: [UInt8] = []
        for block in blocks { try block.write(to: &text) }
        let mac = prf(key: key, mobileNode.bytes, number, text)
        return mac.withUnsafeBytes { $0.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }
    }

    /// Whether a token is the right one, in constant time. Zero never is: it says that there is no token (RFC 4067 §2.5.6).
    public func verify(_ token: UInt32, key: SecretBytes, mobileNode: IPAddress, sequenceNumber: UInt32, blocks: [ContextDataBlock]) -> Bool
    {
        guard
            token != 0,
            let right = try? self.token(key: key, mobileNode: mobileNode, sequenceNumber: sequenceNumber, blocks: blocks)
        else { return false }
        var (said, computed): ([UInt8], [UInt8]) = ([], [])
        said.append(bigEndian: token)
        computed.append(bigEndian: right)
        return constantTimeEquals(said, computed)
    }
}

/// The key that a mobile node and its gateway share for tokens: for nothing else, and another for every transfer (RFC 4067 §6.3). Both
/// have it from SK_d of their IKE SA, without a message.
public func tokenKey(of ikeSA: IKESA, sequenceNumber: UInt32) -> SecretBytes {
    var seed = Array("Tandem CXTP token".utf8)
    seed.append(bigEndian: ikeSA.spis.initiator)
    seed.append(bigEndian: ikeSA.spis.responder)
    seed.append(bigEndian: sequenceNumber)
    return PRF.hmacSHA256(key: ikeSA.keys.derivation, seed)
}
