import IKE
import Node
import Session

extension Configuration {
    /// What must never pass in clear: each child's `local_ts` towards its `remote_ts`, where `dynamic` stands for the
    /// connection's pools on the peers' side and for its `local_addrs` on ours.
    ///
    /// A `dynamic` that stands for addresses which nobody knows beforehand cannot be protected and is left out.
    public var protectedTraffic: [ProtectedTraffic] {
        var found: [ProtectedTraffic] = []
        for connection in node.ike.connections {
            let pools = node.ike.pools.filter { connection.pools.contains($0.name) }.map { TrafficSelector($0.network) }
            let ours = connection.localAddresses.map { TrafficSelector($0) }
            for child in connection.children where child.mode == .tunnel {
                let locals = child.localSelectors.flatMap { $0.resolved(dynamic: ours) }
                let remotes = child.remoteSelectors.flatMap { $0.resolved(dynamic: pools) }
                for local in locals {
                    for remote in remotes where local.start.family == remote.start.family {
                        let pair = ProtectedTraffic(local: local, remote: remote)
                        if !found.contains(pair) { found.append(pair) }
                    }
                }
            }
        }
        return found
    }

    /// What a data plane is made with.
    func dataPlaneConfiguration(routes: RouteInstaller) -> DataPlaneConfiguration {
        DataPlaneConfiguration(
            protected: protectedTraffic, tunName: dataPlane.tunName, mtu: dataPlane.mtu, counterInterval: dataPlane.counterInterval,
            routes: routes)
    }
}

extension SelectorConfiguration {
    fileprivate func resolved(dynamic: [TrafficSelector]) -> [TrafficSelector] {
        switch self {
        case .dynamic: dynamic
        case .selector(let selector): [selector]
        }
    }
}
