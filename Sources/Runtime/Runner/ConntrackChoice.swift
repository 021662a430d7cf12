import Netlink

/// Whether this node follows connections, and why.
struct ConntrackChoice {
    /// `nil`: it does not.
    let limit: Int?
    let reason: String

    /// - Throws: when it is demanded and the kernel has none.
    init(_ settings: ConntrackSettings, hasPeer: Bool) throws(Unsupported) {
        guard settings.enable != .no, hasPeer else {
            limit = nil
            reason = hasPeer ? "conntrack.enable is \"no\"" : "there is no [pair]"
            return
        }
        let support = Conntrack.support()
        guard support.isSupported || settings.enable == .auto else { throw Unsupported(reason: support.reason) }
        limit = support.isSupported ? settings.limit : nil
        reason = support.reason
    }

    struct Unsupported: Error, CustomStringConvertible {
        let reason: String
        var description: String { "conntrack.enable is true, but the kernel's conntrack cannot be used: \(reason); use \"auto\" or false" }
    }
}
