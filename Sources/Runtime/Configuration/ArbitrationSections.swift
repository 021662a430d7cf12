import Cryptography
import Node
import Pair
import Session

extension Sections {
    /// `[reachability]`, `[witness]` and `[fencing]`: what is asked when the nodes do not hear each other.
    func arbitration(hasPair: Bool) -> (plan: ArbitrationPlan, settings: ArbitrationSettings) {
        for section in ["reachability", "witness", "fencing"] where root.has(section) && !hasPair && !root.has("pair") {
            root.problem(section, "has no meaning without a pair", "add [pair], or remove it")
        }
        var (plan, settings) = (ArbitrationPlan(), ArbitrationSettings())
        if let check = reachability() {
            settings.check = check
            plan.check = .init(timeout: check.timeout)
        }
        if let (witness, whenUnreachable) = witness() {
            settings.witness = witness
            plan.witness = .init(timeout: witness.timeout, ttl: .seconds(witness.ttlSeconds), whenUnreachable: whenUnreachable)
        }
        if let (program, goesOn) = fencing() {
            settings.fencing = program
            plan.fencing = .init(timeout: program.timeout, goesOnAfterFailure: goesOn)
        }
        return (plan, settings)
    }

    private func reachability() -> ArbitrationSettings.Program? {
        guard let table = root.subtable("reachability") else { return nil }
        table.allow(["command", "timeout"])
        let timeout = table.duration("timeout", in: .milliseconds(10)...Duration.seconds(30)) ?? .milliseconds(500)
        return command(table, example: "[\"/usr/bin/ping\", \"-c1\", \"-W1\", \"192.0.2.1\"]").map {
            .init(arguments: $0, timeout: timeout)
        }
    }

    private func fencing() -> (ArbitrationSettings.Program, goesOn: Bool)? {
        guard let table = root.subtable("fencing") else { return nil }
        table.allow(["command", "timeout", "on_failure"])
        let timeout = table.duration("timeout", in: .milliseconds(100)...Duration.seconds(300)) ?? .seconds(5)
        let goesOn = table.choice("on_failure", ["refuse", "go_on"]) == "go_on"
        return command(table, example: "[\"/usr/local/sbin/power-off\", \"sg2\"]").map { (.init(arguments: $0, timeout: timeout), goesOn) }
    }

    /// A program with its arguments. It is run with the daemon's privileges.
    private func command(_ table: TableReader, example: String) -> [String]? {
        guard table.has("command") else {
            table.missing("command", "command = \(example)")
            return nil
        }
        guard let words = table.strings("command") else { return nil }
        guard let program = words.first, words.count <= 64, words.allSatisfy({ !$0.utf8.contains(0) }) else {
            table.problem("command", "names no program", "write command = \(example)")
            return nil
        }
        if let problem = ProgramFile.problem(program) {
            table.problem("command", problem.what, problem.remedy)
            return nil
        }
        return words
    }

    private func witness() -> (WitnessSettings, ArbitrationPlan.WhenUnreachable)? {
        guard let table = root.subtable("witness") else { return nil }
        table.allow([
            "endpoints", "key", "ttl", "timeout", "when_unreachable", "ca", "certificate", "private_key", "username", "password_file",
        ])
        if !table.has("endpoints") { table.missing("endpoints", "endpoints = [\"http://10.9.0.1:2379\"]") }
        if !table.has("key") { table.missing("key", "key = \"tandem/NAME\": the same on both nodes, another one for each pair") }
        let endpoints = table.list("endpoints", "an etcd's URL, as in http://10.9.0.1:2379") { WitnessSettings.Endpoint($0) }
        let key = table.nonEmptyString("key")
        // etcd grants no lease that is shorter than its elections take, which is 2 s by default.
        let ttl = table.duration("ttl", in: .seconds(2)...Duration.seconds(60)) ?? .seconds(3)
        let timeout = table.duration("timeout", in: .milliseconds(10)...Duration.milliseconds(500)) ?? .milliseconds(100)
        let policy = table.choice("when_unreachable", ArbitrationPlan.WhenUnreachable.allCases.map(\.rawValue)).flatMap {
            ArbitrationPlan.WhenUnreachable(rawValue: $0)
        }
        guard let endpoints, let key else { return nil }
        guard (1...16).contains(endpoints.count) else {
            if endpoints.isEmpty { table.problem("endpoints", "names no etcd", "write endpoints = [\"http://10.9.0.1:2379\"]") }
            if endpoints.count > 16 { table.problem("endpoints", "names more than 16", "name some of them") }
            return nil
        }
        var settings = WitnessSettings(endpoints: endpoints, key: key, ttlSeconds: Int(ttl.components.seconds), timeout: timeout)
        guard credentials(table, &settings) else { return nil }
        return (settings, policy ?? .yield)
    }

    /// - Returns: whether they can be used, as far as can be told without asking.
    private func credentials(_ table: TableReader, _ settings: inout WitnessSettings) -> Bool {
        settings.authoritiesPEM = table.has("ca") ? certificate(table, "ca") : nil
        settings.certificatePEM = table.has("certificate") ? certificate(table, "certificate") : nil
        settings.keyPEM = secretFile(table, "private_key")
        settings.username = table.nonEmptyString("username")
        settings.password = secretFile(table, "password_file").map { SecretBytes(WitnessSettings.firstLine($0)) }
        for (one, other) in [
            ("certificate", "private_key"), ("private_key", "certificate"), ("username", "password_file"), ("password_file", "username"),
        ]
        where table.has(one) && !table.has(other) { table.problem(one, "has no meaning without \(other)", "add \(other)") }
        let usesTLS = settings.endpoints.contains(where: \.isTLS)
        for key in ["ca", "certificate", "private_key"] where table.has(key) && !usesTLS {
            table.problem(key, "has no meaning without TLS", "write the endpoints as https://…")
        }
        if settings.username != nil, settings.endpoints.contains(where: { !$0.isTLS }) {
            table.warning("username", "the password goes to an endpoint in clear", "write the endpoints as https://…")
        }
        do {
            if usesTLS { _ = try EtcdGateway.tls(settings) }
            return true
        } catch {
            table.problem("certificate", "cannot be used: \(error)", "check ca, certificate and private_key")
            return false
        }
    }
}

extension WitnessSettings {
    /// Without the end of the line, which editors put there.
    static func firstLine(_ secret: SecretBytes) -> [UInt8] { Array(secret.copyBytes().prefix { $0 != 0x0A && $0 != 0x0D }) }
}
