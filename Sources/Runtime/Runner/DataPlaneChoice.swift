import Netlink
import Session

/// Which data plane this host gets, and why.
struct DataPlaneChoice {
    enum Kind: Hashable {
        case kernel(ESPSupport)
        case user

        var name: String {
            switch self {
            case .kernel: "kernel"
            case .user: "user"
            }
        }
    }

    let kind: Kind
    let reason: String

    /// - Throws: when the kernel is demanded and has no ESP.
    init(_ wanted: DataPlaneSettings.Kind) throws(Unsupported) {
        guard wanted != .user else {
            kind = .user
            reason = "dataplane.kind is \"user\""
            return
        }
        let support = XFRM.supportsESP()
        guard support.isSupported || wanted == .auto else { throw Unsupported(reason: support.reason) }
        kind = support.isSupported ? .kernel(support) : .user
        reason = support.reason
    }

    struct Unsupported: Error, CustomStringConvertible {
        let reason: String
        var description: String { "dataplane.kind is \"kernel\", but \(reason); use \"auto\" or \"user\"" }
    }

    var isKernel: Bool { kind != .user }

    func make(_ configuration: DataPlaneConfiguration, loop: PacketLoop) throws -> any DataPlane {
        switch kind {
        case .user: UserDataPlane(configuration: configuration, reason: reason, loop: loop)
        case .kernel(let support): try KernelDataPlane(configuration: configuration, support: support)
        }
    }
}

extension RouteInstaller {
    /// Through the kernel's routing table.
    static let netlink = RouteInstaller(
        addUnicast: { prefix, interface in try Routes.replace(Route(prefix, .device(interface))) },
        removeUnicast: { prefix, interface in try Routes.remove(Route(prefix, .device(interface))) },
        addBlackhole: { prefix, metric in try Routes.replace(Route(prefix, .blackhole, metric: metric)) },
        removeBlackhole: { prefix, metric in try Routes.remove(Route(prefix, .blackhole, metric: metric)) })
}
