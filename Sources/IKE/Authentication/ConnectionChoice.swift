import Cryptography
import IKEWire
import Session

extension IKEConfiguration {
    /// The connections that a peer at `remote` may use at `local`, in the configuration's order.
    func connections(local: IPAddress, remote: IPAddress) -> [ConnectionConfiguration] {
        connections.filter { connection in
            (connection.localAddresses.isEmpty || connection.localAddresses.contains { $0.contains(local) })
                && (connection.remoteAddresses.isEmpty || connection.remoteAddresses.contains { $0.contains(remote) })
        }
    }

    /// The connections for a peer that says who it is and, maybe, whom it wants: the best match first, equals in the configuration's
    /// order. With what it was offered in IKE_SA_INIT, whatever its way to authenticate.
    ///
    /// - Parameter wanted: the identity in IDr, `nil` without one.
    func candidates(
        local: Endpoint, remote: Endpoint, algorithms: IKEAlgorithms, peer: Identity, wanted: Identity?
    ) -> [ConnectionCandidate] {
        let fitting = connections(local: local.address, remote: remote.address).compactMap { connection -> (ConnectionCandidate, Int)? in
            guard connection.proposals.contains(where: { $0.allows(algorithms) }),
                let own = connection.ownIdentity(at: local.address, wanted: wanted),
                connection.remoteIdentity?.isSame(as: peer) ?? true
            else { return nil }
            let score = (connection.remoteIdentity != nil ? 2 : 0) + (connection.localIdentity != nil ? 1 : 0)
            return (ConnectionCandidate(connection: connection, localIdentity: own), score)
        }
        // Swift's sort keeps the order of equals, but does not promise it.
        return fitting.enumerated().sorted { ($1.element.1, $0.offset) < ($0.element.1, $1.offset) }.map(\.element.0)
    }

    /// The secret shared by two identities. An exact match of the peer beats `%any`, and then one of our own does; of equals the first.
    func secret(local: Identity, remote: Identity) -> SecretBytes? {
        var best: (secret: SecretBytes, score: Int)?
        for candidate in secrets {
            guard let score = candidate.score(local: local, remote: remote) else { continue }
            if score > best?.score ?? -1 { best = (candidate.secret, score) }
        }
        return best?.secret
    }
}

/// A connection that a peer may mean, and who we are on it.
struct ConnectionCandidate {
    var connection: ConnectionConfiguration
    var localIdentity: Identity
}

extension ConnectionConfiguration {
    /// Who we are: what the configuration says, else the subject of our certificate, else our address.
    func ownIdentity(at address: IPAddress) -> Identity {
        if let localIdentity { return localIdentity }
        guard case .publicKey(let credential) = localAuthentication else { return Identity(address: address) }
        return Identity(of: credential.certificate) ?? Identity(address: address)
    }

    /// The same for a peer that wants to speak to somebody; `nil` if that is not us. Where the configuration does not say who we are,
    /// we are everybody that our certificate names.
    fileprivate func ownIdentity(at address: IPAddress, wanted: Identity?) -> Identity? {
        let own = ownIdentity(at: address)
        guard let wanted, !wanted.isSame(as: own) else { return own }
        guard localIdentity == nil, case .publicKey(let credential) = localAuthentication,
            credential.certificate.names(kind: wanted.kind.rawValue, data: wanted.data)
        else { return nil }
        return wanted
    }
}

extension Identity {
    /// Distinguished names are the same in any encoding (RFC 5280 §7.1); all others are compared by their octets.
    func isSame(as other: Identity) -> Bool {
        self == other || (kind == .derASN1DN && other.kind == .derASN1DN && DistinguishedName.areEqual(data, other.data))
    }

    /// The subject of a certificate, or the first of its other names if it has none.
    fileprivate init?(of certificate: X509Certificate) {
        // An empty sequence has two octets.
        if certificate.subject.count > 2 {
            self.init(kind: .derASN1DN, data: certificate.subject)
            return
        }
        for name in certificate.alternativeNames {
            switch name {
            case .dns(let text): self.init(kind: .fqdn, data: Array(text.utf8))
            case .email(let text): self.init(kind: .rfc822Address, data: Array(text.utf8))
            case .address(let octets): self.init(kind: octets.count == 4 ? .ipv4Address : .ipv6Address, data: octets)
            case .directory: continue
            }
            return
        }
        return nil
    }
}

extension SharedSecret {
    /// How well the secret fits, or `nil`: it has to be the peer's, anybody's, or ours with no peer named.
    ///
    /// A peer that gives our own identity for its own is not named by ours: else whoever shares a secret with us could pass for us.
    fileprivate func score(local: Identity, remote: Identity) -> Int? {
        func match(_ identity: Identity) -> Int {
            identities.contains { $0?.isSame(as: identity) ?? false } ? 2 : identities.contains(nil) ? 1 : 0
        }
        if identities.isEmpty { return 0 }
        let remoteMatch = remote == local ? (identities.contains(nil) ? 1 : 0) : match(remote)
        let namesOnlyUs = identities.allSatisfy { $0 == local }
        guard remoteMatch > 0 || namesOnlyUs else { return nil }
        return 3 * remoteMatch + match(local)
    }
}

extension IKEProposal {
    /// The algorithms that IKE_SA_INIT settled on are among these.
    fileprivate func allows(_ algorithms: IKEAlgorithms) -> Bool {
        ciphers.contains(algorithms.cipher) && prfs.contains(algorithms.prf) && groups.contains(algorithms.keyExchangeGroup)
            && algorithms.integrity.map { integrity.contains($0) } ?? true
    }
}
