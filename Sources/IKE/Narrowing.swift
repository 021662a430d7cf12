import Session

/// Traffic selectors that both sides allow (RFC 7296 §2.9).
enum Narrowing {
    /// Each pair of a local and a remote selector is a policy in the data plane; no known peer asks for more than a handful.
    static let selectorsMax = 32

    /// What of `offered` lies within `configured`, each of which is used as it stands or, when it is dynamic, as the host `dynamic`.
    ///
    /// The order is the configuration's; what another selector contains is left out. Empty: nothing in common.
    static func narrow(_ offered: [TrafficSelector], to configured: [SelectorConfiguration], dynamic: [IPAddress]) -> [TrafficSelector] {
        let ours = configured.flatMap { selector in
            switch selector {
            case .dynamic: dynamic.map { TrafficSelector(host: $0) }
            case .selector(let selector): [selector]
            }
        }
        var out: [TrafficSelector] = []
        for own in ours {
            for other in offered {
                guard let common = own.intersection(other), !out.contains(where: { $0.contains(common) }) else { continue }
                out.removeAll { common.contains($0) }
                out.append(common)
                if out.count == selectorsMax { return out }
            }
        }
        return out
    }
}
