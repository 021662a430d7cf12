import Glibc
import Netlink
import Session
import Testing

@testable import Runtime

/// What one life of a daemon leaves in the kernel, and what the next one makes of it; in network namespaces of their own.
@Suite(.enabled(if: canMakeNamespaces, "needs root and iproute2")) struct LeftoverTests {
    private static let prefix = IPPrefix("10.20.0.0/16")!
    private static let protected = [
        ProtectedTraffic(local: TrafficSelector(IPPrefix("10.10.0.0/16")!), remote: TrafficSelector(prefix))
    ]
    private static let blackhole = Route(prefix, .blackhole, metric: RouteInstaller.blackholeMetric)

    private static func kernelPlane() throws -> KernelDataPlane {
        try KernelDataPlane(
            configuration: DataPlaneConfiguration(protected: protected, routes: .netlink),
            support: XFRM.supportsESP())
    }

    @Test func kernelPlane_whenTheUserPlaneWasThere_standsWithoutItsBlackholes() throws {
        try Namespace().run {
            try Routes.add(LeftoverTests.blackhole)
            let plane = try LeftoverTests.kernelPlane()
            try plane.start { _ in }
            #expect(throws: Never.self, "gone: it can be added again") { try Routes.add(LeftoverTests.blackhole) }
            plane.stop()
            // Three directions; the user data plane takes their place.
            let blocks = try XFRM().policies()
            #expect(blocks.count == 3 && blocks.allSatisfy { $0.priority == KernelPolicies.closedPriority && $0.action == .block })
            try KernelDataPlane.removeProtection()
            #expect(try XFRM().policies() == [])
        }
    }

    @Test func fence_whenTheConfigurationIsGone_shutsTheGateAllTheSame() throws {
        try Namespace().run {
            let plane = try LeftoverTests.kernelPlane()
            try plane.start { _ in }
            #expect(plane.apply([.gate(.open)]) == [])
            #expect(try XFRM().policies().allSatisfy { $0.priority == KernelPolicies.openPriority })
            #expect(throws: ConfigurationError.self) { try Fence.run(configurationPath: "/nonexistent/tandem.toml") }
            let blocks = try XFRM().policies()
            #expect(blocks.count == 3 && blocks.allSatisfy { $0.priority == KernelPolicies.closedPriority })
            plane.stop()
        }
    }

    @Test func neighbours_whenTheyDidNotAnswer_areForgottenOnThatInterfaceAlone() throws {
        try Namespace().run {
            try ip("link", "add", "v1", "type", "veth", "peer", "name", "v2")
            for (link, address) in [("v1", "192.0.2.7"), ("v2", "192.0.2.8")] {
                try ip("link", "set", link, "up")
                try ip("neigh", "add", address, "dev", link, "nud", "failed")
            }
            try ip("neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:0a", "dev", "v1", "nud", "reachable")
            try Neighbours.dropWaiting(on: "v1")
            // `ip neigh get` fails for what is not there.
            #expect(throws: PacketIOError.self) { try ip("neigh", "get", "192.0.2.7", "dev", "v1") }
            try ip("neigh", "get", "192.0.2.9", "dev", "v1")
            try ip("neigh", "get", "192.0.2.8", "dev", "v2")
        }
    }
}
