import Cryptography
import IKEWire
import Session

@testable import IKE

extension FuzzTarget {
    /// Datagrams of somebody who has no keys, to a gateway with a session, a half-open IKE SA or a call under way.
    static let ikeUnauthenticated = FuzzTarget(
        name: "ike-unauthenticated",
        seeds: {
            let (_, request) = try Scene.halfOpen()
            let messages = WireSeeds.messages.map { $0.encode() } + [request.bytes, try goodInit()]
            return messages.map { [0] + FuzzInput.part($0) }
        },
        run: { bytes in
            var input = FuzzInput(bytes)
            let choice = input.octet()
            var scene =
                switch choice % 3 {
                case 0: established
                case 1: halfOpen
                default: calling.scene
                }
            let before = scene.table.sessions
            // The SPIs that an eavesdropper knows, in front of whatever there is.
            let known = scene.knownSPIs
            while !input.isAtEnd {
                let raw = input.part()
                // The peer's own IKE_AUTH request, to the octet, is the work of somebody who has the keys: it makes a session.
                for bytes in [raw, fitted(known + raw.dropFirst(16)), fitted(raw)] where bytes != halfOpenRequest {
                    _ = try scene.deliver(bytes, from: choice & 64 == 0 ? Scene.peerAddress : Scene.siteAddress)
                }
            }
            let limits = IKELimits()
            try require(scene.engine.halfOpenCount <= limits.halfOpenPerAddressMax, "\(scene.engine.halfOpenCount) half-open IKE SAs")
            try require(scene.table.sessions == before, "who has no key changed a session")
            try scene.passAnHour()
            try require(scene.engine.halfOpenCount == 0, "half-open IKE SAs for ever")
        })

    /// What a peer with the right keys may seal into IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL and answers to our requests.
    static let ikeAuthenticated = FuzzTarget(
        name: "ike-authenticated",
        seeds: { try authenticatedSeeds() },
        run: { bytes in
            var input = FuzzInput(bytes)
            switch input.octet() % 3 {
            case 0: try runEstablished(&input)
            case 1: try runAuth(&input)
            default: try runAuthAnswer(&input)
            }
        })

    private static let established = try! Scene.established()
    private static let halfOpen = try! Scene.halfOpen().scene
    private static let halfOpenRequest = try! Scene.halfOpen().request.bytes
    private static let calling = try! Scene.calling()

    /// Message after message: an octet that chooses the exchange, the type of the first payload, the payloads.
    private static func runEstablished(_ input: inout FuzzInput) throws {
        var scene = established
        for _ in 0..<8 where !input.isAtEnd {
            let (choice, first, inner) = (input.octet(), input.octet(), input.part())
            guard let session = scene.table.sessions.values.first else { return }
            let exchange: ExchangeType = [.informational, .createChildSA, .ikeAuth, .ikeSAInit][Int(choice & 3)]
            let isResponse = choice & 4 != 0
            // The IKE SA whose keys the peer has not followed to, after a rekey, is closed to it: then it uses the old one.
            let sa = session.otherIKESAs.first ?? session.ikeSA
            let message = try Sealed(
                spis: sa.spis, algorithms: sa.algorithms, keys: sa.receivingKeys, exchange: exchange,
                messageID: isResponse ? sa.pendingRequests.first?.messageID ?? 0 : sa.nextReceiveID, isInitiator: true,
                isResponse: isResponse
            ).bytes(first: first, inner: inner)
            _ = try scene.deliver(message, from: choice & 8 == 0 ? Scene.peerAddress : Scene.siteAddress)
        }
        try scene.passAnHour()
    }

    /// The first request after IKE_SA_INIT. Where AUTH is missing the right one is added.
    private static func runAuth(_ input: inout FuzzInput) throws {
        var scene = halfOpen
        let half = scene.engine.halfOpen[scene.peer.ikeSA!.spis.responder]!
        var (first, inner) = (input.octet(), input.part())
        if let payloads = try? IKEMessage.parsePayloads(first: first, bytes: inner) {
            let set = PayloadSet(payloads)
            if let identity = set.initiatorIdentity, set.authentication == nil {
                let code = SignedOctets(
                    prf: half.algorithms.prf, message: half.request, peerNonce: half.nonces.responder,
                    authenticationKey: half.derived.initiatorAuthentication, identity: identity
                ).code(secret: scene.peer.configuration.secret)
                (first, inner) = IKEMessage.encodePayloads(
                    payloads + [.authentication(method: AuthenticationMethod.sharedKey, data: code)])
            }
        }
        let message = try Sealed(
            spis: half.spis, algorithms: half.algorithms, keys: half.derived.keys.initiator, exchange: .ikeAuth, messageID: 1,
            isInitiator: true, isResponse: false
        ).bytes(first: first, inner: inner)
        let answers = try scene.deliver(message, from: Scene.peerAddress)
        let again = try scene.deliver(message, from: Scene.peerAddress)
        try require(answers == again, "a repeated request got another answer")
        try scene.passAnHour()
    }

    /// The answer of a site that we call.
    private static func runAuthAnswer(_ input: inout FuzzInput) throws {
        var (scene, site) = calling
        var (first, inner) = (input.octet(), input.part())
        if let payloads = try? IKEMessage.parsePayloads(first: first, bytes: inner) {
            let set = PayloadSet(payloads)
            if let identity = set.responderIdentity, set.authentication == nil {
                let code = SignedOctets(
                    prf: site.algorithms.prf, message: site.response, peerNonce: site.nonces.initiator,
                    authenticationKey: site.derived.responderAuthentication, identity: identity
                ).code(secret: scene.peer.configuration.secret)
                (first, inner) = IKEMessage.encodePayloads(
                    payloads + [.authentication(method: AuthenticationMethod.sharedKey, data: code)])
            }
        }
        let message = try Sealed(
            spis: site.spis, algorithms: site.algorithms, keys: site.derived.keys.responder, exchange: .ikeAuth, messageID: 1,
            isInitiator: false, isResponse: true
        ).bytes(first: first, inner: inner)
        _ = try scene.deliver(message, from: Scene.siteAddress)
        try scene.passAnHour()
    }

    // MARK: Seeds

    private static func goodInit() throws -> [UInt8] {
        var scene = Scene()
        return scene.peer.start(context: scene.context)[0].bytes
    }

    private static func authenticatedSeeds() throws -> [[UInt8]] {
        let (scene, request) = try Scene.halfOpen()
        let half = scene.engine.halfOpen[scene.peer.ikeSA!.spis.responder]!
        let auth = try half.receiving.open(request.bytes).filter { if case .authentication = $0 { false } else { true } }
        let answer: [Payload] = [
            .identificationResponder(IdentificationPayload(kind: 2, data: Array("site.example.net".utf8))), childOffer,
            .trafficSelectorsInitiator([everything]), .trafficSelectorsResponder([everything, WireSeeds.selector6]),
        ]
        let nonce = Payload.nonce([UInt8](repeating: 8, count: 32))
        let keyExchange = Payload.keyExchange(KeyExchangePayload(group: 31, data: [UInt8](repeating: 9, count: 32)))
        let child = [childOffer, nonce] + answer.suffix(2)
        let rekey: [Payload] = [
            .securityAssociation([
                Proposal(
                    number: 1, protocolID: .ike, spi: [1, 2, 3, 4, 5, 6, 7, 8],
                    transforms: [
                        Transform(type: 1, id: 20, keyLength: 128), Transform(type: 2, id: 5), Transform(type: 4, id: 31),
                    ])
            ]), nonce, keyExchange,
        ]
        let session = established.table.sessions.values.first!
        let spi = (0..<4).map { UInt8(truncatingIfNeeded: session.children[0].outboundSPI >> (24 - 8 * $0)) }
        let rekeyChild: [Payload] = [.notify(NotifyPayload(protocolID: .esp, spi: spi, type: .rekeySA))] + child
        let ends: [Payload] = [.delete(DeletePayload(protocolID: .esp, spis: [spi]))]
        let all: Payload = .delete(DeletePayload(protocolID: .ike))
        return [
            [1] + record(auth), [2] + record(answer), [0] + exchange(1, child) + exchange(0, ends), [0] + exchange(1, rekeyChild),
            [0] + exchange(1, rekey) + exchange(0, [all]), [0] + exchange(0, []) + exchange(4, []), [0] + exchange(0, [all]),
            [0] + exchange(1, WireSeeds.inner), [1] + record(Array(WireSeeds.inner.dropFirst(2))),
        ]
    }

    private static let childOffer = Payload.securityAssociation([
        Proposal(
            number: 1, protocolID: .esp, spi: [0xCA, 0xFE, 0xBA, 0xBE],
            transforms: [Transform(type: 1, id: 20, keyLength: 128), Transform(type: 5, id: 0)])
    ])
    private static let everything = WireTrafficSelector(
        type: 7, ipProtocol: 0, startPort: 0, endPort: 65535, start: [0, 0, 0, 0], end: [255, 255, 255, 255])

    private static func record(_ payloads: [Payload]) -> [UInt8] {
        let encoded = IKEMessage.encodePayloads(payloads)
        return [encoded.first] + FuzzInput.part(encoded.bytes)
    }

    private static func exchange(_ choice: UInt8, _ payloads: [Payload]) -> [UInt8] { [choice] + record(payloads) }
}

/// A protected message whose inside is whatever is given.
private struct Sealed {
    var spis: IKESPIs
    var algorithms: IKEAlgorithms
    var keys: DirectionKeys
    var exchange: ExchangeType
    var messageID: UInt32
    var isInitiator: Bool
    var isResponse: Bool

    func bytes(first: UInt8, inner: [UInt8]) throws -> [UInt8] {
        let header = IKEHeader(
            initiatorSPI: spis.initiator, responderSPI: spis.responder, exchangeType: exchange, isInitiator: isInitiator,
            isResponse: isResponse, messageID: messageID)
        let plaintext = inner + [0]
        let protected = IKEMessage.protectedHeader(header: header, firstInner: first, sealedLength: 8 + plaintext.count + 16)
        return protected
            + (try sealIKE(
                cipher: algorithms.cipher, integrity: nil, keys: (keys.encryption, keys.integrity), iv: [UInt8](repeating: 6, count: 8),
                header: protected, plaintext: plaintext))
    }
}

extension Scene {
    /// The 16 octets that begin a message of the peer's.
    fileprivate var knownSPIs: [UInt8] {
        let spis = table.sessions.values.first?.ikeSA.spis ?? peer.ikeSA?.spis
        guard let spis else { return [UInt8](repeating: 1, count: 16) }
        return [spis.initiator, spis.responder].flatMap { spi in (0..<8).map { UInt8(truncatingIfNeeded: spi >> (56 - 8 * $0)) } }
    }
}
