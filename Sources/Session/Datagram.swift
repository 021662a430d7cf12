/// An IKE datagram that came in or goes out, without the non-ESP marker (RFC 3948 §2.2): the socket of port 4500 adds and
/// removes it.
public struct Datagram: Hashable, Sendable {
    public var local: Endpoint
    public var remote: Endpoint
    public var bytes: [UInt8]

    public init(local: Endpoint, remote: Endpoint, bytes: [UInt8]) {
        self.local = local
        self.remote = remote
        self.bytes = bytes
    }
}
