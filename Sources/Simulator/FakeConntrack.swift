import Node
import Session

/// A kernel's table of connections, which outlives the daemon beside it.
struct FakeConntrack {
    var entries: [FlowKey: FlowEntry] = [:]
    /// Whoever watches, and since when.
    var generation: UInt64?
    /// Commands that were carried out.
    var commands: [FlowCommand] = []
    /// Takes no commands: they are neither carried out nor answered.
    var isStuck = false
    /// How many watches began.
    var watches = 0
}

extension World {
    /// Entries in one report.
    static let flowPage = 100

    func watchFlows(_ index: Int, generation: UInt64) {
        flowTables[index].generation = generation
        flowTables[index].watches += 1
        after(500_000) { world in
            guard world.flowTables[index].generation == generation else { return }
            world.tellFlows(index)
        }
    }

    /// The whole table, as a watch tells it at first and whenever it missed something.
    func tellFlows(_ index: Int) {
        guard let generation = flowTables[index].generation else { return }
        feed(index, .flows(generation: generation, .tableBegins))
        let all = flowTables[index].entries.values.sorted { $0.original.sourcePort < $1.original.sourcePort }
        for start in stride(from: 0, to: all.count, by: World.flowPage) {
            feed(index, .flows(generation: generation, .table(Array(all[start..<min(start + World.flowPage, all.count)]))))
        }
        feed(index, .flows(generation: generation, .tableEnds))
    }

    /// Something happens to connections in a node's kernel.
    func flow(_ index: Int, _ changes: FlowChange...) {
        for change in changes {
            switch change {
            case .put(let entry): flowTables[index].entries[entry.key] = entry
            case .remove(let key): flowTables[index].entries[key] = nil
            }
        }
        guard let generation = flowTables[index].generation else { return }
        feed(index, .flows(generation: generation, .changes(changes)))
    }

    func injectFlows(_ injection: FlowInjection, into index: Int) {
        after(1_000_000) { world in
            guard !world.flowTables[index].isStuck, world.isAlive(index) else { return }
            for command in injection.commands {
                switch command {
                case .create(let entry), .update(let entry): world.flowTables[index].entries[entry.key] = entry
                case .remove(let key): world.flowTables[index].entries[key] = nil
                }
            }
            world.flowTables[index].commands += injection.commands
            world.feed(
                index, .flowsInjected(FlowInjectionResult(isFromPeer: injection.isFromPeer, done: injection.commands.count, failed: 0)))
        }
    }
}
