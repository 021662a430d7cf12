import CLinux
import Glibc
import Node
import Session

/// What the daemon gives up of root's powers, and how its keys stay in its memory.
///
/// Capabilities belong to a thread, and are handed down to those that it starts. So the daemon confines itself in two steps, each where no
/// thread is left out: `begin` before there is a second one, `sealThread` on the two that there are once ports below 1024 are bound.
struct Confinement {
    /// What is kept for good.
    let kept: Capabilities

    /// - Parameter configuration: says whether a port below 1024 has to be bound again later.
    static func begin(_ configuration: Configuration, log: (LogLine) -> Void) -> Confinement {
        refuseDumps()
        var kept: Capabilities = [.netAdmin, .netRaw]
        // What listens for the pair or for other gateways is bound again when it fails.
        if configuration.rebindsLowPorts { kept.insert(.netBindService) }
        if configuration.runtime.locksMemory, lockMemory(log) == .byCapability { kept.insert(.ipcLock) }
        joinControlGroup(configuration.runtime, log)
        let confinement = Confinement(kept: kept)
        let isBound = Capabilities.bound(to: kept)
        if tandem_no_new_privileges() != 0 { log(warning("cannot forbid new privileges")) }
        if !Capabilities.retain(kept.union(.netBindService)) { log(warning("cannot give up capabilities")) }
        let left = Capabilities.permitted.map { $0.intersection(kept).text } ?? "unknown"
        let bounding = isBound ? "the same" : "the service manager's"
        log(LogLine(.info, "root's powers are given up", [.init("capabilities", left), .init("of_programs", bounding)]))
        return confinement
    }

    /// The calling thread has no need of ports below 1024 any more.
    func sealThread(_ log: (LogLine) -> Void) {
        if !Capabilities.retain(kept) { log(Confinement.warning("cannot give up capabilities")) }
    }

    /// Neither a crash nor a debugger of the same user shows what is in memory.
    static func refuseDumps() {
        _ = tandem_no_core()
        _ = tandem_not_dumpable()
    }

    private enum Locked { case no, byLimit, byCapability }

    /// All of it: keys are in frames, datagrams and TLS's own buffers too, and not only where they are kept. Without a limit only: with one,
    /// the daemon would be refused memory where it needs it most.
    private static func lockMemory(_ log: (LogLine) -> Void) -> Locked {
        let hasNoLimit = tandem_unlimited_memory_lock() == 0
        guard hasNoLimit || Capabilities.permitted?.contains(.ipcLock) == true else {
            log(warning("keys may be written to swap: memory cannot be locked", "raise LimitMEMLOCK, or set runtime.lock_memory = false"))
            return .no
        }
        guard tandem_lock_memory() == 0 else {
            log(warning("keys may be written to swap: memory cannot be locked", errorText()))
            return .no
        }
        return hasNoLimit ? .byLimit : .byCapability
    }

    /// So that the control socket can be given to its group without the power to give any file to anybody.
    private static func joinControlGroup(_ settings: RuntimeSettings, _ log: (LogLine) -> Void) {
        guard let wanted = settings.controlGroup else { return }
        let count = getgroups(0, nil)
        var groups = [gid_t](repeating: 0, count: max(0, Int(count)))
        groups = Array(groups.prefix(max(0, Int(getgroups(count, &groups)))))
        guard !groups.contains(wanted), getegid() != wanted else { return }
        groups.append(wanted)
        guard setgroups(groups.count, groups) != 0 else { return }
        log(warning("cannot join the control socket's group", "\(errorText()); with systemd: SupplementaryGroups="))
    }

    private static func warning(_ message: String, _ reason: String? = nil) -> LogLine {
        LogLine(.warning, message, [.init("reason", reason ?? errorText())])
    }
}

extension Configuration {
    var rebindsLowPorts: Bool {
        let pair = pairLink?.paths.map(\.local.port) ?? []
        return (pair + [transferLink?.listen?.port].compactMap(\.self)).contains { $0 < 1024 }
    }
}
