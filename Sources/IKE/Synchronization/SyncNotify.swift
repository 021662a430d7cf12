import IKEWire
import Session

/// The notifies of a synchronization message (RFC 6311 §6.3, §6.4).
struct SyncNotify: Hashable {
    var nonce: UInt32
    var ids: MessageIDs
    /// IPSEC_REPLAY_COUNTER_SYNC beside it: the increment, and in how many octets it was said.
    var increment: (value: UInt64, octets: Int)?

    static func == (lhs: SyncNotify, rhs: SyncNotify) -> Bool {
        lhs.nonce == rhs.nonce && lhs.ids == rhs.ids && lhs.increment?.value == rhs.increment?.value
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(nonce)
        hasher.combine(ids)
    }

    /// IDs above leave too few for the life of an IKE SA: whoever asks for them would end it.
    static let idMax: UInt32 = 0xFFFF_0000

    init(nonce: UInt32, ids: MessageIDs) {
        self.nonce = nonce
        self.ids = ids
    }

    /// - Parameter payloads: all that the message holds: one IKEV2_MESSAGE_ID_SYNC, in a request one IPSEC_REPLAY_COUNTER_SYNC
    ///   beside it, and nothing else (RFC 6311 §5.1); `nil` otherwise.
    init?(_ payloads: [Payload], isResponse: Bool) {
        var found: SyncNotify?
        var increment: (UInt64, Int)?
        for payload in payloads {
            guard case .notify(let notify) = payload else { return nil }
            switch notify.type {
            case .ikev2MessageIDSync where found == nil:
                guard let value = SyncNotify(data: notify.data) else { return nil }
                found = value
            case .ipsecReplayCounterSync where increment == nil && !isResponse:
                guard let value = SyncNotify.increment(notify.data) else { return nil }
                increment = value
            default: return nil
            }
        }
        guard var found else { return nil }
        found.increment = increment
        self = found
    }

    private init?(data: [UInt8]) {
        guard data.count == 12, let nonce = UInt32(networkBytes: Array(data[0..<4])), let send = UInt32(networkBytes: Array(data[4..<8])),
            let receive = UInt32(networkBytes: Array(data[8..<12]))
        else { return nil }
        self.init(nonce: nonce, ids: MessageIDs(send: send, receive: receive))
    }

    var payload: Payload { .notify(.ikev2MessageIDSync, nonce.networkBytes + ids.send.networkBytes + ids.receive.networkBytes) }

    /// 4 octets, or 8 with ESN.
    static func increment(_ data: [UInt8]) -> (value: UInt64, octets: Int)? {
        if let value = UInt32(networkBytes: data) { return (UInt64(value), 4) }
        return UInt64(networkBytes: data).map { ($0, 8) }
    }

    static func incrementPayload(_ value: UInt64, extended: Bool) -> Payload {
        .notify(.ipsecReplayCounterSync, extended ? value.networkBytes : UInt32(clamping: value).networkBytes)
    }
}

extension MessageIDs {
    /// M2 and P2 of who has these counters, when it is asked with M1 and P1 (RFC 6311 §5.1): of each pair the higher one.
    func answer(to request: MessageIDs) -> MessageIDs {
        MessageIDs(send: max(send, request.receive), receive: max(receive, request.send))
    }
}

extension Session {
    /// Whether its CHILD SAs have extended sequence numbers, all of them or none; `nil` when they differ, and no increment fits all
    /// (RFC 6311 §6.4).
    var hasExtendedNumbers: Bool? {
        guard let first = children.first?.algorithms.extendedSequenceNumbers else { return false }
        return children.allSatisfy { $0.algorithms.extendedSequenceNumbers == first } ? first : nil
    }
}
