import Cryptography
import IKEWire
public import Session

/// Peers that have no session here yet are sent to another gateway (RFC 5685 §3, §6).
public struct NewPeerRedirect: Hashable, Sendable {
    /// When they are told.
    public enum Phase: String, Hashable, Sendable, CaseIterable {
        /// In the answer to IKE_SA_INIT: it costs no key exchange and no state, and nobody is authenticated.
        case ikeSAInit = "init"
        /// In the answer to IKE_AUTH, when both sides have shown who they are.
        case ikeAuth = "auth"
    }

    public var target: GatewayIdentity
    public var phase: Phase
    /// Who says that another gateway has sent it here is let in: gateways that are all overloaded would send it round (RFC 5685 §7).
    public var sparesRedirected = false

    public init(to target: GatewayIdentity, phase: Phase) {
        self.target = target
        self.phase = phase
    }

    /// Whether the peer of this datagram can be helped by it: not where the target is ourselves, the gateway that it comes from, or of a
    /// family that it may not have.
    func helps(local: IPAddress, remote: IPAddress, from: IPAddress?) -> Bool {
        if sparesRedirected, from != nil { return false }
        return switch target {
        case .name: true
        case .address(let address): address != local && address != remote && address != from && address.family == remote.family
        }
    }
}

/// When peers without a session were redirected: by address, for nothing else is known of them in IKE_SA_INIT, and by identity. Local to
/// one node and bounded: whoever drives it out of its memory gains that a client is redirected once too often.
struct RedirectBook {
    /// Peers in one of two generations, which are changed when the first is full: some 400 kB together.
    static let perGenerationMax = 2048

    enum Peer: Hashable {
        case address(IPAddress)
        case identity(Identity)
    }

    private var young: [Peer: [Int64]] = [:]
    private var old: [Peer: [Int64]] = [:]

    var count: Int { young.count + old.count }

    /// Counts a redirect.
    ///
    /// - Returns: false when it is one more than the client follows (RFC 5685 §7); it is not counted then.
    mutating func count(_ peer: Peer, at wallMilliseconds: Int64) -> Bool {
        let recent = Redirections(times: young[peer] ?? old[peer] ?? []).recent(at: wallMilliseconds)
        guard recent.count < Redirections.countMax else { return false }
        if young[peer] == nil, young.count >= RedirectBook.perGenerationMax {
            old = young
            young = [:]
        }
        young[peer] = recent + [wallMilliseconds]
        return true
    }
}

extension IKEEngine {
    // MARK: IKE_SA_INIT (RFC 5685 §3)

    /// Where the sender of an IKE_SA_INIT request is to go instead, if anywhere. Only who announced that it can is told.
    mutating func redirection(ofInit payloads: PayloadSet, datagram: Datagram, context: IKEContext) -> GatewayIdentity? {
        guard let redirect = redirectNew, redirect.phase == .ikeSAInit, PeerCapabilities(initNotifies: payloads).contains(.redirect),
            redirect.helps(local: datagram.local.address, remote: datagram.remote.address, from: payloads.redirectedFrom),
            redirected.count(.address(datagram.remote.address), at: context.now.wallMilliseconds)
        else { return nil }
        return redirect.target
    }

    // MARK: IKE_AUTH (RFC 5685 §6)

    /// Where a peer that has shown who it is goes instead, if anywhere.
    mutating func redirection(of admission: Admission, exchange: AuthExchange, context: IKEContext) -> GatewayIdentity? {
        let half = exchange.half
        guard let redirect = redirectNew, redirect.phase == .ikeAuth, half.capabilities.contains(.redirect),
            redirect.helps(
                local: exchange.datagram.local.address, remote: exchange.datagram.remote.address, from: half.redirectedFrom),
            redirected.count(.identity(admission.peer), at: context.now.wallMilliseconds)
        else { return nil }
        return redirect.target
    }
}

extension PayloadSet {
    /// The gateway that sent the peer here (RFC 5685 §9.3): an address.
    var redirectedFrom: IPAddress? {
        guard let notify = notify(.redirectedFrom), let from = GatewayIdentity.parse(notify.data), from.nonce.isEmpty,
            case .address(let address) = from.gateway
        else { return nil }
        return address
    }
}
