import Control
import Cryptography
import Glibc
import IKE
public import Node
import Session
import TOMLKit

extension Configuration {
    /// Reads a configuration file and everything that it names.
    ///
    /// - Throws: all that is wrong, not only the first fault.
    public static func load(path: String, for purpose: Purpose = .serving) throws(ConfigurationError) -> Configuration {
        let bytes: [UInt8]
        do throws(FileContents.Failure) {
            bytes = try FileContents.read(path, isSecret: false)
        } catch {
            throw ConfigurationError([.init(file: path, line: 0, key: "", what: error.what(path), remedy: error.remedy(path))])
        }
        return try parse(bytes, path: path, for: purpose)
    }

    /// What a configuration is read for.
    public enum Purpose: Hashable, Sendable {
        case serving
        /// To give up what this host has. What is wrong with peers, a revocation list that is being replaced for instance, must not
        /// keep a host from that.
        case fencing

        fileprivate func minds(_ problem: ConfigurationError.Problem) -> Bool {
            self == .serving
                || ![
                    "reachability", "witness", "fencing", "track", "transfer", "gateway", "state", "connections", "authorities", "secrets",
                    "pools",
                ].contains { problem.key.hasPrefix($0) }
        }
    }

    /// Reads a configuration's text and the files that it names.
    ///
    /// - Parameter path: whose folder the names in the text are relative to, and what problems name.
    static func parse(_ bytes: [UInt8], path: String, for purpose: Purpose = .serving) throws(ConfigurationError) -> Configuration {
        func whole(_ what: String, _ remedy: String) -> ConfigurationError {
            ConfigurationError([.init(file: path, line: 0, key: "", what: what, remedy: remedy)])
        }
        guard !bytes.contains(0) else { throw whole("holds a NUL byte", "it must be TOML text") }
        let lines = TOMLLines(bytes)
        let document: TOMLTable
        do {
            document = try TOMLTable(string: String(decoding: bytes.prefix(lines.parsableCount ?? bytes.count), as: UTF8.self))
        } catch let error as TOMLParseError {
            let line = error.source.begin.line
            throw ConfigurationError([
                .init(file: path, line: line, key: "", what: error.description, remedy: "see column \(error.source.begin.column)")
            ])
        } catch {
            throw whole("is not TOML: \(error)", "correct it")
        }
        if let value = lines.missingValue, value.offset == lines.parsableCount {
            throw ConfigurationError([.init(file: path, line: value.line, key: "", what: "a value is missing", remedy: "write one")])
        }
        if let header = lines.namelessHeader {
            throw ConfigurationError([
                .init(file: path, line: header.line, key: "", what: "[ without the name of a table", remedy: "write [name]")
            ])
        }
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let context = ReaderContext(
            file: path, folder: folder.isEmpty ? "/" : folder, lines: lines, wallSeconds: Int64(time(nil)))
        let root = TableReader(context: context, path: "", table: document)
        let configuration = Sections(root: root).read()
        let problems = context.problems.filter(purpose.minds)
        guard problems.isEmpty, let configuration else {
            throw ConfigurationError(problems.sorted { $0.line < $1.line })
        }
        return configuration
    }
}

/// The document's sections, each read by a method of its own; what is wrong is in the root's context afterwards.
struct Sections {
    let root: TableReader
    var context: ReaderContext { root.context }

    static let names = [
        "node", "pair", "reachability", "witness", "fencing", "address", "transfer", "gateway", "dataplane", "conntrack", "state",
        "runtime", "ike", "overload", "track", "connections", "authorities", "secrets", "pools",
    ]

    /// `nil` when something without which there is no configuration is missing; that has been reported.
    func read() -> Configuration? {
        root.allow(Sections.names)
        let (name, id) = node()
        let pair = pairSection(node: name)
        let arbitration = arbitration(hasPair: pair != nil)
        let served = addresses(node: name, peer: pair?.node.peerName)
        let transfer = transferSection(pair: pair?.link)
        let pools = pools()
        let authorities = authorities()
        let connections = connections(pools: pools, authorities: authorities, at: served.own)
        let secrets = secrets()
        if context.usesSharedKeys, secrets.isEmpty, !root.has("secrets") {
            root.problem("secrets", "is missing, and connections authenticate with pre-shared keys", "add a [secrets.NAME]")
        }
        let ike = IKEConfiguration(connections: connections, secrets: secrets, pools: pools, limits: limits())
        let dataPlane = dataPlane()
        let conntrack = conntrack()
        let runtime = runtime()
        let overload = overload(gateways: transfer?.gateways ?? [])
        let track = track(shared: served.shared)
        let preferred = preference(node: name, peer: pair?.node.peerName)
        let state = state()
        guard let name, let id else { return nil }
        var configuration = Configuration(
            path: context.file,
            node: NodeConfiguration(
                name: name, id: id, pair: pair?.node, addresses: served.shared, nodeAddresses: served.own, ike: ike,
                version: TandemVersion.text, gateways: transfer?.gateways ?? []),
            pairLink: pair?.link, transferLink: transfer?.link, dataPlane: dataPlane, runtime: runtime, conntrack: conntrack,
            warnings: context.warnings.sorted { $0.line < $1.line })
        configuration.revocationFiles = authorities.files
        configuration.node.overload = overload
        configuration.arbitration = arbitration.settings
        configuration.node.pair?.arbitration = arbitration.plan
        configuration.node.track = track
        configuration.node.preferred = preferred
        configuration.state = state
        return configuration
    }

    private func node() -> (String?, NodeID?) {
        guard let table = root.subtable("node") else {
            if !root.has("node") { root.missing("node", "[node] with name = \"sg1\" and id = 0") }
            return (nil, nil)
        }
        table.allow(["name", "id"])
        if !table.has("name") { table.missing("name", "name = \"sg1\"") }
        if !table.has("id") { table.missing("id", "id = 0 on one node of the pair and id = 1 on the other") }
        let id = table.integer("id", in: 0...1).flatMap { NodeID(rawValue: UInt8($0)) }
        return (table.nonEmptyString("name"), id)
    }

    /// A name that the kernel takes: 1 to 15 octets without `/` and blanks (IFNAMSIZ).
    func interfaceName(_ table: TableReader, _ key: String) -> String? {
        table.value(key, "the name of an interface (1 to 15 characters)") { isInterfaceName($0) ? $0 : nil }
    }

    func isInterfaceName(_ text: String) -> Bool {
        let fits = (1...15).contains(text.utf8.count) && !text.contains { $0 == "/" || $0.isWhitespace }
        return fits && text != "." && text != ".."
    }

    private func dataPlane() -> DataPlaneSettings {
        var settings = DataPlaneSettings()
        guard let table = root.subtable("dataplane") else { return settings }
        table.allow(["kind", "tun", "mtu", "counter_interval"])
        if let kind = table.choice("kind", DataPlaneSettings.Kind.allCases.map(\.rawValue)) {
            settings.kind = DataPlaneSettings.Kind(rawValue: kind) ?? .auto
        }
        settings.tunName = interfaceName(table, "tun") ?? settings.tunName
        settings.mtu = table.integer("mtu", in: 1280...9000) ?? settings.mtu
        settings.counterInterval =
            table.duration("counter_interval", in: .milliseconds(10)...Duration.seconds(60)) ?? settings.counterInterval
        return settings
    }

    private func runtime() -> RuntimeSettings {
        var settings = RuntimeSettings()
        guard let table = root.subtable("runtime") else { return settings }
        table.allow([
            "directory", "control_socket", "control_group", "lock_memory", "log_level", "ike_port", "nat_port", "guard", "guard_program",
        ])
        if let directory = table.nonEmptyString("directory") {
            settings.directory = context.resolve(directory)
            settings.controlSocket = settings.directory + "/tandem.vici"
        }
        if let socket = table.nonEmptyString("control_socket") { settings.controlSocket = context.resolve(socket) }
        if settings.controlSocket.utf8.count > 107 {
            let what = "\(settings.controlSocket) is longer than the 107 octets of a Unix socket's path"
            table.problem(table.has("control_socket") ? "control_socket" : "directory", what, "shorten it")
        }
        settings.controlGroup = controlGroup(table)
        settings.locksMemory = table.boolean("lock_memory") ?? settings.locksMemory
        if let level = table.choice("log_level", LogLine.Level.names) { settings.logLevel = LogLine.Level(name: level) ?? .info }
        settings.ikePort = table.integer("ike_port", in: 1...65535).map(UInt16.init) ?? settings.ikePort
        settings.natTraversalPort = table.integer("nat_port", in: 1...65535).map(UInt16.init) ?? settings.natTraversalPort
        if settings.ikePort == settings.natTraversalPort {
            table.problem(table.has("nat_port") ? "nat_port" : "ike_port", "is the other port too", "use two ports")
        }
        settings.isGuarded = table.boolean("guard") ?? settings.isGuarded
        settings.guardProgram = table.nonEmptyString("guard_program").map(context.resolve)
        return settings
    }

    private func controlGroup(_ table: TableReader) -> UInt32? {
        guard let name = table.nonEmptyString("control_group") else { return nil }
        guard let group = SystemGroup.identifier(of: name) else {
            table.problem("control_group", "there is no group \(name) on this host", "make it with: groupadd --system \(name)")
            return nil
        }
        return group
    }

    /// `[ike]`: limits, by their names in strongswan.conf's `charon`.
    private func limits() -> IKELimits {
        var limits = IKELimits()
        guard let table = root.subtable("ike") else { return limits }
        table.allow([
            "cookie_threshold", "half_open_max", "half_open_per_address_max", "half_open_timeout", "clear_errors_per_second",
            "children_per_session_max", "retransmit_timeout", "retransmit_base", "retransmit_tries",
            "fragment_size", "request_window", "rekey_retry_time", "keep_alive", "redirect_delete_delay",
        ])
        limits.cookieThreshold = table.integer("cookie_threshold", in: 0...65536) ?? limits.cookieThreshold
        limits.halfOpenMax = table.integer("half_open_max", in: 1...1_048_576) ?? limits.halfOpenMax
        limits.halfOpenPerAddressMax =
            table.integer("half_open_per_address_max", in: 1...1_048_576) ?? limits.halfOpenPerAddressMax
        limits.clearErrorsPerSecond = table.integer("clear_errors_per_second", in: 0...100_000) ?? limits.clearErrorsPerSecond
        limits.halfOpenTimeout = table.duration("half_open_timeout", in: .seconds(1)...Duration.seconds(600)) ?? limits.halfOpenTimeout
        limits.childrenPerSessionMax = table.integer("children_per_session_max", in: 1...1024) ?? limits.childrenPerSessionMax
        limits.retransmitTimeout =
            table.duration("retransmit_timeout", in: .milliseconds(100)...Duration.seconds(60)) ?? limits.retransmitTimeout
        limits.retransmitBase = table.number("retransmit_base", in: 1...10) ?? limits.retransmitBase
        if let interval = table.duration("keep_alive", in: .zero...Duration.seconds(3600)) {
            limits.keepAliveInterval = interval == .zero ? nil : interval
        }
        if let delay = table.duration("redirect_delete_delay", in: .zero...Duration.seconds(86_400)) {
            limits.redirectDeleteDelay = delay == .zero ? nil : delay
        }
        limits.fragmentSize = table.integer("fragment_size", in: 256...65_535) ?? limits.fragmentSize
        limits.requestWindow = table.integer("request_window", in: 1...16).map(UInt32.init) ?? limits.requestWindow
        limits.rekeyRetryTime = table.duration("rekey_retry_time", in: .seconds(1)...Duration.seconds(600)) ?? limits.rekeyRetryTime
        limits.retransmitTries = table.integer("retransmit_tries", in: 1...20) ?? limits.retransmitTries
        return limits
    }
}

extension LogLine.Level {
    static let names = LogLine.Level.allCases.map(\.name)

    public init?(name: String) {
        guard let index = LogLine.Level.names.firstIndex(of: name) else { return nil }
        self.init(rawValue: UInt8(index))
    }
}
