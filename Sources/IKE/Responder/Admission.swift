import Cryptography
import IKEWire
import Session

/// Who was let in, and how.
struct Admission {
    var connection: ConnectionConfiguration
    var localIdentity: Identity
    var peer: Identity
    var method: PeerAuthorization.Method
    /// For our own AUTH; empty if we sign.
    var secret: SecretBytes
}

/// Who the peer is and on which connection. All failures take the same way, so that the peer cannot tell an identity that we do not
/// know from a secret that is wrong.
extension IKEEngine {
    /// Connections that are tried with a certificate: as many authorities may have to be asked for one peer.
    private static let candidatesMax = 8

    func admit(_ exchange: AuthExchange, context: IKEContext) throws(IKEAuthenticationFailure) -> Admission {
        guard let identity = exchange.request.initiatorIdentity else { throw .malformed }
        guard let authentication = exchange.request.authentication else { throw .methodNotOffered }
        guard let method = PeerAuthorization.Method(rawValue: authentication.method) else { throw .methodNotSupported }
        let half = exchange.half
        let signed = SignedOctets(
            prf: half.algorithms.prf, message: half.request, peerNonce: half.nonces.responder,
            authenticationKey: half.derived.initiatorAuthentication, identity: identity)
        let all = candidates(exchange, identity: identity)
        let claim = PeerClaim(
            identity: Identity(identity), method: method, data: authentication.data, signed: signed,
            candidates: all.filter { $0.connection.remoteAuthentication.accepts(method) },
            failure: all.isEmpty ? .noConnection : .methodNotSupported)
        switch method {
        case .preSharedKey: return try admitBySecret(claim, half: half)
        case .rsaSignature, .ecdsaP256, .ecdsaP384, .ecdsaP521, .digitalSignature:
            return try admitByCertificate(claim, certificates: PeerCertificates(exchange.request), now: context.now)
        }
    }

    private func candidates(_ exchange: AuthExchange, identity: IdentificationPayload) -> [ConnectionCandidate] {
        let wantedPayload = exchange.request.responderIdentity
        let wanted = wantedPayload.flatMap { Identity($0) }
        guard let peer = Identity(identity), wantedPayload == nil || wanted != nil else { return [] }
        return configuration.candidates(
            local: exchange.datagram.local, remote: exchange.datagram.remote, algorithms: exchange.half.algorithms, peer: peer,
            wanted: wanted)
    }

    private func admitBySecret(_ claim: PeerClaim, half: HalfOpenSA) throws(IKEAuthenticationFailure) -> Admission {
        let match = claim.candidates.first
        let secret = match.flatMap { match in claim.identity.flatMap { configuration.secret(local: match.localIdentity, remote: $0) } }
        // Computed even without a secret: the same work for every refusal.
        let expected = claim.signed.code(secret: secret ?? half.derived.responderAuthentication)
        let isRight = constantTimeEquals(claim.data, expected)
        guard let peer = claim.identity, let match else { throw claim.failure }
        guard let secret else { throw .noSecret }
        guard isRight else { throw .wrongSecret }
        return Admission(
            connection: match.connection, localIdentity: match.localIdentity, peer: peer, method: claim.method, secret: secret)
    }

    /// The signature first, which takes the same time whoever the peer claims to be; then whether anybody believes its certificate.
    private func admitByCertificate(
        _ claim: PeerClaim, certificates: PeerCertificates, now: Now
    ) throws(IKEAuthenticationFailure) -> Admission {
        let candidates = claim.candidates.prefix(IKEEngine.candidatesMax)
        let trusts = candidates.map(\.trust)
        let certificate = claim.identity.flatMap { peer in
            certificates.leaf ?? trusts.lazy.compactMap { $0?.certificate(sent: nil, identity: peer) }.first
        }
        guard let peer = claim.identity, let certificate else { throw candidates.isEmpty ? claim.failure : .noCertificate }
        try SignatureAuthentication.verify(
            claim.data, method: claim.method, of: claim.signed, certificate: certificate,
            allowsSHA1: trusts.contains { $0?.allowsSHA1 ?? false })
        var failure = claim.failure
        for (index, candidate) in candidates.enumerated() {
            do throws(IKEAuthenticationFailure) {
                return try admit(candidate, certificate: certificate, certificates: certificates, claim: claim, peer: peer, now: now)
            } catch {
                // The best match says why.
                if index == 0 { failure = error }
            }
        }
        throw failure
    }

    private func admit(
        _ candidate: ConnectionCandidate, certificate: X509Certificate, certificates: PeerCertificates, claim: PeerClaim, peer: Identity,
        now: Now
    ) throws(IKEAuthenticationFailure) -> Admission {
        guard let trust = candidate.trust else { throw .methodNotSupported }
        // Another connection may be less strict than this one.
        guard claim.method != .rsaSignature || trust.allowsSHA1 || !claim.needsSHA1(certificate) else { throw .signatureNotAccepted }
        try trust.check(certificate, intermediates: certificates.intermediates, identity: peer, now: now)
        var secret = SecretBytes.empty
        if !candidate.connection.localAuthentication.usesPublicKeys {
            guard let shared = configuration.secret(local: candidate.localIdentity, remote: peer) else { throw .noSecret }
            secret = shared
        }
        return Admission(
            connection: candidate.connection, localIdentity: candidate.localIdentity, peer: peer, method: claim.method, secret: secret)
    }
}

/// Who a peer says it is, with what shows it.
private struct PeerClaim {
    /// `nil` for one that nobody can have.
    var identity: Identity?
    var method: PeerAuthorization.Method
    var data: [UInt8]
    var signed: SignedOctets
    /// Connections that take the identity and the method.
    var candidates: [ConnectionCandidate]
    /// Why there are none.
    var failure: IKEAuthenticationFailure

    func needsSHA1(_ certificate: X509Certificate) -> Bool {
        certificate.verifies(data, of: signed.octets, scheme: .rsaPKCS1SHA1)
    }
}

extension ConnectionCandidate {
    fileprivate var trust: PublicKeyTrust? {
        guard case .publicKey(let trust) = connection.remoteAuthentication else { return nil }
        return trust
    }
}
