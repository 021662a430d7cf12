import Node
import Session

/// A data plane that only keeps the books.
struct FakeDataPlane {
    struct SA {
        var child: ChildSA
        /// Where it receives.
        var local: Endpoint
        var next: UInt64
        var limit: UInt64
        var top: UInt64
    }

    var gate = GateState.closed
    /// Deliberately wrong: numbers begin at 1.
    var forgetsLeases = false
    var sas: [UInt32: SA] = [:]
    var traps: [TrapPolicy] = []

    /// - Returns: what was wrong with the command.
    mutating func apply(_ command: DataPlaneCommand) -> String? {
        switch command {
        case .install(let installation):
            let spi = installation.child.inboundSPI
            var sa =
                sas[spi] ?? SA(child: installation.child, local: installation.local, next: 1, limit: 0, top: installation.child.inboundTop)
            sa.child = installation.child
            sa.local = installation.local
            if !forgetsLeases { sa.next = max(sa.next, installation.numbers.next) }
            sa.limit = installation.numbers.limit
            sas[spi] = sa
        case .remove(_, let child, _, _):
            sas[child.inboundSPI] = nil
        case .lease(let spi, let numbers):
            guard var sa = sas[spi] else { return "a lease for an SA that is not installed" }
            if !forgetsLeases { sa.next = max(sa.next, numbers.next) }
            sa.limit = numbers.limit
            sas[spi] = sa
        case .advanceInbound(let spi, let top):
            guard let known = sas[spi]?.top else { return "a counter for an SA that is not installed" }
            sas[spi]?.top = max(known, top)
        case .gate(let state):
            gate = state
        case .traps(let list):
            traps = list
        }
        return nil
    }

    /// The next outbound number, if one may be used.
    mutating func take(_ spi: UInt32) -> UInt64? {
        guard gate == .open, var sa = sas[spi], !sa.child.isRekeyed, sa.next <= sa.limit else { return nil }
        defer { sas[spi] = sa }
        sa.next += 1
        return sa.next - 1
    }

    /// As if it had sent and received up to there.
    mutating func raise(_ spi: UInt32, next: UInt64, top: UInt64) {
        guard var sa = sas[spi] else { return }
        sa.next = max(sa.next, next)
        sa.top = max(sa.top, top)
        sas[spi] = sa
    }
}
