import Cryptography
import IKEWire
import Session

/// What one datagram brought of a protected message.
enum OpenedPart: Hashable {
    case whole([Payload])
    case fragment(Fragment)
}

/// One authenticated piece of a message (RFC 7383 §2.5).
struct Fragment: Hashable {
    /// 1 to `total`.
    var number: UInt16
    var total: UInt16
    /// The type of the first payload of the message; told in the first fragment.
    var firstPayload: UInt8
    var content: [UInt8]
}

/// All fragments put together.
struct WholeMessage: Hashable {
    var firstPayload: UInt8
    var content: [UInt8]
    var digest: [UInt8]
}

/// What is inside a message, and what it is known by when it comes again.
struct OpenedMessage: Hashable {
    var payloads: [Payload]
    /// SHA-256 of the datagram, or of the first fragment.
    var digest: [UInt8]
}

/// What fragments may cost. Whoever sends them has the keys of an IKE SA, but need not be authenticated yet.
enum FragmentLimits {
    /// Octets of a datagram of ours, at least: room for something beside headers, IV and integrity check value.
    static let lengthMin = 160
    /// Fragments of one message: 64 KiB in the datagrams of 576 octets that RFC 7383 recommends.
    static let countMax: UInt16 = 128
    /// Messages that are put together at once: as many as some hundred clients send that log in in the same second.
    static let messagesMax = 1024
    /// Octets of all of them together.
    static let octetsMax = 8 << 20
    /// Fragments of one message that the standby is told of: twice what a chain of long certificates takes. What is beyond waits for the
    /// peer to repeat it.
    static let toldMax = 64
    /// A message whose other fragments do not come is forgotten; the peer repeats them all (RFC 7383 §2.6).
    static let patience: Duration = .seconds(30)
}

/// Messages of which some fragments are here (RFC 7383 §2.6). Those of requests are told to the standby, so that the rest may come to
/// either node; a response is repeated whole, for a new owner asks again.
struct FragmentTable {
    struct Key: Hashable {
        var localSPI: UInt64
        var isResponse: Bool
        var messageID: UInt32
    }

    private struct Message {
        var total: UInt16
        var firstPayload: UInt8 = 0
        /// Of the first fragment as it came: a retransmission is known by it (RFC 7383 §2.6.1).
        var digest: [UInt8] = []
        var parts: [UInt16: [UInt8]] = [:]
        var deadline: Instant
        /// Of how many the standby was told, those of an earlier try included.
        var told = 0
        var octets: Int { parts.values.reduce(0) { $0 + $1.count } }
    }

    private var messages: [Key: Message] = [:]
    private var octets = 0
    /// What was kept last of a request, for the standby.
    private var news: FragmentPart?

    var count: Int { messages.count }

    /// Whether the fragment would bring something: before it is decrypted.
    func wants(_ number: UInt16, of total: UInt16, for key: Key) -> Bool {
        guard total <= FragmentLimits.countMax else { return false }
        guard let message = messages[key] else { return true }
        return total > message.total || (total == message.total && message.parts[number] == nil)
    }

    /// Takes a fragment.
    ///
    /// - Returns: the content of the whole message with the type of its first payload, once all of it is here.
    mutating func take(_ fragment: Fragment, of datagram: [UInt8], for key: Key, at now: Instant) -> WholeMessage? {
        guard wants(fragment.number, of: fragment.total, for: key) else { return nil }
        let digest = fragment.number == 1 ? sha256(datagram) : []
        guard let message = put(fragment, digest: digest, for: key, at: now) else {
            if !key.isResponse { tell(fragment, digest: digest, of: key) }
            return nil
        }
        let content = (1...message.total).flatMap { message.parts[$0] ?? [] }
        return WholeMessage(firstPayload: message.firstPayload, content: content, digest: message.digest)
    }

    /// Keeps a fragment.
    ///
    /// - Returns: the message, taken out, when it is whole.
    private mutating func put(_ fragment: Fragment, digest: [UInt8], for key: Key, at now: Instant) -> Message? {
        var message = remove(key) ?? Message(total: fragment.total, deadline: now + FragmentLimits.patience)
        // The sender began anew with smaller ones.
        if fragment.total > message.total {
            message = Message(total: fragment.total, deadline: message.deadline, told: message.told)
        }
        if fragment.number == 1 {
            message.firstPayload = fragment.firstPayload
            message.digest = digest
        }
        message.parts[fragment.number] = fragment.content
        guard message.octets <= IKEWireLimits.messageLengthMax else { return nil }
        if message.parts.count == Int(message.total) { return message }
        octets += message.octets
        messages[key] = message
        makeRoom(at: now)
        return nil
    }

    private mutating func tell(_ fragment: Fragment, digest: [UInt8], of key: Key) {
        guard let message = messages[key], message.told < FragmentLimits.toldMax else { return }
        messages[key]?.told += 1
        news = FragmentPart(
            localSPI: key.localSPI, messageID: key.messageID, number: fragment.number, total: fragment.total,
            firstPayload: fragment.firstPayload, content: fragment.content, digest: digest)
    }

    /// What the standby has not been told of.
    mutating func takeNews() -> FragmentPart? {
        defer { news = nil }
        return news
    }

    /// Takes a part that came to the other node.
    mutating func take(_ part: FragmentPart, at now: Instant) {
        let key = Key(localSPI: part.localSPI, isResponse: false, messageID: part.messageID)
        guard wants(part.number, of: part.total, for: key) else { return }
        let fragment = Fragment(number: part.number, total: part.total, firstPayload: part.firstPayload, content: part.content)
        // It was not whole there, and is not here: the last part is told with what came of the message.
        _ = put(fragment, digest: part.digest, for: key, at: now)
    }

    /// The request was answered.
    mutating func forget(request messageID: UInt32, of localSPI: UInt64) {
        _ = remove(Key(localSPI: localSPI, isResponse: false, messageID: messageID))
    }

    private mutating func remove(_ key: Key) -> Message? {
        guard let message = messages.removeValue(forKey: key) else { return nil }
        octets -= message.octets
        return message
    }

    /// First what is overdue goes, then, if that is not enough, what would be overdue first.
    private mutating func makeRoom(at now: Instant) {
        guard messages.count > FragmentLimits.messagesMax || octets > FragmentLimits.octetsMax else { return }
        for (key, message) in messages where message.deadline <= now { _ = remove(key) }
        while messages.count > FragmentLimits.messagesMax || octets > FragmentLimits.octetsMax {
            let oldest = messages.min {
                ($0.value.deadline.nanoseconds, $0.key.localSPI) < ($1.value.deadline.nanoseconds, $1.key.localSPI)
            }
            guard let oldest else { return }
            _ = remove(oldest.key)
        }
    }
}

extension IKEEngine {
    /// What is inside a protected message; `nil` for a fragment that is not the last one to come, or that is there already.
    mutating func open(
        _ datagram: Datagram, header: IKEHeader, localSPI: UInt64, with protection: MessageProtection, at now: Instant
    ) throws(OpenFailure) -> OpenedMessage? {
        let key = FragmentTable.Key(localSPI: localSPI, isResponse: header.isResponse, messageID: header.messageID)
        return try fragments.open(datagram.bytes, key: key, with: protection, at: now)
    }

    /// Octets of an IKE message that goes to `remote` in fragments: the IP datagram is as long as the configuration wants.
    func fragmentLength(_ capabilities: PeerCapabilities, local: Endpoint, remote: Endpoint) -> Int? {
        guard capabilities.contains(.fragmentation) else { return nil }
        return configuration.limits.fragmentLength(local: local, remote: remote)
    }
}

extension FragmentTable {
    mutating func open(
        _ bytes: [UInt8], key: Key, with protection: MessageProtection, at now: Instant
    ) throws(OpenFailure) -> OpenedMessage? {
        if let number = FragmentNumber(bytes), !wants(number.value, of: number.total, for: key) { return nil }
        switch try protection.openPart(bytes) {
        case .whole(let payloads): return OpenedMessage(payloads: payloads, digest: sha256(bytes))
        case .fragment(let fragment):
            guard let whole = take(fragment, of: bytes, for: key, at: now) else { return nil }
            let payloads = try MessageProtection.payloads(first: whole.firstPayload, content: whole.content)
            return OpenedMessage(payloads: payloads, digest: whole.digest)
        }
    }
}

/// Which fragment a message is, read without believing anything.
struct FragmentNumber {
    var value: UInt16
    var total: UInt16

    init?(_ bytes: [UInt8]) {
        guard let message = try? IKEMessage(parsing: bytes), case .encryptedFragment(let fragment) = message.payloads.last else {
            return nil
        }
        value = fragment.fragmentNumber
        total = fragment.totalFragments
    }
}

extension IKELimits {
    /// IP header, UDP header and, on another port than 500, the non-ESP marker go off `fragmentSize`.
    func fragmentLength(local: Endpoint, remote: Endpoint) -> Int {
        fragmentSize - (remote.address.isIPv4 ? 20 : 40) - 8 - (local.port == 500 && remote.port == 500 ? 0 : 4)
    }
}
