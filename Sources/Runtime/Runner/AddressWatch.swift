import Glibc
import Netlink
import Session

/// A thread that tells which addresses the host has: once, and whenever they change.
final class AddressWatch: Sendable {
    /// Changes come in groups (an interface with all its addresses); told is what stands when the group is over.
    private static let coalescingMicroseconds: UInt32 = 50_000

    private let thread: WaitingThread

    /// - Parameter handler: called on the thread.
    init(handler: sending @escaping ([IPAddress]) -> Void) throws(NetlinkError) {
        // Before the first list is made, so that no change falls between the two.
        let monitor = try AddressMonitor()
        thread = try WaitingThread { waiter in AddressWatch.run(waiter, monitor, handler) }
    }

    /// Ends the thread and waits for it. Not from the thread itself.
    func stop() { thread.stop() }

    private static func run(_ waiter: WaitingThread.Waiter, _ monitor: AddressMonitor, _ handler: ([IPAddress]) -> Void) {
        var told: [IPAddress]?
        while true {
            if let addresses = try? Addresses.all(), addresses != told {
                told = addresses
                handler(addresses)
            }
            guard waiter.wait(for: monitor.descriptor) != .ended else { return }
            // Also the pause before a socket that fails is asked again.
            usleep(coalescingMicroseconds)
            try? monitor.drain()
        }
    }
}
