import Cryptography
import Session
import SwiftProtobuf

extension HandshakeChange {
    var wire: WireHandshake {
        WireHandshake.with {
            switch self {
            case .opened(let half): $0.opened = half.wire
            case .fragmentTaken(let part): $0.fragmentTaken = part.wire
            case .ended(let farewell): $0.ended = farewell.wire
            }
        }
    }

    init(_ wire: WireHandshake) throws(PairWireError) {
        switch wire.kind {
        case .opened(let half): self = .opened(try HalfOpenSA(half))
        case .fragmentTaken(let part): self = .fragmentTaken(try FragmentPart(part))
        case .ended(let farewell): self = .ended(try Farewell(farewell))
        case nil: throw .unknownKind("handshake")
        }
    }
}

extension HalfOpenSA {
    fileprivate var wire: WireHalfOpen {
        WireHalfOpen.with {
            $0.initiatorSpi = spis.initiator
            $0.responderSpi = spis.responder
            $0.cipher = algorithms.cipher.wire
            if let integrity = algorithms.integrity { $0.integrity = UInt32(integrity.rawValue) }
            $0.prf = UInt32(algorithms.prf.rawValue)
            $0.keyExchangeGroup = UInt32(algorithms.keyExchangeGroup.rawValue)
            $0.derivationKey = WireField.bytes(derived.keys.derivation)
            $0.initiatorKeys = derived.keys.initiator.wire
            $0.responderKeys = derived.keys.responder.wire
            $0.initiatorAuthenticationKey = WireField.bytes(derived.initiatorAuthentication)
            $0.responderAuthenticationKey = WireField.bytes(derived.responderAuthentication)
            $0.initiatorNonce = WireField.bytes(nonces.initiator)
            $0.responderNonce = WireField.bytes(nonces.responder)
            $0.request = WireField.bytes(request)
            $0.response = WireField.bytes(response)
            $0.path = path.wire
            $0.knowsNats = nat.isSupported
            $0.capabilities = capabilities.rawValue
            if let peerHashes { $0.peerHashes.hashes = peerHashes.map { UInt32($0.rawValue) }.sorted() }
            if let redirectedFrom { $0.redirectedFrom = WireField.bytes(redirectedFrom) }
        }
    }

    private var path: SessionPath {
        SessionPath(
            local: local, remote: remote, encapsulation: forcesEncapsulation, localBehindNAT: nat.localBehindNAT,
            remoteBehindNAT: nat.remoteBehindNAT)
    }

    fileprivate init(_ wire: WireHalfOpen) throws(PairWireError) {
        let cipher = try Cipher(WireField.present(wire.hasCipher, wire.cipher, "HalfOpen.cipher"))
        let algorithms = IKEAlgorithms(
            cipher: cipher,
            integrity: try IntegrityAlgorithm.with(cipher, wire.hasIntegrity ? wire.integrity : nil, "HalfOpen.integrity"),
            prf: try WireField.enumeration(wire.prf, PRF.self, "HalfOpen.prf"),
            keyExchangeGroup: try WireField.enumeration(wire.keyExchangeGroup, KeyExchangeGroup.self, "HalfOpen.key_exchange_group"))
        let path = try SessionPath(try WireField.present(wire.hasPath, wire.path, "HalfOpen.path"))
        let messageMax = PairWireLimits.messageBytesMax
        let nonceMax = PairWireLimits.nonceBytesMax
        self.init(
            spis: IKESPIs(initiator: wire.initiatorSpi, responder: wire.responderSpi), algorithms: algorithms,
            derived: try DerivedIKEKeys(wire, algorithms),
            nonces: NoncePair(
                initiator: try WireField.octets(wire.initiatorNonce, max: nonceMax, "HalfOpen.initiator_nonce"),
                responder: try WireField.octets(wire.responderNonce, max: nonceMax, "HalfOpen.responder_nonce")),
            request: try WireField.octets(wire.request, max: messageMax, "HalfOpen.request"),
            response: try WireField.octets(wire.response, max: messageMax, "HalfOpen.response"), local: path.local, remote: path.remote,
            nat: NATDetection(
                isSupported: wire.knowsNats, localBehindNAT: path.localBehindNAT, remoteBehindNAT: path.remoteBehindNAT),
            forcesEncapsulation: path.encapsulation, capabilities: PeerCapabilities(rawValue: wire.capabilities),
            peerHashes: wire.hasPeerHashes ? try HalfOpenSA.hashes(wire.peerHashes) : nil,
            redirectedFrom: wire.hasRedirectedFrom ? try WireField.address(wire.redirectedFrom, "HalfOpen.redirected_from") : nil)
        guard spis.responder != 0 else { throw .invalid("HalfOpen.responder_spi") }
    }

    private static func hashes(_ wire: WireSignatureHashes) throws(PairWireError) -> Set<SignatureHash> {
        let field = "SignatureHashes.hashes"
        let list = try WireField.list(wire.hashes, max: SignatureHash.allCases.count, field) { (hash) throws(PairWireError) in
            try WireField.enumeration(hash, SignatureHash.self, field)
        }
        return Set(list)
    }
}

extension DerivedIKEKeys {
    fileprivate init(_ wire: WireHalfOpen, _ algorithms: IKEAlgorithms) throws(PairWireError) {
        let length = algorithms.prf.outputLength
        let initiator = try WireField.present(wire.hasInitiatorKeys, wire.initiatorKeys, "HalfOpen.initiator_keys")
        let responder = try WireField.present(wire.hasResponderKeys, wire.responderKeys, "HalfOpen.responder_keys")
        self.init(
            keys: IKEKeys(
                derivation: try WireField.secret(wire.derivationKey, count: length, "HalfOpen.derivation_key"),
                initiator: try DirectionKeys(initiator, algorithms.cipher, algorithms.integrity),
                responder: try DirectionKeys(responder, algorithms.cipher, algorithms.integrity)),
            initiatorAuthentication: try WireField.secret(
                wire.initiatorAuthenticationKey, count: length, "HalfOpen.initiator_authentication_key"),
            responderAuthentication: try WireField.secret(
                wire.responderAuthenticationKey, count: length, "HalfOpen.responder_authentication_key"))
    }
}

extension FragmentPart {
    fileprivate var wire: WireFragmentPart {
        WireFragmentPart.with {
            $0.localSpi = localSPI
            $0.messageID = messageID
            $0.number = UInt32(number)
            $0.total = UInt32(total)
            $0.firstPayload = UInt32(firstPayload)
            $0.content = WireField.bytes(content)
            $0.digest = WireField.bytes(digest)
        }
    }

    fileprivate init(_ wire: WireFragmentPart) throws(PairWireError) {
        let total = try WireField.narrow(wire.total, to: UInt16.self, "FragmentPart.total")
        let number = try WireField.narrow(wire.number, to: UInt16.self, "FragmentPart.number")
        self.init(
            localSPI: wire.localSpi, messageID: wire.messageID, number: number, total: total,
            firstPayload: try WireField.narrow(wire.firstPayload, to: UInt8.self, "FragmentPart.first_payload"),
            content: try WireField.octets(wire.content, max: PairWireLimits.messageBytesMax, "FragmentPart.content"),
            digest: try WireField.octets(wire.digest, max: PairWireLimits.digestBytesMax, "FragmentPart.digest"))
        guard number > 0, number <= total else { throw .invalid("FragmentPart.number") }
    }
}

extension Farewell {
    fileprivate var wire: WireFarewell {
        WireFarewell.with {
            $0.localSpi = localSPI
            $0.requestDigest = WireField.bytes(requestDigest)
            $0.datagrams = datagrams.map { WireField.bytes($0) }
            $0.local = local.wire
            $0.remote = remote.wire
            if let session { $0.session = session.rawValue }
        }
    }

    fileprivate init(_ wire: WireFarewell) throws(PairWireError) {
        self.init(
            localSPI: wire.localSpi,
            requestDigest: try WireField.octets(wire.requestDigest, max: PairWireLimits.digestBytesMax, "Farewell.request_digest"),
            datagrams: try PairWireLimits.datagrams(wire.datagrams, "Farewell.datagrams"),
            local: try Endpoint(WireField.present(wire.hasLocal, wire.local, "Farewell.local")),
            remote: try Endpoint(WireField.present(wire.hasRemote, wire.remote, "Farewell.remote")),
            session: wire.hasSession ? SessionID(rawValue: wire.session) : nil)
    }
}

extension Datagram {
    var wire: WireDatagram {
        WireDatagram.with {
            $0.local = local.wire
            $0.remote = remote.wire
            $0.octets = WireField.bytes(bytes)
        }
    }

    static func list(_ wire: WirePassedOn) throws(PairWireError) -> [Datagram] {
        try WireField.list(wire.datagrams, max: PairProtocol.passedOnMax, "PassedOn.datagrams") { (datagram) throws(PairWireError) in
            Datagram(
                local: try Endpoint(WireField.present(datagram.hasLocal, datagram.local, "Datagram.local")),
                remote: try Endpoint(WireField.present(datagram.hasRemote, datagram.remote, "Datagram.remote")),
                bytes: try WireField.octets(datagram.octets, max: PairWireLimits.messageBytesMax, "Datagram.octets"))
        }
    }
}
