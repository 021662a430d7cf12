import Cryptography
import IKE
import Session

/// One side of a connection: who it is, and what shows it.
struct LocalSide {
    var identity: Identity?
    var authentication: LocalAuthentication = .preSharedKey
}

struct RemoteSide {
    var identity: Identity?
    var authentication: RemoteAuthentication = .preSharedKey
}

/// The words of `auth`, as swanctl.conf has them as far as they go.
enum AuthenticationWord: String, CaseIterable {
    case psk, pubkey, rsa, ecdsa, ed25519
    /// The padding of RSA signatures, of our own.
    case rsaPSS = "rsa/pss"
    case rsaPKCS1 = "rsa/pkcs1"
    /// RSA, with SHA-1 for peers that know nothing else.
    case rsaSHA1 = "rsa-sha1"

    /// The kind of key that the word demands.
    var algorithm: PublicKeyAlgorithm? {
        switch self {
        case .psk, .pubkey: nil
        case .rsa, .rsaPSS, .rsaPKCS1, .rsaSHA1: .rsa
        case .ecdsa: .ecdsa
        case .ed25519: .ed25519
        }
    }
}

extension Sections {
    private static let unsupportedInAuthentication: [String: String?] = [
        "round": nil, "cert": nil, "pubkeys": nil, "ca_id": nil, "eap_id": nil, "aaa_id": nil, "xauth_id": nil, "groups": nil,
        "cert_policy": nil,
    ]

    /// `local = { auth = "pubkey", certs = ["gw.crt"], key = "gw.key", id = "gw.example.net" }`.
    func localSide(_ connection: TableReader) -> LocalSide {
        guard let table = side(connection, "local") else { return LocalSide() }
        let word = authenticationWord(table, also: ["certs", "key"])
        var side = LocalSide(identity: identity(table))
        guard let word, word != .psk, let credential = credential(table, word) else { return side }
        side.authentication = .publicKey(credential)
        if let identity = side.identity, !credential.certificate.names(kind: identity.kind.rawValue, data: identity.data) {
            table.warning("id", "the certificate does not name \"\(identity)\", so that peers refuse it", "name it as the certificate does")
        }
        return side
    }

    /// `remote = { auth = "pubkey", cacerts = ["ca.crt"], certs = ["pinned.crt"], id = "%any", revocation = "relaxed" }`.
    func remoteSide(_ connection: TableReader, authorities: Authorities) -> RemoteSide {
        guard let table = side(connection, "remote") else { return RemoteSide() }
        let word = authenticationWord(table, also: ["certs", "cacerts", "revocation"])
        var side = RemoteSide(identity: identity(table))
        guard let word, word != .psk, let trust = trust(table, word, authorities) else { return side }
        side.authentication = .publicKey(trust)
        return side
    }

    private func side(_ connection: TableReader, _ key: String) -> TableReader? {
        if !connection.has(key) { connection.missing(key, "\(key) = { auth = \"psk\" }") }
        return connection.subtable(key)
    }

    /// - Parameter keys: what may stand beside a method of public keys.
    private func authenticationWord(_ table: TableReader, also keys: [String]) -> AuthenticationWord? {
        table.allow(["auth", "id"] + keys, unsupported: Sections.unsupportedInAuthentication)
        guard let text = table.string("auth") else {
            if !table.has("auth") { table.missing("auth", "auth = \"psk\" or auth = \"pubkey\"") }
            return nil
        }
        guard let word = AuthenticationWord(rawValue: text) else {
            let words = AuthenticationWord.allCases.map(\.rawValue).joined(separator: ", ")
            table.problem("auth", "\"\(text)\" is not supported", "use one of \(words)")
            return nil
        }
        if word == .psk { context.usesSharedKeys = true }
        for key in keys where word == .psk && table.has(key) {
            table.problem(key, "has no meaning with a pre-shared key", "remove it, or set auth to \"pubkey\"")
        }
        return word
    }

    /// `nil` for no identity and for `%any`.
    private func identity(_ table: TableReader) -> Identity? {
        guard let text = table.nonEmptyString("id"), text != "%any" else { return nil }
        let identity = Identity(text: text)
        if text.contains("="), !text.hasPrefix("@"), identity.kind != .derASN1DN {
            table.problem("id", "\"\(text)\" is not a distinguished name", "write it as \"C=CH, O=Example, CN=gw\"")
        }
        return identity
    }

    // MARK: Ours

    private func credential(_ table: TableReader, _ word: AuthenticationWord) -> PublicKeyCredential? {
        for (key, example) in [("certs", "certs = [\"gw.crt\"]"), ("key", "key = \"gw.key\"")] where !table.has(key) {
            table.missing(key, example)
        }
        let certificates = (table.strings("certs") ?? []).flatMap { self.certificates(table, "certs", $0) }
        guard let key = signingKey(table), let own = certificates.first else { return nil }
        guard certificates.count <= CertificateLimits.countMax else {
            table.problem("certs", "has \(certificates.count) certificates", "peers take at most \(CertificateLimits.countMax)")
            return nil
        }
        if !key.matches(own) { table.problem("key", "is not the key of \(own)", "name the key that the certificate was made for") }
        if !own.isAllowedForSigning {
            table.problem("certs", "the key usage of \(own) does not allow signatures", "have it issued with digitalSignature")
        }
        checkKind(own.publicKey, table, "auth", word)
        if case .rsaPSS = own.publicKey, word == .rsaPKCS1 || word == .rsaSHA1 {
            table.problem("auth", "the certificate allows its key RSASSA-PSS alone", "set auth to \"rsa/pss\"")
        }
        var credential = PublicKeyCredential(certificate: own, intermediates: Array(certificates.dropFirst()), key: key)
        credential.rsaPadding = word == .rsaPKCS1 ? .pkcs1 : .pss
        credential.allowsSHA1 = word == .rsaSHA1
        return credential
    }

    private func signingKey(_ table: TableReader) -> SigningKey? {
        guard let pem = secretFile(table, "key") else { return nil }
        do throws(CryptographyError) {
            return try SigningKey(privatePEM: pem)
        } catch .badKeyLength {
            let bits = "\(CertificateLimits.rsaBitsMin) to \(CertificateLimits.rsaBitsMax)"
            table.problem(
                "key", "is of a kind that peers should not believe", "use RSA of \(bits) bits, ECDSA (P-256, P-384, P-521) or Ed25519")
        } catch {
            table.problem("key", "is not an unencrypted private key in PEM", "remove its password: openssl pkey -in FILE -out FILE")
        }
        return nil
    }

    // MARK: The peer's

    private func trust(_ table: TableReader, _ word: AuthenticationWord, _ authorities: Authorities) -> PublicKeyTrust? {
        let pinned = (table.strings("certs") ?? []).flatMap { self.certificates(table, "certs", $0) }
        for certificate in pinned { checkKind(certificate.publicKey, table, "certs", word) }
        let named = authorityCertificates(table, "cacerts", table.strings("cacerts") ?? [])
        // A certificate that is named stands by itself; authorities that are named narrow down those of all connections.
        let trusted = table.has("cacerts") ? named : pinned.isEmpty ? authorities.certificates : []
        if trusted.isEmpty, pinned.isEmpty, !table.has("cacerts"), !table.has("certs"), !root.has("authorities") {
            table.missing("cacerts", "cacerts = [\"ca.crt\"], or an [authorities.NAME]")
        }
        for key in ["cacerts", "certs"] where table.strings(key)?.isEmpty ?? false {
            table.problem(key, "is empty", "remove it, or name a certificate")
        }
        if table.has("revocation"), trusted.isEmpty, !pinned.isEmpty {
            table.problem(
                "revocation", "has no meaning for pinned certificates alone: no list is looked at", "remove it, or add cacerts")
        }
        let policies = RevocationPolicy.allCases.map(\.rawValue)
        let policy = table.choice("revocation", policies).flatMap { RevocationPolicy(rawValue: $0) } ?? .relaxed
        if policy == .strict, authorities.lists.isEmpty {
            table.warning("revocation", "is strict, and there is no revocation list", "name crls in an [authorities.NAME]")
        }
        guard let store = try? TrustStore(authorities: trusted, revocationLists: authorities.lists) else {
            table.problem(table.has("cacerts") ? "cacerts" : "auth", "the authorities cannot be used together", "remove all but one")
            return nil
        }
        var trust = PublicKeyTrust(
            store: store, pinned: pinned, revocation: policy, algorithms: word.algorithm.map { [$0] } ?? [])
        trust.allowsSHA1 = word == .rsaSHA1
        return trust
    }

    private func checkKind(_ kind: PublicKeyKind, _ table: TableReader, _ key: String, _ word: AuthenticationWord) {
        guard let demanded = word.algorithm, kind.algorithm != demanded else { return }
        table.problem(key, "the key of the certificate is not of kind \(demanded.rawValue)", "set auth to \"pubkey\"")
    }
}
