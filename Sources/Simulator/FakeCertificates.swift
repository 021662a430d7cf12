import Cryptography
import Node
import Session

/// A node's files of certificates, which outlive its process. What stands for a certificate is its node and its number.
struct FakeCertificates {
    /// How long files take.
    static let latency: UInt64 = 1_000_000

    private let node: UInt8
    private(set) var own: [UInt8]
    private(set) var staged: [UInt8]?
    /// The one in use first.
    private(set) var peer: [[UInt8]]
    private var made: UInt8 = 0

    init(node: Int) {
        self.node = UInt8(node)
        own = [self.node, 0]
        peer = [[1 - self.node, 0]]
    }

    /// What a change that was cut short has left is thrown away at the start.
    mutating func tidy() { staged = nil }

    /// - Parameter octet: the pair's secret as long as both certificates are the first ones.
    func certificates(octet: UInt8, notAfter: Int64) -> PairCertificates {
        PairCertificates(
            own: certificate(own, own, peer[0], octet, notAfter), peer: peer.map { certificate($0, own, $0, octet, notAfter) })
    }

    private func certificate(_ pem: [UInt8], _ own: [UInt8], _ peer: [UInt8], _ octet: UInt8, _ notAfter: Int64) -> PairCertificate {
        let both = own.lexicographicallyPrecedes(peer) ? own + peer : peer + own
        let secret = own[1] == 0 && peer[1] == 0 ? Array(repeating: octet, count: 32) : sha256(both)
        return PairCertificate(digest: sha256(pem), notAfterMilliseconds: notAfter, secret: SecretBytes(secret))
    }

    /// Does what the runtime does.
    ///
    /// - Returns: what the node is told; `nil`: nothing.
    mutating func carryOut(_ step: CertificateStep, octet: UInt8, notAfter: Int64) -> CertificateEvent? {
        switch step {
        case .prepare:
            made += 1
            let new = [node, made]
            staged = new
            return .prepared(certificate(new, new, peer[0], octet, notAfter), certificate: new)
        case .adopt:
            guard let new = staged else { return .failed(reason: "nothing is staged") }
            own = new
            staged = nil
            return .adopted
        case .abandon:
            staged = nil
            return nil
        case .trust(let offered):
            guard offered.count == 2, offered[0] == 1 - node else { return .distrusted(certificate: offered, reason: "no certificate") }
            peer = [peer[0], offered]
            return .trusted(certificate(offered, own, offered, octet, notAfter), certificate: offered)
        case .confirm(let digest):
            peer.removeAll { sha256($0) != digest }
            return nil
        }
    }
}

extension World {
    func carryOut(_ step: CertificateStep, of index: Int) {
        let event = folders[index].carryOut(step, octet: secrets[index], notAfter: options.certificatesEnd)
        let life = lives[index]
        guard let event else { return }
        after(FakeCertificates.latency) { world in
            if world.lives[index] == life { world.feed(index, .certificate(event)) }
        }
    }
}
