import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// RFC 7383: messages that are longer than a datagram may be.
struct FragmentTests {
    private static func small(_ configuration: IKEConfiguration, _ policy: FragmentationPolicy = .yes) -> IKEConfiguration {
        var configuration = configuration
        configuration.limits.fragmentSize = 190
        configuration.connections[0].fragmentation = policy
        return configuration
    }

    private static func sites() -> Sites { Sites(caller: small(.caller()), site: small(.site())) }

    private func isFragment(_ datagram: Datagram) -> Bool { FragmentNumber(datagram.bytes) != nil }

    @Test func exchanges_inFragments_goAsInWholeMessages() throws {
        var sites = FragmentTests.sites()
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.capabilities.contains(.fragmentation) == true)
        let auth = sites.sent.filter { $0.datagram.bytes[18] == ExchangeType.ikeAuth.rawValue }
        #expect(auth.allSatisfy { isFragment($0.datagram) } && auth.contains { $0.fromCaller } && auth.contains { !$0.fromCaller })
        // As long as the IP datagram may be, less its headers.
        #expect(auth.allSatisfy { $0.datagram.bytes.count <= 190 - 28 })
        sites.rekeyIKE(fromCaller: true)
        sites.settle()
        sites.rekeyChild(fromCaller: false)
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.sent.contains { isFragment($0.datagram) && $0.datagram.bytes[18] == ExchangeType.createChildSA.rawValue })
    }

    @Test(arguments: [(FragmentationPolicy.no, FragmentationPolicy.yes), (.yes, .no), (.accept, .yes)])
    func peers_ofWhichOneWantsNone_sendNone(caller: FragmentationPolicy, site: FragmentationPolicy) throws {
        var sites = Sites(caller: FragmentTests.small(.caller(), caller), site: FragmentTests.small(.site(), site))
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(!sites.sent.contains { isFragment($0.datagram) })
    }

    @Test func fragments_lostDoubledAndReordered_arriveInTheEnd() throws {
        let faults = RandomSource.seeded(11)
        var sites = FragmentTests.sites()
        var kept: [Datagram] = []
        sites.wire = { datagram in
            // One in twelve is lost, and one in four takes the place of a later one.
            switch faults.uint32() % 12 {
            case 0: return nil
            case 4..<7:
                kept.append(datagram)
                return kept.count > 3 ? kept.removeFirst() : datagram
            default: return datagram
            }
        }
        try sites.call()
        sites.settle()
        sites.rekeyChild(fromCaller: true)
        sites.settle()
        sites.wire = { $0 }
        sites.settle()
        sites.expectAgreement(children: 1)
    }

    /// The new owner knows nothing of the fragments that the old one had, and the peer repeats them all.
    @Test(arguments: 1...6) func takeover_withHalfOfTheFragments_goesOn(delivered: Int) throws {
        var sites = FragmentTests.sites()
        try sites.call()
        sites.settle()
        sites.rekeyIKE(fromCaller: false)
        sites.deliverNext(delivered)
        sites.takeOver()
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.otherIKESAs.isEmpty == true && sites.callerSession?.hasPendingRequest == false)
    }

    @Test func requestInFragments_whenRepeated_isAnsweredOnce() throws {
        var sites = FragmentTests.sites()
        try sites.call()
        sites.settle()
        let before = sites.sent.count
        sites.rekeyIKE(fromCaller: true)
        let request = sites.sent[before...].map(\.datagram)
        #expect(request.count > 1)
        sites.settle()
        let answers = sites.site.engine.counters.responsesRepeated
        for fragment in request {
            sites.deliver(Datagram(local: fragment.remote, remote: fragment.local, bytes: fragment.bytes), toSite: true)
        }
        // Only the first fragment asks for the answer (RFC 7383 §2.6.1); and the old IKE SA is gone, so that it is a farewell's.
        #expect(sites.site.engine.counters.responsesRepeated <= answers + 1)
        sites.expectAgreement(children: 1)
    }

    // MARK: What nobody may make us do

    private static let key = FragmentTable.Key(localSPI: 1, isResponse: false, messageID: 1)
    private static let now = Instant(nanoseconds: 1_000_000_000)

    private func fragment(_ number: UInt16, of total: UInt16, _ content: [UInt8] = [7]) -> Fragment {
        Fragment(number: number, total: total, firstPayload: number == 1 ? 33 : 0, content: content)
    }

    @Test func fragments_inAnyOrder_areJoinedInTheirs() {
        var table = FragmentTable()
        #expect(table.take(fragment(3, of: 3, [5]), of: [3], for: Self.key, at: Self.now) == nil)
        #expect(table.take(fragment(1, of: 3, [1, 2]), of: [1], for: Self.key, at: Self.now) == nil)
        #expect(!table.wants(1, of: 3, for: Self.key) && table.wants(2, of: 3, for: Self.key))
        let whole = table.take(fragment(2, of: 3, [3, 4]), of: [2], for: Self.key, at: Self.now)
        #expect(whole == WholeMessage(firstPayload: 33, content: [1, 2, 3, 4, 5], digest: sha256([1])))
        #expect(table.count == 0)
    }

    /// RFC 7383 §2.6: a sender that tries smaller fragments begins anew; fewer than there were are none of its.
    @Test func fragments_ofAFinerCut_beginAnew() {
        var table = FragmentTable()
        #expect(table.take(fragment(1, of: 2, [1]), of: [1], for: Self.key, at: Self.now) == nil)
        #expect(table.take(fragment(1, of: 3, [1]), of: [9], for: Self.key, at: Self.now) == nil)
        #expect(!table.wants(2, of: 2, for: Self.key))
        #expect(table.take(fragment(2, of: 3, [2]), of: [2], for: Self.key, at: Self.now) == nil)
        #expect(table.take(fragment(3, of: 3, [3]), of: [3], for: Self.key, at: Self.now)?.digest == sha256([9]))
        #expect(!table.wants(1, of: FragmentLimits.countMax + 1, for: Self.key))
    }

    @Test func fragments_thatAreNeverCompleted_areForgotten() {
        var table = FragmentTable()
        for message in 0..<UInt32(3 * FragmentLimits.messagesMax) {
            let key = FragmentTable.Key(localSPI: UInt64(message), isResponse: false, messageID: message)
            _ = table.take(fragment(1, of: 2), of: [1], for: key, at: Self.now + .milliseconds(message))
        }
        #expect(table.count <= FragmentLimits.messagesMax)
        let big = [UInt8](repeating: 1, count: 60_000)
        for message in 0..<UInt32(400) {
            let key = FragmentTable.Key(localSPI: UInt64(message), isResponse: true, messageID: message)
            _ = table.take(fragment(1, of: 2, big), of: [1], for: key, at: Self.now + .seconds(10))
        }
        #expect(table.count * big.count <= FragmentLimits.octetsMax + big.count)
        // More than a message may be long.
        var long = FragmentTable()
        #expect(long.take(fragment(1, of: 3, big), of: [1], for: Self.key, at: Self.now) == nil)
        #expect(long.take(fragment(2, of: 3, big), of: [2], for: Self.key, at: Self.now) == nil)
        #expect(long.count == 0)
    }

    @Test func fragment_thatIsForged_changesNothing() throws {
        var sites = FragmentTests.sites()
        try sites.call()
        sites.settle()
        let before = sites.sent.count
        sites.rekeyIKE(fromCaller: true)
        let request = sites.sent[before...].map(\.datagram)
        for (index, fragment) in request.enumerated() {
            for position in [20, 35, 36, 40, fragment.bytes.count - 1] where index < 2 {
                var bytes = fragment.bytes
                bytes[position] ^= 1
                sites.deliver(Datagram(local: fragment.remote, remote: fragment.local, bytes: bytes), toSite: true)
            }
        }
        sites.settle()
        sites.expectAgreement(children: 1)
        #expect(sites.callerSession?.otherIKESAs.isEmpty == true)
    }

    /// Cut anywhere, the fragments give the message back, and no two of them share an IV.
    @Test(arguments: [Cipher(.aesGCM16, keyBits: 256), Cipher(.aesCBC, keyBits: 128)]) func sealAndOpen_atEveryLength(cipher: Cipher) throws
    {
        let integrity: IntegrityAlgorithm? = cipher.isAEAD ? nil : .hmacSHA256_128
        let keys = DirectionKeys(
            encryption: SecretBytes([UInt8](repeating: 1, count: cipher.keyMaterialLength)),
            integrity: SecretBytes([UInt8](repeating: 2, count: integrity?.keyLength ?? 0)))
        let algorithms = IKEAlgorithms(cipher: cipher, integrity: integrity, prf: .hmacSHA256, keyExchangeGroup: .ecp256)
        let protection = MessageProtection(algorithms, keys: keys)
        let header = IKEHeader(
            initiatorSPI: 1, responderSPI: 2, exchangeType: .informational, isInitiator: true, isResponse: false, messageID: 3)
        let context = IKEContext(now: Now(instant: Self.now, wallMilliseconds: 0), epoch: 1, random: .seeded(1))
        for length in stride(from: 0, through: 1200, by: 37) {
            let payloads: [Payload] = [.nonce([UInt8](repeating: 9, count: 32)), .vendorID([UInt8](repeating: 3, count: length))]
            let datagrams = try protection.seal(payloads, header: header, fragmentLength: 300, context: context)
            var table = FragmentTable()
            var opened: OpenedMessage?
            for datagram in datagrams {
                #expect(datagram.count <= 300)
                opened = try table.open(datagram, key: Self.key, with: protection, at: Self.now)
            }
            #expect(opened?.payloads == payloads && opened?.digest == sha256(datagrams[0]))
            let ivs = datagrams.map { Array($0[IKEMessage.fragmentHeaderLength..<IKEMessage.fragmentHeaderLength + 8]) }
            #expect(Set(ivs).count == datagrams.count)
        }
    }
}
