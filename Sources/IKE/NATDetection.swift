import Cryptography
import IKEWire
import Session

extension NATDetection {
    /// From the notifies of a message that came from `remote` to `local` with the header's SPIs.
    init(_ payloads: PayloadSet, spis: IKESPIs, local: Endpoint, remote: Endpoint) {
        self.init()
        let sources = payloads.notifies.filter { $0.type == .natDetectionSourceIP }
        let destinations = payloads.notifies.filter { $0.type == .natDetectionDestinationIP }
        isSupported = !sources.isEmpty && !destinations.isEmpty
        guard isSupported else { return }
        // The sender may list several of its addresses; one that fits is enough.
        let source = NATDetection.hash(spis: spis, endpoint: remote)
        let destination = NATDetection.hash(spis: spis, endpoint: local)
        remoteBehindNAT = !sources.contains { $0.data == source }
        localBehindNAT = !destinations.contains { $0.data == destination }
    }

    /// Both notifies of a message from `local` to `remote`.
    ///
    /// - Parameter forced: the source is given as an address that nobody has, so that the peer sees a NAT and encapsulates.
    static func payloads(spis: IKESPIs, local: Endpoint, remote: Endpoint, forced: Bool) -> [Payload] {
        let source = forced ? Endpoint(.unspecified(local.address.family), 0) : local
        return [
            .notify(.natDetectionSourceIP, hash(spis: spis, endpoint: source)),
            .notify(.natDetectionDestinationIP, hash(spis: spis, endpoint: remote)),
        ]
    }

    private static func hash(spis: IKESPIs, endpoint: Endpoint) -> [UInt8] {
        sha1(spis.initiator.networkBytes + spis.responder.networkBytes + endpoint.address.bytes + endpoint.port.networkBytes)
    }
}
