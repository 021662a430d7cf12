import Cryptography
import ESP
import Session

extension FuzzTarget {
    /// ESP packets as they are, as a peer's who has the keys, and inner packets on their way out.
    static let esp = FuzzTarget(
        name: "esp",
        seeds: {
            let inner: [UInt8] = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 3, 0, 5, 10, 1, 0, 9, 0, 7, 0, 7, 0, 8, 0, 0]
            let outward = Array(inner[0..<12] + inner[16..<20] + inner[12..<16] + inner[20...])
            let ipv6: [UInt8] = [0x60, 0, 0, 0, 0, 16, 0, 64] + [UInt8](repeating: 1, count: 32) + [44, 0, 0, 0, 0, 0, 0, 0]
            return [
                [0, 0x10, 0, 0, 1] + [UInt8](repeating: 0, count: 40), [1, 0, 0, 0, 1] + inner + [1, 2, 2, 4],
                [1, 0, 0, 0, 2] + ipv6 + [17, 0, 0, 0, 0, 0, 0, 0, 0, 41], [2] + outward,
            ]
        },
        run: { bytes in
            var input = FuzzInput(bytes)
            switch input.octet() % 3 {
            case 0:
                var packet = input.all()
                try require(ESPScene().open(&packet) == nil, "a packet without the key was taken")
            case 1: try receive(&input)
            default: try send(input.all())
            }
        })

    /// Whatever text, padding and trailer, authenticated; then once more: that is a replay.
    private static func receive(_ input: inout FuzzInput) throws {
        let scene = ESPScene()
        let sequence = (0..<4).map { _ in input.octet() }
        var text = input.all()
        text += [UInt8](repeating: 0, count: (4 - text.count % 4) % 4)
        let header = ESPScene.inboundSPI.bytes + sequence
        var packet =
            header
            + (try sealIKE(
                cipher: ESPScene.cipher, integrity: nil, keys: (scene.inboundKeys.encryption, scene.inboundKeys.integrity),
                iv: [UInt8](repeating: 3, count: 8), header: header, plaintext: text))
        var replay = packet
        if let inner = scene.open(&packet) {
            try require(Array(packet[inner]) == Array(text.prefix(inner.count)), "another packet came out")
            // Only what the traffic selectors name: 10.3.0.5 to 10.1.0.0/16.
            try require(Array(packet[inner].dropFirst(12).prefix(6)) == [10, 3, 0, 5, 10, 1], "a packet outside the selectors")
        }
        try require(scene.open(&replay) == nil, "a replay was taken")
    }

    /// What leaves comes out at the peer as it was.
    private static func send(_ inner: [UInt8]) throws {
        let scene = ESPScene()
        let headroom = OutboundSA.headerLengthMax
        var buffer = [UInt8](repeating: 0, count: headroom) + inner + [UInt8](repeating: 0, count: OutboundSA.overheadMax)
        let sealed = buffer.withUnsafeMutableBytes { try? scene.gateway.seal(in: $0, payload: headroom..<headroom + inner.count) }
        guard let sealed else { return }
        var packet = Array(buffer[sealed.packet])
        let opened = packet.withUnsafeMutableBytes { bytes in
            try? scene.peer.open(bytes, from: nil, now: Instant(nanoseconds: 0))
        }
        guard let opened else { throw FuzzFailure(description: "the peer refuses what was sealed") }
        try require(Array(packet[opened]) == inner, "another packet came out")
    }
}

/// One CHILD SA as its gateway and as its peer have it.
private struct ESPScene {
    static let inboundSPI: UInt32 = 0x1000_0001
    static let cipher = Cipher(.aesGCM16, keyBits: 128)

    let gateway = SecurityAssociationDatabase(random: .seeded(1))
    let peer = SecurityAssociationDatabase(random: .seeded(2))
    let inboundKeys: DirectionKeys

    init() {
        func keys(_ octet: UInt8) -> DirectionKeys {
            DirectionKeys(
                encryption: SecretBytes([UInt8](repeating: octet, count: Self.cipher.keyMaterialLength)), integrity: SecretBytes([]))
        }
        inboundKeys = keys(1)
        let local = [TrafficSelector(IPPrefix("10.1.0.0/16")!)]
        let remote = [TrafficSelector(IPPrefix("10.3.0.5")!)]
        let algorithms = ESPAlgorithms(cipher: Self.cipher, integrity: nil, extendedSequenceNumbers: false, keyExchangeGroup: nil)
        let child = ChildSA(
            inboundSPI: Self.inboundSPI, outboundSPI: 0xC000_0001, name: "net", uniqueID: 1, algorithms: algorithms,
            inboundKeys: keys(1), outboundKeys: keys(2), mode: .tunnel, localSelectors: local, remoteSelectors: remote, lease: .initial,
            inboundTop: 0, establishedWallMilliseconds: 1)
        let mirrored = ChildSA(
            inboundSPI: 0xC000_0001, outboundSPI: Self.inboundSPI, name: "net", uniqueID: 1, algorithms: algorithms,
            inboundKeys: keys(2), outboundKeys: keys(1), mode: .tunnel, localSelectors: remote, remoteSelectors: local, lease: .initial,
            inboundTop: 0, establishedWallMilliseconds: 1)
        for (database, child) in [(gateway, child), (peer, mirrored)] {
            let installation = ChildInstallation(
                session: SessionID(rawValue: 1), child: child, local: Endpoint(IPAddress("192.0.2.1")!, 4500),
                remote: Endpoint(IPAddress("198.51.100.7")!, 4500), encapsulation: true,
                numbers: LeasedNumbers(next: 1, limit: 1 << 24))
            try! database.apply(.install(installation))
            try! database.apply(.gate(.open))
        }
    }

    func open(_ packet: inout [UInt8]) -> Range<Int>? {
        packet.withUnsafeMutableBytes { bytes in
            try? gateway.open(bytes, from: Endpoint(IPAddress("198.51.100.7")!, 4500), now: Instant(nanoseconds: 0))
        }
    }
}

extension UInt32 {
    fileprivate var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> (24 - 8 * $0)) } }
}
