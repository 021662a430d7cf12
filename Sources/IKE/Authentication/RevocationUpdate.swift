public import Cryptography

extension IKEEngine {
    /// Puts these lists in the place of those of every connection. All of them change, or none.
    ///
    /// - Throws: `library` if libcrypto fails.
    public mutating func replaceRevocationLists(_ lists: [RevocationList]) throws(CryptographyError) {
        // Connections that share a store go on sharing one.
        var made: [ObjectIdentifier: TrustStore] = [:]
        var changed = configuration
        for index in changed.connections.indices {
            guard case .publicKey(var trust) = changed.connections[index].remoteAuthentication else { continue }
            let former = ObjectIdentifier(trust.store)
            let store =
                if let known = made[former] { known } else { try TrustStore(authorities: trust.store.authorities, revocationLists: lists) }
            made[former] = store
            trust.store = store
            changed.connections[index].remoteAuthentication = .publicKey(trust)
        }
        configuration = changed
    }
}
