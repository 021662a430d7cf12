import Cryptography
import Node
import Pair
import Session

/// Steps that do not come to their end at once: a process dies between two effects, a data plane takes its time.
extension World {
    /// Whether the process is gone before its next effect.
    func dies(_ index: Int) -> Bool {
        guard let left = dyingAfter[index] else { return false }
        dyingAfter[index] = left - 1
        guard left <= 0 else { return false }
        trace("node \(index) dies in the middle of a step")
        return true
    }

    /// How long what was just done keeps the process from going on.
    func pause(of effect: Effect, at index: Int) -> UInt64? {
        guard planeDelay.chance > 0, case .dataPlane = effect, chance.uint32() % 1000 < UInt32(planeDelay.chance) else { return nil }
        return 1 + chance.uint64() % planeDelay.max
    }

    /// The node's one loop waits for the data plane: nothing else happens meanwhile.
    func suspend(_ index: Int, for pause: UInt64, rest: [Effect], passed: [TakeoverStep]) {
        trace("node \(index) waits \(pause / 1000) µs for its data plane")
        noteDisturbance()
        // The rest of the step is not there, and whoever sends by now sends.
        checkGates()
        freeze(index)
        suspended[index] = (rest, passed)
        suspensions += 1
        let (number, life) = (suspensions, nodes[index]?.life)
        suspensionOf[index] = number
        after(pause) { world in
            // It may have died since, or have been woken and have stopped again.
            guard world.suspended[index] != nil, world.suspensionOf[index] == number, world.nodes[index]?.life == life else { return }
            world.wake(index)
        }
    }

    /// Whether the data plane does not do it: it has no room for an SA, or has not had it.
    func isRefused(_ command: DataPlaneCommand, of index: Int) -> Bool {
        switch command {
        case .install(let installation):
            let spi = installation.child.inboundSPI
            let isNew = planes[index].sas[spi] == nil
            let isRefused = isNew && planeFailures > 0 && chance.uint32() % 1000 < UInt32(planeFailures)
            if isRefused { refused[index].insert(spi) } else { refused[index].remove(spi) }
            if isRefused { trace("node \(index)'s data plane refuses \(String(spi, radix: 16))") }
            return isRefused
        case .lease(let spi, _), .advanceInbound(let spi, _): return refused[index].contains(spi)
        case .remove(_, let child, _, _):
            refused[index].remove(child.inboundSPI)
            return false
        case .gate, .traps: return false
        }
    }
}
