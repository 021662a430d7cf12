import Cryptography
import IKE
import Node
import Session

extension Sections {
    /// Options of swanctl.conf's connections that are not supported yet, with the value that says what Tandem does anyway.
    private static let unsupportedInConnection: [String: String?] = [
        "aggressive": "no", "pull": "yes", "vips": nil, "local_port": nil, "remote_port": nil,
        "dscp": nil, "dpd_timeout": nil, "keyingtries": nil, "ppk_id": nil, "ppk_required": "no", "proxy": nil,
        "mediation": "no", "mediated_by": nil, "if_id_in": nil, "if_id_out": nil, "ocsp": nil,
    ]

    private static let unsupportedInChild: [String: String?] = [
        "hostaccess": "no", "policies": "yes",
        "ipcomp": "no", "inactivity": "0", "reqid": nil,
        "priority": nil, "interface": nil, "mark_in": nil, "mark_out": nil, "set_mark_in": nil, "set_mark_out": nil, "if_id_in": nil,
        "if_id_out": nil, "label": nil, "tfc_padding": "0", "replay_window": nil, "hw_offload": "no", "copy_df": nil, "copy_ecn": nil,
        "copy_dscp": nil, "ah_proposals": nil, "sha256_96": "no",
    ]

    func connections(pools: [PoolConfiguration], authorities: Authorities, at addresses: NodeAddresses) -> [ConnectionConfiguration] {
        if !root.has("connections") { root.missing("connections", "a [connections.NAME]") }
        return root.named("connections").map {
            let connection = connection($0.table, name: $0.name, pools: pools, authorities: authorities)
            checkServed(connection, $0.table, at: addresses)
            return connection
        }
    }

    private func connection(
        _ table: TableReader, name: String, pools: [PoolConfiguration], authorities: Authorities
    ) -> ConnectionConfiguration {
        table.allow(
            [
                "version", "local_addrs", "remote_addrs", "proposals", "pools", "encap", "mobike", "mobike_addresses", "mobike_check",
                "dpd_delay", "send_cert", "send_certreq", "local", "remote", "children", "fragmentation",
            ] + LifetimeKeys.connection.names + StartKeys.connection,
            unsupported: Sections.unsupportedInConnection)
        if let version = table.integer("version", in: 0...2), version != 2 {
            table.problem("version", "\(version) is not supported", "Tandem speaks IKEv2 only: remove it, or set it to 2")
        }
        let poolNames = table.strings("pools") ?? []
        for pool in poolNames where !pools.contains(where: { $0.name == pool }) && !root.hasNamed("pools", pool) {
            table.problem("pools", "there is no [pools.\(pool)]", "add it, or correct the name")
        }
        if Set(poolNames).count < poolNames.count { table.problem("pools", "names a pool twice", "name each once") }
        if !table.has("children") { table.missing("children", "a [\(table.path).children.NAME]") }
        let local = localSide(table)
        let remote = remoteSide(table, authorities: authorities)
        let sending = table.choice("send_cert", CertificateSending.allCases.map(\.rawValue)).flatMap { CertificateSending(rawValue: $0) }
        let delay = table.duration("dpd_delay", in: .zero...Duration.seconds(86400))
        var connection = ConnectionConfiguration(
            name: name, localAddresses: addresses(table, "local_addrs"), remoteAddresses: addresses(table, "remote_addrs"),
            proposals: proposals(table, "proposals", ProposalText.ikeDefaults, ProposalText.ike), localIdentity: local.identity,
            remoteIdentity: remote.identity, pools: poolNames,
            children: table.named("children").map { child($0.table, name: $0.name) },
            forceEncapsulation: table.boolean("encap") ?? false, livenessDelay: delay == .zero ? nil : delay,
            localAuthentication: local.authentication, remoteAuthentication: remote.authentication,
            certificateSending: sending ?? .ifAsked, sendsCertificateRequest: table.boolean("send_certreq") ?? true)
        connection.lifetime = lifetime(table, LifetimeKeys.connection)
        switch table.choice("fragmentation", ["yes", "no", "accept"]) {
        case "no": connection.fragmentation = .no
        case "accept": connection.fragmentation = .accept
        default: connection.fragmentation = .yes
        }
        readStart(table, into: &connection)
        mobility(table, &connection)
        return connection
    }

    /// RFC 4555.
    private func mobility(_ table: TableReader, _ connection: inout ConnectionConfiguration) {
        connection.mobike = table.boolean("mobike") ?? connection.mobike
        let addresses = table.list("mobike_addresses", "an address of the gateway") { IPAddress($0) }
        connection.additionalAddresses = addresses ?? []
        if connection.additionalAddresses.count > Session.peerAddressesMax {
            table.problem("mobike_addresses", "names more than \(Session.peerAddressesMax) addresses", "leave some out")
        }
        switch table.choice("mobike_check", ["before", "after", "never"]) {
        case "after": connection.addressCheck = .after
        case "never": connection.addressCheck = .never
        default: break
        }
    }

    /// Addresses and prefixes; empty when `%any` is among them.
    private func addresses(_ table: TableReader, _ key: String) -> [IPPrefix] {
        let texts = table.strings(key) ?? []
        if texts.contains("%any") { return [] }
        return texts.flatMap { text -> [IPPrefix] in
            switch text {
            case "%any4": return [IPPrefix(.unspecified(.ipv4), 0)!]
            case "%any6": return [IPPrefix(.unspecified(.ipv6), 0)!]
            default:
                if let range = AddressRange(text) { return TrafficSelector(start: range.first, end: range.last).prefixes }
                table.problem(key, "\"\(text)\" is not an address, a prefix or a range", "names are not resolved: write the address")
                return []
            }
        }
    }

    private func proposals<Proposal>(
        _ table: TableReader, _ key: String, _ defaults: [Proposal], _ parse: (String) throws(ProposalText.Refusal) -> [Proposal]
    ) -> [Proposal] {
        guard let texts = table.strings(key) else { return defaults }
        if texts.isEmpty { table.problem(key, "is empty", "remove it, or write [\"default\"]") }
        var found: [Proposal] = []
        for text in texts {
            do throws(ProposalText.Refusal) {
                found += try parse(text)
            } catch {
                table.problem(key, error.what, error.remedy)
            }
        }
        return found
    }

    private func child(_ table: TableReader, name: String) -> ChildConfiguration {
        table.allow(
            ["local_ts", "remote_ts", "esp_proposals", "mode", "updown"] + LifetimeKeys.child.names + VolumeKeys.all.flatMap(\.names)
                + StartKeys.child,
            unsupported: Sections.unsupportedInChild)
        var child = ChildConfiguration(
            name: name, localSelectors: selectors(table, "local_ts"), remoteSelectors: selectors(table, "remote_ts"),
            proposals: proposals(table, "esp_proposals", ProposalText.espDefaults, ProposalText.esp),
            mode: table.choice("mode", ["tunnel", "transport"]) == "transport" ? .transport : .tunnel)
        child.lifetime = lifetime(table, LifetimeKeys.child)
        child.bytes = volume(table, VolumeKeys.bytes)
        child.packets = volume(table, VolumeKeys.packets)
        readStart(table, into: &child)
        child.hook = program(table, "updown")
        return child
    }

    private func program(_ table: TableReader, _ key: String) -> String? {
        guard let path = table.nonEmptyString(key) else { return nil }
        guard let problem = ProgramFile.problem(path) else { return path }
        table.problem(key, problem.what, problem.remedy)
        return nil
    }

    private func selectors(_ table: TableReader, _ key: String) -> [SelectorConfiguration] {
        let found = table.list(key, "a traffic selector, as in 10.1.0.0/16, 10.1.0.1[tcp/443] or dynamic") { SelectorText.parse($0) }
        return found.map { $0.isEmpty ? [.dynamic] : $0 } ?? [.dynamic]
    }
}
