import Cryptography
import IKEWire
import Session

/// IKE_SA_INIT and IKE_AUTH of the initiator (RFC 7296 §1.2).
extension IKEInitiator {
    private static let restartsMax = 4

    mutating func sendInit(
        group: KeyExchangeGroup, cookie: [UInt8]?, spi: UInt64, nonce: [UInt8]?, context: IKEContext
    ) -> [Datagram] {
        let sameGroup = handshake?.keyExchange.group == group ? handshake?.keyExchange : nil
        guard let keyExchange = try? sameGroup ?? KeyExchange(group: group, random: context.random) else {
            phase = .failed(.cryptography)
            return []
        }
        let nonce = nonce ?? context.random.bytes(ownNonceLength)
        let spis = IKESPIs(initiator: spi, responder: 0)
        var payloads: [Payload] = cookie.map { [.notify(.cookie, $0)] } ?? []
        payloads += [
            .securityAssociation(configuration.proposals.enumerated().map { $1.wire(number: UInt8($0 + 1), spi: []) }),
            .keyExchange(KeyExchangePayload(group: group.rawValue, data: keyExchange.publicValue)), .nonce(nonce),
        ]
        payloads += NATDetection.payloads(
            spis: spis, local: configuration.local, remote: configuration.remote, forced: configuration.forcesEncapsulation)
        if configuration.announces.contains(.fragmentation) { payloads.append(.notify(.ikev2FragmentationSupported)) }
        if configuration.announces.contains(.redirect) { payloads.append(.notify(.redirectSupported)) }
        if let from = configuration.redirectedFrom { payloads.append(.notify(.redirectedFrom, GatewayIdentity.encode(from))) }
        if configuration.usesPublicKeys, configuration.announcesSignatureHashes { payloads.append(SignatureAuthentication.hashNotify) }
        let bytes = IKEMessage(
            initiatorSPI: spi, responderSPI: 0, exchangeType: .ikeSAInit, isInitiator: true, isResponse: false, messageID: 0,
            payloads: payloads
        ).encode()
        let restarts = handshake.map { $0.restarts + 1 } ?? 0
        handshake = Handshake(spi: spi, keyExchange: keyExchange, nonce: nonce, cookie: cookie, request: bytes, restarts: restarts)
        phase = .awaitingInitResponse
        return track(OutstandingRequest(localSPI: spi, messageID: 0, purpose: .initialize, datagrams: [bytes]), context: context)
    }

    mutating func receiveInitResponse(_ datagram: Datagram, header: IKEHeader, context: IKEContext) -> [Datagram] {
        guard phase == .awaitingInitResponse, let handshake, header.isResponse, !header.isInitiator,
            header.initiatorSPI == handshake.spi, let message = try? IKEMessage(parsing: datagram.bytes),
            message.payloads.firstUnknownCritical == nil
        else { return drop() }
        let payloads = PayloadSet(message.payloads)
        if let notify = payloads.notify(.redirect) { return receiveRedirect(notify, nonce: handshake.nonce) }
        if let restarted = restart(payloads, handshake, context: context) { return restarted }
        if let error = payloads.error { return fail(.refused(notify: error.type.rawValue)) }
        guard header.responderSPI != 0, let proposal = payloads.proposals?.first, let keyExchange = payloads.keyExchange,
            let nonce = payloads.nonce,
            let chosen = Negotiation.choose(
                from: [proposal], acceptable: configuration.proposals, spiLength: 0, keyExchangeGroup: keyExchange.group),
            keyExchange.group == handshake.keyExchange.group.rawValue, chosen.algorithms.keyExchangeGroup == handshake.keyExchange.group
        else { return fail(.badResponse) }
        guard let shared = try? handshake.keyExchange.sharedSecret(peerPublicValue: keyExchange.data) else { return fail(.cryptography) }
        let spis = IKESPIs(initiator: handshake.spi, responder: header.responderSPI)
        let derived = KeyDerivation.initial(
            algorithms: chosen.algorithms, nonces: NoncePair(initiator: handshake.nonce, responder: nonce), sharedSecret: shared, spis: spis
        )
        usesFragments = configuration.announces.contains(.fragmentation) && payloads.has(.ikev2FragmentationSupported)
        if usesFragments { agreed.insert(.fragmentation) }
        self.handshake?.response = datagram.bytes
        self.handshake?.responderNonce = nonce
        self.handshake?.derived = derived
        if configuration.announcesSignatureHashes {
            self.handshake?.peerHashes = SignatureAuthentication.announcedHashes(payloads)
        }
        self.handshake?.isAskedForCertificate = payloads.asksForCertificate
        ikeSA = IKESA(
            spis: spis, role: .initiator, algorithms: chosen.algorithms, keys: derived.keys, nextSendID: 1, nextReceiveID: 0,
            establishedWallMilliseconds: context.now.wallMilliseconds)
        guard settleChildless(payloads) else { return fail(.childlessUnsupported) }
        float(payloads, spis: spis, datagram: datagram)
        counters.responsesTaken += 1
        outstanding = nil
        return sendAuth(context: context)
    }

    /// Nothing of it is authenticated: only the nonce shows that it comes from somebody who saw our request (RFC 5685 §3). Whatever does
    /// not fit is as if it had not come.
    private mutating func receiveRedirect(_ notify: NotifyPayload, nonce: [UInt8]) -> [Datagram] {
        guard configuration.announces.contains(.redirect), let redirect = GatewayIdentity.parse(notify.data),
            constantTimeEquals(redirect.nonce, nonce)
        else { return drop() }
        counters.responsesTaken += 1
        return fail(.redirected(redirect.gateway))
    }

    /// COOKIE and INVALID_KE_PAYLOAD lead to another try (RFC 7296 §2.6, §2.7).
    private mutating func restart(_ payloads: PayloadSet, _ handshake: Handshake, context: IKEContext) -> [Datagram]? {
        guard handshake.restarts < IKEInitiator.restartsMax else { return nil }
        if let cookie = payloads.notify(.cookie) {
            return sendInit(
                group: handshake.keyExchange.group, cookie: cookie.data, spi: handshake.spi, nonce: handshake.nonce, context: context)
        }
        guard let notify = payloads.notify(.invalidKEPayload), let id = UInt16(networkBytes: notify.data),
            let group = KeyExchangeGroup(rawValue: id), configuration.proposals.contains(where: { $0.groups.contains(group) })
        else { return nil }
        return sendInit(group: group, cookie: handshake.cookie, spi: handshake.spi, nonce: handshake.nonce, context: context)
    }

    /// RFC 6023 §3: only to a responder that says it can.
    private mutating func settleChildless(_ payloads: PayloadSet) -> Bool {
        let isSupported = payloads.has(.childlessIKEv2Supported)
        switch configuration.childless {
        case .never, .allow: return true
        case .prefer: isChildless = isSupported
        case .force: isChildless = true
        }
        return isSupported || configuration.childless == .prefer
    }

    private mutating func float(_ payloads: PayloadSet, spis: IKESPIs, datagram: Datagram) {
        // What we believe to be our address, not what the datagram was sent to, is what the gateway's hash is compared with.
        let nat = NATDetection(payloads, spis: spis, local: configuration.local, remote: datagram.remote)
        let isBehindNAT = nat.localBehindNAT || nat.remoteBehindNAT
        self.nat = nat
        encapsulation = isBehindNAT || (nat.isSupported && configuration.forcesEncapsulation)
        guard encapsulation || (configuration.alwaysFloats && nat.isSupported) else { return }
        local.port = configuration.floatedLocalPort
        remote.port = configuration.floatedRemotePort
    }

    private mutating func sendAuth(context: IKEContext) -> [Datagram] {
        guard let sa = ikeSA, let handshake, let derived = handshake.derived else { return [] }
        let identity = configuration.localIdentity.payload
        let signed = SignedOctets(
            prf: sa.algorithms.prf, message: handshake.request, peerNonce: handshake.responderNonce,
            authenticationKey: derived.initiatorAuthentication, identity: identity)
        guard
            let authentication = try? configuration.localAuthentication.payload(
                signed, secret: configuration.secret, peerHashes: handshake.peerHashes)
        else { return fail(.cannotAuthenticate) }
        let childSPI = configuration.childSPI ?? newChildSPI(context: context)
        self.handshake?.childSPI = childSPI
        var payloads: [Payload] = [.identificationInitiator(identity)]
        payloads += configuration.localAuthentication.certificatePayloads(
            configuration.certificateSending, isAsked: handshake.isAskedForCertificate)
        if let request = configuration.certificateRequest { payloads.append(request) }
        if configuration.announcesInitialContact { payloads.append(.notify(.initialContact)) }
        if let wanted = configuration.remoteIdentity { payloads.append(.identificationResponder(wanted.payload)) }
        payloads.append(authentication)
        if !configuration.requestsAddresses.isEmpty { payloads.append(configurationRequest) }
        if !isChildless { payloads += childPayloads(spi: childSPI, groups: nil) }
        if configuration.limits.requestWindow > 1 {
            payloads.append(.notify(.setWindowSize, configuration.limits.requestWindow.networkBytes))
        }
        if configuration.announces.contains(.mobike) {
            payloads.append(.notify(.mobikeSupported))
            payloads += IPAddress.notifies(configuration.additionalAddresses, beside: configuration.local.address)
        }
        if configuration.announces.contains(.messageIDSync) { payloads.append(.notify(.ikev2MessageIDSyncSupported)) }
        if configuration.announces.contains(.contextTransfer) { payloads.append(.vendorID(VendorID.contextTransfer)) }
        guard let bytes = seal(payloads, sa: sa, exchange: .ikeAuth, messageID: 1, isResponse: false, context: context) else {
            return fail(.cryptography)
        }
        withSA(sa.localSPI) { $0.nextSendID = 2 }
        phase = .awaitingAuthResponse
        return track(
            OutstandingRequest(localSPI: sa.localSPI, messageID: 1, purpose: .authenticate, datagrams: bytes), context: context)
    }

    private var configurationRequest: Payload {
        let attributes = configuration.requestsAddresses.flatMap { family in
            family == .ipv4
                ? [ConfigurationAttributeType.internalIP4Address, ConfigurationAttributeType.internalIP4DNS]
                : [ConfigurationAttributeType.internalIP6Address, ConfigurationAttributeType.internalIP6DNS]
        }
        return .configuration(
            ConfigurationPayload(type: ConfigurationType.request, attributes: attributes.map { ConfigurationAttribute(type: $0) }))
    }

    /// The gateway has to show who it is before anything else of its answer is believed.
    mutating func takeAuthResponse(_ payloads: PayloadSet, sa: IKESA, context: IKEContext) -> [Datagram] {
        guard let handshake, let derived = handshake.derived else { return fail(.badResponse) }
        guard let identity = payloads.responderIdentity, let authentication = payloads.authentication else {
            return fail(payloads.error.map { .refused(notify: $0.type.rawValue) } ?? .badResponse)
        }
        let signed = SignedOctets(
            prf: sa.algorithms.prf, message: handshake.response, peerNonce: handshake.nonce,
            authenticationKey: derived.responderAuthentication, identity: identity)
        switch configuration.remoteAuthentication {
        case .preSharedKey:
            guard authentication.method == AuthenticationMethod.sharedKey,
                constantTimeEquals(authentication.data, signed.code(secret: configuration.secret)), isExpected(Identity(identity))
            else { return fail(.notAuthenticated) }
        case .publicKey(let trust):
            do throws(IKEAuthenticationFailure) {
                try check(authentication, signed: signed, payloads: payloads, trust: trust, now: context.now)
            } catch {
                return fail(.rejected(error))
            }
        }
        authenticatedMethod = PeerAuthorization.Method(rawValue: authentication.method)
        phase = .established
        if let window = payloads.announcedWindow { ikeSA?.sendWindow = window }
        authenticatedIdentity = Identity(identity)
        authenticationLifetime = payloads.authenticationLifetime
        // RFC 5685 §6: there is no CHILD SA then.
        if configuration.announces.contains(.redirect), let notify = payloads.notify(.redirect),
            let redirect = GatewayIdentity.parse(notify.data)
        {
            redirection = redirect.gateway
            self.handshake = nil
            return []
        }
        takeConfiguration(payloads.configuration)
        if configuration.announces.contains(.mobike), payloads.has(.mobikeSupported) {
            agreed.insert(.mobike)
            peerAddresses = payloads.additionalAddresses ?? []
        }
        if configuration.announces.contains(.contextTransfer), payloads.vendorIDs.contains(VendorID.contextTransfer) {
            agreed.insert(.contextTransfer)
        }
        guard !isChildless else {
            lastResult = payloads.error.map { .refused(notify: $0.type.rawValue) } ?? .succeeded
            self.handshake = nil
            return []
        }
        let pending = PendingChild(replacing: nil, inboundSPI: handshake.childSPI, nonce: handshake.nonce, keyExchange: nil)
        lastResult = takeChild(
            payloads, pending: pending, nonces: NoncePair(initiator: handshake.nonce, responder: handshake.responderNonce), sa: sa,
            keyExchange: .ignored, context: context)
        self.handshake = nil
        return []
    }

    private func isExpected(_ identity: Identity?) -> Bool {
        configuration.remoteIdentity.map { identity?.isSame(as: $0) ?? false } ?? true
    }

    /// The gateway's signature, and its certificate.
    private func check(
        _ authentication: (method: UInt8, data: [UInt8]), signed: SignedOctets, payloads: PayloadSet, trust: PublicKeyTrust, now: Now
    ) throws(IKEAuthenticationFailure) {
        guard let method = PeerAuthorization.Method(rawValue: authentication.method),
            configuration.remoteAuthentication.accepts(method)
        else { throw .methodNotSupported }
        guard let identity = Identity(signed.identity), isExpected(identity) else { throw .unexpectedIdentity }
        let certificates = try PeerCertificates(payloads)
        guard let certificate = trust.certificate(sent: certificates.leaf, identity: identity) else { throw .noCertificate }
        try SignatureAuthentication.verify(
            authentication.data, method: method, of: signed, certificate: certificate, allowsSHA1: trust.allowsSHA1)
        try trust.check(certificate, intermediates: certificates.intermediates, identity: identity, now: now)
    }

    private mutating func takeConfiguration(_ reply: ConfigurationPayload?) {
        guard let reply, reply.type == ConfigurationType.reply else { return }
        for attribute in reply.attributes {
            switch attribute.type {
            case ConfigurationAttributeType.internalIP4Address:
                if let address = IPAddress(bytes: attribute.value) { virtualAddresses.append(address) }
            case ConfigurationAttributeType.internalIP6Address:
                if let address = IPAddress(bytes: attribute.value.prefix(16)) { virtualAddresses.append(address) }
            case ConfigurationAttributeType.internalIP4DNS, ConfigurationAttributeType.internalIP6DNS:
                if let address = IPAddress(bytes: attribute.value) { dnsServers.append(address) }
            default: break
            }
        }
    }

    mutating func fail(_ failure: InitiatorFailure) -> [Datagram] {
        phase = .failed(failure)
        outstanding = nil
        queue = []
        return []
    }
}

extension IKEProposal {
    func wire(number: UInt8, spi: [UInt8]) -> Proposal {
        let transforms =
            ciphers.map { Transform.encryption($0) } + integrity.map { Transform.integrity($0) } + prfs.map { Transform.prf($0) }
            + groups.map { Transform.group($0) }
        return Proposal(number: number, protocolID: .ike, spi: spi, transforms: transforms)
    }
}

extension ESPProposal {
    func wire(number: UInt8, spi: UInt32, groups: [KeyExchangeGroup]) -> Proposal {
        let transforms =
            ciphers.map { Transform.encryption($0) } + integrity.map { Transform.integrity($0) } + groups.map { Transform.group($0) }
            + extendedSequenceNumbers.map { Transform.esn($0) }
        return Proposal(number: number, protocolID: .esp, spi: spi.networkBytes, transforms: transforms)
    }
}
