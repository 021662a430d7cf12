import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// What Windows, Apple's systems and Android send, as gateways of others logged it: proposals, notifies and the order of payloads.
///
/// That is all that this shows: that the gateway understands these messages and answers within what they offer. The clients themselves do
/// not run here, and authenticate with EAP or certificates mostly, for which these have a shared secret.
@Suite struct ClientProfileTests {
    struct Profile: CustomStringConvertible, Sendable {
        var name: String
        /// Group of the KE payload of the first try.
        var group: KeyExchangeGroup
        var proposals: [[Transform]]
        var childProposals: [[Transform]]
        /// Around SA, KE and Ni, which come first with all of them.
        var initNotifies: [NotifyType]
        var vendorIDs: Int
        var authOrder: [Part]
        var configuration: [UInt16]

        enum Part: Sendable { case idi, idr, auth, cp, sa, ts, notify(NotifyType), vendorID }
        var description: String { name }
    }

    private static func list(_ type: UInt8, _ ids: [UInt16]) -> [Transform] { ids.map { Transform(type: type, id: $0) } }

    private static func ciphers(_ ciphers: [(UInt16, UInt16?)]) -> [Transform] {
        ciphers.map { Transform(type: TransformType.encryption, id: $0.0, keyLength: $0.1) }
    }

    private static func ike(_ offered: [(UInt16, UInt16?)], integrity: [UInt16], prf: [UInt16], groups: [UInt16]) -> [Transform] {
        var out = ciphers(offered)
        out += list(TransformType.integrity, integrity)
        out += list(TransformType.pseudorandomFunction, prf)
        out += list(TransformType.keyExchange, groups)
        return out
    }

    private static func esp(_ offered: [(UInt16, UInt16?)], integrity: [UInt16]) -> [Transform] {
        ciphers(offered) + list(TransformType.integrity, integrity) + list(TransformType.extendedSequenceNumbers, [0])
    }

    /// Windows 10 and 11 with the registry's NegotiateDH2048_AES256, or Set-VpnConnectionIPsecConfiguration: one proposal for each pair
    /// of a cipher and a hash, 3DES and SHA-1 first.
    private static let windows: Profile = {
        var proposals: [[Transform]] = []
        let offered: [(UInt16, UInt16?)] = [(3, nil), (12, 128), (12, 192), (12, 256)]
        for cipher in offered {
            for (integrity, prf) in [(UInt16(2), UInt16(2)), (12, 5), (13, 6)] {
                proposals.append(ike([cipher], integrity: [integrity], prf: [prf], groups: [14]))
            }
        }
        for bits in [UInt16(128), 256] { proposals.append(ike([(20, bits)], integrity: [], prf: [5], groups: [14])) }
        return Profile(
            name: "Windows", group: .modp2048, proposals: proposals,
            childProposals: [esp([(12, 256)], integrity: [2]), esp([(12, 128)], integrity: [2]), esp([(20, 256)], integrity: [])],
            initNotifies: [.ikev2FragmentationSupported, .natDetectionSourceIP, .natDetectionDestinationIP], vendorIDs: 4,
            authOrder: [.idi, .auth, .notify(.mobikeSupported), .cp, .sa, .ts], configuration: [1, 3, 4, 23456, 8, 10, 23457])
    }()

    /// iOS and macOS without a profile of their own: AES-256 with SHA-256 and group 14 first.
    private static let apple = Profile(
        name: "Apple", group: .modp2048,
        proposals: [
            ike([(12, 256)], integrity: [12], prf: [5], groups: [14]), ike([(12, 256)], integrity: [12], prf: [5], groups: [19]),
            ike([(12, 256)], integrity: [12], prf: [5], groups: [5]), ike([(12, 128)], integrity: [2], prf: [2], groups: [2]),
            ike([(3, nil)], integrity: [2], prf: [2], groups: [2]),
        ],
        childProposals: [esp([(12, 256)], integrity: [12]), esp([(12, 128)], integrity: [2]), esp([(3, nil)], integrity: [2])],
        initNotifies: [.redirectSupported, .natDetectionSourceIP, .natDetectionDestinationIP, .ikev2FragmentationSupported], vendorIDs: 0,
        authOrder: [
            .idi, .notify(.initialContact), .idr, .auth, .cp, .notify(.espTFCPaddingNotSupported), .notify(.nonFirstFragmentsAlso), .sa,
            .ts,
            .notify(.mobikeSupported),
        ], configuration: [1, 2, 6, 3, 8, 12, 10, 25])

    /// Android 11 and later, built in: two long proposals, KE of group 16, which asks for another try when 31 is liked better.
    private static let android: Profile = {
        let aead: [(UInt16, UInt16?)] = [
            (28, nil), (20, 256), (19, 256), (18, 256), (20, 192), (19, 192), (18, 192), (20, 128), (19, 128), (18, 128),
        ]
        let plain: [(UInt16, UInt16?)] = [(13, 256), (12, 256), (13, 192), (12, 192), (13, 128), (12, 128)]
        let prfs: [UInt16] = [2, 4, 5, 6, 7, 8]
        return Profile(
            name: "Android", group: .modp4096,
            proposals: [
                ike(plain, integrity: [14, 13, 12, 5, 8], prf: prfs, groups: [16, 31, 15, 14]),
                ike(aead, integrity: [], prf: prfs, groups: [16, 31, 15, 14]),
            ],
            childProposals: [esp([(12, 256), (12, 192), (12, 128)], integrity: [14, 13, 12, 5, 8]), esp(aead, integrity: [])],
            initNotifies: [
                .natDetectionSourceIP, .natDetectionDestinationIP, .ikev2FragmentationSupported, .signatureHashAlgorithms,
            ],
            vendorIDs: 0, authOrder: [.idi, .idr, .auth, .sa, .ts, .cp], configuration: [1, 8, 3, 10, 2, 7])
    }()

    static let all = [windows, apple, android]

    @Test(arguments: all) func client_ofEachSystem_isLetIn(profile: Profile) throws {
        var proposals = IKEProposal.all
        // As the configuration's default has it: nothing weak, though the client offers it first.
        for index in proposals.indices {
            proposals[index].integrity.removeAll { $0 == .hmacSHA1_96 }
            proposals[index].prfs.removeAll { $0 == .hmacSHA1 }
            proposals[index].groups.removeAll { $0 == .modp1024 }
        }
        let esp = [
            ESPProposal(ciphers: Cipher.all.filter(\.isAEAD), integrity: [], groups: []),
            ESPProposal(ciphers: [Cipher(.aesCBC, keyBits: 256)], integrity: [.hmacSHA256_128, .hmacSHA512_256], groups: []),
        ]
        var gateway = Gateway(.standard(proposals: proposals, child: esp))
        var client = ScriptedClient(profile: profile)
        let session = try #require(try client.connect(&gateway))
        #expect(session.children.count == 1 && session.virtualAddresses.count == 1)
        #expect(session.capabilities.contains(.fragmentation))
        #expect(session.ikeSA.algorithms.prf != .hmacSHA1 && session.children[0].algorithms.integrity != .hmacSHA1_96)
        // Nothing of what was not asked for is in the answer, and the gateway is who it should be.
        #expect(client.isGatewayProven)
        // The other gateway goes on with it.
        var next = Gateway(.standard(), node: .one, epoch: 2)
        next.table = gateway.table
        #expect(try client.liveness(&next))
    }
}

/// An initiator that sends exactly what a profile says.
private struct ScriptedClient {
    let profile: ClientProfileTests.Profile
    let random = RandomSource.seeded(99)
    let local = Endpoint(World.clientAddress, 500)
    let remote = Endpoint(World.gatewayAddress, 500)
    var sa: IKESA?
    var isGatewayProven = false

    init(profile: ClientProfileTests.Profile) { self.profile = profile }

    private func context(_ gateway: Gateway) -> IKEContext {
        IKEContext(
            now: Now(instant: Instant(nanoseconds: 5_000_000_000), wallMilliseconds: 1_700_000_000_000), epoch: gateway.epoch,
            random: random)
    }

    private func exchange(_ bytes: [[UInt8]], _ gateway: inout Gateway) -> [Datagram] {
        bytes.flatMap { bytes in
            gateway.take(
                gateway.engine.receive(
                    Datagram(local: remote, remote: local, bytes: bytes), table: gateway.table, context: context(gateway)))
        }
    }

    private func proposals(_ list: [[Transform]], _ id: ProtocolID, spi: [UInt8]) -> Payload {
        .securityAssociation(
            list.enumerated().map { Proposal(number: UInt8($0 + 1), protocolID: id, spi: spi, transforms: $1) })
    }

    mutating func connect(_ gateway: inout Gateway) throws -> Session? {
        let spi: UInt64 = 0x1122_3344_5566_7788
        let nonce = random.bytes(32)
        var group = profile.group
        for _ in 0..<2 {
            let exchange = try KeyExchange(group: group, random: random)
            let request = initRequest(spi: spi, nonce: nonce, exchange: exchange)
            let answer = try #require(self.exchange([request], &gateway).first)
            let payloads = PayloadSet(try IKEMessage(parsing: answer.bytes).payloads)
            if let other = payloads.notify(.invalidKEPayload) {
                group = try #require(UInt16(networkBytes: other.data).flatMap { KeyExchangeGroup(rawValue: $0) })
                continue
            }
            return try authenticate(
                request: request, response: answer.bytes, payloads: payloads, spi: spi, nonce: nonce, exchange: exchange,
                gateway: &gateway)
        }
        return nil
    }

    private func initRequest(spi: UInt64, nonce: [UInt8], exchange: KeyExchange) -> [UInt8] {
        let spis = IKESPIs(initiator: spi, responder: 0)
        let detection = NATDetection.payloads(spis: spis, local: local, remote: remote, forced: false)
        let notifies: [Payload] = profile.initNotifies.map { type in
            switch type {
            case .natDetectionSourceIP: detection[0]
            case .natDetectionDestinationIP: detection[1]
            case .signatureHashAlgorithms: .notify(type, [0, 2, 0, 3, 0, 4])
            default: .notify(type)
            }
        }
        let vendorIDs = (0..<profile.vendorIDs).map { Payload.vendorID([UInt8](repeating: UInt8($0), count: 16)) }
        let payloads =
            [
                proposals(profile.proposals, .ike, spi: []),
                .keyExchange(KeyExchangePayload(group: exchange.group.rawValue, data: exchange.publicValue)), .nonce(nonce),
            ] + notifies + vendorIDs
        return IKEMessage(
            initiatorSPI: spi, responderSPI: 0, exchangeType: .ikeSAInit, isInitiator: true, isResponse: false, messageID: 0,
            payloads: payloads
        ).encode()
    }

    private mutating func authenticate(
        request: [UInt8], response: [UInt8], payloads: PayloadSet, spi: UInt64, nonce: [UInt8], exchange: KeyExchange,
        gateway: inout Gateway
    ) throws -> Session? {
        let header = try IKEHeader(parsing: response)
        let chosen = try #require(
            Negotiation.choose(
                from: payloads.proposals ?? [], acceptable: IKEProposal.all, spiLength: 0, keyExchangeGroup: exchange.group.rawValue))
        // What was chosen was offered.
        let answered = try #require(payloads.proposals?.first)
        let offered = Set(profile.proposals[Int(answered.number) - 1])
        #expect(answered.transforms.allSatisfy { offered.contains($0) })
        let spis = IKESPIs(initiator: spi, responder: header.responderSPI)
        let nonces = NoncePair(initiator: nonce, responder: payloads.nonce ?? [])
        let shared = try exchange.sharedSecret(peerPublicValue: payloads.keyExchange?.data ?? [])
        let derived = KeyDerivation.initial(algorithms: chosen.algorithms, nonces: nonces, sharedSecret: shared, spis: spis)
        let sa = IKESA(
            spis: spis, role: .initiator, algorithms: chosen.algorithms, keys: derived.keys, nextSendID: 2, nextReceiveID: 0,
            establishedWallMilliseconds: 0)
        self.sa = sa
        let identity = Identity(text: "alice@example.net").payload
        let secret = SharedSecret.road.secret
        let code = SharedKeyAuthentication.code(
            prf: chosen.algorithms.prf, secret: secret, message: request, peerNonce: nonces.responder,
            authenticationKey: derived.initiatorAuthentication, identity: identity)
        let inner = authPayloads(identity: identity, code: code)
        let sealed = try seal(inner, .ikeAuth, messageID: 1, sa: sa, gateway)
        let answers = self.exchange(sealed, &gateway)
        let inside = PayloadSet(try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(try #require(answers.first).bytes))
        let own = try #require(inside.responderIdentity)
        let expected = SharedKeyAuthentication.code(
            prf: chosen.algorithms.prf, secret: secret, message: response, peerNonce: nonce,
            authenticationKey: derived.responderAuthentication, identity: own)
        isGatewayProven = inside.authentication?.data == expected
        #expect(inside.error == nil)
        return gateway.table.sessions.values.first
    }

    private func seal(
        _ payloads: [Payload], _ exchange: ExchangeType, messageID: UInt32, sa: IKESA, _ gateway: Gateway
    ) throws -> [[UInt8]] {
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: exchange, isInitiator: true, isResponse: false,
            messageID: messageID)
        return try MessageProtection(sa.algorithms, keys: sa.sendingKeys).seal(
            payloads, header: header, fragmentLength: 500, context: context(gateway))
    }

    private func authPayloads(identity: IdentificationPayload, code: [UInt8]) -> [Payload] {
        profile.authOrder.flatMap { part -> [Payload] in
            switch part {
            case .idi: [.identificationInitiator(identity)]
            case .idr: [.identificationResponder(Identity(text: "gw.example.net").payload)]
            case .auth: [.authentication(method: AuthenticationMethod.sharedKey, data: code)]
            case .notify(let type): [.notify(type)]
            case .vendorID: [.vendorID([1, 2, 3, 4])]
            case .cp:
                [
                    .configuration(
                        ConfigurationPayload(
                            type: ConfigurationType.request, attributes: profile.configuration.map { ConfigurationAttribute(type: $0) }))
                ]
            case .sa: [proposals(profile.childProposals, .esp, spi: [1, 2, 3, 4])]
            case .ts:
                [
                    .trafficSelectorsInitiator([TrafficSelector("0.0.0.0/0").wire, TrafficSelector("::/0").wire]),
                    .trafficSelectorsResponder([TrafficSelector("0.0.0.0/0").wire, TrafficSelector("::/0").wire]),
                ]
            }
        }
    }

    /// Asks whether the gateway lives, as all of them do.
    mutating func liveness(_ gateway: inout Gateway) throws -> Bool {
        guard let sa else { return false }
        let answers = exchange(try seal([], .informational, messageID: 2, sa: sa, gateway), &gateway)
        guard let answer = answers.first else { return false }
        return try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(answer.bytes).isEmpty
    }
}
