import Session

/// Numbers for people: even ones from node 0, odd ones from node 1, each above all that the table has of this node.
struct UniqueIDs {
    private var lastSession: UInt32
    private var lastChild: UInt32

    /// Looks at every session once: a few milliseconds for a hundred thousand.
    init(node: NodeID, table: SessionTable) {
        let parity = UInt32(node.rawValue)
        // The first numbers are 2 for node 0 and 1 for node 1; 0 means "none" to people.
        lastSession = node == .zero ? 0 : .max
        lastChild = lastSession
        func raise(_ last: inout UInt32, over id: UInt32) {
            if id % 2 == parity, last == .max || id > last { last = id }
        }
        for session in table.sessions.values {
            raise(&lastSession, over: session.uniqueID)
            for child in session.children { raise(&lastChild, over: child.uniqueID) }
        }
    }

    mutating func nextSession() -> UInt32 {
        lastSession &+= 2
        return lastSession
    }

    mutating func nextChild() -> UInt32 {
        lastChild &+= 2
        return lastChild
    }
}
