import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Each error notify of RFC 7296 §3.10.1: when we send it, and what we do when we get it.
@Suite struct ErrorNotifyTests {
    /// Every error of RFC 7296 §3.10.1, and of RFC 4555.
    static let errors: [NotifyType] = [
        .unsupportedCriticalPayload, .invalidIKESPI, .invalidMajorVersion, .invalidSyntax, .invalidMessageID, .invalidSPI,
        .noProposalChosen, .invalidKEPayload, .authenticationFailed, .singlePairRequired, .noAdditionalSAs, .internalAddressFailure,
        .failedCPRequired, .tsUnacceptable, .invalidSelectors, .temporaryFailure, .childSANotFound, .unacceptableAddresses,
        .unexpectedNATDetected,
        // One that nobody knows means failure as well.
        NotifyType(rawValue: 8000),
    ]

    private static func established(caller: IKEConfiguration = .caller(), site: IKEConfiguration = .site()) throws -> Sites {
        var sites = Sites(caller: caller, site: site)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        return sites
    }

    // MARK: Sent

    /// What the site answers to a request of the caller's with these payloads.
    private func answer(
        _ sites: inout Sites, _ exchange: ExchangeType, _ payloads: [Payload]
    ) throws -> [NotifyType] {
        let session = try #require(sites.callerSession)
        let sa = session.ikeSA
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: exchange, isInitiator: true, isResponse: false,
            messageID: sa.nextSendID)
        let sealed = try MessageProtection(sa.algorithms, keys: sa.sendingKeys).seal(
            payloads, header: header, context: sites.context(sites.caller))
        sites.wire = { _ in nil }
        sites.deliver(Datagram(local: session.remote, remote: session.local, bytes: sealed[0]), toSite: true)
        sites.wire = { $0 }
        let response = try #require(sites.sent.last?.datagram)
        let opened = try MessageProtection(sa.algorithms, keys: sa.receivingKeys).open(response.bytes)
        return PayloadSet(opened).notifies.map(\.type).filter(\.isError)
    }

    private let sa = Payload.securityAssociation([
        ESPProposal.gcm.wire(number: 1, spi: 0x7777_0001, groups: [])
    ])
    private let nonce = Payload.nonce([UInt8](repeating: 5, count: 32))
    private func selectors(_ local: String = "10.10.0.0/16", _ remote: String = "10.30.0.0/16") -> [Payload] {
        [.trafficSelectorsInitiator([TrafficSelector(local).wire]), .trafficSelectorsResponder([TrafficSelector(remote).wire])]
    }

    @Test func createChildSA_thatCannotBe_isRefusedWithItsReason() throws {
        var sites = try Self.established()
        #expect(try answer(&sites, .createChildSA, [sa, nonce] + selectors("10.99.0.0/16")) == [.tsUnacceptable])
        sites = try Self.established()
        let weak = Payload.securityAssociation([
            Proposal(
                number: 1, protocolID: .esp, spi: [1, 2, 3, 4],
                transforms: [Transform(type: TransformType.encryption, id: 3), Transform(type: TransformType.integrity, id: 2)])
        ])
        #expect(try answer(&sites, .createChildSA, [weak, nonce] + selectors()) == [.noProposalChosen])
        sites = try Self.established()
        let pfs = Payload.securityAssociation([ESPProposal.gcmPFS.wire(number: 1, spi: 0x7777_0001, groups: [.ecp256])])
        #expect(try answer(&sites, .createChildSA, [pfs, nonce] + selectors()) == [.invalidKEPayload])
        sites = try Self.established()
        let unknown = NotifyPayload(protocolID: .esp, spi: [9, 9, 9, 9], type: .rekeySA)
        #expect(try answer(&sites, .createChildSA, [.notify(unknown), sa, nonce] + selectors()) == [.childSANotFound])
        sites = try Self.established()
        #expect(try answer(&sites, .createChildSA, [sa] + selectors()) == [.invalidSyntax])
        #expect(sites.siteSession == nil, "fatal in both peers (§2.21.3)")
        sites = try Self.established()
        #expect(
            try answer(&sites, .informational, [.unknown(type: 99, isCritical: true, body: [1])]) == [.unsupportedCriticalPayload])
        #expect(sites.siteSession != nil)
        sites = try Self.established()
        #expect(try answer(&sites, .informational, [.unknown(type: 99, isCritical: false, body: [1])]) == [])
    }

    @Test func createChildSA_whenThereAreEnough_isRefused() throws {
        var limits = IKELimits()
        limits.childrenPerSessionMax = 1
        var sites = try Self.established(site: .site(limits: limits))
        #expect(try answer(&sites, .createChildSA, [sa, nonce] + selectors()) == [.noAdditionalSAs])
    }

    @Test func createChildSA_whileTheIKESAIsRekeyed_isRefusedForNow() throws {
        var sites = try Self.established()
        sites.wire = { _ in nil }
        sites.rekeyIKE(fromCaller: false)
        #expect(try answer(&sites, .createChildSA, [sa, nonce] + selectors()) == [.temporaryFailure])
    }

    /// A message for an SPI or with an ID that is nobody's, or of a version that is not ours.
    @Test func messages_ofNobody_getNoAnswerThatHelpsASpy() throws {
        var sites = try Self.established()
        let before = sites.sent.count
        let liveness = IKEHeader(
            initiatorSPI: 0xBAD, responderSPI: 0xBEEF, exchangeType: .informational, isInitiator: true, isResponse: false, messageID: 3)
        let garbage = IKEMessage.protectedHeader(header: liveness, firstInner: 0, sealedLength: 40) + [UInt8](repeating: 1, count: 40)
        sites.deliver(
            Datagram(local: Endpoint(Sites.siteAddress, 500), remote: Endpoint(Sites.callerAddress, 500), bytes: garbage), toSite: true)
        // INVALID_IKE_SPI may be sent and need not be (§2.21.4); INVALID_MESSAGE_ID must not be answered with (§2.3).
        #expect(sites.sent.count == before && sites.site.engine.counters.dropped(.unknownSPI) == 1)
        var version = garbage
        version[17] = 0x30
        sites.deliver(
            Datagram(local: Endpoint(Sites.siteAddress, 500), remote: Endpoint(Sites.callerAddress, 500), bytes: version), toSite: true)
        let answer = try #require(sites.sent.last?.datagram)
        #expect(PayloadSet(try IKEMessage(parsing: answer.bytes).payloads).has(.invalidMajorVersion))
    }

    // MARK: Got

    /// In an INFORMATIONAL request: two of them say that the IKE SA is gone (§2.21.2, §2.21.3), all others are acknowledged.
    @Test(arguments: errors) func error_inARequest_endsOnlyWhatItSaysIsGone(type: NotifyType) throws {
        var sites = try Self.established()
        #expect(try answer(&sites, .informational, [.notify(type)]) == [])
        let isFatal = type == .authenticationFailed || type == .invalidSyntax
        #expect((sites.siteSession == nil) == isFatal)
    }

    /// As the answer to a rekey: the old SAs carry on, and it is tried again, not at once (§2.25).
    @Test(arguments: errors, [false, true]) func error_asTheAnswerToARekey_leavesWhatThereWas(type: NotifyType, isIKE: Bool) throws {
        var sites = try Self.established()
        let before = try #require(sites.callerSession)
        var isReplaced = false
        let siteKeys = try #require(sites.siteSession).ikeSA
        let epoch = sites.context(sites.site)
        sites.wire = { datagram in
            guard let header = try? IKEHeader(parsing: datagram.bytes), header.isResponse, header.exchangeType == .createChildSA,
                !isReplaced
            else { return datagram }
            isReplaced = true
            var context = epoch
            context.epoch += 4
            let data: [UInt8] = type == .invalidKEPayload ? [0, 1] : []
            let forged = try? MessageProtection(siteKeys.algorithms, keys: siteKeys.sendingKeys)
                .seal([.notify(type, data)], header: header, context: context)
            return forged.map { Datagram(local: datagram.local, remote: datagram.remote, bytes: $0[0]) }
        }
        if isIKE { sites.rekeyIKE(fromCaller: true) } else { sites.rekeyChild(fromCaller: true) }
        sites.settle(limit: .seconds(1))
        #expect(isReplaced)
        guard type != .invalidSyntax else {
            #expect(sites.callerSession == nil)
            return
        }
        let after = try #require(sites.callerSession)
        #expect(after.ikeSA.keys == before.ikeSA.keys)
        if type == .childSANotFound, !isIKE {
            #expect(!after.children.contains { $0.inboundSPI == before.children[0].inboundSPI }, "gone there, so gone here")
        } else {
            #expect(after.children.contains { $0.inboundSPI == before.children[0].inboundSPI && !$0.isRekeyed })
            #expect(sites.caller.events.contains { if case .requestRefused(_, _, type.rawValue) = $0 { true } else { false } })
        }
    }

    /// In IKE_SA_INIT and IKE_AUTH the call fails and says why.
    @Test(arguments: errors) func error_asTheAnswerToACall_endsIt(type: NotifyType) throws {
        for exchange in [ExchangeType.ikeSAInit, .ikeAuth] {
            var sites = Sites()
            var machine: IKESA?
            sites.wire = { datagram in
                guard let header = try? IKEHeader(parsing: datagram.bytes), header.isResponse, header.exchangeType == exchange else {
                    return datagram
                }
                let notify = Payload.notify(type, [0, 1])
                let bytes: [UInt8]?
                if exchange == .ikeSAInit {
                    bytes = IKEMessage(header: header, payloads: [notify]).encode()
                } else {
                    guard let sa = machine else { return nil }
                    let context = IKEContext(
                        now: Now(instant: Instant(nanoseconds: 1), wallMilliseconds: 1), epoch: 9, random: .seeded(1))
                    bytes = try? MessageProtection(sa.algorithms, keys: sa.receivingKeys)
                        .seal([notify], header: header, context: context)[0]
                }
                return bytes.map { Datagram(local: datagram.local, remote: datagram.remote, bytes: $0) }
            }
            let id = try sites.call()
            if exchange == .ikeAuth {
                sites.deliverNext(2)
                machine = sites.caller.engine.initiations[id.rawValue]?.machine.ikeSA
                #expect(machine != nil)
            }
            sites.settle(limit: .seconds(200))
            #expect(sites.failures == [.refused(notify: type.rawValue)])
            #expect(sites.callerSession == nil)
        }
    }
}
