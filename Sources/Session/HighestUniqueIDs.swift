/// The highest numbers for people that each node has given to sessions and CHILD SAs of the table, so that the next one need not be looked
/// for among all of them. Never goes down: a number that was used is not used again soon.
public struct HighestUniqueIDs: Sendable {
    /// By the node's number, which is the parity of its numbers; `nil`: none so far.
    public private(set) var session: [UInt32?] = [nil, nil]
    public private(set) var child: [UInt32?] = [nil, nil]

    mutating func note(_ session: Session) {
        HighestUniqueIDs.raise(&self.session, over: session.uniqueID)
        for child in session.children { HighestUniqueIDs.raise(&self.child, over: child.uniqueID) }
    }

    private static func raise(_ highest: inout [UInt32?], over id: UInt32) {
        let parity = Int(id % 2)
        if highest[parity].map({ $0 < id }) ?? true { highest[parity] = id }
    }
}
