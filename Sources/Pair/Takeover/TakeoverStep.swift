/// The steps of a takeover, in their order. Each is safe to repeat.
public enum TakeoverStep: UInt8, Hashable, Sendable, CaseIterable {
    /// The peer was found dead, or handed over.
    case detected
    /// The new epoch is ours.
    case owned
    /// SAs whose outbound number was still that of an earlier epoch were set ahead; nothing to do in the usual case.
    case armed
    /// The data plane's gate is open.
    case gateOpened
    /// The addresses are on this host.
    case addressesClaimed
    /// The first gratuitous ARP and neighbour advertisement left.
    case announced
    /// IKE answers, and requests of the dead owner are repeated.
    case ikeLive

    public var name: String {
        switch self {
        case .detected: "detected"
        case .owned: "owned"
        case .armed: "armed"
        case .gateOpened: "gate_opened"
        case .addressesClaimed: "addresses_claimed"
        case .announced: "announced"
        case .ikeLive: "ike_live"
        }
    }
}
