import Session

/// Numbers for people: even ones from node 0, odd ones from node 1, each above all that the table has of this node.
struct UniqueIDs {
    private var lastSession: UInt32
    private var lastChild: UInt32

    init(node: NodeID, table: SessionTable) {
        // The first numbers are 2 for node 0 and 1 for node 1; 0 means "none" to people.
        let none: UInt32 = node == .zero ? 0 : .max
        lastSession = table.highestUniqueIDs.session[Int(node.rawValue)] ?? none
        lastChild = table.highestUniqueIDs.child[Int(node.rawValue)] ?? none
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
