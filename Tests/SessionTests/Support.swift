import Cryptography
import Session

/// SplitMix64: the same seed gives the same run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

func address(_ text: String) -> IPAddress { IPAddress(text)! }
func prefix(_ text: String) -> IPPrefix { IPPrefix(text)! }
func selector(_ first: String, _ last: String) -> TrafficSelector { TrafficSelector(start: address(first), end: address(last)) }

enum Sample {
    static func ikeSA(localSPI: UInt64, role: IKERole = .responder) -> IKESA {
        let keys = DirectionKeys(encryption: SecretBytes(Array(repeating: 1, count: 36)), integrity: .empty)
        return IKESA(
            spis: role == .responder
                ? IKESPIs(initiator: ~localSPI, responder: localSPI) : IKESPIs(initiator: localSPI, responder: ~localSPI), role: role,
            algorithms: IKEAlgorithms(
                cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, prf: .hmacSHA256, keyExchangeGroup: .curve25519),
            keys: IKEKeys(derivation: SecretBytes(Array(repeating: 2, count: 32)), initiator: keys, responder: keys), nextSendID: 0,
            nextReceiveID: 2, establishedWallMilliseconds: 1000)
    }

    static func child(_ inboundSPI: UInt32) -> ChildSA {
        let keys = DirectionKeys(encryption: SecretBytes(Array(repeating: 3, count: 36)), integrity: .empty)
        return ChildSA(
            inboundSPI: inboundSPI, outboundSPI: ~inboundSPI, name: "net", uniqueID: inboundSPI,
            algorithms: ESPAlgorithms(
                cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, extendedSequenceNumbers: false, keyExchangeGroup: nil),
            inboundKeys: keys, outboundKeys: keys, mode: .tunnel, localSelectors: [TrafficSelector(prefix("10.1.0.0/16"))],
            remoteSelectors: [TrafficSelector(host: address("10.9.0.2"))], lease: .initial, establishedWallMilliseconds: 1000)
    }

    /// A session whose numbers all come from `id`: IKE SPI `id * 100`, one CHILD SA on SPI `id * 10`, virtual address 10.9.0.`id`.
    static func session(_ id: UInt64, identity: String = "road.example") -> Session {
        Session(
            id: SessionID(rawValue: id), uniqueID: UInt32(id),
            authorization: PeerAuthorization(
                connection: "rw", localIdentity: Identity(text: "gw.example"), remoteIdentity: Identity(text: identity),
                method: .preSharedKey), capabilities: [.mobike], local: Endpoint(address("192.0.2.1"), 4500),
            remote: Endpoint(address("198.51.100.7"), 4500), encapsulation: true, localBehindNAT: false, remoteBehindNAT: true,
            ikeSA: ikeSA(localSPI: id * 100), children: [child(UInt32(id * 10))],
            virtualAddresses: [VirtualAddress(pool: "rw", address: IPAddress(v4: 0x0A09_0000 + UInt32(id)))],
            establishedWallMilliseconds: 1000)
    }

    static let response = CachedResponse(messageID: 2, requestDigest: [1, 2, 3], datagrams: [[4, 5, 6]])
    static let request = PendingRequest(messageID: 0, purpose: .liveness, datagrams: [[7, 8]])
}

extension SessionTable {
    /// A table with these sessions.
    init(_ sessions: Session...) throws(ApplyError) {
        self.init()
        for session in sessions { try apply(SessionDelta(session: session.id, changes: [.created(session)])) }
    }

    @discardableResult
    mutating func apply(_ id: UInt64, _ changes: SessionChange...) throws(ApplyError) -> AppliedDelta {
        try apply(SessionDelta(session: SessionID(rawValue: id), changes: changes))
    }

    /// Everything that can be asked of a table, found anew from its sessions: the indexes must say the same.
    func inconsistency(probing localSPIs: some Sequence<UInt64>, inboundSPIs: some Sequence<UInt32>, identities: [String]) -> String? {
        let all = Array(sessions.values)
        for spi in localSPIs {
            let holder = all.first { $0.localSPIs.contains(spi) }
            if session(localSPI: spi) != holder || isInUse(localSPI: spi) != (holder != nil) { return "IKE SPI \(spi)" }
        }
        for spi in inboundSPIs {
            let holder = all.first { $0.child(inboundSPI: spi) != nil }
            if session(inboundSPI: spi) != holder || isInUse(inboundSPI: spi) != (holder != nil) { return "ESP SPI \(spi)" }
        }
        for identity in identities.map({ Identity(text: $0) }) {
            let holders = all.filter { $0.authorization.remoteIdentity == identity }.sorted { $0.id < $1.id }
            if sessions(remoteIdentity: identity) != holders { return "identity \(identity)" }
            if ids(remoteIdentityText: "\(identity)") != holders.map(\.id) { return "text of identity \(identity)" }
        }
        for one in all {
            func those(_ isSame: (Session) -> Bool) -> [SessionID] { all.filter(isSame).map(\.id).sorted() }
            if ids(uniqueID: one.uniqueID) != those({ $0.uniqueID == one.uniqueID }) { return "number \(one.uniqueID)" }
            if ids(remoteAddress: one.remote.address) != those({ $0.remote.address == one.remote.address }) { return "peer \(one.remote)" }
            let connection = one.authorization.connection
            if ids(connection: connection) != those({ $0.authorization.connection == connection }) { return "connection \(connection)" }
            for lease in one.virtualAddresses where session(virtualAddress: lease.address) != one { return "address \(lease.address)" }
        }
        let pending = all.filter(\.hasPendingRequest)
        if withPendingRequest != Set(pending.map(\.id)) { return "pending requests" }
        if childCount != all.map(\.children.count).reduce(0, +) { return "child count" }
        return count == sessions.count ? nil : "count"
    }
}
