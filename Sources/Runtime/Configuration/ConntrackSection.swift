import Node
import Session

/// `[conntrack]`.
public struct ConntrackSettings: Hashable, Sendable {
    public enum Enabling: String, Hashable, Sendable, CaseIterable {
        /// Where the kernel has conntrack and lets the daemon at it.
        case auto
        case yes
        case no
    }

    public var enable: Enabling = .auto
    /// Connections that are followed, at most: a quarter of a million cost some 100 MiB on the standby, 30 MiB on the active.
    public var limit = 262_144

    public init() {}
}

extension Sections {
    func conntrack() -> ConntrackSettings {
        var settings = ConntrackSettings()
        guard let table = root.subtable("conntrack") else { return settings }
        table.allow(["enable", "limit"])
        if let word = table.choice("enable", ConntrackSettings.Enabling.allCases.map(\.rawValue)) {
            settings.enable = ConntrackSettings.Enabling(rawValue: word) ?? .auto
        }
        settings.limit = table.integer("limit", in: 1...4_194_304) ?? settings.limit
        return settings
    }
}
