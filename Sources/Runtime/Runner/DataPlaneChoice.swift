import Netlink
import Session

/// Which data plane this host gets, and why.
struct DataPlaneChoice {
    enum Kind: String { case kernel, user }

    let kind: Kind
    let reason: String

    /// - Throws: when the kernel is demanded and has no ESP.
    init(_ wanted: DataPlaneSettings.Kind) throws {
        switch wanted {
        case .user:
            kind = .user
            reason = "dataplane.kind is \"user\""
        case .kernel:
            let support = XFRM.supportsESP()
            guard support.isSupported else { throw Unsupported(reason: support.reason) }
            kind = .kernel
            reason = support.reason
        case .auto:
            let support = XFRM.supportsESP()
            kind = support.isSupported ? .kernel : .user
            reason = support.reason
        }
    }

    struct Unsupported: Error, CustomStringConvertible {
        let reason: String
        var description: String { "dataplane.kind is \"kernel\", but \(reason); use \"auto\" or \"user\"" }
    }

    func make(_ configuration: DataPlaneConfiguration, loop: PacketLoop) throws -> any DataPlane {
        switch kind {
        case .user: UserDataPlane(configuration: configuration, reason: reason, loop: loop)
        case .kernel: UserDataPlane(configuration: configuration, reason: reason, loop: loop)
        }
    }
}

extension RouteInstaller {
    /// Through the kernel's routing table.
    static let netlink = RouteInstaller(
        addUnicast: { prefix, interface in try Routes.replace(Route(prefix, .device(interface))) },
        removeUnicast: { prefix, interface in try Routes.remove(Route(prefix, .device(interface))) },
        addBlackhole: { prefix, metric in try Routes.replace(Route(prefix, .blackhole, metric: metric)) })
}
