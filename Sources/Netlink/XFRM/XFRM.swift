import CMNL
import Glibc
public import Session

/// The kernel's SAs and policies, over one socket. Belongs to one thread at a time.
public final class XFRM {
    private let socket: NetlinkSocket

    public init() throws(NetlinkError) { socket = try NetlinkSocket(.xfrm) }

    /// One change. A list of them costs a few system calls, whatever its length.
    public enum Request: Hashable, Sendable {
        case addState(XFRMState)
        /// The limits and the ports of the encapsulation of an SA that is there; nothing else of it changes.
        case updateState(XFRMState)
        case deleteState(XFRMStateID)
        /// The numbers of an SA in both directions, its window's size and kind as when it was added. Everything at or below
        /// `top` counts as received. With `counters`, the kernel's own are set in the same instant.
        case setReplay(XFRMStateID, source: IPAddress, XFRMReplay, counters: UseCounters?)
        case readCounters(XFRMStateID)
        /// Fails when there is one with the same name.
        case addPolicy(XFRMPolicy)
        /// Puts it in place of the one with the same name, in one step, or adds it.
        case setPolicy(XFRMPolicy)
        case deletePolicy(XFRMPolicyID)
    }

    /// The kernel's count of an SA's packets and of their octets.
    public struct UseCounters: Hashable, Sendable {
        public var packets: UInt64
        public var bytes: UInt64

        public init(packets: UInt64, bytes: UInt64) {
            self.packets = packets
            self.bytes = bytes
        }
    }

    public enum Outcome: Hashable, Sendable {
        case done
        case counters(XFRMCounters)
        case failed(NetlinkError)

        public var error: NetlinkError? { if case .failed(let error) = self { error } else { nil } }
    }

    /// Does the requests in their order. One that fails does not keep the next from being done.
    ///
    /// - Returns: what each came to, in the same order.
    /// - Throws: when the socket itself fails; what was done by then is not known.
    public func perform(_ requests: [Request]) throws(NetlinkError) -> [Outcome] {
        let now = UInt64(time(nil))
        return try socket.perform(requests.map { XFRM.message($0, now: now) }).map { outcome in
            if let error = outcome.error { return .failed(error) }
            for reply in outcome.replies {
                if let (counters, _) = XFRMDecoding.counters(event: reply) { return .counters(counters) }
            }
            return .done
        }
    }

    /// One request; throws what the kernel says of it.
    @discardableResult
    public func perform(_ request: Request) throws(NetlinkError) -> Outcome {
        let outcome = try perform([request])[0]
        if case .failed(let error) = outcome { throw error }
        return outcome
    }

    private static func message(_ request: Request, now: UInt64) -> NetlinkMessage {
        switch request {
        case .addState(let state): XFRMEncoding.newState(state, now: now)
        case .updateState(let state): XFRMEncoding.updateState(state, now: now)
        case .deleteState(let id): XFRMEncoding.deleteState(id)
        case .setReplay(let id, let source, let replay, let counters):
            XFRMEncoding.setReplay(id, source: source, replay, counters: counters.map { ($0.packets, $0.bytes) }, now: now)
        case .readCounters(let id): XFRMEncoding.getReplay(id)
        case .addPolicy(let policy): XFRMEncoding.putPolicy(policy, replacing: false)
        case .setPolicy(let policy): XFRMEncoding.putPolicy(policy, replacing: true)
        case .deletePolicy(let id): XFRMEncoding.deletePolicy(id)
        }
    }

    /// All ESP SAs of the network namespace, whoever made them.
    public func states() throws(NetlinkError) -> [XFRMCounters] {
        var replies = try socket.dump(XFRMEncoding.getStates())
        defer { for index in replies.indices { replies[index].wipe() } }
        return replies.compactMap { XFRMDecoding.counters(state: $0) }
    }

    /// All policies of the network namespace but those of sockets, whoever made them.
    public func policies() throws(NetlinkError) -> [XFRMPolicy] {
        try socket.dump(XFRMEncoding.getPolicies()).compactMap(XFRMDecoding.policy)
    }

    /// Policies towards a single peer address are found by a hash, whatever lies on our side; without this the kernel walks
    /// through all that fall into one configured network, packet by packet. Of the whole network namespace.
    public func hashPoliciesByPeerHost() throws(NetlinkError) {
        _ = try socket.request(XFRMEncoding.setHashThresholds(local: 0, remote4: 32, remote6: 128))
    }
}
