import Netlink
import Session

/// Policies without an SA: the kernel asks for one when a packet matches (XFRM_MSG_ACQUIRE), and drops it. They stand behind every
/// tunnel and before the blocks of an open gate; a closed gate's blocks stand before them, so that a standby is asked for nothing.
///
/// The kernel asks for the same policy again only when its placeholder has gone (`net.core.xfrm_acq_expires`, 30 s).
struct KernelTraps {
    static let tag: UInt32 = 0x7A6E_0003
    /// By which the kernel's question is told from others': behind the request ids of tunnels.
    private static let firstRequestID: UInt32 = 0x5B00_0000
    private static let priority: UInt32 = 50_000

    private var policies: [XFRMPolicyID: XFRMPolicy] = [:]
    private var names: [UInt32: ChildName] = [:]

    /// Takes these in place of those before.
    ///
    /// - Returns: what the kernel has to be told.
    mutating func set(_ traps: [TrapPolicy]) throws(XFRMSelectorError) -> [XFRM.Request] {
        var next = KernelTraps()
        for (index, trap) in traps.enumerated() {
            let requestID = KernelTraps.firstRequestID + UInt32(index)
            let template = XFRMTemplate(source: trap.local, destination: trap.remote, requestID: requestID, mode: trap.mode)
            next.names[requestID] = trap.name
            for selector in try XFRMSelector.selectors(source: trap.localSelectors, destination: trap.remoteSelectors) {
                let id = XFRMPolicyID(selector: selector, direction: .out, tag: KernelTraps.tag)
                // Of two for the same traffic the first is asked.
                if next.policies[id] == nil {
                    next.policies[id] = XFRMPolicy(
                        id: id, priority: KernelTraps.priority - KernelPolicies.detail(of: selector), action: .protect(template))
                }
            }
        }
        let gone = policies.keys.filter { next.policies[$0] == nil }.map { XFRM.Request.deletePolicy($0) }
        let new = next.policies.values.filter { policies[$0.id] != $0 }.map { XFRM.Request.setPolicy($0) }
        self = next
        return gone + new
    }

    /// Whom the kernel's question is about, if it is ours.
    func event(_ acquire: XFRMAcquire) -> DataPlaneEvent? {
        names[acquire.requestID].map { .acquired($0, PacketSelector(local: acquire.source, remote: acquire.destination)) }
    }
}
