import Cryptography
import IKEWire
import Session

/// AUTH with a shared secret (RFC 7296 §2.15).
enum SharedKeyAuthentication {
    /// prf(prf(secret, "Key Pad for IKEv2"), message | nonce | prf(SK_p, identity)).
    ///
    /// - Parameters:
    ///   - message: the sender's whole IKE_SA_INIT message.
    ///   - peerNonce: the nonce of the other side.
    ///   - authenticationKey: SK_pi or SK_pr, the sender's.
    static func code(
        prf: PRF, secret: SecretBytes, message: [UInt8], peerNonce: [UInt8], authenticationKey: SecretBytes, identity: IdentificationPayload
    ) -> [UInt8] {
        let padded = prf(key: secret, Array("Key Pad for IKEv2".utf8))
        let maskedIdentity = prf(key: authenticationKey, identity.bodyBytes).copyBytes()
        return prf(key: padded, message, peerNonce, maskedIdentity).copyBytes()
    }
}

extension IKEConfiguration {
    /// The connections that a peer at `remote` may use at `local`, in the configuration's order.
    func connections(local: IPAddress, remote: IPAddress) -> [ConnectionConfiguration] {
        connections.filter { connection in
            (connection.localAddresses.isEmpty || connection.localAddresses.contains { $0.contains(local) })
                && (connection.remoteAddresses.isEmpty || connection.remoteAddresses.contains { $0.contains(remote) })
        }
    }

    /// The connection for a peer that says who it is and, maybe, whom it wants; the best match, of equals the first.
    ///
    /// - Parameter wanted: the identity in IDr, `nil` without one.
    func connection(
        local: Endpoint, remote: Endpoint, algorithms: IKEAlgorithms, peer: Identity, wanted: Identity?
    ) -> (connection: ConnectionConfiguration, localIdentity: Identity)? {
        var best: (connection: ConnectionConfiguration, localIdentity: Identity, score: Int)?
        for connection in connections(local: local.address, remote: remote.address) {
            guard connection.proposals.contains(where: { $0.allows(algorithms) }) else { continue }
            let own = connection.localIdentity ?? Identity(address: local.address)
            guard wanted == nil || wanted == own, connection.remoteIdentity == nil || connection.remoteIdentity == peer else { continue }
            let score = (connection.remoteIdentity != nil ? 2 : 0) + (connection.localIdentity != nil ? 1 : 0)
            if score > best?.score ?? -1 { best = (connection, own, score) }
        }
        return best.map { ($0.connection, $0.localIdentity) }
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

extension SharedSecret {
    /// How well the secret fits, or `nil`: it has to be the peer's, anybody's, or ours with no peer named.
    ///
    /// A peer that gives our own identity for its own is not named by ours: else whoever shares a secret with us could pass for us.
    fileprivate func score(local: Identity, remote: Identity) -> Int? {
        func match(_ identity: Identity) -> Int { identities.contains(identity) ? 2 : identities.contains(nil) ? 1 : 0 }
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
