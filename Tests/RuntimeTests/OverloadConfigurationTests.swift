import Node
import Session
import Testing

@testable import Runtime

@Suite struct OverloadConfigurationTests {
    private static let rest = """
        [connections.c]
        local = { auth = "psk" }
        remote = { auth = "psk" }
        children.net.local_ts = ["10.10.0.0/16"]
        [secrets.a]
        secret = "x"

        """

    private static func text(_ overload: String) -> String {
        "[node]\nname = \"gw\"\nid = 0\n[overload]\n\(overload)\n\(rest)"
    }

    private static func loaded(_ overload: String) throws -> OverloadConfiguration? {
        let folder = TemporaryFolder()
        return try Configuration.load(path: folder.write("t.toml", text(overload))).node.overload
    }

    @Test func section_whenAbsent_isOff() throws {
        let folder = TemporaryFolder()
        let path = folder.write("t.toml", "[node]\nname = \"gw\"\nid = 0\n\(Self.rest)")
        #expect(try Configuration.load(path: path).node.overload == nil)
    }

    @Test func section_inBothForms_isRead() throws {
        let short = try #require(try Self.loaded("cpu = \"90%\"\nsessions = 1000\nsessions_low = 900\nto = \"192.0.2.20\""))
        #expect(short.marks == [.cpu: LoadMark(high: 90, low: 72), .sessions: LoadMark(high: 1000, low: 900)])
        #expect(short.target == .address(IPAddress("192.0.2.20")!) && short.hold == .seconds(10) && short.redirectsNew)
        #expect(short.movedPercent == 10 && short.rate == 10)
        let long = try #require(
            try Self.loaded(
                """
                half_open = { high = 500, low = 100 }
                cpu = { high = "95%", low = "50%" }
                packets_per_second = 200000
                hold = "5s"
                redirect_new = false
                move_share = "25%"
                rate = 40
                to = "sg3.example.net"
                """))
        #expect(long.marks[.halfOpen] == LoadMark(high: 500, low: 100) && long.marks[.cpu] == LoadMark(high: 95, low: 50))
        #expect(long.marks[.packetsPerSecond] == LoadMark(high: 200_000, low: 160_000) && long.target == .name("sg3.example.net"))
        #expect(long.hold == .seconds(5) && !long.redirectsNew && long.movedPercent == 25 && long.rate == 40)
    }

    @Test func faults_areNamedWithLineAndKey() {
        for (overload, what) in [
            ("to = \"192.0.2.20\"", "t.toml:4: overload: names no load that is too much"),
            ("cpu = \"90%\"", "t.toml:4: overload.to: is missing"), ("cpu = \"90\"\nto = \"a.b\"", "t.toml:5: overload.cpu: "),
            ("cpu = 101\nto = \"a.b\"", "t.toml:5: overload.cpu: 101 is out of range"),
            ("cpu = 50\ncpu_low = 50\nto = \"a.b\"", "t.toml:6: overload.cpu_low: 50 is not below the high mark, 50"),
            ("cpu = 50\nsessions_low = 5\nto = \"a.b\"", "t.toml:6: overload.sessions_low: has no meaning without sessions"),
            ("cpu = { low = 5 }\nto = \"a.b\"", "t.toml:5: overload.cpu.high: is missing"),
            ("cpu = 50\nto = \"192.0.2.256\"", "t.toml:6: overload.to: "),
            ("cpu = 50\nrate = 0\nto = \"a.b\"", "t.toml:6: overload.rate: 0 is out of range"),
            ("cpu = 50\nspeed = 1\nto = \"a.b\"", "t.toml:6: overload.speed: unknown key"),
        ] {
            let folder = TemporaryFolder()
            let path = folder.write("t.toml", Self.text(overload))
            do throws(ConfigurationError) {
                _ = try Configuration.load(path: path)
                Issue.record("\(what): taken")
            } catch {
                let found = error.problems.map { $0.description.replacing("\(folder.path)/", with: "") }
                #expect(found.contains { $0.hasPrefix(what) }, "\(what): \(found)")
            }
        }
    }

    @Test func meter_tellsWhatWasDoneSinceTheLastLook() {
        var meter = LoadMeter()
        func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: 0) + .seconds(seconds) }
        let first = meter.sample(stat: "cpu  100 0 100 700 100 0 0 0 5 5\ncpu0 1\n", packetCount: 50, at: at(1))
        #expect(first == LoadSample(cpuPercent: nil, packetsPerSecond: nil), "one look says nothing")
        // 150 of 190 ticks at work; what waits for a disk does not work.
        let second = meter.sample(stat: "cpu  200 0 140 730 110 5 5 0 5 5\n", packetCount: 450, at: at(3))
        #expect(second == LoadSample(cpuPercent: 78, packetsPerSecond: 200))
        for text in [nil, "", "cpu", "cpu a b c d", "cpu 1 2 3", "intr 1 2 3 4", "cpu 1 2 3 99999999999999999999 5"] {
            #expect(meter.sample(stat: text, packetCount: 450, at: at(4)).cpuPercent == nil)
        }
        // Counters that begin anew.
        #expect(meter.sample(stat: nil, packetCount: 3, at: at(5)).packetsPerSecond == nil)
        #expect(meter.sample(stat: nil, packetCount: 5, at: at(5)).packetsPerSecond == nil)
    }
}
