import Cryptography
import Node

/// The key and the certificates of `[pair]`, also as a change that is under way leaves them.
extension Sections {
    /// The one in use, and the next one of a node that changes it.
    static let peerCertificatesMax = 2

    func pairFiles(_ table: TableReader) -> PairFiles? {
        guard let certificate = table.nonEmptyString("certificate"), let key = table.nonEmptyString("key"),
            let peer = table.nonEmptyString("peer_certificate")
        else { return nil }
        return PairFiles(
            certificate: context.resolve(certificate), key: context.resolve(key), peerCertificate: context.resolve(peer))
    }

    func peerCertificates(_ table: TableReader, own: String) -> [String]? {
        guard let text = certificate(table, "peer_certificate") else { return nil }
        let found = PEMText.certificates(text)
        let digests = found.map { try? certificateFingerprint(pem: $0) }
        guard !found.isEmpty, !digests.contains(where: { $0 == nil }) else {
            table.problem("peer_certificate", "has what is no certificate in it", "name the peer's certificate")
            return nil
        }
        guard found.count <= Sections.peerCertificatesMax else {
            table.problem("peer_certificate", "has \(found.count) certificates", "leave the peer's alone in it")
            return nil
        }
        guard let ownDigest = try? certificateFingerprint(pem: own), !digests.contains(ownDigest) else {
            table.problem("peer_certificate", "is this node's own certificate", "name the peer's")
            return nil
        }
        return found
    }

    func pairKey(_ table: TableReader, _ files: PairFiles?, certificate: String) -> SecretBytes? {
        guard let files else { return nil }
        do throws(FileContents.Failure) {
            return try files.readKey(for: certificate)
        } catch {
            table.problem("key", error.what(files.key), error.remedy(files.key))
            return nil
        }
    }

    func pairCertificates(own: String, key: SecretBytes, peer: [String]) throws(CryptographyError) -> PairCertificates {
        func known(_ pem: String, with other: String) throws(CryptographyError) -> PairCertificate {
            try PairFiles.certificate(pem, secret: try pairSecret(ownKeyPEM: key, peerCertificatePEM: other))
        }
        return PairCertificates(
            own: try known(own, with: peer[0]), peer: try peer.map { (pem) throws(CryptographyError) in try known(pem, with: pem) })
    }
}
