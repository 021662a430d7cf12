import CertificateSamples
import Cryptography
import IKE
import Session

/// Who issued what in the tests: one authority, the caller `gw.example.net` and the site `site.example.net`.
enum Pki {
    /// When `Sites` and `World` begin.
    static let now: Int64 = 1_700_000_000
    static let root = SampleCertificate.authority()
    static let rootCertificate = root.make()
    static let other = SampleCertificate.authority("CN=Other CA", key: .intermediate)

    static func sample(_ name: String, key: SampleKey = .p256, _ change: (inout SampleCertificate) -> Void = { _ in }) -> SampleCertificate
    {
        var sample = SampleCertificate("C=CH, O=Tandem, CN=\(name)", names: ["DNS:\(name)"], key: key)
        sample.serial = 7
        change(&sample)
        return sample
    }

    static func credential(
        _ name: String, key: SampleKey = .p256, issuer: SampleCertificate? = root, _ change: (inout SampleCertificate) -> Void = { _ in }
    ) -> PublicKeyCredential {
        PublicKeyCredential(certificate: sample(name, key: key, change).make(issuer: issuer), key: key.signing)
    }

    static func trust(
        _ authorities: [X509Certificate] = [rootCertificate], lists: [RevocationList] = [], pinned: [X509Certificate] = [],
        revocation: RevocationPolicy = .relaxed, algorithms: Set<PublicKeyAlgorithm> = []
    ) -> PublicKeyTrust {
        PublicKeyTrust(
            store: try! TrustStore(authorities: authorities, revocationLists: lists), pinned: pinned, revocation: revocation,
            algorithms: algorithms)
    }
}

extension IKEConfiguration {
    /// The same with its first connection changed.
    func changed(_ change: (inout ConnectionConfiguration) -> Void) -> IKEConfiguration {
        var copy = self
        change(&copy.connections[0])
        return copy
    }

    /// The first connection authenticates both sides with certificates.
    func certified(_ credential: PublicKeyCredential, trust: PublicKeyTrust = Pki.trust()) -> IKEConfiguration {
        changed {
            $0.localAuthentication = .publicKey(credential)
            $0.remoteAuthentication = .publicKey(trust)
        }
    }
}

extension Sites {
    /// Both with certificates; each side's credential, or what it trusts, may be another.
    static func certified(
        caller: PublicKeyCredential = Pki.credential("gw.example.net"), callerTrust: PublicKeyTrust = Pki.trust(),
        site: PublicKeyCredential = Pki.credential("site.example.net"), siteTrust: PublicKeyTrust = Pki.trust()
    ) -> Sites {
        Sites(
            caller: IKEConfiguration.caller().certified(caller, trust: callerTrust),
            site: IKEConfiguration.site().certified(site, trust: siteTrust))
    }

    /// Why the site did not let the caller in.
    var refusals: [IKEAuthenticationFailure] {
        site.events.compactMap { if case .authenticationFailed(_, _, let reason) = $0 { reason } else { nil } }
    }

    mutating func run() throws {
        try call()
        settle()
    }
}
