/// Addresses at which each node of a pair serves by itself, and that never move: two gateways in two cities, without a shared address.
///
/// Whoever owns the sessions speaks from its own. The first of one node stands for the first of the other of the same family, the
/// second for the second.
public struct NodeAddresses: Hashable, Sendable {
    public let own: [IPAddress]
    public let peer: [IPAddress]
    private let counterparts: [IPAddress: IPAddress]

    public static let none = NodeAddresses(own: [], peer: [])

    public init(own: [IPAddress], peer: [IPAddress]) {
        self.own = own
        self.peer = peer
        var counterparts: [IPAddress: IPAddress] = [:]
        for family in [IPAddress.Family.ipv4, .ipv6] {
            for (theirs, ours) in zip(peer.filter { $0.family == family }, own.filter { $0.family == family }) {
                counterparts[theirs] = ours
            }
        }
        self.counterparts = counterparts
    }

    public var isEmpty: Bool { own.isEmpty && peer.isEmpty }

    /// Ours in place of one of the other node's; `nil` for any other address.
    public func counterpart(of address: IPAddress) -> IPAddress? { counterparts[address] }

    /// The endpoint as it is on this node: where the other node would use its own address, we use ours.
    public func here(_ endpoint: Endpoint) -> Endpoint {
        counterparts.isEmpty ? endpoint : Endpoint(counterparts[endpoint.address] ?? endpoint.address, endpoint.port)
    }
}
