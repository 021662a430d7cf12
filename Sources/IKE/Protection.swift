import Cryptography
import IKEWire
import Session

/// Why a protected message could not be read. The first three say nothing of who sent it; the others come from the peer itself.
enum OpenFailure: Error, Hashable {
    case malformedOutside
    case unprotected
    case integrity
    case unusableKeys
    /// Authenticated, but wrongly built (RFC 7296 §2.21.3).
    case malformedInside
    case unknownCriticalPayload(UInt8)
}

/// What guards the messages of one direction of an IKE SA (RFC 7296 §3.14, RFC 5282, RFC 5930, RFC 7634).
struct MessageProtection {
    var cipher: Cipher
    var integrity: IntegrityAlgorithm?
    var keys: DirectionKeys

    init(_ algorithms: IKEAlgorithms, keys: DirectionKeys) {
        cipher = algorithms.cipher
        integrity = algorithms.integrity
        self.keys = keys
    }

    /// A whole message with `payloads` inside its Encrypted payload.
    ///
    /// - Throws: when keys and algorithms do not fit, which is never the peer's doing.
    func seal(_ payloads: [Payload], header: IKEHeader, context: IKEContext) throws(CryptographyError) -> [UInt8] {
        let inner = IKEMessage.encodePayloads(payloads)
        var plaintext = inner.bytes
        let excess = (plaintext.count + 1) % cipher.blockLength
        let padding = excess == 0 ? 0 : cipher.blockLength - excess
        plaintext += [UInt8](repeating: 0, count: padding) + [UInt8(padding)]
        let iv = initializationVector(header: header, context: context)
        let sealedLength = iv.count + plaintext.count + (integrity?.icvLength ?? cipher.icvLength)
        let protectedHeader = IKEMessage.protectedHeader(header: header, firstInner: inner.first, sealedLength: sealedLength)
        return protectedHeader
            + (try sealIKE(
                cipher: cipher, integrity: integrity, keys: (keys.encryption, keys.integrity), iv: iv, header: protectedHeader,
                plaintext: plaintext))
    }

    /// The payloads inside a message. Unknown payloads without the critical bit are gone (RFC 7296 §2.5).
    func open(_ bytes: [UInt8]) throws(OpenFailure) -> [Payload] {
        let message: IKEMessage
        do { message = try IKEMessage(parsing: bytes) } catch { throw .malformedOutside }
        guard case .encrypted(let sealed) = message.payloads.last else { throw .unprotected }
        let plaintext: [UInt8]
        do {
            plaintext = try openIKE(
                cipher: cipher, integrity: integrity, keys: (keys.encryption, keys.integrity), body: sealed.body,
                header: Array(bytes.prefix(sealed.bodyOffset)))
        } catch .badKeyLength {
            throw .unusableKeys
        } catch {
            throw .integrity
        }
        guard let padding = plaintext.last, Int(padding) < plaintext.count else { throw .malformedInside }
        let payloads: [Payload]
        do {
            payloads = try IKEMessage.parsePayloads(first: sealed.firstPayload, bytes: Array(plaintext.dropLast(Int(padding) + 1)))
        } catch {
            throw .malformedInside
        }
        // Those before the Encrypted payload are authenticated with it, but mean nothing; an unknown critical one is refused there, too.
        if let type = message.payloads.firstUnknownCritical ?? payloads.firstUnknownCritical { throw .unknownCriticalPayload(type) }
        return payloads.filter { $0.isKnown }
    }

    /// Where an IV must never come twice: response bit, the epoch's low 15 bits, message ID, 16 zero bits. Under one key an ID is used
    /// once as request and once as response by one owner, and two owners differ in epoch, so that it does not (law 3). Where nobody may
    /// foresee it, it is random.
    private func initializationVector(header: IKEHeader, context: IKEContext) -> [UInt8] {
        guard cipher.hasCounterIV else { return context.random.bytes(cipher.ivLength) }
        let response: UInt64 = header.isResponse ? 1 << 63 : 0
        return (response | (context.epoch & 0x7FFF) << 48 | UInt64(header.messageID) << 16).networkBytes
    }
}

extension [Payload] {
    var firstUnknownCritical: UInt8? {
        for case .unknown(let type, isCritical: true, _) in self { return type }
        return nil
    }
}

extension Payload {
    fileprivate var isKnown: Bool {
        if case .unknown = self { return false }
        return true
    }
}
