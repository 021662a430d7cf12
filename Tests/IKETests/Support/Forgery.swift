import Cryptography
import IKEWire
import Session

@testable import IKE

extension World {
    /// A message of the client's, sealed with its keys, whose inside is whatever is given.
    ///
    /// - Parameter outside: a payload before the Encrypted one, whole.
    func sealed(
        inner: [UInt8], first: UInt8, exchange: ExchangeType, messageID: UInt32? = nil, isResponse: Bool = false,
        outside: (type: UInt8, body: [UInt8], isCritical: Bool)? = nil
    ) throws -> Datagram {
        let sa = client.ikeSA!
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: exchange, isInitiator: true,
            isResponse: isResponse, messageID: messageID ?? sa.nextSendID)
        let plaintext = inner + [0]
        var protected = IKEMessage.protectedHeader(header: header, firstInner: first, sealedLength: 8 + plaintext.count + 16)
        if let outside {
            let length = UInt16(4 + outside.body.count).networkBytes
            let payload = [PayloadType.encrypted, outside.isCritical ? 0x80 : 0] + length + outside.body
            protected.insert(contentsOf: payload, at: IKEHeader.length)
            protected[16] = outside.type
            protected.replaceSubrange(24..<28, with: UInt32(protected.count + 8 + plaintext.count + 16).networkBytes)
        }
        let keys = sa.sendingKeys
        let body = try sealIKE(
            cipher: sa.algorithms.cipher, integrity: nil, keys: (keys.encryption, keys.integrity), iv: random.bytes(8), header: protected,
            plaintext: plaintext)
        return toGateway(Datagram(local: client.local, remote: client.remote, bytes: protected + body))
    }

    func sealed(
        _ payloads: [Payload], exchange: ExchangeType, messageID: UInt32? = nil, isResponse: Bool = false,
        outside: (type: UInt8, body: [UInt8], isCritical: Bool)? = nil
    ) throws -> Datagram {
        let inner = IKEMessage.encodePayloads(payloads)
        return try sealed(
            inner: inner.bytes, first: inner.first, exchange: exchange, messageID: messageID, isResponse: isResponse, outside: outside)
    }

    /// What the gateway sealed for the client.
    func opened(_ datagram: Datagram) throws -> [Payload] {
        let sa = client.ikeSA!
        return try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(datagram.bytes)
    }
}
