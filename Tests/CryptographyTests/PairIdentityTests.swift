import Cryptography
import Testing

struct PairIdentityTests {
    @Test func pairSecret_onBothNodes_isTheSameAndOfThisPairOnly() throws {
        let one = try PairIdentity.generate(name: "sg1", validDays: 3650)
        let two = try PairIdentity.generate(name: "sg2", validDays: 3650)
        let stranger = try PairIdentity.generate(name: "sg2", validDays: 3650)
        let secret = try pairSecret(ownKeyPEM: one.keyPEM, peerCertificatePEM: two.certificatePEM)
        #expect(secret == (try pairSecret(ownKeyPEM: two.keyPEM, peerCertificatePEM: one.certificatePEM)))
        #expect(secret.count == 32)
        #expect(secret != (try pairSecret(ownKeyPEM: one.keyPEM, peerCertificatePEM: stranger.certificatePEM)))
        #expect(secret != (try pairSecret(ownKeyPEM: stranger.keyPEM, peerCertificatePEM: one.certificatePEM)))
    }

    @Test func certificate_whenMade_hasAFingerprintAndAnEnd() throws {
        let one = try PairIdentity.generate(name: "sg1.example", validDays: 10)
        let two = try PairIdentity.generate(name: "sg1.example", validDays: 20)
        let fingerprint = try certificateFingerprint(pem: one.certificatePEM)
        #expect(fingerprint.count == 32)
        #expect(fingerprint == (try certificateFingerprint(pem: one.certificatePEM)))
        #expect(fingerprint != (try certificateFingerprint(pem: two.certificatePEM)))
        let difference = try certificateNotAfter(pem: two.certificatePEM) - certificateNotAfter(pem: one.certificatePEM)
        #expect((difference - 10 * 86400).magnitude <= 60)
    }

    /// A certificate made elsewhere: fingerprint and end as `openssl x509` shows them.
    @Test func certificate_fromElsewhere_isReadAlike() throws {
        #expect(try certificateFingerprint(pem: foreignCertificate) == hex(foreignFingerprint))
        #expect(try certificateNotAfter(pem: foreignCertificate) == foreignNotAfter)
    }

    @Test func generate_withAnOddNameOrLifetime_isRefused() {
        for name in ["", "a,DNS:b", "a b", "é", String(repeating: "a", count: 65), "a\n"] {
            #expect(throws: CryptographyError.badEncoding) { try PairIdentity.generate(name: name, validDays: 1) }
        }
        for days in [0, -1, 36501, .max] {
            #expect(throws: CryptographyError.badEncoding) { try PairIdentity.generate(name: "sg1", validDays: days) }
        }
    }

    @Test func pem_whenGarbage_isRefused() throws {
        let one = try PairIdentity.generate(name: "sg1", validDays: 1)
        for garbage in ["", "garbage", String(one.certificatePEM.prefix(200)), String(one.certificatePEM.dropLast(40))] {
            #expect(throws: CryptographyError.badEncoding) { try certificateFingerprint(pem: garbage) }
            #expect(throws: CryptographyError.badEncoding) { try pairSecret(ownKeyPEM: one.keyPEM, peerCertificatePEM: garbage) }
            #expect(throws: CryptographyError.badEncoding) {
                try pairSecret(ownKeyPEM: SecretBytes(garbage.utf8), peerCertificatePEM: one.certificatePEM)
            }
        }
        #expect(throws: CryptographyError.badPublicValue) {
            try pairSecret(ownKeyPEM: one.keyPEM, peerCertificatePEM: foreignCertificate)
        }
        #expect(!one.certificatePEM.contains("PRIVATE"))
    }
}

/// A P-384 certificate of `openssl req -x509`.
private let foreignCertificate = """
    -----BEGIN CERTIFICATE-----
    MIIBuTCCAUCgAwIBAgIUMj52YiegR6uw4zRkHGFarIakoSUwCgYIKoZIzj0EAwIw
    FDESMBAGA1UEAwwJZWxzZXdoZXJlMB4XDTI2MTEyMzE1NTc1MFoXDTQ2MTExODE1
    NTc1MFowFDESMBAGA1UEAwwJZWxzZXdoZXJlMHYwEAYHKoZIzj0CAQYFK4EEACID
    YgAEh4TCqPrrF0hin7dUIKvcXRXUpoLlD9g7cKe5iDlF8XaqTmm4QpcL/iKdQLk+
    oxTRFdsnMphcUGgKvnPPuQtcbuvSzLFzIt3ahCXEZU99hzj3A2Bu90FObZ0Hapui
    ub81o1MwUTAdBgNVHQ4EFgQU0UbG4LNVj0385zinSJkSPFh4EtowHwYDVR0jBBgw
    FoAU0UbG4LNVj0385zinSJkSPFh4EtowDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjO
    PQQDAgNnADBkAjBCFeLW/D4MQDEW5dTkofHUdq4XM0VqR8xGymDTMmnzzBodb9vS
    cmZ6FiRXXdRoh4MCMDW3rGQA2a9dbAZ3vLOhbv1zfKVEEfCnmDiGT5tn5CdNSyB7
    /DcivGKSibTC28aYNg==
    -----END CERTIFICATE-----
    """
private let foreignFingerprint = "14621e6e06ad972e6f9819fbb29a203849efcb0902c56d39598199a775d93267"
private let foreignNotAfter: Int64 = 2426169470
