import Context
import Cryptography
import Session

/// A context in which everything is there.
enum Sample {
    static let context = SessionContext(
        kind: .detached, giver: "sg1", giverNode: .one, epoch: 7, givenAtWallMilliseconds: 1_700_000_005_000, session: session,
        traffic: [
            0x8000_0001: ChildTraffic(inboundBytes: .max, inboundPackets: 2, outboundBytes: 3, outboundPackets: 4, outboundNext: 5)
        ])

    static let requests: [PendingRequest] = [
        .createChildSA(
            ChildOffer(
                name: "net", inboundSPI: 7, replacing: 5, nonce: [UInt8](repeating: 7, count: 32),
                keyExchange: KeyExchangeOffer(group: .ecp256, privateValue: key(0xA1, 32)),
                localSelectors: aeadChild.localSelectors, remoteSelectors: aeadChild.remoteSelectors, mode: .transport)),
        .createChildSA(
            ChildOffer(
                name: "net", inboundSPI: 7, replacing: nil, nonce: [1], keyExchange: nil, localSelectors: [], remoteSelectors: [],
                mode: .tunnel)),
        .rekeyIKESA(IKEOffer(spi: 9, nonce: [2], keyExchange: KeyExchangeOffer(group: .curve25519, privateValue: key(0xA2, 32)))),
        .updateAddresses(AddressUpdate(local: session.local, remote: session.remote)),
        .verifyAddress(AddressCheck(cookie: [1, 2, 3, 4, 5, 6, 7, 8], path: session.path)), .announce,
    ].map {
        PendingRequest(messageID: 3, purpose: $0, datagrams: [[1], [2]], collision: RekeyCollision(lowestNonce: [5], localSPI: 6))
    }

    static let response = CachedResponse(
        messageID: 3, requestDigest: [UInt8](repeating: 0xDD, count: 32), datagrams: [[UInt8](repeating: 0xEE, count: 80), [9]])

    static let session: Session = {
        var session = plain
        session.redirectedTo = IPAddress("2001:db8::5")!
        return session
    }()

    private static let plain = Session(
        id: SessionID(rawValue: 0x8000_0000_0000_0042), uniqueID: 17,
        authorization: PeerAuthorization(
            connection: "roadwarriors", localIdentity: Identity(text: "sg.example"),
            remoteIdentity: Identity(kind: .keyID, data: [0, 0xFF]), method: .preSharedKey),
        capabilities: [.mobike, .messageIDSync, PeerCapabilities(rawValue: 1 << 31)],
        local: Endpoint(IPAddress("2001:db8::1")!, 4500), remote: Endpoint(IPAddress("2001:db8::64")!, 65535), encapsulation: true,
        localBehindNAT: false, remoteBehindNAT: true, ikeSA: ikeSA(role: .responder, pending: true),
        otherIKESAs: [ikeSA(role: .initiator, pending: false)], children: [aeadChild, cbcChild],
        virtualAddresses: [
            VirtualAddress(pool: "rw", address: IPAddress("10.3.0.1")!),
            VirtualAddress(pool: "rw6", address: IPAddress("fd00::1")!, isPersistent: true),
        ], originalRole: .initiator, peerAddresses: [IPAddress("2001:db8::7")!],
        movingTo: SessionPath(
            local: Endpoint(IPAddress("192.0.2.1")!, 4500), remote: Endpoint(IPAddress("192.0.2.7")!, 4500), encapsulation: false,
            localBehindNAT: true, remoteBehindNAT: false), reauthenticateAt: 1_900_000_000_000,
        establishedWallMilliseconds: 1_700_000_000_123)

    private static func ikeSA(role: IKERole, pending: Bool) -> IKESA {
        IKESA(
            spis: IKESPIs(initiator: 0x0123_4567_89AB_CDEF, responder: 0x8000_0000_0000_0001), role: role,
            algorithms: IKEAlgorithms(
                cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, prf: .hmacSHA384, keyExchangeGroup: .ecp384),
            keys: IKEKeys(
                derivation: key(0xD0, 48), initiator: DirectionKeys(encryption: key(0xE1, 36), integrity: .empty),
                responder: DirectionKeys(encryption: key(0xE2, 36), integrity: .empty)), nextSendID: 0, nextReceiveID: 2,
            sendWindow: 4, receiveWindow: 2, responses: [response],
            pendingRequests: pending ? [PendingRequest(messageID: 1, purpose: .liveness, datagrams: [[4, 5]])] : [],
            lifetime: Lifetime(rekeyAt: 5, endsAt: 1_800_000_000_000), epochShift: EpochShift(offset: 5, spent: 128)!,
            establishedWallMilliseconds: 1_700_000_000_000)
    }

    static let aeadChild = ChildSA(
        inboundSPI: 0x8000_0001, outboundSPI: 0xC123_4567, name: "net", uniqueID: 3,
        algorithms: ESPAlgorithms(
            cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, extendedSequenceNumbers: true, keyExchangeGroup: .curve25519),
        inboundKeys: DirectionKeys(encryption: key(0xC1, 36), integrity: .empty),
        outboundKeys: DirectionKeys(encryption: key(0xC2, 36), integrity: .empty), mode: .tunnel,
        localSelectors: [
            TrafficSelector(IPPrefix("10.1.0.0/16")!),
            TrafficSelector(
                ipProtocol: 6, startPort: 443, endPort: 443, start: IPAddress("fd00::1")!, end: IPAddress("fd00::ffff")!),
        ], remoteSelectors: [TrafficSelector(host: IPAddress("10.3.0.1")!)], lease: Lease(slice: 6), inboundTop: 1 << 40,
        lifetime: Lifetime(rekeyAt: nil, endsAt: 1_800_000_000_000),
        volumeLimits: VolumeLimits(rekeyBytes: 1, endBytes: 2, rekeyPackets: 3, endPackets: 4),
        volume: Volume(bytes: 5, packets: 6), establishedWallMilliseconds: 1_700_000_000_001, isRekeyed: true)

    static let cbcChild = ChildSA(
        inboundSPI: 0x8000_0002, outboundSPI: 256, name: "other", uniqueID: 4,
        algorithms: ESPAlgorithms(
            cipher: Cipher(.aesCBC, keyBits: 128), integrity: .hmacSHA512_256, extendedSequenceNumbers: false, keyExchangeGroup: nil),
        inboundKeys: DirectionKeys(encryption: key(0xB1, 16), integrity: key(0xB2, 64)),
        outboundKeys: DirectionKeys(encryption: key(0xB3, 16), integrity: key(0xB4, 64)), mode: .transport, localSelectors: [],
        remoteSelectors: [], lease: .initial, inboundTop: 0, establishedWallMilliseconds: 0)

    private static func key(_ byte: UInt8, _ count: Int) -> SecretBytes { SecretBytes([UInt8](repeating: byte, count: count)) }
}
