/// Which sessions have something: an identity, an address, a number. Most have theirs alone, and a set of one would cost each an
/// allocation.
struct SessionIndex<Key: Hashable & Sendable>: Sendable {
    private enum Holders {
        case one(SessionID)
        /// At least two.
        case several(Set<SessionID>)
    }

    private var holders: GradualDictionary<Key, Holders> = [:]

    /// In order.
    subscript(key: Key) -> [SessionID] {
        switch holders[key] {
        case nil: []
        case .one(let id): [id]
        case .several(let ids): ids.sorted()
        }
    }

    mutating func makeRoomIfEmpty(for count: Int) { holders.makeRoomIfEmpty(for: count) }

    mutating func insert(_ id: SessionID, at key: Key) { SessionIndex.insert(id, into: &holders[key]) }

    mutating func remove(_ id: SessionID, at key: Key) { SessionIndex.remove(id, from: &holders[key]) }

    /// What a session had is replaced by what it has.
    mutating func move(_ id: SessionID, from old: Key?, to new: Key?) {
        guard old != new else { return }
        if let old { remove(id, at: old) }
        if let new { insert(id, at: new) }
    }

    private static func insert(_ id: SessionID, into holders: inout Holders?) {
        switch holders {
        case nil: holders = .one(id)
        case .one(let other): if other != id { holders = .several([other, id]) }
        case .several(var ids):
            // Held once, so that nothing is copied.
            holders = nil
            ids.insert(id)
            holders = .several(ids)
        }
    }

    private static func remove(_ id: SessionID, from holders: inout Holders?) {
        switch holders {
        case nil: break
        case .one(let other): if other == id { holders = nil }
        case .several(var ids):
            holders = nil
            ids.remove(id)
            holders = ids.count > 1 ? .several(ids) : ids.first.map { .one($0) }
        }
    }
}
