import CLinux
import Glibc

/// Linux capabilities (capabilities(7)), by their numbers.
struct Capabilities: OptionSet, Hashable {
    var rawValue: UInt64

    /// Ports below 1024.
    static let netBindService = Capabilities(number: 10)
    /// Addresses, routes, XFRM, conntrack, TUN.
    static let netAdmin = Capabilities(number: 12)
    /// Raw ESP sockets, gratuitous ARP, neighbour advertisements.
    static let netRaw = Capabilities(number: 13)
    /// Memory beyond RLIMIT_MEMLOCK stays out of swap.
    static let ipcLock = Capabilities(number: 14)

    private static let names: [(Capabilities, String)] = [
        (.netBindService, "net_bind_service"), (.netAdmin, "net_admin"), (.netRaw, "net_raw"), (.ipcLock, "ipc_lock"),
    ]

    init(rawValue: UInt64) { self.rawValue = rawValue }
    private init(number: UInt64) { rawValue = 1 << number }

    /// For logs: those that the daemon may keep.
    var text: String {
        let named = Capabilities.names.filter { contains($0.0) }.map(\.1)
        return named.isEmpty ? "none" : named.joined(separator: " ")
    }

    /// What the calling thread may do; `nil` when the kernel does not tell.
    static var permitted: Capabilities? {
        var sets = tandem_capabilities()
        return tandem_capget(&sets) == 0 ? Capabilities(rawValue: sets.permitted) : nil
    }

    /// From now on the calling thread, and every thread that it starts, has at most these.
    ///
    /// - Returns: false when the kernel refused.
    static func retain(_ kept: Capabilities) -> Bool {
        var sets = tandem_capabilities()
        guard tandem_capget(&sets) == 0 else { return false }
        sets.permitted &= kept.rawValue
        sets.effective = sets.permitted
        // The ambient set is a part of it.
        sets.inheritable &= kept.rawValue
        return tandem_capset(sets) == 0
    }

    /// No program that is started from now on, whoever owns it, gets any other.
    ///
    /// - Returns: false when the kernel refused one: a thread without CAP_SETPCAP cannot, and needs it not, as the service manager has done it.
    static func bound(to kept: Capabilities) -> Bool {
        var wasRefused = false
        for number in 0..<Int32(64) {
            let has = tandem_bounding_has(number)
            guard has >= 0 else { break }
            if has == 1, !kept.contains(Capabilities(number: UInt64(number))), tandem_bounding_drop(number) != 0 { wasRefused = true }
        }
        return !wasRefused
    }
}
