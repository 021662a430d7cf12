import CMNL
import Glibc
public import Session

/// Whether the kernel has conntrack and lets us at it.
public struct ConntrackSupport: Hashable, Sendable {
    public var isSupported: Bool
    /// For people.
    public var reason: String
}

/// The kernel's table of connections. Belongs to one thread at a time.
public final class Conntrack {
    private let socket: NetlinkSocket

    /// - Throws: `NetlinkError`, for instance EPERM without CAP_NET_ADMIN.
    public init() throws(NetlinkError) { socket = try NetlinkSocket(.netfilter) }

    public static func support() -> ConntrackSupport {
        do throws(NetlinkError) {
            // Asking makes the kernel load the module, where there is one.
            _ = try Conntrack().socket.request(ConntrackEncoding.statistics())
            return ConntrackSupport(isSupported: true, reason: "the kernel has conntrack")
        } catch {
            return ConntrackSupport(isSupported: false, reason: "\(error)")
        }
    }

    /// What commands came to.
    public struct Outcome: Sendable {
        public var done = 0
        /// What was refused, and why.
        public var failures: [NetlinkError] = []
    }

    /// Carries out commands; a refused one does not keep the others from being done.
    ///
    /// - Throws: only when the socket itself fails.
    public func perform(_ commands: [FlowCommand]) throws(NetlinkError) -> Outcome {
        var outcome = Outcome()
        var again: [FlowEntry] = []
        let messages = commands.map { command in
            switch command {
            case .create(let entry): ConntrackEncoding.create(entry)
            case .update(let entry): ConntrackEncoding.update(entry)
            case .remove(let key): ConntrackEncoding.delete(key)
            }
        }
        for (command, result) in zip(commands, try socket.perform(messages)) {
            switch (command, result.error) {
            case (_, nil): outcome.done += 1
            case (.remove, let error?): if error.isNotThere { outcome.done += 1 } else { outcome.failures.append(error) }
            // It is there and should not be, or the other way round, or it is another one under its name.
            case (.create(let entry), _?), (.update(let entry), _?): again.append(entry)
            }
        }
        try replace(again, &outcome)
        return outcome
    }

    private func replace(_ entries: [FlowEntry], _ outcome: inout Outcome) throws(NetlinkError) {
        guard !entries.isEmpty else { return }
        let messages = entries.flatMap { [ConntrackEncoding.delete($0.key), ConntrackEncoding.create($0)] }
        for (index, result) in try socket.perform(messages).enumerated() where index % 2 == 1 {
            if let error = result.error { outcome.failures.append(error) } else { outcome.done += 1 }
        }
    }

    /// All entries of both families that can be taken elsewhere, a few at a time, as they are while the list goes on.
    ///
    /// - Parameter take: whether to go on.
    /// - Returns: whether it came to its end.
    public func entries(_ take: ([FlowEntry]) -> Bool) throws(NetlinkError) -> Bool {
        for isIPv6 in [false, true] {
            let isWhole = try socket.dump(ConntrackEncoding.dump(isIPv6: isIPv6)) { replies in
                take(
                    replies.compactMap { reply in
                        if case .put(let entry)? = ConntrackDecoding.change(reply) { entry } else { nil }
                    })
            }
            guard isWhole else { return false }
        }
        return true
    }
}
