extension ControlRequest {
    /// Whether it only shows, and shows no key: what those may ask who may look and no more.
    public var isHarmless: Bool {
        switch self {
        case .version, .stats, .findSessions, .describe, .listConnections, .listPools, .status, .events, .unknown: true
        case .initiate, .terminate, .rekey, .get, .put, .redirect, .switchover, .maintain, .transfer, .rotate: false
        }
    }
}
