import Cryptography
import IKE

extension Node {
    /// Peers are judged by these lists from now on. Who is connected stays so: a list is looked at when somebody authenticates.
    mutating func revocationListsRead(_ lists: [RevocationList]) {
        do throws(CryptographyError) {
            try ike.replaceRevocationLists(lists)
            counters.revocationListUpdates += 1
            log(.notice, "revocation lists are replaced", [.init("lists", "\(lists.count)")])
        } catch {
            counters.revocationListFailures += 1
            log(.error, "revocation lists cannot be used; the former ones stay", [.init("reason", "\(error)")])
        }
    }
}
