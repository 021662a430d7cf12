import Testing

@testable import Control

@Suite struct ControlRequestTests {
    @Test(arguments: [
        ControlRequest.version, .stats, .findSessions(SessionFilter()),
        .findSessions(SessionFilter(connection: "road", uniqueID: 5, child: "net", childUniqueID: 7)),
        .findSessions(SessionFilter(includesHeld: true, name: "eu@example.net")), .listConnections(name: nil),
        .listConnections(name: "road"),
        .listPools(name: "road", withLeases: true), .initiate(InitiateRequest(child: "net", connection: "road", timeoutMilliseconds: 5000)),
        .terminate(TerminateRequest(connection: "road", force: true, timeoutMilliseconds: 0, logLevel: 2)),
        .terminate(TerminateRequest(child: "net")), .terminate(TerminateRequest(childUniqueID: 7)),
        .terminate(TerminateRequest(uniqueID: 5)), .rekey(RekeyRequest(connection: "road")), .rekey(RekeyRequest(child: "net")),
        .rekey(RekeyRequest(connection: "road", childUniqueID: 3)),
        .get(GetRequest(name: "anna")), .get(GetRequest(name: "7", detach: true)), .put(PutRequest(document: "{}", local: "192.0.2.1")),
        .put(PutRequest(document: String(repeating: "0123456789äöü", count: 20_000))),
        .status, .switchover(force: false), .switchover(force: true), .maintain(MaintenanceRequest(.drain, timeoutMilliseconds: 5)),
        .maintain(MaintenanceRequest(.standby, isForced: true)), .maintain(MaintenanceRequest(.resume)),
        .transfer(TransferRequest(name: "anna", direction: .to, gateway: "sg3")),
        .transfer(TransferRequest(name: "10.20.0.1", direction: .from, gateway: "sg3")), .events(after: .max), .unknown("load-conn"),
        .redirect(RedirectRequest(.name("eu@example.net"), to: "192.0.2.20")), .redirect(RedirectRequest(.all, to: "gw2.example.net")),
        .redirect(RedirectRequest(.share(25), to: "2001:db8::2")), .redirect(RedirectRequest(.newPeersOff)),
        .redirect(RedirectRequest(.newPeers(.initial), to: "192.0.2.20")),
        .redirect(RedirectRequest(.newPeers(.authenticated), to: "192.0.2.20")),
    ])
    func request_overTheSocket_isTheSame(request: ControlRequest) throws {
        let (command, arguments) = try #require(request.vici())
        #expect(try ControlRequest(command: command, arguments: arguments) == request)
    }

    @Test func describe_neverGoesOverTheSocket() throws {
        #expect(ControlRequest.describe([1]).vici() == nil)
        #expect(try ControlRequest(command: "describe", arguments: VICIMessage()) == .unknown("describe"))
    }

    @Test func terminate_withoutSayingWhat_isRefused() {
        var arguments = VICIMessage()
        arguments.add("force", "yes")
        #expect(throws: VICIError.missing("ike")) { try ControlRequest(command: "terminate", arguments: arguments) }
        #expect(throws: VICIError.missing("child")) { try ControlRequest(command: "initiate", arguments: VICIMessage()) }
    }

    @Test func transfer_withoutWhatAndWhere_isRefused() throws {
        func error(_ pairs: [(String, String)]) -> VICIError? {
            var arguments = VICIMessage()
            for (key, text) in pairs { arguments.add(key, text) }
            do throws(VICIError) { _ = try ControlRequest(command: "tandem-transfer", arguments: arguments) } catch { return error }
            return nil
        }
        #expect(error([("to", "sg3")]) == .missing("name"))
        #expect(error([("name", "anna")]) == .missing("to"))
        #expect(error([("name", "anna"), ("to", "sg3"), ("from", "sg4")]) == .badValue("from"))
        #expect(error([("name", "anna"), ("from", "sg4")]) == nil)
    }

    @Test func arguments_thatCannotBeRead_areRefused() {
        for (command, key, text) in [
            ("terminate", "ike-id", "five"), ("terminate", "ike-id", "4294967296"), ("terminate", "timeout", "1s"),
            ("tandem-switchover", "force", "perhaps"), ("tandem-drain", "timeout", "-1"), ("tandem-drain", "timeout", "86400001"),
            ("tandem-standby", "force", "2"), ("tandem-events", "after", "-1"), ("list-sas", "ike-id", ""),
        ] {
            var arguments = VICIMessage()
            arguments.add(key, text)
            #expect(throws: VICIError.badValue(key)) { try ControlRequest(command: command, arguments: arguments) }
        }
    }

    @Test func timeout_isStrongSwans() throws {
        func timeout(_ text: String?) throws -> Int64? {
            var arguments = VICIMessage()
            arguments.add("ike", "road")
            if let text { arguments.add("timeout", text) }
            guard case .terminate(let request) = try ControlRequest(command: "terminate", arguments: arguments) else { return -99 }
            return request.timeoutMilliseconds
        }
        #expect(try timeout(nil) == nil)
        #expect(try timeout("0") == nil)
        #expect(try timeout("-1") == 0)
        #expect(try timeout("1500") == 1500)
    }

    @Test func filter_letsThroughWhatFitsEverythingGiven() {
        let session = Samples.session
        let fitting = [
            SessionFilter(), SessionFilter(connection: "road", uniqueID: 5, child: "net", childUniqueID: 7), SessionFilter(name: "road"),
            SessionFilter(name: "eu@example.net"), SessionFilter(name: "198.51.100.7"), SessionFilter(name: "10.20.0.1"),
            SessionFilter(name: "5"),
            SessionFilter(name: "8000000000000042"),
        ]
        for filter in fitting { #expect(filter.matches(session), "\(filter)") }
        let other = [
            SessionFilter(connection: "roads"), SessionFilter(connection: "road", uniqueID: 6), SessionFilter(child: "dmz"),
            SessionFilter(childUniqueID: 5), SessionFilter(name: "7"), SessionFilter(name: "gw.example.net"),
        ]
        for filter in other { #expect(!filter.matches(session), "\(filter)") }
    }

    @Test func algorithmNames_areStrongSwans() {
        #expect(AlgorithmName.encryption(20) == "AES_GCM_16")
        #expect(AlgorithmName.encryption(12) == "AES_CBC")
        #expect([13, 18, 19, 28].map(AlgorithmName.encryption) == ["AES_CTR", "AES_GCM_8", "AES_GCM_12", "CHACHA20_POLY1305"])
        #expect(AlgorithmName.prf(2) == "PRF_HMAC_SHA1" && AlgorithmName.integrity(2) == "HMAC_SHA1_96")
        #expect([2, 17, 18].map(AlgorithmName.keyExchange) == ["MODP_1024", "MODP_6144", "MODP_8192"])
        #expect(AlgorithmName.prf(6) == "PRF_HMAC_SHA2_384")
        #expect(AlgorithmName.integrity(14) == "HMAC_SHA2_512_256")
        #expect(AlgorithmName.keyExchange(31) == "CURVE_25519")
        #expect(AlgorithmName.keyExchange(999) == "(999)")
    }

    @Test func requests_thatChangeOrCarryKeys_areNotForThoseWhoMayLook() {
        let harmless: [ControlRequest] = [
            .version, .stats, .findSessions(SessionFilter()), .listConnections(name: nil), .listPools(name: nil, withLeases: true), .status,
            .events(after: 0), .unknown("x"),
        ]
        let others: [ControlRequest] = [
            .initiate(InitiateRequest(child: "a")), .terminate(TerminateRequest(child: "a")), .rekey(RekeyRequest(child: "a")),
            .get(GetRequest(name: "a")), .put(PutRequest(document: "a")), .switchover(force: false),
            .transfer(TransferRequest(name: "a", direction: .to, gateway: "b")), .rotate(days: 1),
        ]
        #expect(harmless.allSatisfy(\.isHarmless) && !others.contains(where: \.isHarmless))
    }

    @Test func rotate_readsBackAsItWasSaid_andRefusesOtherDays() throws {
        let said = try #require(ControlRequest.rotate(days: 77).vici())
        #expect(try ControlRequest(command: said.command, arguments: said.arguments) == .rotate(days: 77))
        #expect(try ControlRequest(command: "tandem-pair-rotate", arguments: VICIMessage()) == .rotate(days: 3650))
        for days in ["0", "36501", "x"] {
            var arguments = VICIMessage()
            arguments.add("days", days)
            #expect(throws: VICIError.badValue("days")) { try ControlRequest(command: "tandem-pair-rotate", arguments: arguments) }
        }
    }
}
