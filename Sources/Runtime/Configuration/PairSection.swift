import Cryptography
import Node
import Session

/// `[pair]` as the node and as the link need it.
struct PairSection {
    var node: PairConfiguration
    var link: PairLinkSettings
}

extension Sections {
    /// - Parameter name: this node's.
    func pairSection(node name: String?) -> PairSection? {
        guard let table = root.subtable("pair") else { return nil }
        table.allow(
            ["peer", "certificate", "key", "peer_certificate", "heartbeat", "commit", "replay_protection", "path"] + Sections.preferenceKeys
        )
        for (key, example) in [("certificate", "sg1.crt"), ("key", "sg1.key"), ("peer_certificate", "sg2.crt")] where !table.has(key) {
            table.missing(key, "\(key) = \"pair/\(example)\" (tandem pair init makes them)")
        }
        if !table.has("peer") { table.missing("peer", "peer = \"sg2\"") }
        let peerName = table.nonEmptyString("peer")
        if let peerName, peerName == name {
            table.problem("peer", "\"\(peerName)\" is this node's own name", "name the other node, as its [node] name does")
        }
        let files = pairFiles(table)
        let certificate = certificate(table, "certificate")
        let peerCertificates = certificate.flatMap { self.peerCertificates(table, own: $0) }
        let key = certificate.flatMap { pairKey(table, files, certificate: $0) }
        let heartbeat = heartbeat(table)
        let commitTimeout = commitTimeout(table)
        let protection = table.choice("replay_protection", ReplayProtection.allCases.map(\.rawValue)).flatMap {
            ReplayProtection(rawValue: $0)
        }
        let paths = paths(table)
        guard let peerName, let certificate, let key, let peerCertificates, !paths.isEmpty else { return nil }
        let certificates: PairCertificates
        do throws(CryptographyError) {
            certificates = try pairCertificates(own: certificate, key: key, peer: peerCertificates)
        } catch {
            table.problem("key", "does not go with the peer's certificate: \(error)", "make both with: tandem pair init")
            return nil
        }
        var link = PairLinkSettings(paths: paths, certificatePEM: certificate, keyPEM: key, peerCertificatePEMs: peerCertificates)
        link.files = files
        return PairSection(
            node: PairConfiguration(
                peerName: peerName, secret: certificates.own.secret, heartbeatInterval: heartbeat.interval, deadAfter: heartbeat.deadAfter,
                commitTimeout: commitTimeout, replayProtection: protection ?? .window, paths: paths, certificates: certificates),
            link: link)
    }

    private func heartbeat(_ pair: TableReader) -> (interval: Duration, deadAfter: Int) {
        guard let table = pair.subtable("heartbeat") else { return (.milliseconds(50), 3) }
        table.allow(["interval", "dead_after"])
        let interval = table.duration("interval", in: .milliseconds(5)...Duration.seconds(10))
        return (interval ?? .milliseconds(50), table.integer("dead_after", in: 1...100) ?? 3)
    }

    private func commitTimeout(_ pair: TableReader) -> Duration {
        guard let table = pair.subtable("commit") else { return .milliseconds(20) }
        table.allow(["timeout"])
        return table.duration("timeout", in: .milliseconds(1)...Duration.seconds(5)) ?? .milliseconds(20)
    }

    private func paths(_ pair: TableReader) -> [HeartbeatPath] {
        if !pair.has("path") {
            pair.missing("path", "a [[pair.path]] with local = \"10.1.0.1:4510\" and remote = \"10.1.0.2:4510\"")
        }
        var found: [HeartbeatPath] = []
        for table in pair.tables("path") {
            table.allow(["local", "remote", "preference"])
            for key in ["local", "remote"] where !table.has(key) { table.missing(key, "\(key) = \"ADDRESS:PORT\"") }
            guard let local = endpoint(table, "local"), let remote = endpoint(table, "remote") else { continue }
            if local.address.family != remote.address.family {
                table.problem("remote", "is of another address family than local", "use two addresses of one family")
            } else if found.contains(where: { $0.local == local }) {
                table.problem("local", "\(local) is used by another path", "give each path its own address and port")
            } else {
                found.append(HeartbeatPath(local: local, remote: remote, preference: table.integer("preference", in: 0...255) ?? 0))
            }
        }
        return found
    }

    func endpoint(_ table: TableReader, _ key: String) -> Endpoint? {
        table.value(key, "an address and a port, as in 10.1.0.1:4510 or [2001:db8::1]:4510") { text in
            Endpoint(text).flatMap { $0.port == 0 || $0.address.isUnspecified ? nil : $0 }
        }
    }

    func certificate(_ table: TableReader, _ key: String) -> String? {
        table.nonEmptyString(key).flatMap { certificate(table, key, file: $0) }
    }

    /// A certificate in PEM, of whatever date: it is pinned.
    func certificate(_ table: TableReader, _ key: String, file: String) -> String? {
        let path = context.resolve(file)
        do throws(FileContents.Failure) {
            let text = String(decoding: try FileContents.read(path, isSecret: false), as: UTF8.self)
            guard (try? certificateFingerprint(pem: text)) != nil else {
                table.problem(key, "\(path) is not a certificate in PEM", "make one with: tandem pair init")
                return nil
            }
            return text
        } catch {
            table.problem(key, error.what(path), error.remedy(path))
            return nil
        }
    }

    func secretFile(_ table: TableReader, _ key: String) -> SecretBytes? {
        guard let path = table.nonEmptyString(key).map(context.resolve) else { return nil }
        do throws(FileContents.Failure) {
            return SecretBytes(try FileContents.read(path, isSecret: true))
        } catch {
            table.problem(key, error.what(path), error.remedy(path))
            return nil
        }
    }
}
