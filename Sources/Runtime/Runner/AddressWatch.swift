import Glibc
import Netlink
import Session
import Synchronization

/// A thread that tells which addresses the host has: once, and whenever they change.
final class AddressWatch: Sendable {
    /// Changes come in groups (an interface with all its addresses); told is what stands when the group is over.
    private static let coalescingMicroseconds: UInt32 = 50_000

    /// Closing the second wakes who waits for the first.
    private let pair: [Int32]
    private let handle: Mutex<pthread_t?>

    private final class Body {
        let monitor: AddressMonitor
        let stopDescriptor: Int32
        let handler: ([IPAddress]) -> Void

        init(monitor: AddressMonitor, stopDescriptor: Int32, handler: @escaping ([IPAddress]) -> Void) {
            self.monitor = monitor
            self.stopDescriptor = stopDescriptor
            self.handler = handler
        }

        func run() {
            var told: [IPAddress]?
            while true {
                if let addresses = try? Addresses.all(), addresses != told {
                    told = addresses
                    handler(addresses)
                }
                var descriptors = [
                    pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: stopDescriptor, events: Int16(POLLIN), revents: 0),
                ]
                _ = poll(&descriptors, 2, -1)
                if descriptors[1].revents != 0 { return }
                // Also the pause before a socket that fails is asked again.
                usleep(AddressWatch.coalescingMicroseconds)
                try? monitor.drain()
            }
        }
    }

    /// - Parameter handler: called on the thread.
    init(handler: sending @escaping ([IPAddress]) -> Void) throws(NetlinkError) {
        // Before the first list is made, so that no change falls between the two.
        let monitor = try AddressMonitor()
        var pair: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw NetlinkError(operation: "make a socket pair", code: errno)
        }
        let body = Body(monitor: monitor, stopDescriptor: pair[0], handler: handler)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(body).toOpaque())
        guard code == 0 else {
            pair.forEach { close($0) }
            throw NetlinkError(operation: "start a thread", code: code)
        }
        self.pair = pair
        handle = Mutex(thread)
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
