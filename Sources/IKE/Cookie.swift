import Cryptography
import Session

/// Stateless cookies (RFC 7296 §2.6): `slot | HMAC(secret, slot | Ni | address | SPIi)`.
///
/// The secret is the pair's and the slot comes from the wall clock, so that each node accepts what the other gave out.
struct CookieJar: Sendable {
    /// How long one version of the secret is used. A cookie is good for one to two slots.
    static let slotMilliseconds: Int64 = 60_000
    /// Octets of a cookie: the slot's last, and an HMAC-SHA-256.
    static let cookieLength = 33

    private let secret: SecretBytes

    init(secret: SecretBytes) { self.secret = secret }

    func cookie(nonce: [UInt8], remote: Endpoint, initiatorSPI: UInt64, now: Now) -> [UInt8] {
        make(slot: CookieJar.slot(now), nonce: nonce, remote: remote, initiatorSPI: initiatorSPI)
    }

    /// True for a cookie of this slot or of a neighbour: the last one, and the next one, for the other node's clock may be ahead.
    func accepts(_ cookie: [UInt8], nonce: [UInt8], remote: Endpoint, initiatorSPI: UInt64, now: Now) -> Bool {
        guard let version = cookie.first else { return false }
        let current = CookieJar.slot(now)
        let good = [current, current &- 1, current &+ 1]
        guard let slot = good.first(where: { UInt8(truncatingIfNeeded: $0) == version }) else { return false }
        return constantTimeEquals(cookie, make(slot: slot, nonce: nonce, remote: remote, initiatorSPI: initiatorSPI))
    }

    private static func slot(_ now: Now) -> UInt64 { UInt64(bitPattern: now.wallMilliseconds / slotMilliseconds) }

    private func make(slot: UInt64, nonce: [UInt8], remote: Endpoint, initiatorSPI: UInt64) -> [UInt8] {
        let input = slot.networkBytes + remote.address.bytes + initiatorSPI.networkBytes + nonce
        return [UInt8(truncatingIfNeeded: slot)] + hmacSHA256(key: secret, input)
    }
}
