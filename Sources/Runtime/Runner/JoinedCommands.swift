import Node
import Session

extension [Effect] {
    /// So many commands are joined at most: what stands first in a list does not wait for a long rest to be put into messages.
    static let joinedCommandsMax = 32

    /// The same effects, with short lists of data plane commands that follow each other as one: each list costs the kernel's data plane
    /// a system call to send and one to hear what became of it.
    ///
    /// The gate stays alone: packets wait for it.
    func joiningCommands() -> [Effect] {
        var lists = 0
        for case .dataPlane in self { lists += 1 }
        // Mostly there is nothing to be joined.
        guard lists > 1 else { return self }
        var joined: [Effect] = []
        joined.reserveCapacity(count)
        for effect in self {
            if case .dataPlane(let next) = effect, case .dataPlane(let last)? = joined.last,
                last.count + next.count <= [Effect].joinedCommandsMax, !last.movesGate, !next.movesGate
            {
                joined[joined.count - 1] = .dataPlane(last + next)
            } else {
                joined.append(effect)
            }
        }
        return joined
    }
}

extension [DataPlaneCommand] {
    fileprivate var movesGate: Bool { contains { if case .gate = $0 { true } else { false } } }
}
