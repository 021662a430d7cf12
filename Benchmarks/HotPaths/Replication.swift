import Context
import Node
import Pair
import Session
import Simulator

/// Counter reports on their way from the active's data plane into the standby's table, through the frames that the link carries; TLS and
/// the system calls are not in it.
struct Replication {
    private static let batch = 1000
    private var pair: EstablishedPair
    private var now: Now
    private var packets: UInt64 = 0

    init(sessions: Int) {
        pair = EstablishedPair(sessions: sessions)
        now = pair.now
    }

    /// For one session of a snapshot: into its frame, out of it, and into the table of a standby that has nothing.
    func measureSnapshot(_ note: (String, Cost) -> Void) throws {
        let sessions = pair.active.table.sessions.values.sorted { $0.id < $1.id }
        let starts = stride(from: 0, to: sessions.count, by: PairProtocol.snapshotPageSessionsMax)
        let pages = starts.map { Array(sessions[$0..<min($0 + PairProtocol.snapshotPageSessionsMax, sessions.count)]) }
        var frames: [[UInt8]] = []
        let encode = HotPaths.measure(operations: sessions.count) { frames = pages.map { PairFrameCodec.encode(.snapshotPage($0)) } }
        note("snapshot_encode", encode)
        note(
            "snapshot_decode",
            try HotPaths.measure(operations: sessions.count) { for frame in frames { _ = try PairFrameCodec.decode(frame) } })
        note(
            "snapshot_apply",
            try HotPaths.measure(operations: sessions.count) {
                var (receiver, table) = (ReplicationReceiver(), SessionTable())
                let begin = SnapshotBegin(epoch: 1, sessionCount: UInt64(sessions.count), nextIndex: 1)
                _ = try receiver.begin(begin, table: &table, epoch: 1)
                for page in pages { _ = try receiver.page(page, table: &table) }
            })
    }

    /// For one session that goes to another gateway: into a context, and out of it with all checks.
    func measureContexts(_ note: (String, Cost) -> Void) throws {
        let contexts = pair.active.table.sessions.values.map {
            SessionContext(
                kind: .detached, giver: "sg1", giverNode: .zero, epoch: 1, givenAtWallMilliseconds: now.wallMilliseconds, session: $0)
        }
        var documents: [[UInt8]] = []
        note("context_encode", HotPaths.measure(operations: contexts.count) { documents = contexts.map { $0.encode() } })
        note(
            "context_parse",
            try HotPaths.measure(operations: contexts.count) { for document in documents { _ = try SessionContext(parsing: document) } })
    }

    struct Result {
        /// For one report.
        var active: Cost
        var standby: Cost
        /// Octets in frames for one report.
        var octets: Double
    }

    mutating func measure(rounds: Int = 30) throws -> Result {
        var (active, standby): ([Double], [Double]) = ([], [])
        var allocations = (active: 0, standby: 0)
        var octets = 0
        let spis = Array(pair.inboundSPIs.prefix(Replication.batch))
        // Time nearly stands still: what else the nodes do, heartbeats for instance, is not what is measured.
        for _ in 0...rounds {
            now = Now(instant: now.instant + .microseconds(1), wallMilliseconds: now.wallMilliseconds)
            packets += 100
            let reports = spis.map {
                CounterReport(
                    inboundSPI: $0, inboundTop: packets, outboundNext: packets + 1, inboundPackets: packets, inboundBytes: packets * 1000,
                    outboundPackets: packets, outboundBytes: packets * 1000)
            }
            var (began, before) = (processorNanoseconds(), Allocations.count)
            let frames = pair.active.handle(.dataPlane(.counters(reports)), now: now).frames.map { PairFrameCodec.encode($0) }
            var spent = processorNanoseconds() - began
            allocations.active = Allocations.count - before
            octets = frames.reduce(0) { $0 + $1.count }
            (began, before) = (processorNanoseconds(), Allocations.count)
            var answers: [[UInt8]] = []
            for frame in frames {
                answers += pair.standby.handle(.frame(try PairFrameCodec.decode(frame)), now: now).frames.map { PairFrameCodec.encode($0) }
            }
            standby.append(Double(processorNanoseconds() - began) / Double(spis.count))
            allocations.standby = Allocations.count - before
            began = processorNanoseconds()
            for answer in answers { _ = pair.active.handle(.frame(try PairFrameCodec.decode(answer)), now: now) }
            spent += processorNanoseconds() - began
            active.append(Double(spent) / Double(spis.count))
        }
        func cost(_ times: [Double], _ allocations: Int) -> Cost {
            let warm = Array(times.dropFirst())
            return Cost(nanoseconds: warm.sorted()[warm.count / 2], allocations: Double(allocations) / Double(spis.count), samples: warm)
        }
        return Result(
            active: cost(active, allocations.active), standby: cost(standby, allocations.standby),
            octets: Double(octets) / Double(spis.count))
    }
}

extension [Effect] {
    fileprivate var frames: [PairFrame] {
        compactMap { effect in
            guard case .frame(let frame) = effect else { return nil }
            return frame
        }
    }
}
