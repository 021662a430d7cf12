import Glibc
import Netlink
import Synchronization

/// A thread that waits for a descriptor of the kernel's, for a time, or for its owner.
///
/// For what would keep the event loop: netlink sockets whose answers take long or come in crowds.
final class WaitingThread: Sendable {
    /// What ended a wait.
    enum Wake: Equatable {
        case ready
        case timeOver
        /// The owner has something (`wake`).
        case woken
        /// The owner ends the thread: the body returns.
        case ended
    }

    /// The thread's own.
    struct Waiter {
        fileprivate let descriptor: Int32

        /// - Parameters:
        ///   - watched: a descriptor to read from; `nil`: only the time and the owner count.
        ///   - milliseconds: -1: without end.
        func wait(for watched: Int32?, milliseconds: Int32 = -1) -> Wake {
            var descriptors = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: watched ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&descriptors, 2, milliseconds)
            let owner = Int32(descriptors[0].revents)
            if owner & (POLLHUP | POLLERR) != 0 { return .ended }
            if owner != 0 {
                var octets = [UInt8](repeating: 0, count: 256)
                while recv(descriptor, &octets, octets.count, Int32(MSG_DONTWAIT)) > 0 {}
                return .woken
            }
            return descriptors[1].revents != 0 ? .ready : .timeOver
        }
    }

    private final class Body {
        let waiter: Waiter
        let run: (Waiter) -> Void

        init(waiter: Waiter, run: @escaping (Waiter) -> Void) {
            self.waiter = waiter
            self.run = run
        }
    }

    /// The first is the thread's. Writing to the second wakes it, closing it ends it.
    private let pair: [Int32]
    private let handle: Mutex<pthread_t?>

    /// - Parameter body: runs on the thread, and returns when a wait says `.ended`.
    init(_ body: sending @escaping (Waiter) -> Void) throws(NetlinkError) {
        var pair: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw NetlinkError(operation: "make a socket pair", code: errno)
        }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Body(waiter: Waiter(descriptor: pair[0]), run: body))
        let code = pthread_create(
            &thread, nil,
            { argument in
                let body = Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue()
                body.run(body.waiter)
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            pair.forEach { close($0) }
            throw NetlinkError(operation: "start a thread", code: code)
        }
        self.pair = pair
        handle = Mutex(thread)
    }

    /// The thread's next wait, or the one that it is in, ends.
    func wake() {
        handle.withLock { handle in
            guard handle != nil else { return }
            var octet: UInt8 = 1
            // A full buffer wakes as well.
            _ = send(pair[1], &octet, 1, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        }
    }

    /// Ends the thread and waits for it. Not from the thread itself.
    func stop() {
        handle.withLock { handle in
            guard let thread = handle else { return }
            close(pair[1])
            pthread_join(thread, nil)
            close(pair[0])
            handle = nil
        }
    }

    deinit { stop() }
}

extension WaitingThread {
    /// Of the clock that goes on whatever anybody sets.
    static func monotonicNanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
