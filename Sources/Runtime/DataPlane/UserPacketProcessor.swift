import ESP
import Glibc
import Session

/// The packet thread's work for the user data plane: ESP from the sockets goes into the TUN device, what comes out of it goes to
/// the peers as ESP. No packet allocates memory.
///
/// Unchecked: after `init` all of it but `database` is used by the packet thread alone.
final class UserPacketProcessor: PacketProcessor, @unchecked Sendable {
    private let tun: TunDevice
    private let rawSockets: SocketTable
    private let encapsulationSockets: SocketTable
    private let database: SharedDatabase
    private let counters: PacketCounters
    private let counterInterval: Duration
    private let events: @Sendable (DataPlaneEvent) -> Void

    private let outgoing: OutgoingBuffers
    private var sendBatch: SendBatch
    private let rawBatch = ReceiveBatch()
    private let packets = UnsafeMutablePointer<ESPPacket>.allocate(capacity: ReceiveBatch.capacity)

    /// Reports in one event: an event of 64 KiB.
    private static let reportCountMax = 1024

    init(
        tun: TunDevice, rawSockets: SocketTable, encapsulationSockets: SocketTable, database: SharedDatabase,
        counters: PacketCounters, counterInterval: Duration, events: @escaping @Sendable (DataPlaneEvent) -> Void
    ) {
        self.tun = tun
        self.rawSockets = rawSockets
        self.encapsulationSockets = encapsulationSockets
        self.database = database
        self.counters = counters
        self.counterInterval = counterInterval
        self.events = events
        outgoing = OutgoingBuffers(mtu: tun.mtu)
        sendBatch = SendBatch(counters: counters)
    }

    deinit { packets.deallocate() }

    var descriptors: [Int32] { [tun.descriptor] + rawSockets.sockets.map(\.descriptor) }

    func readable(_ descriptor: Int32, now: Instant) -> Bool {
        if descriptor == tun.descriptor { return sendFromTUN(now: now) }
        if let socket = rawSockets.sockets.first(where: { $0.descriptor == descriptor }) { receiveRaw(socket, now: now) }
        return true
    }

    func tick(_ now: Instant) -> Instant {
        report()
        return now + counterInterval
    }

    private func report() {
        while true {
            let reports = database.withLock { $0.collectReports(limit: UserPacketProcessor.reportCountMax) }
            if !reports.isEmpty { events(.counters(reports)) }
            if reports.count < UserPacketProcessor.reportCountMax { return }
        }
    }

    // MARK: From the peers

    func receive(_ packets: UnsafeMutableBufferPointer<ESPPacket>, now: Instant) {
        let changes = database.withLock { database in
            for index in packets.indices {
                let bytes = packets[index].bytes
                // Dropped packets are counted by the database; an empty one is skipped below.
                let inner = (try? database.open(bytes, from: packets[index].origin, now: now)) ?? 0..<0
                packets[index].bytes = UnsafeMutableRawBufferPointer(rebasing: bytes[inner])
            }
            return database.takeEndpointChanges()
        }
        var written = 0
        var refused = 0
        for packet in packets where !packet.bytes.isEmpty {
            if write(tun.descriptor, packet.bytes.baseAddress, packet.bytes.count) == packet.bytes.count {
                written += 1
            } else {
                refused += 1
            }
        }
        counters.add(.tunSent, written)
        counters.add(.tunWriteFailed, refused)
        for change in changes { events(change) }
    }

    /// ESP right over IP: an IPv4 raw socket hands out the IP header as well, an IPv6 one does not (RFC 3542 §3).
    private func receiveRaw(_ socket: DatagramSocket, now: Instant) {
        let received = rawBatch.receive(from: socket)
        if received < 0 { counters.add(.receiveFailed) }
        var count = 0
        for index in 0..<max(0, received) {
            let bytes = rawBatch.bytes(index)
            var headerLength = 0
            if socket.address.isIPv4 { headerLength = bytes.isEmpty ? 0 : Int(bytes[0] & 15) * 4 }
            guard !rawBatch.isTruncated(index), bytes.count > headerLength else {
                counters.add(.malformedDatagram)
                continue
            }
            let packet = UnsafeMutableRawBufferPointer(rebasing: bytes[headerLength...])
            (packets + count).initialize(to: ESPPacket(bytes: packet, origin: nil))
            count += 1
        }
        guard count > 0 else { return }
        counters.add(.espReceived, count)
        receive(UnsafeMutableBufferPointer(start: packets, count: count), now: now)
    }

    // MARK: To the peers

    /// - Returns: false when the device is gone.
    private func sendFromTUN(now: Instant) -> Bool {
        let (count, isAlive) = outgoing.read(from: tun.descriptor)
        counters.add(.tunReceived, count)
        if !isAlive { counters.add(.tunReadFailed) }
        guard count > 0 else { return isAlive }
        let (mustReport, acquired) = database.whileSending { sealAndSend(count, now: now) }
        for event in acquired { events(event) }
        if mustReport { report() }
        return isAlive
    }

    private func sealAndSend(_ count: Int, now: Instant) -> (mustReport: Bool, acquired: [DataPlaneEvent]) {
        let told = database.withLock { database in
            for index in 0..<count {
                let packet = outgoing.packets[index]
                outgoing.sealed[index] = try? database.seal(in: packet.buffer, payload: packet.payload)
            }
            return (database.takeWantsReportNow(), database.takeAcquisitions(at: now))
        }
        for index in 0..<count {
            guard let sealed = outgoing.sealed[index] else { continue }
            send(sealed, in: outgoing.packets[index].buffer)
        }
        sendBatch.flush()
        return told
    }

    @inline(__always)
    private func send(_ sealed: SecurityAssociationDatabase.Sealed, in buffer: UnsafeMutableRawBufferPointer) {
        let local = sealed.local.address
        let socket = sealed.encapsulation ? encapsulationSockets.socket(for: local) : rawSockets.socket(for: local)
        guard let socket else { return counters.add(.espNoSocket) }
        let packet = UnsafeMutableRawBufferPointer(rebasing: buffer[sealed.packet])
        sendBatch.append(packet, to: sealed.remote, from: local, through: socket)
    }
}

/// Where inner packets are read to and become ESP packets, in place.
final class OutgoingBuffers {
    struct Packet {
        var buffer: UnsafeMutableRawBufferPointer
        var payload: Range<Int>
    }

    /// Packets a turn, as many as a batch sends.
    static let capacity = SendBatch.capacity
    /// Before the packet: what ESP puts there, rounded up to a cache line.
    private static let headroom = 64

    let packets: UnsafeMutablePointer<Packet>
    let sealed: UnsafeMutablePointer<SecurityAssociationDatabase.Sealed?>
    private let memory: UnsafeMutableRawPointer
    private let mtu: Int

    init(mtu: Int) {
        self.mtu = mtu
        let length = (OutgoingBuffers.headroom + mtu + OutboundSA.overheadMax + 63) / 64 * 64
        // An odd number of cache lines, so that the packets' first lines do not all meet in the same cache set.
        let stride = length + (length / 64 % 2 == 0 ? 64 : 0)
        memory = .allocate(byteCount: stride * OutgoingBuffers.capacity, alignment: 64)
        packets = .allocate(capacity: OutgoingBuffers.capacity)
        sealed = .allocate(capacity: OutgoingBuffers.capacity)
        for index in 0..<OutgoingBuffers.capacity {
            let buffer = UnsafeMutableRawBufferPointer(start: memory + index * stride, count: length)
            (packets + index).initialize(to: Packet(buffer: buffer, payload: 0..<0))
            (sealed + index).initialize(to: nil)
        }
    }

    deinit {
        sealed.deallocate()
        packets.deallocate()
        memory.deallocate()
    }

    /// Reads packets until there is none, or no room.
    ///
    /// - Returns: how many, and false when the device cannot be read any more.
    func read(from descriptor: Int32) -> (count: Int, isAlive: Bool) {
        var count = 0
        while count < OutgoingBuffers.capacity {
            let start = packets[count].buffer.baseAddress! + OutgoingBuffers.headroom
            let length = Glibc.read(descriptor, start, mtu)
            if length < 0 { return (count, errno == EAGAIN || errno == EINTR) }
            packets[count].payload = OutgoingBuffers.headroom..<OutgoingBuffers.headroom + length
            count += 1
        }
        return (count, true)
    }
}
