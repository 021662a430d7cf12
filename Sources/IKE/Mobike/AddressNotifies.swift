import IKEWire
import Session

/// What a message says of addresses (RFC 4555 §4).
extension PayloadSet {
    /// The peer's further addresses, all of them; `nil` when the message says nothing of them. Past the limit they are left out.
    var additionalAddresses: [IPAddress]? {
        let told = notifies.filter {
            [.additionalIP4Address, .additionalIP6Address, .noAdditionalAddresses].contains($0.type)
        }
        guard !told.isEmpty else { return nil }
        var found: [IPAddress] = []
        for notify in told where notify.type != .noAdditionalAddresses && found.count < Session.peerAddressesMax {
            guard let address = IPAddress(bytes: notify.data), address.isIPv4 == (notify.type == .additionalIP4Address),
                !address.isUnspecified, !found.contains(address)
            else { continue }
            found.append(address)
        }
        return found
    }

    /// COOKIE2, to be sent back as it came (RFC 4555 §3.7); of a length that is not allowed, it is none.
    var returnCookie: [UInt8]? { notify(.cookie2).flatMap { ReturnCookie.lengths.contains($0.data.count) ? $0.data : nil } }

    /// NO_NATS_ALLOWED with other addresses or ports than the datagram has (RFC 4555 §3.9).
    func isTranslated(_ datagram: Datagram) -> Bool {
        guard let notify = notify(.noNATsAllowed) else { return false }
        let (source, destination) = (datagram.remote, datagram.local)
        return notify.data
            != source.address.bytes + destination.address.bytes + source.port.networkBytes + destination.port.networkBytes
    }

    var hasNATDetection: Bool { has(.natDetectionSourceIP) && has(.natDetectionDestinationIP) }
}

enum ReturnCookie {
    /// RFC 4555 §4.2.5.
    static let lengths = 8...64
    /// Nobody guesses 128 bits.
    static let ownLength = 16
}

extension ConnectionConfiguration {
    /// MOBIKE_SUPPORTED with the addresses that we have beside the one in the IP header (RFC 4555 §3.4).
    func mobikeNotifies(beside local: IPAddress) -> [Payload] {
        guard mobike else { return [] }
        return [.notify(.mobikeSupported)] + IPAddress.notifies(additionalAddresses, beside: local)
    }

    /// Whether a peer may speak from `remote` to `local`.
    func allows(local: IPAddress, remote: IPAddress) -> Bool {
        (localAddresses.isEmpty || localAddresses.contains { $0.contains(local) } || additionalAddresses.contains(local))
            && (remoteAddresses.isEmpty || remoteAddresses.contains { $0.contains(remote) })
    }
}

extension IPAddress {
    static func notifies(_ addresses: [IPAddress], beside local: IPAddress) -> [Payload] {
        addresses.filter { $0 != local }.prefix(Session.peerAddressesMax)
            .map { .notify($0.isIPv4 ? .additionalIP4Address : .additionalIP6Address, $0.bytes) }
    }
}

extension PeerCapabilities {
    /// Without what the connection does not want.
    func agreed(_ connection: ConnectionConfiguration) -> PeerCapabilities { connection.mobike ? self : subtracting(.mobike) }
}
