public import Cryptography
import Pair
import Session

/// A certificate by which a node of the pair is known to the other one.
public struct PairCertificate: Hashable, Sendable {
    /// SHA-256 of its DER.
    public var digest: [UInt8]
    public var notAfterMilliseconds: Int64
    /// What the two nodes know and nobody else, as long as this certificate is in use, and the other node's is the present one.
    public var secret: SecretBytes

    public init(digest: [UInt8], notAfterMilliseconds: Int64, secret: SecretBytes) {
        self.digest = digest
        self.notAfterMilliseconds = notAfterMilliseconds
        self.secret = secret
    }
}

extension PairCertificate {
    /// The digest as operators compare it.
    var sha256Text: String { PairCertificate.text(of: digest) }
    static func text(of digest: [UInt8]) -> String { digest.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
}

/// The certificates of both nodes.
public struct PairCertificates: Hashable, Sendable {
    public var own: PairCertificate
    /// The other node's: the one in use, and behind it those that it was heard to want to use, and has not been seen to use.
    public var peer: [PairCertificate]

    /// - Parameter peer: at least one.
    public init(own: PairCertificate, peer: [PairCertificate]) {
        self.own = own
        self.peer = peer
    }
}

/// What the runtime does with files and keys when a certificate changes. Each step can be repeated; `CertificateEvent` answers it.
public enum CertificateStep: Hashable, Sendable {
    /// Make a key and a certificate for this node, and put them beside the present ones. Answered by `prepared` or `failed`.
    case prepare(days: Int)
    /// Put them in the place of the present ones, and use them from the next connection on. Answered by `adopted` or `failed`.
    case adopt
    /// They are not wanted any more.
    case abandon
    /// Take this certificate too for the other node's. Answered by `trusted` or `distrusted`.
    case trust(certificate: [UInt8])
    /// The other node uses this one: take no other any more.
    case confirm(digest: [UInt8])
}

public enum CertificateEvent: Hashable, Sendable {
    /// - certificate: PEM.
    case prepared(PairCertificate, certificate: [UInt8])
    case adopted
    case failed(reason: String)
    case trusted(PairCertificate, certificate: [UInt8])
    case distrusted(certificate: [UInt8], reason: String)
    /// The other node showed this certificate on the link that opens now.
    case shown(digest: [UInt8])
}

/// A change of this node's own certificate. The new one is in use only when the other node has written down that it takes it too.
enum Rotation: Sendable {
    case none
    /// The runtime makes it.
    case preparing(RotationOrder)
    /// The other node has it, and has not answered. `offer`: SHA-256 of what was sent.
    case offered(RotationOrder, PairCertificate, offer: [UInt8])
    /// The runtime puts it in place: there is no way back.
    case adopting(RotationOrder, PairCertificate)
    /// It is in use; the other node has not been heard to know.
    case adopted(RotationOrder)
}

/// A certificate that the other node has offered, until the runtime has written it down.
enum Trusting: Sendable {
    case nothing
    case offered
    /// The link on which it was offered is gone: the other node does not change any more.
    case withdrawn
}

/// The operator's command to change the certificate.
struct RotationOrder: Sendable {
    /// From one step to the next: two files and a few round trips.
    static let patience: Duration = .seconds(10)

    /// `nil`: answered.
    var token: RequestToken?
    var began: Instant
    var deadline: Instant
}

/// What the node knows of certificates.
struct CertificateWork: Sendable {
    /// A certificate that ends sooner is told of, every day.
    static let warningTime: Int64 = 30 * dayMilliseconds
    static let dayMilliseconds: Int64 = 86_400_000

    var certificates: PairCertificates?
    var rotation = Rotation.none
    /// What the runtime does with a certificate that the other node has offered.
    var trusting = Trusting.nothing
    /// When ends are looked at again.
    var nextLook: Instant?

    init(_ certificates: PairCertificates?) { self.certificates = certificates }

    /// The heartbeats' keys that count at the start; without certificates the pair's secret is all there is.
    func heartbeatKeys(secret: SecretBytes) -> HeartbeatKeys {
        guard let certificates else { return HeartbeatKeys(HeartbeatKeys.Name(own: [], peer: []), secret: secret) }
        var keys = HeartbeatKeys(name(peer: certificates.peer[0].digest), secret: certificates.peer[0].secret)
        for further in certificates.peer.dropFirst() { keys.accept(name(peer: further.digest), secret: further.secret) }
        return keys
    }

    func name(peer digest: [UInt8]) -> HeartbeatKeys.Name { HeartbeatKeys.Name(own: certificates?.own.digest ?? [], peer: digest) }

    /// The certificate by which the other node is to know this one, and by no other; `nil`: it has been offered another, or there is none.
    var settled: PairCertificate? {
        switch rotation {
        case .none, .preparing, .adopted: certificates?.own
        case .offered, .adopting: nil
        }
    }

    /// When a step of our own change has taken too long.
    var deadline: Instant? {
        switch rotation {
        case .none, .adopting: nil
        case .preparing(let order), .offered(let order, _, _): order.deadline
        case .adopted(let order): order.token == nil ? nil : order.deadline
        }
    }
}
