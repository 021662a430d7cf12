import Cryptography
import Glibc

/// `[authorities.NAME]`: who issues certificates, and lists of those that it has taken back.
struct Authorities {
    var certificates: [X509Certificate] = []
    var files = RevocationFiles()
    var lists: [RevocationList] { files.lists }
}

extension Sections {
    func authorities() -> Authorities {
        var found = Authorities()
        for (_, table) in root.named("authorities") {
            table.allow(
                ["cacert", "crls"],
                unsupported: [
                    "file": nil, "handle": nil, "slot": nil, "module": nil, "crl_uris": nil, "ocsp_uris": nil, "cert_uri_base": nil,
                ])
            if !table.has("cacert") { table.missing("cacert", "cacert = \"ca.crt\"") }
            if let path = table.nonEmptyString("cacert") { found.certificates += authorityCertificates(table, "cacert", [path]) }
            for path in table.strings("crls") ?? [] { found.files.append(revocationFile(table, context.resolve(path))) }
        }
        return found
    }

    /// Certificates that may issue others.
    func authorityCertificates(_ table: TableReader, _ key: String, _ paths: [String]) -> [X509Certificate] {
        let found = paths.flatMap { certificates(table, key, $0) }
        for certificate in found where !certificate.isAuthority {
            table.problem(key, "\(certificate) is not the certificate of an authority", "name the one that issued the others")
        }
        return found
    }

    /// The certificates of a file, in PEM or DER.
    func certificates(_ table: TableReader, _ key: String, _ path: String) -> [X509Certificate] {
        let path = context.resolve(path)
        guard let bytes = contents(table, key, path) else { return [] }
        do throws(CertificateError) {
            let found = try X509Certificate.read(bytes)
            for certificate in found { warnOfTime(table, key, path, certificate) }
            return found
        } catch {
            table.problem(key, "\(path) cannot be read: \(error.rawValue)", "it must hold certificates in PEM, or one in DER")
            return []
        }
    }

    private func revocationFile(_ table: TableReader, _ path: String) -> RevocationFiles.File {
        let stamp = FileStamp(path)
        return RevocationFiles.File(path: path, stamp: stamp, lists: revocationLists(table, path))
    }

    private func revocationLists(_ table: TableReader, _ path: String) -> [RevocationList] {
        guard let bytes = contents(table, "crls", path) else { return [] }
        guard let found = try? RevocationList.read(bytes) else {
            table.problem("crls", "\(path) is no revocation list", "it must hold lists in PEM, or one in DER")
            return []
        }
        for list in found {
            if let next = list.nextUpdate, next < context.wallSeconds {
                table.warning("crls", "\(path) is older than it may be", "fetch the next one")
            }
        }
        return found
    }

    /// A certificate that has expired is no reason not to start: other connections may do without it, and fencing must work.
    private func warnOfTime(_ table: TableReader, _ key: String, _ path: String, _ certificate: X509Certificate) {
        if context.wallSeconds > certificate.notAfter {
            table.warning(key, "\(path): \(certificate) has expired", "renew it")
        } else if context.wallSeconds < certificate.notBefore {
            table.warning(key, "\(path): \(certificate) is not valid yet", "check the clock")
        }
    }

    private func contents(_ table: TableReader, _ key: String, _ path: String) -> [UInt8]? {
        do throws(FileContents.Failure) {
            return try FileContents.read(path, isSecret: false)
        } catch {
            table.problem(key, error.what(path), error.remedy(path))
            return nil
        }
    }
}
