import Cryptography
import Netlink
import Session

func address(_ text: String) -> IPAddress { IPAddress(text)! }

/// One CHILD SA from both ends.
struct Tunnel {
    var session: UInt64
    /// The gateway's inbound SPI; the client's is the same without the top bits.
    var spi: UInt32
    var gateway: Endpoint
    var client: Endpoint
    var protectedNetwork: String
    var clientAddress: String
    var algorithms = ESPAlgorithms(
        cipher: Cipher(.aesGCM16, keyBits: 128), integrity: nil, extendedSequenceNumbers: true, keyExchangeGroup: nil)
    var encapsulation = false
    /// The slice that the gateway sends from.
    var slice: UInt64 = 0
    /// Fewer numbers than the slice has.
    var limit: UInt64?

    static let cbc = ESPAlgorithms(
        cipher: Cipher(.aesCBC, keyBits: 256), integrity: .hmacSHA256_128, extendedSequenceNumbers: false, keyExchangeGroup: nil)

    /// What IKE can negotiate: every cipher and key length once, every HMAC, with and without ESN.
    static let everyCipher: [ESPAlgorithms] = Cipher.Kind.allCases.flatMap { kind in
        kind.keyLengths.map { Cipher(kind, keyBits: $0) }
    }.enumerated().flatMap { index, cipher in
        let integrity: [IntegrityAlgorithm?] = cipher.isAEAD ? [nil] : IntegrityAlgorithm.allCases.map { $0 }
        return integrity.enumerated().map { other, integrity in
            ESPAlgorithms(
                cipher: cipher, integrity: integrity, extendedSequenceNumbers: (index + other).isMultiple(of: 2), keyExchangeGroup: nil)
        }
    }

    private func keys(_ salt: UInt8) -> DirectionKeys {
        func bytes(_ count: Int, _ offset: UInt8) -> SecretBytes {
            SecretBytes((0..<count).map { UInt8(truncatingIfNeeded: $0) &+ salt &+ offset &+ UInt8(truncatingIfNeeded: spi) })
        }
        return DirectionKeys(
            encryption: bytes(algorithms.cipher.keyMaterialLength, 0),
            integrity: algorithms.integrity.map { bytes($0.keyLength, 77) } ?? .empty)
    }

    private var clientSPI: UInt32 { spi ^ 0x4000_0000 }

    private func child(atGateway: Bool) -> ChildSA {
        let network = [TrafficSelector(IPPrefix(protectedNetwork)!)]
        let host = [TrafficSelector(host: address(clientAddress))]
        return ChildSA(
            inboundSPI: atGateway ? spi : clientSPI, outboundSPI: atGateway ? clientSPI : spi, name: "lab", uniqueID: 1,
            algorithms: algorithms, inboundKeys: keys(atGateway ? 1 : 2), outboundKeys: keys(atGateway ? 2 : 1), mode: .tunnel,
            localSelectors: atGateway ? network : host, remoteSelectors: atGateway ? host : network, lease: Lease(slice: slice),
            establishedWallMilliseconds: 0)
    }

    func atGateway() -> ChildInstallation {
        var numbers = Lease(slice: slice).numbers(extended: algorithms.extendedSequenceNumbers)
        if let limit { numbers.limit = limit }
        return ChildInstallation(
            session: SessionID(rawValue: session), child: child(atGateway: true), local: gateway, remote: client,
            encapsulation: encapsulation, numbers: numbers)
    }

    func atClient() -> ChildInstallation {
        ChildInstallation(
            session: SessionID(rawValue: session), child: child(atGateway: false), local: client, remote: gateway,
            encapsulation: encapsulation, numbers: LeasedNumbers(next: 1, limit: 1 << 31))
    }
}
