import Cryptography
import IKE
import Session

extension Sections {
    func secrets() -> [SharedSecret] { root.named("secrets").compactMap { secret($0.table) } }

    private func secret(_ table: TableReader) -> SharedSecret? {
        table.allow(["ids", "id", "secret", "file"])
        if table.has("id"), table.has("ids") { table.problem("id", "stands beside ids", "keep one of the two") }
        let identities = (table.strings("ids") ?? table.strings("id") ?? []).map { $0 == "%any" ? nil : Identity(text: $0) }
        guard table.has("secret") != table.has("file") else {
            let what = table.has("secret") ? "has both secret and file" : "has no secret"
            table.problem("", what, "give it one: file = \"NAME.psk\", or secret = \"...\"")
            return nil
        }
        guard let text = table.has("file") ? secretFromFile(table) : secretInline(table) else { return nil }
        guard let bytes = SecretText.parse(text) else {
            let form = text.starts(with: Array("0x".utf8)) ? "0x and hexadecimal digits" : "0s and base64"
            table.problem(table.has("file") ? "file" : "secret", "is not \(form)", "correct it")
            return nil
        }
        guard !bytes.isEmpty else {
            table.problem(table.has("file") ? "file" : "secret", "is empty", "make one: head -c 32 /dev/urandom | base64")
            return nil
        }
        return SharedSecret(identities: identities, secret: SecretBytes(bytes))
    }

    private func secretFromFile(_ table: TableReader) -> [UInt8]? {
        secretFile(table, "file").map { SecretText.withoutLastNewline($0.copyBytes()) }
    }

    /// A secret in the configuration itself makes the configuration a secret.
    private func secretInline(_ table: TableReader) -> [UInt8]? {
        guard let text = table.string("secret") else { return nil }
        if let mode = FileContents.mode(context.file), mode & 0o077 != 0 {
            let failure = FileContents.Failure.exposed(mode: mode)
            table.problem("secret", failure.what(context.file), failure.remedy(context.file))
            return nil
        }
        return Array(text.utf8)
    }

    func pools() -> [PoolConfiguration] {
        var found: [PoolConfiguration] = []
        for (name, table) in root.named("pools") {
            guard let pool = pool(table, name: name) else { continue }
            if let other = found.first(where: { $0.first <= pool.last && pool.first <= $0.last }) {
                table.problem("addrs", "overlaps with [pools.\(other.name)]", "give each pool its own addresses")
            }
            found.append(pool)
        }
        return found
    }

    private func pool(_ table: TableReader, name: String) -> PoolConfiguration? {
        table.allow(
            ["addrs", "dns", "netmask", "persistent", "lease_time"],
            unsupported: ["nbns": nil, "dhcp": nil, "server": nil, "subnet": nil, "split_include": nil, "split_exclude": nil])
        let dns = table.list("dns", "an address") { IPAddress($0) } ?? []
        if !table.has("addrs") { table.missing("addrs", "addrs = \"10.20.0.0/16\"") }
        guard let range = table.value("addrs", "a prefix or a range, as in 10.20.0.0/16 or 10.20.0.10-10.20.0.99", { AddressRange($0) })
        else { return nil }
        let hosts = range.hosts
        var pool = PoolConfiguration(
            name: name, first: hosts.first, last: hosts.last, network: range.network, announcesNetmask: table.boolean("netmask") ?? false,
            dns: dns)
        pool.isPersistent = table.boolean("persistent") ?? false
        pool.leaseTime = table.duration("lease_time", in: .seconds(60)...Duration.seconds(315_360_000))
        if table.has("lease_time"), !pool.isPersistent {
            table.problem("lease_time", "has no meaning without persistent", "add persistent = true, or remove it")
        }
        return pool
    }
}
