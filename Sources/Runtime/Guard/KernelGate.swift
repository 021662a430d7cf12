import Netlink
import Session

/// The gate of the kernel's data plane, shut from outside of the daemon: the same block policies, put before every tunnel.
struct KernelGate {
    private let xfrm: XFRM
    private let policies: [XFRMPolicy]

    /// `nil` when the kernel does no ESP for this configuration, or has nothing to protect.
    init?(configuration: Configuration) {
        guard let choice = try? DataPlaneChoice(configuration.dataPlane.kind), choice.isKernel,
            let policies = try? KernelPolicies.blocks(configuration.protectedTraffic, gate: .closed), !policies.isEmpty,
            let xfrm = try? XFRM()
        else { return nil }
        self.xfrm = xfrm
        self.policies = policies
    }

    /// As fast for a hundred thousand sessions as for one.
    func shut() throws(NetlinkError) {
        let outcomes = try xfrm.perform(policies.map { .setPolicy($0) })
        if let failure = outcomes.compactMap(\.error).first { throw failure }
    }

    /// Takes away what now does nothing any more: the SAs behind the gate. As long as there are many.
    func clear() throws(NetlinkError) { try KernelDataPlane.fence() }
}
