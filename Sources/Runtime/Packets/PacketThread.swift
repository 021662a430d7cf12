import CLinux
import Glibc
import Session

/// What the packet thread owns. Made by `PacketLoop.start`, then used by that thread alone.
final class PacketThread {
    private enum Source {
        case wake
        case ike(DatagramSocket)
        case encapsulation(DatagramSocket)
        case processor
    }

    private let loop: PacketLoop
    private let epoll: Int32
    private let wakeDescriptor: Int32
    private var sources: [Int32: Source] = [:]
    private var processor: (any PacketProcessor)?
    private var nextTick: Instant?
    private let events = EpollEvents(capacity: 64)
    private let batch = ReceiveBatch()
    private let packets = UnsafeMutablePointer<ESPPacket>.allocate(capacity: ReceiveBatch.capacity)

    init(loop: PacketLoop, wakeDescriptor: Int32) throws(PacketIOError) {
        self.loop = loop
        self.wakeDescriptor = wakeDescriptor
        epoll = epoll_create1(Linux.closeOnExec)
        guard epoll >= 0 else { throw PacketIOError("epoll_create1") }
        watch(wakeDescriptor, as: .wake)
        for socket in loop.ikeSockets.sockets { watch(socket.descriptor, as: .ike(socket)) }
        for socket in loop.encapsulationSockets.sockets { watch(socket.descriptor, as: .encapsulation(socket)) }
    }

    deinit {
        if epoll >= 0 { close(epoll) }
        packets.deallocate()
    }

    private func watch(_ descriptor: Int32, as source: Source) {
        if EpollEvents.watch(descriptor, on: epoll) {
            sources[descriptor] = source
        } else {
            loop.counters.add(.descriptorLost)
        }
    }

    func attach(_ processor: any PacketProcessor) {
        self.processor = processor
        for descriptor in processor.descriptors { watch(descriptor, as: .processor) }
        nextTick = processor.tick(PacketThread.now())
    }

    func detach(_ processor: any PacketProcessor) {
        guard self.processor === processor else { return }
        for descriptor in processor.descriptors { forget(descriptor) }
        self.processor = nil
        nextTick = nil
    }

    private func forget(_ descriptor: Int32) {
        guard sources.removeValue(forKey: descriptor) != nil else { return }
        EpollEvents.forget(descriptor, on: epoll)
    }

    static func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// Each turn serves every ready descriptor once, so that none starves another.
    func run() {
        while !loop.shouldStop {
            let ready = events.wait(on: epoll, milliseconds: timeout(PacketThread.now()))
            let now = PacketThread.now()
            for index in 0..<ready { serve(events.descriptor(index), now: now) }
            if let due = nextTick, now >= due { nextTick = processor?.tick(now) }
        }
        for work in loop.takeLastWork() { work(self) }
    }

    /// Milliseconds until the next tick, rounded up; -1 for ever.
    private func timeout(_ now: Instant) -> Int32 {
        guard let nextTick else { return -1 }
        guard nextTick > now else { return 0 }
        return Int32(clamping: ((nextTick - now).inNanoseconds + 999_999) / 1_000_000)
    }

    private func serve(_ descriptor: Int32, now: Instant) {
        switch sources[descriptor] {
        case .wake: serveWork()
        case .ike(let socket): receiveIKE(socket)
        case .encapsulation(let socket): receiveEncapsulated(socket, now: now)
        case .processor: serveProcessor(descriptor, now: now)
        case nil: EpollEvents.forget(descriptor, on: epoll)
        }
    }

    private func serveWork() {
        var count: UInt64 = 0
        _ = read(wakeDescriptor, &count, 8)
        for work in loop.takeWork() { work(self) }
    }

    private func serveProcessor(_ descriptor: Int32, now: Instant) {
        guard let processor, !processor.readable(descriptor, now: now) else { return }
        forget(descriptor)
        loop.counters.add(.descriptorLost)
    }

    // MARK: UDP

    private func receiveIKE(_ socket: DatagramSocket) {
        var datagrams: [Datagram] = []
        for index in 0..<receive(from: socket) {
            guard let remote = wholeDatagram(index) else { continue }
            datagrams.append(Datagram(local: batch.local(index, on: socket), remote: remote, bytes: Array(batch.bytes(index))))
        }
        deliver(datagrams)
    }

    /// Tells IKE, ESP and keepalives apart (RFC 3948 §2).
    private func receiveEncapsulated(_ socket: DatagramSocket, now: Instant) {
        var datagrams: [Datagram] = []
        var packetCount = 0
        for index in 0..<receive(from: socket) {
            guard let remote = wholeDatagram(index) else { continue }
            let bytes = batch.bytes(index)
            if bytes.count >= 4 {
                if bytes.loadUnaligned(as: UInt32.self) == 0 {
                    datagrams.append(Datagram(local: batch.local(index, on: socket), remote: remote, bytes: Array(bytes.dropFirst(4))))
                } else {
                    (packets + packetCount).initialize(to: ESPPacket(bytes: bytes, origin: remote))
                    packetCount += 1
                }
            } else {
                loop.counters.add(bytes.count == 1 && bytes[0] == 0xFF ? .keepaliveReceived : .malformedDatagram)
            }
        }
        if packetCount > 0 {
            loop.counters.add(.espReceived, packetCount)
            if let processor {
                processor.receive(UnsafeMutableBufferPointer(start: packets, count: packetCount), now: now)
            } else {
                loop.counters.add(.espWithoutDataPlane, packetCount)
            }
        }
        deliver(datagrams)
    }

    private func receive(from socket: DatagramSocket) -> Int {
        let count = batch.receive(from: socket)
        if count < 0 { loop.counters.add(.receiveFailed) }
        return max(0, count)
    }

    /// Where message `index` came from, if it is all there.
    @inline(__always)
    private func wholeDatagram(_ index: Int) -> Endpoint? {
        if batch.isTruncated(index) {
            loop.counters.add(.truncatedDatagram)
            return nil
        }
        guard let remote = batch.remote(index), remote.port != 0 else {
            loop.counters.add(.malformedDatagram)
            return nil
        }
        return remote
    }

    private func deliver(_ datagrams: [Datagram]) {
        guard !datagrams.isEmpty else { return }
        loop.counters.add(.ikeReceived, datagrams.count)
        loop.counters.add(.ikeQueueFull, loop.mailbox.put(datagrams))
    }
}

/// The thread's first function.
func packetThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    // Signals are for the threads that wait for them.
    var all = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_BLOCK, &all, nil)
    Unmanaged<PacketThread>.fromOpaque(context).takeRetainedValue().run()
    return nil
}
