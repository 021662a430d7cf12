import Node
import Pair
import Session
import Testing

@testable import Runtime

@Suite struct ArbitrationConfigurationTests {
    /// `sg1.toml` with more behind its paths.
    private static func loaded(_ more: String) throws -> Configuration {
        let folder = try pairFolder()
        let text = try #require(readText("\(samples)/sg1.toml"))
        return try Configuration.load(path: folder.write("sg1.toml", text + "\n" + more + "\n"))
    }

    private static func problem(_ more: String) -> String {
        do {
            _ = try loaded(more)
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func sections_whenAbsent_askNobody() throws {
        let configuration = try Self.loaded("")
        #expect(configuration.arbitration.isEmpty && configuration.node.pair?.arbitration == ArbitrationPlan.none)
    }

    @Test func witness_isRead() throws {
        let least = try Self.loaded("[witness]\nendpoints = [\"http://10.9.0.1:2379\"]\nkey = \"tandem/road\"")
        let plan = try #require(least.node.pair?.arbitration.witness)
        #expect(plan == .init(timeout: .milliseconds(100), ttl: .seconds(3), whenUnreachable: .yield))
        #expect(least.arbitration.witness?.endpoints.map(\.description) == ["http://10.9.0.1:2379"])
        #expect(least.arbitration.witness?.key == "tandem/road")
        let more = try Self.loaded(
            """
            [witness]
            endpoints = ["http://10.9.0.1:2379", "http://[2001:db8::9]"]
            key = "k"
            ttl = "10s"
            timeout = "250ms"
            when_unreachable = "stay"
            """)
        #expect(more.node.pair?.arbitration.witness == .init(timeout: .milliseconds(250), ttl: .seconds(10), whenUnreachable: .stay))
        #expect(more.arbitration.witness?.ttlSeconds == 10 && more.arbitration.witness?.endpoints.count == 2)
    }

    @Test func programs_areReadWithTheirArguments() throws {
        let configuration = try Self.loaded(
            """
            [reachability]
            command = ["/bin/ls", "-l", "/a b"]
            timeout = "200ms"
            [fencing]
            command = ["/bin/ls"]
            timeout = "8s"
            on_failure = "go_on"
            """)
        #expect(configuration.arbitration.check == .init(arguments: ["/bin/ls", "-l", "/a b"], timeout: .milliseconds(200)))
        #expect(configuration.node.pair?.arbitration.check == .init(timeout: .milliseconds(200)))
        #expect(configuration.arbitration.fencing == .init(arguments: ["/bin/ls"], timeout: .seconds(8)))
        #expect(configuration.node.pair?.arbitration.fencing == .init(timeout: .seconds(8), goesOnAfterFailure: true))
    }

    @Test func faults_areNamedWithTheirKey() {
        let faults = [
            ("[witness]\nkey = \"k\"", "witness.endpoints: is missing"),
            ("[witness]\nendpoints = [\"http://a\"]", "witness.key: is missing"),
            ("[witness]\nendpoints = [\"a:1\"]\nkey = \"k\"", "\"a:1\" is not an etcd's URL"),
            ("[witness]\nendpoints = []\nkey = \"k\"", "names no etcd"),
            ("[witness]\nendpoints = [\"http://a\"]\nkey = \"k\"\nttl = \"1s\"", "witness.ttl: 1s is out of range"),
            ("[witness]\nendpoints = [\"http://a\"]\nkey = \"k\"\nwhen_unreachable = \"perhaps\"", "use yield, stay"),
            ("[witness]\nendpoints = [\"http://a\"]\nkey = \"k\"\nca = \"pair/sg1.crt\"", "witness.ca: has no meaning without TLS"),
            ("[witness]\nendpoints = [\"http://a\"]\nkey = \"k\"\nusername = \"u\"", "has no meaning without password_file"),
            ("[reachability]\ntimeout = \"1s\"", "reachability.command: is missing"),
            ("[reachability]\ncommand = [\"ping\"]", "is not an absolute path"),
            ("[fencing]\ncommand = [\"/nowhere\"]", "cannot find /nowhere"),
            ("[fencing]\ncommand = [\"/bin/ls\"]\non_failure = \"hope\"", "use refuse, go_on"),
            ("[[pair.path]]\nlocal = \"10.2.0.1:4510\"\nremote = \"10.2.0.2:4510\"\npreference = 300", "preference: 300 is out of range"),
        ]
        for (text, what) in faults { #expect(Self.problem(text).contains(what), "\(text): \(Self.problem(text))") }
    }

    @Test func peer_ofOurOwnName_isAFault() throws {
        let folder = try pairFolder()
        let text = try #require(readText("\(samples)/sg1.toml")).replacing("peer = \"sg2\"", with: "peer = \"sg1\"")
        do {
            _ = try Configuration.load(path: folder.write("sg1.toml", text))
            Issue.record("it was taken")
        } catch {
            #expect("\(error)".contains("pair.peer: \"sg1\" is this node's own name"))
        }
    }

    /// A host gives up what it has, whatever is wrong with whom it would ask.
    @Test func fencingOfThisHost_doesNotMind() throws {
        let folder = try pairFolder()
        let text = try #require(readText("\(samples)/sg1.toml")) + "\n[fencing]\ncommand = [\"/nowhere\"]\n"
        let path = folder.write("sg1.toml", text)
        #expect(throws: ConfigurationError.self) { try Configuration.load(path: path) }
        _ = try Configuration.load(path: path, for: .fencing)
    }

    @Test func sample_isRead() throws {
        let folder = try pairFolder()
        let text = try #require(readText("\(samples)/witness.toml"))
        let configuration = try Configuration.load(path: folder.write("sg1.toml", text))
        #expect(configuration.node.pair?.arbitration.witness != nil)
        #expect(configuration.node.pair?.paths.map(\.preference) == [0, 1])
    }
}
