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
    var epochShift: EpochShift

    init(_ algorithms: IKEAlgorithms, keys: DirectionKeys, epochShift: EpochShift = .none) {
        cipher = algorithms.cipher
        integrity = algorithms.integrity
        self.keys = keys
        self.epochShift = epochShift
    }

    /// A message with `payloads` inside: one datagram with an Encrypted payload, or the fragments of it (RFC 7383 §2.5).
    ///
    /// - Parameter fragmentLength: octets of a datagram at most; `nil`: the peer takes no fragments. Less than
    ///   `FragmentLimits.lengthMin` counts as that.
    /// - Throws: when keys and algorithms do not fit, which is never the peer's doing.
    func seal(
        _ payloads: [Payload], header: IKEHeader, fragmentLength: Int? = nil, context: IKEContext
    ) throws(CryptographyError) -> [[UInt8]] {
        let inner = IKEMessage.encodePayloads(payloads)
        let wholeLength = IKEMessage.protectedHeaderLength + sealedLength(of: inner.bytes.count)
        let limit = fragmentLength.map { max($0, FragmentLimits.lengthMin) }
        guard let limit, wholeLength > limit else {
            return [
                try seal(inner.bytes, header: header, number: 0, context: context) {
                    IKEMessage.protectedHeader(
                        header: header, firstInner: inner.first, sealedLength: $0)
                }
            ]
        }
        let chunks = chunks(of: inner.bytes, length: limit)
        var out: [[UInt8]] = []
        for (index, chunk) in chunks.enumerated() {
            let number = UInt16(index + 1)
            out.append(
                try seal(chunk, header: header, number: number, context: context) {
                    IKEMessage.fragmentHeader(
                        header: header, firstInner: inner.first, number: number, total: UInt16(chunks.count), sealedLength: $0)
                })
        }
        return out
    }

    private func seal(
        _ content: [UInt8], header: IKEHeader, number: UInt16, context: IKEContext, headers: (_ sealedLength: Int) -> [UInt8]
    ) throws(CryptographyError) -> [UInt8] {
        let padding = sealedLength(of: content.count) - overhead - content.count - 1
        let plaintext = content + [UInt8](repeating: 0, count: padding) + [UInt8(padding)]
        let iv = initializationVector(header: header, number: number, context: context)
        let before = headers(sealedLength(of: content.count))
        return before
            + (try sealIKE(
                cipher: cipher, integrity: integrity, keys: (keys.encryption, keys.integrity), iv: iv, header: before,
                plaintext: plaintext))
    }

    /// IV and integrity check value.
    private var overhead: Int { cipher.ivLength + (integrity?.icvLength ?? cipher.icvLength) }

    /// IV, padded text with its pad length, and integrity check value.
    private func sealedLength(of count: Int) -> Int {
        let block = cipher.blockLength
        return overhead + (count + block) / block * block
    }

    /// Pieces of which each fits into a fragment of `length` octets.
    private func chunks(of bytes: [UInt8], length: Int) -> [[UInt8]] {
        let room = (length - IKEMessage.fragmentHeaderLength - overhead) / cipher.blockLength * cipher.blockLength - 1
        return stride(from: 0, to: bytes.count, by: room).map { Array(bytes[$0..<min($0 + room, bytes.count)]) }
    }

    /// What is inside a message that is whole. Unknown payloads without the critical bit are gone (RFC 7296 §2.5).
    func open(_ bytes: [UInt8]) throws(OpenFailure) -> [Payload] {
        guard case .whole(let payloads) = try openPart(bytes) else { throw .unprotected }
        return payloads
    }

    /// What one datagram brings: all payloads, or a fragment's share of them.
    func openPart(_ bytes: [UInt8]) throws(OpenFailure) -> OpenedPart {
        let message: IKEMessage
        do { message = try IKEMessage(parsing: bytes) } catch { throw .malformedOutside }
        // Those before the Encrypted payload are authenticated with it, but mean nothing; an unknown critical one is refused.
        let outside = message.payloads.firstUnknownCritical
        switch message.payloads.last {
        case .encrypted(let sealed):
            let content = try content(of: sealed.body, before: bytes.prefix(sealed.bodyOffset))
            if let outside { throw .unknownCriticalPayload(outside) }
            return .whole(try MessageProtection.payloads(first: sealed.firstPayload, content: content))
        case .encryptedFragment(let sealed):
            let content = try content(of: sealed.body, before: bytes.prefix(sealed.bodyOffset))
            if let outside { throw .unknownCriticalPayload(outside) }
            return .fragment(
                Fragment(
                    number: sealed.fragmentNumber, total: sealed.totalFragments, firstPayload: sealed.firstPayload, content: content))
        default: throw .unprotected
        }
    }

    private func content(of body: [UInt8], before: ArraySlice<UInt8>) throws(OpenFailure) -> [UInt8] {
        let plaintext: [UInt8]
        do {
            plaintext = try openIKE(
                cipher: cipher, integrity: integrity, keys: (keys.encryption, keys.integrity), body: body, header: Array(before))
        } catch .badKeyLength {
            throw .unusableKeys
        } catch {
            throw .integrity
        }
        guard let padding = plaintext.last, Int(padding) < plaintext.count else { throw .malformedInside }
        return Array(plaintext.dropLast(Int(padding) + 1))
    }

    /// The inner payloads.
    static func payloads(first: UInt8, content: [UInt8]) throws(OpenFailure) -> [Payload] {
        let payloads: [Payload]
        do { payloads = try IKEMessage.parsePayloads(first: first, bytes: content) } catch { throw .malformedInside }
        if let type = payloads.firstUnknownCritical { throw .unknownCriticalPayload(type) }
        return payloads.filter { $0.isKnown }
    }

    /// Where an IV must never come twice: response bit, 15 bits of the epoch (`EpochShift`), message ID, the fragment's number. Under one key an ID is
    /// used once as request and once as response by one owner, and two owners differ in epoch, so that it does not (law 3). Where
    /// nobody may foresee it, it is random.
    private func initializationVector(header: IKEHeader, number: UInt16, context: IKEContext) -> [UInt8] {
        guard cipher.hasCounterIV else { return context.random.bytes(cipher.ivLength) }
        let response: UInt64 = header.isResponse ? 1 << 63 : 0
        return (response | UInt64(epochShift.epochBits(context.epoch)) << 48 | UInt64(header.messageID) << 16 | UInt64(number)).networkBytes
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
