import Cryptography
import Node
import Session

/// `[transfer]` and `[[gateway]]` as the node and as the links need them.
struct TransferSection {
    var gateways: [GatewayConfiguration]
    var link: TransferLinkSettings
}

extension Sections {
    /// Other gateways in one configuration: a link each, and a line in every listing.
    static let gatewaysMax = 256

    /// - Parameter pair: `[pair]`, whose certificate and key are ours here too, unless others are named.
    func transferSection(pair: PairLinkSettings?) -> TransferSection? {
        let gateways = gatewayTables()
        guard let table = root.subtable("transfer") else {
            if !root.has("transfer"), root.has("gateway") {
                root.missing("transfer", "[transfer] with listen = \"192.0.2.1:4511\", and certificate and key unless [pair] has them")
            }
            return nil
        }
        table.allow(["listen", "certificate", "key"])
        let listen = endpoint(table, "listen")
        if table.has("certificate") != table.has("key") {
            let absent = table.has("key") ? "certificate" : "key"
            table.missing(absent, "\(absent) = \"transfer/sg1.\(absent == "key" ? "key" : "crt")\": certificate and key go together")
            return nil
        }
        if !table.has("certificate"), !root.has("pair") {
            table.missing("certificate", "certificate and key: there is no [pair] to take them from")
        }
        if !root.has("gateway") { root.missing("gateway", "a [[gateway]] with name, link and certificate") }
        let own = table.has("certificate") ? certificate(table, "certificate") : pair?.certificatePEM
        let key = table.has("key") ? secretFile(table, "key") : pair?.keyPEM
        guard let own, let key else { return nil }
        return TransferSection(
            gateways: gateways.map(\.node),
            link: TransferLinkSettings(listen: listen, certificatePEM: own, keyPEM: key, gateways: gateways.map(\.link)))
    }

    private typealias Gateway = (node: GatewayConfiguration, link: TransferLinkSettings.Gateway)

    private func gatewayTables() -> [Gateway] {
        let tables = root.tables("gateway")
        if tables.count > Sections.gatewaysMax {
            root.problem("gateway", "there are \(tables.count)", "use at most \(Sections.gatewaysMax)")
        }
        var found: [Gateway] = []
        var digests: [[UInt8]] = []
        for table in tables.prefix(Sections.gatewaysMax) {
            guard let gateway = gateway(table) else { continue }
            if found.contains(where: { $0.node.name == gateway.node.name }) {
                table.problem("name", "another gateway has the name \(gateway.node.name)", "give each a name of its own")
                continue
            }
            let own = gateway.link.certificatePEMs.compactMap { try? certificateFingerprint(pem: $0) }
            if own.contains(where: digests.contains) {
                table.problem("certificate", "another gateway has the same certificate", "name each gateway's own")
            }
            digests += own
            found.append(gateway)
        }
        return found
    }

    private func gateway(_ table: TableReader) -> Gateway? {
        table.allow(["name", "link", "certificate", "redirect_to", "may_request", "mobike"])
        let examples = [("name", "sg3"), ("link", "198.51.100.1:4511"), ("certificate", "gateways/sg3.crt")]
        for (key, example) in examples where !table.has(key) { table.missing(key, "\(key) = \"\(example)\"") }
        let name = table.nonEmptyString("name")
        let link = endpoint(table, "link")
        let certificates = (table.strings("certificate") ?? []).map { certificate(table, "certificate", file: $0) }
        if table.has("certificate"), certificates.isEmpty { table.problem("certificate", "names no file", "name one") }
        let target = table.value("redirect_to", "an address or a name") { text in
            GatewayIdentity(text: text)
        }
        let mayRequest = table.boolean("may_request") ?? false
        let mobike = table.value("mobike", "auto, always or never") { GatewayConfiguration.MobikeMoves(rawValue: $0) }
        guard let name, let link, !certificates.isEmpty, !certificates.contains(where: { $0 == nil }),
            !table.has("redirect_to") || target != nil, !table.has("mobike") || mobike != nil
        else { return nil }
        return (
            GatewayConfiguration(
                name: name, redirectTo: target ?? .address(link.address), mayRequest: mayRequest, mobike: mobike ?? .auto),
            TransferLinkSettings.Gateway(name: name, link: link, certificatePEMs: certificates.compactMap(\.self))
        )
    }
}
