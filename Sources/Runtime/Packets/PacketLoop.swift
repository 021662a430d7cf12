import CLinux
import Glibc
import IKE
public import Session
import Synchronization

/// The one thread that reads and writes packets: IKE and ESP on the UDP ports 500 and 4500, and, for the user data plane, raw
/// ESP and the TUN device.
///
/// Nothing that arrives stops it: what cannot be handled is dropped and counted by name.
public final class PacketLoop: Sendable {
    public struct Configuration: Hashable, Sendable {
        /// A socket for each, which need not be on this host yet. Empty: one for all addresses of each family.
        public var addresses: [IPAddress]
        public var ikePort: UInt16
        /// IKE behind a NAT, and ESP in UDP (RFC 3948).
        public var encapsulationPort: UInt16
        /// The kernel takes ESP out of the encapsulation port's datagrams (UDP_ENCAP): for the kernel's data plane.
        public var encapsulationInKernel: Bool

        /// - Parameters:
        ///   - ikePort: 0 lets the kernel choose, for tests; likewise `encapsulationPort`.
        public init(
            addresses: [IPAddress] = [], ikePort: UInt16 = 500, encapsulationPort: UInt16 = 4500, encapsulationInKernel: Bool = false
        ) {
            self.addresses = addresses
            self.ikePort = ikePort
            self.encapsulationPort = encapsulationPort
            self.encapsulationInKernel = encapsulationInKernel
        }
    }

    let ikeSockets: SocketTable
    let encapsulationSockets: SocketTable
    let counters = PacketCounters()
    let mailbox: IKEMailbox
    /// The addresses that sockets are bound to; unspecified ones for all.
    let boundAddresses: [IPAddress]
    private let wakeDescriptor: Int32
    private let isStopping = Atomic(false)
    private let shared = Mutex(Shared())

    private struct Shared {
        enum Phase { case notStarted, running, ended }
        var phase = Phase.notStarted
        var thread: pthread_t?
        var work: [@Sendable (PacketThread) -> Void] = []
    }

    /// Binds the sockets; nothing is read before `start`.
    ///
    /// - Parameters:
    ///   - schedule: runs a closure where IKE is handled, soon, for instance on an event loop; called with one at a time.
    ///   - scheduleLater: as `schedule`, but after everything else that waits has had its turn; `nil`: the same.
    ///   - handleIKE: datagrams without non-ESP marker, in the order of their arrival.
    public init(
        _ configuration: Configuration, schedule: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void = { $0() },
        scheduleLater: (@Sendable (@escaping @Sendable () -> Void) -> Void)? = nil,
        handleIKE: @escaping @Sendable ([Datagram]) -> Void
    ) throws(PacketIOError) {
        let addresses = configuration.addresses.isEmpty ? PacketLoop.allAddresses() : configuration.addresses
        var ike: [DatagramSocket] = []
        var encapsulation: [DatagramSocket] = []
        for address in addresses {
            ike.append(try DatagramSocket.open(.ike, address: address, port: configuration.ikePort))
            let kind = DatagramSocket.Kind.encapsulation(inKernel: configuration.encapsulationInKernel)
            encapsulation.append(try DatagramSocket.open(kind, address: address, port: configuration.encapsulationPort))
        }
        let wake = eventfd(0, Linux.closeOnExec | Linux.nonBlocking)
        guard wake >= 0 else { throw PacketIOError("eventfd") }
        wakeDescriptor = wake
        boundAddresses = addresses
        ikeSockets = SocketTable(sockets: ike)
        encapsulationSockets = SocketTable(sockets: encapsulation)
        mailbox = IKEMailbox(schedule: schedule, scheduleLater: scheduleLater, handler: handleIKE)
    }

    deinit { close(wakeDescriptor) }

    /// Both families, or IPv4 alone on a host without IPv6.
    private static func allAddresses() -> [IPAddress] {
        let probe = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue) | Linux.closeOnExec, 0)
        guard probe >= 0 else { return [.unspecified(.ipv4)] }
        close(probe)
        return [.unspecified(.ipv4), .unspecified(.ipv6)]
    }

    /// The ports that IKE and encapsulated ESP are received on, for each address.
    public var ports: [(address: IPAddress, ike: UInt16, encapsulation: UInt16)] {
        zip(ikeSockets.sockets, encapsulationSockets.sockets).map { ($0.address, $0.port, $1.port) }
    }

    /// Starts the thread. Call once.
    public func start() throws(PacketIOError) {
        let context = Unmanaged.passRetained(try PacketThread(loop: self, wakeDescriptor: wakeDescriptor))
        let result = shared.withLock { shared in
            precondition(shared.phase == .notStarted, "a packet loop starts once")
            var thread = pthread_t()
            let result = pthread_create(&thread, nil, packetThreadMain, context.toOpaque())
            if result == 0 {
                shared.thread = thread
                shared.phase = .running
            }
            return result
        }
        guard result != 0 else { return }
        context.release()
        throw PacketIOError(operation: "pthread_create", code: result)
    }

    /// Ends the thread and waits for its end. Not from the loop's own callbacks.
    public func stop() {
        let thread = shared.withLock { shared in
            defer { shared.thread = nil }
            return shared.thread
        }
        guard let thread else { return }
        isStopping.store(true, ordering: .releasing)
        wake()
        pthread_join(thread, nil)
    }

    var shouldStop: Bool { isStopping.load(ordering: .acquiring) }

    /// Sends an IKE datagram from `datagram.local`, with the non-ESP marker where that is the encapsulation port, or a NAT keepalive,
    /// which has none (RFC 3948 §2.3). From any thread; never waits.
    public func send(_ datagram: Datagram) {
        let local = datagram.local
        let marked = encapsulationSockets.socket(for: local.address, port: local.port)
        guard let socket = marked ?? ikeSockets.socket(for: local.address, port: local.port) else {
            counters.add(.ikeNoSocket)
            return
        }
        let isKeepAlive = datagram.bytes == IKEEngine.keepAlive
        let sent = socket.send(datagram.bytes, marker: marked != nil && !isKeepAlive, from: local.address, to: datagram.remote)
        counters.add(!sent ? .ikeSendFailed : isKeepAlive ? .keepaliveSent : .ikeSent)
    }

    /// All counters by name.
    public func statistics() -> [String: UInt64] { counters.byName }

    // MARK: The thread's other work

    func takeWork() -> [@Sendable (PacketThread) -> Void] {
        shared.withLock { shared in
            defer { shared.work = [] }
            return shared.work
        }
    }

    /// The thread's last act: from here on no work is taken.
    func takeLastWork() -> [@Sendable (PacketThread) -> Void] {
        shared.withLock { $0.phase = .ended }
        return takeWork()
    }

    /// Before `start` or after it; the thread then serves the processor.
    func attach(_ processor: any PacketProcessor) {
        shared.withLock { $0.work.append { $0.attach(processor) } }
        wake()
    }

    /// When it returns, the processor is not called any more.
    func detach(_ processor: any PacketProcessor) {
        let done = Latch()
        let mustWait = shared.withLock { shared in
            // Without a thread there is only what waits for it.
            guard shared.phase == .running else {
                shared.work = []
                return false
            }
            shared.work.append {
                $0.detach(processor)
                done.open()
            }
            return true
        }
        guard mustWait else { return }
        wake()
        done.wait()
    }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeDescriptor, &one, 8)
    }
}

/// Lets one thread wait for another, once.
///
/// Unchecked: a POSIX semaphore is made for two threads.
private final class Latch: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        semaphore = .allocate(capacity: 1)
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func open() { sem_post(semaphore) }

    func wait() { while sem_wait(semaphore) != 0 && errno == EINTR {} }
}
