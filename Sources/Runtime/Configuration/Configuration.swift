public import Cryptography
import IKE
public import Node
public import Session

/// A configuration file, read once into values that cannot be wrong.
public struct Configuration: Sendable {
    /// The file it came from.
    public var path: String
    public var node: NodeConfiguration
    /// `nil`: the node stands alone.
    public var pairLink: PairLinkSettings?
    /// What the pair asks when its nodes do not hear each other.
    public var arbitration = ArbitrationSettings()
    /// `nil`: there are no other gateways.
    public var transferLink: TransferLinkSettings?
    public var dataPlane: DataPlaneSettings
    public var conntrack: ConntrackSettings
    public var runtime: RuntimeSettings
    /// `nil`: nothing is kept on disk.
    public var state: StateSettings?
    /// The files that revocation lists came from.
    var revocationFiles = RevocationFiles()
    /// What an operator should know, and what is no reason not to start: certificates that have expired.
    public var warnings: [ConfigurationError.Problem]

    public init(
        path: String, node: NodeConfiguration, pairLink: PairLinkSettings?, transferLink: TransferLinkSettings? = nil,
        dataPlane: DataPlaneSettings, runtime: RuntimeSettings, conntrack: ConntrackSettings = ConntrackSettings(),
        warnings: [ConfigurationError.Problem] = []
    ) {
        self.warnings = warnings
        self.conntrack = conntrack
        self.path = path
        self.node = node
        self.pairLink = pairLink
        self.transferLink = transferLink
        self.dataPlane = dataPlane
        self.runtime = runtime
    }

    /// The addresses that IKE is served on; empty: all of the host's.
    ///
    /// The hosts among every connection's `local_addrs` and `mobike_addresses`, without the other node's own. A connection that takes any
    /// local address is served on the pair's shared addresses and on this node's own, and on all of the host's when there are none.
    public var listenAddresses: [IPAddress] {
        var found: [IPAddress] = []
        var needsAny = node.ike.connections.isEmpty
        for connection in node.ike.connections {
            let hosts = connection.localAddresses.filter { $0.length == $0.address.bitWidth }.map(\.address)
            if hosts.isEmpty || hosts.count < connection.localAddresses.count { needsAny = true }
            for host in hosts + connection.additionalAddresses
            where !found.contains(host) && !node.nodeAddresses.peer.contains(host) { found.append(host) }
        }
        guard needsAny else { return found }
        let served = node.addresses.map(\.prefix.address) + node.nodeAddresses.own
        return served.isEmpty ? [] : found + served.filter { !found.contains($0) }
    }
}

/// `[pair]`, as far as the link needs it: paths to try in order, our certificate and key, and those that are trusted: the peer's,
/// and its next one for as long as it changes it.
public struct PairLinkSettings: Sendable {
    public var paths: [HeartbeatPath]
    public var certificatePEM: String
    public var keyPEM: SecretBytes
    /// The one in use first.
    public var peerCertificatePEMs: [String]
    /// Where they came from; `nil`: they cannot be changed.
    var files: PairFiles?

    public init(paths: [HeartbeatPath], certificatePEM: String, keyPEM: SecretBytes, peerCertificatePEMs: [String]) {
        self.paths = paths
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
        self.peerCertificatePEMs = peerCertificatePEMs
    }
}

/// `[dataplane]`.
public struct DataPlaneSettings: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        /// The kernel where it has ESP, else user.
        case auto
        case kernel
        case user
    }

    public var kind: Kind = .auto
    /// The TUN device of the user data plane.
    public var tunName = "tandem0"
    /// Its MTU, and the size of inner packets that is announced: room for ESP in UDP on a 1,500-byte path.
    public var mtu = 1400
    /// How often counters of SAs that moved are reported.
    public var counterInterval: Duration = .milliseconds(200)

    public init() {}
}

/// `[runtime]`: what this process uses on its host.
public struct RuntimeSettings: Hashable, Sendable {
    /// Holds the lock against a second instance.
    public var directory = "/run/tandem"
    public var controlSocket = "/run/tandem/tandem.vici"
    /// The group whose members may look through the control socket; `nil`: root alone.
    public var controlGroup: UInt32?
    /// Whether all of the daemon's memory stays out of swap.
    public var locksMemory = true
    public var logLevel: LogLine.Level = .info
    public var ikePort: UInt16 = 500
    /// IKE and ESP in UDP (RFC 3948).
    public var natTraversalPort: UInt16 = 4500
    /// Whether a guard process watches the daemon.
    public var isGuarded = true
    /// The `tandem` program that the guard runs; `nil`: looked for beside `tandemd` and in `$PATH`.
    public var guardProgram: String?

    public init() {}
}
