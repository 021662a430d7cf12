import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Proposals (RFC 7296 §2.7, §3.3), selectors (§2.9), pools, secrets and cookies.
@Suite struct NegotiationTests {
    private func offer(_ number: UInt8, _ transforms: [Transform]) -> Proposal {
        Proposal(number: number, protocolID: .ike, transforms: transforms)
    }

    @Test func firstMatchingProposalOfThePeer_isChosen() throws {
        let offers = [
            offer(1, [.encryption(.gcm256), .prf(.hmacSHA512), .group(.ecp521)]),
            offer(2, [.encryption(.cbc128), .integrity(.hmacSHA256_128), .prf(.hmacSHA256), .group(.modp2048), .group(.ecp256)]),
            offer(3, [.encryption(.gcm128), .prf(.hmacSHA256), .group(.curve25519)]),
        ]
        let own = [
            IKEProposal.gcmX25519,
            IKEProposal(ciphers: [.cbc128], integrity: [.hmacSHA256_128], prfs: [.hmacSHA256], groups: [.ecp256, .modp2048]),
        ]
        let byOrder = try #require(Negotiation.choose(from: offers, acceptable: own, spiLength: 0, keyExchangeGroup: 31))
        #expect(byOrder.number == 2 && byOrder.algorithms.keyExchangeGroup == .modp2048)
        let byKeyExchange = try #require(Negotiation.choose(from: offers, acceptable: own, spiLength: 0, keyExchangeGroup: 19))
        #expect(byKeyExchange.algorithms.keyExchangeGroup == .ecp256)
    }

    @Test func transform_withUnknownAttributeOrType_isNotTaken() {
        var odd = Transform.encryption(.gcm128)
        odd.unknownAttributes = [TransformAttribute(type: 99, value: .fixed(1))]
        let rest: [Transform] = [.prf(.hmacSHA256), .group(.curve25519)]
        func chosen(_ transforms: [Transform]) -> ChosenIKE? {
            Negotiation.choose(from: [offer(1, transforms)], acceptable: [.gcmX25519], spiLength: 0, keyExchangeGroup: 31)
        }
        #expect(chosen([odd] + rest) == nil)
        #expect(chosen([odd, .encryption(.gcm128)] + rest) != nil)
        #expect(chosen([.encryption(.gcm128), Transform(type: 200, id: 1)] + rest) == nil)
        #expect(chosen([.encryption(.gcm128), .integrity(.hmacSHA256_128)] + rest) == nil, "an AEAD comes without integrity (RFC 5282 §8)")
    }

    /// RFC 7634 §4: without a Key Length attribute; RFC 5282 §7.3, RFC 5930 §2: with one.
    @Test func keyLength_whereItDoesNotBelongOrIsMissing_makesTheTransformUnacceptable() throws {
        let number = TransformType.encryption
        #expect(Transform.encryption(.chaCha) == Transform(type: number, id: 28))
        #expect(Transform.encryption(.ctr128) == Transform(type: number, id: 13, keyLength: 128))
        let rest: [Transform] = [.prf(.hmacSHA256), .group(.curve25519)]
        func chosen(_ ciphers: [Transform], integrity: [IntegrityAlgorithm] = []) -> Cipher? {
            let offered = offer(1, ciphers + integrity.map { .integrity($0) } + rest)
            return Negotiation.choose(from: [offered], acceptable: IKEProposal.all, spiLength: 0, keyExchangeGroup: 31)?.algorithms.cipher
        }
        #expect(chosen([.encryption(.chaCha)]) == .chaCha)
        for bits: UInt16 in [0, 128, 256] {
            #expect(chosen([Transform(type: number, id: 28, keyLength: bits)]) == nil)
            #expect(chosen([Transform(type: number, id: 28, keyLength: bits), .encryption(.gcm128)]) == .gcm128)
        }
        for id: UInt16 in [18, 19, 20] { #expect(chosen([Transform(type: number, id: id)]) == nil) }
        for bits: UInt16? in [nil, 0, 160, 288] {
            #expect(chosen([Transform(type: number, id: 13, keyLength: bits)], integrity: [.hmacSHA256_128]) == nil)
        }
        #expect(chosen([.encryption(.ctr128)]) == nil, "nothing would be authenticated")
        #expect(chosen([.encryption(.ctr128)], integrity: [.hmacSHA256_128]) == .ctr128)
        // A peer that mixes both in one proposal means the cipher that its integrity algorithms go with.
        #expect(chosen([.encryption(.chaCha), .encryption(.ctr128)], integrity: [.hmacSHA256_128]) == .ctr128)
    }

    @Test func sequenceNumbers_withoutTheTransform_areNotExtended() throws {
        let proposal = Proposal(number: 1, protocolID: .esp, spi: [1, 2, 3, 4], transforms: [.encryption(.gcm128)])
        let own = ESPProposal(ciphers: [.gcm128], integrity: [], groups: [], extendedSequenceNumbers: [true, false])
        let chosen = try #require(Negotiation.choose(from: [proposal], acceptable: [own], keyExchange: .ignored))
        #expect(!chosen.algorithms.extendedSequenceNumbers && !chosen.saysESN)
    }

    @Test func narrowing_keepsWhatBothAllow() {
        let offered = [TrafficSelector("0.0.0.0/0"), TrafficSelector("::/0")]
        let configured: [SelectorConfiguration] = [.selector(TrafficSelector("10.1.0.0/16")), .selector(TrafficSelector("2001:db8::/32"))]
        let both = [TrafficSelector("10.1.0.0/16"), TrafficSelector("2001:db8::/32")]
        #expect(Narrowing.narrow(offered, to: configured, dynamic: []) == both)
        let host = IPAddress("10.20.0.9")!
        #expect(Narrowing.narrow(offered, to: [.dynamic], dynamic: [host]) == [TrafficSelector(host: host)])
        #expect(Narrowing.narrow([TrafficSelector("10.2.0.0/16")], to: configured, dynamic: []) == [])
        let server = IPAddress("10.1.2.3")!
        let single = TrafficSelector(ipProtocol: 6, startPort: 443, endPort: 443, start: server, end: server)
        let network = TrafficSelector("10.1.0.0/16")
        #expect(Narrowing.narrow([single], to: configured, dynamic: []) == [single])
        #expect(Narrowing.narrow([single, network], to: configured, dynamic: []) == [network])
    }

    @Test func secret_exactPeerBeatsAnyAndOthersSecretIsNotTaken() {
        func secret(_ ids: [String?], _ value: String) -> SharedSecret {
            SharedSecret(identities: ids.map { $0.map { Identity(text: $0) } }, secret: SecretBytes(Array(value.utf8)))
        }
        let gateway = Identity(text: "gw")
        var configuration = IKEConfiguration(
            connections: [], secrets: [secret([], "all"), secret(["gw", nil], "any"), secret(["gw", "alice"], "alice")], pools: [])
        #expect(configuration.secret(local: gateway, remote: Identity(text: "alice")) == SecretBytes(Array("alice".utf8)))
        #expect(configuration.secret(local: gateway, remote: Identity(text: "bob")) == SecretBytes(Array("any".utf8)))
        configuration.secrets = [secret(["gw", "alice"], "alice")]
        #expect(configuration.secret(local: gateway, remote: Identity(text: "bob")) == nil)
        configuration.secrets = [secret(["gw"], "own")]
        #expect(configuration.secret(local: gateway, remote: Identity(text: "bob")) != nil)
    }

    /// Alice shares a secret with the gateway; it does not make her the gateway.
    @Test func secret_forAPeerThatClaimsOurIdentity_isNotAnothersSecret() {
        let gateway = Identity(text: "gw")
        func configuration(_ ids: [Identity?]) -> IKEConfiguration {
            IKEConfiguration(connections: [], secrets: [SharedSecret(identities: ids, secret: SecretBytes([1]))], pools: [])
        }
        #expect(configuration([gateway, Identity(text: "alice")]).secret(local: gateway, remote: gateway) == nil)
        #expect(configuration([gateway, nil]).secret(local: gateway, remote: gateway) != nil)
    }

    @Test func identity_whenTooLong_isNone() {
        let name = [UInt8](repeating: 0x61, count: Identity.lengthMax)
        #expect(Identity(IdentificationPayload(kind: 2, data: name)) != nil)
        #expect(Identity(IdentificationPayload(kind: 2, data: name + [0x61])) == nil)
    }

    @Test func deadlines_comeInOrderOfTimeThenOfArrival() {
        var queue = DeadlineQueue()
        let random = RandomSource.seeded(3)
        var expected: [(at: UInt64, session: UInt64)] = []
        for number in 0..<500 {
            let at = random.uint64() % 50
            expected.append((at, UInt64(number)))
            queue.insert(.liveness(SessionID(rawValue: UInt64(number))), at: Instant(nanoseconds: at))
        }
        expected.sort { $0 < $1 }
        #expect(queue.next == Instant(nanoseconds: expected[0].at))
        for (at, session) in expected {
            if at > 0 { #expect(queue.popDue(at: Instant(nanoseconds: at - 1)) == nil) }
            #expect(queue.popDue(at: Instant(nanoseconds: at)) == .liveness(SessionID(rawValue: session)))
        }
        #expect(queue.next == nil)
    }

    @Test func pool_handsOutEveryAddressOnce() {
        var world = World(gateway: .standard(pools: [.road(count: 30)]))
        var seen: Set<IPAddress> = []
        for index in 0..<30 {
            world.client = IKEInitiator(configuration: .standard(identity: "u\(index)"))
            world.establish()
            seen.formUnion(world.client.virtualAddresses)
        }
        #expect(seen.count == 30 && world.gateway.table.count == 30)
        #expect(seen.allSatisfy { PoolConfiguration.road(count: 30).first <= $0 && $0 <= PoolConfiguration.road(count: 30).last })
    }

    @Test func cookie_outOfTimeOrForAnother_isNotAccepted() {
        let jar = CookieJar(secret: World.cookieSecret)
        let remote = Endpoint(World.clientAddress, 500)
        func now(_ seconds: Int64) -> Now { Now(instant: Instant(nanoseconds: 1), wallMilliseconds: 1_700_000_040_000 + seconds * 1000) }
        let cookie = jar.cookie(nonce: [1, 2], remote: remote, initiatorSPI: 9, now: now(0))
        #expect(jar.accepts(cookie, nonce: [1, 2], remote: remote, initiatorSPI: 9, now: now(61)))
        #expect(jar.accepts(cookie, nonce: [1, 2], remote: remote, initiatorSPI: 9, now: now(-30)))
        #expect(!jar.accepts(cookie, nonce: [1, 2], remote: remote, initiatorSPI: 9, now: now(180)))
        #expect(!jar.accepts(cookie, nonce: [1, 3], remote: remote, initiatorSPI: 9, now: now(0)))
        #expect(!jar.accepts(cookie, nonce: [1, 2], remote: remote, initiatorSPI: 8, now: now(0)))
        #expect(!jar.accepts(cookie, nonce: [1, 2], remote: Endpoint(World.gatewayAddress, 500), initiatorSPI: 9, now: now(0)))
        #expect(!jar.accepts([], nonce: [1, 2], remote: remote, initiatorSPI: 9, now: now(0)))
    }

    /// RFC 7296 §2.13 and §2.14 by the definition, computed once more by hand.
    @Test func keys_areCutInTheOrderOfTheStandard() {
        let algorithms = IKEAlgorithms(cipher: .cbc128, integrity: .hmacSHA256_128, prf: .hmacSHA256, keyExchangeGroup: .ecp256)
        let nonces = NoncePair(initiator: [UInt8](repeating: 1, count: 32), responder: [UInt8](repeating: 2, count: 32))
        let spis = IKESPIs(initiator: 0x0102_0304_0506_0708, responder: 0x1112_1314_1516_1718)
        let shared = SecretBytes([UInt8](repeating: 9, count: 32))
        let derived = KeyDerivation.initial(algorithms: algorithms, nonces: nonces, sharedSecret: shared, spis: spis)
        let prf = PRF.hmacSHA256
        let seed = prf(key: SecretBytes(nonces.initiator + nonces.responder), shared.copyBytes())
        let tail: [UInt8] = nonces.initiator + nonces.responder + [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]
        var stream: [UInt8] = []
        var block: [UInt8] = []
        for index in UInt8(1)...7 {
            block = prf(key: seed, block, tail, [index]).copyBytes()
            stream += block
        }
        #expect(derived.keys.derivation.copyBytes() == Array(stream[0..<32]))
        #expect(derived.keys.initiator.integrity.copyBytes() == Array(stream[32..<64]))
        #expect(derived.keys.responder.integrity.copyBytes() == Array(stream[64..<96]))
        #expect(derived.keys.initiator.encryption.copyBytes() == Array(stream[96..<112]))
        #expect(derived.keys.responder.encryption.copyBytes() == Array(stream[112..<128]))
        #expect(derived.initiatorAuthentication.copyBytes() == Array(stream[128..<160]))
        #expect(derived.responderAuthentication.copyBytes() == Array(stream[160..<192]))
    }
}
