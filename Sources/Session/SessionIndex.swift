/// Which sessions have something: an identity, an address, a number. Most have theirs alone, and a set of one would cost each an
/// allocation.
struct SessionIndex<Key: Hashable & Sendable>: Sendable {
    private var alone: GradualDictionary<Key, SessionID> = [:]
    /// Of at least two each.
    private var shared: GradualDictionary<Key, Set<SessionID>> = [:]

    /// In order.
    subscript(key: Key) -> [SessionID] { alone[key].map { [$0] } ?? shared[key]?.sorted() ?? [] }

    mutating func insert(_ id: SessionID, at key: Key) {
        if shared[key] != nil {
            shared[key]?.insert(id)
        } else if let other = alone[key], other != id {
            alone[key] = nil
            shared[key] = [other, id]
        } else {
            alone[key] = id
        }
    }

    mutating func remove(_ id: SessionID, at key: Key) {
        if alone[key] == id {
            alone[key] = nil
        } else if shared[key] != nil {
            shared[key]?.remove(id)
            guard let rest = shared[key], rest.count == 1 else { return }
            shared[key] = nil
            alone[key] = rest.first
        }
    }

    /// What a session had is replaced by what it has.
    mutating func move(_ id: SessionID, from old: Key?, to new: Key?) {
        guard old != new else { return }
        if let old { remove(id, at: old) }
        if let new { insert(id, at: new) }
    }
}
