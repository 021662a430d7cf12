import Cryptography
import IKE
import Node
import Pair
import Session

extension World {
    func configuration(_ node: NodeID, alone: Bool = false, secret: UInt8 = 3) -> NodeConfiguration {
        let paths = (0..<options.paths).map { path in
            HeartbeatPath(
                local: Endpoint(IPAddress("10.\(path + 1).0.\(node.rawValue + 1)")!, 4510),
                remote: Endpoint(IPAddress("10.\(path + 1).0.\(2 - node.rawValue)")!, 4510))
        }
        let pair = PairConfiguration(
            peerName: "sg\(2 - node.rawValue)", secret: SecretBytes(Array(repeating: secret, count: 32)),
            replayProtection: options.replayProtection, arbitration: options.arbitration, paths: paths,
            certificates: folders[Int(node.rawValue)].certificates(octet: secret, notAfter: options.certificatesEnd))
        var configuration = NodeConfiguration(
            name: "sg\(node.rawValue + 1)", id: node, pair: alone ? nil : pair,
            addresses: options.nodeAddresses.isEmpty ? [SharedAddress(prefix: IPPrefix("192.0.2.10/24")!, interface: "eth0")] : [],
            nodeAddresses: options.nodeAddresses.isEmpty
                ? .none
                : NodeAddresses(
                    own: [options.nodeAddresses[Int(node.rawValue)]], peer: [options.nodeAddresses[1 - Int(node.rawValue)]]),
            ike: ikeConfiguration, version: "test", flowLimit: options.flowLimit,
            gateways: [GatewayConfiguration(name: "old", redirectTo: .address(World.vip))])
        configuration.overload = options.overload
        configuration.track = options.track
        configuration.preferred = options.preferred.map { preferred in
            PreferredNode(isOwn: preferred.node == Int(node.rawValue), name: "sg\(preferred.node + 1)", delay: preferred.delay)
        }
        return configuration
    }

    var ikeConfiguration: IKEConfiguration {
        let ike = IKEProposal(
            ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], prfs: [.hmacSHA256], groups: [.curve25519])
        let withPFS = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [.curve25519])
        let withoutPFS = ESPProposal(ciphers: [Cipher(.aesGCM16, keyBits: 128)], integrity: [], groups: [])
        var child = ChildConfiguration(
            name: "net", localSelectors: [.selector(TrafficSelector(IPPrefix("10.10.0.0/16")!))], remoteSelectors: [.dynamic],
            proposals: [withPFS, withoutPFS])
        child.hook = options.hook
        var connection = ConnectionConfiguration(
            name: "road", proposals: [ike], localIdentity: Identity(text: "gw.example.net"), remoteIdentity: nil, pools: ["road"],
            children: [child], livenessDelay: options.livenessDelay)
        connection.unique = options.unique
        var pool = PoolConfiguration(
            name: "road", first: IPAddress("10.20.0.1")!, last: IPAddress(options.lastAddress)!, network: IPPrefix("10.20.0.0/16")!)
        pool.isPersistent = options.persistent
        var configuration = IKEConfiguration(
            connections: [connection] + options.connections,
            secrets: [SharedSecret(identities: [], secret: SecretBytes(Array("secret".utf8)))], pools: [pool])
        configuration.limits.retransmitTimeout = options.retransmitTimeout
        return configuration
    }
}
