@testable import Runtime

extension FuzzTarget {
    /// A configuration's text. It may name files; there are none beside it.
    static let configuration = FuzzTarget(
        name: "configuration", seeds: { [Array(sample.utf8)] },
        run: { bytes in
            let lines = TOMLLines(bytes)
            let lineCount = bytes.count { $0 == 0x0A } + 1
            try require(lines.lines.values.allSatisfy { (1...lineCount).contains($0) }, "a key on a line that is not there")
            do throws(ConfigurationError) {
                _ = try Configuration.parse(bytes, path: "/nonexistent/tandem.toml")
            } catch {
                try require(!error.problems.isEmpty, "refused without a reason")
            }
        })

    private static let sample = """
        [node]
        name = "sg1"
        id = 0
        [pair]
        peer = "sg2"
        certificate = "a"
        heartbeat = { interval = "50ms", dead_after = 3 }
        [[pair.path]]
        local = "10.1.0.1:4510"
        remote = "[::1]:4510"
        [[address]]
        address = "192.0.2.10/24"
        interface = "eth0"
        [dataplane]
        kind = "user"
        [ike]
        half_open_timeout = "30s"
        [connections.road]
        local_addrs = ["192.0.2.10"]
        proposals = ["aes256gcm16-prfsha384-ecp384", "default"]
        pools = ["road"]
        local = { auth = "psk", id = "gw.example.net" }
        remote = { auth = "psk", id = "%any" }
        children.net.local_ts = ["10.10.0.1[tcp/443]", "2001:db8::1-2001:db8::9", "dynamic"]
        children.net.esp_proposals = ["aes128gcm16", "aes128-sha256-ecp256-esn"]
        [secrets.shared]
        secret = "0sAQL/"
        [pools.road]
        addrs = "10.20.0.0/16"
        dns = ["10.10.0.53"]
        """
}
