import Testing

@testable import Control

@Suite struct SummaryTests {
    // MARK: Sessions

    @Test func session_inTandemsForm_comesBackWhole() throws {
        #expect(try SASummary(vici: Samples.session.tandemVICI()) == Samples.session)
    }

    @Test func session_inStrongSwansForm_hasExactlyItsKeysInItsOrder() throws {
        let message = Samples.session.vici()
        #expect(message.sections.map(\.name) == ["road"])
        let section = try #require(message.section("road"))
        #expect(
            keys(section) == [
                "uniqueid", "version", "state", "local-host", "local-port", "local-id", "remote-host", "remote-port", "remote-id",
                "initiator", "initiator-spi", "responder-spi", "nat-local", "nat-any", "encr-alg", "encr-keysize", "prf-alg", "dh-group",
                "established", "rekey-time", "remote-vips", "tasks-active", "child-sas",
            ])
        let child = try #require(section.section("child-sas")?.section("net-7"))
        #expect(
            keys(child) == [
                "name", "uniqueid", "reqid", "state", "mode", "protocol", "encap", "spi-in", "spi-out", "encr-alg", "encr-keysize",
                "integ-alg", "dh-group", "esn", "bytes-in", "packets-in", "use-in", "bytes-out", "packets-out", "use-out", "rekey-time",
                "life-time", "install-time", "local-ts", "remote-ts",
            ])
        #expect(section["established"] == "65")
        #expect(section["initiator-spi"] == "0123456789abcdef")
        #expect(section["version"] == "2")
        #expect(child["spi-out"] == "00004567")
        #expect(child["esn"] == "1")
        #expect(child["encap"] == "yes")
        #expect(child.list("local-ts") == ["10.10.0.0/16", "10.11.0.0/16"])
    }

    @Test func session_inStrongSwansForm_comesBackInWholeSecondsWithoutTandemsFields() throws {
        let read = try SASummary(vici: Samples.session.vici())
        #expect(read.establishedMilliseconds == 65_000)
        #expect(read.children.first?.inboundUseMilliseconds == 1000)
        #expect(read.isInitiator && read.natLocal && !read.natRemote)
        #expect(read.owner.isEmpty && read.nextSendID == 0 && read.children.first?.leaseLimit == 0)
    }

    @Test func session_withAValueThatCannotBeRead_throwsItsKey() {
        for (key, text) in [("uniqueid", "-1"), ("initiator-spi", "xyz"), ("established-ms", "soon"), ("owned", "maybe")] {
            var message = VICIMessage()
            message.add(key, text)
            let outer = VICIMessage([.section(name: "road", message)])
            #expect(throws: VICIError.badValue(key)) { try SASummary(vici: outer) }
        }
        #expect(throws: VICIError.missing("IKE SA")) { try SASummary(vici: VICIMessage()) }
    }

    @Test func session_ofAnotherVersion_isReadAsFarAsItIsKnown() throws {
        var message = VICIMessage()
        message.add("uniqueid", "5")
        message.add("key-of-tomorrow", "x")
        message.add("section-of-tomorrow", section: VICIMessage())
        let read = try SASummary(vici: VICIMessage([.section(name: "road", message)]))
        #expect(read.name == "road" && read.uniqueID == 5 && read.children.isEmpty)
    }

    // MARK: The others

    @Test func status_comesBackWhole() throws {
        #expect(try StatusSummary(vici: Samples.status.vici()) == Samples.status)
        #expect(try StatusSummary(vici: StatusSummary().vici()) == StatusSummary())
    }

    @Test func smallSummaries_comeBackWhole() throws {
        let switchover = SwitchoverSummary(
            outcome: .refused, reason: "syncing", epoch: 9, owner: "sg1", sessions: 3, totalMicroseconds: 4100)
        #expect(try SwitchoverSummary(vici: switchover.vici()) == switchover)
        var maintenance = MaintenanceSummary()
        (maintenance.outcome, maintenance.reason, maintenance.maintenance, maintenance.role) = (.waiting, "no link", "draining", "active")
        (maintenance.owner, maintenance.epoch, maintenance.sessions, maintenance.totalMicroseconds) = ("sg1", 8, 3, 4321)
        #expect(try MaintenanceSummary(vici: maintenance.vici()) == maintenance)
        var transfer = TransferSummary(outcome: .failed, reason: "no", sessionID: 1 << 63, gateway: "sg3", method: .redirect)
        (transfer.contextBytes, transfer.installedMicroseconds, transfer.totalMicroseconds) = (4711, 1200, 3400)
        #expect(try TransferSummary(vici: transfer.vici()) == transfer)
        let event = EventSummary(
            index: 3, atMilliseconds: 1_795_400_000_000, level: "info", kind: "takeover", connection: "road", uniqueID: 5, text: "x")
        #expect(try EventSummary.events(vici: EventSummary.vici([event, EventSummary()])) == [event, EventSummary()])
        let done = DoneSummary(success: false, error: "no matching SAs", matches: 0, terminated: 0)
        #expect(try DoneSummary(vici: done.vici()) == done)
        #expect(try DoneSummary(vici: DoneSummary.success.vici()) == .success)
        let line = ControlLogLine(group: "IKE", level: 1, thread: 2, connection: "road", uniqueID: 5, message: "sending DELETE")
        #expect(try ControlLogLine(vici: line.vici()) == line)
        let stats = StatsSummary(
            uptimeMilliseconds: 725_000, startedMilliseconds: 1_795_390_000_000, ikeSAs: 3, halfOpen: 1, scheduled: 7, counters: ["a": 1])
        #expect(try StatsSummary(vici: stats.vici()) == stats)
        let pool = PoolSummary(
            name: "road", base: "10.20.0.1", size: 65_534, online: 1, offline: 2,
            leases: [LeaseSummary(address: "10.20.0.1", identity: "eu@example.net", isOnline: true)])
        #expect(try PoolSummary.pools(vici: PoolSummary.vici([pool])) == [pool])
        let connection = ConnectionSummary(
            name: "road", localAddresses: ["192.0.2.10"], remoteAddresses: ["%any"], rekeySeconds: 14_400, dpdSeconds: 30,
            local: AuthenticationSummary(method: "pre-shared key", identity: "gw"), remote: AuthenticationSummary(method: "pre-shared key"),
            children: [
                ChildConfigurationSummary(
                    name: "net", mode: "TUNNEL", rekeySeconds: 3600, localSelectors: ["10.10.0.0/16"], remoteSelectors: ["dynamic"])
            ])
        #expect(try ConnectionSummary(vici: connection.vici()) == connection)
    }

    @Test func stats_haveTheKeysThatSwanctlPrints() {
        let message = StatsSummary(
            uptimeMilliseconds: 725_000, startedMilliseconds: 1_795_390_000_000, ikeSAs: 3, halfOpen: 1, scheduled: 7, counters: [:]
        ).vici()
        #expect(message.section("uptime")?["running"] == "12 min 5 s")
        #expect(message.section("uptime")?["since"] == "2026-11-22 23:26:40.000 UTC")
        #expect(message.section("workers")?["total"] == "1")
        #expect(message.section("workers")?.section("active")?["medium"] == "1")
        #expect(message.section("queues")?["low"] == "0")
        #expect(message["scheduled"] == "7")
        #expect(message.section("ikesas")?["total"] == "3")
        #expect(message.section("ikesas")?["half-open"] == "1")
    }

    @Test func events_whenAsManyAsOneAnswerMayHoldAreAtTheirLongest_fitAPacket() throws {
        let longest = EventSummary(
            index: .max, atMilliseconds: .max, level: "warning", kind: "authentication-failed",
            connection: String(repeating: "c", count: 255),
            uniqueID: .max, text: String(repeating: "ü", count: 5000))
        let message = EventSummary.vici(Array(repeating: longest, count: ControlRequest.eventsMax))
        #expect(try VICIPacket.response(message).encode().count > 4)
    }

    @Test func upDownEvents_sayUpOnlyWhenUp_andIKESAsComeWithoutChildren() {
        let up = ControlEvent.ikeUpDown(isUp: true, Samples.session).vici()
        #expect(up["up"] == "yes")
        #expect(up.section("road")?.section("child-sas")?.sections.isEmpty == true)
        let down = ControlEvent.childUpDown(isUp: false, Samples.session).vici()
        #expect(down["up"] == nil)
        #expect(down.section("road")?.section("child-sas")?.section("net-7") != nil)
    }

    private func keys(_ message: VICIMessage) -> [String] {
        message.elements.map { element in
            switch element {
            case .section(let name, _), .value(let name, _), .list(let name, _): return name
            }
        }
    }
}
