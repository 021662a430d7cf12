import Cryptography
import Node
import Pair
import Session

/// A node's disk: what a power cut leaves of it, and what has not come that far.
struct FakeDisk {
    /// What is there after a power cut; nothing before the first start.
    var durable = StoredState()
    /// The order that the disk works on: with its end it is durable, all of it or nothing.
    var pending: StateOrder?
    /// Nothing can be written any more; what is there can be removed.
    var isFull = false
    /// Nothing can be written, and nothing removed.
    var isBroken = false
    /// What could not be removed is not added to: the next write takes its place.
    private var beginsAnew = false
    /// How long a write takes until it is durable.
    var latency: UInt64 = 4_000_000
    /// Names the life of the node that writes: what one has ordered answers no other.
    var life = 0

    mutating func carryOut(_ order: StateOrder) -> StateEvent {
        switch order {
        case .discard where isBroken:
            beginsAnew = true
            return .failed("input/output error")
        case .write where isBroken: return .failed("input/output error")
        case .discard: durable = StoredState()
        case .write where isFull: return .failed("no space left on device")
        case .write(let batch):
            if beginsAnew { durable = StoredState() }
            durable.apply(batch)
        }
        beginsAnew = false
        return .done
    }
}

extension World {
    /// What a node that starts finds, as the runtime does it: the new life is written down before it begins.
    func openDisk(_ index: Int) {
        guard var disk = disks[index] else { return }
        disk.life += 1
        disk.pending = nil
        let former = disk.durable
        var opening = StateOpening(
            state: former, spent: former.head?.epochLimit ?? 0, writtenAtWallMilliseconds: former.head?.atWallMilliseconds)
        opening.state.beginLife(of: NodeID(rawValue: UInt8(index))!, at: time(of: index).wallMilliseconds)
        opening.spentSlices = opening.state.slices
        if disk.isFull {
            (opening.state, opening.problem, opening.isReadOnly) = (StoredState(), "no space left on device", true)
        } else {
            disk.durable = opening.state
        }
        disks[index] = disk
        if !opening.state.sessions.isEmpty {
            checks.hasRestored = true
            trace("node \(index) finds \(opening.state.sessions.count) sessions on its disk, of epoch \(opening.state.head?.epoch ?? 0)")
        }
        feed(index, .state(.opened(opening)))
    }

    func order(_ order: StateOrder, of index: Int) {
        guard let disk = disks[index] else { return expect(false, "node \(index) writes to a disk that it does not have") }
        expect(disk.pending == nil, "node \(index) gives its disk a second order before the first is answered")
        disks[index]?.pending = order
        after(disk.latency) { world in
            guard world.disks[index]?.life == disk.life, let pending = world.disks[index]?.pending else { return }
            world.disks[index]?.pending = nil
            guard let event = world.disks[index]?.carryOut(pending) else { return }
            world.feed(index, .state(event))
        }
    }

    /// The power is cut: what was on its way to the disk is there, or is not.
    func cutPower(_ index: Int) {
        guard let pending = disks[index]?.pending else { return }
        disks[index]?.pending = nil
        disks[index]?.life += 1
        if chance.uint64() % 2 == 0 { _ = disks[index]?.carryOut(pending) }
    }
}
