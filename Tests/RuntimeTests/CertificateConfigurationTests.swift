import CertificateSamples
import Cryptography
import Glibc
import IKE
import Node
import Session
import Testing

@testable import Runtime

/// A folder with the files that `branch.toml` names.
private func branchFolder(_ change: (inout SampleCertificate) -> Void = { _ in }) -> TemporaryFolder {
    let folder = TemporaryFolder()
    let root = SampleCertificate.authority()
    var own = SampleCertificate("C=CH, O=Tandem, CN=gw", names: ["DNS:gw.example.net"], key: .p384)
    change(&own)
    folder.write("ca.crt", root.pem(), mode: 0o644)
    folder.write("ca.crl", SampleCertificate.pem(root.revocationListDER(revoking: [9]), label: "X509 CRL"), mode: 0o644)
    folder.write("gw.crt", own.pem(issuer: root), mode: 0o644)
    folder.write("gw.key", String(decoding: own.key.pem.copyBytes(), as: UTF8.self))
    folder.write("other.key", String(decoding: SampleKey.p256.pem.copyBytes(), as: UTF8.self))
    folder.write("rsa.key", String(decoding: SampleKey.rsa1024.pem.copyBytes(), as: UTF8.self))
    return folder
}

private let head = """
    [node]
    name = "gw"
    id = 0
    [authorities.example]
    cacert = "ca.crt"
    [connections.c.children.net]

    """

/// A configuration with these two sides; `local` stands on line 8, `remote` on line 9.
private func text(local: String, remote: String = "auth = \"pubkey\"", more: String = "") -> String {
    head + "[connections.c]\nlocal = { \(local) }\nremote = { \(remote) }\n" + more
}

private let good = "auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\""

/// What is said of a configuration, without the folder's name: problems, or else warnings.
private func complaints(_ text: String, in folder: TemporaryFolder) -> [String] {
    let file = folder.write("tandem.toml", text)
    let found: [ConfigurationError.Problem]
    do throws(ConfigurationError) {
        found = try Configuration.load(path: file).warnings
    } catch {
        found = error.problems
    }
    return found.map { $0.description.replacing("\(folder.path)/", with: "") }
}

@Suite struct CertificateConfigurationTests {
    @Test func branchSample_whenLoaded_hasCertificatesOnBothSides() throws {
        let folder = branchFolder()
        let file = folder.write("branch.toml", try #require(readText("\(samples)/branch.toml")))
        let configuration = try Configuration.load(path: file)
        #expect(configuration.warnings.isEmpty)
        let (branch, road) = (configuration.node.ike.connections[0], configuration.node.ike.connections[1])
        guard case .publicKey(let credential) = branch.localAuthentication, case .publicKey(let trust) = branch.remoteAuthentication,
            case .publicKey(let roadTrust) = road.remoteAuthentication
        else {
            Issue.record("no public keys")
            return
        }
        #expect(credential.certificate.publicKey == .ecdsa(.p384) && credential.key.matches(credential.certificate))
        #expect(trust.revocation == .strict && trust.store.revocationLists.count == 1 && trust.store.authorities.count == 1)
        #expect(trust.algorithms.isEmpty && roadTrust.algorithms == [.ecdsa] && roadTrust.store.revocationLists.count == 1)
        #expect(branch.localIdentity == Identity(text: "gw.example.net") && road.localIdentity == nil && road.remoteIdentity == nil)
        #expect(branch.certificateSending == .ifAsked && branch.sendsCertificateRequest)
        #expect(!branch.usesSecret)
    }

    @Test func words_ofAuth_sayWhichKeysAndSignatures() throws {
        let folder = branchFolder { $0.key = .rsa2048 }
        func loaded(_ local: String, _ remote: String, _ more: String = "") throws -> ConnectionConfiguration {
            let text = text(
                local: good.replacing("pubkey", with: local), remote: "auth = \"\(remote)\", id = \"C=CH, O=x\"", more: more)
            return try #require(try Configuration.load(path: folder.write("t.toml", text)).node.ike.connections.first)
        }
        for (word, padding, allowsSHA1) in [
            ("pubkey", PublicKeyCredential.RSAPadding.pss, false), ("rsa", .pss, false), ("rsa/pss", .pss, false),
            ("rsa/pkcs1", .pkcs1, false), ("rsa-sha1", .pss, true),
        ] {
            let connection = try loaded(word, word)
            guard case .publicKey(let credential) = connection.localAuthentication,
                case .publicKey(let trust) = connection.remoteAuthentication
            else {
                Issue.record("\(word)")
                continue
            }
            #expect(credential.rsaPadding == padding && credential.allowsSHA1 == allowsSHA1 && trust.allowsSHA1 == allowsSHA1)
            #expect(trust.algorithms == (word == "pubkey" ? [] : [.rsa]))
        }
        let connection = try loaded("rsa", "psk", "send_cert = \"always\"\nsend_certreq = false\n[secrets.a]\nsecret = \"x\"\n")
        #expect(connection.remoteAuthentication == .preSharedKey && connection.usesSecret)
        #expect(connection.certificateSending == .always && !connection.sendsCertificateRequest)
        #expect(connection.remoteIdentity.map { "\($0)" } == "C=CH, O=x")
    }

    @Test func pinnedCertificate_standsBesideNoAuthority() throws {
        let folder = branchFolder()
        let pinned = text(local: good, remote: "auth = \"ecdsa\", certs = [\"gw.crt\"]")
        let connection = try Configuration.load(path: folder.write("t.toml", pinned)).node.ike.connections[0]
        guard case .publicKey(let trust) = connection.remoteAuthentication else {
            Issue.record("no public key")
            return
        }
        #expect(trust.pinned.count == 1 && trust.store.authorities.isEmpty)
    }

    @Test func faults_ofCertificatesAndKeys_areNamedWithLineKeyAndRemedy() throws {
        let folder = branchFolder()
        chmod("\(folder.path)/other.key", 0o640)
        let expected: [(local: String, remote: String?, what: String)] = [
            (good.replacing("gw.key", with: "other.key"), nil, "tandem.toml:8: connections.c.local.key: other.key can be read by others"),
            (good.replacing("gw.key", with: "none.key"), nil, "tandem.toml:8: connections.c.local.key: cannot read none.key: No such file"),
            (good.replacing("gw.key", with: "gw.crt"), nil, "tandem.toml:8: connections.c.local.key: gw.crt can be read by others"),
            (good.replacing("gw.key", with: "rsa.key"), nil, "tandem.toml:8: connections.c.local.key: is of a kind that peers should not"),
            (good.replacing("gw.key", with: "ca.crl"), nil, "tandem.toml:8: connections.c.local.key: ca.crl can be read by others"),
            (good.replacing("gw.crt", with: "gw.key"), nil, "tandem.toml:8: connections.c.local.certs: gw.key cannot be read"),
            (
                good.replacing("gw.crt", with: "ca.crt"), nil,
                "tandem.toml:8: connections.c.local.key: is not the key of C=CH, O=Tandem, CN=Test CA"
            ),
            (
                good.replacing("pubkey", with: "rsa"), nil,
                "tandem.toml:8: connections.c.local.auth: the key of the certificate is not of kind rsa"
            ),
            (good.replacing("pubkey", with: "psk"), nil, "tandem.toml:8: connections.c.local.certs: has no meaning with a pre-shared key"),
            (
                good.replacing("pubkey", with: "eap"), nil,
                "tandem.toml:8: connections.c.local.auth: \"eap\" is not supported; use one of psk,"
            ),
            ("auth = \"pubkey\"", nil, "tandem.toml:8: connections.c.local.certs: is missing"),
            (good + ", id = \"a=b\"", nil, "tandem.toml:8: connections.c.local.id: \"a=b\" is not a distinguished name"),
            (
                good, "auth = \"pubkey\", cacerts = [\"gw.crt\"]",
                "tandem.toml:9: connections.c.remote.cacerts: C=CH, O=Tandem, CN=gw is not"
            ),
            (good, "auth = \"pubkey\", cacerts = []", "tandem.toml:9: connections.c.remote.cacerts: is empty"),
            (good, "auth = \"pubkey\", revocation = \"never\"", "tandem.toml:9: connections.c.remote.revocation: \"never\" is not one"),
            (
                good, "auth = \"pubkey\", certs = [\"gw.crt\"], revocation = \"strict\"",
                "tandem.toml:9: connections.c.remote.revocation: has no meaning for pinned certificates alone"
            ),
            (good, "auth = \"pubkey\", key = \"gw.key\"", "tandem.toml:9: connections.c.remote.key: unknown key"),
        ]
        for (local, remote, what) in expected {
            let found = complaints(text(local: local, remote: remote ?? "auth = \"pubkey\""), in: folder)
            #expect(found.contains { $0.hasPrefix(what) }, "\(what): \(found)")
        }
        let key = complaints(text(local: good.replacing("gw.key", with: "other.key")), in: folder)
        #expect(key == ["tandem.toml:8: connections.c.local.key: other.key can be read by others (mode 640); run: chmod 600 other.key"])
        #expect(complaints(text(local: "auth = \"psk\""), in: folder).first?.contains("secrets: is missing") == true)
        let without = text(local: good).replacing("[authorities.example]\ncacert = \"ca.crt\"\n", with: "")
        #expect(complaints(without, in: folder).first?.contains("connections.c.remote.cacerts: is missing") == true)
        folder.write("ca.crl", "nonsense")
        let list = text(local: good).replacing("cacert =", with: "crls = [\"ca.crl\"]\ncacert =")
        #expect(
            complaints(list, in: folder) == [
                "tandem.toml:5: authorities.example.crls: ca.crl is no revocation list; it must hold lists in PEM, or one in DER"
            ])
        chmod("\(folder.path)/other.key", 0o600)
        let other = complaints(text(local: good.replacing("gw.key", with: "other.key")), in: folder)
        #expect(other.first?.contains("local.key: is not the key of C=CH, O=Tandem, CN=gw") == true)
    }

    /// RFC 4055 §1.2: the certificate says what its key may sign.
    @Test func keyBoundToPSS_isNotConfiguredForTheOlderPadding() throws {
        let folder = branchFolder { $0.key = .rsaPSS }
        for word in ["rsa/pkcs1", "rsa-sha1"] {
            let found = complaints(text(local: good.replacing("pubkey", with: word)), in: folder)
            #expect(
                found == [
                    "tandem.toml:8: connections.c.local.auth: the certificate allows its key RSASSA-PSS alone; set auth to \"rsa/pss\""
                ])
        }
        #expect(complaints(text(local: good.replacing("pubkey", with: "rsa/pss")), in: folder) == [])
    }

    /// A gateway with an expired certificate starts, and says so: its other connections and its fence do not need it.
    @Test func certificates_thatAreNotInTime_areWarnedOf() throws {
        #expect(complaints(text(local: good), in: branchFolder()) == [])
        let expired = branchFolder { $0.notAfter = SampleCertificate.validFrom + 1 }
        #expect(
            complaints(text(local: good), in: expired) == [
                "tandem.toml:8: connections.c.local.certs: gw.crt: C=CH, O=Tandem, CN=gw has expired; renew it"
            ])
        let early = branchFolder { $0.notBefore = SampleCertificate.validUntil - 1 }
        #expect(complaints(text(local: good), in: early).first?.contains("is not valid yet") == true)
        let unnamed = complaints(text(local: good + ", id = \"other.example.net\""), in: branchFolder())
        #expect(unnamed.first?.contains("local.id: the certificate does not name \"other.example.net\"") == true)
    }
}
