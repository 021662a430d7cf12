import Cryptography
import Glibc
import IKE
import Node
import Session
import Testing

@testable import Runtime

/// The folder of the samples, beside this file's package.
let samples = "\(#filePath.split(separator: "/").dropLast(3).map { "/\($0)" }.joined())/Config"

/// A folder with the keys of a pair and a shared secret, as the samples name them.
func pairFolder() throws -> TemporaryFolder {
    let folder = TemporaryFolder()
    folder.makeFolder("pair")
    for name in ["sg1", "sg2"] {
        let identity = try PairIdentity.generate(name: name, validDays: 10)
        folder.write("pair/\(name).crt", identity.certificatePEM, mode: 0o644)
        folder.write("pair/\(name).key", String(decoding: identity.keyPEM.copyBytes(), as: UTF8.self))
    }
    folder.write("road.psk", "0x0102ff\n")
    return folder
}

/// What every configuration needs.
let minimal = """
    [node]
    name = "gw"
    id = 0
    [connections.road]
    local = { auth = "psk" }
    remote = { auth = "psk" }
    [connections.road.children.net]
    local_ts = ["10.10.0.0/16"]
    [secrets.shared]
    secret = "correct horse"

    """

/// The problems of a configuration with `text`, without the folder's name.
private func problems(of text: String, mode: mode_t = 0o600, in folder: TemporaryFolder = TemporaryFolder()) -> [String] {
    let file = folder.write("tandem.toml", text, mode: mode)
    do throws(ConfigurationError) {
        _ = try Configuration.load(path: file)
        return []
    } catch {
        return error.problems.map { String($0.description.dropFirst(folder.path.count + 1)) }
    }
}

@Suite struct ConfigurationTests {
    @Test func replayProtection_whenConfigured_isThatOrRefused() throws {
        let folder = try pairFolder()
        let sample = try #require(readText("\(samples)/sg1.toml"))
        func loaded(_ line: String) throws -> ReplayProtection? {
            let text = sample.replacing("[pair]\n", with: "[pair]\n\(line)\n")
            return try Configuration.load(path: folder.write("sg1.toml", text)).node.pair?.replayProtection
        }
        #expect(try loaded("") == .window)
        #expect(try loaded("replay_protection = \"window\"") == .window)
        #expect(try loaded("replay_protection = \"strict\"") == .strict)
        #expect(throws: ConfigurationError.self) { try loaded("replay_protection = \"strong\"") }
    }

    @Test func preferredNode_isNobodyByDefault_andOneOfTheTwo() throws {
        let folder = try pairFolder()
        let sample = try #require(readText("\(samples)/sg1.toml"))
        func loaded(_ line: String) throws -> PreferredNode? {
            let text = sample.replacing("[pair]\n", with: "[pair]\n\(line)\n")
            return try Configuration.load(path: folder.write("sg1.toml", text)).node.preferred
        }
        #expect(try loaded("") == nil)
        #expect(try loaded("prefer = \"none\"\npreempt_delay = \"5s\"") == nil)
        #expect(try loaded("prefer = \"sg1\"") == PreferredNode(isOwn: true, name: "sg1", delay: .seconds(60)))
        #expect(
            try loaded("prefer = \"sg2\"\npreempt_delay = \"5m\"") == PreferredNode(isOwn: false, name: "sg2", delay: .seconds(300)))
        for wrong in ["prefer = \"sg3\"", "preempt_delay = \"5s\"", "prefer = \"sg1\"\npreempt_delay = 0"] {
            #expect(throws: ConfigurationError.self) { try loaded(wrong) }
        }
    }

    @Test func samplesOfAPair_whenLoaded_agreeWithEachOther() throws {
        let folder = try pairFolder()
        let nodes = try ["sg1", "sg2"].map { name in
            try Configuration.load(path: folder.write("\(name).toml", try #require(readText("\(samples)/\(name).toml"))))
        }
        #expect(nodes.map(\.node.id) == [.zero, .one])
        #expect(nodes.map(\.node.name) == ["sg1", "sg2"])
        #expect(nodes.map { $0.node.pair?.peerName } == ["sg2", "sg1"])
        let pairs = try nodes.map { try #require($0.node.pair) }
        #expect(pairs[0].secret == pairs[1].secret)
        #expect(pairs[0].paths.map(\.local) == pairs[1].paths.map(\.remote))
        #expect(pairs[0].heartbeatInterval == .milliseconds(50) && pairs[0].deadAfter == 3 && pairs[0].commitTimeout == .milliseconds(20))
        #expect(nodes[0].node.ike.connections == nodes[1].node.ike.connections)
        #expect(nodes[0].node.addresses == nodes[1].node.addresses)
        #expect(nodes[0].listenAddresses == [IPAddress("192.0.2.10")!])
        let road = try #require(nodes[0].node.ike.connections.first)
        #expect(road.livenessDelay == .seconds(30) && road.remoteAddresses.isEmpty && road.remoteIdentity == nil)
        #expect(road.localIdentity == Identity(text: "gw.example.net"))
        #expect(road.children.first?.remoteSelectors == [.dynamic])
        #expect(nodes[0].node.ike.secrets.first?.secret == SecretBytes([1, 2, 255]))
        #expect(nodes[0].node.ike.secrets.first?.identities == [Identity(text: "gw.example.net"), nil])
        let pool = try #require(nodes[0].node.ike.pools.first)
        #expect("\(pool.first) \(pool.last) \(pool.network)" == "10.20.0.1 10.20.255.254 10.20.0.0/16")
    }

    @Test func samples_whenEveryDefaultIsWrittenOut_meanTheSame() throws {
        let folder = try pairFolder()
        let text = try #require(readText("\(samples)/sg1.toml"))
        let explicit = text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.hasPrefix("# ") && $0.contains(" = ") ? $0.dropFirst(2) : $0 }.joined(separator: "\n")
            .replacing("guard_program = \"/usr/sbin/tandemd\"", with: "")
        #expect(explicit.contains("\nretransmit_tries = 5\n"))
        let left = try Configuration.load(path: folder.write("sg1.toml", text))
        let right = try Configuration.load(path: folder.write("explicit.toml", explicit))
        #expect(left.runtime == right.runtime && left.dataPlane == right.dataPlane)
        #expect(left.node.ike.limits == right.node.ike.limits && left.node.ike.connections == right.node.ike.connections)
        #expect(left.node.ike.pools == right.node.ike.pools)
    }

    @Test func mobility_whenConfigured_isRead() throws {
        let folder = try pairFolder()
        let text = try #require(readText("\(samples)/minimal.toml"))
        let more = text.replacing(
            "[connections.road]\n",
            with: """
                [ike]
                keep_alive = "5s"
                [connections.road]
                mobike_addresses = ["192.0.2.77", "2001:db8::77"]
                mobike_check = "after"

                """)
        #expect(more != text)
        let configuration = try Configuration.load(path: folder.write("m.toml", more))
        let road = try #require(configuration.node.ike.connections.first)
        #expect(road.mobike && road.addressCheck == .after)
        #expect(road.additionalAddresses == [IPAddress("192.0.2.77")!, IPAddress("2001:db8::77")!])
        #expect(configuration.node.ike.limits.keepAliveInterval == .seconds(5))
        let less = more.replacing("\"5s\"", with: "0").replacing("mobike_check = \"after\"", with: "mobike = false")
        let other = try Configuration.load(path: folder.write("n.toml", less))
        #expect(other.node.ike.limits.keepAliveInterval == nil && other.node.ike.connections.first?.mobike == false)
    }

    /// The samples of two cities, with the keys of the other pair.
    private func cities() throws -> (TemporaryFolder, [String]) {
        let folder = try pairFolder()
        let texts = try ["city1", "city2"].map { name in
            try #require(readText("\(samples)/\(name).toml"))
                .replacing("pair/city1", with: "pair/sg1").replacing("pair/city2", with: "pair/sg2")
        }
        return (folder, texts)
    }

    /// What nobody can know without [pair] is not said on top of what is wrong with it.
    @Test func sampleOfACity_withoutThePairsFiles_namesThemAlone() throws {
        let said = problems(of: try #require(readText("\(samples)/city1.toml")))
        #expect(said.contains { $0.contains("pair.certificate") })
        #expect(!said.contains { $0.contains("addresses of its own") }, "\(said)")
    }

    @Test func samplesOfTwoCities_whenLoaded_areEachOthersCounterparts() throws {
        let (folder, texts) = try cities()
        let nodes = try texts.map { try Configuration.load(path: folder.write("city.toml", $0)) }
        let addresses = nodes.map(\.node.nodeAddresses)
        #expect(addresses[0].own == addresses[1].peer && addresses[0].peer == addresses[1].own)
        #expect(nodes.map(\.listenAddresses) == addresses.map(\.own), "nobody listens at the other's")
        #expect(nodes.allSatisfy { $0.node.addresses.isEmpty && $0.warnings.isEmpty })
        #expect(nodes[0].node.ike.connections == nodes[1].node.ike.connections)
        #expect(addresses[0].here(Endpoint(addresses[0].peer[0], 4500)) == Endpoint(addresses[0].own[0], 4500))
        // Where any address will do, ours is the one.
        let any = texts[0].replacing("local_addrs = [\"198.51.100.10\", \"203.0.113.10\"]\n", with: "")
        #expect(try Configuration.load(path: folder.write("any.toml", any)).listenAddresses == addresses[0].own)
        let still = texts[0].replacing("dpd_delay = \"30s\"", with: "mobike = false")
        #expect(try Configuration.load(path: folder.write("still.toml", still)).warnings.map(\.key) == ["connections.road.mobike"])
    }

    @Test(arguments: [
        ("node = \"city2\"", "node = \"city3\"", "\"city3\" is neither this node nor its peer"),
        ("node = \"city2\"", "node = \"city2\"\ninterface = \"eth0\"", "interface: goes with an address that moves"),
        ("address = \"203.0.113.10\"\n", "address = \"2001:db8::10\"\n", "city1 has 1 IPv4 addresses of its own and city2 has 0"),
        ("address = \"203.0.113.10\"\n", "address = \"198.51.100.10\"\n", "198.51.100.10 is named twice"),
        (
            "local_addrs = [\"198.51.100.10\", \"203.0.113.10\"]", "local_addrs = [\"198.51.100.10\"]",
            "names 198.51.100.10 and not 203.0.113.10"
        ),
    ])
    func addressesOfNodes_thatCannotBe_areRefused(old: String, new: String, problem: String) throws {
        let (folder, texts) = try cities()
        let changed = texts[0].replacing(old, with: new)
        #expect(changed != texts[0])
        let found = problems(of: changed, in: folder)
        #expect(found.contains { $0.contains(problem) }, "\(found)")
    }

    @Test func addressOfANode_withoutAPair_isRefused() {
        let found = problems(of: minimal + "[[address]]\naddress = \"192.0.2.1\"\nnode = \"gw\"\n")
        #expect(found.contains { $0.contains("there is no [pair]") }, "\(found)")
    }

    @Test func minimalSample_whenLoaded_standsAlone() throws {
        let folder = try pairFolder()
        let configuration = try Configuration.load(path: folder.write("m.toml", try #require(readText("\(samples)/minimal.toml"))))
        #expect(configuration.node.pair == nil && configuration.pairLink == nil)
        #expect(configuration.listenAddresses.isEmpty)
        #expect(configuration.node.ike.connections.first?.proposals == ProposalText.ikeDefaults)
    }

    @Test func poolsAndPrograms_whenLoaded_areWhatWasWritten() throws {
        let folder = TemporaryFolder()
        let program = folder.write("updown", "#!/bin/sh\n", mode: 0o755)
        let pools = """
            [pools.first]
            addrs = "10.20.0.0/24"
            persistent = true
            lease_time = "30d"
            [pools.second]
            addrs = "10.21.0.0/24"
            """
        let text =
            minimal.replacing("[connections.road]\n", with: "[connections.road]\npools = [\"first\", \"second\"]\n")
            .replacing("local_ts", with: "updown = \"\(program)\"\nlocal_ts") + pools
        let ike = try Configuration.load(path: folder.write("t.toml", text)).node.ike
        #expect(ike.pools.map(\.isPersistent) == [true, false] && ike.pools.map(\.leaseTime) == [.seconds(30 * 86400), nil])
        #expect(ike.connections[0].pools == ["first", "second"] && ike.connections[0].children[0].hook == program)
        chmod(program, 0o777)
        let found = problems(of: text.replacing("persistent = true", with: "persistent = false"), in: folder)
        #expect(found.count == 2)
        #expect(found.contains { $0.contains("children.net.updown") && $0.contains("can be written by others (mode 777)") })
        #expect(found.contains { $0.contains("pools.first.lease_time: has no meaning without persistent") })
    }

    @Test func manyFaults_whenLoaded_areAllNamedWithLineKeyAndRemedy() throws {
        let found = problems(
            of: """
                [node]
                name = "gw"
                id = 2
                [dataplane]
                kind = "quantum"
                [connections.road]
                local_adrs = ["192.0.2.1"]
                proposals = [
                  "aes256-sha257-modp2048", "aes256-md5-ecp256",
                  "aes256gcm16-ecp256"]
                rekey_time = "1y"
                mobike = "perhaps"
                local = { auth = "psk", id = 5 }
                remote = { auth = "eap-md5" }
                dpd_delay = "soon"
                children.net.local_ts = ["10.1.0.0/33"]
                children.net.mode = "beet"
                [secrets.shared]
                secret = "x"
                """)
        #expect(
            found == [
                "tandem.toml:3: node.id: 2 is out of range; use 0 to 1",
                "tandem.toml:5: dataplane.kind: \"quantum\" is not one of its values; use auto, kernel, user",
                "tandem.toml:7: connections.road.local_adrs: unknown key; did you mean local_addrs?",
                "tandem.toml:8: connections.road.proposals: \"sha257\" is not an algorithm that Tandem has; did you mean sha256?",
                "tandem.toml:8: connections.road.proposals: \"md5\" is too weak (RFC 8221, RFC 8247); write sha256",
                "tandem.toml:8: connections.road.proposals: \"aes256gcm16-ecp256\" names no PRF; add one, as in aes256gcm16-ecp256-prfsha256",
                "tandem.toml:11: connections.road.rekey_time: \"1y\" is not a duration; "
                    + "write \"50ms\", \"30s\", \"5m\", \"1h\", or whole seconds",
                "tandem.toml:12: connections.road.mobike: is a string; it must be true or false",
                "tandem.toml:13: connections.road.local.id: is an integer; it must be a string",
                "tandem.toml:14: connections.road.remote.auth: \"eap-md5\" is not supported; "
                    + "use one of psk, pubkey, rsa, ecdsa, ed25519, rsa/pss, rsa/pkcs1, rsa-sha1",
                "tandem.toml:15: connections.road.dpd_delay: \"soon\" is not a duration; "
                    + "write \"50ms\", \"30s\", \"5m\", \"1h\", or whole seconds",
                "tandem.toml:16: connections.road.children.net.local_ts: \"10.1.0.0/33\" is not a traffic selector, "
                    + "as in 10.1.0.0/16, 10.1.0.1[tcp/443] or dynamic; correct it",
                "tandem.toml:17: connections.road.children.net.mode: \"beet\" is not one of its values; use tunnel, transport",
            ])
    }

    private func load(_ text: String) throws -> Configuration {
        let folder = TemporaryFolder()
        return try Configuration.load(path: folder.write("tandem.toml", text))
    }

    /// Defaults and meaning are swanctl's.
    @Test func lifetimes_whenLoaded_haveSwanctlsDefaults() throws {
        let plain = try load(minimal).node.ike.connections[0]
        #expect(plain.lifetime == LifetimeConfiguration(rekey: .seconds(14400), end: .seconds(15840), random: .seconds(1440)))
        #expect(plain.children[0].lifetime == LifetimeConfiguration(rekey: .seconds(3600), end: .seconds(3960), random: .seconds(360)))
        #expect(plain.children[0].bytes == VolumeConfiguration() && plain.fragmentation == .yes)
        let given = try load(
            minimal.replacing(
                "[connections.road.children.net]",
                with: """
                    rekey_time = "10m"
                    over_time = "2m"
                    rand_time = "1m"
                    fragmentation = false
                    [connections.road.children.net]
                    rekey_time = 0
                    life_time = "90s"
                    rekey_bytes = 1000
                    life_packets = 7
                    mode = "transport"
                    """)
        ).node.ike.connections[0]
        #expect(given.lifetime == LifetimeConfiguration(rekey: .seconds(600), end: .seconds(720), random: .seconds(60)))
        #expect(given.fragmentation == .no)
        #expect(given.children[0].lifetime == LifetimeConfiguration(rekey: nil, end: .seconds(90), random: .zero))
        #expect(given.children[0].bytes == VolumeConfiguration(rekey: 1000, end: 1100, random: 100))
        #expect(given.children[0].packets == VolumeConfiguration(rekey: nil, end: 7, random: 0))
        #expect(given.children[0].mode == .transport)
        let found = problems(
            of: minimal.replacing(
                "[connections.road.children.net]",
                with: "[connections.road.children.net]\nrekey_time = \"10m\"\nlife_time = \"5m\"\nrand_time = \"1h\""))
        #expect(found.map { $0.contains("life_time: is not after rekey_time") || $0.contains("rand_time: is not less") } == [true, true])
    }

    @Test func startKeys_whenWritten_areRead() throws {
        let folder = try pairFolder()
        func connection(_ keys: String, child: String) throws -> ConnectionConfiguration {
            let text = minimal.replacing("[connections.road]", with: "[connections.road]\nremote_addrs = [\"192.0.2.200\"]\n" + keys)
                .replacing("[connections.road.children.net]", with: "[connections.road.children.net]\n" + child)
            return try #require(Configuration.load(path: folder.write("start.toml", text)).node.ike.connections.first)
        }
        let plain = try connection("", child: "")
        #expect(plain.unique == .no && plain.childless == .allow && plain.reauthenticationTime == nil && plain.followsRedirects)
        #expect(
            plain.children[0].startAction == [] && plain.children[0].closeAction == .clear && plain.children[0].deadPeerAction == .clear)
        let set = try connection(
            "unique = \"replace\"\nchildless = \"force\"\nreauth_time = \"8h\"\nfollow_redirects = false\n",
            child: "start_action = \"trap|start\"\nclose_action = \"none\"\n")
        #expect(set.unique == .replace && set.childless == .force && set.reauthenticationTime == .seconds(28800) && !set.followsRedirects)
        #expect(set.children[0].startAction == [.start, .trap] && set.children[0].closeAction == .clear)
        #expect(set.children[0].deadPeerAction == .restart, "what is to be there comes again by default")
        #expect(try connection("", child: "start_action = \"trap\"\n").children[0].deadPeerAction == .trap)
    }

    @Test func startKeys_withNobodyToCall_areRefused() throws {
        let text = minimal.replacing("[connections.road.children.net]", with: "[connections.road.children.net]\nstart_action = \"start\"")
        let found = problems(of: text)
        #expect(found.count == 1 && found[0].contains("children.net.start_action: there is nobody to call"))
    }

    @Test func secretFile_whenOthersMayReadIt_isRefusedWithTheFix() throws {
        let folder = try pairFolder()
        chmod("\(folder.path)/road.psk", 0o640)
        let text = minimal.replacing("secret = \"correct horse\"", with: "file = \"road.psk\"")
        let found = problems(of: text, in: folder)
        let path = "\(folder.path)/road.psk"
        #expect(found == ["tandem.toml:10: secrets.shared.file: \(path) can be read by others (mode 640); run: chmod 600 \(path)"])
        chmod(path, 0o600)
        #expect(problems(of: text, in: folder) == [])
    }

    @Test func inlineSecret_whenOthersMayReadTheConfiguration_isRefused() {
        #expect(problems(of: minimal) == [])
        #expect(problems(of: minimal, mode: 0o644).first?.contains("secrets.shared.secret") == true)
    }

    /// A host whose peers' files are being replaced can still be fenced; one whose own addresses are not readable cannot.
    @Test func peersFiles_whenMissing_doNotKeepFromFencing() throws {
        let folder = try pairFolder()
        let text = minimal.replacing("secret = \"correct horse\"", with: "file = \"gone.psk\"")
        let file = folder.write("tandem.toml", text)
        #expect(throws: ConfigurationError.self) { try Configuration.load(path: file) }
        #expect(
            try Configuration.load(path: file, for: .fencing).node.name
                == Configuration.load(path: folder.write("m.toml", minimal)).node.name)
        let broken = folder.write("broken.toml", text + "\n[[address]]\naddress = \"nowhere\"\ninterface = \"eth0\"\n")
        #expect(throws: ConfigurationError.self) { try Configuration.load(path: broken, for: .fencing) }
    }

    @Test func pairKey_whenExposedOrForeign_isRefused() throws {
        let folder = try pairFolder()
        let text = try #require(readText("\(samples)/sg1.toml"))
        chmod("\(folder.path)/pair/sg1.key", 0o644)
        #expect(problems(of: text, in: folder).first?.contains("pair.key: \(folder.path)/pair/sg1.key can be read by others") == true)
        chmod("\(folder.path)/pair/sg1.key", 0o600)
        let swapped = text.replacing("peer_certificate = \"pair/sg2.crt\"", with: "peer_certificate = \"pair/sg1.crt\"")
        #expect(problems(of: swapped, in: folder).first?.contains("is this node's own certificate") == true)
        folder.write("pair/sg2.crt", "-----BEGIN NONSENSE-----\n")
        #expect(problems(of: text, in: folder).first?.contains("is not a certificate in PEM") == true)
    }

    @Test func missingSections_whenLoaded_areNamed() {
        let found = problems(of: "")
        #expect(found.contains { $0.contains("node: is missing") } && found.contains { $0.contains("connections: is missing") })
    }

    /// A TUN device takes no less than what IPv6 demands: `tandem check` says so, and not the start.
    @Test func mtu_whenNoDeviceTakesIt_isRefused() {
        #expect(
            problems(of: minimal + "[dataplane]\nmtu = 1279\n") == ["tandem.toml:12: dataplane.mtu: 1279 is out of range; use 1280 to 9000"]
        )
        #expect(problems(of: minimal + "[dataplane]\nmtu = 1280\n") == [])
    }

    @Test func conntrack_whenGiven_isTakenOrNamed() throws {
        let folder = TemporaryFolder()
        func settings(_ section: String) throws -> ConntrackSettings {
            try Configuration.load(path: folder.write("tandem.toml", minimal + section)).conntrack
        }
        #expect(try settings("") == ConntrackSettings())
        #expect(try settings("[conntrack]\nenable = \"auto\"\nlimit = 9\n").limit == 9)
        #expect(try settings("[conntrack]\nenable = true\n").enable == .yes)
        #expect(try settings("[conntrack]\nenable = false\n").enable == .no)
        #expect(
            problems(of: minimal + "[conntrack]\nenable = \"perhaps\"\nlimit = 0\n") == [
                "tandem.toml:12: conntrack.enable: \"perhaps\" is not one of its values; use auto, yes, no",
                "tandem.toml:13: conntrack.limit: 0 is out of range; use 1 to 4194304",
            ])
    }

    @Test func limits_whenGiven_areTakenOrNamed() throws {
        let folder = TemporaryFolder()
        let text = minimal + "[ike]\nhalf_open_per_address_max = 9\nclear_errors_per_second = 0\n"
        let limits = try Configuration.load(path: folder.write("tandem.toml", text)).node.ike.limits
        #expect(limits.halfOpenPerAddressMax == 9 && limits.clearErrorsPerSecond == 0 && limits.halfOpenMax == IKELimits().halfOpenMax)
        #expect(
            problems(of: minimal + "[ike]\nhalf_open_per_address_max = 0\nclear_errors_per_second = -1\n") == [
                "tandem.toml:12: ike.half_open_per_address_max: 0 is out of range; use 1 to 1048576",
                "tandem.toml:13: ike.clear_errors_per_second: -1 is out of range; use 0 to 100000",
            ])
    }

    /// The parser behind it ends the program at such a header.
    @Test(arguments: ["[é]", "[[é.path]]", "[ #", "[[\t\n]]", "[!x]"])
    func header_whenNoKeyFollows_isRefused(header: String) {
        #expect(problems(of: minimal + header) == ["tandem.toml:11: [ without the name of a table; write [name]"])
        // What is wrong before it is said first.
        #expect(problems(of: "[node]\nname = \n" + header).first?.hasPrefix("tandem.toml:2: ") == true)
    }

    @Test func badSyntax_whenLoaded_namesTheLine() {
        #expect(problems(of: "[node]\nname = \n").first?.hasPrefix("tandem.toml:2: ") == true)
        #expect(problems(of: minimal + "\0").first?.contains("NUL") == true)
    }

    /// Each of these ended the parser, and the program with it.
    @Test(arguments: [
        "[node]\nname = }", "[node]\nid = [}3", "[node]\nid = [1, }", "[node]\nid = {a = ]", "[node]\nname =", "[node]\nname = ,",
    ])
    func missingValue_whenLoaded_isRefused(text: String) {
        #expect(problems(of: text).first?.hasPrefix("tandem.toml:") == true)
    }

    @Test func truncatedAndMutatedText_whenLoaded_neverTraps() throws {
        let text = Array(try #require(readText("\(samples)/minimal.toml")).utf8)
        for length in stride(from: 0, to: text.count, by: 7) { _ = TOMLLines(Array(text.prefix(length))) }
        let random = RandomSource.seeded(7)
        for _ in 0..<300 {
            var mutated = text
            for _ in 0..<3 { mutated[Int(random.uint32()) % mutated.count] = UInt8(truncatingIfNeeded: random.uint32()) }
            _ = TOMLLines(mutated)
        }
        for length in stride(from: 1, to: text.count, by: 61) { _ = problems(of: String(decoding: text.prefix(length), as: UTF8.self)) }
    }
}

@Suite struct ConfigurationTextTests {
    @Test(arguments: [
        ("50ms", Duration.milliseconds(50)), ("30s", .seconds(30)), ("5m", .seconds(300)), ("1h", .seconds(3600)), ("7", .seconds(7)),
    ]) func duration_whenWrittenInAUnit_isRead(text: String, expected: Duration) {
        #expect(DurationText.parse(text) == expected)
    }

    @Test(arguments: ["", "ms", "-1s", "1.5s", "5 s", "99999999999999999999s", "9223372036854775807d"])
    func duration_whenWrong_isRefused(text: String) { #expect(DurationText.parse(text) == nil) }

    @Test func espDefault_whenAPeerWantsPFSOrNot_hasBoth() throws {
        let defaults = try ProposalText.esp("default")
        #expect(defaults.map(\.groups.isEmpty) == [true, true, false, false])
        #expect(defaults.map { $0.ciphers[0].isAEAD } == [true, false, true, false])
        #expect(defaults.allSatisfy { $0.extendedSequenceNumbers == [false] })
    }

    /// RFC 8221 §5, §6 and RFC 8247 §2: what must and should be there is, and nothing that is on its way out.
    @Test func ikeDefault_isWhatTheStandardsRecommend() throws {
        let defaults = try ProposalText.ike("default")
        #expect(defaults.map { $0.ciphers[0] } == [Cipher(.aesGCM16, keyBits: 128), Cipher(.aesCBC, keyBits: 128)])
        #expect(Set(defaults[0].ciphers.map(\.kind)) == [.aesGCM16, .chaCha20Poly1305] && defaults[0].integrity.isEmpty)
        #expect(Set(defaults[1].ciphers.map(\.kind)) == [.aesCBC, .aesCTR])
        #expect(Set(defaults[1].integrity) == [.hmacSHA256_128, .hmacSHA384_192, .hmacSHA512_256])
        for proposal in defaults {
            #expect(Set(proposal.prfs) == [.hmacSHA256, .hmacSHA384, .hmacSHA512])
            // Groups 17 and 18 cost whoever answers too much to be there for everybody.
            #expect(Set(proposal.groups) == Set(KeyExchangeGroup.allCases).subtracting([.modp1024, .modp6144, .modp8192]))
            #expect(proposal.groups.count == Set(proposal.groups).count && proposal.groups[0] == .curve25519)
        }
    }

    @Test(arguments: [
        ("aes192", Cipher(.aesCBC, keyBits: 192)), ("aes256cbc", Cipher(.aesCBC, keyBits: 256)), ("aes", Cipher(.aesCBC, keyBits: 128)),
        ("aes128ctr", Cipher(.aesCTR, keyBits: 128)), ("aes256ctr", Cipher(.aesCTR, keyBits: 256)),
        ("aes128gcm8", Cipher(.aesGCM8, keyBits: 128)), ("aes256gcm64", Cipher(.aesGCM8, keyBits: 256)),
        ("aes192gcm12", Cipher(.aesGCM12, keyBits: 192)), ("aes128gcm96", Cipher(.aesGCM12, keyBits: 128)),
        ("aes256gcm", Cipher(.aesGCM16, keyBits: 256)), ("aes256gcm128", Cipher(.aesGCM16, keyBits: 256)),
        ("ChaCha20Poly1305", Cipher(.chaCha20Poly1305, keyBits: 256)),
    ]) func cipher_inSwanctlsWords_isRead(word: String, cipher: Cipher) throws {
        let esp = try ProposalText.esp(cipher.isAEAD ? word : "\(word)-sha512")
        #expect(esp.map(\.ciphers) == [[cipher]])
    }

    @Test func oldAlgorithms_whereTheyAreNamed_areRead() throws {
        let expected = [
            IKEProposal(ciphers: [Cipher(.aesCBC, keyBits: 256)], integrity: [.hmacSHA1_96], prfs: [.hmacSHA1], groups: [.modp1024])
        ]
        #expect(try ProposalText.ike("aes256-sha1-modp1024") == expected)
        #expect(try ProposalText.ike("aes256-sha-prfsha1-modp1024") == expected)
        #expect(try ProposalText.ike("aes128gcm16-prfsha1-modp6144-modp8192")[0].groups == [.modp6144, .modp8192])
    }

    @Test func algorithms_thatTandemWillNotHave_areRefusedWithSomethingBetter() {
        func refusal(_ text: String) -> ProposalText.Refusal? {
            do throws(ProposalText.Refusal) {
                _ = try ProposalText.ike(text)
                return nil
            } catch { return error }
        }
        for weak in ["3des", "md5", "modp768", "modp1536", "modp1024s160", "modp2048s256", "null"] {
            let refused = refusal("aes128-sha256-x25519-\(weak)")
            #expect(refused?.what == "\"\(weak)\" is too weak (RFC 8221, RFC 8247)" && refused?.remedy.contains("sha1") == false)
        }
        #expect(refusal("aes128-sha256-modp1025")?.remedy != "did you mean modp1024?")
        #expect(refusal("chacha20poly130-prfsha256-x25519")?.remedy == "did you mean chacha20poly1305?")
        #expect(refusal("aes128gcm16-aes128ctr-prfsha256-x25519")?.remedy == "write two proposals")
        #expect(refusal("chacha20poly1305-sha256-x25519")?.remedy.contains("prfsha256") == true)
        #expect(refusal("aes128ctr-prfsha256-x25519")?.remedy == "add one, as in aes128ctr-prfsha256-x25519-sha256")
    }

    @Test func proposals_whenWrittenAsInSwanctl_areRead() throws {
        #expect(
            try ProposalText.ike("aes128-aes256-sha256-modp2048-x25519") == [
                IKEProposal(
                    ciphers: [Cipher(.aesCBC, keyBits: 128), Cipher(.aesCBC, keyBits: 256)], integrity: [.hmacSHA256_128],
                    prfs: [.hmacSHA256], groups: [.modp2048, .curve25519])
            ])
        #expect(
            try ProposalText.esp("aes256gcm16-ecp384-esn-noesn") == [
                ESPProposal(
                    ciphers: [Cipher(.aesGCM16, keyBits: 256)], integrity: [], groups: [.ecp384], extendedSequenceNumbers: [true, false])
            ])
        for wrong in ["aes128gcm16-aes128-sha256-prfsha256-ecp256", "sha256-ecp256", "aes128-ecp256", "aes128gcm16-sha256-ecp256", "", "-"]
        {
            #expect(throws: ProposalText.Refusal.self) { try ProposalText.ike(wrong) }
        }
    }

    @Test func selectors_whenWrittenAsInSwanctl_areRead() {
        let https = TrafficSelector(ipProtocol: 6, startPort: 443, endPort: 443, start: IPAddress("10.0.0.1")!, end: IPAddress("10.0.0.1")!)
        #expect(SelectorText.parse("10.0.0.1[tcp/443]") == .selector(https))
        #expect(SelectorText.parse("dynamic") == .dynamic)
        let range = TrafficSelector(start: IPAddress("2001:db8::1")!, end: IPAddress("2001:db8::9")!)
        #expect(SelectorText.parse("2001:db8::1-2001:db8::9") == .selector(range))
        for wrong in ["10.0.0.1[", "10.0.0.9-10.0.0.1", "10.0.0.1-2001:db8::1", "[tcp]", "10.0.0.1[tcp/9-1]", "10.0.0.1[tcp/1/2]", ""] {
            #expect(SelectorText.parse(wrong) == nil)
        }
    }

    @Test func secrets_whenEncoded_areDecoded() {
        #expect(SecretText.parse(Array("0sAQL/".utf8)) == [1, 2, 255])
        #expect(SecretText.parse(Array("0sAQ==".utf8)) == [1])
        #expect(SecretText.parse(Array("0x0102ff".utf8)) == [1, 2, 255])
        #expect(SecretText.parse(Array("0xyz".utf8)) == nil && SecretText.parse(Array("0s!".utf8)) == nil)
        #expect(SecretText.parse(Array("plain".utf8)) == Array("plain".utf8))
    }
}
