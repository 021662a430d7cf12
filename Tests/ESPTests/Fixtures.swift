import Cryptography
import Session

@testable import ESP

/// The transform sets that the tests go through.
enum Suite: CaseIterable {
    case gcm128, gcm256, gcm8, gcm12, chaCha, cbc128SHA256, cbc256SHA512, cbc192SHA1, ctr128SHA256, ctr256SHA1

    func algorithms(extended: Bool) -> ESPAlgorithms {
        let (cipher, integrity): (Cipher, IntegrityAlgorithm?) =
            switch self {
            case .gcm128: (Cipher(.aesGCM16, keyBits: 128), nil)
            case .gcm256: (Cipher(.aesGCM16, keyBits: 256), nil)
            case .gcm8: (Cipher(.aesGCM8, keyBits: 192), nil)
            case .gcm12: (Cipher(.aesGCM12, keyBits: 128), nil)
            case .chaCha: (Cipher(.chaCha20Poly1305, keyBits: 256), nil)
            case .cbc128SHA256: (Cipher(.aesCBC, keyBits: 128), .hmacSHA256_128)
            case .cbc256SHA512: (Cipher(.aesCBC, keyBits: 256), .hmacSHA512_256)
            case .cbc192SHA1: (Cipher(.aesCBC, keyBits: 192), .hmacSHA1_96)
            case .ctr128SHA256: (Cipher(.aesCTR, keyBits: 128), .hmacSHA256_128)
            case .ctr256SHA1: (Cipher(.aesCTR, keyBits: 256), .hmacSHA1_96)
            }
        return ESPAlgorithms(cipher: cipher, integrity: integrity, extendedSequenceNumbers: extended, keyExchangeGroup: nil)
    }
}

/// One CHILD SA as its gateway and as its peer have it.
struct Tunnel {
    var gateway: ChildInstallation
    var peer: ChildInstallation

    static let gatewayEndpoint = Endpoint(IPAddress("192.0.2.1")!, 4500)
    static let peerEndpoint = Endpoint(IPAddress("198.51.100.7")!, 33000)

    init(
        _ suite: Suite = .gcm128, extended: Bool = false, inboundSPI: UInt32 = 0x1000_0001, outboundSPI: UInt32 = 0xC000_0001,
        local: [TrafficSelector] = [TrafficSelector(IPPrefix("10.1.0.0/16")!)],
        remote: [TrafficSelector] = [TrafficSelector(IPPrefix("10.3.0.5")!)],
        numbers: LeasedNumbers = LeasedNumbers(next: 1, limit: 1 << 24), inboundTop: UInt64 = 0, established: Int64 = 1, seed: UInt64 = 7
    ) {
        let algorithms = suite.algorithms(extended: extended)
        let random = RandomSource.seeded(seed)
        func keys() -> DirectionKeys {
            DirectionKeys(
                encryption: SecretBytes(random.bytes(algorithms.cipher.keyMaterialLength)),
                integrity: SecretBytes(random.bytes(algorithms.integrity?.keyLength ?? 0)))
        }
        let (toPeer, fromPeer) = (keys(), keys())
        func child(_ inbound: UInt32, _ outbound: UInt32, _ keysIn: DirectionKeys, _ keysOut: DirectionKeys) -> ChildSA {
            ChildSA(
                inboundSPI: inbound, outboundSPI: outbound, name: "net", uniqueID: 1, algorithms: algorithms, inboundKeys: keysIn,
                outboundKeys: keysOut, mode: .tunnel, localSelectors: local, remoteSelectors: remote, lease: .initial,
                inboundTop: inboundTop, establishedWallMilliseconds: established)
        }
        gateway = ChildInstallation(
            session: SessionID(rawValue: UInt64(inboundSPI)), child: child(inboundSPI, outboundSPI, fromPeer, toPeer),
            local: Tunnel.gatewayEndpoint, remote: Tunnel.peerEndpoint, encapsulation: true, numbers: numbers)
        var mirrored = child(outboundSPI, inboundSPI, toPeer, fromPeer)
        mirrored.localSelectors = remote
        mirrored.remoteSelectors = local
        peer = ChildInstallation(
            session: gateway.session, child: mirrored, local: Tunnel.peerEndpoint, remote: Tunnel.gatewayEndpoint, encapsulation: true,
            numbers: numbers)
    }
}

/// A packet without checksums: nothing here looks at them.
func ipv4Packet(
    from source: String, to destination: String, ipProtocol: UInt8 = 17, ports: (UInt16, UInt16) = (1000, 2000), payload: Int = 20,
    fragmentOffset: UInt16 = 0
) -> [UInt8] {
    let length = 24 + payload
    var out: [UInt8] = [0x45, 0, UInt8(length >> 8), UInt8(length & 255), 0, 1]
    out += [UInt8(fragmentOffset >> 8), UInt8(fragmentOffset & 255), 64, ipProtocol, 0, 0]
    out += IPAddress(source)!.bytes + IPAddress(destination)!.bytes
    out += [UInt8(ports.0 >> 8), UInt8(ports.0 & 255), UInt8(ports.1 >> 8), UInt8(ports.1 & 255)]
    return out + (0..<payload).map { UInt8(truncatingIfNeeded: $0) }
}

/// - Parameter extensions: octets between the fixed header and the upper protocol; `nextHeader` is the first header's type.
func ipv6Packet(from source: String, to destination: String, nextHeader: UInt8, body: [UInt8]) -> [UInt8] {
    [0x60, 0, 0, 0, UInt8(body.count >> 8), UInt8(body.count & 255), nextHeader, 64]
        + IPAddress(source)!.bytes + IPAddress(destination)!.bytes + body
}

func parsed(_ packet: [UInt8]) -> PacketFlow? { packet.withUnsafeBytes { PacketFlow($0) } }

extension OutboundSA {
    /// The ESP packet for an inner packet.
    func sealed(_ inner: [UInt8]) throws -> [UInt8] {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: inner.count + OutboundSA.overheadMax, alignment: 8)
        defer { buffer.deallocate() }
        let count = try inner.withUnsafeBytes { bytes in try seal(innerPacket: bytes, into: buffer) }
        return Array(buffer[..<count])
    }
}

extension InboundSA {
    /// The inner packet of an ESP packet.
    func opened(_ packet: [UInt8]) throws -> [UInt8] {
        var packet = packet
        let inner = try packet.withUnsafeMutableBytes { bytes in try open(bytes) }
        return Array(packet[inner])
    }
}

extension SecurityAssociationDatabase {
    func sealed(_ inner: [UInt8]) throws -> (bytes: [UInt8], way: Sealed) {
        let headroom = OutboundSA.headerLengthMax
        var buffer = [UInt8](repeating: 0, count: headroom) + inner + [UInt8](repeating: 0, count: OutboundSA.overheadMax)
        let way = try buffer.withUnsafeMutableBytes { bytes in
            try seal(in: bytes, payload: headroom..<headroom + inner.count)
        }
        return (Array(buffer[way.packet]), way)
    }

    func opened(_ packet: [UInt8], from origin: Endpoint? = Tunnel.peerEndpoint, at milliseconds: UInt64 = 0) throws -> [UInt8] {
        var packet = packet
        let inner = try packet.withUnsafeMutableBytes { bytes in
            try open(bytes, from: origin, now: Instant(nanoseconds: milliseconds * 1_000_000))
        }
        return Array(packet[inner])
    }
}
