import Cryptography
import IKEWire

/// What one side vouches for with its AUTH payload (RFC 7296 §2.15): its first message, the other's nonce, its identity.
struct SignedOctets {
    var prf: PRF
    /// The sender's whole IKE_SA_INIT message.
    var message: [UInt8]
    /// Of the other side.
    var peerNonce: [UInt8]
    /// SK_pi or SK_pr, the sender's.
    var authenticationKey: SecretBytes
    var identity: IdentificationPayload

    /// message | nonce | prf(SK_p, identity).
    var octets: [UInt8] { message + peerNonce + maskedIdentity }

    private var maskedIdentity: [UInt8] { prf(key: authenticationKey, identity.bodyBytes).copyBytes() }

    /// AUTH with a shared secret: prf(prf(secret, "Key Pad for IKEv2"), octets).
    func code(secret: SecretBytes) -> [UInt8] {
        let padded = prf(key: secret, Array("Key Pad for IKEv2".utf8))
        return prf(key: padded, octets).copyBytes()
    }
}
