import IKE
import Session

/// A NAT that lets in only from where something was sent to (RFC 4787 §5: address-dependent filtering).
final class NAT {
    let outside: IPAddress
    private var inner: [UInt16: Endpoint] = [:]
    private var ports: [Endpoint: UInt16] = [:]
    private var permitted: [UInt16: Set<IPAddress>] = [:]

    init(outside: IPAddress) { self.outside = outside }

    func outwards(_ datagram: Datagram) -> Datagram {
        let port = ports[datagram.local] ?? UInt16(40_000 + ports.count)
        ports[datagram.local] = port
        inner[port] = datagram.local
        permitted[port, default: []].insert(datagram.remote.address)
        return Datagram(local: Endpoint(outside, port), remote: datagram.remote, bytes: datagram.bytes)
    }

    func inwards(_ datagram: Datagram) -> Datagram? {
        guard datagram.remote.address == outside else { return datagram }
        guard permitted[datagram.remote.port]?.contains(datagram.local.address) == true, let inner = inner[datagram.remote.port] else {
            return nil
        }
        return Datagram(local: datagram.local, remote: inner, bytes: datagram.bytes)
    }
}
