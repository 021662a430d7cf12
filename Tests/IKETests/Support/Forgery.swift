import Cryptography
import IKEWire
import Session

@testable import IKE

extension World {
    /// A message of the client's, sealed with its keys, whose inside is whatever is given.
    func sealed(inner: [UInt8], first: UInt8, exchange: ExchangeType, messageID: UInt32? = nil) throws -> Datagram {
        let sa = client.ikeSA!
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: exchange, isInitiator: true, isResponse: false,
            messageID: messageID ?? sa.nextSendID)
        let plaintext = inner + [0]
        let protected = IKEMessage.protectedHeader(header: header, firstInner: first, sealedLength: 8 + plaintext.count + 16)
        let keys = sa.sendingKeys
        let body = try sealIKE(
            cipher: sa.algorithms.cipher, integrity: nil, keys: (keys.encryption, keys.integrity), iv: random.bytes(8), header: protected,
            plaintext: plaintext)
        return toGateway(Datagram(local: client.local, remote: client.remote, bytes: protected + body))
    }

    func sealed(_ payloads: [Payload], exchange: ExchangeType, messageID: UInt32? = nil) throws -> Datagram {
        let inner = IKEMessage.encodePayloads(payloads)
        return try sealed(inner: inner.bytes, first: inner.first, exchange: exchange, messageID: messageID)
    }

    /// What the gateway sealed for the client.
    func opened(_ datagram: Datagram) throws -> [Payload] {
        let sa = client.ikeSA!
        return try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(datagram.bytes)
    }
}
