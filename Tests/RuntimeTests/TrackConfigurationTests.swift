import Node
import Session
import Testing

@testable import Runtime

@Suite struct TrackConfigurationTests {
    private static let rest = """
        [connections.c]
        local = { auth = "psk" }
        remote = { auth = "psk" }
        children.net.local_ts = ["10.10.0.0/16"]
        [secrets.a]
        secret = "x"

        """

    private static func text(_ track: String) -> String { "[node]\nname = \"gw\"\nid = 0\n\(track)\n\(rest)" }

    private static func loaded(_ track: String, _ folder: TemporaryFolder = TemporaryFolder()) throws -> NodeConfiguration {
        try Configuration.load(path: folder.write("t.toml", text(track))).node
    }

    @Test func section_whenAbsent_tracksWhatCarriesTheSharedAddresses() throws {
        let track = try Self.loaded(
            """
            [[address]]
            address = "192.0.2.10/24"
            interface = "eth0"
            [[address]]
            address = "192.0.2.11/24"
            interface = "eth0"
            [[address]]
            address = "10.10.0.1/16"
            interface = "eth1"
            """
        ).track
        #expect(track.interfaces == ["eth0", "eth1"] && track.scripts.isEmpty)
        #expect(track.memoryPercent == 95 && track.descriptorsPercent == 90 && track.clockJump == .seconds(5))
        #expect(track.dataPlaneFailures == 10)
    }

    @Test func section_isRead() throws {
        let folder = TemporaryFolder()
        let program = folder.write("check", "#!/bin/sh\n", mode: 0o755)
        let track = try Self.loaded(
            """
            [[address]]
            address = "192.0.2.10/24"
            interface = "eth0"
            [track]
            interfaces = []
            memory = "80%"
            descriptors = "off"
            clock_jump = "off"
            data_plane_failures = 0
            handovers = 5
            window = "1h"
            hold_down = "1m"
            hold_down_max = "2h"
            [[track.script]]
            name = "backend"
            command = ["\(program)", "-q", "10.10.0.80"]
            interval = "2s"
            timeout = "500ms"
            rise = 4
            fall = 5
            [[track.script]]
            name = "other"
            command = ["\(program)"]
            """, folder
        ).track
        #expect(track.interfaces.isEmpty && track.memoryPercent == 80 && track.descriptorsPercent == nil && track.clockJump == nil)
        #expect(track.dataPlaneFailures == nil)
        #expect(track.damping.handovers == 5 && track.damping.window == .seconds(3600))
        #expect(track.damping.holdDown == .seconds(60) && track.damping.holdDownMax == .seconds(7200))
        let script = try #require(track.scripts.first)
        #expect(script.name == "backend" && script.command == [program, "-q", "10.10.0.80"] && script.interval == .seconds(2))
        #expect(script.timeout == .milliseconds(500) && script.rise == 4 && script.fall == 5)
        #expect(track.scripts[1] == TrackedScript(name: "other", command: [program]))
    }

    @Test func faults_areNamedWithLineAndKey() {
        let folder = TemporaryFolder()
        let program = folder.write("check", "#!/bin/sh\n", mode: 0o755)
        let open = folder.write("open", "#!/bin/sh\n", mode: 0o777)
        func script(_ lines: String) -> String { "[[track.script]]\n\(lines)" }
        for (track, what) in [
            ("[track]\ninterface = [\"eth0\"]", "t.toml:5: track.interface: unknown key; did you mean interfaces?"),
            ("[track]\ninterfaces = [\"eth0\", \"eth0\"]", "t.toml:5: track.interfaces: names eth0 twice"),
            ("[track]\ninterfaces = [\"an interface\"]", "t.toml:5: track.interfaces: \"an interface\" is not the name of an interface"),
            ("[track]\nmemory = \"5%\"", "t.toml:5: track.memory: "), ("[track]\nclock_jump = \"10ms\"", "t.toml:5: track.clock_jump: "),
            ("[track]\nhold_down = \"1h\"\nhold_down_max = \"1m\"", "t.toml:6: track.hold_down_max: 1m is below hold_down, 1h"),
            (script("command = [\"\(program)\"]"), "t.toml:4: track.script[0].name: is missing"),
            (script("name = \"a\""), "t.toml:4: track.script[0].command: is missing"),
            (script("name = \"a b\"\ncommand = [\"\(program)\"]"), "t.toml:5: track.script[0].name: "),
            (
                script("name = \"a\"\ncommand = \"\(program) -q\""),
                "t.toml:6: track.script[0].command: is not an array of strings; write"
            ), (script("name = \"a\"\ncommand = [\"true\"]"), "t.toml:6: track.script[0].command: \"true\" is not an absolute path"),
            (script("name = \"a\"\ncommand = [\"\(open)\"]"), "t.toml:6: track.script[0].command: \(open) can be written by others"),
            (
                script("name = \"a\"\ncommand = [\"\(program)\"]\n[[track.script]]\nname = \"a\"\ncommand = [\"\(program)\"]"),
                "t.toml:8: track.script[1].name: \"a\" is the name of another script"
            ), (script("name = \"a\"\ncommand = [\"\(program)\"]\nfall = 0"), "t.toml:7: track.script[0].fall: 0 is out of range"),
        ] {
            let path = folder.write("t.toml", Self.text(track))
            do throws(ConfigurationError) {
                _ = try Configuration.load(path: path)
                Issue.record("\(what): taken")
            } catch {
                let found = error.problems.map { $0.description.replacing("\(folder.path)/t.toml", with: "t.toml") }
                #expect(found.contains { $0.hasPrefix(what) }, "\(what): \(found)")
            }
        }
    }

    /// A guard must do its duty whatever a script looks like.
    @Test func scriptThatIsGone_keepsNoHostFromFencing() throws {
        let folder = TemporaryFolder()
        let path = folder.write("t.toml", Self.text("[[track.script]]\nname = \"a\"\ncommand = [\"/nowhere\"]"))
        #expect(throws: ConfigurationError.self) { try Configuration.load(path: path) }
        #expect(try Configuration.load(path: path, for: .fencing).node.name == "gw")
    }
}
