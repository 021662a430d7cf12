public import Session

/// Connections that the standby's kernel shall know, some at once. Best effort: no reply waits for them, and none is numbered.
public struct FlowBatch: Hashable, Sendable {
    /// All that there is follows, up to `endsTable`: what is not named by then is gone.
    public var beginsTable: Bool
    public var endsTable: Bool
    /// Taken before `puts`: what they free may be used again.
    public var removals: [FlowKey]
    public var puts: [FlowEntry]

    public init(beginsTable: Bool = false, endsTable: Bool = false, removals: [FlowKey] = [], puts: [FlowEntry] = []) {
        self.beginsTable = beginsTable
        self.endsTable = endsTable
        self.removals = removals
        self.puts = puts
    }

    public var count: Int { removals.count + puts.count }
}
