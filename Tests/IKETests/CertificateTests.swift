import CertificateSamples
import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Authentication with certificates, of the engine as initiator and as responder.
@Suite struct CertificateTests {
    private static let keys: [SampleKey] = [.rsa2048, .rsaPSS, .rsaPSSSHA384, .p256, .p384, .p521, .ed25519]

    // MARK: What succeeds

    @Test func everyKindOfKey_onEitherSide_authenticates() throws {
        for key in Self.keys {
            for padding in [PublicKeyCredential.RSAPadding.pss, .pkcs1] where padding == .pss || key.signing.kind.algorithm == .rsa {
                var caller = Pki.credential("gw.example.net", key: key)
                var site = Pki.credential("site.example.net", key: key)
                (caller.rsaPadding, site.rsaPadding) = (padding, padding)
                var sites = Sites.certified(caller: caller, site: site)
                try sites.run()
                sites.expectAgreement(children: 1)
                #expect(sites.callerSession?.authorization.method == .digitalSignature)
                #expect(sites.siteSession?.authorization.method == .digitalSignature)
                #expect(sites.siteSession?.authorization.remoteIdentity == Identity(text: "gw.example.net"))
            }
        }
    }

    @Test func messages_carryHashesRequestsAndCertificates_inTheOrderOfTheStandard() throws {
        var sites = Sites.certified()
        try sites.run()
        let initial = try sites.sent.prefix(2).map { try IKEMessage(parsing: $0.datagram.bytes).payloads }
        let hashes = NotifyPayload(type: .signatureHashAlgorithms, data: [0, 2, 0, 3, 0, 4, 0, 5])
        #expect(initial.allSatisfy { $0.contains(.notify(hashes)) })
        let request = Payload.certificateRequest(encoding: 4, data: Pki.rootCertificate.publicKeyHash)
        #expect(!initial[0].contains(request) && initial[1].contains(request))

        let sa = try #require(sites.callerSession?.ikeSA)
        let ours = try MessageProtection(sa.algorithms, keys: sa.keys.initiator).open(sites.sent[2].datagram.bytes)
        #expect(ours.map(\.type).filter { $0 != 41 }.prefix(5) == [35, 37, 38, 36, 39], "IDi, CERT, CERTREQ, IDr, AUTH")
        let theirs = try MessageProtection(sa.algorithms, keys: sa.keys.responder).open(sites.sent[3].datagram.bytes)
        #expect(theirs.map(\.type).prefix(3) == [36, 37, 39], "IDr, CERT, AUTH")
        let authentication = try #require(PayloadSet(theirs).authentication)
        // RFC 7427 §3 with appendix A.3.2.
        #expect(authentication.method == 14)
        #expect(authentication.data.starts(with: [12, 0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]))
    }

    @Test func sharedKeyConnections_sendNothingOfCertificates() throws {
        var sites = Sites()
        try sites.run()
        for item in sites.sent.prefix(2) {
            let payloads = PayloadSet(try IKEMessage(parsing: item.datagram.bytes).payloads)
            #expect(!payloads.has(.signatureHashAlgorithms) && !payloads.asksForCertificate)
        }
    }

    /// RFC 7296 §2.15: each side may take its own way.
    @Test func mixedAuthentication_inBothDirections_succeeds() throws {
        let callers = (Pki.credential("gw.example.net"), Pki.credential("site.example.net"))
        for callerSigns in [true, false] {
            var sites = Sites(
                caller: IKEConfiguration.caller().changed {
                    if callerSigns {
                        $0.localAuthentication = .publicKey(callers.0)
                    } else {
                        $0.remoteAuthentication = .publicKey(Pki.trust())
                    }
                },
                site: IKEConfiguration.site().changed {
                    if callerSigns {
                        $0.remoteAuthentication = .publicKey(Pki.trust())
                    } else {
                        $0.localAuthentication = .publicKey(callers.1)
                    }
                })
            try sites.run()
            sites.expectAgreement(children: 1)
            #expect(sites.siteSession?.authorization.method == (callerSigns ? .digitalSignature : .preSharedKey))
            #expect(sites.callerSession?.authorization.method == (callerSigns ? .preSharedKey : .digitalSignature))
        }
    }

    /// Without RFC 7427 on the other side: r | s for ECDSA; SHA-1 for RSA only where it is allowed; nothing for Ed25519.
    @Test func peers_withoutSignatureHashes_getTheOldMethodsOrNothing() throws {
        let expected: [(SampleKey, Bool, PeerAuthorization.Method?)] = [
            (.p256, false, .ecdsaP256), (.p384, false, .ecdsaP384), (.p521, false, .ecdsaP521), (.rsa2048, true, .rsaSignature),
            (.rsa2048, false, nil), (.ed25519, true, nil),
        ]
        for (key, allowsSHA1, method) in expected {
            var ours = Pki.credential("gw.example.net", key: key)
            var trust = Pki.trust()
            (ours.allowsSHA1, trust.allowsSHA1) = (allowsSHA1, allowsSHA1)
            var client = InitiatorConfiguration.standard(identity: "alice.example.net")
            client.localAuthentication = .publicKey(ours.changed(to: Pki.credential("alice.example.net", key: key)))
            client.remoteAuthentication = .publicKey(trust)
            client.announcesSignatureHashes = false
            var world = World(gateway: IKEConfiguration.standard().certified(ours, trust: trust), client: client)
            world.establish()
            #expect(world.session?.authorization.method == method)
            #expect(world.client.authenticatedMethod == method)
            #expect(world.client.phase == (method == nil ? .failed(.cannotAuthenticate) : .established))
        }
    }

    @Test func sha1_thatOnlyThePeerAllows_isNotAccepted() throws {
        var credential = Pki.credential("alice.example.net", key: .rsa2048)
        credential.allowsSHA1 = true
        var client = InitiatorConfiguration.standard(identity: "alice.example.net")
        client.localAuthentication = .publicKey(credential)
        client.announcesSignatureHashes = false
        let gateway = IKEConfiguration.standard().changed { $0.remoteAuthentication = .publicKey(Pki.trust()) }
        var world = World(gateway: gateway, client: client)
        world.establish()
        #expect(world.session == nil)
        #expect(world.gateway.events.contains { if case .authenticationFailed(_, _, .wrongSignature) = $0 { true } else { false } })
    }

    @Test func chain_withAnIntermediate_isSentAndBelieved() throws {
        let middle = SampleCertificate.authority("CN=Middle", key: .intermediate)
        var credential = Pki.credential("gw.example.net", issuer: middle)
        var sites = Sites.certified(caller: credential)
        try sites.run()
        #expect(sites.refusals == [.certificate(.untrusted)])
        credential.intermediates = [middle.make(issuer: Pki.root)]
        sites = Sites.certified(caller: credential)
        try sites.run()
        sites.expectAgreement(children: 1)
    }

    /// Certificates are what makes IKE_AUTH too long for one datagram (RFC 7383).
    @Test func longChains_travelInFragments() throws {
        let middle = SampleCertificate.authority("CN=Middle", key: .rsa3072)
        var gateway = Pki.credential("gw.example.net", key: .rsa2048, issuer: middle)
        gateway.intermediates = [middle.make(issuer: Pki.root)]
        var own = Pki.credential("alice.example.net", key: .rsa2048, issuer: middle)
        own.intermediates = gateway.intermediates
        var client = InitiatorConfiguration.standard(identity: "alice.example.net")
        client.localAuthentication = .publicKey(own)
        client.remoteAuthentication = .publicKey(Pki.trust())
        var world = World(gateway: IKEConfiguration.standard().certified(gateway), client: client)
        world.establish()
        world.expectAgreement(children: 1)
        var sites = Sites.certified(caller: own.changed(to: "gw.example.net", issuer: middle))
        try sites.run()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.capabilities.isSuperset(of: [.fragmentation, .mobike]) == true)
        let called = sites.sent.filter(\.fromCaller).map(\.datagram)
        for datagrams in [world.fromClient, world.fromGateway, called] {
            let fragments = datagrams.filter { $0.bytes[16] == PayloadType.encryptedFragment }
            #expect(fragments.count >= 2 && datagrams.allSatisfy { $0.bytes.count <= 1280 })
        }
    }

    // MARK: Identities

    @Test func identities_thatNobodyConfigured_areTheSubjects() throws {
        var sites = Sites.certified()
        let caller = sites.caller.engine.configuration.changed {
            $0.localIdentity = nil
            // Another encoding of the same name.
            $0.remoteIdentity = Identity(text: "c=ch, o=tandem, cn=SITE.example.net")
        }
        let site = sites.site.engine.configuration.changed {
            $0.localIdentity = nil
            $0.remoteIdentity = nil
        }
        sites = Sites(caller: caller, site: site)
        try sites.run()
        sites.expectAgreement(children: 1)
        #expect("\(sites.siteSession!.authorization.remoteIdentity)" == "C=CH, O=Tandem, CN=gw.example.net")
        #expect("\(sites.callerSession!.authorization.remoteIdentity)" == "C=CH, O=Tandem, CN=site.example.net")
        #expect(sites.siteSession?.authorization.remoteIdentity.kind == .derASN1DN)
        // A name that only the certificate has is ours, too.
        sites = Sites(caller: caller.changed { $0.remoteIdentity = Identity(text: "site.example.net") }, site: site)
        try sites.run()
        #expect(sites.callerSession?.authorization.remoteIdentity == Identity(text: "site.example.net"))
    }

    @Test func peers_ofTwoAuthorities_findTheirConnections() throws {
        var site = IKEConfiguration.site().certified(Pki.credential("site.example.net"), trust: Pki.trust([Pki.other.make()]))
        site.connections[0].remoteIdentity = nil
        site.connections.append(site.connections[0])
        site.connections[1].name = "second"
        site.connections[1].remoteAuthentication = .publicKey(Pki.trust())
        var sites = Sites(caller: IKEConfiguration.caller().certified(Pki.credential("gw.example.net")), site: site)
        try sites.run()
        sites.expectAgreement(children: 1)
        #expect(sites.siteSession?.authorization.connection == "second")
        site.connections[1].remoteAuthentication = .preSharedKey
        sites = Sites(caller: sites.caller.engine.configuration, site: site)
        try sites.run()
        #expect(sites.refusals == [.certificate(.untrusted)])
    }

    // MARK: What is refused

    /// What is wrong with a credential, and what is said of it.
    private static func badCredentials(_ name: String) -> [(PublicKeyCredential, IKEAuthenticationFailure)] {
        let good = Pki.credential(name)
        var mismatched = good
        mismatched.key = SampleKey.p384.signing
        let sameKind = PublicKeyCredential(certificate: good.certificate, key: SampleKey.intermediate.signing)
        var long = good
        long.intermediates = (1...8).map { SampleCertificate("CN=\($0)").make() }
        let weak = PublicKeyCredential(
            certificate: Pki.sample(name, key: .rsa1024).make(issuer: Pki.root), key: SampleKey.rsa2048.signing)
        return [
            (Pki.credential(name) { $0.notAfter = Pki.now - 1 }, .certificate(.expired)),
            (Pki.credential(name) { $0.notBefore = Pki.now + 3600 }, .certificate(.notYetValid)),
            (Pki.credential(name, issuer: nil), .certificate(.selfSigned)),
            (Pki.credential(name, issuer: Pki.other), .certificate(.untrusted)),
            (Pki.credential(name) { $0.usesSHA1 = true }, .certificate(.weakSignature)),
            (Pki.credential(name) { $0.keyUsage = "critical,keyAgreement" }, .certificate(.notAllowedForSigning)),
            (Pki.credential("bob.example.net"), .certificateOfAnother),
            (weak, .certificate(.weakKey)), (long, .certificate(.tooMany)),
            (sameKind, .wrongSignature), (mismatched, .wrongSignature),
        ]
    }

    @Test func caller_thatIsNotBelieved_hearsOnlyThatItFailed() throws {
        for (credential, reason) in Self.badCredentials("gw.example.net") {
            var sites = Sites.certified(caller: credential)
            try sites.run()
            #expect(sites.refusals == [reason])
            #expect(sites.failures == [.refused(notify: NotifyType.authenticationFailed.rawValue)])
            #expect(sites.caller.table.count == 0 && sites.site.table.count == 0 && sites.site.engine.halfOpenCount == 0)
        }
    }

    @Test func site_thatIsNotBelieved_isToldAndForgotten() throws {
        for (credential, reason) in Self.badCredentials("site.example.net") {
            var sites = Sites.certified(site: credential)
            try sites.run()
            #expect(sites.failures == [.rejected(reason)])
            #expect(sites.caller.table.count == 0 && sites.site.table.count == 0)
        }
    }

    /// A list that comes while the gateway runs counts from then on, for every connection and until the next one.
    @Test func revocationList_whenReplaced_isWhatTheNextPeerIsJudgedBy() throws {
        var sites = Sites.certified()
        try sites.site.engine.replaceRevocationLists([Pki.root.revocationList(revoking: [7])])
        try sites.run()
        #expect(sites.refusals == [.certificate(.revoked)])
        sites = Sites.certified(siteTrust: Pki.trust(lists: [Pki.root.revocationList(revoking: [7])]))
        try sites.site.engine.replaceRevocationLists([Pki.root.revocationList(revoking: [8])])
        try sites.run()
        #expect(sites.refusals == [])
        sites.expectAgreement(children: 1)
    }

    @Test func revokedCertificate_isRefusedByEitherSide() throws {
        let trust = Pki.trust(lists: [Pki.root.revocationList(revoking: [7])])
        var sites = Sites.certified(siteTrust: trust)
        try sites.run()
        #expect(sites.refusals == [.certificate(.revoked)])
        sites = Sites.certified(callerTrust: trust)
        try sites.run()
        #expect(sites.failures == [.rejected(.certificate(.revoked))])
        sites = Sites.certified(siteTrust: Pki.trust(revocation: .strict))
        try sites.run()
        #expect(sites.refusals == [.certificate(.crlMissing)])
        sites = Sites.certified(siteTrust: Pki.trust(lists: [Pki.root.revocationList(revoking: [8])], revocation: .strict))
        try sites.run()
        sites.expectAgreement(children: 1)
    }

    @Test func certificate_thatIsNotSent_isMissedUnlessItIsPinned() throws {
        let credential = Pki.credential("gw.example.net")
        for (trust, reason) in [
            (Pki.trust(), IKEAuthenticationFailure.noCertificate), (Pki.trust([], pinned: [credential.certificate]), nil),
            (Pki.trust([], pinned: [Pki.credential("gw.example.net").certificate]), .certificateNotPinned),
        ] {
            var sites = Sites.certified(caller: credential, siteTrust: trust)
            let sending: CertificateSending = reason == .certificateNotPinned ? .always : .never
            sites = Sites(
                caller: sites.caller.engine.configuration.changed { $0.certificateSending = sending },
                site: sites.site.engine.configuration)
            try sites.run()
            #expect(sites.refusals == (reason.map { [$0] } ?? []))
            #expect((sites.siteSession == nil) == (reason != nil))
        }
    }

    @Test func method_thatTheConnectionDoesNotTake_isRefused() throws {
        let certified = Sites.certified()
        var sites = Sites(caller: .caller(), site: certified.site.engine.configuration)
        try sites.run()
        #expect(sites.refusals == [.methodNotSupported], "a secret where a certificate is demanded")
        sites = Sites(caller: certified.caller.engine.configuration, site: .site())
        try sites.run()
        #expect(sites.refusals == [.methodNotSupported], "a certificate where a secret is demanded")
        sites = Sites.certified(siteTrust: Pki.trust(algorithms: [.rsa]))
        try sites.run()
        #expect(sites.refusals == [.keyKindNotAccepted])
    }

    /// Who changes what was said in IKE_SA_INIT, for instance the list of hashes, is found out by the signatures.
    @Test func changedInitMessage_makesTheSignatureWrong() throws {
        for fromCaller in [true, false] {
            var sites = Sites.certified()
            sites.wire = { datagram in
                guard datagram.bytes[18] == 34, (datagram.remote.address == Sites.siteAddress) == fromCaller,
                    let at = datagram.bytes.indices.dropLast(7).first(where: { datagram.bytes[$0..<$0 + 8] == [0, 2, 0, 3, 0, 4, 0, 5] })
                else { return datagram }
                var changed = datagram
                changed.bytes[at + 3] = 1
                return changed
            }
            try sites.run()
            #expect(fromCaller ? sites.refusals == [.wrongSignature] : sites.refusals == [])
            #expect(sites.callerSession == nil && sites.siteSession == nil)
            #expect(sites.failures.count == 1)
        }
    }

    @Test func garbage_inPlaceOfCertificatesAndSignatures_isRefused() throws {
        let random = RandomSource.seeded(5)
        let credential = Pki.credential("gw.example.net")
        let signed = SignedOctets(
            prf: .hmacSHA256, message: [1], peerNonce: [2], authenticationKey: SecretBytes([3]),
            identity: IdentificationPayload(kind: 2, data: [4]))
        let good = try SignatureAuthentication.payload(signed, credential: credential, peerHashes: [.sha256])
        guard case .authentication(let method, let data) = good else { throw IKEAuthenticationFailure.malformed }
        #expect(method == 14)
        func verify(_ data: [UInt8]) throws(IKEAuthenticationFailure) {
            try SignatureAuthentication.verify(
                data, method: .digitalSignature, of: signed, certificate: credential.certificate, allowsSHA1: true)
        }
        try verify(data)
        for count in 0..<data.count { #expect(throws: IKEAuthenticationFailure.self) { try verify(Array(data.prefix(count))) } }
        for _ in 0..<200 {
            var mutated = data
            mutated[Int(random.uint32()) % data.count] ^= UInt8(truncatingIfNeeded: random.uint32() | 1)
            #expect(throws: IKEAuthenticationFailure.self) { try verify(mutated) }
        }
        for der in [[], [0x30], random.bytes(500)] {
            let set = PayloadSet([.certificate(encoding: 4, data: der)])
            #expect(throws: IKEAuthenticationFailure.certificate(.badEncoding)) { try PeerCertificates(set) }
        }
        #expect(try PeerCertificates(PayloadSet([.certificate(encoding: 12, data: [1])])).leaf == nil, "a hash and URL")
    }

    // MARK: Takeover

    /// The session of a certificate goes on with the table alone: the other node needs no certificate for it.
    @Test func takeover_rightAfterAuthentication_goesOn() throws {
        var sites = Sites.certified()
        try sites.run()
        let session = try #require(sites.callerSession)
        sites.takeOver()
        sites.atCaller { $0.checkLiveness(session: session.id, table: $1, context: $2) }
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.ikeSA.nextSendID == session.ikeSA.nextSendID + 1 && sites.callerSession?.ikeSA.pendingRequests == [])

        var client = InitiatorConfiguration.standard(identity: "alice.example.net")
        client.localAuthentication = .publicKey(Pki.credential("alice.example.net"))
        client.remoteAuthentication = .publicKey(Pki.trust())
        let gateway = IKEConfiguration.standard().certified(Pki.credential("gw.example.net"))
        var world = World(gateway: gateway, client: client)
        world.establish()
        world.expectAgreement(children: 1)
        world.takeOver(gateway)
        world.client { $0.rekeyIKE(context: $1) }
        world.settle()
        world.client { $0.addChild(context: $1) }
        world.settle()
        world.expectAgreement(children: 2)
        #expect(world.session?.authorization.method == .digitalSignature)
    }
}

extension PublicKeyCredential {
    /// A certificate of the same key for another name.
    fileprivate func changed(to name: String, issuer: SampleCertificate) -> PublicKeyCredential {
        var copy = self
        copy.certificate = Pki.sample(name, key: .rsa2048).make(issuer: issuer)
        return copy
    }

    /// Another certificate, used in the same way.
    fileprivate func changed(to other: PublicKeyCredential) -> PublicKeyCredential {
        var copy = self
        copy.certificate = other.certificate
        return copy
    }
}
