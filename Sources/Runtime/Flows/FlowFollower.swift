import NIOCore
import Netlink
import Node
import Session

/// The thread's place beside the node: orders go there, what it says comes back to the event loop. Belongs to the event loop.
final class FlowFollower {
    private let thread: FlowThread

    /// - Parameter submit: called on the event loop.
    init(
        eventLoop: any EventLoop, log: @escaping (LogLine) -> Void, submit: @escaping (Input) -> Void
    ) throws(NetlinkError) {
        let handlers = NIOLoopBound((log: log, submit: submit), eventLoop: eventLoop)
        let taker = Taker()
        thread = try FlowThread(monitor: try ConntrackMonitor(), table: try Conntrack()) { message in
            eventLoop.execute {
                switch message {
                case .report(let report, let generation):
                    handlers.value.submit(.flows(generation: generation, report))
                    taker.thread?.taken()
                case .result(let result, let failure):
                    if let failure {
                        handlers.value.log(
                            LogLine(
                                .warning, "the kernel refused connections of the peer",
                                [.init("count", "\(result.failed)"), .init("first", failure)]))
                    }
                    handlers.value.submit(.flowsInjected(result))
                }
            }
        }
        taker.thread = thread
    }

    func watch(generation: UInt64) { thread.order(.watch(generation: generation)) }
    func unwatch() { thread.order(.unwatch) }
    func inject(_ injection: FlowInjection) { thread.order(.inject(injection)) }
    func stop() { thread.stop() }

    /// The thread is made after what it calls; it says nothing before it is ordered to, on the event loop.
    private final class Taker: @unchecked Sendable {
        weak var thread: FlowThread?
    }
}
