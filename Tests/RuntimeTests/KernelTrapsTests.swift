import Netlink
import Session
import Testing

@testable import Runtime

@Suite struct KernelTrapsTests {
    private func trap(_ child: String, _ remote: String) -> TrapPolicy {
        TrapPolicy(
            name: ChildName(connection: "site", child: child), mode: .tunnel, local: IPAddress("192.0.2.10")!,
            remote: IPAddress("192.0.2.200")!, localSelectors: [TrafficSelector(IPPrefix("10.10.0.0/16")!)],
            remoteSelectors: [TrafficSelector(IPPrefix(remote)!)])
    }

    @Test func set_ofOtherTraps_replacesThoseBefore() throws {
        var traps = KernelTraps()
        let first = try traps.set([trap("a", "10.30.0.0/16"), trap("b", "10.31.0.0/16")])
        let policies = first.compactMap { if case .setPolicy(let policy) = $0 { policy } else { nil } }
        #expect(policies.count == 2 && first.count == 2)
        // Between every tunnel and the block of an open gate, and behind that of a closed one.
        #expect(
            policies.allSatisfy {
                $0.priority > 20_000 && $0.priority < KernelPolicies.openPriority && $0.priority > KernelPolicies.closedPriority
            })
        #expect(try traps.set([trap("a", "10.30.0.0/16"), trap("b", "10.31.0.0/16")]).isEmpty, "said again, it changes nothing")
        let next = try traps.set([trap("a", "10.30.0.0/16")])
        #expect(next == [.deletePolicy(policies.first { $0.id.selector.destination == IPPrefix("10.31.0.0/16") }!.id)])
    }
}
